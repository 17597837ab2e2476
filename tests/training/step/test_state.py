"""The states of named parts, whoever wrote them."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import augment, latents, losses, penalties
from ganlib.errors import CheckpointError
from ganlib.training._step._state import load_states, reprs_of, states_of, warn_of_changes
from tests.training.players import MyHinge, make_players, make_trainer, points


class Counting(nn.Module):
    """A penalty of a user's with a state: it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, discriminator: Any, real: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Count, and penalize nothing."""
        self.calls += 1
        return discriminator(real).sum() * 0


def test_parts_with_a_state_are_saved_and_restored() -> None:
    """A penalty's own state goes with the trainer's."""
    trainer = make_trainer(penalties=[Counting()])
    for _ in range(3):
        trainer.train_step(iter([points()]))
    state = trainer.state_dict()
    penalty = Counting()
    other = make_trainer(penalties=[penalty])
    other.load_state_dict(state)
    assert penalty.calls == 3
    assert other.iteration == 3


def test_a_state_without_a_part_is_refused() -> None:
    """A state that lacks what this trainer has says which."""
    with pytest.raises(CheckpointError, match=r"holds no penalties\.0"):
        make_trainer(penalties=[Counting()]).load_state_dict(make_trainer().state_dict())


def test_a_state_with_a_part_too_many_is_refused() -> None:
    """A state that has what this trainer lacks says which, and no part has been loaded."""
    trainer = make_trainer(*make_players(seed=1))
    before = copy.deepcopy(trainer.state_dict()["modules"])
    with pytest.raises(CheckpointError, match=r"holds penalties\.0, which this training does not have"):
        trainer.load_state_dict(make_trainer(penalties=[Counting()]).state_dict())
    for name, state in trainer.state_dict()["modules"].items():
        assert all(torch.equal(value, before[name][key]) for key, value in state.items())


def test_a_part_of_another_architecture_is_named() -> None:
    """A state of other networks names the part."""
    with pytest.raises(CheckpointError, match="generator is of another Sequential"):
        make_trainer().load_state_dict(make_trainer(*make_players(hidden=5)).state_dict())


def test_what_is_not_there_is_left_where_it_need_not_be() -> None:
    """Without ``exactly`` a part without a state keeps its own, and another state is passed over."""
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    weight = other.weight.item()
    load_states({"one": one, "other": other}, states_of({"one": nn.Linear(1, 1), "more": one}), exactly=False)
    assert other.weight.item() == weight


def test_another_kind_of_optimizer_is_refused_and_other_changes_are_warned_of() -> None:
    """Nothing is said where nothing changed; an optimizer is an error, a device and a precision are a warning."""
    saved = {"precision": "bf16", "device": "cuda", "generator_optimizer": "Adam"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changes(saved, saved)
    with pytest.raises(CheckpointError, match="generator_optimizer was Adam, not SGD"):
        warn_of_changes(saved | {"generator_optimizer": "SGD"}, saved)
    with pytest.warns(UserWarning, match="ran on cuda, and runs on cpu now"):
        warn_of_changes(saved | {"device": "cpu"}, saved)
    with pytest.warns(UserWarning, match="its precision was bf16, and is fp32 now"):
        warn_of_changes(saved | {"precision": "fp32"}, saved)


def test_another_optimizer_is_refused_by_a_trainer() -> None:
    """A state of a trainer with Adam is not loaded into one with SGD."""
    generator, discriminator = make_players()
    trainer = make_trainer(
        generator, discriminator, discriminator_optimizer=torch.optim.SGD(discriminator.parameters())
    )
    with pytest.raises(CheckpointError, match="discriminator_optimizer was Adam, not SGD"):
        trainer.load_state_dict(make_trainer().state_dict())


def test_an_optimizer_of_other_layers_is_refused_with_both_counts() -> None:
    """As after a freeze: torch alone does not say how many parameters each has."""
    generator, discriminator = make_players()
    (first, *_) = discriminator.parameters()
    trainer = make_trainer(generator, discriminator, discriminator_optimizer=torch.optim.Adam([first]))
    count = len([*discriminator.parameters()])
    with pytest.raises(CheckpointError, match=rf"is of \[{count}\] parameters .* has \[1\]: are other layers frozen\?"):
        trainer.load_state_dict(make_trainer().state_dict())


SETTINGS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"discriminator_steps": 1}, {"discriminator_steps": 2}, r"discriminator\.steps was 1, and is 2 now"),
    ({}, {"accumulate_grad_batches": 2}, "accumulate_grad_batches was 1, and is 2 now"),
    ({"max_grad_norm": 1}, {"max_grad_norm": 2.0}, r"max_grad_norm was 1\.0, and is 2\.0 now"),
    ({}, {"max_grad_norm": 2.0}, r"max_grad_norm was None, and is 2\.0 now"),
    ({"joint_pass": False}, {"joint_pass": True}, "joint_pass was False, and is True now"),
    (
        {"penalties": [penalties.R1(1.0)]},
        {"penalties": [penalties.R1(1.0)], "reuse_logits": True},
        "reuse_logits was False, and is True now",
    ),
    (
        {"penalties": [penalties.R1(1.0)]},
        {"penalties": [penalties.R1(1.0, precision="autocast")]},
        r"penalties\.0 was R1\(weight=1\.0, every=1\), and is R1\(weight=1\.0, every=1, precision='autocast'\)",
    ),
    (
        {"loss": losses.NonSaturatingLoss(losses.LabelSmoothing(0.9))},
        {"loss": losses.NonSaturatingLoss(losses.LabelSmoothing(0.8))},
        r"loss was .*real=0\.9.*, and is .*real=0\.8",
    ),
    (
        {"penalties": [penalties.R1(1.0)]},
        {"penalties": [penalties.R1(10.0)]},
        r"penalties\.0 was R1\(weight=1\.0, every=1\), and is R1\(weight=10\.0",
    ),
    (
        {"auxiliary_losses": [losses.FeatureMatching(1.0)]},
        {"auxiliary_losses": [losses.FeatureMatching(2.0)]},
        r"auxiliary_losses\.0 was FeatureMatching\(weight=1\.0",
    ),
    ({"latent": latents.Uniform(3)}, {"latent": latents.Uniform(3, 0.0, 1.0)}, r"latent was Uniform\(dim=3, low=-1\.0"),
    (
        {"augment": augment.DiffAugment("color")},
        {"augment": augment.DiffAugment("cutout")},
        "augment was DiffAugment.*color.*cutout",
    ),
]


@pytest.mark.parametrize(("before", "now", "message"), SETTINGS)
def test_another_setting_is_warned_of(before: dict[str, Any], now: dict[str, Any], message: str) -> None:
    """The code's counts; once, with both values. What an earlier version did not save is not warned of."""
    state = make_trainer(**before).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(**before).load_state_dict(state)
    with pytest.warns(UserWarning, match=message) as caught:
        make_trainer(**now).load_state_dict(state)
    assert len(caught) == 1
    earlier = {name: value for name, value in state.items() if name != "reprs"}
    earlier["settings"] = {
        name: value for name, value in state["settings"].items() if name in ("precision", "device") or "optim" in name
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(**now).load_state_dict(earlier)


def test_a_setting_in_a_tensor_is_not_warned_of() -> None:
    """A schedule writes it, so another value is no change."""
    weight = torch.tensor(1.0)
    sum_of_losses = losses.WeightedSum([losses.HingeLoss(), losses.HingeLoss()], [weight, 1.0])
    options: dict[str, Any] = {"penalties": [penalties.R1(weight)], "loss": sum_of_losses}
    state = make_trainer(**options).state_dict()
    weight.fill_(2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(**options).load_state_dict(state)


def test_a_part_of_a_users_is_told_by_its_kind_alone() -> None:
    """What its repr shows may change in training."""
    assert reprs_of({"loss": MyHinge(), "ours": losses.HingeLoss()}) == {"ours": "HingeLoss()"}

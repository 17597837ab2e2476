"""AdversarialTrainer is Algorithm 1: the same numbers as the loop that one writes by hand."""

import copy
import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib import latents, losses, penalties, training
from ganlib.errors import BatchesExhaustedError
from ganlib.protocols import Batch
from tests.training.players import MyHinge, make_players, make_trainer, points, weights


def by_hand(generator: nn.Module, discriminator: nn.Module, batches: list[Tensor], *, steps: int = 1) -> list[Tensor]:
    """Algorithm 1, written out, with torch's own cross-entropy."""
    d_adam = torch.optim.Adam(discriminator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    g_adam = torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    seen, batches = [], list(batches)
    while batches:
        for _ in range(steps):
            real = batches.pop(0)
            fake = generator(torch.randn(len(real), 3, dtype=torch.get_default_dtype())).detach()
            real_logits, fake_logits = discriminator(real), discriminator(fake)
            loss = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
            loss = loss + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
            d_adam.zero_grad()
            loss.backward()
            d_adam.step()
        seen.append(loss.detach())
        fake_logits = discriminator(generator(torch.randn(len(real), 3, dtype=torch.get_default_dtype())))
        loss = F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
        g_adam.zero_grad()
        loss.backward()
        g_adam.step()
        seen.append(loss.detach())
    return seen


@pytest.fixture
def float64() -> Any:
    """Everything in float64, for as long as the test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("steps", [1, 3])
def test_equals_the_loop_written_by_hand(float64: None, steps: int) -> None:
    """Losses of twelve iterations equal those of a plain loop, fed the same batches and random numbers."""
    generator, discriminator = make_players()
    batches = [points(seed=seed).double() for seed in range(12 * steps)]
    trainer = make_trainer(copy.deepcopy(generator), copy.deepcopy(discriminator), discriminator_steps=steps)
    torch.manual_seed(1)
    expected = by_hand(generator, discriminator, batches, steps=steps)
    torch.manual_seed(1)
    stream, actual = iter(batches), []
    for _ in range(12):
        metrics = trainer.train_step(stream)
        actual += [metrics["discriminator_loss"], metrics["generator_loss"]]
    torch.testing.assert_close(torch.stack(actual), torch.stack(expected), rtol=0, atol=1e-12)


def test_two_points_are_learned_with_a_loss_of_ones_own() -> None:
    """A user's own loss and two plain nn.Sequentials learn a Gaussian, in a loop of the user's."""
    torch.manual_seed(0)
    trainer = make_trainer(loss=MyHinge())
    middles = []
    for seed in range(400):
        trainer.train_step(iter([points(seed=seed)]))
        middles.append(trainer.generator(torch.randn(32, 3)).mean(0).detach())
    # The players circle around the middle, so a single iteration says little.
    assert (torch.stack(middles[-200:]).mean(0) - torch.tensor([2.0, -1.0])).abs().max() < 0.1
    assert trainer.iteration == 400


def test_the_generators_update_touches_nothing_of_the_discriminator() -> None:
    """After a step the discriminator's gradients are those of its own update alone."""
    torch.manual_seed(0)
    trainer = make_trainer()
    of_discriminator = []
    trainer.discriminator_optimizer.register_step_post_hook(
        lambda *_: of_discriminator.extend(p.grad.clone() for p in trainer.discriminator.parameters())
    )
    trainer.train_step(iter([points()]))
    for before, parameter in zip(of_discriminator, trainer.discriminator.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)


def test_the_discriminators_update_leaves_no_gradient_in_the_generator() -> None:
    """The discriminator's update computes no gradient of the generator's parameters."""
    trainer = make_trainer()
    seen = []
    trainer.discriminator_optimizer.register_step_post_hook(
        lambda *_: seen.extend(p.grad for p in trainer.generator.parameters())
    )
    trainer.train_step(iter([points()]))
    assert seen == [None] * len(seen)
    assert seen


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_what_the_user_froze_stays_frozen(player: str) -> None:
    """A frozen parameter keeps its value, gets no gradient, and stays frozen."""
    trainer = make_trainer()
    frozen = next(getattr(trainer, player).parameters()).requires_grad_(False)
    before = frozen.clone()
    for _ in range(3):
        trainer.train_step(iter([points()]))
    assert torch.equal(frozen, before)
    assert frozen.grad is None
    assert not frozen.requires_grad
    assert all(p.requires_grad for p in list(getattr(trainer, player).parameters())[1:])


@pytest.mark.parametrize("batch", [points(), (points(),), [points(), None], Batch(points()), {"image": points()}])
def test_batches_come_in_any_of_their_forms(batch: Any) -> None:
    """A tensor, a tuple, a list, a Batch and a dict train to the same weights."""
    torch.manual_seed(0)
    expected = make_trainer()
    expected.train_step(iter([points()]))
    torch.manual_seed(0)
    trainer = make_trainer()
    trainer.train_step(iter([batch]))
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer).values(), weights(expected).values(), strict=True))


def test_accumulation_equals_one_large_batch(float64: None) -> None:
    """Four accumulated batches give the update of the one batch that they make together."""
    generator = nn.Linear(3, 2)
    discriminator = nn.Linear(2, 1)
    drawn = torch.randn(64, 3)

    class Given:
        """Latents from a table."""

        def __init__(self) -> None:
            self.at = 0

        def __call__(self, n: int, *, device: Any = None, generator: Any = None) -> Tensor:
            if generator is not None:  # a dry run
                return drawn[:n]
            self.at, first = self.at + n, self.at
            return drawn[first : first + n]

    whole = points(32).double()
    results = []
    for batches, accumulate in (([whole], 1), (list(whole.split(8)), 4)):
        trainer = make_trainer(
            copy.deepcopy(generator), copy.deepcopy(discriminator), latent=Given(), accumulate_grad_batches=accumulate
        )
        metrics = trainer.train_step(iter(batches))
        results.append([*weights(trainer).values(), *(metrics[name] for name in sorted(metrics))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_too_few_batches_are_refused() -> None:
    """An iterator that ends within an iteration is a clear error, and not a StopIteration."""
    trainer = make_trainer(discriminator_steps=2)
    with pytest.raises(BatchesExhaustedError, match=r"discriminator_steps \(=2\)"):
        trainer.train_step(iter([points()]))


def test_metrics_are_detached_scalars() -> None:
    """Every metric is a scalar tensor without a graph."""
    metrics = make_trainer().train_step(iter([points()]))
    assert {name: (value.shape, value.requires_grad) for name, value in metrics.items()} == {
        name: (torch.Size([]), False) for name in ("discriminator_loss", "generator_loss", "real_score", "fake_score")
    }


def test_state_dict_round_trip() -> None:
    """A second trainer that is given the first one's state goes on exactly as it does."""
    first = make_trainer()
    torch.manual_seed(0)
    for seed in range(3):
        first.train_step(iter([points(seed=seed)]))
    second = make_trainer(*make_players(seed=1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        torch.manual_seed(5)
        trainer.train_step(iter([points(seed=9)]))
    assert second.iteration == 4
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


PARTS = ["generator", "discriminator", "generator_optimizer", "discriminator_optimizer"]
SETTINGS = [name for name in inspect.signature(training.AdversarialTrainer).parameters if name not in PARTS]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_cannot_be_changed_by_halves(name: str) -> None:
    """Assigning to an argument after construction is an AttributeError, and not something that works in part."""
    trainer = make_trainer()
    with pytest.raises(AttributeError):
        setattr(trainer, name, None)
    assert not hasattr(trainer, name)


@pytest.mark.parametrize("name", ["iteration", "modules", "batches_per_iteration", *PARTS])
def test_what_can_be_read_cannot_be_assigned(name: str) -> None:
    """The networks, optimizers, modules and counts cannot be exchanged, since only a part of the trainer would see."""
    trainer = make_trainer()
    before = getattr(trainer, name)
    with pytest.raises(AttributeError):
        setattr(trainer, name, 7)
    assert getattr(trainer, name) == before


def test_what_a_trainer_shows() -> None:
    """The networks, the optimizers, the count, everything with a state, and how many batches an iteration draws."""
    generator, discriminator = make_players()
    penalty, loss = penalties.LeCam(0.1), losses.NonSaturatingLoss()
    trainer = make_trainer(
        generator, discriminator, loss=loss, penalties=[penalty], discriminator_steps=2, accumulate_grad_batches=3
    )
    assert (trainer.generator, trainer.discriminator) == (generator, discriminator)
    for network, optimizer in (
        (generator, trainer.generator_optimizer),
        (discriminator, trainer.discriminator_optimizer),
    ):
        assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in network.parameters()]
    assert trainer.iteration == 0
    assert trainer.modules["generator"] is generator
    assert trainer.modules["discriminator"] is discriminator
    assert trainer.modules["penalties.0"] is penalty
    assert trainer.batches_per_iteration == 6
    assert isinstance(trainer, training.Trainer)


def test_the_documented_signature() -> None:
    """The names and defaults that scripts rely on are there."""
    parameters = inspect.signature(training.AdversarialTrainer).parameters
    assert {name: p.default for name, p in parameters.items() if p.default is not p.empty} == {
        "penalties": (),
        "auxiliary_losses": (),
        "fake_conditions": None,
        "augment": None,
        "reuse_fakes": False,
        "reuse_logits": False,
        "discriminator_steps": 1,
        "accumulate_grad_batches": 1,
        "max_grad_norm": None,
        "precision": "fp32",
        "channels_last": False,
        "compile": False,
        "joint_pass": False,
        "cuda_graph": False,
        "sample_key": "image",
        "condition_key": "label",
    }
    assert list(parameters)[:4] == PARTS
    assert latents.Gaussian(3)(2).shape == (2, 3)

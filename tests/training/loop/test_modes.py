"""Networks that are to be trained, but are in evaluation mode, are warned of where that makes a difference."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses, models, training
from ganlib.training._loop._modes import depends_on_mode
from tests.training.players import make_trainer, points


class Switching(nn.Linear):
    """Its own forward pass depends on the mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Half in evaluation mode."""
        return super().forward(x) / (1 if self.training else 2)


DEPENDS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm1d(4),
    "dropout": lambda: nn.Dropout(0.5),
    "tracking instance norm": lambda: nn.InstanceNorm1d(4, track_running_stats=True),
    "random leaky ReLU": nn.RReLU,
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
    "spectral norm by hooks": lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
    "attention with dropout": lambda: nn.TransformerEncoderLayer(4, 2, dropout=0.1),
    "own": lambda: Switching(4, 4),
}
INDEPENDENT: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(4, 4),
    "untracked batch norm": lambda: nn.BatchNorm1d(4, track_running_stats=False),
    "instance norm": lambda: nn.InstanceNorm1d(4),
    "layer norm": lambda: nn.LayerNorm(4),
    "no dropout": lambda: nn.Dropout(0.0),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, dropout=0.0),
    "recurrent": lambda: nn.LSTM(4, 4),
}


@pytest.mark.parametrize("name", [*DEPENDS, *INDEPENDENT])
def test_what_depends_on_the_mode_is_known(name: str) -> None:
    """Of torch's modules by kind, of own ones by what their code reads."""
    module = (DEPENDS | INDEPENDENT)[name]()
    assert any(depends_on_mode(part) for part in module.modules()) == (name in DEPENDS)


def generator(*, norm: bool = True) -> nn.Module:
    """Makes points."""
    return nn.Sequential(nn.Linear(3, 4), *([nn.BatchNorm1d(4)] if norm else []), nn.Linear(4, 2))


def game(artist: nn.Module, critic: nn.Module, **others: nn.Module) -> training.GameTrainer:
    """The same as a game."""
    loss = losses.HingeLoss()
    objectives: list[Any] = [
        lambda real: loss.discriminator(critic(real), critic(artist(torch.randn(len(real), 3)).detach())),
        lambda real: loss.generator(critic(artist(torch.randn(len(real), 3)))),
    ]
    players = [
        training.Player(name, torch.optim.Adam(network.parameters()), objective)
        for name, network, objective in zip(("critic", "artist"), (critic, artist), objectives, strict=True)
    ]
    return training.GameTrainer({"artist": artist, "critic": critic, **others}, players)


def messages(trainer: Any) -> list[str]:
    """What a fit of two calls says, all of it at the line of this call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.fit(trainer, [points()], iterations=2)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("make", [make_trainer, game])
def test_each_network_in_evaluation_mode_is_named_once(make: Callable[..., Any]) -> None:
    """With what stands still in it, and what to do; in any trainer."""
    (said,) = messages(make(generator().eval(), nn.Linear(2, 1)))
    assert "evaluation mode" in said
    assert "BatchNorm1d" in said
    assert ".train()" in said
    assert len(messages(make(generator().eval(), nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.1)).eval()))) == 2


def test_what_load_generator_returns_is_warned_of(tmp_path: Path) -> None:
    """Fine-tuning as it is first written; within a wrapper too."""
    path = tmp_path / "generator.safetensors"
    models.save_generator(path, generator())
    for wrap in (lambda network: network, nn.Sequential):
        assert len(messages(make_trainer(wrap(models.load_generator(path)), nn.Linear(2, 1)))) == 1
    assert not messages(make_trainer(models.load_generator(path, train=True), nn.Linear(2, 1)))


def test_what_is_meant_is_not_warned_of() -> None:
    """Frozen batch norm in a network in training mode, a frozen network, and modes that make no difference."""
    frozen_norm = generator()
    frozen_norm[1].eval()
    assert not messages(make_trainer(frozen_norm, nn.Linear(2, 1)))
    assert not messages(make_trainer(generator(norm=False).eval(), nn.Linear(2, 1).eval()))
    features = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)).eval()  # whose weights no optimizer holds
    assert not messages(game(generator(), nn.Linear(2, 1), features=features))
    part = nn.Sequential(generator().eval().requires_grad_(False), nn.Linear(2, 2))
    assert not messages(make_trainer(part, nn.Linear(2, 1)))


def test_a_network_that_a_callback_leaves_in_evaluation_mode_is_warned_of_once() -> None:
    """The common mistake of a sampling callback: from then on nothing would be trained as before."""

    class Forgetful:
        def on_iteration(self, run: Any) -> None:
            """Sample, at the third iteration."""
            if run.iteration == 3:
                run.trainer.generator.eval()

    generator = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    trainer = make_trainer(generator, nn.Linear(2, 1))
    with pytest.warns(UserWarning, match="left generator in evaluation mode in iteration 3.*BatchNorm1d") as caught:
        training.fit(trainer, [points()], iterations=6, callbacks=[Forgetful()])
    assert len(caught) == 1
    assert caught[0].filename == __file__

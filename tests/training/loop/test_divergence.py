"""A training that has diverged says so soon, names what and when, and leaves no file that holds it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganlib import losses, training
from ganlib._files import load_plain
from ganlib.errors import GanlibError, TrainingDivergedError
from tests.training.players import Going, MyTrainer, Spoil, make_trainer, points

NAN, INF = float("nan"), float("inf")


class LossFrom(losses.NonSaturatingLoss):
    """The non-saturating loss, whose one player's is multiplied by a number in an iteration."""

    def __init__(self, player: str, iteration: int, factor: float) -> None:
        super().__init__()
        self.player, self.at, self.factor = player, iteration, factor
        self.calls = {"discriminator": 0, "generator": 0}

    def _spoiled(self, player: str, value: Tensor) -> Tensor:
        self.calls[player] += 1
        return value * self.factor if player == self.player and self.calls[player] == self.at else value

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss."""
        return self._spoiled("discriminator", super().discriminator(real_logits, fake_logits))

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return self._spoiled("generator", super().generator(fake_logits))


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for member in state.values() if isinstance(state, dict) else state:
            yield from tensors(member)


def assert_good(checkpoint: training.Checkpoint, before: int) -> None:
    """All files are of earlier iterations and hold finite numbers, and there is one for each that was due."""
    read = [load_plain(path) for path in checkpoint.paths()]
    assert [file["iteration"] for file in read] == list(range(checkpoint.every, before, checkpoint.every))
    for file in read:
        found = [tensor for tensor in tensors(file) if tensor.is_floating_point()]
        assert found
        assert all(tensor.isfinite().all() for tensor in found)


@given(st.integers(1, 130), st.integers(0, 110), st.sampled_from([NAN, INF, -INF]), st.booleans())
def test_a_users_trainer_that_diverges_is_stopped(k: int, more: int, value: float, recovers: bool) -> None:
    """Whenever a metric is not finite, once or from then on, fit raises within 100 iterations, naming it and when."""
    trainer = Going(lambda i: value if i == k or (i > k and not recovers) else 0.0)
    with pytest.raises(TrainingDivergedError) as caught:
        training.fit(trainer, [points(2)], iterations=k + more)
    assert str(caught.value) == f"training diverged: in iteration {k} loss was {value}"
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, RuntimeError)
    assert k <= trainer.iteration <= min(k + more, k + 100)


@pytest.mark.parametrize("k", [1, 2, 49, 50, 51, 99])
@pytest.mark.parametrize(("player", "factor"), [("discriminator", NAN), ("generator", NAN), ("discriminator", INF)])
def test_a_gan_that_diverges_is_stopped(tmp_path: Path, k: int, player: str, factor: float) -> None:
    """The loss and the iteration are named, weights as well, and every checkpoint is finite."""
    trainer = make_trainer(loss=LossFrom(player, k, factor))
    checkpoint = training.Checkpoint(tmp_path, every=7, keep=100)
    with pytest.raises(TrainingDivergedError, match=rf"in iteration {k} {player}_loss was {factor}") as caught:
        training.fit(trainer, [points()], iterations=1000, callbacks=[checkpoint])
    assert k <= trainer.iteration <= k + 7
    assert "; by iteration" in str(caught.value)
    assert "generator.0.weight, generator.0.bias" in str(caught.value)
    assert_good(checkpoint, k)


@pytest.mark.parametrize("k", [1, 7, 8, 48, 49, 50, 51, 56, 100, 120])
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_weight_is_noticed_while_metrics_are_finite(tmp_path: Path, k: int, value: float) -> None:
    """A weight that a callback spoils, in whatever iteration, is named, and no checkpoint holds it."""
    network = nn.Linear(2, 3)
    trainer, checkpoint = Going(lambda i: 0.0, network=network), training.Checkpoint(tmp_path, every=7, keep=100)
    callbacks = [Spoil(network.bias, k, value), checkpoint]
    with pytest.raises(TrainingDivergedError, match=r"by iteration \d+ network.bias held values") as caught:
        training.fit(trainer, [points()], iterations=120, callbacks=callbacks)
    assert "network.weight" not in str(caught.value)
    assert k <= trainer.iteration <= k + 7
    assert_good(checkpoint, k)


@pytest.mark.parametrize("k", [1, 30, 49, 50, 51, 100, 130])
def test_a_weight_is_noticed_without_a_checkpoint(k: int) -> None:
    """Without one it is noticed within 100 iterations, or at the end of the run; a statistic too."""
    trainer = make_trainer()
    spoil = Spoil(trainer.generator[1].running_var, k, INF)  # not used in training mode
    with pytest.raises(
        TrainingDivergedError, match=r"training diverged: by iteration \d+ generator.1.running_var held"
    ):
        training.fit(trainer, [points()], iterations=130, callbacks=[spoil])
    assert k <= trainer.iteration <= min(k + 100, 130)


@pytest.mark.parametrize("iterations", [1, 3, 49, 50, 51])
def test_a_short_run_is_looked_at_before_it_ends(tmp_path: Path, iterations: int) -> None:
    """A run whose last iteration spoils it raises too, before any on_end, and leaves no checkpoint of it."""
    ended = []

    class Ending:
        """Notes that the run has ended."""

        def on_end(self, run: training.Run) -> None:
            ended.append(run.iteration)

    checkpoint, gan = training.Checkpoint(tmp_path), make_trainer()
    for trainer, callbacks in (
        (Going(lambda i: NAN if i == iterations else 0.0), []),
        (gan, [Spoil(gan.discriminator[0].weight, iterations, INF)]),
    ):
        with pytest.raises(TrainingDivergedError, match=f"iteration {iterations} "):
            training.fit(trainer, [points()], iterations=iterations, callbacks=[*callbacks, Ending(), checkpoint])
    assert (ended, checkpoint.paths()) == ([], [])


def test_all_that_was_bad_first_is_named() -> None:
    """All metrics that were not finite in the first such iteration are named, and none of a later one."""

    class Three(MyTrainer):
        """Gives three metrics."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            super().train_step(batches)
            bad = self.iteration >= 5
            return {
                "late": torch.tensor(NAN if self.iteration >= 6 else 1.0),
                "one": torch.tensor(NAN if bad else 1.0),
                "two": torch.tensor([0.0, -INF if bad else 1.0]).sum(),
            }

    with pytest.raises(TrainingDivergedError) as caught:
        training.fit(Three(), [points()], iterations=20)
    assert str(caught.value) == "training diverged: in iteration 5 one was nan and two was -inf"


def test_at_most_three_weights_are_named() -> None:
    """Of many weights the first three are named, and the others counted."""
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(4)))
    trainer = Going(lambda i: 0.0, network=network)
    spoils = [Spoil(parameter, 2, NAN) for parameter in network.parameters()]
    words = "network.0.weight, network.0.bias, network.1.weight and 5 more held values that are not finite"
    with pytest.raises(TrainingDivergedError, match=words):
        training.fit(trainer, [points()], iterations=3, callbacks=spoils)

"""Whatever trainer, networks and metrics a user brings are watched for divergence, with no false alarm."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import training
from ganlib.errors import TrainingDivergedError
from tests.training.players import Going, MyTrainer, Spoil, points

NAN, INF = float("nan"), float("inf")


class Refilling(Going):
    """Returns the same dict in every iteration, filled again."""

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Fill it."""
        self.metrics = getattr(self, "metrics", {})
        self.metrics.update(super().train_step(batches))
        return self.metrics


class AModule(nn.Module):
    """A trainer that is a module itself, as in Lightning."""

    def __init__(self, loss: Callable[[int], float]) -> None:
        super().__init__()
        self.iteration, self.network = 0, nn.Linear(2, 2)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Count."""
        next(batches)
        self.iteration += 1
        return {"loss": torch.zeros(())}


class Slots:
    """A trainer without a dict of attributes."""

    __slots__ = ("iteration", "loss")

    def __init__(self, loss: Callable[[int], float]) -> None:
        self.iteration, self.loss = 0, loss

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Count."""
        next(batches)
        self.iteration += 1
        return {"loss": torch.tensor(self.loss(self.iteration))}

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.iteration = state["iteration"]


@pytest.mark.parametrize("make", [Going, Refilling, Slots])
def test_any_trainer_is_watched(make: Callable[..., training.Trainer]) -> None:
    """The very iteration is named also where one dict is filled again and again, and for a trainer with slots."""
    with pytest.raises(TrainingDivergedError, match="in iteration 33 loss was nan"):
        training.fit(make(lambda i: NAN if i >= 33 else 0.0), [points()], iterations=60)
    training.fit(make(lambda i: float(i)), [points()], iterations=120)


def test_a_trainer_that_is_a_module_is_watched() -> None:
    """The networks of a trainer that is an nn.Module itself are looked at by their names."""
    trainer = AModule(lambda i: 0.0)
    training.fit(trainer, [points()], iterations=60)
    with pytest.raises(TrainingDivergedError, match=r"by iteration \d+ network.weight held"):
        training.fit(trainer, [points()], iterations=120, callbacks=[Spoil(trainer.network.weight, 61, NAN)])


class Masked(nn.Module):
    """An attention's mask, which always holds -inf, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mask", torch.full((3, 3), -INF).triu(1))


class WithExtraState(nn.Linear):
    """A module whose state holds more than tensors."""

    def get_extra_state(self) -> dict[str, int]:
        """Plain values."""
        return {"a": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    "network",
    [
        Masked(),
        WithExtraState(1, 1),
        nn.LazyLinear(3),
        nn.BatchNorm1d(2),
        nn.Sequential(nn.Linear(2, 2).double(), nn.Linear(2, 2), nn.Linear(2, 2).bfloat16()),
        nn.Sequential(),
    ],
    ids=["mask", "extra state", "lazy", "counts", "several dtypes", "empty"],
)
def test_unusual_networks_are_no_false_alarm(network: nn.Module) -> None:
    """A mask of -inf, a state with more than tensors, lazy weights and counts do not stop a training."""
    trainer = Going(lambda i: 0.0, network=network)
    training.fit(trainer, [points()], iterations=110)
    assert trainer.iteration == 110


def test_a_mask_does_not_hide_a_weight() -> None:
    """Next to a buffer that was never finite a weight that diverges is noticed, and only the weight is named."""
    network = Masked()
    trainer = Going(lambda i: 0.0, network=network)
    with pytest.raises(TrainingDivergedError, match="60 network.linear.weight held") as caught:
        training.fit(trainer, [points()], iterations=60, callbacks=[Spoil(network.linear.weight, 55, INF)])
    assert "mask" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        3e38,
        torch.tensor(1e300, dtype=torch.float64),
        torch.tensor(7),
        torch.tensor(True),
        torch.tensor(6e4).half(),
        0.5,
    ],
    ids=["large", "float64", "integer", "boolean", "half", "a number"],
)
def test_finite_metrics_are_no_false_alarm(value: Any) -> None:
    """A metric that is finite in its own dtype is fine; so is a plain number."""
    trainer = Going(lambda i: value)
    training.fit(trainer, [points()], iterations=110)
    assert trainer.iteration == 110


def test_metrics_may_come_and_go() -> None:
    """Metrics that are there in some iterations only, or in none, are read where they are."""

    class Lazy(MyTrainer):
        """Gives a metric in every third iteration."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            super().train_step(batches)
            return {"lazy": torch.tensor(NAN if self.iteration >= 64 else 0.0)} if self.iteration % 3 == 0 else {}

    with pytest.raises(TrainingDivergedError, match="in iteration 66 lazy was nan"):
        training.fit(Lazy(), [points()], iterations=200)

"""Learning rates follow the progress, whatever limits the run."""

from typing import Any

import pytest
import torch

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.players import MyTrainer, points


def make_optimizer() -> torch.optim.Optimizer:
    """Two groups with different rates."""
    return torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 1.0}, {"params": [torch.zeros(1)], "lr": 0.1}], lr=1.0)


@pytest.mark.parametrize("limit", [{"iterations": 10}, {"epochs": 5}])
def test_rates_follow_progress(limit: dict[str, int]) -> None:
    """Before iteration i + 1 of 10 the rates are those of progress i / 10."""
    optimizer, seen = make_optimizer(), []

    class Watching(MyTrainer):
        """Notes the rates that a step would use."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append([group["lr"] for group in optimizer.param_groups])
            return super().train_step(batches)

    schedule = training.LearningRateSchedule(optimizer, lambda progress: 1 - progress)
    training.fit(Watching(), [points()] * 2, **limit, callbacks=[schedule])
    expected = [[1 - i / 10, 0.1 * (1 - i / 10)] for i in range(10)]
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))


def test_linear_decay() -> None:
    """The factor is 1 up to start, and reaches final at the end in a straight line."""
    factor = training.linear_decay(start=0.6, final=0.05)
    assert [round(factor(progress), 6) for progress in (0, 0.6, 0.8, 1.0)] == [1.0, 1.0, 0.525, 0.05]


def test_bad_arguments() -> None:
    """What is wrong is named."""
    with pytest.raises(ArgumentValueError, match=r"start \(=1\)"):
        training.linear_decay(start=1)
    with pytest.raises(ArgumentValueError, match=r"final \(=-1\)"):
        training.linear_decay(final=-1)
    with pytest.raises(ArgumentTypeError, match="optimizer"):
        training.LearningRateSchedule(object(), lambda progress: 1.0)
    with pytest.raises(ArgumentTypeError, match="factor"):
        training.LearningRateSchedule(make_optimizer(), 0.5)

"""Learning rates follow the progress, whatever limits the run."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_rate_that_is_a_tensor_changes_in_place() -> None:
    """It stays the same tensor, where a CUDA graph reads it, and follows the progress."""
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate, fused=True)
    for halves in (1, 2):  # a second schedule begins from 0.5 again
        schedule = training.LearningRateSchedule(optimizer, lambda progress: 1 - progress / 2)
        training.fit(MyTrainer(), [points()], iterations=4, callbacks=[schedule])
        assert optimizer.param_groups[0]["lr"] is rate
        assert rate == 0.25, halves


def test_a_later_schedule_begins_from_the_first_rates() -> None:
    """After a run whose rate fell to 0, a new schedule of the same optimizer starts from the rate of before."""
    optimizer, trainer = make_optimizer(), MyTrainer()
    seen: list[float] = []

    class Noting:
        """Notes the rate of the first iteration."""

        def on_start(self, run: training.Run) -> None:
            seen.append(optimizer.param_groups[0]["lr"])

    for iterations in (4, 8):  # progress is of the total: the second run begins at a half, where the fall begins
        schedule = training.LearningRateSchedule(optimizer, training.linear_decay(start=0.5, final=0.0))
        training.fit(trainer, [points()], iterations=iterations, callbacks=[schedule, Noting()])
        assert optimizer.param_groups[0]["lr"] == 0.0
    assert seen == [1.0, 1.0]


@pytest.mark.parametrize("factor", [training.cosine_decay, lambda progress: "fast", 0.5])
def test_what_is_not_a_factor_is_refused_at_once(factor: Any) -> None:
    """A maker of factors without its parentheses, or what does not return a number, is refused when it is given."""
    with pytest.raises(ArgumentTypeError, match=r"factor \(="):
        training.LearningRateSchedule(make_optimizer(), factor)


def test_linear_decay() -> None:
    """The factor is 1 up to start, and reaches final at the end in a straight line."""
    factor = training.linear_decay(start=0.6, final=0.05)
    assert [round(factor(progress), 6) for progress in (0, 0.6, 0.8, 1.0)] == [1.0, 1.0, 0.525, 0.05]


@given(st.floats(0, 0.99), st.floats(0, 2), st.floats(0, 1))
def test_cosine_decay_is_half_a_cosine(start: float, final: float, share: float) -> None:
    """The factor is 1 up to start, final at 1, and between them final + (1 - final) cos^2 of a quarter turn's share."""
    factor = training.cosine_decay(start=start, final=final)
    assert factor(0.0) == factor(start * share) == pytest.approx(1.0)
    assert factor(1.0) == pytest.approx(final, abs=1e-12)
    expected = final + (1 - final) * math.cos(math.pi / 2 * share) ** 2
    assert factor(start + share * (1 - start)) == pytest.approx(expected, abs=1e-6)


@given(st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_cosine_decay_never_rises(start: float, final: float, one: float, other: float) -> None:
    """Later in a run the factor is the same or lower, and always between final and 1."""
    factor = training.cosine_decay(start=start, final=final)
    early, late = factor(min(one, other)), factor(max(one, other))
    assert 1 + 1e-12 >= early >= late - 1e-12 >= final - 2e-12


def test_cosine_decay_is_torchs_annealing() -> None:
    """A run of 20 iterations has the rates of CosineAnnealingLR with eta_min = final times the rate."""
    ours, theirs, seen, expected = make_optimizer(), make_optimizer(), [], []
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=20, eta_min=0.0)

    class Watching(MyTrainer):
        """Notes the rates that a step would use, ours and torch's."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append([group["lr"] for group in ours.param_groups])
            expected.append([group["lr"] for group in theirs.param_groups])
            theirs.step()
            annealing.step()
            return super().train_step(batches)

    schedule = training.LearningRateSchedule(ours, training.cosine_decay())
    training.fit(Watching(), [points()], iterations=20, callbacks=[schedule])
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))
    assert [group["lr"] for group in ours.param_groups] == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("decay", [training.linear_decay, training.cosine_decay])
@pytest.mark.parametrize(("name", "value"), [("start", 1), ("start", -0.1), ("final", -1), ("final", float("nan"))])
def test_bad_decays(decay: Any, name: str, value: float) -> None:
    """A start outside of [0, 1) and a final factor below 0 are named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\)"):
        decay(**{name: value})


@pytest.mark.parametrize("limit", [{"iterations": 10}, {"epochs": 5}])
def test_a_tensor_follows_the_progress_in_place(limit: dict[str, int]) -> None:
    """Iteration i + 1 of 10 reads the value of progress i / 10, always from the same memory."""
    weight, seen = torch.full((), -1.0, dtype=torch.float64), []
    address = weight.data_ptr()

    class Watching(MyTrainer):
        """Notes the value that a step would use."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append(weight.item())
            return super().train_step(batches)

    schedule = training.Schedule(weight, lambda progress: 3 - progress)
    training.fit(Watching(), [points()] * 2, **limit, callbacks=[schedule])
    assert seen == pytest.approx([3 - i / 10 for i in range(10)])
    assert (weight.item(), weight.data_ptr()) == (2.0, address)


def test_a_function_may_return_a_whole_number() -> None:
    """A step of 0 or 1 is written into a floating tensor of any precision."""
    weight = torch.zeros((), dtype=torch.bfloat16)
    schedule = training.Schedule(weight, lambda progress: int(progress >= 0.5))
    for iterations, expected in ((4, 1.0), (9, 1.0)):
        training.fit(MyTrainer(), [points()], iterations=iterations, callbacks=[schedule])
        assert weight == expected


@pytest.mark.parametrize(
    "tensor", [1.0, torch.zeros(1), torch.zeros((), dtype=torch.int64), torch.zeros((), requires_grad=True)]
)
def test_what_a_schedule_cannot_write_to_is_refused(tensor: Any) -> None:
    """Only a floating-point scalar without gradients can be written to."""
    with pytest.raises(ArgumentTypeError, match=r"tensor \(="):
        training.Schedule(tensor, lambda progress: 1.0)


@pytest.mark.parametrize("function", [training.cosine_decay, lambda progress: torch.ones(2), 0.5])
def test_what_is_not_a_function_is_refused(function: Any) -> None:
    """It is a TypeError when the schedule is made."""
    with pytest.raises(ArgumentTypeError, match=r"function \(="):
        training.Schedule(torch.zeros(()), function)


def test_bad_arguments() -> None:
    """What is wrong is named."""
    with pytest.raises(ArgumentTypeError, match="optimizer"):
        training.LearningRateSchedule(object(), lambda progress: 1.0)
    with pytest.raises(ArgumentTypeError, match="factor"):
        training.LearningRateSchedule(make_optimizer(), 0.5)

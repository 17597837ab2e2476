"""Functions of the progress go where their formulas say."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib import training
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError
from tests.training.players import MyTrainer, points

values = st.floats(-1e6, 1e6)
ends = st.floats(1e-3, 1)


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


@pytest.mark.parametrize("decay", [training.linear_decay, training.cosine_decay])
@pytest.mark.parametrize(("name", "value"), [("start", 1), ("start", -0.1), ("final", -1), ("final", float("nan"))])
def test_bad_decays(decay: Any, name: str, value: float) -> None:
    """A start outside of [0, 1) and a final factor below 0 are named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\)"):
        decay(**{name: value})


def rounding(first: float, last: float) -> float:
    """What a few operations may lose, also of the smallest numbers."""
    return 1e-12 * max(abs(first), abs(last)) + 1e-300


def r3gan(images: float, base_value: float, total_nimg: float, final_value: float) -> float:
    """The schedule of R3GAN, as its formula is written there, in images."""
    decay = 0.5 * (1 + np.cos(np.pi * images / float(total_nimg)))
    return float(np.where(images > total_nimg, final_value, base_value + (1 - decay) * (final_value - base_value)))


@given(values, values, ends, st.floats(0, 1))
def test_a_ramp_is_that_of_r3gan(first: float, last: float, until: float, progress: float) -> None:
    """At any progress of a run of 4,000 images, of which the ramp takes a share."""
    expected = r3gan(4000 * progress, first, 4000 * until, last)
    actual = training.cosine_ramp(first, last, until=until)(progress)
    assert actual == pytest.approx(expected, rel=1e-9, abs=rounding(first, last))


@given(values, values, ends, st.floats(0, 1), st.floats(0, 1))
def test_a_ramp_never_turns_back(first: float, last: float, until: float, one: float, other: float) -> None:
    """It begins and ends at exactly the given values, stays at the last, and is monotone between them."""
    ramp = training.cosine_ramp(first, last, until=until)
    assert ramp(0.0) == first
    assert ramp(until) == ramp(1.0) == last
    early, late = ramp(min(one, other)), ramp(max(one, other))
    slack = rounding(first, last)
    assert (late - early) * (last - first) >= -slack * abs(last - first)
    assert min(first, last) - slack <= early <= max(first, last) + slack
    middle = (first + last) / 2
    assert ramp(until / 2) == pytest.approx(middle, abs=rounding(first, last))


@given(st.floats(0, 2), st.floats(0, 1))
def test_a_ramp_from_1_is_a_cosine_decay(final: float, progress: float) -> None:
    """Over a whole run."""
    actual = training.cosine_ramp(1.0, final)(progress)
    assert actual == pytest.approx(training.cosine_decay(final=final)(progress), abs=1e-12)


@pytest.mark.parametrize("name", ["first", "last", "until"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, True, 1j, torch.ones(()), 10**400], ids=shown)
def test_what_is_no_end_of_a_ramp_is_refused(name: str, value: Any) -> None:
    """The argument is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"^{name} \(="):
        training.cosine_ramp(**({"first": 1.0, "last": 0.0} | {name: value}))


@pytest.mark.parametrize("until", [0, -0.5, 1.5])
def test_a_ramp_ends_within_the_run(until: float) -> None:
    """Its end is a progress above 0."""
    with pytest.raises(ArgumentValueError, match=rf"until \(={until}\)"):
        training.cosine_ramp(0.0, 1.0, until=until)


def test_a_ramp_schedules_a_learning_rate_and_a_weight() -> None:
    """As in R3GAN: both fall until the middle of 8 iterations, then stay."""
    rate, weight, seen = torch.tensor(2e-4), torch.zeros((), dtype=torch.float64), []
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate, fused=True)

    class Watching(MyTrainer):
        """Notes what a step would use."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append((rate.item(), weight.item()))
            return super().train_step(batches)

    callbacks = [
        training.LearningRateSchedule(optimizer, training.cosine_ramp(1.0, 0.25, until=0.5)),
        training.Schedule(weight, training.cosine_ramp(2.0, 0.2, until=0.5)),
    ]
    training.fit(Watching(), [points()], iterations=8, callbacks=callbacks)
    for iteration, actual in enumerate(seen):
        expected = r3gan(iteration, 2e-4, 4, 5e-5), r3gan(iteration, 2.0, 4, 0.2)
        assert actual == pytest.approx(expected, rel=1e-6)

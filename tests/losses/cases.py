"""The table of the adversarial losses: each with the formulas that it must be."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from ganlib.losses import (
    AdversarialLoss,
    HingeLoss,
    LabelSmoothing,
    LeastSquaresLoss,
    MinimaxLoss,
    NonSaturatingLoss,
    RelativisticAverageLoss,
    RelativisticLoss,
    WassersteinLoss,
    WeightedSum,
)
from tests import strategies

__all__ = ["CASES", "Case", "every_case", "generator_loss", "logit_pairs"]


class Case(NamedTuple):
    """A loss, and what it must be.

    Args:
        loss: under test.
        discriminator: (real, fake) -> the discriminator's loss, as one would write it down.
        generator: (fake, real) -> the generator's loss.
        pairs: whether it compares real with fake.
        monotone: the logits between which its gradients have the signs of a game.
    """

    loss: AdversarialLoss
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    pairs: bool = False
    monotone: tuple[float, float] = (-1e4, 1e4)


def log_sigmoid(x):
    """Log of the probability of being real, for logits that are not extreme."""
    return x.sigmoid().log()


def cross_entropies(real_target, fake_target):
    """The discriminator's cross-entropy with two targets."""

    def formula(r, f):
        real = real_target * log_sigmoid(r) + (1 - real_target) * log_sigmoid(-r)
        fake = fake_target * log_sigmoid(f) + (1 - fake_target) * log_sigmoid(-f)
        return -real.mean() - fake.mean()

    return formula


def margins(r, f):
    """The hinge loss of the discriminator."""
    return torch.where(r < 1, 1 - r, 0).mean() + torch.where(f > -1, 1 + f, 0).mean()


def above_average(r, f):
    """The relativistic average loss of the player who wants r above f."""
    return -log_sigmoid(r - f.mean()).mean() - log_sigmoid(r.mean() - f).mean()


SMOOTHING = LabelSmoothing(real=0.9, fake=0.1)
"""Cross-entropy with these targets pushes a logit towards ±log 9, which is about ±2.197."""

CASES = {
    "minimax": Case(MinimaxLoss(), cross_entropies(1, 0), lambda f, r: (1 - f.sigmoid()).log().mean()),
    "minimax, smoothed": Case(
        MinimaxLoss(SMOOTHING),
        cross_entropies(0.9, 0.1),
        lambda f, r: (1 - f.sigmoid()).log().mean(),
        monotone=(-2.1875, 2.1875),
    ),
    "non-saturating": Case(NonSaturatingLoss(), cross_entropies(1, 0), lambda f, r: -log_sigmoid(f).mean()),
    "non-saturating, smoothed": Case(
        NonSaturatingLoss(SMOOTHING),
        cross_entropies(0.9, 0.1),
        lambda f, r: -log_sigmoid(f).mean(),
        monotone=(-2.1875, 2.1875),
    ),
    "least squares": Case(
        LeastSquaresLoss(),
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda f, r: ((f - 1) ** 2).mean() / 2,
        monotone=(0, 1),
    ),
    "least squares, targets": Case(
        LeastSquaresLoss(SMOOTHING, real_target=2.0, fake_target=-3.0, generator_target=1.5),
        lambda r, f: ((r - 1.5) ** 2).mean() / 2 + ((f + 2.5) ** 2).mean() / 2,
        lambda f, r: ((f - 1.5) ** 2).mean() / 2,
        monotone=(-2.5, 1.5),
    ),
    "hinge": Case(HingeLoss(), margins, lambda f, r: -f.mean()),
    "wasserstein": Case(WassersteinLoss(), lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean()),
    "relativistic": Case(
        RelativisticLoss(),
        lambda r, f: -log_sigmoid(r - f).mean(),
        lambda f, r: -log_sigmoid(f - r).mean(),
        pairs=True,
    ),
    "relativistic average": Case(
        RelativisticAverageLoss(), above_average, lambda f, r: above_average(f, r), pairs=True
    ),
    "weighted sum": Case(
        WeightedSum([HingeLoss(), WassersteinLoss()], [0.5, 2.0]),
        lambda r, f: margins(r, f) / 2 + 2 * (f.mean() - r.mean()),
        lambda f, r: -2.5 * f.mean(),
    ),
    "weighted sum that pairs": Case(
        WeightedSum([WassersteinLoss(), RelativisticLoss()], [0.5, 2.0]),
        lambda r, f: (f.mean() - r.mean()) / 2 - 2 * log_sigmoid(r - f).mean(),
        lambda f, r: -f.mean() / 2 - 2 * log_sigmoid(f - r).mean(),
        pairs=True,
    ),
}


every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@st.composite
def logit_pairs(draw, case, lowest=-20.0, highest=20.0, dtype=torch.float64):
    """Real and fake logits of any shapes, of one shape for a loss that compares them."""
    real = draw(strategies.shapes)
    numbers = st.floats(lowest, highest, width=32)
    return tuple(
        torch.tensor(draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape))), dtype=dtype).view(
            shape
        )
        for shape in (real, real if case.pairs else draw(strategies.shapes))
    )


def generator_loss(case, fake, real):
    """The generator's loss, given real logits only where it asks for them."""
    return case.loss.generator(fake, real) if case.pairs else case.loss.generator(fake)

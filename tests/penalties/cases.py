"""The table of the penalties: each with its closed form on critics whose gradients one can write down."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ganlib.penalties import DRAGAN, R1, R2, Consistency, GradientPenalty, LeCam, Penalty

__all__ = ["CASES", "CRITICS", "F64", "SHAPE", "Case", "Critic", "every_case", "network"]

F64 = torch.float64
SHAPE = (1, 2, 3)
FACTORS = torch.arange(1.0, 7.0, dtype=F64).view(1, *SHAPE)


class Critic(NamedTuple):
    """A critic whose gradient one can write down.

    Args:
        logits: samples (N, 1, 2, 3) -> logits.
        slope: samples -> the gradient of the sum of each sample's logits.
        num_scales: how many logits it gives.
    """

    logits: Callable[[Tensor], Any]
    slope: Callable[[Tensor], Tensor]
    num_scales: int = 1


def inner_product(x):
    """<factors, x>, (N,)."""
    return (FACTORS * x).flatten(1).sum(1)


CRITICS = {
    "linear": Critic(inner_product, lambda x: FACTORS.expand_as(x)),
    "quadratic": Critic(lambda x: x.square().flatten(1).sum(1, keepdim=True) / 2, lambda x: x),
    "patches": Critic(lambda x: FACTORS * x.square() / 2, lambda x: FACTORS * x),
    "scales": Critic(
        lambda x: (3 * x.flatten(1)[:, :1], FACTORS * x.square() / 2, inner_product(x)),
        lambda x: FACTORS * x + FACTORS + 3 * (torch.arange(6).view(1, *SHAPE) == 0),
        num_scales=3,
    ),
}


def norms(x):
    """The norm of each sample."""
    return x.flatten(1).square().sum(1).sqrt()


def doubled(critic, samples):
    """The mean over samples of the squares of all their logits' changes where samples are doubled."""
    pairs = zip(scales(critic.logits(samples)), scales(critic.logits(2 * samples)), strict=True)
    return sum((one - other).square().sum() for one, other in pairs) / len(samples)


def scales(logits):
    """A tuple of logits, of one scale too."""
    return logits if isinstance(logits, tuple) else (logits,)


def apart(critic, real, fake):
    """The mean squared distances of logits from the other side's mean, summed over scales."""
    pairs = zip(scales(critic.logits(real)), scales(critic.logits(fake)), strict=True)
    return sum(((r - f.mean()) ** 2).mean() + ((f - r.mean()) ** 2).mean() for r, f in pairs)


class Case(NamedTuple):
    """A penalty, and what it must be.

    Args:
        make: (weight, every=..., num_scales=...) -> the penalty, in a form without random numbers where it has one.
        value: (critic, real, fake) -> the penalty of weight 1.
        sees: for each call of the discriminator, which side's samples and conditions it is given.
        metric: the name that the trainer gives it.
        mixes: whether it mixes real and fake; it is tested with fakes that equal the real ones.
        tolerance: of the closed form.
    """

    make: Callable[..., Penalty]
    value: Callable[[Critic, Tensor, Tensor], Tensor]
    sees: tuple[str, ...]
    metric: str
    mixes: bool = False
    tolerance: float = 1e-12


def make_lecam(*weight, num_scales=1, **options):
    """LeCam for as many scales as the critic has."""
    return LeCam(*weight, num_scales=num_scales, **options)


def without_scales(make):
    """A maker of penalties to whom the number of scales is nothing."""
    return lambda *weight, num_scales=1, **options: make(*weight, **options)


def make_consistency(weight=10.0, **options):
    """Consistency on both sides, with twice the weight on fakes."""
    return Consistency(lambda x: 2 * x, weight, fake_weight=2 * abs(weight), **options)


CASES = {
    "R1": Case(
        without_scales(R1), lambda critic, real, _: norms(critic.slope(real)).square().mean() / 2, ("real",), "r1"
    ),
    "R2": Case(
        without_scales(R2), lambda critic, _, fake: norms(critic.slope(fake)).square().mean() / 2, ("fake",), "r2"
    ),
    "GradientPenalty": Case(
        without_scales(GradientPenalty),
        lambda critic, real, _: (norms(critic.slope(real)) - 1).square().mean(),
        ("mixed",),
        "gradient_penalty",
        mixes=True,
    ),
    "DRAGAN": Case(
        without_scales(lambda *weight, **options: DRAGAN(*weight, noise=0.0, **options)),
        lambda critic, real, _: (norms(critic.slope(real)) - 1).square().mean(),
        ("real",),
        "dragan",
    ),
    "Consistency": Case(
        without_scales(make_consistency),
        lambda critic, real, fake: doubled(critic, real) + 2 * doubled(critic, fake),
        ("real", "real", "fake", "fake"),
        "consistency",
    ),
    "LeCam": Case(make_lecam, apart, ("real", "fake"), "le_cam", tolerance=1e-5),  # its means are float32
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def network(outputs=1, dtype=torch.float32):
    """A smooth critic of samples (N, 3) with parameters, its second derivatives other than 0."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs)).to(dtype)

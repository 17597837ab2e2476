"""Define the mixtures of ``gaussians.py``, measure samples, and write a table and a plot."""

import csv
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from ganlib import latents

SAMPLES = 10_000
REAL_SHARE = 1 - math.exp(-(3**2) / 2)  # of an isotropic 2-D Gaussian within 3 sigma: 98.9 %


@dataclass(frozen=True)
class Mixture:
    """Represent a mixture of isotropic 2-D Gaussians with equal weights.

    Args:
        centres: (modes, 2) float.
        sigma: standard deviation of each Gaussian.
    """

    centres: Tensor
    sigma: float

    @property
    def spread(self) -> float:
        """The standard deviation of the mixture. The networks get samples divided by it."""
        return math.sqrt(self.centres.var(0, correction=0).mean().item() + self.sigma**2)

    @cached_property
    def _distribution(self) -> latents.GaussianMixture:
        return latents.GaussianMixture(self.centres, self.sigma)  # cached: it keeps its tables on the device

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n samples, (n, 2), on the generator's device."""
        return self._distribution(n, device=generator.device, generator=generator)


@dataclass(frozen=True)
class Verdict:
    """Say how good samples are.

    Args:
        modes: number of modes found.
        of: number of modes of the mixture.
        share: share of the samples within 3 sigma of a mode, in [0, 1].
    """

    modes: int
    of: int
    share: float

    def __str__(self) -> str:
        return f"{self.modes}/{self.of} modes, {self.share:.1%} within 3 sigma"


def judge(samples: Tensor, mixture: Mixture) -> Verdict:
    """Count the modes that were found, and the samples within 3 sigma of a mode."""
    distance, nearest = torch.cdist(samples, mixture.centres).min(dim=1)
    near = distance <= 3 * mixture.sigma
    modes = len(mixture.centres)
    per_mode = nearest[near].bincount(minlength=modes)
    found = (per_mode >= 0.1 * len(samples) / modes).sum()
    return Verdict(int(found), modes, near.float().mean().item())


@dataclass(frozen=True)
class Outcome:
    """Describe a finished training.

    Args:
        loss: name of the loss.
        penalty: names of the penalties.
        seed: seed of the training.
        samples: (10,000, 2) float, from the averaged generator, in the units of the data.
        verdict: how good the samples are.
        iterations: number of iterations.
        seconds: duration in seconds.
    """

    loss: str
    penalty: str
    seed: int
    samples: Tensor
    verdict: Verdict
    iterations: int
    seconds: float


class Table:
    """Print each row and write it to a CSV file."""

    HEADER = ("loss", "penalty", "seed", "modes", "of", "share_within_3_sigma", "iterations", "seconds")

    def __init__(self, file: TextIO) -> None:
        self._file, self._writer = file, csv.writer(file, lineterminator="\n")
        self._writer.writerow(self.HEADER)
        print(f"{'loss':<20} {'penalty':<8} {'seed':>4} {'modes':>6} {'3 sigma':>7} {'iterations':>10} {'seconds':>7}")

    def add(self, outcome: Outcome) -> None:
        """Print and write one row."""
        name, verdict = (outcome.loss, outcome.penalty, outcome.seed), outcome.verdict
        self._writer.writerow(
            [*name, verdict.modes, verdict.of, f"{verdict.share:.4f}", outcome.iterations, f"{outcome.seconds:.1f}"]
        )
        self._file.flush()  # a comparison that is stopped keeps its finished rows
        print(
            f"{outcome.loss:<20} {outcome.penalty:<8} {outcome.seed:>4} {verdict.modes:>3}/{verdict.of:<2} "
            f"{verdict.share:>7.1%} {outcome.iterations:>10} {outcome.seconds:>7.1f}",
            flush=True,
        )


def draw(axes: Axes, outcome: Outcome, mixture: Mixture) -> None:
    """Plot samples as points, and a circle of 3 sigma around each mode."""
    reach = 1.25 * mixture.centres.abs().max().item()
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    x, y = outcome.samples[:2000].T.numpy()
    axes.scatter(x, y, s=1, linewidths=0, color="tab:blue")
    for centre in mixture.centres.tolist():
        axes.add_patch(Circle(centre, 3 * mixture.sigma, fill=False, linewidth=0.5, color="tab:red"))

"""How ``gaussians.py`` measures samples, and what it writes: the mixtures, the verdict, a table, a panel."""

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
REAL_SHARE = 1 - math.exp(-(3**2) / 2)  # of a round Gaussian in the plane, within 3 sigma: 98.9 %


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians in the plane.

    Args:
        centres: (modes, 2) float.
        sigma: the standard deviation of each.
    """

    centres: Tensor
    sigma: float

    @property
    def spread(self) -> float:
        """The standard deviation of the whole; the networks see samples divided by it, so in units of about 1."""
        return math.sqrt(self.centres.var(0, correction=0).mean().item() + self.sigma**2)

    @cached_property
    def _distribution(self) -> latents.GaussianMixture:
        return latents.GaussianMixture(self.centres, self.sigma)  # once: it keeps its tables on the device

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n samples, (n, 2), on the generator's device."""
        return self._distribution(n, device=generator.device, generator=generator)


@dataclass(frozen=True)
class Verdict:
    """How good samples are.

    Args:
        modes: how many were found.
        of: how many there are.
        share: of the samples, in [0, 1], within 3 sigma of a mode.
    """

    modes: int
    of: int
    share: float

    def __str__(self) -> str:
        return f"{self.modes}/{self.of} modes, {self.share:.1%} within 3 sigma"


def judge(samples: Tensor, mixture: Mixture) -> Verdict:
    """Count the modes that are found, and the samples that lie within 3 sigma of one."""
    distance, nearest = torch.cdist(samples, mixture.centres).min(dim=1)
    near = distance <= 3 * mixture.sigma
    modes = len(mixture.centres)
    per_mode = nearest[near].bincount(minlength=modes)
    found = (per_mode >= 0.1 * len(samples) / modes).sum()
    return Verdict(int(found), modes, near.float().mean().item())


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Args:
        loss: its loss's name.
        penalty: its penalties' names.
        seed: its seed.
        samples: (10,000, 2) float, of the averaged generator, in the data's units.
        verdict: on them.
        iterations: how many it took.
        seconds: how long.
    """

    loss: str
    penalty: str
    seed: int
    samples: Tensor
    verdict: Verdict
    iterations: int
    seconds: float


class Table:
    """Prints a row as soon as it is known, and writes it to a CSV file."""

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
        self._file.flush()  # a long comparison that is stopped leaves what it has
        print(
            f"{outcome.loss:<20} {outcome.penalty:<8} {outcome.seed:>4} {verdict.modes:>3}/{verdict.of:<2} "
            f"{verdict.share:>7.1%} {outcome.iterations:>10} {outcome.seconds:>7.1f}",
            flush=True,
        )


def draw(axes: Axes, outcome: Outcome, mixture: Mixture) -> None:
    """Samples as points, and a circle of 3 sigma around each mode; what lies outside the frame is not seen."""
    reach = 1.25 * mixture.centres.abs().max().item()
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    x, y = outcome.samples[:2000].T.numpy()
    axes.scatter(x, y, s=1, linewidths=0, color="tab:blue")
    for centre in mixture.centres.tolist():
        axes.add_patch(Circle(centre, 3 * mixture.sigma, fill=False, linewidth=0.5, color="tab:red"))

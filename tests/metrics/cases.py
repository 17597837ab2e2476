"""One of each metric, how it is fed, and what it is by the published formulas, in numpy and float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ganlib.metrics import (
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    LabelAccuracy,
    Memorization,
    ModeCoverage,
    PrecisionRecall,
)

__all__ = [
    "CASES",
    "TWO_SIDED",
    "Case",
    "assert_equal",
    "distances",
    "every",
    "fid",
    "kid",
    "made",
    "normal",
    "prdc",
    "same",
    "two_sided",
]


def same(samples: Tensor) -> Tensor:
    """The network of most tests: the samples are the features, or the logits."""
    return samples


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian samples."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_equal(given: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """Values, tuples or dicts of them are equal within 1e-6."""
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance, check_dtype=False)


class Case(NamedTuple):
    """A metric: ``make(network, **options)``, and its formula of outputs for real, fake and training, and labels."""

    make: Callable[..., Any]
    formula: Callable[..., Any]

    def feed(self, metric: Any, samples: Tensor, *, real: bool) -> None:
        """Update it; where it has no real side, only with generated samples."""
        if isinstance(metric, LabelAccuracy):
            if not real:
                metric.update(samples, _labels(samples))
        elif isinstance(metric, InceptionScore):
            if not real:
                metric.update(samples)
        else:
            if isinstance(metric, Memorization) and real:
                metric.add_training(_training(samples))
            metric.update(samples, real=real)

    def expected(self, real: Tensor, fake: Tensor, network: Any = same) -> Any:
        """What it is by the formula."""
        value = self.formula(
            *(network(x).double().numpy() for x in (real, fake, _training(real))), _labels(fake).numpy()
        )
        return tree_map(lambda number: torch.tensor(number, dtype=torch.float64), value)

    def measured(self, real: Tensor, fake: Tensor, network: Any = same, **options: Any) -> Any:
        """What a new metric gives."""
        metric = self.make(network, **options)
        self.feed(metric, real, real=True)
        self.feed(metric, fake, real=False)
        return metric.compute()


def _labels(samples: Tensor) -> Tensor:
    """Labels that some of the samples have."""
    return (samples.flatten(1)[:, 0] > 0).long()


def _training(samples: Tensor) -> Tensor:
    """Training samples that differ from real ones."""
    return samples + 0.25 * samples.round()


def fid(real: np.ndarray, fake: np.ndarray, *_: Any) -> float:
    """pytorch-fid's formula."""
    scipy = pytest.importorskip("scipy")
    a, b = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (real, fake))
    root = scipy.linalg.sqrtm(a.dot(b)).real
    return ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root)


def kid(real: np.ndarray, fake: np.ndarray, *_: Any) -> tuple[float, float]:
    """The double sums of Bińkowski et al."""
    m, n, features = len(real), len(fake), real.shape[1]

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / features + 1) ** 3

    within_real = sum(k(real[i], real[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_fake = sum(k(fake[i], fake[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    between = sum(k(x, y) for x in real for y in fake) / (m * n)
    return within_real + within_fake - 2 * between, 0.0


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All Euclidean distances, one after the other."""
    return np.array([[np.sqrt(((a - b) ** 2).sum()) for b in y] for a in x])


def prdc(real: np.ndarray, fake: np.ndarray, *_: Any, k: int = 1) -> dict[str, float]:
    """The formulas of the package ``prdc``."""
    real_radii, fake_radii = (np.sort(distances(side, side), axis=1)[:, k] for side in (real, fake))
    between = distances(real, fake)
    return {
        "precision": (between < real_radii[:, None]).any(axis=0).mean(),
        "recall": (between < fake_radii[None]).any(axis=1).mean(),
        "density": (1 / k) * (between < real_radii[:, None]).sum(axis=0).mean(),
        "coverage": (between.min(axis=1) < real_radii).mean(),
    }


def _inception_score(_: np.ndarray, logits: np.ndarray, *__: Any) -> float:
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return np.exp(np.mean([sum(a * np.log(a / b) for a, b in zip(row, p.mean(0), strict=True) if a) for row in p]))


def _label_accuracy(_: np.ndarray, logits: np.ndarray, __: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([row.argmax() == label for row, label in zip(logits, labels, strict=True)]))


def _mode_coverage(real: np.ndarray, fake: np.ndarray, *_: Any) -> dict[str, float]:
    q, p = (np.bincount(side.argmax(1), minlength=side.shape[1]) / len(side) for side in (real, fake))
    with np.errstate(divide="ignore"):
        divergence = sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a)
    return {"modes_found": (p > 0).sum(), "modes_real": (q > 0).sum(), "kl_divergence": divergence}


def _mode_coverage_uniform(_: np.ndarray, fake: np.ndarray, *__: Any) -> dict[str, float]:
    modes = fake.shape[1]
    p = np.bincount(fake.argmax(1), minlength=modes) / len(fake)
    return {
        "modes_found": (p > 0).sum(),
        "modes_real": modes,
        "kl_divergence": sum(a * np.log(a * modes) for a in p if a),
    }


def _memorization(real: np.ndarray, fake: np.ndarray, training: np.ndarray, _: Any) -> dict[str, float]:
    """The statistic of Mann and Whitney, divided by the number of pairs."""
    stats = pytest.importorskip("scipy").stats
    x, y = (distances(side, training).min(1) for side in (real, fake))
    return {
        "memorization": stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)),
        "nearest_distance": np.median(y),
        "nearest_distance_real": np.median(x),
    }


CASES = {
    "frechet_distance": Case(FrechetDistance, fid),
    "kernel_distance": Case(KernelDistance, kid),
    "precision_recall": Case(lambda network, **options: PrecisionRecall(network, 1, **options), prdc),
    "memorization": Case(Memorization, _memorization),
    "mode_coverage": Case(ModeCoverage, _mode_coverage),
    "mode_coverage_uniform": Case(
        lambda network, **options: ModeCoverage(network, reference="uniform", **options), _mode_coverage_uniform
    ),
    "label_accuracy": Case(LabelAccuracy, _label_accuracy),
    "inception_score": Case(InceptionScore, _inception_score),
}
TWO_SIDED = [name for name in CASES if name not in ("mode_coverage_uniform", "label_accuracy", "inception_score")]

every = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
two_sided = pytest.mark.parametrize("case", [CASES[name] for name in TWO_SIDED], ids=TWO_SIDED)


def made(case: Case, real: Tensor, fake: Tensor, network: Any = same) -> Any:
    """A metric that has been fed."""
    metric = case.make(network)
    case.feed(metric, real, real=True)
    case.feed(metric, fake, real=False)
    return metric

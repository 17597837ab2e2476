"""Compute the Fréchet distance between real and generated samples."""

import os
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.metrics._metric import Features, Options, RealFakeMetric, State

__all__ = ["FrechetDistance"]


class FrechetDistance(RealFakeMetric):
    r"""Compute the Fréchet distance between real and generated samples, in the features of a network.

    With means :math:`\mu` and covariances :math:`\Sigma` of the features,

    .. math::
        \lVert \mu_r - \mu_f \rVert^2 + \operatorname{tr}\left(\Sigma_r + \Sigma_f
        - 2 (\Sigma_r \Sigma_f)^{1/2}\right).

    With ``features="inception"`` it is the Fréchet inception distance (FID). Lower is better. Means and covariances are
    computed in float64, batch by batch. Singular covariances are allowed. The value depends on the features. With fewer
    than about ten thousand samples, it also depends on their number. Compare only values with the same features and the
    same number of samples.

    Args:
        features: function from samples to features (N, F) float, or ``"inception"`` for :class:`InceptionFeatures`. For
            digits, use ``DigitClassifier.pretrained().features``. Its modules run in evaluation mode.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if ``features`` is not callable.
        ArgumentValueError: if the timeout is not above 0.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> distance = FrechetDistance(lambda samples: samples)
        >>> generator = torch.Generator().manual_seed(0)
        >>> real = torch.randn(5000, 2, generator=generator)
        >>> distance.update(real, real=True)
        >>> distance.update(real + torch.tensor([3.0, 4.0]), real=False)  # moved by 5: 5^2
        >>> round(distance.compute().item(), 3)
        25.0

    References:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017,
        arXiv:1706.08500, equation 6.

        Dowson and Landau, "The Fréchet Distance between Multivariate Normal Distributions", 1982,
        doi:10.1016/0047-259X(82)90077-X.
    """

    higher_is_better: bool = False
    fake_n: Tensor

    def __init__(self, features: Features, *, timeout: float = 60.0, **options: Unpack[Options]) -> None:
        super().__init__("features", features, timeout, options)
        for side in ("real", "loaded", "fake"):
            for name, value in _NOTHING._asdict().items():
                self.add_state(f"{side}_{name}", value.clone(), persistent=True)
        self.add_state("loaded_without_count", torch.tensor(False), persistent=True)

    def compute(self) -> Tensor:
        """Compute the distance of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A scalar, 0 or more.

        Raises:
            ArgumentValueError: if there are fewer than two real or two generated samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        states = self._states()
        real, fake = self._real(states), _total(states, "fake")
        if min(real.n, fake.n) < 2:
            raise ArgumentValueError(
                f"update was given {int(real.n)} real and {int(fake.n)} generated samples; at least 2 of each "
                "are needed"
            )
        if len(real.mean) != len(fake.mean):
            raise ShapeError(
                f"features gave {len(real.mean)} features for real samples, and {len(fake.mean)} for generated samples"
            )
        real_covariance, fake_covariance = (side.scatter / (side.n - 1) for side in (real, fake))
        root_trace = torch.linalg.svdvals(_root(real_covariance).T @ _root(fake_covariance)).sum()
        apart = (real.mean - fake.mean).square().sum()
        return (apart + real_covariance.trace() + fake_covariance.trace() - 2 * root_trace).clamp(min=0)

    def save_statistics(self, path: str | os.PathLike[str]) -> None:
        """Save mean and covariance of the real samples as ``.npz``, a format that pytorch-fid and clean-fid read too.

        The arrays are ``mu`` (F,), ``sigma`` (F, F) and ``count``, the number of samples. With several processes, all
        of them must call this method, and the first one writes the file.

        Args:
            path: the file. It is written completely or not at all.

        Raises:
            ArgumentValueError: if there are fewer than two real samples.
            RunFolderError: if the file cannot be written.
        """
        super().save_statistics(path)

    def load_statistics(self, path: str | os.PathLike[str]) -> None:
        """Replace the statistics of the real samples with those of a file.

        With several processes, each of them must call this method.

        Args:
            path: a file of :meth:`save_statistics`, pytorch-fid or clean-fid. If it has no ``count``, you cannot add
                real samples afterwards.

        Raises:
            CheckpointError: if the file is missing, damaged or of another kind.
            ShapeError: if its number of features differs from that of the samples so far.
        """
        super().load_statistics(path)

    def _add(self, side: str, outputs: Tensor) -> None:
        if side == "real" and self.loaded_without_count:
            raise ArgumentValueError(_NO_COUNT)
        outputs = outputs.double()
        mean = outputs.mean(0)
        centered = outputs - mean
        batch = _Moments(self.fake_n.new_tensor(len(outputs)), mean, centered.T @ centered)
        for name, value in _together(_moments(self.metric_state, side), batch)._asdict().items():
            setattr(self, f"{side}_{name}", value)

    def _real(self, states: Sequence[State]) -> "_Moments":
        """Return the moments of the real samples of all processes; loaded statistics count once."""
        real = _total(states, "real")
        state = next((state for state in states if len(state["loaded_mean"])), states[0])
        if state["loaded_without_count"] and real.n:  # these samples come from another process
            raise ArgumentValueError(_NO_COUNT)
        return _together(_moments(state, "loaded"), real)

    def _width(self, state: State) -> int | None:
        return next((len(value) for name, value in state.items() if name.endswith("_mean") and len(value)), None)

    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        real = self._real(states)
        if real.n < 2:
            raise ArgumentValueError(f"update was given {int(real.n)} real samples; at least 2 are needed")
        arrays = {"mu": real.mean, "sigma": real.scatter / (real.n - 1)}
        known = not any(state["loaded_without_count"] for state in states)
        return {**arrays, "count": real.n} if known else arrays

    def _loaded(self, arrays: dict[str, Any]) -> State:
        if "mu" not in arrays or "sigma" not in arrays:
            raise ValueError("mu or sigma is missing")
        if any(np.iscomplexobj(arrays[name]) for name in ("mu", "sigma")):
            raise ValueError("mu and sigma must be real")
        mean, covariance = (torch.as_tensor(arrays[name]).double() for name in ("mu", "sigma"))
        if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
            raise ValueError("mu must have shape (F,), and sigma (F, F)")
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("mu and sigma must be finite")
        # Files in float32 are symmetric up to rounding.
        if not torch.allclose(covariance, covariance.T, atol=1e-6 * float(covariance.abs().max())):
            raise ValueError("sigma must be symmetric")
        if covariance.diagonal().min() < -1e-6 * float(covariance.abs().max()):
            raise ValueError("sigma must be a covariance, but its diagonal has values below 0")
        # Without a count, assume two samples: then the scatter is the covariance itself.
        count = np.asarray(arrays.get("count", 2))
        if count.ndim or not np.issubdtype(count.dtype, np.integer) or count < 2:
            raise ValueError("count must be a whole number of at least 2")
        n = torch.tensor(int(count))
        loaded = _Moments(n, mean, (covariance + covariance.T) / 2 * (n - 1))
        return {
            **{f"real_{name}": value.clone() for name, value in _NOTHING._asdict().items()},
            **{f"loaded_{name}": value for name, value in loaded._asdict().items()},
            "loaded_without_count": torch.tensor("count" not in arrays),
        }


class _Moments(NamedTuple):
    """Store the number of samples, the mean of their features, and the scatter matrix around this mean."""

    n: Tensor
    mean: Tensor
    scatter: Tensor


_NOTHING = _Moments(torch.tensor(0), torch.zeros(0, dtype=torch.float64), torch.zeros(0, 0, dtype=torch.float64))
_NO_COUNT = (
    "real (=True): the loaded statistics have no count of their samples, so no samples can be added; "
    "reset(real=True) removes them"
)


def _moments(state: State, side: str) -> _Moments:
    return _Moments(*(state[f"{side}_{name}"] for name in _Moments._fields))


def _total(states: Sequence[State], side: str) -> _Moments:
    return reduce(_together, (_moments(state, side) for state in states))


def _together(a: _Moments, b: _Moments) -> _Moments:
    """Combine two moments; Chan, Golub and LeVeque, 1983, doi:10.1080/00031305.1983.10483115."""
    if not len(a.mean) or not len(b.mean):
        return a if len(a.mean) else b
    if len(a.mean) != len(b.mean):
        raise ShapeError(f"features gave {len(a.mean)} and {len(b.mean)} features per sample on different ranks")
    n, difference = a.n + b.n, b.mean - a.mean
    mean = a.mean + difference * (b.n / n)
    return _Moments(n, mean, a.scatter + b.scatter + torch.outer(difference, difference) * (a.n * b.n / n))


def _root(covariance: Tensor) -> Tensor:
    """Return a matrix L with L L^T = covariance; eigenvalues near 0, up to rounding, become 0."""
    values, vectors = torch.linalg.eigh(covariance)
    zero = len(values) * torch.finfo(values.dtype).eps * values.amax()
    return vectors * values.where(values > zero, 0).sqrt()

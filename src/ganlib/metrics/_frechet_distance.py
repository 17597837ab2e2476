"""The Fréchet distance between real and generated samples."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.metrics._extra import torchmetrics_module

__all__ = ["FrechetDistance"]


class FrechetDistance:
    r"""The Fréchet distance between real and generated samples, in the features of a network of your choice.

    With means :math:`\mu` and covariances :math:`\Sigma` of the features,

    .. math::
        \lVert \mu_r - \mu_f \rVert^2 + \operatorname{tr}\left(\Sigma_r + \Sigma_f
        - 2 (\Sigma_r \Sigma_f)^{1/2}\right).

    torchmetrics computes the sums and the root, in float64. The value depends on the features and, for fewer than about
    ten thousand samples, on their number: compare only values that share both. Needs the extra ``ganlib[metrics]``.

    Args:
        features: samples -> (N, features) float; called without gradients. For digits,
            :attr:`DigitClassifier.features`.

    Raises:
        ArgumentTypeError: ``features`` cannot be called.
        MissingExtraError: torchmetrics is not installed.

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
        equation 6; Dowson and Landau, 1982.
    """

    def __init__(self, features: Callable[[Tensor], Tensor]) -> None:
        if not callable(features):
            raise ArgumentTypeError(f"features (={features!r}) must be callable")
        self._features = features
        self._make = torchmetrics_module("image.fid").FrechetInceptionDistance
        self._metric: Any = None

    @torch.no_grad()
    def update(self, samples: Tensor, *, real: bool) -> None:
        """Add samples.

        Args:
            samples: the input of ``features``, any number at a time.
            real: whether they are real or generated.

        Raises:
            ShapeError: ``features`` gives something else than (N, features), or another number of them than before.
            ArgumentValueError: it gives values that are not finite.
        """
        features = self._features(samples)
        if features.ndim != 2 or len(features) != len(samples):
            raise ShapeError(
                f"features gave {tuple(features.shape)} for {len(samples)} samples; it must give (N, features)"
            )
        known = features.shape[1] if self._metric is None else len(self._metric.real_features_sum)
        if features.shape[1] != known:
            raise ShapeError(f"features gave {tuple(features.shape)}, but it gave {known} features a sample before")
        if not features.isfinite().all():
            raise ArgumentValueError("samples have features that are not finite")
        if self._metric is None:
            given: Any = nn.Identity()  # instead of torchmetrics' network: it is given the features themselves
            given.num_features = features.shape[1]
            self._metric = self._make(given).to(features.device)
        self._metric.update(features, real=real)

    def compute(self) -> Tensor:
        """Compute the distance so far.

        Returns:
            A scalar, 0 or more up to rounding.

        Raises:
            ArgumentValueError: fewer than two samples on either side.
        """
        metric = self._metric
        real, fake = (0, 0) if metric is None else (metric.real_features_num_samples, metric.fake_features_num_samples)
        if metric is None or min(real, fake) < 2:
            raise ArgumentValueError(
                f"update was given {int(real)} real and {int(fake)} generated samples; at least 2 of each are needed"
            )
        return metric.compute()

    def reset(self) -> None:
        """Forget all samples."""
        self._metric = None

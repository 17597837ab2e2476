"""The kernel distance between real and generated samples."""

from typing import Unpack

import torch
from torch import Tensor

from ganlib._checks import check_count, check_sizes
from ganlib.metrics._metric import Features, Options, RowsMetric

__all__ = ["KernelDistance"]


class KernelDistance(RowsMetric):
    r"""The squared maximum mean discrepancy between real and generated samples, in the features of a network.

    With features :math:`x_1 \dots x_m` and :math:`y_1 \dots y_n` in :math:`\mathbb{R}^F` and the kernel
    :math:`k(x, y) = (x^\top y / F + 1)^3`, the unbiased estimate is

    .. math::
        \frac{1}{m (m - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n - 1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{m n} \sum_{i, j} k(x_i, y_j).

    With ``features="inception"`` it is the kernel inception distance (KID). It is computed in float64, for random
    subsets of each side that are always the same ones. Its expected value does not depend on the number of samples, as
    that of the Fréchet distance does; it can be below 0. The standard deviation over subsets says how much a subset
    tells, and nothing of other seeds of the training.

    Args:
        features: samples -> (N, F) float, or ``"inception"`` for :class:`InceptionFeatures`; for digits,
            ``DigitClassifier.pretrained().features``. A module runs in evaluation mode.
        subsets: how many, at least 1.
        subset_size: samples of each side in a subset, at least 2; a side with fewer gives all.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: those of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: ``features`` cannot be called.
        ArgumentValueError: another argument is out of its range.
        MissingExtraError: the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> distance = KernelDistance(lambda samples: samples)
        >>> distance.update(torch.tensor([[0.0], [2.0]]), real=True)
        >>> distance.update(torch.tensor([[0.0], [1.0]]), real=False)
        >>> mean, std = distance.compute()
        >>> mean, std  # k(0, 2) + k(0, 1) - 2 (k(0, 0) + k(0, 1) + k(2, 0) + k(2, 1)) / 4 = 2 - 30 / 2
        (tensor(-13., dtype=torch.float64), tensor(0., dtype=torch.float64))

    References:
        Bińkowski et al., "Demystifying MMD GANs", 2018, section 4, arXiv:1801.01401; Gretton et al., "A Kernel
        Two-Sample Test", 2012, lemma 6.
    """

    higher_is_better: bool = False

    def __init__(
        self,
        features: Features,
        *,
        subsets: int = 100,
        subset_size: int = 1000,
        timeout: float = 60.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__("features", features, timeout, options)
        check_sizes(subsets=subsets)
        check_count("subset_size", subset_size, least=2)
        self.subsets = subsets
        self.subset_size = subset_size

    def compute(self) -> tuple[Tensor, Tensor]:
        """Compute the distance so far; of several processes, all call this together.

        Returns:
            Scalars: its mean and standard deviation over the subsets.

        Raises:
            ArgumentValueError: fewer than two samples on either side.
            GanlibRuntimeError: a process did not come within the timeout.
        """
        real, fake = self._pair(self._states(), 2)
        random = torch.Generator().manual_seed(0)
        # Where both sides give all, the subsets are equal.
        subsets = self.subsets if max(len(real), len(fake)) > self.subset_size else 1
        values = torch.stack(
            [_discrepancy(*(self._subset(side, random) for side in (real, fake))) for _ in range(subsets)]
        )
        return values.mean(), values.std(correction=0)

    def _subset(self, side: Tensor, random: torch.Generator) -> Tensor:
        if len(side) <= self.subset_size:
            return side
        return side[torch.randperm(len(side), generator=random)[: self.subset_size].to(side.device)]


def _discrepancy(x: Tensor, y: Tensor) -> Tensor:
    within = [(_total(side, side) - _diagonal(side)) / (len(side) * (len(side) - 1)) for side in (x, y)]
    return within[0] + within[1] - 2 * _total(x, y) / (len(x) * len(y))


def _total(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the kernel over all pairs, in blocks that bound the memory."""
    return torch.stack([((block @ y.T / x.shape[1] + 1) ** 3).sum() for block in x.split(1000)]).sum()


def _diagonal(x: Tensor) -> Tensor:
    return ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()

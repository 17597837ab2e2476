"""Compute the kernel distance between real and generated samples."""

from typing import Unpack

import torch
from torch import Tensor

from ganlib._checks import check_count, check_sizes
from ganlib.metrics._metric import Features, Options, RowsMetric

__all__ = ["KernelDistance"]


class KernelDistance(RowsMetric):
    r"""Compute the squared maximum mean discrepancy between real and generated samples, in the features of a network.

    With features :math:`x_1 \dots x_m` and :math:`y_1 \dots y_n` in :math:`\mathbb{R}^F` and the kernel
    :math:`k(x, y) = (x^\top y / F + 1)^3`, the unbiased estimate is

    .. math::
        \frac{1}{m (m - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n - 1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{m n} \sum_{i, j} k(x_i, y_j).

    With ``features="inception"`` it is the kernel inception distance (KID). Lower is better; it can be below 0. It is
    computed in float64 on random subsets, which are the same at every call. Unlike the Fréchet distance, its expected
    value does not depend on the number of samples. The standard deviation shows how much the values of the subsets
    differ. It does not show how much another training seed would change the value.

    Args:
        features: function from samples to features (N, F) float, or ``"inception"`` for :class:`InceptionFeatures`. For
            digits, use ``DigitClassifier.pretrained().features``. Its modules run in evaluation mode.
        subsets: number of subsets, at least 1.
        subset_size: real and generated samples in a subset, at least 2. If there are fewer, a subset contains all of
            them.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if ``features`` is not callable.
        ArgumentValueError: if another argument is out of its range.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> distance = KernelDistance(lambda samples: samples)
        >>> distance.update(torch.tensor([[0.0], [2.0]]), real=True)
        >>> distance.update(torch.tensor([[0.0], [1.0]]), real=False)
        >>> mean, std = distance.compute()
        >>> mean, std  # k(0, 2) + k(0, 1) - 2 (k(0, 0) + k(0, 1) + k(2, 0) + k(2, 1)) / 4 = 2 - 30 / 2
        (tensor(-13., dtype=torch.float64), tensor(0., dtype=torch.float64))

    References:
        Bińkowski et al., "Demystifying MMD GANs", 2018, arXiv:1801.01401, section 4.

        Gretton et al., "A Kernel Two-Sample Test", 2012, https://jmlr.org/papers/v13/gretton12a.html, lemma 6.
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
        """Compute the distance of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            Two scalars, the mean and the standard deviation over the subsets.

        Raises:
            ArgumentValueError: if there are fewer than two real or two generated samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        real, fake = self._pair(self._states(), 2)
        random = torch.Generator().manual_seed(0)
        # If a subset contains all samples of both sides, all subsets are equal.
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
    """Sum the kernel over all pairs, in blocks that limit the memory."""
    return torch.stack([((block @ y.T / x.shape[1] + 1) ** 3).sum() for block in x.split(1000)]).sum()


def _diagonal(x: Tensor) -> Tensor:
    return ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()

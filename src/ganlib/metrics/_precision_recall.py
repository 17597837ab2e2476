"""Compute precision, recall, density and coverage."""

from typing import Unpack

import torch
from torch import Tensor

from ganlib._checks import check_sizes
from ganlib.metrics._metric import Features, Options, RowsMetric
from ganlib.metrics._neighbors import closer_than, nearest_squared, squared_distances

__all__ = ["PrecisionRecall"]


class PrecisionRecall(RowsMetric):
    r"""Compute precision, recall, density and coverage of generated samples, in the features of a network.

    Let :math:`B(z)` be the open ball around the features z of a sample. Its radius is the distance to the k-th nearest
    other sample of the same kind, real or generated. With real samples :math:`x_1 \dots x_N` and generated samples
    :math:`y_1 \dots y_M`,

    .. math::
        \text{precision} &= \tfrac{1}{M} \textstyle\sum_j [y_j \in B(x_i) \text{ for an } i], &
        \text{recall} &= \tfrac{1}{N} \textstyle\sum_i [x_i \in B(y_j) \text{ for a } j], \\
        \text{density} &= \tfrac{1}{kM} \textstyle\sum_j \sum_i [y_j \in B(x_i)], &
        \text{coverage} &= \tfrac{1}{N} \textstyle\sum_i [y_j \in B(x_i) \text{ for a } j].

    Precision and density measure how realistic samples are. Recall and coverage measure how much of the variety is
    covered. Outliers increase precision and recall too much; density and coverage are less sensitive to outliers.
    Density can be above 1. All four values depend on the numbers of samples: compare values only with the same N, M and
    k.

    Args:
        features: function from samples to features (N, F) float, or ``"inception"`` for :class:`InceptionFeatures`. For
            digits, use ``DigitClassifier.pretrained().features``. Its modules run in evaluation mode.
        k: the neighbor that determines the radius, at least 1. Usual values are 3 for precision and recall, and 5 for
            density and coverage.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if ``features`` is not callable.
        ArgumentValueError: if k or the timeout is out of its range.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> metric = PrecisionRecall(lambda samples: samples, k=1)
        >>> metric.update(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), real=True)  # two modes
        >>> metric.update(torch.tensor([[0.2], [0.5]]), real=False)  # one is missing
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'precision': 1.0, 'recall': 0.25, 'density': 2.0, 'coverage': 0.5}

    References:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
        arXiv:1904.06991.

        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, arXiv:2002.09797.
    """

    higher_is_better: bool = True

    def __init__(self, features: Features, k: int = 5, *, timeout: float = 60.0, **options: Unpack[Options]) -> None:
        super().__init__("features", features, timeout, options)
        check_sizes(k=k)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        """Compute the four values of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A dict with the scalars ``precision``, ``recall``, ``density`` and ``coverage``.

        Raises:
            ArgumentValueError: if there are k or fewer real or generated samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        real, fake = self._pair(self._states(), self.k + 1, f", since k (={self.k}) counts other samples")
        real_radii, fake_radii = (nearest_squared(side, side, self.k + 1)[0][:, -1] for side in (real, fake))
        # Allocate these first: small tensors between the blocks would keep their memory from being freed.
        precise, recalled, covered = (
            torch.zeros(n, dtype=torch.bool, device=real.device) for n in (len(fake), len(real), len(real))
        )
        pairs = 0
        for rows, block, rounding in squared_distances(real, fake):
            near_real = closer_than(real_radii[rows, None], block, rounding, real[rows], fake)
            near_fake = closer_than(fake_radii[None], block, rounding, real[rows], fake)
            precise |= near_real.any(0)
            covered[rows] = near_real.any(1)
            recalled[rows] = near_fake.any(1)
            pairs += int(near_real.sum())
        return {
            "precision": precise.double().mean(),
            "recall": recalled.double().mean(),
            "density": torch.tensor(pairs / (self.k * len(fake)), dtype=torch.float64, device=real.device),
            "coverage": covered.double().mean(),
        }

"""Whether a generator copies its training data."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.metrics._metric import Features, Options, RowsMetric, State, rows_of
from ganlib.metrics._neighbors import nearest_squared

__all__ = ["Memorization"]


class Memorization(RowsMetric):
    r"""Compares how close generated samples and held-out real ones are to the training data.

    Let :math:`d(z)` be the distance from the features of z to those of the nearest training sample. With generated
    samples :math:`y_1 \dots y_M` and real ones :math:`x_1 \dots x_N` that were not trained on, the metric is

    .. math:: \frac{1}{NM} \sum_{i, j} [d(y_j) < d(x_i)] + \tfrac{1}{2} [d(y_j) = d(x_i)],

    the probability that a generated sample is closer to the training data than a held-out one: 0.5 for new samples of
    the same distribution, 1 for copies, and below 0.5 for a generator that has not learned its data well. Plain samples
    without variety are above 0.5 too. It says nothing of how good samples are.

    Args:
        features: samples -> (N, F) float, or ``"inception"`` for :class:`InceptionFeatures`; for digits,
            ``DigitClassifier.pretrained().features``. A module runs in evaluation mode.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: those of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: ``features`` cannot be called.
        ArgumentValueError: the timeout is not above 0.
        MissingExtraError: the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> metric = Memorization(lambda samples: samples)
        >>> metric.add_training(torch.tensor([[0.0], [1.0]]))
        >>> metric.update(torch.tensor([[0.1], [0.8]]), real=True)  # held out
        >>> metric.update(torch.tensor([[0.0], [0.7]]), real=False)  # a copy, and something new
        >>> metric.compute()["memorization"]
        tensor(0.5000, dtype=torch.float64)

    References:
        Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020, arXiv:2004.05675; the
        value is the Mann-Whitney statistic of that test, divided by NM.
    """

    higher_is_better: bool = False
    sides: tuple[str, ...] = ("real", "loaded", "fake", "training")

    def __init__(self, features: Features, *, timeout: float = 60.0, **options: Unpack[Options]) -> None:
        super().__init__("features", features, timeout, options)

    def add_training(self, samples: Tensor) -> None:
        """Add samples that the generator was trained on; kept over :meth:`reset`.

        Args:
            samples: the input of the network, any number at a time.

        Raises:
            ArgumentTypeError: samples are not a tensor.
            ArgumentValueError: samples, or what the network gives, are not finite.
            ShapeError: the network gives something else than (N, F), or another F than before.
        """
        self._update("training", samples)

    def compute(self) -> dict[str, Tensor]:
        """Compute the values so far; of several processes, all call this together.

        Returns:
            Scalars: ``memorization`` in [0, 1], and the medians of the distances, ``nearest_distance`` of generated
            samples and ``nearest_distance_real`` of held-out ones.

        Raises:
            ArgumentValueError: there are no samples on a side, or no training samples; or most of the real samples are
                among the training samples, and so not held out.
            GanlibRuntimeError: a process did not come within the timeout.
        """
        states = self._states()
        real, fake = self._pair(states, 1)
        training = self._training(states).double()
        real_near, fake_near = (nearest_squared(side, training, 1)[0].flatten() for side in (real, fake))
        copies = int((real_near == 0).sum())
        if 2 * copies > len(real):
            raise ArgumentValueError(
                f"{copies} of {len(real)} real samples are training samples; give update(real=True) samples that were "
                "held out, of a test set for example"
            )
        ordered = real_near.sort().values
        at_least, above = (
            len(ordered) - torch.searchsorted(ordered, fake_near, right=right) for right in (False, True)
        )
        return {
            "memorization": (at_least + above).double().mean() / (2 * len(real)),
            "nearest_distance": fake_near.sqrt().quantile(0.5),
            "nearest_distance_real": real_near.sqrt().quantile(0.5),
        }

    def _training(self, states: Sequence[State]) -> Tensor:
        training = self._side(states, "training")
        if not len(training):
            raise ArgumentValueError("there are no training samples: call add_training")
        return training

    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        return {**super()._arrays(states), "training": self._training(states)}

    def _loaded(self, arrays: dict[str, Any]) -> State:
        training, loaded = rows_of(arrays, "training"), super()._loaded(arrays)
        if training.shape[1] != self._width(loaded):
            raise ValueError("features and training must have the same number of columns")
        # Each process loads them: the nearest of several copies is as near.
        return {**loaded, "training_features": [training]}

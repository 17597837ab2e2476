"""Detect whether a generator copies its training data."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.metrics._metric import Features, Options, RowsMetric, State, rows_of
from ganlib.metrics._neighbors import nearest_squared

__all__ = ["Memorization"]


class Memorization(RowsMetric):
    r"""Compare how close generated samples and held-out real samples are to the training data.

    Let :math:`d(z)` be the distance from the features of z to those of the nearest training sample. With generated
    samples :math:`y_1 \dots y_M` and real samples :math:`x_1 \dots x_N` that were not used for training, the value is

    .. math:: \frac{1}{NM} \sum_{i, j} [d(y_j) < d(x_i)] + \tfrac{1}{2} [d(y_j) = d(x_i)],

    the probability that a generated sample is closer to the training data than a held-out sample. It is 0.5 for new
    samples of the same distribution, and 1 for copies. It is below 0.5 if the generator has not learned its data well.
    For samples with little detail or variety, it can be above 0.5 too. The value does not measure quality.

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
        >>> metric = Memorization(lambda samples: samples)
        >>> metric.add_training(torch.tensor([[0.0], [1.0]]))
        >>> metric.update(torch.tensor([[0.1], [0.8]]), real=True)  # held out
        >>> metric.update(torch.tensor([[0.0], [0.7]]), real=False)  # a copy and a new sample
        >>> metric.compute()["memorization"]
        tensor(0.5000, dtype=torch.float64)

    References:
        Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020, arXiv:2004.05675. The
        value is the Mann-Whitney statistic of their test, divided by NM.
    """

    higher_is_better: bool = False
    sides: tuple[str, ...] = ("real", "loaded", "fake", "training")

    def __init__(self, features: Features, *, timeout: float = 60.0, **options: Unpack[Options]) -> None:
        super().__init__("features", features, timeout, options)

    def add_training(self, samples: Tensor) -> None:
        """Add samples that the generator was trained on; :meth:`reset` keeps them.

        Args:
            samples: input of the network, (N, ...) with any N.

        Raises:
            ArgumentTypeError: if samples are not a tensor.
            ArgumentValueError: if samples or features are not finite.
            ShapeError: if the network does not return (N, F), or F changes.
        """
        self._update("training", samples)

    def compute(self) -> dict[str, Tensor]:
        """Compute the values of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A dict with the scalars ``memorization`` in [0, 1], ``nearest_distance`` and ``nearest_distance_real``.
            ``nearest_distance`` and ``nearest_distance_real`` are the median distances of generated and of held-out
            samples to the training data.

        Raises:
            ArgumentValueError: if there are no real, generated or training samples, or most real samples are training
                samples and therefore not held out.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        states = self._states()
        real, fake = self._pair(states, 1)
        training = self._training(states).double()
        real_near, fake_near = (nearest_squared(side, training, 1)[0].flatten() for side in (real, fake))
        copies = int((real_near == 0).sum())
        if 2 * copies > len(real):
            raise ArgumentValueError(
                f"{copies} of {len(real)} real samples are training samples; samples for update(real=True) must be "
                "held out, for example from a test set"
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
        # Each process loads them; several copies do not change the nearest distance.
        return {**loaded, "training_features": [training]}

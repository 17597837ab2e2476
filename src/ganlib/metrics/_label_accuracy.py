"""The accuracy of a conditional generator."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.metrics._extra import torchmetrics_module

__all__ = ["LabelAccuracy"]


class LabelAccuracy:
    r"""The share of samples that a classifier assigns to the label that they were generated from.

    .. math:: \operatorname{mean}_i [\arg\max_k C(x_i)_k = y_i]

    Needs the extra ``ganlib[metrics]``.

    Args:
        classifier: samples -> logits (N, K); called without gradients. For digits, :class:`DigitClassifier`.

    Raises:
        ArgumentTypeError: the classifier cannot be called.
        MissingExtraError: torchmetrics is not installed.

    Example:
        >>> accuracy = LabelAccuracy(lambda samples: samples)
        >>> accuracy.update(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([1, 1]))
        >>> accuracy.compute()
        tensor(0.5000)

    References:
        Shmelkov et al., "How good is my GAN?", 2018, section 3.2 (GAN-test).
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor]) -> None:
        if not callable(classifier):
            raise ArgumentTypeError(f"classifier (={classifier!r}) must be callable")
        self._classifier = classifier
        self._mean = torchmetrics_module("aggregation").MeanMetric()

    @torch.no_grad()
    def update(self, samples: Tensor, labels: Tensor) -> None:
        """Add samples.

        Args:
            samples: the input of the classifier, any number at a time.
            labels: (N,) int64, the labels that the samples were generated from.

        Raises:
            ShapeError: not as many labels as samples, or a classifier that gives something else than (N, K).
        """
        logits = self._classifier(samples)
        if logits.ndim != 2 or len(logits) != len(samples):
            raise ShapeError(f"classifier gave {tuple(logits.shape)} for {len(samples)} samples; it must give (N, K)")
        if labels.shape != logits.shape[:1]:
            raise ShapeError(f"labels {tuple(labels.shape)} must have one entry for each of the {len(samples)} samples")
        self._mean.to(logits.device).update((logits.argmax(1) == labels.to(logits.device)).float())

    def compute(self) -> Tensor:
        """Compute the share so far.

        Returns:
            A scalar in [0, 1].

        Raises:
            ArgumentValueError: there were no samples.
        """
        if not self._mean.weight:
            raise ArgumentValueError("update has been given no samples")
        return self._mean.compute()

    def reset(self) -> None:
        """Forget all samples."""
        self._mean.reset()

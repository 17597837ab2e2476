"""Compute the accuracy of a conditional generator."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError, DTypeError, ShapeError
from ganlib.metrics._metric import GanMetric, Options

__all__ = ["LabelAccuracy"]


class LabelAccuracy(GanMetric):
    r"""Compute the share of generated samples that a classifier assigns to their label.

    .. math:: \operatorname{mean}_i [\arg\max_k C(x_i)_k = y_i]

    Args:
        classifier: function from samples to logits (N, K). For digits, use ``DigitClassifier.pretrained()``. Its
            modules run in evaluation mode.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if the classifier is not callable.
        ArgumentValueError: if the timeout is not above 0.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> accuracy = LabelAccuracy(lambda samples: samples)
        >>> accuracy.update(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([1, 1]))
        >>> accuracy.compute()
        tensor(0.5000, dtype=torch.float64)

    References:
        Shmelkov et al., "How good is my GAN?", 2018, arXiv:1807.09499, section 3 (GAN-test).
    """

    higher_is_better: bool = True
    right: Tensor
    count: Tensor

    def __init__(
        self, classifier: Callable[[Tensor], Tensor], *, timeout: float = 60.0, **options: Unpack[Options]
    ) -> None:
        super().__init__("classifier", classifier, timeout, options)
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum", persistent=True)
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum", persistent=True)

    def update(self, samples: Tensor, labels: Tensor) -> None:
        """Add generated samples with their labels.

        Args:
            samples: input of the classifier, (N, ...) with any N.
            labels: (N,) int64 from 0 to K - 1, the labels that the generator was given.

        Raises:
            ArgumentTypeError: if samples are not a tensor.
            ArgumentValueError: if samples or logits are not finite, or labels are out of range.
            DTypeError: if labels are not a tensor of whole numbers.
            ShapeError: if the numbers of labels and samples differ, or the classifier does not return (N, K).
        """
        logits = self._call(samples)
        if logits.shape[1] == 1:  # its accuracy would always be 1
            raise ShapeError(
                f"classifier gave {tuple(logits.shape)}, but a classifier has at least 2 classes; if its single logit "
                "is for two classes, return torch.cat([torch.zeros_like(logit), logit], 1)"
            )
        if (
            not isinstance(labels, Tensor)
            or labels.dtype == torch.bool
            or labels.is_floating_point()
            or labels.is_complex()
        ):
            given = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise DTypeError(f"labels must be a tensor of whole numbers, not {given}")
        if labels.shape != logits.shape[:1]:
            raise ShapeError(f"labels {tuple(labels.shape)} must have one entry for each of the {len(samples)} samples")
        if labels.is_meta or labels.layout is not torch.strided:
            raise ArgumentValueError(
                f"labels on {labels.device} with {labels.layout} cannot be read; they must be a dense tensor"
            )
        labels = labels.to(logits.device, torch.int64)
        wrong = labels[(labels < 0) | (labels >= logits.shape[1])]
        if len(wrong):
            raise ArgumentValueError(
                f"labels hold {int(wrong[0])}, but must be from 0 to {logits.shape[1] - 1}: the classifier gives "
                f"{logits.shape[1]} logits"
            )
        self.right = self.right + (logits.argmax(1) == labels).sum()
        self.count = self.count + len(labels)

    def compute(self) -> Tensor:
        """Compute the share over all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A scalar in [0, 1].

        Raises:
            ArgumentValueError: if there are no samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        states = self._states()
        right, count = (sum(state[name] for state in states) for name in ("right", "count"))
        if not count:
            raise ArgumentValueError("there are no samples: call update")
        return torch.as_tensor(right).double() / count

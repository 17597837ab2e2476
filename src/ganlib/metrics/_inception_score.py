"""Compute the inception score of generated samples."""

from collections.abc import Callable
from typing import Literal, Unpack

import torch
from torch import Tensor

from ganlib._warning import warn_user
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.metrics._metric import GanMetric, Options

__all__ = ["InceptionScore"]


class InceptionScore(GanMetric):
    r"""Compute the inception score of generated samples, with any classifier.

    With the class probabilities :math:`p(k \mid x)` of the classifier and their mean :math:`p(k)` over the samples,

    .. math:: \exp \operatorname{mean}_i \operatorname{KL}\bigl(p(\cdot \mid x_i) \,\|\, p(\cdot)\bigr).

    Higher is better. The score is 1 if all samples look the same to the classifier. It is K, the number of classes, if
    every sample is classified with certainty and all classes are equally frequent. The score ignores real samples,
    variety within a class, and everything that the classifier has not learned. It is computed over all samples at once,
    in float64. Published values are the mean over ten splits, which is lower.

    Args:
        classifier: function from samples to logits (N, K), or ``"inception"`` for the logits of
            :class:`InceptionFeatures`. Its modules run in evaluation mode.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if the classifier is not callable.
        ArgumentValueError: if the timeout is not above 0.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> score = InceptionScore(lambda samples: samples)
        >>> score.update(100 * torch.eye(10))  # ten classes, each recognized
        >>> round(score.compute().item(), 3)
        10.0

    References:
        Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv:1606.03498, section 4.

        Over all samples: Barratt and Sharma, "A Note on the Inception Score", 2018, arXiv:1801.01973.
    """

    higher_is_better: bool = True
    entropies: Tensor
    probabilities: Tensor
    count: Tensor

    def __init__(
        self,
        classifier: Callable[[Tensor], Tensor] | Literal["inception"],
        *,
        timeout: float = 60.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__("classifier", classifier, timeout, options)
        self._has_warned = False
        # Sums over the samples.
        self.add_state("entropies", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum", persistent=True)
        self.add_state("probabilities", torch.zeros(1, dtype=torch.float64), dist_reduce_fx="sum", persistent=True)
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum", persistent=True)

    def update(self, samples: Tensor) -> None:
        """Add generated samples.

        Args:
            samples: input of the classifier, (N, ...) with any N.

        Raises:
            ArgumentTypeError: if samples are not a tensor.
            ArgumentValueError: if samples or logits are not finite.
            ShapeError: if the classifier does not return (N, K), or K changes.
        """
        logits = self._call(samples).double()
        self._warn_of_probabilities(logits)
        probabilities = logits.softmax(1)
        if self.count and len(self.probabilities) != probabilities.shape[1]:
            raise ShapeError(
                f"classifier gave {tuple(probabilities.shape)}, but it gave {len(self.probabilities)} logits before"
            )
        self.entropies = self.entropies + torch.special.entr(probabilities).sum()
        self.probabilities = self.probabilities + probabilities.sum(0)
        self.count = self.count + len(samples)

    def _warn_of_probabilities(self, logits: Tensor) -> None:
        if self._has_warned or len(logits) < 2 or logits.shape[1] < 2 or bool((logits < 0).any()):
            return
        if bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
            self._has_warned = True
            warn_user("classifier gives probabilities, but InceptionScore takes logits: remove the softmax at its end")

    def compute(self) -> Tensor:
        """Compute the score of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A scalar in [1, K].

        Raises:
            ArgumentValueError: if there are no samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        states = self._states()
        count = sum(state["count"] for state in states)
        if not count:
            raise ArgumentValueError("there are no samples: call update")
        widths = {len(state["probabilities"]) for state in states if state["count"]}
        if len(widths) > 1:
            raise ShapeError(f"classifier gave {sorted(widths)} logits on different ranks")
        entropies, probabilities = (
            torch.as_tensor(sum(state[name] for state in states)) / count for name in ("entropies", "probabilities")
        )
        return (torch.special.entr(probabilities).sum() - entropies).exp()

"""The inception score of generated samples."""

from collections.abc import Callable
from typing import Literal, Unpack

import torch
from torch import Tensor

from ganlib._warning import warn_user
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.metrics._metric import GanMetric, Options

__all__ = ["InceptionScore"]


class InceptionScore(GanMetric):
    r"""The inception score of generated samples, by any classifier.

    With the classifier's distribution :math:`p(k \mid x)` and its mean :math:`p(k)` over the samples,

    .. math:: \exp \operatorname{mean}_i \operatorname{KL}\bigl(p(\cdot \mid x_i) \,\|\, p(\cdot)\bigr).

    It is 1 where all samples look the same to the classifier, and K, the number of classes, where each is recognized
    with certainty and all classes are as frequent. It knows nothing of real samples, of variety within a class, and of
    what its classifier has not learned. It is computed over all samples at once, in float64: the mean over ten splits,
    as published, is lower.

    Args:
        classifier: samples -> logits (N, K), or ``"inception"`` for the logits of :class:`InceptionFeatures`. A module
            runs in evaluation mode.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: those of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: the classifier cannot be called.
        ArgumentValueError: the timeout is not above 0.
        MissingExtraError: the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> score = InceptionScore(lambda samples: samples)
        >>> score.update(100 * torch.eye(10))  # ten classes, each recognized
        >>> round(score.compute().item(), 3)
        10.0

    References:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 4, arXiv:1606.03498; over all samples:
        Barratt and Sharma, "A Note on the Inception Score", 2018, arXiv:1801.01973.
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
            samples: the input of the classifier, any number at a time.

        Raises:
            ArgumentTypeError: samples are not a tensor.
            ArgumentValueError: samples or logits are not finite.
            ShapeError: a classifier that gives something else than (N, K), or another K than before.
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
        """Compute the score so far; of several processes, all call this together.

        Returns:
            A scalar in [1, K].

        Raises:
            ArgumentValueError: there were no samples.
            GanlibRuntimeError: a process did not come within the timeout.
        """
        states = self._states()
        count = sum(state["count"] for state in states)
        if not count:
            raise ArgumentValueError("update has been given no samples")
        widths = {len(state["probabilities"]) for state in states if state["count"]}
        if len(widths) > 1:
            raise ShapeError(f"classifier gave {sorted(widths)} logits on different ranks")
        entropies, probabilities = (
            torch.as_tensor(sum(state[name] for state in states)) / count for name in ("entropies", "probabilities")
        )
        return (torch.special.entr(probabilities).sum() - entropies).exp()

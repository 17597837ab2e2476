"""Count the modes of the data that a generator has found."""

from collections.abc import Callable
from typing import Any, Unpack

import torch
from torch import Tensor

from ganlib._checks import check_sizes
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.metrics._metric import Options, RowsMetric, State, check_samples

__all__ = ["ModeCoverage"]


class ModeCoverage(RowsMetric):
    r"""Count the modes that generated samples reach, and compare the mode frequencies with the real ones.

    A mode is a class of a classifier. With the shares :math:`p_k` of generated and :math:`q_k` of real samples in mode
    k,

    .. math:: \operatorname{KL}(p \,\|\, q) = \sum_{k : p_k > 0} p_k \log \frac{p_k}{q_k}.

    It is infinite if a mode has generated samples and no real sample. A mode is found if the classifier assigns at
    least one generated sample to it. Stacked MNIST has three random digits in the channels of each sample, and 1000
    modes: use ``stacked=3`` with a classifier of single digits. A low number of modes is a sign of mode collapse.

    Args:
        classifier: function from samples to logits (N, K). For digits, use ``DigitClassifier.pretrained()``. A module
            runs in evaluation mode.
        stacked: number of images in the channels of a sample, at least 1. The classifier gets each image separately.
            The modes are the :math:`K^{\text{stacked}}` combinations.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if the classifier is not callable.
        ArgumentValueError: if ``stacked`` is below 1, or the timeout is not above 0.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> coverage = ModeCoverage(lambda samples: samples)
        >>> coverage.update(torch.eye(4), real=True)
        >>> coverage.update(torch.eye(4)[:2], real=False)
        >>> coverage.compute()["modes_found"], coverage.compute()["kl_divergence"]  # 2 of 4, and log 2
        (tensor(2), tensor(0.6931, dtype=torch.float64))

    References:
        Metz et al., "Unrolled Generative Adversarial Networks", 2017, arXiv:1611.02163, section 3.3.1.

        Lin et al., "PacGAN: The Power of Two Samples in Generative Adversarial Networks", 2018, arXiv:1712.04086.
    """

    rows = "modes"

    def __init__(
        self,
        classifier: Callable[[Tensor], Tensor],
        *,
        stacked: int = 1,
        timeout: float = 60.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__("classifier", classifier, timeout, options)
        check_sizes(stacked=stacked)
        self.stacked = stacked
        self._classes: int | None = None

    def compute(self) -> dict[str, Tensor]:
        """Compute the values of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A dict with the scalars ``modes_found``, ``modes_real`` and ``kl_divergence``. ``modes_found`` and
            ``modes_real`` are the numbers of modes with generated and with real samples. ``kl_divergence`` is 0 or
            more.

        Raises:
            ArgumentValueError: if there are no real or no generated samples.
            GanlibRuntimeError: if a process does not arrive within the timeout.
        """
        real, fake = self._pair(self._states(), 1)
        modes, index = torch.cat([real, fake]).flatten().unique(return_inverse=True)
        q, p = (
            part.bincount(minlength=len(modes)).double() / len(part) for part in index.split([len(real), len(fake)])
        )
        return {
            "modes_found": (p > 0).sum(),
            "modes_real": (q > 0).sum(),
            "kl_divergence": torch.special.xlogy(p, p / q).sum().clamp(min=0),
        }

    def _outputs(self, samples: Tensor) -> Tensor:
        """Return the mode of each sample, (N, 1) int64."""
        if self.stacked == 1:
            return self._known(self._call(samples)).argmax(1, keepdim=True)
        check_samples(samples)
        if samples.ndim < 2 or samples.shape[1] % self.stacked:
            raise ShapeError(f"samples {tuple(samples.shape)} must have channels for {self.stacked} images each")
        images = samples.unflatten(1, (self.stacked, -1)).flatten(0, 1)
        logits = self._known(self._call(images))
        classes = logits.argmax(1).unflatten(0, (-1, self.stacked))
        places = logits.shape[1] ** torch.arange(self.stacked - 1, -1, -1, device=classes.device)
        return (classes * places).sum(1, keepdim=True)

    def _known(self, logits: Tensor) -> Tensor:
        """Return the logits, after checks that K has not changed and the modes fit in int64."""
        classes = logits.shape[1]
        if classes**self.stacked > 2**63:
            raise ArgumentValueError(f"stacked (={self.stacked}) images of {classes} classes have more than 2^63 modes")
        if self._classes not in (None, classes):
            raise ShapeError(f"classifier gave {tuple(logits.shape)}, but it gave {self._classes} logits before")
        self._classes = classes
        return logits

    def _loaded(self, arrays: dict[str, Any]) -> State:
        if "modes" not in arrays:
            raise ValueError("modes is missing")
        modes = torch.as_tensor(arrays["modes"])
        if modes.dtype != torch.int64 or modes.shape != (modes.numel(), 1) or not len(modes) or modes.min() < 0:
            raise ValueError("modes must be an int64 array (N, 1) of at least 0, with N of at least 1")
        return {"real_modes": [], "loaded_modes": [modes]}

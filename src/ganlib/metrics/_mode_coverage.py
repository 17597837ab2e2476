"""Count the modes of the data that a generator has found."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor

from ganlib._checks import check_option, check_sizes
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.metrics._metric import Options, RowsMetric, State, check_samples

__all__ = ["ModeCoverage"]


class ModeCoverage(RowsMetric):
    r"""Count the modes that generated samples reach, and compare the mode frequencies with the real ones.

    A mode is a class of a classifier. With the shares :math:`p_k` of generated and :math:`q_k` of real samples in mode
    k, or :math:`q_k = 1 / M` for all M modes with ``reference="uniform"``,

    .. math:: \operatorname{KL}(p \,\|\, q) = \sum_{k : p_k > 0} p_k \log \frac{p_k}{q_k}.

    It is infinite if a mode has generated samples and no real sample. A mode is found if the classifier assigns at
    least one generated sample to it. A low number of modes is a sign of mode collapse.

    :class:`ganlib.data.StackedMNIST` has three random digits in the channels of each sample, and 1,000 modes: use
    ``stacked=3`` with a classifier of single digits. Published results compare 26,000 samples with the uniform
    distribution, so use ``reference="uniform"`` for a comparison with them. The divergence of N samples is above 0 even
    if all modes are equally likely. It is then about

    .. math:: \frac{M - 1}{2 N} + \frac{M^2 - 1}{12 N^2},

    or 0.0193 with 1,000 modes and 26,000 samples. The digits of MNIST are not equally frequent, so 26,000 stacks of its
    training images have 0.023, by their labels.

    Args:
        classifier: function from samples to logits (N, K). For digits, use ``DigitClassifier.pretrained()``. A module
            runs in evaluation mode.
        stacked: number of images in the channels of a sample, at least 1. The classifier gets each image separately.
            The modes are the :math:`K^{\text{stacked}}` combinations of K classes.
        reference: ``"real"`` compares with the real samples. ``"uniform"`` compares with equal shares of all modes; it
            needs no real samples, and does not use them.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ArgumentTypeError: if the classifier is not callable.
        ArgumentValueError: if ``stacked`` is below 1, ``reference`` is unknown, or the timeout is not above 0.
        MissingExtraError: if the extra ``ganlib[metrics]`` is not installed.

    Example:
        >>> coverage = ModeCoverage(lambda samples: samples)
        >>> coverage.update(torch.eye(4), real=True)
        >>> coverage.update(torch.eye(4)[:2], real=False)
        >>> coverage.compute()["modes_found"], coverage.compute()["kl_divergence"]  # 2 of 4, and log 2
        (tensor(2), tensor(0.6931, dtype=torch.float64))

        For samples of a generator of Stacked MNIST:

        >>> from ganlib.metrics import DigitClassifier
        >>> coverage = ModeCoverage(DigitClassifier.pretrained(), stacked=3, reference="uniform")
        >>> coverage.update(torch.rand(4, 3, 28, 28) * 2 - 1, real=False)
        >>> coverage.compute()["modes_real"]
        tensor(1000)

    References:
        Metz et al., "Unrolled Generative Adversarial Networks", 2017, arXiv:1611.02163, section 3.3.1.

        Lin et al., "PacGAN: The Power of Two Samples in Generative Adversarial Networks", 2018, arXiv:1712.04086. Its
        code, https://github.com/fjxmlzn/PacGAN, compares 26,000 samples with equal shares of 1,000 modes.
    """

    rows = "modes"
    fake_classes: list[Tensor]

    def __init__(
        self,
        classifier: Callable[[Tensor], Tensor],
        *,
        stacked: int = 1,
        reference: Literal["real", "uniform"] = "real",
        timeout: float = 60.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__("classifier", classifier, timeout, options)
        check_sizes(stacked=stacked)
        check_option("reference", reference, ("real", "uniform"))
        self.stacked = stacked
        self.reference: Literal["real", "uniform"] = reference
        self._classes: int | None = None
        if reference == "uniform":  # a process without samples, or a loaded state, takes K from here
            self.add_state("fake_classes", [], dist_reduce_fx="cat", persistent=True)

    def compute(self) -> dict[str, Tensor]:
        """Compute the values of all samples so far.

        With several processes, all of them must call this method.

        Returns:
            A dict with the scalars ``modes_found``, ``modes_real`` and ``kl_divergence``. ``modes_found`` and
            ``modes_real`` are the numbers of modes with generated and with real samples; with
            ``reference="uniform"``, ``modes_real`` is the number of all modes. ``kl_divergence`` is 0 or more.

        Raises:
            ArgumentValueError: if there are no generated samples, or no real samples that ``reference`` needs.
            GanlibRuntimeError: if a process does not arrive within the timeout.
            ShapeError: if the classifiers of two processes have different numbers of classes.
        """
        if self.reference == "uniform":
            return self._compared_with_uniform(self._states())
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

    @property
    def has_real(self) -> bool:
        """Return whether this process has real samples or loaded statistics, or needs none."""
        return self.reference == "uniform" or super().has_real

    def _compared_with_uniform(self, states: Sequence[State]) -> dict[str, Tensor]:
        fake = self._side(states, "fake")
        if not len(fake):
            raise ArgumentValueError("update was given no generated samples; at least 1 is needed")
        classes = {int(row) for state in states for row in state["fake_classes"]}
        if not classes:
            raise ArgumentValueError(
                "the loaded state has no number of classes, since it was saved with reference='real': use that, or "
                "update with generated samples"
            )
        if len(classes) > 1:
            raise ShapeError(f"classifier gave {sorted(classes)} logits on different ranks")
        modes = classes.pop() ** self.stacked
        counts = fake.flatten().unique(return_counts=True)[1].double()
        p = counts / len(fake)
        return {
            "modes_found": (p > 0).sum(),
            "modes_real": torch.tensor(modes, device=p.device),
            "kl_divergence": (p * (p * modes).log()).sum().clamp(min=0),
        }

    def _add(self, side: str, outputs: Tensor) -> None:
        super()._add(side, outputs)
        if self.reference == "uniform" and side == "fake" and not self.fake_classes:
            self.fake_classes = [torch.tensor([[self._classes]], device=outputs.device)]

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

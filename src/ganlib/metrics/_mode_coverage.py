"""Count the modes of the data that a generator has found."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

import numpy as np
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
        classifier: function from samples to logits (N, K). For digits, use ``DigitClassifier.pretrained()``. Its
            modules run in evaluation mode.
        stacked: number of images in the channels of a sample, at least 1. The classifier gets each image separately.
            The modes are the :math:`K^{\text{stacked}}` combinations of K classes. Statistics and states that were
            saved with another number are refused.
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
    fake_modes: list[Tensor]
    kind: list[Tensor]  # one row with K, or 0 if it is unknown, and ``stacked``: what the modes mean

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
        self.stacked: int = int(stacked)  # a power of NumPy's integers overflows
        self.reference: Literal["real", "uniform"] = reference
        self.add_state("kind", [], dist_reduce_fx="cat", persistent=True)
        self._noted: tuple[Tensor | None, int] = (None, 0)  # the row that _known wrote, and its K

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
        states = self._states()
        classes = _classes(states)
        if self.reference == "uniform":
            return self._compared_with_uniform(self._side(states, "fake"), classes)
        real, fake = self._pair(states, 1)
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

    def _compared_with_uniform(self, fake: Tensor, classes: int) -> dict[str, Tensor]:
        if not len(fake):
            raise ArgumentValueError("update was given no generated samples; at least 1 is needed")
        if not classes:
            raise ArgumentValueError(
                "the loaded state has no number of classes, since an earlier version saved it: use reference='real', "
                "or update with generated samples"
            )
        modes = classes**self.stacked
        counts = fake.flatten().unique(return_counts=True)[1].double()
        p = counts / len(fake)
        return {
            "modes_found": (p > 0).sum(),
            "modes_real": torch.tensor(modes, device=p.device),
            "kl_divergence": (p * (p * modes).log()).sum().clamp(min=0),
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
        if classes**self.stacked >= 2**63:
            raise ArgumentValueError(f"stacked (={self.stacked}) images of {classes} classes have 2^63 modes or more")
        row, known = self._noted
        new = not self.kind or self.kind[0] is not row
        if new:  # else its K is not read again: for that, the host waits for a GPU
            known = _classes([self.metric_state])
        if known not in (0, classes):
            raise ShapeError(
                f"classifier gave {tuple(logits.shape)}, but earlier samples or the loaded statistics have {known} "
                "classes"
            )
        if new:
            self.kind = [torch.tensor([[classes, self.stacked]], device=logits.device)]
            self._noted = (self.kind[0], classes)
        return logits

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        name = f"{prefix}kind"
        if name not in state_dict and any(state_dict.get(f"{prefix}{side}_{self.rows}") for side in self.sides):
            state_dict[name] = [torch.tensor([[0, 1]])]  # it was saved before there was an argument ``stacked``
        for row in state_dict.get(name, []):
            self._check_stacked("the loaded state", int(row[0, 1]))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check_loaded(self, path: str, loaded: State) -> None:
        ((classes, stacked),) = loaded["kind"][0].tolist()
        self._check_stacked(path, stacked)
        known = _classes([self.metric_state]) if self.fake_modes else 0
        if 0 not in (classes, known) and classes != known:
            raise ShapeError(f"{path} holds modes of {classes} classes, but {self._role} gave {known} logits before")

    def _check_stacked(self, what: str, stacked: int) -> None:
        if stacked != self.stacked:
            raise ArgumentValueError(
                f"stacked (={self.stacked}) does not fit {what}, whose modes were saved with stacked={stacked}"
            )

    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        arrays = {**super()._arrays(states), "stacked": torch.tensor(self.stacked)}
        classes = _classes(states)
        return {**arrays, "classes": torch.tensor(classes)} if classes else arrays

    def _loaded(self, arrays: dict[str, Any]) -> State:
        if "modes" not in arrays:
            raise ValueError("modes is missing")
        modes = torch.as_tensor(arrays["modes"])
        if modes.dtype != torch.int64 or modes.shape != (modes.numel(), 1) or not len(modes) or modes.min() < 0:
            raise ValueError("modes must be an int64 array (N, 1) of at least 0, with N of at least 1")
        # Files without these two were saved before there was an argument ``stacked``.
        stacked = _count(arrays, "stacked")
        classes = _count(arrays, "classes") if "classes" in arrays else _classes([self.metric_state])
        return {"real_modes": [], "loaded_modes": [modes], "kind": [torch.tensor([[classes, stacked]])]}


def _classes(states: Sequence[State]) -> int:
    """Return the number of classes K, or 0 if no state has it."""
    found = {int(row[0, 0]) for state in states for row in state["kind"]} - {0}
    if len(found) > 1:
        raise ShapeError(f"classifier gave {sorted(found)} logits on different ranks")
    return found.pop() if found else 0


def _count(arrays: dict[str, Any], name: str) -> int:
    """Return a whole number of at least 1 from the arrays of a file."""
    count = np.asarray(arrays.get(name, 1))
    if count.ndim or not np.issubdtype(count.dtype, np.integer) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1")
    return int(count)

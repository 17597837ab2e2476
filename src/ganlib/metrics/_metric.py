"""Share code between the metrics: calling networks, the state over several processes, real and generated samples."""

import functools
import io
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypedDict

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_map_only

from ganlib._checks import check_flag, check_positive
from ganlib._devices import has_float64
from ganlib._files import write_atomically
from ganlib._held import held
from ganlib._once import once
from ganlib._ranks import first_does, meet
from ganlib._sampling import evaluating
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, DTypeError, ShapeError
from ganlib.metrics._digit_classifier import DigitClassifier
from ganlib.metrics._extra import Metric
from ganlib.metrics._inception import InceptionFeatures, inception
from ganlib.metrics._mixed import MixedImages

__all__ = ["Features", "GanMetric", "Options", "RealFakeMetric", "RowsMetric", "State", "check_samples", "rows_of"]

Features: TypeAlias = Callable[[Tensor], Tensor] | Literal["inception"]
State: TypeAlias = dict[str, Any]  # names to tensors or lists of tensors


class Options(TypedDict, total=False):
    """Name the options of ``torchmetrics.Metric`` for type checkers."""

    compute_on_cpu: bool
    compute_with_cache: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
    sync_on_compute: bool


class GanMetric(Metric):
    """Compute a metric from the outputs of a network, with the state of all processes.

    torchmetrics gathers the states of all processes into the state of each process. Here, ``compute`` reads the states
    of all processes and changes no state. First, the processes wait for each other: if one is missing, the others raise
    an error.

    Args:
        role: the name of the argument that received the network, ``"features"`` or ``"classifier"``.
        network: a callable; a module, or the module of a method, moves with the metric.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: options of ``torchmetrics.Metric``.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(self, role: str, network: Any, timeout: float, options: Mapping[str, Any]) -> None:
        if "compute_with_cache" in options:
            raise ArgumentValueError("options: compute_with_cache must be left out, since nothing is cached")
        try:
            super().__init__(compute_with_cache=False, **options)
        except ValueError as error:  # its message names the option
            raise ArgumentValueError(f"options: {error}") from error
        if isinstance(network, str) and network == "inception":
            network = inception() if role == "features" else inception().logits
        if isinstance(network, type) or not callable(network):
            raise ArgumentTypeError(f"{role} (={shown(network)}) must be callable, and not a class, or 'inception'")
        _check_kind(role, network)
        check_positive("timeout", timeout)
        self.timeout = timeout
        self._role = role
        self._network = (network,)  # in a tuple, since a submodule would be trained, and saved with the state
        # A MetricCollection merges metrics whose states have equal names and values, even if their networks differ.
        # This empty state has a unique name, which prevents that.
        self.add_state(f"of_{id(self)}", [])

    @property
    def update_called(self) -> bool:
        """Return True always, since ``compute`` reports missing samples itself."""
        return True

    def _call(self, samples: Tensor) -> Tensor:
        """Return the outputs (N, F) of the network, in float32 or better, on the metric's device."""
        check_samples(samples)
        (network,) = self._network
        outputs: Any = once(network, samples, lambda: _run(network, samples))
        columns, what = ("features", "features") if self._role == "features" else ("K", "logits")
        if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(samples) or not outputs.shape[1]:
            gave = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise ShapeError(f"{self._role} gave {gave} for {len(samples)} samples; it must give (N, {columns})")
        if outputs.is_complex():
            raise DTypeError(f"{self._role} gave {outputs.dtype}; it must give real numbers")
        if not _all_finite(self._role, outputs):
            raise ArgumentValueError(f"samples have {what} that are not finite")
        return outputs.detach().to(self.device, torch.promote_types(outputs.dtype, torch.float32))

    @property
    def _alone(self) -> bool:
        """Return whether to ignore other processes, because they do not exist or torchmetrics' options say so."""
        return not (self._to_sync and self.distributed_available_fn())

    def _states(self) -> list[State]:
        """Return the states of all processes, in the order of their ranks."""
        mine = dict(self.metric_state)
        if self._alone:
            return [mine]
        group = self.process_group or distributed.group.WORLD
        meet(type(self).__name__, timeout=self.timeout, group=group)
        states: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(states, _moved(mine, torch.device("cpu")), group=group)
        return [_moved(state, self.device) for state in states]

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, since ``compute`` reads the states of the other processes itself."""

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Do nothing, since statistics and counts in half precision would be wrong or infinite.

        Args:
            dst_type: ignored.

        Returns:
            The metric itself.
        """
        return self

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> nn.Module:
        device, states = fn(torch.zeros(1, device=self.device)).device, dict(self.metric_state)
        if has_float64(device):  # otherwise the statistics stay on their device, and outputs are moved to it
            super()._apply(fn, *args, **kwargs)
            for name, value in _moved(states, self.device).items():  # to(dtype) must not round the statistics
                setattr(self, name, value)
        module = _module_of(self._network[0])
        if module is not None:
            module.to(device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        for name, value in _moved(dict(self.metric_state), self.device).items():  # the loaded lists too
            setattr(self, name, value)


def _check_kind(role: str, network: Any) -> None:
    """Refuse features for a metric that needs logits, and warn of logits given as features, for known networks."""
    if role == "classifier" and isinstance(network, InceptionFeatures):
        raise ArgumentValueError("classifier (=InceptionFeatures) gives features: give its method logits")
    if role == "classifier" and getattr(network, "__func__", None) is DigitClassifier.features:
        raise ArgumentValueError("classifier (=DigitClassifier.features) gives features: give the classifier itself")
    if role == "features" and isinstance(network, DigitClassifier):
        warn_user(
            "features (=DigitClassifier) gives 10 logits, too few to compare samples by: give its method features"
        )


class RealFakeMetric(GanMetric):
    """Compare generated samples with real samples.

    Names of states of generated samples begin with ``fake_``. All other states are real or training samples, which
    :meth:`reset` keeps. States that begin with ``loaded_`` count once, even if several processes have loaded them.
    """

    full_state_update: bool = True  # otherwise torchmetrics would merge states that are not sums

    def __init__(self, role: str, network: Any, timeout: float, options: Mapping[str, Any]) -> None:
        super().__init__(role, network, timeout, options)
        self._mixed = MixedImages()

    def update(self, samples: Tensor, *, real: bool) -> None:
        """Add real or generated samples.

        Args:
            samples: input of the network, (N, ...) with any N.
            real: whether the samples are real or generated.

        Raises:
            ArgumentTypeError: if samples are not a tensor, or ``real`` is not a bool.
            ArgumentValueError: if samples or outputs of the network are not finite, real samples are added to loaded
                statistics without a count, or one side has images as bytes and the other side scaled images, unless the
                network scales bytes.
            ShapeError: if the network does not return (N, F), or F changes.
        """
        if not isinstance(real, bool):
            raise ArgumentTypeError(f"real (={shown(real)}) must be True or False")
        self._update("real" if real else "fake", samples)

    def forward(self, samples: Tensor, *, real: bool) -> None:
        """Do the same as :meth:`update`, since the value of a single batch has no meaning."""
        self.update(samples, real=real)

    def _update(self, side: str, samples: Tensor) -> None:
        outputs = self._outputs(samples)
        known = self._width(self.metric_state)
        if known not in (None, outputs.shape[1]):
            raise ShapeError(
                f"{self._role} gave {tuple(outputs.shape)}, but earlier samples or the loaded statistics have {known} "
                "features per sample"
            )
        self._mixed.check("generated" if side == "fake" else side, samples, self._call)
        if len(outputs):
            self._add(side, outputs)

    def reset(self, *, real: bool = False) -> None:
        """Remove the generated samples, and keep the real ones.

        You therefore need to add the real samples only once; see :attr:`has_real`.

        Args:
            real: whether to remove real and training samples too.

        Raises:
            ArgumentTypeError: if ``real`` is not a bool.
        """
        check_flag("real", real)
        kept = {name: value for name, value in self.metric_state.items() if not (real or name.startswith("fake_"))}
        kept = {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}
        for side in ("generated", *(("real", "training") if real else ())):
            self._mixed.forget(side)
        super().reset()  # this empties lists in place
        for name, value in kept.items():
            setattr(self, name, value)

    def save_statistics(self, path: str | os.PathLike[str]) -> None:
        """Save the real samples' statistics as ``.npz``.

        With several processes, all of them must call this method, and the first one writes the file.

        Args:
            path: the file. It is written completely or not at all. It exists for all processes when the method returns.

        Raises:
            ArgumentTypeError, ArgumentValueError: if the path is invalid, or there are no real samples.
            RunFolderError: if the file cannot be written.
        """
        _check_path(path)
        arrays: dict[str, Any] = {name: np.asarray(value.cpu()) for name, value in self._arrays(self._states()).items()}
        try:
            self._loaded(arrays)
        except ValueError as error:  # for example, squares that are not finite
            raise ArgumentValueError(
                f"{type(self).__name__} could not load these statistics of the real samples again: {error}"
            ) from error

        def write() -> None:
            archive = io.BytesIO()  # numpy must be able to seek
            np.savez(archive, **arrays)
            write_atomically(path, lambda file: file.write(archive.getbuffer()))

        write() if self._alone else first_does(write, self.process_group)

    def load_statistics(self, path: str | os.PathLike[str]) -> None:
        """Replace the statistics of the real samples with those of a file.

        With several processes, each of them must call this method.

        Args:
            path: a file of :meth:`save_statistics`.

        Raises:
            CheckpointError: if the file is missing, damaged or of another kind.
            ShapeError: if its number of features, or of classes, differs from that of the samples so far.
            ArgumentValueError: if the modes of a :class:`ModeCoverage` were saved with another ``stacked``.
        """
        _check_path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name]) for name in file.files}
                # torch accepts only numbers in the byte order of the machine.
                arrays = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
        except Exception as error:  # numpy can raise any error for a damaged or hostile file
            raise CheckpointError(f"{path} cannot be read as an .npz file of arrays: {error}") from error
        try:
            loaded = self._loaded(arrays)
        except Exception as error:  # the arrays can have any dtype and shape
            held = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
            raise CheckpointError(
                f"{path} does not hold the statistics of a {type(self).__name__}: {error} (it holds {held})"
            ) from error
        self._check_loaded(str(path), loaded)
        for name, value in _moved(loaded, self.device).items():
            setattr(self, name, value)

    @property
    def has_real(self) -> bool:
        """Return whether this process has real samples or loaded statistics."""
        real = {name: value for name, value in self.metric_state.items() if name.startswith(("real_", "loaded_"))}
        return self._width(real) is not None

    def _check_loaded(self, path: str, loaded: State) -> None:
        """Raise an error if loaded states do not fit the generated samples."""
        fakes = {name: value for name, value in self.metric_state.items() if name.startswith("fake_")}
        known, new = self._width(fakes), self._width(loaded)
        if known not in (None, new):
            raise ShapeError(f"{path} holds {new} features per sample, but {self._role} gave {known} before")

    def _outputs(self, samples: Tensor) -> Tensor:
        """Return the outputs to keep for the samples, (N, F)."""
        return self._call(samples)

    @abstractmethod
    def _add(self, side: str, outputs: Tensor) -> None:
        """Add outputs (N, F), N at least 1, to a side."""

    @abstractmethod
    def _width(self, state: State) -> int | None:
        """Return the number of features in a state, or None if it has no samples."""

    @abstractmethod
    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        """Return the arrays for a file of statistics, from the states of all processes."""

    @abstractmethod
    def _loaded(self, arrays: dict[str, Any]) -> State:
        """Return all states of the real side from the arrays of a file; raise an error if they do not fit."""


class RowsMetric(RealFakeMetric):
    """Keep one row of features for each sample."""

    rows = "features"  # name of the rows in states and files
    sides: tuple[str, ...] = ("real", "loaded", "fake")

    def __init__(self, role: str, network: Any, timeout: float, options: Mapping[str, Any]) -> None:
        super().__init__(role, network, timeout, options)
        for side in self.sides:
            self.add_state(f"{side}_{self.rows}", [], dist_reduce_fx="cat", persistent=True)

    def _side(self, states: Sequence[State], side: str) -> Tensor:
        """Return the rows of a side from the states of all processes, (N, F)."""
        rows = [row for state in states for row in state[f"{side}_{self.rows}"]]
        if side == "real":
            rows += next((state[f"loaded_{self.rows}"] for state in states if state[f"loaded_{self.rows}"]), [])
        if len({row.shape[1] for row in rows}) > 1:
            raise ShapeError(f"{self._role} gave {sorted({row.shape[1] for row in rows})} features on different ranks")
        return torch.cat(rows) if rows else torch.empty(0, 0, device=self.device)

    def _pair(self, states: Sequence[State], least: int, reason: str = "") -> tuple[Tensor, Tensor]:
        """Return the real and the generated rows in float64; raise an ArgumentValueError if there are too few."""
        real, fake = self._side(states, "real"), self._side(states, "fake")
        if min(len(real), len(fake)) < least:
            raise ArgumentValueError(
                f"update was given {len(real)} real and {len(fake)} generated samples; at least {least} of each are "
                f"needed{reason}"
            )
        if real.shape[1] != fake.shape[1]:
            raise ShapeError(
                f"{self._role} gave {real.shape[1]} features for real samples, and {fake.shape[1]} for generated "
                "samples"
            )
        return real.double(), fake.double()

    def _add(self, side: str, outputs: Tensor) -> None:
        # Copy: the network may reuse the memory of its outputs, or return a view of a large tensor.
        getattr(self, f"{side}_{self.rows}").append(outputs.clone())

    def _width(self, state: State) -> int | None:
        return next((rows[0].shape[1] for name, rows in state.items() if name.endswith(self.rows) and rows), None)

    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        real = self._side(states, "real")
        if not len(real):
            raise ArgumentValueError("there are no real samples to save statistics of: call update(real=True)")
        return {self.rows: real}

    def _loaded(self, arrays: dict[str, Any]) -> State:
        rows = rows_of(arrays, self.rows)
        return {f"real_{self.rows}": [], f"loaded_{self.rows}": [rows]}


def _check_path(path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"path (={shown(path)}) must be the path of a file")
    if not Path(path).name:
        raise ArgumentValueError(f"path (={str(path)!r}) must be the path of a file")


def check_samples(samples: Any) -> None:
    """Raise an error unless samples are a tensor (N, ...) of finite values."""
    if not isinstance(samples, Tensor):
        raise ArgumentTypeError(f"samples (={shown(samples)}) must be a tensor")
    if samples.ndim == 0:
        raise ShapeError("samples () must have shape (N, ...)")
    if not _all_finite("samples", samples):
        raise ArgumentValueError("samples hold values that are not finite")


def _all_finite(name: str, values: Tensor) -> bool:
    try:
        return not values.is_floating_point() or bool(values.isfinite().all())
    except (RuntimeError, NotImplementedError) as error:  # 8-bit floats, the meta device, sparse tensors
        raise DTypeError(
            f"{name}: values of {values.dtype} on {values.device} with {values.layout} cannot be read: {error}"
        ) from error


def rows_of(arrays: dict[str, Any], name: str) -> Tensor:
    """Return an array of a file as rows (N, F), N at least 1, in float32 or better, or raise a ValueError."""
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    rows = torch.as_tensor(arrays[name])
    if rows.ndim != 2 or not rows.numel() or not rows.is_floating_point() or not rows.isfinite().all():
        raise ValueError(f"{name} must be finite floats (N, F), with N of at least 1")
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _run(network: Any, samples: Tensor) -> Any:
    """Call a network in evaluation mode, without gradients and autocast, on its own device and in its own dtype."""
    module = _module_of(network)
    weights = [] if module is None else module.parameters()
    weight = next((weight for weight in weights if weight.is_floating_point()), None)
    if weight is not None:
        samples = samples.to(weight.device, weight.dtype if samples.is_floating_point() else None)
    with torch.no_grad(), torch.autocast(samples.device.type, enabled=False), evaluating(*_modules_of(network)):
        try:
            return network(samples)
        except RuntimeError as error:
            if not samples.is_floating_point():
                raise DTypeError(f"samples are {samples.dtype}, which the network cannot process: {error}") from error
            if type(error) is not RuntimeError or "CUDA" in str(error):  # out of memory, for example
                raise
            raise ShapeError(f"samples {tuple(samples.shape)} cannot be computed by the network: {error}") from error


def _module_of(network: Any) -> nn.Module | None:
    """Return the network itself if it is a module, or the module that a method belongs to."""
    while isinstance(network, functools.partial):
        network = network.func
    owner = getattr(network, "__self__", network)
    return owner if isinstance(owner, nn.Module) else None


def _modules_of(network: Any) -> list[nn.Module]:
    """Return all modules that a network uses, for example in the closure of a function, without their submodules."""
    found, covered = list[nn.Module](), set[nn.Module]()
    for root in (network, type(network).__call__):
        for part in held(root, closed=(nn.Module,)):
            if isinstance(part, nn.Module) and part not in covered:
                found.append(part)
                covered.update(part.modules())
    return found


def _moved(state: State, device: torch.device) -> State:
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), state)

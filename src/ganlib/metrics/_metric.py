"""What the metrics share: networks that they call, their state over several processes, and the two sides."""

import functools
import io
import os
import warnings
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
from ganlib._once import once
from ganlib._ranks import first_does, meet
from ganlib._sampling import evaluating
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, DTypeError, ShapeError
from ganlib.metrics._digit_classifier import DigitClassifier
from ganlib.metrics._extra import Metric
from ganlib.metrics._inception import InceptionFeatures, inception

__all__ = ["Features", "GanMetric", "Options", "RealFakeMetric", "RowsMetric", "State", "check_samples", "rows_of"]

Features: TypeAlias = Callable[[Tensor], Tensor] | Literal["inception"]
State: TypeAlias = dict[str, Any]  # the state of a metric: tensors, and lists of them, by name


class Options(TypedDict, total=False):
    """Names the options of ``torchmetrics.Metric``, so that type checkers find a misspelt one."""

    compute_on_cpu: bool
    compute_with_cache: bool
    dist_sync_on_step: bool
    process_group: Any
    dist_sync_fn: Callable[..., Any] | None
    distributed_available_fn: Callable[[], bool] | None
    sync_on_compute: bool


class GanMetric(Metric):
    """A metric of the outputs of a network; its state is collected over all processes when it is computed.

    Unlike torchmetrics, which gathers into the state of each process, ``compute`` reads the states of all processes and
    changes none. The processes meet first: where one is missing, the others get an error.

    Args:
        role: the argument that the network was given as, ``"features"`` or ``"classifier"``.
        network: a callable; a module, or a module's method, moves with the metric.
        timeout: seconds that ``compute`` waits for the other processes, above 0.
        options: those of ``torchmetrics.Metric``.
    """

    is_differentiable: bool = False
    full_state_update: bool = False

    def __init__(self, role: str, network: Any, timeout: float, options: Mapping[str, Any]) -> None:
        if "compute_with_cache" in options:
            raise ArgumentValueError("options: compute_with_cache must be left out, since nothing is cached")
        try:
            super().__init__(compute_with_cache=False, **options)
        except ValueError as error:  # which names the option
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
        # In a MetricCollection, metrics whose states have equal names and values share one from then on, whatever their
        # networks are, and what they load. This state, always empty, has a name of its own.
        self.add_state(f"of_{id(self)}", [])

    @property
    def update_called(self) -> bool:
        """Always True: ``compute`` says itself what is missing."""
        return True

    def _call(self, samples: Tensor) -> Tensor:
        """The outputs (N, F) of the network, in float32 or better, on the metric's device."""
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
        """Whether the other processes are left out: there are none, or torchmetrics is told not to ask them."""
        return not (self._to_sync and self.distributed_available_fn())

    def _states(self) -> list[State]:
        """The state of each process, in their order."""
        mine = dict(self.metric_state)
        if self._alone:
            return [mine]
        group = self.process_group or distributed.group.WORLD
        meet(type(self).__name__, timeout=self.timeout, group=group)
        states: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(states, _moved(mine, torch.device("cpu")), group=group)
        return [_moved(state, self.device) for state in states]

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``compute`` reads the states of the other processes itself."""

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Do nothing: statistics and counts in half precision would be wrong, or infinite.

        Args:
            dst_type: is ignored.

        Returns:
            The metric itself.
        """
        return self

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> nn.Module:
        device, states = fn(torch.zeros(1, device=self.device)).device, dict(self.metric_state)
        if has_float64(device):  # else the statistics stay where they are, and outputs are sent there
            super()._apply(fn, *args, **kwargs)
            for name, value in _moved(states, self.device).items():  # to(dtype) must not round the statistics
                setattr(self, name, value)
        module = _module_of(self._network[0])
        if module is not None:
            module.to(device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        for name, value in _moved(dict(self.metric_state), self.device).items():  # and lists of its own
            setattr(self, name, value)


def _check_kind(role: str, network: Any) -> None:
    """Refuse features where a metric reads logits, and warn of the reverse; of networks that are known."""
    if role == "classifier" and isinstance(network, InceptionFeatures):
        raise ArgumentValueError("classifier (=InceptionFeatures) gives features: give its logits, a method of it")
    if role == "classifier" and getattr(network, "__func__", None) is DigitClassifier.features:
        raise ArgumentValueError("classifier (=DigitClassifier.features) gives features: give the classifier itself")
    if role == "features" and isinstance(network, DigitClassifier):
        warnings.warn(
            "features (=DigitClassifier) gives 10 logits, too few to compare samples by: give its method features",
            stacklevel=4,
        )


class RealFakeMetric(GanMetric):
    """A metric that compares generated samples with real ones.

    The states of generated samples have names that begin with ``fake_``; all others are of the real side, which is kept
    over :meth:`reset`. Those that begin with ``loaded_`` count once, however many processes have loaded them.
    """

    full_state_update: bool = True  # which keeps torchmetrics from merging states that are no sums

    def update(self, samples: Tensor, *, real: bool) -> None:
        """Add samples.

        Args:
            samples: the input of the network, any number at a time.
            real: whether they are real or generated.

        Raises:
            ArgumentTypeError: samples are not a tensor, or ``real`` is not a bool.
            ArgumentValueError: samples, or what the network gives, are not finite; or the loaded statistics have no
                count, so that nothing can be added to them.
            ShapeError: the network gives something else than (N, F), or another F than before.
        """
        if not isinstance(real, bool):
            raise ArgumentTypeError(f"real (={shown(real)}) must be True or False")
        self._update("real" if real else "fake", samples)

    def forward(self, samples: Tensor, *, real: bool) -> None:
        """Do the same as :meth:`update`: there is nothing to compute of one side alone."""
        self.update(samples, real=real)

    def _update(self, side: str, samples: Tensor) -> None:
        outputs = self._outputs(samples)
        known = self._width(self.metric_state)
        if known not in (None, outputs.shape[1]):
            raise ShapeError(
                f"{self._role} gave {tuple(outputs.shape)}, but it gave {known} features a sample before, or the "
                "loaded statistics have so many"
            )
        if len(outputs):
            self._add(side, outputs)

    def reset(self, *, real: bool = False) -> None:
        """Forget the generated samples; the real side is kept, so give it once (see :attr:`has_real`).

        Args:
            real: whether to forget all else too: the real side, and training samples.

        Raises:
            ArgumentTypeError: ``real`` is not a bool.
        """
        check_flag("real", real)
        kept = {name: value for name, value in self.metric_state.items() if not (real or name.startswith("fake_"))}
        kept = {name: list(value) if isinstance(value, list) else value for name, value in kept.items()}
        super().reset()  # which empties lists in place
        for name, value in kept.items():
            setattr(self, name, value)

    def save_statistics(self, path: str | os.PathLike[str]) -> None:
        """Save the real side as ``.npz``; of several processes, all call this together, and the first one writes.

        Args:
            path: the file, written completely or not at all; it is there when this returns, on all processes.

        Raises:
            ArgumentTypeError, ArgumentValueError: the path is not one, or there is no real side.
            RunFolderError: the file cannot be written.
        """
        _check_path(path)
        arrays: dict[str, Any] = {name: np.asarray(value.cpu()) for name, value in self._arrays(self._states()).items()}
        try:
            self._loaded(arrays)
        except ValueError as error:  # their squares are not finite, for example
            raise ArgumentValueError(
                f"the real side has statistics that {type(self).__name__} could not load again: {error}"
            ) from error

        def write() -> None:
            archive = io.BytesIO()  # numpy wants to seek in it
            np.savez(archive, **arrays)
            write_atomically(path, lambda file: file.write(archive.getbuffer()))

        write() if self._alone else first_does(write, self.process_group)

    def load_statistics(self, path: str | os.PathLike[str]) -> None:
        """Replace the real side by that of a file; each of several processes calls this.

        Args:
            path: a file of :meth:`save_statistics`.

        Raises:
            CheckpointError: the file is missing or damaged, or holds something else.
            ShapeError: its number of features is not that of the samples so far.
        """
        _check_path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name]) for name in file.files}
                # torch takes numbers in this machine's byte order only.
                arrays = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
        except Exception as error:  # a damaged or hostile file can make numpy raise anything
            raise CheckpointError(f"{path} cannot be read as an .npz file of arrays: {error}") from error
        try:
            loaded = self._loaded(arrays)
        except Exception as error:  # an array can be of any dtype and shape
            held = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
            raise CheckpointError(
                f"{path} does not hold the statistics of a {type(self).__name__}: {error} (it holds {held})"
            ) from error
        known, new = self._width(self._fakes()), self._width(loaded)
        if known not in (None, new):
            raise ShapeError(f"{path} holds {new} features a sample, but {self._role} gave {known} before")
        for name, value in _moved(loaded, self.device).items():
            setattr(self, name, value)

    @property
    def has_real(self) -> bool:
        """Whether this process has a real side: real samples, or loaded statistics."""
        real = {name: value for name, value in self.metric_state.items() if name.startswith(("real_", "loaded_"))}
        return self._width(real) is not None

    def _fakes(self) -> State:
        return {name: value for name, value in self.metric_state.items() if name.startswith("fake_")}

    def _outputs(self, samples: Tensor) -> Tensor:
        """What is kept of samples, (N, F)."""
        return self._call(samples)

    @abstractmethod
    def _add(self, side: str, outputs: Tensor) -> None:
        """Add outputs (N, F), N at least 1, to a side."""

    @abstractmethod
    def _width(self, state: State) -> int | None:
        """The number of features in a state, or None if it holds no samples."""

    @abstractmethod
    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        """What the file of statistics holds, from the states of all processes."""

    @abstractmethod
    def _loaded(self, arrays: dict[str, Any]) -> State:
        """All states of the real side from what a file holds; an error where it does not hold them."""


class RowsMetric(RealFakeMetric):
    """A metric that keeps a row for each sample, its features."""

    rows = "features"  # their name, in the states and in files
    sides: tuple[str, ...] = ("real", "loaded", "fake")

    def __init__(self, role: str, network: Any, timeout: float, options: Mapping[str, Any]) -> None:
        super().__init__(role, network, timeout, options)
        for side in self.sides:
            self.add_state(f"{side}_{self.rows}", [], dist_reduce_fx="cat", persistent=True)

    def _side(self, states: Sequence[State], side: str) -> Tensor:
        """The rows of a side from the states of all processes, (N, F)."""
        rows = [row for state in states for row in state[f"{side}_{self.rows}"]]
        if side == "real":
            rows += next((state[f"loaded_{self.rows}"] for state in states if state[f"loaded_{self.rows}"]), [])
        if len({row.shape[1] for row in rows}) > 1:
            raise ShapeError(f"{self._role} gave {sorted({row.shape[1] for row in rows})} features on different ranks")
        return torch.cat(rows) if rows else torch.empty(0, 0, device=self.device)

    def _pair(self, states: Sequence[State], least: int, reason: str = "") -> tuple[Tensor, Tensor]:
        """The real and the generated rows in float64; an ArgumentValueError unless there are so many of each."""
        real, fake = self._side(states, "real"), self._side(states, "fake")
        if min(len(real), len(fake)) < least:
            raise ArgumentValueError(
                f"update was given {len(real)} real and {len(fake)} generated samples; at least {least} of each are "
                f"needed{reason}"
            )
        if real.shape[1] != fake.shape[1]:
            raise ShapeError(
                f"{self._role} gave {real.shape[1]} features for real samples, and {fake.shape[1]} for others"
            )
        return real.double(), fake.double()

    def _add(self, side: str, outputs: Tensor) -> None:
        # A copy: the network may write its next outputs into the same tensor, or give a part of a large one.
        getattr(self, f"{side}_{self.rows}").append(outputs.clone())

    def _width(self, state: State) -> int | None:
        return next((rows[0].shape[1] for name, rows in state.items() if rows), None)

    def _arrays(self, states: Sequence[State]) -> dict[str, Tensor]:
        real = self._side(states, "real")
        if not len(real):
            raise ArgumentValueError(
                "there are no real samples whose statistics could be saved: call update(real=True)"
            )
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
    except (RuntimeError, NotImplementedError) as error:  # those of 8 bits, on the meta device, sparse ones
        raise DTypeError(
            f"{name}: values of {values.dtype} on {values.device} with {values.layout} cannot be read: {error}"
        ) from error


def rows_of(arrays: dict[str, Any], name: str) -> Tensor:
    """An array of a file as rows (N, F), N at least 1, in float32 or better; an error if it is not there or not so."""
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    rows = torch.as_tensor(arrays[name])
    if rows.ndim != 2 or not rows.numel() or not rows.is_floating_point() or not rows.isfinite().all():
        raise ValueError(f"{name} must be finite floats (N, F), with N of at least 1")
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _run(network: Any, samples: Tensor) -> Any:
    """Call a network in evaluation mode, without gradients and autocast, where and in the precision in which it is."""
    module = _module_of(network)
    modules = [] if module is None else [module]
    weight = next((weight for module in modules for weight in module.parameters() if weight.is_floating_point()), None)
    if weight is not None:
        samples = samples.to(weight.device, weight.dtype if samples.is_floating_point() else None)
    with torch.no_grad(), torch.autocast(samples.device.type, enabled=False), evaluating(*modules):
        try:
            return network(samples)
        except RuntimeError as error:
            if not samples.is_floating_point():
                raise DTypeError(f"samples are {samples.dtype}, which the network cannot compute: {error}") from error
            if type(error) is not RuntimeError or "CUDA" in str(error):  # out of memory, for example
                raise
            raise ShapeError(f"samples {tuple(samples.shape)} cannot be computed by the network: {error}") from error


def _module_of(network: Any) -> nn.Module | None:
    """The network itself if it is a module, or the module that a method belongs to."""
    while isinstance(network, functools.partial):
        network = network.func
    owner = getattr(network, "__self__", network)
    return owner if isinstance(owner, nn.Module) else None


def _moved(state: State, device: torch.device) -> State:
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), state)

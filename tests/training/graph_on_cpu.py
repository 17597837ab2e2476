"""What stands in for CUDA graphs on the CPU: it records a step's kernels, and runs them without the step's Python."""

import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, NamedTuple, NoReturn
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
import torch.utils._device
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["NOISE", "GraphOnCPU", "capturable_on_cpu", "make_noisy", "stand_in"]

Metrics = dict[str, Tensor]

# These wait on CUDA although their tags do not say so.
_WAITING = {"multinomial", "_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_eig"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_EMPTY = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}

# Torch keeps tables of its functions; they are filled here, lest they hold what stands in for one while a step runs.
torch.overrides.get_testing_overrides()
torch.overrides.resolve_name(torch.add)
torch.utils._device._device_constructors()


class GraphOnCPU:
    """Records the kernels of steps on the CPU, as unforgiving as ``torch.cuda.graph``.

    A recording holds memory and numbers, and no Python: it reads and writes where the step did, and draws random
    numbers in the step's order from torch's default generator. Recording changes neither memory nor random state, and
    leaves garbage in the memory that the step made: only a replay fills it. What a CUDA step could not do raises.

    It sees no device, so that a copy from the host passes if the tensor was there before the step, or is from
    ``torch.frombuffer``; and what is held on the host, as the steps of an optimizer may be, is replayed too.

    Attributes:
        device_type: where it records.
        warm: how many steps were run to warm up.
        recorded: how many recordings there were.
        replayed: how often one was run.
    """

    device_type = "cpu"

    def __init__(self) -> None:
        self.warm, self.recorded, self.replayed = 0, 0, 0
        self._recordings: weakref.WeakSet[_Recording] = weakref.WeakSet()

    def warm_up(self, step: Callable[[], Metrics]) -> Metrics:
        """Run once."""
        self.warm += 1
        return step()

    def without_waiting(self) -> AbstractContextManager[None]:
        """Raise ``RuntimeError`` inside where the host would wait for a device."""
        return _Watch().watching()

    def record(self, step: Callable[[], Metrics]) -> tuple[Metrics, Callable[[], None]]:
        """Record without running: Python attributes change, memory does not.

        Returns:
            Where the results will lie, and what runs the step, each time into the same memory.

        Raises:
            RuntimeError: the step waits for the device, copies from the host, or sets or brings a random generator.
        """
        capture = _Capture()
        try:
            with capture.watching():
                metrics = step()
        finally:
            capture.put_back()
        recording = capture.recording()
        self._recordings.add(recording)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            recording.run()

        return metrics, replay

    @property
    def freed(self) -> int:
        """How many pieces of memory only recordings still hold, which CUDA would have given to others by now."""
        held = Counter(_key(tensor) for recording in self._recordings for tensor in recording.outside)
        return sum(_users(key) <= count for key, count in held.items())


def stand_in(monkeypatch: pytest.MonkeyPatch) -> GraphOnCPU:
    """Give what trainers with ``cuda_graph=True`` on the CPU will be recorded by."""
    recorder = GraphOnCPU()
    monkeypatch.setattr("ganlib.training._game_trainer.CudaRecorder", lambda: recorder)
    return recorder


def capturable_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's optimizers take ``capturable=True`` on the CPU, which they refuse."""
    name = "_get_capturable_supported_devices"
    for module in [module for key, module in sys.modules.items() if key.startswith("torch.optim.")]:
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *_, **__: ["cpu"])


NOISE = torch.Generator()  # which nobody resets, unlike torch's


@torch.library.custom_op("ganlib_tests::noisy", mutates_args=())
def _noisy(x: Tensor, scale: float) -> Tensor:
    return x + scale * x.square().mean().sqrt() * torch.randn(x.shape, generator=NOISE, dtype=x.dtype)


def make_noisy(*modules: torch.nn.Module, scale: float) -> None:
    """Let gradients differ each time by so much of their size, as kernels do that add up in no fixed order."""
    for module in modules:
        for parameter in module.parameters():
            parameter.register_hook(lambda gradient: torch.ops.ganlib_tests.noisy(gradient, scale))


class _Watch(TorchDispatchMode):
    """Sees the kernels of forward and backward passes, and refuses those for which the host waits on CUDA.

    What never becomes a kernel on the CPU (``tolist`` and ``cpu``, say) is refused by replacing it meanwhile.
    """

    _says = "called a synchronizing CUDA operation"
    _from_host = "anything"  # what of Python's data may become a tensor: "anything", a "number" or "nothing"

    def __init__(self) -> None:
        super().__init__()
        self._checks = False  # a function of torch looks at its arguments, as it does on the CPU alone
        self._numbers: dict[int, Tensor] = {}
        self._thread = threading.get_ident()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread."""
        replaced: list[tuple[Any, str, Callable[..., Any]]] = [
            *((Tensor, name, self._refuse_all) for name in ("tolist", "numpy", "cpu", "__repr__")),
            (Tensor, "to", self._to),
            (Tensor, "new_tensor", self._to_device),
            (torch, "tensor", self._make),
            (torch, "as_tensor", self._make),
            (F, "one_hot", self._one_hot),
        ]
        with ExitStack() as stack:
            for owner, name, handle in replaced:
                stack.enter_context(mock.patch.object(owner, name, self._in_place_of(getattr(owner, name), handle)))
            stack.enter_context(_Indexing({"__getitem__": self._to_device, "__setitem__": self._number}))
            stack.enter_context(self)
            yield

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # where what is made of several kernels is not taken apart before
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = _name(func)
        if name == "lift_fresh":
            self._lift(args[0])
        elif name == "copy_" and self._is_number(args[1]):
            self._refuse("a number is copied from the host")
        elif name in _INDEXING:
            self._check_indexing(name, *args)
        elif not self._checks and _waits(func, args, kwargs):
            self._refuse(f"{name} waits for the device")
        return self._run(func, args, kwargs)

    def _run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(f"{self._says}: {what}")

    def _lift(self, tensor: Tensor) -> None:
        if self._from_host == "nothing" or (self._from_host == "number" and tensor.dim() > 0):
            self._refuse("data of Python's is copied from the host")
        if self._from_host == "number":
            self._numbers[_key(tensor)] = _alias(tensor)

    def _is_number(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.layout is torch.strided and _key(value) in self._numbers

    def _check_indexing(self, name: str, _: Tensor, indices: Any, value: Any = None, *__: Any) -> None:
        given = [index for index in indices if index is not None]
        masks = sum(index.dtype in (torch.bool, torch.uint8) for index in given)
        if masks == len(given) == 1 and self._is_number(value):
            return  # torch takes masked_fill_
        if masks:
            self._refuse(f"{name} by a mask waits for the device")
        if self._is_number(value):
            self._refuse("a number is copied from the host")

    def _in_place_of(self, function: Callable[..., Any], handle: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            here = threading.get_ident() == self._thread
            return handle(function, *args, **kwargs) if here else function(*args, **kwargs)

        return call

    @contextmanager
    def _allowing(self, from_host: str) -> Iterator[None]:
        before, self._from_host = self._from_host, from_host
        try:
            yield
        finally:
            self._from_host = before

    def _refuse_all(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse(f"{function.__name__} waits for the device")

    def _to(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        kinds = {type(value) for value in (*args, *kwargs.values())}
        if str in kinds and not kwargs.get("non_blocking"):
            self._refuse("to('cpu') waits for the device")
        if torch.device in kinds and self._is_number(args[0]):
            self._refuse("a number is copied from the host")
        return function(*args, **kwargs)

    def _to_device(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._allowing("nothing"):
            return function(*args, **kwargs)

    def _number(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._allowing("number"):  # it stays on the host, and is given to a kernel by value
            return function(*args, **kwargs)

    def _make(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        device = kwargs.get("device")
        if device is not None and not isinstance(device, str):
            return self._to_device(function, *args, **kwargs)
        if self._from_host == "nothing":  # it stays on the host, whatever the device
            return self._number(function, *args, **kwargs)
        return function(*args, **kwargs)

    def _one_hot(self, function: Callable[..., Any], tensor: Tensor, num_classes: int = -1) -> Any:
        before, self._checks = self._checks, num_classes >= 0
        try:
            return function(tensor, num_classes)
        finally:
            self._checks = before


class _Indexing(TorchFunctionMode):
    """Handles what indexes a tensor. To replace these two methods would leave traces: the type has slots for them."""

    def __init__(self, handlers: dict[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._handlers = handlers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handle = self._handlers.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if handle is None else handle(func, *args, **(kwargs or {}))


class _Capture(_Watch):
    """Keeps the kernels that it sees, and what lay in the memory from outside that they met."""

    _says = "operation not permitted when stream is capturing"
    _from_host = "nothing"

    def __init__(self) -> None:
        super().__init__()
        self._kernels: list[_Kernel] = []
        self._inside: dict[int, Tensor] = {}
        self._outside: dict[int, tuple[Tensor, Tensor]] = {}
        self._refused: str | None = None
        self._random = self._random_before = torch.get_rng_state()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread, and the random state to the end."""
        with super().watching():
            yield
        self._check_random(None)

    def put_back(self) -> None:
        """Put back what lay in memory, and the random state; leave garbage in what the step made."""
        for now, before in self._outside.values():
            if not torch.equal(now, before):
                now.copy_(before)
        for tensor in self._inside.values():
            if tensor.dtype is not torch.bool:
                _bytes(tensor.untyped_storage()).fill_(0xFF)  # NaN, or -1
        torch.set_rng_state(self._random_before)

    def recording(self) -> "_Recording":
        """What was recorded."""
        if self._refused is not None:
            raise RuntimeError(f"operation failed due to a previous error during capture: {self._refused}")
        return _Recording(self._kernels, self._outside.keys() - self._numbers.keys())

    def _refuse(self, what: str) -> NoReturn:
        self._refused = what
        super()._refuse(what)

    def _run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check_random(kwargs.get("generator"))
        for value in tree_leaves((args, kwargs)):
            self._meet(value)
        given = tree_map_only(Tensor, _alias, (args, kwargs))
        result = func(*args, **kwargs)
        self._random = torch.get_rng_state()
        made = {
            position: _alias(value)
            for position, value in enumerate(tree_leaves(result))
            if isinstance(value, Tensor) and not self._knows(self._storage(value))
        }
        self._inside.update((_key(tensor), tensor) for tensor in made.values())
        if _name(func) not in _EMPTY:
            self._kernels.append(_Kernel(func, given[0], given[1], made))
        return result

    def _check_random(self, generator: torch.Generator | None) -> None:
        known = (None, torch.default_generator._cdata)  # type: ignore[attr-defined]
        if getattr(generator, "_cdata", None) not in known:
            self._refuse("a random generator that no graph knows of")
        if not torch.equal(self._random, torch.get_rng_state()):
            self._refuse("the random state was set")

    def _meet(self, value: Any) -> None:
        """Keep what lies in memory from outside before the first kernel may write it.

        Some kernels write what their schema does not speak of: ``native_batch_norm`` its running statistics.
        """
        if isinstance(value, Tensor):
            value = self._storage(value)
        if isinstance(value, torch.UntypedStorage) and not self._knows(value):
            memory = _bytes(value)
            self._outside[value._cdata] = (memory, memory.clone())

    def _storage(self, tensor: Tensor) -> torch.UntypedStorage:
        if tensor.layout is not torch.strided:
            self._refuse(f"a tensor of layout {tensor.layout}")
        return tensor.untyped_storage()

    def _knows(self, storage: torch.UntypedStorage) -> bool:
        return storage._cdata in self._inside or storage._cdata in self._outside


class _Kernel(NamedTuple):
    func: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: dict[int, Tensor]  # by their position among the results

    def run(self) -> None:
        """Run, with results where they were."""
        result = self.func(*self.args, **self.kwargs)
        if self.made:
            leaves = tree_leaves(result)
            for position, tensor in self.made.items():
                tensor.copy_(leaves[position])


class _Recording:
    """The kernels of a step, and the tensors from outside that they read or write."""

    def __init__(self, kernels: list[_Kernel], outside: set[int]) -> None:
        self._kernels = kernels
        leaves = [leaf for kernel in kernels for leaf in tree_leaves((kernel.args, kernel.kwargs))]
        self.outside = [leaf for leaf in leaves if isinstance(leaf, Tensor) and _key(leaf) in outside]

    def run(self) -> None:
        """Run the kernels, whatever modes torch is in: they decided which kernels there are, and do so no more."""
        with torch._C._AutoDispatchBelowADInplaceOrView(), torch.autocast("cpu", enabled=False):
            for kernel in self._kernels:
                kernel.run()


def _name(func: OpOverload) -> str:
    return func._schema.name.split("::")[1]


def _key(tensor: Tensor) -> int:
    """Which memory it lies in."""
    return tensor.untyped_storage()._cdata


def _alias(tensor: Tensor) -> Tensor:
    """A tensor of the same memory, shape and strides that stays so whatever becomes of this one, as an address does."""
    with torch._C._AutoDispatchBelowADInplaceOrView():
        return tensor.detach()


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    with torch.inference_mode(False):
        return torch.empty(0, dtype=torch.uint8).set_(storage)


def _waits(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    name = _name(func)
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name == "normal":  # a deviation that is a tensor is checked
        return any(isinstance(value, Tensor) for value in args[1:])
    return name in _WAITING or not {
        torch.Tag.data_dependent_output,
        torch.Tag.dynamic_output_shape,
    }.isdisjoint(func.tags)


def _users(key: int) -> int:
    """How many tensors lie in a piece of memory."""
    alone = torch.empty(1)
    return torch._C._storage_Use_Count(key) - torch._C._storage_Use_Count(_key(alone)) + 1

"""Time trainings in turns, measure the peaks of the machine, and count the operations and bytes of a step."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Run", "Timed", "bandwidth", "flops", "in_turns", "moved", "peak", "wait", "warm_up"]

Run = Callable[[int], None]

_ALLOCATE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_OVERWRITE = {"bernoulli_", "copy_", "fill_", "normal_", "random_", "uniform_", "zero_"}


@dataclass(frozen=True)
class Timed:
    """Represent the seconds per iteration of each turn."""

    turns: list[float]

    @property
    def seconds(self) -> float:
        """Return the median."""
        return statistics.median(self.turns)

    @property
    def spread(self) -> float:
        """Return half of the distance between the quartiles, divided by the median."""
        return _half_width(self.turns) / self.seconds

    def over(self, other: "Timed") -> tuple[float, float]:
        """Divide by the times of another run, turn by turn; return the median and half of the quartile distance."""
        ratios = [own / its for own, its in zip(self.turns, other.turns, strict=True)]
        return statistics.median(ratios), _half_width(ratios)


def warm_up(run: Run, device: torch.device, iterations: int = 5) -> float:
    """Return the seconds of the first iterations, including compilation; no other time includes them."""
    return _seconds(run, device, iterations)


def in_turns(runs: Mapping[str, Run], device: torch.device, *, iterations: int, rounds: int) -> dict[str, Timed]:
    """Let all runs take turns of ``iterations``, so a slowdown of the machine affects all runs."""
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for place in range(rounds):
        # Alternate the order, so no run always follows the same one.
        for name in list(runs)[:: 1 if place % 2 == 0 else -1]:
            turns[name].append(_seconds(runs[name], device, iterations) / iterations)
    return {name: Timed(values) for name, values in turns.items()}


def peak(device: torch.device, dtype: torch.dtype, *, tf32: bool = False) -> float:
    """Return the operations per second of a large square matrix product, the best of several.

    It is computed as a matrix product, and as an equal convolution with a kernel of one pixel. The two libraries reach
    different speeds, on some processors by a factor of two.
    """
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    image, kernel = a.t()[None, :, :, None].contiguous(memory_format=torch.channels_last), b[:, :, None, None]

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(a, b)

    def convolve(times: int) -> None:
        for _ in range(times):
            torch.conv2d(image, kernel)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        best = min(_seconds(run, device, 3) / 3 for run in (multiply, convolve) for _ in range(5))
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * size**3 / best


def flops(run: Run) -> int:
    """Count the operations of the matrix products and convolutions of one iteration, forward and backward."""
    run(1)  # the first one includes the dry run of ganlib
    with FlopCounterMode(display=False) as counter:
        run(1)
    return counter.get_total_flops()


def bandwidth(device: torch.device) -> float:
    """Return the bytes per second, read and written, of a copy of a large tensor, the best of several."""
    source = torch.ones(2**30 if device.type == "cuda" else 2**27, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy(times: int) -> None:
        for _ in range(times):
            target.copy_(source)

    copy(1)
    return 2 * len(source) / min(_seconds(copy, device, 3) / 3 for _ in range(5))


def moved(run: Run) -> int:
    """Count the bytes of one iteration if each operation reads its inputs from memory and writes its outputs there.

    The sum is over the ATen operations of an iteration without a graph and without compilation. A tensor that is
    changed in place counts twice. Views and allocations do not count. The sum does not see caches, repeated reads,
    workspaces and fusion by a compiler.
    """
    run(1)
    seen = []
    for iterations in (1, 2):  # the first includes the start and the end of a ``fit``
        with _Traffic() as traffic:
            run(iterations)
        seen.append(traffic.bytes)
    return seen[1] - seen[0]


class _Traffic(TorchDispatchMode):
    """Add up the sizes of the tensors that operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in _ALLOCATE:
            return result
        read, changed = list[Tensor](), list[Tensor]()
        for position, argument in enumerate(func._schema.arguments):
            given = _tensors(args[position] if position < len(args) else kwargs.get(argument.name))
            if not (argument.is_out or (name in _OVERWRITE and position == 0)):
                read += given
            # The schema of fused optimizers marks gradients as changed, but only a gradient scaler changes them.
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name != "grads":
                changed += given
        known = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        made = [tensor for tensor in _tensors(result) if tensor.untyped_storage().data_ptr() not in known]
        if made or changed:  # otherwise it is a view
            self.bytes += sum(map(_size, [*read, *changed, *made]))
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _size(tensor: Tensor) -> int:
    """Return the bytes of a tensor, without repeated elements of expanded dimensions."""
    lengths = [length for length, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not length]
    return math.prod(lengths) * tensor.element_size()


def _seconds(run: Run, device: torch.device, iterations: int) -> float:
    wait(device)
    began = time.perf_counter()
    run(iterations)
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _half_width(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2

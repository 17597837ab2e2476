"""Stopwatches: trainings in turns, the machine's peak, and how many operations a step takes."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Timed", "flops", "in_turns", "peak", "warm_up"]

Run = Callable[[int], None]


@dataclass(frozen=True)
class Timed:
    """Seconds an iteration, one for each turn."""

    turns: list[float]

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(self.turns)

    @property
    def spread(self) -> float:
        """Half of the distance between the quartiles, as a part of the median."""
        return _half_width(self.turns) / self.seconds

    def over(self, other: "Timed") -> tuple[float, float]:
        """How many times as long as another, turn by turn: the median, and half of the distance of the quartiles."""
        ratios = [own / its for own, its in zip(self.turns, other.turns, strict=True)]
        return statistics.median(ratios), _half_width(ratios)


def warm_up(run: Run, device: torch.device, iterations: int = 5) -> float:
    """Seconds of the first iterations, compilation included, which count nowhere else."""
    return _seconds(run, device, iterations)


def in_turns(runs: Mapping[str, Run], device: torch.device, *, iterations: int, rounds: int) -> dict[str, Timed]:
    """Let each run take so many iterations, one after the other, round after round: what slows one slows all."""
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for place in range(rounds):
        # Back and forth, so that none always follows the same one.
        for name in list(runs)[:: 1 if place % 2 == 0 else -1]:
            turns[name].append(_seconds(runs[name], device, iterations) / iterations)
    return {name: Timed(values) for name, values in turns.items()}


def peak(device: torch.device, dtype: torch.dtype, *, tf32: bool = False) -> float:
    """Operations a second of a large square matrix product, the best of several.

    It is computed as a product, and as a convolution with a kernel of one pixel, which is the same: the libraries for
    the two differ, and so does what they reach (on some processors by a factor of two).
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
    """Operations of one iteration's matrix products and convolutions, both ways; those of pointwise layers are few."""
    run(1)  # of the first one ganlib makes a rehearsal too
    with FlopCounterMode(display=False) as counter:
        run(1)
    return counter.get_total_flops()


def _seconds(run: Run, device: torch.device, iterations: int) -> float:
    _wait(device)
    began = time.perf_counter()
    run(iterations)
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _half_width(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2

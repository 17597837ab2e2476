"""List the kernels that a step launches, and their times."""

from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.timing import Run, wait

__all__ = ["Kernel", "kernels", "table"]


@dataclass(frozen=True)
class Kernel:
    """Represent all calls of one kernel.

    Args:
        name: name of the kernel or of the copy; on the CPU, of the ATen operation.
        seconds: time of all calls in an iteration.
        calls: number of calls in an iteration.
    """

    name: str
    seconds: float
    calls: float


def kernels(run: Run, device: torch.device, iterations: int = 10) -> list[Kernel]:
    """Return the kernels that a training runs on the device, by ``torch.profiler``, the slowest first."""
    cuda = device.type == "cuda"
    wait(device)
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        run(iterations)
        wait(device)
    found = []
    for event in profiler.key_averages():
        # Names with a # are ranges that optimizers mark. Their kernels count under their own names.
        if "#" in event.key or (event.device_type.name == "CUDA") != cuda:
            continue
        microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
        found.append(Kernel(event.key, microseconds / 1e6 / iterations, event.count / iterations))
    return sorted(found, key=lambda kernel: kernel.seconds, reverse=True)


def table(found: list[Kernel], count: int = 10) -> str:
    """Format the slowest kernels as lines: share of the total time, microseconds and calls per iteration, name."""
    total = sum(kernel.seconds for kernel in found) or 1.0
    return "".join(
        f"{kernel.seconds / total:7.1%} {kernel.seconds * 1e6:10.1f} us {kernel.calls:6.1f} x  {kernel.name}\n"
        for kernel in found[:count]
    )

"""Find what limits a step: the device's arithmetic, its memory, or the time between two kernels."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.kernels import kernels, table
from benchmarks.speed.loops import make_runs
from benchmarks.speed.parts import Bench, Rows, fast
from benchmarks.speed.timing import bandwidth, flops, moved
from benchmarks.speed.workloads import WORKLOADS

__all__ = ["bounds"]


def bounds(
    bench: Bench, names: list[str], widths: list[int], batches: list[int], *, compiled: bool, report: Path
) -> Rows:
    """Time each workload with fast settings: without a graph, as a graph, and compiled as a graph.

    Args:
        bench: device and duration of the measurement.
        names: workloads, each with its own width and batch size.
        widths: additional widths of the conditional DCGAN.
        batches: batch sizes for each of these widths.
        compiled: whether to compile the networks too, which takes about a minute each.
        report: file for the ten slowest kernels of each run.

    Returns:
        Rows. The rows of compiled networks come last, so an interrupted run has all other rows.
    """
    cuda, device = bench.device.type == "cuda", bench.device
    copied = bandwidth(device)
    cases = [(name, WORKLOADS[name]) for name in names]
    cases += [
        ("cdcgan28", WORKLOADS["cdcgan28"].sized(batch_size=batch, width=width))
        for width in widths
        for batch in batches
    ]
    if cuda:  # CUPTI must be loaded before a graph is recorded, to see the kernels of the graph
        kernels(lambda _: torch.cuda.synchronize(torch.zeros(1, device=device).device), device, 1)
    single: dict[str, dict[str, Any]] = {"single launches": {"cuda_graph": False}}
    plans = [single | ({"graph": {"cuda_graph": True}} if cuda else {})]
    if compiled:
        plans.append({"compile + graph" if cuda else "compile": {"compile": True, "cuda_graph": cuda}})
    counted: list[tuple[int, int]] = []
    report.write_text("", encoding="utf-8")
    for plan in plans:
        for case, (name, work) in enumerate(cases):
            torch.compiler.reset()  # torch keeps eight versions of a forward, and networks of one class share them
            quick = fast(work, device)
            if case == len(counted):
                plain = make_runs(work, device, {"plain": quick | single["single launches"]}, others=())["plain"]
                counted.append((flops(plain), moved(plain)))
                del plain
            operations, traffic = counted[case]
            runs = make_runs(work, device, {run: quick | own for run, own in plan.items()}, others=())
            timed, warm = bench.time(runs)
            for run, own in timed.items():
                found = kernels(runs[run], device)
                with report.open("a", encoding="utf-8") as file:
                    file.write(f"{name}, width {work.width}, batch {work.batch_size}, {run}\n{table(found)}\n")
                yield {
                    "workload": name,
                    "width": work.width,
                    "batch": work.batch_size,
                    "run": run,
                    "precision": quick["precision"],
                    **bench.row(work, own, operations, quick["precision"]),
                    "MB moved": traffic / 1e6,
                    "of bandwidth": traffic / own.seconds / copied,
                    "busy": sum(kernel.seconds for kernel in found) / own.seconds if cuda else "",
                    "first 5": warm[run],
                }

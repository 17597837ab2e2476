"""Time the parts of ``benchmarks.speed``."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.speed import networks
from benchmarks.speed.loops import Taking, make_pair, make_runs
from benchmarks.speed.timing import Timed, flops, in_turns, peak, warm_up
from benchmarks.speed.workloads import WORKLOADS, Workload, endless
from ganlib import augment, data, training

__all__ = ["Bench", "Rows", "fast", "loaders", "loops", "scale", "settings"]

Rows = Iterator[dict[str, Any]]


class Bench:
    """Time runs in turns on one device, and measure the peaks of the machine once.

    Args:
        device: device of the runs.
        rounds: turns of each run.
        seconds: approximate length of a turn.
        iterations: iterations of a turn, instead of ``seconds``.
    """

    def __init__(self, device: torch.device, rounds: int, seconds: float, iterations: int | None) -> None:
        self.device, self.rounds, self.seconds, self.iterations = device, rounds, seconds, iterations
        self.peaks = {"fp32": peak(device, torch.float32), "bf16": peak(device, torch.bfloat16)}
        if device.type == "cuda":
            self.peaks |= {"tf32": peak(device, torch.float32, tf32=True), "fp16": peak(device, torch.float16)}

    def time(self, runs: dict[str, Any]) -> tuple[dict[str, Timed], dict[str, float]]:
        """Time runs in turns; also return the seconds of their first iterations."""
        warm = {name: warm_up(run, self.device) for name, run in runs.items()}
        slowest = max(warm_up(run, self.device, 3) / 3 for run in runs.values())
        iterations = self.iterations or max(3, round(self.seconds / slowest))
        return in_turns(runs, self.device, iterations=iterations, rounds=self.rounds), warm

    def row(self, work: Workload, timed: Timed, operations: int, precision: str = "fp32") -> dict[str, Any]:
        """Return the speed and the share of the peak."""
        return {
            "ms": timed.seconds * 1e3,
            "spread": timed.spread,
            "images/s": work.batch_size / timed.seconds,
            "of peak": operations / timed.seconds / self.peaks[precision],
        }


def fast(work: Workload, device: torch.device) -> dict[str, Any]:
    """Return ganlib's settings for speed on this device."""
    chosen = training.fast_settings(*make_pair(work, device, by_hand=False))
    # Not "auto": if the step cannot be recorded, it would measure something else.
    return {**chosen, "joint_pass": work.joint_pass, "cuda_graph": device.type == "cuda"}


def loops(bench: Bench, names: list[str]) -> Rows:
    """Time the originals' loop, the best loop by hand (twice), ganlib, and ganlib's fast settings."""
    for name in names:
        work = WORKLOADS[name]
        quick = fast(work, bench.device)
        runs = make_runs(work, bench.device, {"ganlib": {}, "ganlib fast": quick})
        operations = {run: flops(runs[run]) for run in runs if run != "ganlib fast"}
        operations["ganlib fast"] = operations["ganlib"]  # a counter sees no operations in a graph
        timed, _ = bench.time(runs)
        for run, own in timed.items():
            precision = quick["precision"] if run == "ganlib fast" else "fp32"
            ratio, spread = own.over(timed["by hand"])
            # For the original and torchgan, count only the operations that are needed.
            counted = operations["by hand" if run in ("original", "torchgan") else run]
            row = bench.row(work, own, counted, precision)
            faster = timed["original"].over(own)[0]
            told = " ".join(f"{key}={value}" for key, value in quick.items()) if run == "ganlib fast" else ""
            row |= {"time / by hand": ratio, "±": spread, "x original": faster, "settings": told}
            yield {"workload": name, "run": run, **row}


def settings(bench: Bench, names: list[str]) -> Rows:
    """Time each setting alone and all together, compared with ganlib without settings."""
    for name in names:
        torch.compiler.reset()  # torch keeps eight versions of a forward, and networks of one class share them
        work = WORKLOADS[name]
        cuda = bench.device.type == "cuda"
        tried: dict[str, dict[str, Any]] = {
            "none": {},
            "channels_last": {"channels_last": True},
            "bf16": {"precision": "bf16"},
            "joint_pass": {"joint_pass": True},
            "compile": {"compile": True},
            "fast": fast(work, bench.device),
            "fast + compile": fast(work, bench.device) | {"compile": True},
        }
        if cuda:
            tried |= {"tf32": {"precision": "tf32"}, "fp16": {"precision": "fp16"}, "cuda_graph": {"cuda_graph": True}}
        runs = make_runs(work, bench.device, tried, others=())
        operations = flops(runs["none"])
        timed, warm = bench.time(runs)
        for run, own in timed.items():
            row = bench.row(work, own, operations, tried[run].get("precision", "fp32"))
            yield {
                "workload": name,
                "setting": run,
                **row,
                "x none": timed["none"].over(own)[0],
                "first 5 s": warm[run],
            }


def scale(bench: Bench, batches: list[int], widths: list[int], sizes: list[int]) -> Rows:
    """Time a step by hand, by ganlib and with fast settings for several batch sizes, widths and image sizes."""
    base = WORKLOADS["cdcgan28"].sized(batch_size=64)
    cases = [("batch", batch, base.sized(batch_size=batch)) for batch in batches]
    cases += [("width", width, base.sized(width=width)) for width in widths]
    cases += [
        ("pixels", size, replace(base, shape=(1, size, size), make=partial(networks.cdcgan28, size=size)))
        for size in sizes
    ]
    for what, value, work in cases:
        quick = fast(work, bench.device)
        runs = make_runs(work, bench.device, {"ganlib": {}, "ganlib fast": quick}, others=("by hand",))
        operations = flops(runs["ganlib"])
        timed, _ = bench.time(runs)
        for run, own in timed.items():
            row = bench.row(work, own, operations, quick["precision"] if run == "ganlib fast" else "fp32")
            yield {what: value, "run": run, **row, "time / by hand": own.over(timed["by hand"])[0]}


def loaders(bench: Bench) -> Rows:
    """Compare TensorLoader with torchvision's transforms in a DataLoader, image by image."""
    flip, turn = augment.RandomHorizontalFlip(), augment.RandomRotation(25)
    for kind, size, channels, transform, pil in (
        ("flip", 28, 1, flip, transforms.RandomHorizontalFlip()),
        ("flip", 32, 3, flip, transforms.RandomHorizontalFlip()),
        ("rotation", 28, 1, turn, transforms.RandomRotation(25)),
        ("rotation", 32, 3, turn, transforms.RandomRotation(25)),
        ("rotation", 64, 1, turn, transforms.RandomRotation(25)),
    ):
        for batch in (32, 64, 128):
            work = replace(
                WORKLOADS["system4"],
                shape=(channels, size, size),
                stored=None,
                batch_size=batch,
                transform=transform,
                pil=lambda pil=pil: [pil],  # type: ignore[misc]
            )
            pictures = DataLoader(work.as_pictures(), batch, shuffle=True, drop_last=True)
            ours = data.TensorLoader(work.as_tensors(), batch, transform=work.transform, device=bench.device)
            timed, _ = bench.time({"ours": Taking(endless(ours)), "theirs": Taking(endless(pictures))})
            yield {
                "transform": f"{kind} {size}x{size}x{channels}",
                "batch": batch,
                "TensorLoader images/s": batch / timed["ours"].seconds,
                "DataLoader images/s": batch / timed["theirs"].seconds,
                "times": timed["theirs"].over(timed["ours"])[0],
            }

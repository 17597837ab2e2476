"""Time a training step, and compare it with the same step written in other ways.

    python -m benchmarks.speed                                       # all parts, one after the other
    python -m benchmarks.speed loops --workloads cdcgan28 --iterations 100 --rounds 11
    python -m benchmarks.speed settings --workloads system4 --device cuda
    python -m benchmarks.speed loaders
    python -m benchmarks.speed examples --device cuda
    python -m benchmarks.speed bounds --device cuda --no-compile

All runs that are compared take turns in one process, after a warm-up that does not count. Run nothing else on the
machine: trainings that share cores slow each other down by a factor of ten or more. The columns are

- ``ms``: the median time of an iteration over the turns;
- ``spread``: half of the distance between the quartiles, divided by the median;
- ``of peak``: the counted operations, divided by those of a large matrix product of the same precision on this machine.

``loops`` compares

- ``original``: the step as the reference systems write it: PIL transforms in a ``DataLoader`` without workers, plain
  Adam, gradients for everything, ``.item()`` in every step;
- ``by hand``: the best step that one can write for this training, with fused Adam. It runs twice, which shows the
  spread of the measurement;
- ``ganlib``: the same mathematics by ``AdversarialTrainer`` and ``fit``;
- ``ganlib fast``: the same with ``training.fast_settings``;
- ``torchgan``, if it is installed and supports the training.

``time / by hand`` is the time divided by that of ``by hand``, turn by turn, with the same kind of spread. ``x
original`` is the speed divided by that of ``original``.

``settings`` times each setting alone. ``x none`` is the speed divided by that without settings. ``first 5 s`` is the
time of the warm-up.

``scale`` shows how the cost grows with the batch, width and image size of a conditional DCGAN.

``loaders`` shows the images per second of the data path. ``times`` is the speed divided by that of a ``DataLoader``.

``examples`` times each example script with its default options, its loader, callbacks and progress bar, between two
iterations. ``first ...`` is the time before these iterations, including the recording of graphs. ``of bare`` is the
speed compared with the script's own trainer and loader in a ``fit`` without callbacks. ``of fast`` compares with
``ganlib fast`` of ``loops`` for the same networks, batch and image size, which has no penalty and no average.

``bounds`` runs each workload, and some wide ones, with fast settings: without a graph, as a CUDA graph, and compiled as
a graph. ``of bandwidth`` is the memory traffic of a step, divided by that of the copy of a large tensor. The traffic is
the sum of the sizes of all inputs and outputs of the operations of an uncompiled step. With caches, ``of bandwidth``
can be above 1. ``busy`` (CUDA) is the time of the kernels by ``torch.profiler``, divided by the time of an iteration.
The rest is the wait between two kernels. ``kernels.txt`` lists the ten slowest kernels of each.
"""

import argparse
import csv
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import parts
from benchmarks.speed.bounds import bounds
from benchmarks.speed.example_runs import EXAMPLES, examples
from benchmarks.speed.workloads import WORKLOADS


def main() -> None:
    """Read the command line, time, print, and write a table for each part."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.speed",
        description=__doc__,
        epilog="workloads:\n"
        + "\n".join(f"  {name}: {work.title}, batch {work.batch_size}" for name, work in WORKLOADS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = ["loops", "settings", "scale", "loaders", "examples", "bounds"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(choices)} (default: all of them)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="turns of each run (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="approximate length of a turn (default: %(default)s)"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="iterations of a turn, instead of --seconds")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024, 4096], metavar="N", help="for scale")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256], metavar="N", help="for scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 56, 112], metavar="N", help="for scale")
    parser.add_argument("--examples", nargs="+", choices=EXAMPLES, default=list(EXAMPLES), metavar="NAME")
    parser.add_argument(
        "--between",
        type=int,
        nargs=2,
        metavar="N",
        help="first and last timed iteration of examples (default: 200 1200; on the CPU 20 120)",
    )
    parser.add_argument(
        "--bound-widths", type=int, nargs="*", default=[128, 256], metavar="N", help="for bounds (default: 128 256)"
    )
    parser.add_argument(
        "--bound-batches", type=int, nargs="*", default=[256, 1024], metavar="N", help="for bounds (default: 256 1024)"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="skip compiled networks in bounds, which saves many minutes"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in choices:
            parser.error(f"PART (={part!r}) must be one of {', '.join(choices)}")
    device = torch.device(arguments.device)
    first, last = arguments.between or ([200, 1200] if device.type == "cuda" else [20, 120])
    if not 1 <= first < last:
        parser.error(f"--between (={first} {last}) must be two iterations, the first at least 1 and below the second")
    bench = parts.Bench(device, arguments.rounds, arguments.seconds, arguments.iterations)
    peaks = ", ".join(f"{name} {value / 1e9:,.0f} GFLOP/s" for name, value in bench.peaks.items())
    print(machine := f"{describe(device)}; peak {peaks}")
    rows = {
        "loops": lambda: parts.loops(bench, arguments.workloads),
        "settings": lambda: parts.settings(bench, arguments.workloads),
        "scale": lambda: parts.scale(bench, arguments.batches, arguments.widths, arguments.sizes),
        "loaders": lambda: parts.loaders(bench),
        "examples": lambda: examples(bench, arguments.examples, first, last),
        "bounds": lambda: bounds(
            bench,
            arguments.workloads,
            arguments.bound_widths,
            arguments.bound_batches,
            compiled=not arguments.no_compile,
            report=arguments.out / "kernels.txt",
        ),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "machine.txt").write_text(f"{machine}\n{' '.join(sys.argv[1:])}\n", encoding="utf-8")
    for part in arguments.parts or choices:
        write(part, rows[part](), arguments.out / f"{part}.csv")


def write(part: str, rows: Iterator[dict[str, Any]], path: Path) -> None:
    """Print rows as they come, and write the file after each row, so an interrupted run keeps its results."""
    print(f"\n{part}", flush=True)
    kept = []
    for row in rows:
        print("  ".join(f"{name} {_shown(value)}" for name, value in row.items()), flush=True)
        kept.append(row)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(dict.fromkeys(name for each in kept for name in each)))
            table.writeheader()
            table.writerows(kept)


def describe(device: torch.device) -> str:
    """Describe the machine."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    capability = torch.backends.cpu.get_cpu_capability()
    cores = len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    return f"{platform.machine()} with {capability}, {cores} cores, {threads} threads, torch {torch.__version__}"


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.3f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()

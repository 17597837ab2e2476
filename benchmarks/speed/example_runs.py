"""Time the example scripts while they run as a user runs them."""

import contextlib
import copy
import runpy
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.speed.loops import Fitting, make_runs
from benchmarks.speed.parts import Bench, Rows, fast
from benchmarks.speed.timing import wait
from benchmarks.speed.workloads import WORKLOADS, Pictures, Workload
from ganlib import training
from ganlib.protocols import Run

__all__ = ["EXAMPLES", "Example", "examples"]

SCRIPTS = Path(__file__).parents[2] / "examples"
_CATS = 5000  # as many as CIFAR-10 has, so work after each epoch counts as often as in a real run


@dataclass(frozen=True)
class Example:
    """Describe a script, and the workload that it is compared with.

    Args:
        script: path of the script, from the folder of the examples.
        options: options of its command line.
        workload: name of the workload with the same step; None if there is no such workload.
        pictures: whether the script needs a folder of images. It gets images of noise, which cost the same.
    """

    script: str
    options: Sequence[str] = ()
    workload: str | None = None
    pictures: bool = False


EXAMPLES = {
    "mnist_cdcgan": Example("mnist_cdcgan.py", ["train"], "cdcgan28"),
    "deceptive64": Example("mnist_cdcgan.py", ["train", "--preset", "deceptive64"], "system4"),
    "mnist_mlp_gan": Example("mnist_mlp_gan.py", ["train"], "system2"),
    "cifar10_dcgan": Example("cifar10_dcgan.py", ["train"], "system3", pictures=True),
    "cgan": Example("cgan.py", ["train"]),
    "modern": Example("modern.py", ["train"]),
    "gaussians": Example("gaussians.py", ["train"]),
    "pix2pix": Example("games/pix2pix.py"),
    "cyclegan": Example("games/cyclegan.py"),
}


def examples(bench: Bench, names: Sequence[str], first: int, last: int, options: Sequence[str] = ()) -> Rows:
    """Time each script from one iteration to another, with everything that the script does between them.

    Args:
        bench: device, and duration of the runs that a script is compared with.
        names: names in :data:`EXAMPLES`.
        first: iteration after which the clock starts, at least 1. Each kind of iteration is recorded as a graph; with a
            penalty at every 16th iteration this takes 64 iterations.
        last: iteration after which the clock stops and the script ends.
        options: additional options of every script.

    Returns:
        A row for each script. ``of bare`` compares with the script's own trainer and loader in a ``fit`` without
        callbacks. ``of fast`` compares with ``ganlib fast`` of ``loops`` for the script's networks, batch and image
        size: no penalty, no average, no callback. ``recorded`` is the share of iterations that ran as a CUDA graph.
    """
    for name in names:
        example = EXAMPLES[name]
        seen = _run(example, bench.device, first, last, options)
        runs: dict[str, Any] = {"bare": Fitting(seen.trainer, seen.loader)}
        if example.workload is not None:
            work = _as_workload(WORKLOADS[example.workload], seen)
            runs |= make_runs(work, bench.device, {"fast": fast(work, bench.device)}, others=())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "fast" leaves out losses that the networks may be made for
            timed, _ = bench.time(runs)
        own = seen.seconds / (last - first)
        row = {"example": name, "batch": seen.samples // last, "ms": own * 1e3}
        row |= {"images/s": (seen.samples // last) / own, f"first {first}": seen.began}
        row |= {"recorded": seen.recorded / last}
        for run in ("bare", "fast"):
            other = timed[run].seconds if run in timed else None
            row |= {
                f"{run} ms": "" if other is None else other * 1e3,
                f"of {run}": "" if other is None else other / own,
            }
        yield row | {"warnings": "; ".join(seen.warnings)}


class _Watch:
    """Keep the trainer and loader of the script, and the time between two iterations."""

    def __init__(self, device: torch.device, first: int, last: int) -> None:
        self.device, self.first, self.last = device, first, last
        self.trainer: Any = None
        self.loader: Any = None
        self.samples, self.began, self.seconds, self.recorded = 0, 0.0, 0.0, 0
        self.warnings: list[str] = []

    def on_start(self, run: Run) -> None:
        """Start the clock of the first iterations."""
        self.began = time.perf_counter()

    def on_iteration(self, run: Run) -> None:
        """Start or stop the clock at the two iterations."""
        if run.iteration == self.first:
            wait(self.device)
            now = time.perf_counter()
            self.began, self._since = now - self.began, now
        if run.iteration == self.last:
            wait(self.device)
            self.seconds, self.samples = time.perf_counter() - self._since, run.samples
            self.recorded = self.trainer.recorded_iterations


def _run(example: Example, device: torch.device, first: int, last: int, options: Sequence[str]) -> _Watch:
    """Run a script in this process with a watch."""
    watch, fit = _Watch(device, first, last), training.fit

    def watched(trainer: Any, loader: Any, *, callbacks: Sequence[Any] = (), **limits: Any) -> None:
        watch.trainer, watch.loader = trainer, loader
        fit(trainer, loader, callbacks=[*callbacks, watch], **limits)

    path = SCRIPTS / example.script
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        given = [*example.options, *(["--data", "folder", "--root", _noise(folder)] if example.pictures else [])]
        own = ["--iterations", str(last), "--device", str(device), "--out", f"{folder}/run"]
        for patch in (
            mock.patch.object(training, "fit", watched),
            mock.patch.object(sys, "argv", [str(path), *given, *own, *options]),
            mock.patch.object(sys, "path", [str(path.parent), *sys.path]),
        ):
            stack.enter_context(patch)
        log = stack.enter_context(Path(folder, "log").open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(log))
        stack.enter_context(contextlib.redirect_stderr(log))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("default")
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as error:
            log.flush()
            said = Path(log.name).read_text(encoding="utf-8").splitlines()
            raise SystemExit(said[-1] if said else error.code) from error
        watch.warnings = [str(warning.message) for warning in caught]
    return watch


def _noise(folder: str) -> str:
    """Write images of one class, and return their folder."""
    pictures = Pictures((3, 32, 32), _CATS, lambda image: image)
    cats = Path(folder, "pictures/cat")
    cats.mkdir(parents=True)
    for index in range(len(pictures)):
        pictures[index][0].save(cats / f"{index:04d}.png", compress_level=0)
    return str(cats.parent)


def _as_workload(work: Workload, seen: _Watch) -> Workload:
    """Return the workload with the script's networks, batch and images."""

    def make(width: int, *, by_hand: bool) -> Any:
        return copy.deepcopy(seen.trainer.generator), copy.deepcopy(seen.trainer.discriminator)

    shape = tuple(seen.loader.samples.shape[1:])
    return replace(work, make=make, batch_size=seen.samples // seen.last, shape=shape, stored=None)

"""Describe a run, average its generator, and write its files, for all example scripts."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from _data import image_size
from torch import Tensor, distributed, nn

from ganlib import models, training
from ganlib.data import TensorLoader
from ganlib.distributed import init, rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, RunFolderError
from ganlib.protocols import Run


def describe(arguments: argparse.Namespace, script: str, *names: str) -> dict[str, Any]:
    """Return what a resumed run must share: the script, the data, and the given options."""
    own = {name: getattr(arguments, name) for name in ("data", "latent_dim", "lr", "seed", *names)}
    return {"script": script, "image_size": image_size(arguments), **own}


def make_loader(
    arguments: argparse.Namespace,
    dataset: Any,
    transform: Callable[..., Tensor] | None = None,
    **options: Any,
) -> TensorLoader:
    """Load the data set on the device; ``options`` are those of :class:`ganlib.data.TensorLoader`."""
    if arguments.batch_size > len(dataset):
        raise ArgumentValueError(
            f"--batch-size (={arguments.batch_size}) is more than the {len(dataset)} images that there are"
        )
    return TensorLoader(
        dataset,
        arguments.batch_size,
        transform=transform,
        device=arguments.device,
        seed=arguments.seed,
        **options,
    )


def averaging(generator: nn.Module, *optimizers: torch.optim.Optimizer) -> tuple[list[Any], nn.Module]:
    """Return callbacks for a falling learning rate and a moving average of the weights, and the average.

    With both, samples are better than those of the generator at any single iteration.
    """
    ema, decay = training.EMA(generator, decay=0.999), training.linear_decay(start=0.6, final=0.05)
    return [*(training.LearningRateSchedule(each, decay) for each in optimizers), ema], ema.module


def sync_batch_norm(generator: nn.Module, device: str) -> nn.Module:
    """Compute batch norm's statistics over all processes. This does not work with a gradient penalty."""
    if torch.device(device).type != "cuda":
        raise ArgumentValueError(f"--sync-batch-norm needs --device cuda, not {device}: torch supports it only there")
    return nn.SyncBatchNorm.convert_sync_batchnorm(generator)


class RunFile:
    """Write ``run.json``, which describes a run. No other run can then continue in its folder.

    Args:
        run: the folder of the run.
        what: plain values that a resumed run must share.
    """

    rank_zero_only = True

    def __init__(self, run: Path, what: Mapping[str, Any]) -> None:
        self.path = run / "run.json"
        self.what = dict(what)

    def check(self) -> None:
        """Raise an error if the folder has checkpoints of another run."""
        if not (self.path.exists() and training.Checkpoint(self.path.parent).paths()):
            return
        try:
            held = dict(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunFolderError(f"{self.path} cannot be read: {error}") from error
        differing = [name for name in self.what | held if self.what.get(name) != held.get(name)]
        if differing:
            told = ", ".join(f"{name} {held.get(name)} (not {self.what.get(name)})" for name in differing)
            raise RunFolderError(
                f"--out (={self.path.parent}) holds another run, with {told}: use another folder, or repeat the "
                "options of that run to continue it"
            )

    def on_start(self, run: Run) -> None:
        """Write the file."""
        temporary = self.path.with_suffix(".json.tmp")  # a run that is killed now has the old file or the new one
        temporary.write_text(json.dumps(self.what, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)


class Summary:
    """Print where a resumed run continues, and at the end how much was trained, and how fast."""

    rank_zero_only = True
    reads_metrics = True

    def __init__(self, *, resume: bool) -> None:
        self.resume = resume
        self.end: dict[str, Any] = {}  # the last iteration, epoch and metrics

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        if self.resume:
            print(f"continues from iteration {run.iteration}" if run.iteration else "no checkpoint yet: a new run")
        self._seconds, self._iteration, self._samples = run.seconds, run.iteration, run.samples

    def on_end(self, run: Run) -> None:
        """Print, and keep the last numbers."""
        self.end = {"iteration": run.iteration, "epoch": run.epoch}
        self.end |= {name: float(value) for name, value in run.metrics.items()}
        seconds = run.seconds - self._seconds
        images = run.samples - self._samples
        print(
            f"trained {run.iteration - self._iteration} iterations ({run.iteration} in all) on {images} images in "
            f"{seconds:.0f} s: {images / max(seconds, 1e-9):.0f} images/s"
        )
        recorded = getattr(run.trainer, "recorded_iterations", 0)
        if recorded:
            print(f"{recorded} of the iterations were launched as a CUDA graph")


def finish(
    run: Path, generator: nn.Module, info: Mapping[str, Any], *images: str, samples: Path | str = "samples"
) -> None:
    """Save the generator with its info, and print the files of the run."""
    if rank() == 0:
        saved = datetime.now(UTC).isoformat(timespec="seconds")
        models.save_generator(run / "generator.safetensors", generator, {**info, "saved": saved})
        files = ["metrics.csv", "losses.png", "training.gif", *images, f"{samples}/", "checkpoints/"]
        print(f"{run}: generator.safetensors, {', '.join(files)}")


def run_main(main: Callable[[], None]) -> None:
    """Run a script, in one process or in each process of torchrun.

    An error of ganlib or of the system is shown without a traceback. The exit status is 2 for a wrong argument, as
    argparse has it, and 1 for other errors.
    """
    name = Path(sys.argv[0]).name
    try:
        init()
        main()
        if world_size() > 1:
            distributed.destroy_process_group()
    except (GanlibError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentValueError | ArgumentTypeError) else 1)
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; the same command with --resume continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)  # the exit status of a shell for Ctrl-C

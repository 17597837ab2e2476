"""What the example scripts share: the common words of ``train``, where and how to run, and what a run leaves."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import torch
from _data import DATA_SETS, image_size
from torch import distributed, nn

from ganlib import models, training
from ganlib.distributed import join, rank, world_size
from ganlib.errors import ArgumentValueError, GanlibError, RunFolderError
from ganlib.protocols import Run


def add_train_words(parser: argparse.ArgumentParser, *, out: str, data: str) -> None:
    """Add the words that every ``train`` understands, and those that the original scripts have for them.

    What is left out comes from the script's recipe (see :func:`fill_in`).
    """
    add, recipe = parser.add_argument, "default: by recipe"
    add("--data", "--dataset", choices=DATA_SETS, default=data, help="what to train on (default: %(default)s)")
    add("--root", "--root_datasets_dir", type=Path, default=Path("data"), metavar="DIR", help="where it lies")
    add("--download", "--download_datasets", type=switch, nargs="?", const=True, default=False, help="fetch it first")
    add("--image-size", type=int, metavar="N", help="pixels of a side, to which images are resized")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=int, metavar="N")
    limit.add_argument("--epochs", "--n_epochs", type=int, metavar="N", help=recipe)
    limit.add_argument("--minutes", type=float, metavar="M", help="of this call")
    add("--batch-size", "--batch_size", type=int, metavar="N", help=f"of each process ({recipe})")
    add("--lr", type=above_zero, help=f"learning rate of both players ({recipe})")
    add("--latent-dim", "--latent-size", "--latent_size", "--latent_vector_length", type=int, default=100, metavar="N")
    add("--out", "--outdir", type=Path, default=Path(out), metavar="RUN", help="folder of the run")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    add("--seed", type=int, default=0, metavar="N")
    add("--checkpoint-every", type=int, default=500, metavar="N", help="iterations (default: %(default)s)")
    add("--resume", action="store_true", help="go on from the run's newest checkpoint, or start afresh without one")


def above_zero(word: str) -> float:
    """A finite number above 0."""
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{word} must be a number above 0")
    return number


def switch(word: str) -> bool:
    """Whether a word such as ``yes``, ``True`` or ``0`` means on; the original scripts take such words after a flag."""
    meant = {"y": True, "yes": True, "true": True, "1": True, "n": False, "no": False, "false": False, "0": False}
    if word.lower() not in meant:
        raise argparse.ArgumentTypeError(f"{word!r} is neither yes nor no")
    return meant[word.lower()]


def fill_in(arguments: argparse.Namespace, recipe: Mapping[str, Any]) -> None:
    """Take from the recipe what the command line leaves out."""
    for name, value in recipe.items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)


def describe(arguments: argparse.Namespace, script: str, *names: str) -> dict[str, Any]:
    """What a run is: the script, the data, and of the script's own words those that a run which goes on must share."""
    own = {name: getattr(arguments, name) for name in ("data", "latent_dim", *names)}
    return {"script": script, "image_size": image_size(arguments), **own}


def limits(arguments: argparse.Namespace, epochs: int) -> dict[str, Any]:
    """The limit that was given, as keywords of ``fit``; so many epochs where none was."""
    given = {name: getattr(arguments, name) for name in ("iterations", "epochs", "minutes")}
    return given if any(limit is not None for limit in given.values()) else {"epochs": epochs}


def best_precision(word: str, device: str) -> Literal["fp32", "bf16"]:
    """What ``--precision`` says; ``auto`` is bf16 where the machine has instructions for it, else fp32."""
    if word != "auto":
        return "bf16" if word == "bf16" else "fp32"
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older releases of torch cannot tell; emulated bf16 is several times slower than fp32, so that is the safe side.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def averaging(generator: nn.Module, *optimizers: torch.optim.Optimizer) -> tuple[list[Any], nn.Module]:
    """What makes a generator draw better than it does at any one moment of its training.

    That is a learning rate that falls towards the end, and a moving average of the weights: the callbacks of both, and
    the average.
    """
    ema, decay = training.EMA(generator, decay=0.999), training.linear_decay(start=0.6, final=0.05)
    return [*(training.LearningRateSchedule(each, decay) for each in optimizers), ema], ema.generator


def sync_batch_norm(generator: nn.Module, device: str) -> nn.Module:
    """Take batch norm's statistics over all processes; a discriminator with a gradient penalty cannot have that."""
    if torch.device(device).type != "cuda":
        raise ArgumentValueError(f"--sync-batch-norm needs --device cuda, not {device}: torch has it there alone")
    return nn.SyncBatchNorm.convert_sync_batchnorm(generator)


class RunFile:
    """``run.json``, which says what a run is, so that nothing else goes on in its folder.

    Args:
        run: the run's folder.
        what: words and numbers that a run which goes on must share.
    """

    rank_zero_only = True

    def __init__(self, run: Path, what: Mapping[str, Any]) -> None:
        self.path = run / "run.json"
        self.what = dict(what)

    def check(self) -> None:
        """Refuse a folder that holds checkpoints of something else."""
        if not (self.path.exists() and training.Checkpoint(self.path.parent).paths()):
            return
        try:
            held = dict(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunFolderError(f"{self.path} cannot be read: {error}") from error
        differing = [name for name in self.what | held if self.what.get(name) != held.get(name)]
        if differing:
            told = ", ".join(f"{name} {held.get(name)} (not {self.what.get(name)})" for name in differing)
            raise RunFolderError(f"--out (={self.path.parent}) holds another run, with {told}: take another folder")

    def on_start(self, run: Run) -> None:
        """Write it."""
        temporary = self.path.with_suffix(".json.tmp")  # a run that is killed meanwhile has the old one, or the new
        temporary.write_text(json.dumps(self.what, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)


class Summary:
    """Says where a resumed run goes on, and at the end how much was trained, and how fast."""

    rank_zero_only = True

    def __init__(self, *, resume: bool) -> None:
        self.resume = resume
        self.end: dict[str, Any] = {}  # the last iteration, epoch and metrics

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        if self.resume:
            print(f"goes on from iteration {run.iteration}" if run.iteration else "no checkpoint yet: starts afresh")
        self._began, self._iteration, self._samples = time.monotonic(), run.iteration, run.samples

    def on_end(self, run: Run) -> None:
        """Print, and keep what is to be known of the end."""
        self.end = {"iteration": run.iteration, "epoch": run.epoch}
        self.end |= {name: float(value) for name, value in run.metrics.items()}
        seconds = time.monotonic() - self._began
        images = run.samples - self._samples
        print(
            f"trained {run.iteration - self._iteration} iterations ({run.iteration} in all) on {images} images in "
            f"{seconds:.0f} s: {images / max(seconds, 1e-9):.0f} images/s"
        )


def finish(run: Path, generator: nn.Module, info: Mapping[str, Any], *pictures: str) -> None:
    """Save the generator with what is to be known of it, and say what the run has left."""
    if rank() == 0:
        saved = datetime.now(timezone.utc).isoformat(timespec="seconds")
        models.save_generator(run / "generator.pt", generator, {**info, "saved": saved})
        files = ["metrics.csv", "losses.png", "training.gif", *pictures, "samples/", "checkpoints/"]
        print(f"{run}: generator.pt, {', '.join(files)}")


def run_main(main: Callable[[], None]) -> None:
    """Run a script, in each of the processes that torchrun has started, if it has.

    An error of ganlib's or the system's is for the user, so it is shown without a traceback.
    """
    name = Path(sys.argv[0]).name
    try:
        join()
        main()
        if world_size() > 1:
            distributed.destroy_process_group()
    except (GanlibError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; the same command with --resume goes on from the newest checkpoint", file=sys.stderr)
        sys.exit(130)  # what a shell calls an end by Ctrl-C

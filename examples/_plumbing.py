"""What the example scripts share: the common words of their command lines, data sets by name, where to run."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import distributed, nn
from torch.utils.data import Dataset

from ganlib import data
from ganlib.distributed import join, rank, world_size
from ganlib.errors import ArgumentValueError, DataError, GanlibError
from ganlib.training import Run

DATA_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def add_train_words(parser: argparse.ArgumentParser, *, out: str, batch_size: int, lr: float, latent_dim: int) -> None:
    """Add the words that every ``train`` understands; the keywords are the example's own defaults."""
    parser.add_argument("--data", choices=["digits", *DATA_SETS], default="digits", help="what to train on")
    parser.add_argument("--root", type=Path, default=Path("data"), metavar="DIR", help="where it lies")
    parser.add_argument("--download", action="store_true", help="fetch it where it is missing")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=int, metavar="N")
    limit.add_argument("--epochs", type=int, metavar="N", help="20, where no limit is given")
    limit.add_argument("--minutes", type=float, metavar="M", help="of this call")
    parser.add_argument("--batch-size", type=int, default=batch_size, metavar="N", help="of each process")
    parser.add_argument("--lr", type=float, default=lr, help="learning rate of both players (default: %(default)s)")
    parser.add_argument("--latent-dim", type=int, default=latent_dim, metavar="N")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="RUN", help="folder of the run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="statistics of the generator's batch norm over all processes (CUDA only)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--checkpoint-every", type=int, default=500, metavar="N", help="iterations (default: %(default)s)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run's newest checkpoint, or start afresh without one"
    )


def limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """The limit that was given, as keywords of ``fit``."""
    given = {name: getattr(arguments, name) for name in ("iterations", "epochs", "minutes")}
    return given if any(limit is not None for limit in given.values()) else {"epochs": 20}


def open_data(name: str, root: Path, *, download: bool) -> Dataset[Any]:
    """A data set of labelled grey 28x28 images by its name; says what is missing, and how to get it."""
    if name == "digits":
        return data.RenderedDigits()
    from torchvision import datasets  # the built-in digits must work where torchvision does not

    kind = DATA_SETS[name]
    how = f"add --download to fetch it, or give the folder that holds {kind}/raw by --root"
    if rank() > 0:
        distributed.barrier()  # the first process has fetched it by then
    try:
        dataset: Dataset[Any] = getattr(datasets, kind)(root, train=True, download=download)
    except (RuntimeError, OSError, ValueError, AssertionError, EOFError) as error:
        raw = root / kind / "raw"
        found = sorted(path.name for path in raw.glob("*")) if raw.is_dir() else []
        state = f"is broken ({raw} holds {', '.join(found)})" if found else f"is not there (no {raw})"
        raise DataError(f"--data {name}: {kind} {state}: {error}; {how}") from error
    if rank() == 0 and world_size() > 1:
        distributed.barrier()
    return dataset


def best_precision(word: str, device: str) -> Literal["fp32", "bf16"]:
    """What ``--precision`` says; ``auto`` is bf16 where the machine has instructions for it, else fp32."""
    if word != "auto":
        return "bf16" if word == "bf16" else "fp32"
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older releases of torch cannot tell; emulated bf16 is several times slower than fp32, so that is the safe side.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def sync_batch_norm(generator: nn.Module, device: str) -> nn.Module:
    """Take batch norm's statistics over all processes; a discriminator with a gradient penalty cannot have that."""
    if torch.device(device).type != "cuda":
        raise ArgumentValueError(f"--sync-batch-norm needs --device cuda, not {device}: torch has it there alone")
    return nn.SyncBatchNorm.convert_sync_batchnorm(generator)


class Summary:
    """Says where a resumed run goes on, and at the end how much was trained, and how fast."""

    rank_zero_only = True

    def __init__(self, *, resume: bool) -> None:
        self.resume = resume

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        if self.resume:
            print(f"goes on from iteration {run.iteration}" if run.iteration else "no checkpoint yet: starts afresh")
        self._began, self._iteration, self._samples = time.monotonic(), run.iteration, run.samples

    def on_end(self, run: Run) -> None:
        """Print."""
        seconds = time.monotonic() - self._began
        images = run.samples - self._samples
        print(
            f"trained {run.iteration - self._iteration} iterations ({run.iteration} in all) on {images} images in "
            f"{seconds:.0f} s: {images / max(seconds, 1e-9):.0f} images/s"
        )


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

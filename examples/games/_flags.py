"""The command line, data and files that all games share."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ganlib import data, models, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, MissingExtraError


def parse_flags(
    page: str | None,
    *,
    iterations: int,
    batch_size: int,
    out: str,
    least: int = 1,
    weights: dict[str, float] | None = None,
) -> argparse.Namespace:
    """Read the command line.

    Args:
        page: the docstring of the script, shown by ``--help``. If it mentions ``--data``, the script has this flag.
        iterations: default of ``--iterations``.
        batch_size: default of ``--batch-size``.
        out: default of ``--out``.
        least: smallest batch size. Batch norm after a linear layer needs two samples.
        weights: names and defaults of further flags that are numbers, such as ``--path-weight``.
    """
    parser = argparse.ArgumentParser(description=page, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = "default: %(default)s"
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    if "--data" in (page or ""):
        words = "folder with MNIST/raw (default: the built-in digits)"
        parser.add_argument("--data", metavar="DIR", help=words)
    parser.add_argument("--iterations", type=whole, default=iterations, metavar="N", help=own)
    smallest = partial(whole, least=least)
    parser.add_argument(
        "--batch-size", type=smallest, default=batch_size, metavar="N", help=f"samples in each process ({own})"
    )
    for name, default in (weights or {}).items():
        parser.add_argument(
            name, type=weight, default=default, metavar="X", help=f"weight of this part, 0 turns it off ({own})"
        )
    parser.add_argument("--accumulate", type=whole, default=1, metavar="N", help=f"batches for each update ({own})")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16", "fp16"], default="fp32", help=own)
    graph = "record the iteration as a CUDA graph; auto: where it is possible"
    parser.add_argument("--cuda-graph", choices=["auto", "yes", "no"], default="auto", help=f"{graph} ({own})")
    words = f"cpu, cuda, cuda:1, mps or xpu ({own})"
    parser.add_argument("--device", type=on_device, default=str(there), help=words)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=own)
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR", help=f"folder of the run ({own})")
    parser.add_argument(
        "--checkpoint-every", type=whole, default=500, metavar="N", help=f"iterations between two checkpoints ({own})"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in --out")
    flags = parser.parse_args()
    folder = getattr(flags, "data", None)
    if folder is not None and not (Path(folder) / "MNIST/raw").is_dir():
        parser.error(f"--data {folder} holds no MNIST/raw")
    return flags


def whole(text: str, least: int = 1) -> int:
    """Parse a whole number."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least {least}")
    return int(text)


def seed(text: str) -> int:
    """Parse a seed: a whole number from 0 to 2**64 - 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 21 and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from 0 to 2**64 - 1")
    return int(text)


def weight(text: str) -> float:
    """Parse a finite number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a finite number of at least 0")
    return number


def on_device(name: str) -> str:
    """Parse the name of a device of this machine, such as cpu, cuda, cuda:1, mps or xpu."""
    try:
        asked = torch.device(name)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{name!r} is not a device such as cpu, cuda, cuda:1, mps or xpu") from None
    count = torch.accelerator.device_count()
    kind = str(torch.accelerator.current_accelerator()) if count else "cpu"
    there = ["cpu", *(f"{kind}:{index}" for index in range(count))]
    if asked.type not in ("cpu", kind) or (asked.type == kind and (asked.index or 0) >= max(count, 1)):
        raise argparse.ArgumentTypeError(f"{name!r} is not there: torch finds {', '.join(there)}")
    return name


def run(main: Callable[[], None]) -> None:
    """Run a script. Show errors of ganlib and of the system without a traceback."""
    try:
        main()
    except (GanlibError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentValueError | ArgumentTypeError) else 1)


def mnist(folder: str, *, train: bool = True) -> Dataset[Any]:
    """Read MNIST from its files. The built-in digits need no torchvision."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise MissingExtraError("torchvision is not installed, which --data needs: pip install torchvision") from error
    return datasets.MNIST(folder, train=train)


def load_digits(flags: argparse.Namespace, length: int) -> tuple[Dataset[Any], Tensor]:
    """Load training digits and 1000 held-out images in [-1, 1], from MNIST with ``--data``, else built-in ones.

    Args:
        flags: the command line.
        length: number of built-in digits.
    """
    digits: Dataset[Any]
    others: Dataset[Any]
    if flags.data:
        digits, others = mnist(flags.data), mnist(flags.data, train=False)
    else:
        digits, others = data.RenderedDigits(length=length), data.RenderedDigits(length=1000, seed=1)
    return digits, data.TensorLoader(others, 1, device=flags.device).samples[:1000] / 127.5 - 1


def settings(flags: argparse.Namespace, *networks: nn.Module) -> dict[str, Any]:
    """Return the trainer's settings: precision, gradient accumulation, and CUDA graph."""
    auto = training.fast_settings(*networks).get("cuda_graph", False)
    return {
        "precision": flags.precision,
        "accumulate_grad_batches": flags.accumulate,
        "cuda_graph": {"auto": auto, "yes": True, "no": False}[flags.cuda_graph],
    }


def callbacks(flags: argparse.Namespace) -> list[Any]:
    """Make a progress bar, ``metrics.csv`` and checkpoints in the folder of the run."""
    checkpoint = training.Checkpoint(flags.out, every=flags.checkpoint_every)
    return [training.ProgressBar(), training.CSVLogger(flags.out / "metrics.csv"), checkpoint]


def save(flags: argparse.Namespace, name: str, draw: Callable[[Path], object], **networks: nn.Module) -> None:
    """Save an image and networks in the folder of the run, and print its files.

    Args:
        flags: the command line.
        name: file name of the image.
        draw: function that writes the image.
        networks: names of the files without suffix, and networks. ``models.load_generator`` loads each.
    """
    draw(flags.out / name)
    for part, network in networks.items():
        models.save_generator(flags.out / f"{part}.safetensors", network)
    print(f"{flags.out} holds {', '.join(sorted(path.name for path in flags.out.glob('[!.]*')))}")

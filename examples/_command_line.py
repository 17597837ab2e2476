"""The options of ``train`` that all example scripts share."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _data import DATA_SETS
from torch import nn

from ganlib import training


def add_train_options(parser: argparse.ArgumentParser, *, out: str, data: str) -> None:
    """Add the options of ``train``, with the names of the original scripts as aliases.

    The recipe of the script gives the defaults that are missing here (see :func:`fill_in`).
    """
    add: Any = parser.add_argument
    recipe, own = "default: by recipe", "default: %(default)s"
    add("--data", "--dataset", choices=DATA_SETS, default=data, help=f"data set ({own})")
    add(
        "--root",
        "--root_datasets_dir",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help=f"folder of the data set ({own})",
    )
    add(
        "--download",
        "--download_datasets",
        type=switch,
        nargs="?",
        const=True,
        default=False,
        help="download the data set first",
    )
    add(
        "--image-size",
        type=whole,
        metavar="N",
        help="height and width in pixels (default: 32 for a folder and for cifar10, else 28)",
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=whole, metavar="N")
    limit.add_argument("--epochs", "--n_epochs", type=whole, metavar="N", help=recipe)
    limit.add_argument("--minutes", type=above_zero, metavar="M", help="minutes of this call, also with --resume")
    add("--batch-size", "--batch_size", type=whole, metavar="N", help=f"images in a batch of each process ({recipe})")
    add("--lr", type=above_zero, help=f"learning rate of both networks ({recipe})")
    latent_dim = ("--latent-dim", "--latent-size", "--latent_size", "--latent_vector_length")
    add(*latent_dim, type=whole, default=100, metavar="N", help=f"size of a latent ({own})")
    add("--out", "--outdir", type=Path, default=Path(out), metavar="RUN", help=f"folder of the run ({own})")
    add_device(parser)
    fast = "(default: the fastest choice; plain float32 with --recipe original)"
    add("--precision", choices=["auto", "fp32", "tf32", "bf16", "fp16"], default="auto", help=fast)
    yes: dict[str, Any] = {"type": switch, "nargs": "?", "const": True, "metavar": "YES"}
    add("--channels-last", **yes, help=f"use the channels-last memory format {fast}")
    add(
        "--compile", **yes, default=False, help="compile the networks; the first iterations take a minute (default: no)"
    )
    add_cuda_graph(parser)
    add("--seed", type=seed, default=0, metavar="N", help=own)
    add("--checkpoint-every", type=whole, default=500, metavar="N", help=f"iterations between two checkpoints ({own})")
    measured = "iterations between two measurements of samples against test images; keeps the best checkpoint too"
    add("--evaluate-every", type=whole, metavar="N", help=f"{measured} (default: none)")
    add("--evaluate-samples", type=whole, default=10_000, metavar="N", help=f"samples of one measurement ({own})")
    add("--resume", action="store_true", help="continue from the newest checkpoint, or start a new run")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--device``. The default is the accelerator of this machine, or else the CPU."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    words = "cpu, cuda, cuda:1, mps or xpu (default: %(default)s)"
    parser.add_argument("--device", type=device, default=str(there), help=words)


def add_cuda_graph(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--cuda-graph``, with the values that the trainers take."""
    parser.add_argument(
        "--cuda-graph",
        type=switch_or_auto,
        nargs="?",
        const=True,
        default="auto",
        metavar="YES",
        help="record the iteration as a CUDA graph: yes, no, or auto (where it is possible) (default: %(default)s)",
    )


def above_zero(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return number


def from_zero(text: str) -> float:
    """Parse a finite number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a finite number of at least 0")
    return number


def whole(text: str, least: int = 1) -> int:
    """Parse a whole number."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least {least}")
    return int(text)


def label(text: str) -> int:
    """Parse the index of a class, from 0."""
    return whole(text, least=0)


def seed(text: str) -> int:
    """Parse a seed: a whole number from 0 to 2**64 - 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 21 and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from 0 to 2**64 - 1")
    return int(text)


def device(name: str) -> str:
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


def switch(text: str) -> bool:
    """Parse yes or no; the original scripts take ``True`` or ``0`` after a flag."""
    meant = {"y": True, "yes": True, "true": True, "1": True, "n": False, "no": False, "false": False, "0": False}
    if text.lower() not in meant:
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return meant[text.lower()]


def switch_or_auto(text: str) -> bool | str:
    """Parse yes, no or auto."""
    return "auto" if text.lower() == "auto" else switch(text)


def fill_in(arguments: argparse.Namespace, recipe: Mapping[str, Any]) -> None:
    """Set each missing argument to the value of the recipe."""
    for name, value in recipe.items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)


def limits(arguments: argparse.Namespace, epochs: int) -> dict[str, Any]:
    """Return the limit on the command line as keywords of ``fit``, or else this number of epochs."""
    given = {name: getattr(arguments, name) for name in ("iterations", "epochs", "minutes")}
    return given if any(limit is not None for limit in given.values()) else {"epochs": epochs}


def speed(arguments: argparse.Namespace, generator: nn.Module, discriminator: nn.Module) -> dict[str, Any]:
    """Return the trainer's settings for speed, from the command line or by ``fast_settings``.

    The original recipes run in plain float32. They use a CUDA graph too, since it does not change what is computed.
    """
    chosen: dict[str, Any] = {**training.fast_settings(generator, discriminator)}
    if getattr(arguments, "recipe", None) == "original":
        chosen = {name: value for name, value in chosen.items() if name == "cuda_graph"}
    if arguments.cuda_graph != "auto":
        chosen["cuda_graph"] = arguments.cuda_graph
    chosen["compile"] = arguments.compile
    if arguments.precision != "auto":
        chosen["precision"] = arguments.precision
    if arguments.channels_last is not None:
        chosen["channels_last"] = arguments.channels_last
    return chosen

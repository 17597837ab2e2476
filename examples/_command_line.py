"""The command line of every example's ``train``: its options, their defaults, what they mean."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _data import DATA_SETS
from torch import nn

from ganlib import training


def add_train_options(parser: argparse.ArgumentParser, *, out: str, data: str) -> None:
    """Add the options of every ``train``, also by the names that the original scripts have for them.

    What is left out comes from the script's recipe (see :func:`fill_in`).
    """
    add: Any = parser.add_argument
    recipe, own = "default: by recipe", "default: %(default)s"
    add("--data", "--dataset", choices=DATA_SETS, default=data, help=f"what to train on ({own})")
    add("--root", "--root_datasets_dir", type=Path, default=Path("data"), metavar="DIR", help=f"its folder ({own})")
    add("--download", "--download_datasets", type=switch, nargs="?", const=True, default=False, help="fetch it first")
    add("--image-size", type=whole, metavar="N", help="pixels of a side (default: the data set's)")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=whole, metavar="N")
    limit.add_argument("--epochs", "--n_epochs", type=whole, metavar="N", help=recipe)
    limit.add_argument("--minutes", type=above_zero, metavar="M", help="of this call")
    add("--batch-size", "--batch_size", type=whole, metavar="N", help=f"of each process ({recipe})")
    add("--lr", type=above_zero, help=f"learning rate of both players ({recipe})")
    latent_dim = ("--latent-dim", "--latent-size", "--latent_size", "--latent_vector_length")
    add(*latent_dim, type=whole, default=100, metavar="N", help=f"numbers in a latent ({own})")
    add("--out", "--outdir", type=Path, default=Path(out), metavar="RUN", help=f"folder of the run ({own})")
    add_device(parser)
    fast = "(default: what is fast; plain float32 with --recipe original)"
    add("--precision", choices=["auto", "fp32", "tf32", "bf16", "fp16"], default="auto", help=fast)
    yes: dict[str, Any] = {"type": switch, "nargs": "?", "const": True, "metavar": "YES"}
    add("--channels-last", **yes, help=f"lay out weights and images with the channels last {fast}")
    add(
        "--compile", **yes, default=False, help="compile the networks; the first iterations take a minute (default: no)"
    )
    add_cuda_graph(parser)
    add("--seed", type=seed, default=0, metavar="N", help=own)
    add("--checkpoint-every", type=whole, default=500, metavar="N", help=f"iterations ({own})")
    measured = "iterations between two measurements of samples against test images; the best checkpoint is kept"
    add("--evaluate-every", type=whole, metavar="N", help=f"{measured} (default: none)")
    add("--evaluate-samples", type=whole, default=10_000, metavar="N", help=f"of a measurement ({own})")
    add("--resume", action="store_true", help="continue from the newest checkpoint; without one, start a new run")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--device``; the default is the accelerator that is there, or the CPU."""
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    words = "cpu, cuda, cuda:1, mps or xpu (default: %(default)s)"
    parser.add_argument("--device", type=device, default=str(there), help=words)


def add_cuda_graph(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--cuda-graph``, whose value is what the trainers take."""
    parser.add_argument(
        "--cuda-graph",
        type=switch_or_auto,
        nargs="?",
        const=True,
        default="auto",
        metavar="YES",
        help="record the iteration as a CUDA graph, and launch it as one; yes, no, or auto, which is where that works "
        "(default: %(default)s)",
    )


def above_zero(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return number


def from_zero(text: str) -> float:
    """A finite number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a finite number of at least 0")
    return number


def whole(text: str, least: int = 1) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least {least}")
    return int(text)


def label(text: str) -> int:
    """The number of a class, from 0 on."""
    return whole(text, least=0)


def seed(text: str) -> int:
    """A whole number from 0 to 2**64 - 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 21 and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from 0 to 2**64 - 1")
    return int(text)


def device(name: str) -> str:
    """A device that is there, such as cpu, cuda, cuda:1, mps or xpu."""
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
    """Whether ``yes``, ``True``, ``0`` or the like means on; the original scripts take these after a flag."""
    meant = {"y": True, "yes": True, "true": True, "1": True, "n": False, "no": False, "false": False, "0": False}
    if text.lower() not in meant:
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return meant[text.lower()]


def switch_or_auto(text: str) -> bool | str:
    """``"auto"``, or what :func:`switch` reads."""
    return "auto" if text.lower() == "auto" else switch(text)


def fill_in(arguments: argparse.Namespace, recipe: Mapping[str, Any]) -> None:
    """Take from the recipe what the command line leaves out."""
    for name, value in recipe.items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)


def limits(arguments: argparse.Namespace, epochs: int) -> dict[str, Any]:
    """The limit that was given, as keywords of ``fit``; so many epochs if there was none."""
    given = {name: getattr(arguments, name) for name in ("iterations", "epochs", "minutes")}
    return given if any(limit is not None for limit in given.values()) else {"epochs": epochs}


def speed(arguments: argparse.Namespace, generator: nn.Module, discriminator: nn.Module) -> dict[str, Any]:
    """The trainer's settings for speed: what the command line says, and for the rest what is fast on the device.

    The original recipes ran in plain float32, so they do here on every device. A CUDA graph is for them too, since it
    changes how kernels are launched, and not what they compute.
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

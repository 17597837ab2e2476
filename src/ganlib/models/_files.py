"""Generators on disk: recipe, weights, and other values that a user wants to keep with them."""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ganlib import conditioning, stacks
from ganlib._files import load_plain, save_plain
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.models._conditional_dcgan import conditional_dcgan
from ganlib.models._dcgan import dcgan
from ganlib.models._mlp_gan import mlp_gan

__all__ = ["load_generator", "save_generator"]

_FORMAT = 1
_PARTS = {"recipe", "sample_range", "weights", "info"}
_LONGEST = 10_000  # values in a recipe; each stage has a few

# A recipe can only make what is named here.
_MAKERS: dict[str, Callable[..., Any]] = {
    "ClassEmbedding": conditioning.ClassEmbedding,
    "ConcatLatent": conditioning.ConcatLatent,
    "Maps": conditioning.Maps,
    "OneHot": conditioning.OneHot,
    "Stage": stacks.Stage,
    "StackPlan": stacks.StackPlan,
    "TagEmbedding": conditioning.TagEmbedding,
    "Unconditional": conditioning.Unconditional,
    "VectorEmbedding": conditioning.VectorEmbedding,
    "conditional_dcgan": lambda **arguments: conditional_dcgan(**arguments)[0],
    "dcgan": lambda **arguments: dcgan(**arguments)[0],
    "mlp_gan": lambda **arguments: mlp_gan(**arguments)[0],
}


def save_generator(path: str | os.PathLike[str], generator: nn.Module, info: Mapping[str, Any] | None = None) -> None:
    """Save a generator: its weights, and what rebuilds it where it is one of :mod:`ganlib.models`.

    Args:
        path: the file, written completely or not at all.
        generator: any module; one without a recipe is loaded with ``load_generator(path, module)``.
        info: plain values to keep with it, such as the names of the classes.

    Raises:
        ArgumentTypeError: the generator is not a module, or the info holds more than plain values.
        RunFolderError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> generator, _ = mlp_gan((1, 28, 28), latent_dim=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.pt", generator, info={"seed": 0})
        ...     load_generator(f"{folder}/generator.pt").info
        {'seed': 0}
    """
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={generator!r}) must be a torch.nn.Module")
    sample_range = getattr(generator, "sample_range", None)
    save_plain(
        path,
        {
            "format": _FORMAT,
            "recipe": getattr(generator, "recipe", None),
            "sample_range": None if sample_range is None else [float(end) for end in sample_range],
            "weights": generator.state_dict(),
            "info": dict(info or {}),
        },
    )


def load_generator(path: str | os.PathLike[str], module: nn.Module | None = None) -> nn.Module:
    """Load a generator. Nothing in the file is run, and no random state changes.

    Args:
        path: the file.
        module: gets the weights; None rebuilds the generator from the recipe in the file.

    Returns:
        The generator, on the CPU (a module given stays where it is), in evaluation mode, with the file's ``info`` as an
        attribute.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or version, or of another architecture.
        ArgumentValueError: the file holds no recipe, and no module is given.

    Example:
        >>> import tempfile
        >>> module = nn.Linear(2, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.pt", module)
        ...     load_generator(f"{folder}/generator.pt", nn.Linear(2, 2)).weight.equal(module.weight)
        True
    """
    values = load_plain(path)
    file_format = values.get("format")
    if type(file_format) is not int or file_format != _FORMAT or not set(values) >= _PARTS:
        shown = repr(file_format) if isinstance(file_format, int | str | None) else type(file_format).__name__
        raise CheckpointError(
            f"{path} is not a generator of format {_FORMAT}, which this version of ganlib reads; its format is "
            f"{shown:.80}"
        )
    recipe, sample_range, weights, info = (values[name] for name in ("recipe", "sample_range", "weights", "info"))
    if sample_range is not None and not _is_range(sample_range):
        raise CheckpointError(f"{path} holds a sample_range (={sample_range!r:.80}) that is not a [low, high]")
    if type(info) is not dict:
        raise CheckpointError(f"{path} holds an info that is a {type(info).__name__}, not a dict")
    rebuilt = module is None
    if module is None:
        if recipe is None:
            raise ArgumentValueError(
                f"module (=None) is needed: {path} holds weights only, without a recipe that rebuilds the generator"
            )
        module = _rebuilt(path, recipe)
    try:
        module.load_state_dict(weights, assign=rebuilt)
    except Exception as error:  # whatever weights of something else make a module raise
        raise CheckpointError(f"{path} is of another architecture than {type(module).__name__}: {error}") from error
    if sample_range is not None:
        vars(module)["sample_range"] = tuple(sample_range)
    vars(module)["info"] = info
    return module.eval()


def _is_range(ends: Any) -> bool:
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    return numbers and ends[0] < ends[1]


def _rebuilt(path: str | os.PathLike[str], recipe: Any) -> nn.Module:
    try:
        with warnings.catch_warnings(), torch.device("meta"):  # without memory, and without a draw of random numbers
            warnings.simplefilter("ignore")
            _check_length(recipe)
            module: nn.Module = _made(recipe)
            needed = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    except Exception as error:  # whatever a damaged or hostile recipe makes the makers raise
        raise CheckpointError(f"{path} holds a recipe that this ganlib cannot follow: {error!r:.500}") from error
    if needed > os.path.getsize(path):
        raise CheckpointError(f"{path} holds a recipe of {needed:,} bytes of weights, and is smaller itself")
    return module


def _check_length(recipe: Any) -> None:
    waiting, count = [recipe], 0
    while waiting:
        described = waiting.pop()
        parts = described.values() if isinstance(described, dict) else described if isinstance(described, list) else ()
        count += len(parts)
        if count > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} values")
        waiting.extend(parts)


def _made(described: Any) -> Any:
    if isinstance(described, dict):
        arguments = {name: _made(value) for name, value in described["arguments"].items()}
        return _MAKERS[described["name"]](**arguments)
    if isinstance(described, list):
        return [_made(member) for member in described]
    if not isinstance(described, bool | int | float | str | None):
        raise TypeError(f"it holds a {type(described).__name__}")
    return described

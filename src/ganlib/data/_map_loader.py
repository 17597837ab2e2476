"""Apply a function to the batches of a loader."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from ganlib._clamping import clamping_parts, warn_of_clamping, watching
from ganlib._shown import shown
from ganlib.data._joined_loader import JoinedLoader
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, DataError, GanlibError

__all__ = ["map_loader"]

_LOOKED_AT = 8  # batches; a transform may be applied at random


def map_loader(loader: Iterable[Any], function: Callable[[Any], Any]) -> JoinedLoader:
    """Apply a function to every batch of a loader.

    A run that is resumed from a checkpoint of ``fit`` continues exactly, as with :func:`zip_loaders`. The function may
    draw random numbers from torch, Python and NumPy, and from generators of its own: the checkpoint contains their
    states. If the function is an object with ``state_dict`` and ``load_state_dict``, or uses one, the checkpoint
    contains its state too, and the buffers of the modules that the function uses. It does not contain other values that
    the function keeps between batches.

    Args:
        loader: an iterable of any kind with at least one batch.
        function: function that takes a batch and returns a batch.

    Returns:
        A loader with ``state_dict`` and ``load_state_dict``. It has a length if the given loader has one.

    Raises:
        ArgumentTypeError: if the loader is not iterable, the function is not callable, or the function raises a
            TypeError on a batch.
        ArgumentValueError: if the loader is empty.
        DataError: if the function raises another error on a batch.

    Example:
        >>> from ganlib import data
        >>> digits = data.TensorLoader(data.RenderedDigits(size=8, length=40), batch_size=10)
        >>> loader = data.map_loader(digits, lambda batch: batch.sample.flatten(1))
        >>> next(iter(loader)).shape, len(loader)
        (torch.Size([10, 64]), 4)
    """
    if not callable(function):
        raise ArgumentTypeError(f"function (={shown(function)}) must be callable")

    parts = clamping_parts(function)
    looks = _LOOKED_AT

    def combine(batches: list[Any]) -> Any:
        nonlocal looks
        looks = looks - 1 if parts else 0
        try:
            if looks <= 0:
                return function(*batches)
            with watching(parts) as found:
                made = function(*batches)
            if found:
                looks = 0
            if rank() == 0:
                warn_of_clamping(f"function (={shown(function)})", found)
            return made
        except (GanlibError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            kind = ArgumentTypeError if isinstance(error, TypeError) else DataError
            raise kind(
                f"function (={shown(function)}) fails on a batch ({type(error).__name__}: {error}); it takes one "
                "batch, as the loader gives it"
            ) from error

    return JoinedLoader({"loader": loader}, combine, function=function)

"""A loader whose batches a function has changed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from ganlib._shown import shown
from ganlib.data._joined_loader import JoinedLoader
from ganlib.errors import ArgumentTypeError, DataError, GanlibError

__all__ = ["map_loader"]


def map_loader(loader: Iterable[Any], function: Callable[[Any], Any]) -> JoinedLoader:
    """Make a loader that gives ``function(batch)`` for each batch of a loader.

    A run that is resumed from a checkpoint of ``fit`` continues exactly, as with :func:`zip_loaders`. The function may
    draw random numbers from the generators of torch, Python and NumPy, whose states are in the checkpoint; what else it
    keeps from batch to batch is not.

    Args:
        loader: of any kind; it gives at least one batch.
        function: batch -> batch.

    Returns:
        A loader with a length, where the given one has one, and with ``state_dict`` and ``load_state_dict``.

    Raises:
        ArgumentTypeError: the loader cannot be iterated, or the function cannot be called.
        ArgumentValueError: the loader is empty.
        DataError: the function fails on a batch; a TypeError in it is an ArgumentTypeError.

    Example:
        >>> from ganlib import data
        >>> digits = data.TensorLoader(data.RenderedDigits(size=8, length=40), batch_size=10)
        >>> loader = data.map_loader(digits, lambda batch: batch.sample.flatten(1))
        >>> next(iter(loader)).shape, len(loader)
        (torch.Size([10, 64]), 4)
    """
    if not callable(function):
        raise ArgumentTypeError(f"function (={shown(function)}) must be callable")

    def combine(batches: list[Any]) -> Any:
        try:
            return function(*batches)
        except (GanlibError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            kind = ArgumentTypeError if isinstance(error, TypeError) else DataError
            raise kind(
                f"function (={shown(function)}) fails on a batch ({type(error).__name__}: {error}); it takes one "
                "batch, as the loader gives it"
            ) from error

    return JoinedLoader({"loader": loader}, combine)

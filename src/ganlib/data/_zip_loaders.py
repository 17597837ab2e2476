"""Combine several loaders into one."""

from collections.abc import Iterable
from typing import Any, Literal

from ganlib._checks import check_option
from ganlib._shown import shown
from ganlib.data._joined_loader import JoinedLoader
from ganlib.errors import ArgumentValueError

__all__ = ["zip_loaders"]


def zip_loaders(*loaders: Iterable[Any], length: Literal["shortest", "longest"] = "shortest") -> JoinedLoader:
    """Combine several loaders into one that yields a tuple with one batch of each.

    Each loader keeps its own order. If the loaders shuffle, samples are paired at random, as games on unpaired images
    such as CycleGAN (Zhu et al., 2017, arXiv:1703.10593) require. If your pairs belong together, use one data set of
    ``(sample, condition)`` instead.

    A run that is resumed from a checkpoint of ``fit`` continues exactly, with any loaders. A ``TensorLoader`` and
    torchdata's ``StatefulDataLoader`` restore their own state. Any other loader, such as a ``DataLoader`` or a list,
    repeats its unfinished epoch up to the position. Warnings of :func:`ganlib.training.fit` about a loader appear here
    too.

    Args:
        loaders: two or more iterables of any kind with at least one batch each. You can pass a loader that has a state
            only once.
        length: when an epoch ends. ``"shortest"`` ends it with the shortest loader, and the next epoch restarts all
            loaders; if a longer loader does not shuffle, its last batches are never used. ``"longest"`` ends it with
            the longest loader; the others restart during the epoch.

    Returns:
        A loader with ``state_dict`` and ``load_state_dict``. It has a length if all loaders have one. Its attribute
        ``loaders`` contains the given loaders.

    Raises:
        ArgumentTypeError: if a loader is not iterable.
        ArgumentValueError: if there are fewer than two loaders, a loader is empty or given twice, or the length is
            invalid.

    Example:
        >>> from ganlib import data
        >>> digits, letters = (data.RenderedDigits(size=8, length=length) for length in (40, 100))
        >>> loader = data.zip_loaders(
        ...     data.TensorLoader(digits, batch_size=10), data.TensorLoader(letters, batch_size=10), length="longest")
        >>> a, b = next(iter(loader))
        >>> a.sample.shape, len(loader)
        (torch.Size([10, 1, 8, 8]), 10)
    """
    check_option("length", length, ("shortest", "longest"))
    if len(loaders) < 2:
        hint = (
            ", and a list is given as zip_loaders(*loaders)" if loaders and isinstance(loaders[0], list | tuple) else ""
        )
        raise ArgumentValueError(f"loaders (={shown(loaders)}) must be two or more; data.map_loader takes one{hint}")
    named = {f"loaders[{index}]": loader for index, loader in enumerate(loaders)}
    return JoinedLoader(named, tuple, longest=length == "longest")

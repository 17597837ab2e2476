"""Several loaders as one."""

from collections.abc import Iterable
from typing import Any, Literal

from ganlib._checks import check_option
from ganlib._shown import shown
from ganlib.data._joined_loader import JoinedLoader
from ganlib.errors import ArgumentValueError

__all__ = ["zip_loaders"]


def zip_loaders(*loaders: Iterable[Any], length: Literal["shortest", "longest"] = "shortest") -> JoinedLoader:
    """Make a loader that gives one batch of each loader, as a tuple.

    Each loader keeps its own order: the samples are paired by chance where the loaders shuffle, as games on unpaired
    images need (CycleGAN). Pairs that belong together are one data set, of (sample, condition).

    A run that is resumed from a checkpoint of ``fit`` continues exactly, whatever the loaders are: a ``TensorLoader``
    and torchdata's ``StatefulDataLoader`` by their own state, any other (a ``DataLoader``, a list) by repeating its
    unfinished epoch up to the position. What :func:`ganlib.training.fit` warns of in a loader, it warns of here too.

    Args:
        loaders: two or more, of any kind; each gives at least one batch. A loader with a state of its own can only be
            given once.
        length: an epoch ends with the ``"shortest"`` loader, and the next one begins all of them again, so that a
            longer one that does not shuffle never gives its last batches. Or it ends with the ``"longest"``, and those
            that end before begin again in between.

    Returns:
        A loader with a length, where all have one, and with ``state_dict`` and ``load_state_dict``. Its ``loaders`` are
        those that were given.

    Raises:
        ArgumentTypeError: a loader that cannot be iterated.
        ArgumentValueError: fewer than two loaders, an empty one, the same one twice, or another length.

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

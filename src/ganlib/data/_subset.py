"""A subset of a data set."""

from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["only_class"]


def only_class(dataset: Dataset[Any], name: str) -> Subset[Any]:
    """Select the samples of one class.

    Args:
        dataset: a data set with ``classes`` (names) and ``targets`` (a number for each sample), such as torchvision's.
        name: the class's name, as ``dataset.classes`` has it.

    Returns:
        A view of the data set; its samples keep their labels.

    Raises:
        ArgumentTypeError: the data set has no ``classes`` or no ``targets``.
        ArgumentValueError: the data set does not have the class, or has no sample of it.

    Example:
        >>> from ganlib.data import RenderedDigits
        >>> sevens = only_class(RenderedDigits(length=100), "7")
        >>> len(sevens), sevens[0][1]
        (10, 7)
    """
    for attribute in ("classes", "targets"):
        if not hasattr(dataset, attribute):
            raise ArgumentTypeError(f"dataset (={dataset!r}) has no {attribute}, by which a class could be found")
    classes = list(dataset.classes)  # type: ignore[attr-defined]  # hasattr has just said so
    if name not in classes:
        raise ArgumentValueError(f"name (={name!r}) must be one of {', '.join(map(repr, classes))}")
    targets = torch.as_tensor(dataset.targets)  # type: ignore[attr-defined]
    indices = (targets == classes.index(name)).nonzero().flatten().tolist()
    if not indices:
        raise ArgumentValueError(f"name (={name!r}): the data set has the class, but no sample of it")
    return Subset(dataset, indices)

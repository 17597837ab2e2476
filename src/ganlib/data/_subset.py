"""Select a part of a data set."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ganlib._random import load_random_state, random_state
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["only_class"]

_COMPARED = 16  # items


def only_class(dataset: Dataset[Any], name: str) -> Subset[Any]:
    """Select the samples of one class.

    Args:
        dataset: data set with ``classes`` and ``targets``, such as those of torchvision. ``classes`` is a list of
            names, or a dict from names to indices. ``targets`` are indices (L,) or (L, 1), one-hot rows (L, classes),
            or names. Some items are read, to warn if their labels differ from the targets.
        name: name of the class, as in ``dataset.classes``. Those of torchvision's MNIST are ``"7 - seven"`` and so on.

    Returns:
        A view of the data set. The samples keep their labels.

    Raises:
        ArgumentTypeError: if the data set has no ``classes`` or no ``targets``, or targets of another kind.
        ShapeError: if the targets have another shape or length.
        ArgumentValueError: if the class is unknown or has no samples, or a target is not one of the classes.

    Example:
        >>> from ganlib.data import RenderedDigits
        >>> sevens = only_class(RenderedDigits(length=100), "7")
        >>> len(sevens), sevens[0][1]
        (10, 7)
    """
    for attribute in ("classes", "targets", "__len__"):
        if not hasattr(dataset, attribute):
            raise ArgumentTypeError(f"dataset (={shown(dataset)}) has no {attribute}, which only_class needs")
    names = _names(dataset.classes)  # type: ignore[attr-defined]  # checked above
    name = _plain(name)
    if name not in names:
        raise ArgumentValueError(f"name (={shown(name)}) must be one of {', '.join(map(repr, names))}")
    if names.count(name) > 1:
        raise ArgumentValueError(f"name (={shown(name)}) is the name of {names.count(name)} of the data set's classes")
    targets = _indices(dataset.targets, names)  # type: ignore[attr-defined]
    length = len(dataset)  # type: ignore[arg-type]
    if len(targets) != length:
        raise ShapeError(f"dataset has {len(targets)} targets, but {length} items")
    indices = (targets == names.index(name)).nonzero()[0].tolist()
    if not indices:
        raise ArgumentValueError(f"name (={shown(name)}): the data set has the class, but no sample of it")
    if (found := _other_label(dataset, targets, names)) is not None:
        index, label = found
        warnings.warn(
            f"dataset[{index}] has the label {shown(label)}, but dataset.targets has {targets[index]} for it; "
            "only_class uses the targets: change them too, or select the samples yourself, with torch's Subset",
            stacklevel=2,
        )
    return Subset(dataset, indices)


def _other_label(dataset: Any, targets: numpy.ndarray[Any, Any], names: list[Any]) -> tuple[int, Any] | None:
    """Find an item whose label differs from its target: the data set may have merged or changed its labels."""
    if getattr(dataset, "target_transform", None) is not None:
        return None
    state = random_state()
    try:
        for index in range(0, len(targets), -(-len(targets) // _COMPARED)):
            label = _plain(dataset[index][1])
            number = names.index(label) if isinstance(label, str) else label
            if type(number) is int and number != targets[index]:
                return index, label
    except Exception:  # the item has no label or cannot be read; its reader gets the error
        return None
    finally:
        load_random_state(state)
    return None


def _names(classes: Any) -> list[Any]:
    if isinstance(classes, dict) and all(index in classes.values() for index in range(len(classes))):
        return sorted(classes, key=classes.__getitem__)
    if isinstance(classes, str | dict) or not isinstance(classes, Iterable):
        raise ArgumentTypeError(
            f"dataset.classes (={shown(classes)}) must be a list of names, or a dict of their indices"
        )
    return [_plain(each) for each in classes]


def _plain(name: Any) -> Any:
    return name.tolist() if hasattr(name, "tolist") else name  # NumPy and torch have it


def _indices(targets: Any, names: list[Any]) -> numpy.ndarray[Any, Any]:
    """Return the class of each target, (L,)."""
    try:
        values = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else numpy.array(targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(f"dataset.targets (={shown(targets)}) cannot be read: {error}") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1 and all(isinstance(value, str) for value in values):
        found, inverse = numpy.unique(values.astype(str), return_inverse=True)
        if unknown := [each for each in found.tolist() if each not in names]:
            raise ArgumentValueError(f"dataset.targets has {shown(unknown[0])}, which is not in classes (={names})")
        return numpy.array([names.index(each) for each in found.tolist()], int)[inverse]
    with numpy.errstate(invalid="ignore"):
        whole = values.astype(numpy.int64) if values.dtype.kind in "biuf" else None
    if whole is None or (values != whole).any():
        raise ArgumentTypeError(f"dataset.targets are {values.dtype}; they must be indices of classes, or their names")
    if values.shape[1:] == (len(names),) and (whole.sum(1) == 1).all() and whole.min() >= 0:
        return whole.argmax(1)
    if values.ndim != 1:
        raise ShapeError(
            f"dataset.targets {values.shape} must have one class for each item: indices (L,), or one-hot rows "
            f"(L, {len(names)})"
        )
    if len(whole) and (whole.min() < -1 or whole.max() >= len(names)):  # -1 means no label
        raise ArgumentValueError(
            f"dataset.targets are from {whole.min()} to {whole.max()}; the indices of {len(names)} classes are from 0 "
            f"to {len(names) - 1}"
        )
    if any(isinstance(each, int) for each in names) and names != list(range(len(names))):
        raise ArgumentValueError(
            f"dataset.classes (={shown(names)}) and dataset.targets are both numbers. A target could be a class "
            "or the index of a class: select the samples yourself, with torch's Subset"
        )
    return whole

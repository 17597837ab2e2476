"""A whole data set as two tensors."""

import warnings
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ganlib._random import load_random_state, random_state
from ganlib.data._known_data_sets import in_memory, plain
from ganlib.data._pixels import eight_bit, pixels
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["as_tensors"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE_NUMBERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32)
_READ_TWICE = 8


def as_tensors(dataset: Dataset[Any]) -> tuple[Tensor, Tensor | None]:
    """Read a whole data set: samples (L, C, ...), uint8 or float, and conditions (L, ...), int64 or float, or None.

    They are copies of what ``dataset[i]`` gives for i from 0 to L - 1.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(type(dataset), "__getitem__"):
        raise ArgumentTypeError(f"dataset (={dataset!r}) must give its items by index, as dataset[0]")
    try:
        length = len(dataset)  # type: ignore[arg-type]  # what has no length is answered below
    except TypeError:
        raise ArgumentTypeError(f"dataset (={dataset!r}) must have a length") from None
    if length == 0:
        raise ArgumentValueError(f"dataset (={dataset!r}) is empty")
    whole = in_memory(dataset)
    samples, conditions = whole or _one_by_one(dataset, length)
    if samples.dtype in _FLOATS:
        if not samples.isfinite().all():
            raise ArgumentValueError(f"dataset (={dataset!r}) holds samples that are not finite")
    elif samples.dtype != torch.uint8:
        raise DTypeError(
            f"dataset's samples must be uint8 (0 to 255) or floating point, but their dtype is {samples.dtype}"
        )
    if whole is None:
        _warn_of_random_items(dataset, samples, conditions)
    return samples, None if conditions is None else _checked(dataset, conditions)


def _one_by_one(dataset: Any, length: int) -> tuple[Tensor, Tensor | None]:
    samples: list[Tensor] = []
    conditions: list[Tensor] = []
    for index in range(length):
        item = dataset[index]
        parts = item if isinstance(item, tuple | list) else (item,)
        if not 1 <= len(parts) <= 2:
            raise ArgumentTypeError(
                f"dataset[{index}] has {len(parts)} parts; it must be a sample, (sample,) or (sample, condition)"
            )
        _append(samples, _as_sample(parts[0], index), f"dataset[{index}]", "the first")
        if len(parts) == 2 and parts[1] is not None:
            condition = _as_condition(parts[1], index)
            _append(conditions, condition, f"the condition of dataset[{index}]", "an earlier one")
    if len(conditions) not in (0, length):
        raise ArgumentTypeError(f"only {len(conditions)} of dataset's {length} items have a condition")
    return torch.stack(samples), torch.stack(conditions) if conditions else None


def _append(values: list[Tensor], value: Tensor, name: str, other: str) -> None:
    first = values[0] if values else value
    if value.shape != first.shape:
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}, but {other} has {tuple(first.shape)}; all must have one size and "
            "number of channels"
        )
    if (value.dtype, value.device) != (first.dtype, first.device):
        raise DTypeError(
            f"{name} is of {value.dtype} on {value.device}, but {other} is of {first.dtype} on {first.device}"
        )
    values.append(value)


def _as_sample(sample: Any, index: int) -> Tensor:
    if isinstance(sample, Tensor):
        return plain(sample, f"dataset[{index}]")
    if isinstance(sample, Image.Image):
        try:
            return pixels(eight_bit(sample)).permute(2, 0, 1)
        except Exception as error:  # whatever a damaged file makes Pillow raise
            raise ArgumentValueError(
                f"dataset[{index}] (={sample!r}) cannot be read ({type(error).__name__}: {error})"
            ) from error
    raise ArgumentTypeError(
        f"dataset[{index}] holds a {type(sample).__name__}; it must be a PIL image or a tensor, made for example by "
        "Image.fromarray from uint8 pixels (H, W, C), or by torch.from_numpy from samples (C, ...)"
    )


def _as_condition(condition: Any, index: int) -> Tensor:
    name = f"the condition of dataset[{index}]"
    if isinstance(condition, Tensor):
        return plain(condition, name)
    if isinstance(condition, Image.Image):
        raise ArgumentTypeError(f"{name} is a PIL image; it must be a tensor (C, H, W) of floating point")
    try:
        return torch.tensor(condition)
    except Exception:  # of torch, for anything that is no number
        raise ArgumentTypeError(
            f"dataset[{index}] has the condition {condition!r}; it must be a number or a tensor"
        ) from None


def _warn_of_random_items(dataset: Any, samples: Tensor, conditions: Tensor | None) -> None:
    state = random_state()
    try:
        again = _one_by_one(dataset, min(len(samples), _READ_TWICE))
    except Exception:  # of a data set that can be read only once
        return
    finally:
        load_random_state(state)
    for first, second in zip((samples, conditions), again, strict=True):
        if first is None or second is None:
            continue
        first = first[: len(second)]
        if first.shape != second.shape or not torch.allclose(first.double(), second.double(), atol=1e-4):
            warnings.warn(
                "dataset's items change when they are read again, perhaps by a random transform, but TensorLoader "
                "reads each once, so that they are the same in every epoch; give random transforms to TensorLoader as "
                "transform=, or use torch's DataLoader",
                stacklevel=4,
            )
            return


def _checked(dataset: Any, conditions: Tensor) -> Tensor:
    if conditions.dtype in _FLOATS:
        if not conditions.isfinite().all():
            raise ArgumentValueError(f"dataset (={dataset!r}) holds conditions that are not finite")
        return conditions
    if conditions.dtype not in _WHOLE_NUMBERS or conditions.ndim != 1:
        raise DTypeError(
            f"dataset's conditions {tuple(conditions.shape)} of {conditions.dtype} must be class indices (L,) of "
            "torch.int64, so call .squeeze(1) for a column of them; tags, vectors and maps must be floating point, "
            "so call .float()"
        )
    labels = conditions.long()
    try:
        classes = len(dataset.classes)
    except (AttributeError, TypeError):  # it has none, or another thing of that name
        classes = None
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        known = "" if classes is None else f" and below {classes}"
        raise ArgumentValueError(f"dataset holds labels from {low} to {high}; they must be indices from 0 on{known}")
    return labels

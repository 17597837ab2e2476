"""Read a whole data set into two tensors."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ganlib._random import load_random_state, random_state
from ganlib._shown import shown
from ganlib.data._known_data_sets import in_memory, plain, refuse_masks
from ganlib.data._pixels import eight_bit, pixels
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError, DTypeError, GanlibError, ShapeError

__all__ = ["as_tensors"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE_NUMBERS = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
_READ_TWICE = 8


def as_tensors(dataset: Dataset[Any]) -> tuple[Tensor, Tensor | None]:
    """Read samples (L, C, ...), uint8 or float, and conditions (L, ...), int64 or float, or None.

    They are copies of ``dataset[i]`` for i from 0 to L - 1.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(type(dataset), "__getitem__"):
        raise ArgumentTypeError(f"dataset (={shown(dataset)}) must give its items by index, as dataset[0]")
    given: Any = dataset
    if isinstance(given, tuple) and len(given) <= 2 and all(isinstance(each, Tensor) for each in given):
        raise ArgumentTypeError(
            f"dataset is a tuple of {len(given)} tensors: pass torch.utils.data.TensorDataset(*tensors)"
        )
    refuse_masks(dataset)
    try:
        length = len(dataset)  # type: ignore[arg-type]  # it may have no length
    except TypeError:
        raise ArgumentTypeError(f"dataset (={shown(dataset)}) must have a length") from None
    except Exception as error:
        raise DataError(f"len(dataset) fails ({type(error).__name__}: {error})") from error
    if length == 0:
        raise ArgumentValueError(f"dataset (={shown(dataset)}) is empty")
    whole = in_memory(dataset)
    samples, conditions = whole or _one_by_one(dataset, range(length))
    if samples.numel() == 0:
        raise ShapeError(f"dataset's samples {tuple(samples.shape)[1:]} hold no values")
    if samples.dtype in _FLOATS:
        if not samples.isfinite().all():
            raise ArgumentValueError(f"dataset (={shown(dataset)}) contains samples that are not finite")
    elif samples.dtype != torch.uint8:
        raise DTypeError(
            f"dataset's samples must be uint8 (0 to 255) or floating point, but their dtype is {samples.dtype}"
        )
    if conditions is not None and conditions.numel() == 0:
        raise ShapeError(f"dataset's conditions {tuple(conditions.shape)[1:]} hold no values")
    conditions = None if conditions is None else _checked(dataset, conditions)
    if whole is None:
        _warn_of_random_items(dataset, samples, conditions)
    return samples, conditions


def _one_by_one(dataset: Any, indices: Iterable[int]) -> tuple[Tensor, Tensor | None]:
    samples: list[Tensor] = []
    conditions: list[Tensor] = []
    for index in indices:
        try:
            item = dataset[index]
        except GanlibError:
            raise
        except Exception as error:
            raise DataError(
                f"dataset[{index}] fails ({type(error).__name__}: {error}); dataset says that it has {len(dataset)} "
                "items"
            ) from error
        parts = item if isinstance(item, tuple | list) else (item,)
        if not 1 <= len(parts) <= 2 or isinstance(item, Mapping) or is_dataclass(item):
            raise ArgumentTypeError(
                f"dataset[{index}] {_shape_of(item)}; wrap the data set so that it returns a sample, (sample,) or "
                "(sample, condition)"
            )
        _append(samples, _as_sample(parts[0], index), f"dataset[{index}]", "the first")
        if len(parts) == 2 and parts[1] is not None:
            condition = _as_condition(parts[1], index)
            _append(conditions, condition, f"the condition of dataset[{index}]", "an earlier one")
    if len(conditions) not in (0, len(samples)):
        raise ArgumentTypeError(f"only {len(conditions)} of dataset's {len(samples)} items have a condition")
    return torch.stack(samples), torch.stack(conditions) if conditions else None


def _shape_of(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"is a {type(item).__name__} with the keys {', '.join(map(repr, item)):.200}"
    if is_dataclass(item):
        return f"is a {type(item).__name__} of {', '.join(field.name for field in fields(item)):.200}"
    return f"has {len(item)} parts"


def _append(values: list[Tensor], value: Tensor, name: str, other: str) -> None:
    first = values[0] if values else value
    if value.shape != first.shape:
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}, but {other} has {tuple(first.shape)}; all must have the same size "
            "and number of channels"
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
        except Exception as error:  # Pillow raises many types for damaged files
            raise ArgumentValueError(
                f"dataset[{index}] (={shown(sample)}) cannot be read ({type(error).__name__}: {error})"
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
        raise ArgumentTypeError(
            f"{name} is a PIL image; it must be a tensor (C, H, W) of floating point, in the range of the samples: "
            "torchvision.transforms.v2.functional.pil_to_tensor(image) / 127.5 - 1, for example"
        )
    if isinstance(condition, numpy.ndarray | numpy.number):  # torch takes the machine's byte order only
        condition = numpy.asarray(condition, condition.dtype.newbyteorder("="))
    try:
        return torch.tensor(condition)
    except Exception:  # torch raises several types for values that are not numbers
        hint = ", such as the index of its class" if isinstance(condition, str) else ""
        raise ArgumentTypeError(
            f"dataset[{index}] has the condition {shown(condition)}; it must be a number or a tensor{hint}"
        ) from None


def _warn_of_random_items(dataset: Any, samples: Tensor, conditions: Tensor | None) -> None:
    state = random_state()
    chosen = torch.linspace(0, len(samples) - 1, min(len(samples), _READ_TWICE)).round().long()  # the last one too
    try:
        again = _one_by_one(dataset, chosen.tolist())
    except Exception:  # the data set can be read only once
        return
    finally:
        load_random_state(state)
    for first, second in zip((samples, conditions), again, strict=True):
        if first is None or second is None:
            continue
        first = first[chosen]
        if first.shape != second.shape or not torch.allclose(first.double(), second.double(), atol=1e-4):
            warnings.warn(
                "dataset's items change when they are read again, perhaps by a random transform. TensorLoader reads "
                "each item once, and every epoch gets the same items; pass random transforms to TensorLoader as "
                "transform=, or use torch's DataLoader",
                stacklevel=4,
            )
            return


def _checked(dataset: Any, conditions: Tensor) -> Tensor:
    if conditions.dtype in _FLOATS:
        if not conditions.isfinite().all():
            raise ArgumentValueError(f"dataset (={shown(dataset)}) contains conditions that are not finite")
        return conditions
    if conditions.dtype not in _WHOLE_NUMBERS or conditions.ndim != 1:
        if conditions.ndim == 1:
            hint = "call .long() for class indices, or .float() for values"
        elif conditions.ndim == 2 and conditions.shape[1] == 1:
            hint = "call .squeeze(1) for a column of class indices, or .float() for vectors of one value"
        elif conditions.ndim == 2:
            hint = "tags and vectors must be floating point, so call .float()"
        else:
            hint = (
                "maps must be floating point: scale images like the samples, by maps / 127.5 - 1 for bytes, and "
                "make maps of classes one-hot, by torch.nn.functional.one_hot"
            )
        raise DTypeError(
            f"dataset's conditions {tuple(conditions.shape)} of {conditions.dtype} must be class indices (L,) of "
            f"torch.int64, or floating point; {hint}"
        )
    labels = conditions.long()
    try:
        classes = len(dataset.classes)
    except Exception:  # the attribute is missing or has another meaning
        classes = None
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        known = "" if classes is None else f" and below {classes}"
        raise ArgumentValueError(f"dataset contains labels from {low} to {high}; they must be at least 0{known}")
    return labels

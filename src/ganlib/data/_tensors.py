"""A whole data set as two tensors."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["as_tensors"]


def as_tensors(dataset: Dataset[Any]) -> tuple[Tensor, Tensor | None]:
    """Read a whole data set: samples (L, C, ...), uint8 or float, and conditions (L, ...), int64 or float, or None."""
    try:
        length = len(dataset)  # type: ignore[arg-type]  # what has no length is answered below
    except TypeError:
        raise ArgumentTypeError(f"dataset (={dataset!r}) must have a length") from None
    if length == 0:
        raise ArgumentValueError(f"dataset (={dataset!r}) is empty")
    samples, conditions = _whole(dataset) or _one_by_one(dataset, length)
    if samples.is_floating_point():
        if not samples.isfinite().all():
            raise ArgumentValueError(f"dataset (={dataset!r}) holds samples that are not finite")
    elif samples.dtype != torch.uint8:
        raise DTypeError(f"dataset's samples must be uint8 or floating point, but their dtype is {samples.dtype}")
    if conditions is not None:
        _check_conditions(dataset, conditions)
    return samples, conditions


def _whole(dataset: Any) -> tuple[Tensor, Tensor | None] | None:
    """Return data that is in memory: of a TensorDataset, or of MNIST or CIFAR of torchvision without transforms."""
    if type(dataset) is TensorDataset and len(dataset.tensors) in (1, 2):
        return dataset.tensors[0], dataset.tensors[1] if len(dataset.tensors) == 2 else None
    data, targets = getattr(dataset, "data", None), getattr(dataset, "targets", None)
    transformed = any(getattr(dataset, name, None) for name in ("transform", "target_transform", "transforms"))
    if transformed or targets is None or not (isinstance(data, Tensor) or hasattr(data, "__array__")):
        return None
    images = torch.as_tensor(data)
    if images.dtype != torch.uint8:
        return None
    if images.ndim == 3:  # MNIST: (L, H, W)
        images = images.unsqueeze(1)
    elif images.ndim == 4 and images.shape[3] == 3:  # CIFAR: (L, H, W, 3)
        images = images.permute(0, 3, 1, 2).contiguous()
    else:
        return None
    labels = torch.as_tensor(targets)
    # A data set of your own may make its items in another way: then it is read item by item.
    first, its_label = _one_by_one(dataset, 1)
    same = its_label is not None and torch.equal(images[:1], first) and torch.equal(labels[:1], its_label)
    return (images, labels) if same else None


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
        sample = _as_tensor(parts[0], index)
        if samples and sample.shape != samples[0].shape:
            raise ShapeError(
                f"dataset[{index}] has shape {tuple(sample.shape)}, but dataset[0] has {tuple(samples[0].shape)}; "
                "resize them to one"
            )
        if samples and sample.dtype != samples[0].dtype:
            raise DTypeError(f"dataset[{index}] is of {sample.dtype}, but dataset[0] is of {samples[0].dtype}")
        samples.append(sample)
        if len(parts) == 2:
            condition = _as_condition(parts[1], index)
            if conditions and condition.shape != conditions[0].shape:
                raise ShapeError(
                    f"the condition of dataset[{index}] has shape {tuple(condition.shape)}, but an earlier one has "
                    f"{tuple(conditions[0].shape)}"
                )
            conditions.append(condition)
    if len(conditions) not in (0, length):
        raise ArgumentTypeError(f"only {len(conditions)} of dataset's {length} items have a condition")
    return torch.stack(samples), torch.stack(conditions) if conditions else None


def _as_tensor(sample: Any, index: int) -> Tensor:
    if isinstance(sample, Tensor):
        return sample
    if isinstance(sample, Image.Image):
        image = sample if sample.mode in ("L", "RGB") else sample.convert("RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(image.height, image.width, -1).permute(2, 0, 1)
    raise ArgumentTypeError(f"dataset[{index}] holds a {type(sample).__name__}; it must be a PIL image or a tensor")


def _as_condition(condition: Any, index: int) -> Tensor:
    try:
        return torch.as_tensor(condition)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentTypeError(
            f"dataset[{index}] has the condition {condition!r}; it must be a number or a tensor"
        ) from None


def _check_conditions(dataset: Any, conditions: Tensor) -> None:
    if conditions.is_floating_point():
        if not conditions.isfinite().all():
            raise ArgumentValueError(f"dataset (={dataset!r}) holds conditions that are not finite")
        return
    if conditions.dtype != torch.int64 or conditions.ndim != 1:
        raise DTypeError(
            f"dataset's conditions {tuple(conditions.shape)} of {conditions.dtype} must be class indices (L,) of "
            "torch.int64; tags, vectors and maps must be floating point, so call .float()"
        )
    classes = getattr(dataset, "classes", None)
    low, high = (int(value) for value in conditions.aminmax())
    if low < 0 or (classes is not None and high >= len(classes)):
        known = "" if classes is None else f" and below {len(classes)}"
        raise ArgumentValueError(f"dataset holds labels from {low} to {high}; they must be indices from 0 on{known}")

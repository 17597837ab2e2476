"""Recognize data sets that are completely in memory, so that they are not read item by item."""

import sys
from types import FunctionType
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from ganlib._shown import shown
from ganlib.data._image_folder import ImageFolder
from ganlib.errors import ArgumentTypeError, DTypeError

__all__ = ["in_memory", "plain", "refuse_masks"]

_MNIST = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")  # not QMNIST: it makes its items in another way
_CIFAR = ("CIFAR10", "CIFAR100")
_STACKED = "ganlib.data._stacked_mnist"  # by name, since this module reads data sets with the functions of this file
_MODULES = ("torchvision.datasets.mnist", "torchvision.datasets.cifar")


def in_memory(dataset: Any) -> tuple[Tensor, Tensor | None] | None:
    """Return copies of the samples and conditions, (L, ...), that a data set has in memory, or None.

    Only exact classes are recognized, because a subclass may change the items.

    Example:
        >>> in_memory(TensorDataset(torch.ones(2, 1)))
        (tensor([[1.],
                [1.]]), None)
    """
    try:
        return _in_memory(dataset)
    except AttributeError:  # it lacks an attribute, for example after it was unpickled; reading its items says so
        return None


def _in_memory(dataset: Any) -> tuple[Tensor, Tensor | None] | None:
    kind = type(dataset)
    module = vars(sys.modules.get(kind.__module__, sys))
    if not all(_defined_in(module, getattr(kind, name, None)) for name in ("__getitem__", "__len__")):
        return None
    if kind is TensorDataset:
        return _of_tensors(dataset)
    if kind is Subset:
        return _of_subset(dataset)
    if kind.__module__ == _STACKED and module.get(kind.__name__) is kind:
        return _of_stacks(dataset)
    if kind is ImageFolder:
        data = dataset.data
        if not (_is_uint8(data) and data.ndim in (3, 4)) or dataset.crop == "random":
            return None
        images = (data if data.ndim == 4 else data.unsqueeze(3)).permute(0, 3, 1, 2)
    elif kind.__module__ in _MODULES and kind.__name__ in (*_MNIST, *_CIFAR) and module.get(kind.__name__) is kind:
        if dataset.transform is not None or dataset.target_transform is not None:
            return None
        images = dataset.data
        if kind.__name__ in _MNIST:
            if not (_is_uint8(images) and images.ndim == 3):
                return None
            images = images.unsqueeze(1)
        else:
            if not (type(images) is numpy.ndarray and images.dtype == numpy.uint8 and images.shape[3:] == (3,)):
                return None
            images = torch.from_numpy(images).permute(0, 3, 1, 2)
    else:
        return None
    length = len(dataset)
    labels = _whole_numbers(dataset.targets, length)
    if labels is None or len(images) < length:
        return None
    return images[:length].clone(memory_format=torch.contiguous_format), labels


def refuse_masks(dataset: Any) -> None:
    """Raise an ArgumentTypeError for a Subset whose indices are a mask, which torch treats as 0 and 1, or no list.

    Example:
        >>> refuse_masks(Subset(TensorDataset(torch.ones(2, 1)), [1, 0]))
    """
    if isinstance(dataset, Subset):
        indices = getattr(dataset, "indices", ())  # a subclass may have none
        try:
            first = next(iter(indices), None)
        except TypeError:
            if type(dataset).__len__ is Subset.__len__:
                raise ArgumentTypeError(
                    f"a Subset's indices (={shown(indices)}) must be a sequence of whole numbers, such as [0, 1]"
                ) from None
            first = None
        if isinstance(first, bool) or str(getattr(first, "dtype", "")) in ("bool", "torch.bool"):
            raise ArgumentTypeError(
                "a Subset's indices are a mask of True and False, which torch treats as the indices 1 and 0: pass "
                "torch.as_tensor(mask).nonzero().flatten().tolist()"
            )
    single = [getattr(dataset, "dataset", None)]
    inner = getattr(dataset, "datasets", ()) if isinstance(dataset, ConcatDataset) else single
    for each in inner if isinstance(dataset, ConcatDataset | Subset) else []:
        refuse_masks(each)


def _defined_in(module: Any, method: Any) -> bool:
    """Return whether a method is defined in the module, and was not replaced."""
    return isinstance(method, FunctionType) and method.__globals__ is module


def _is_uint8(data: Any) -> bool:
    return type(data) is Tensor and data.dtype == torch.uint8 and data.device.type == "cpu"


def _of_tensors(dataset: TensorDataset) -> tuple[Tensor, Tensor | None] | None:
    tensors, length = dataset.tensors, len(dataset)
    known = all(type(tensor) is Tensor and tensor.ndim and len(tensor) >= length for tensor in tensors)
    if len(tensors) not in (1, 2) or not known:
        return None
    samples, *conditions = (plain(tensor, "dataset")[:length] for tensor in tensors)
    return samples, conditions[0] if conditions else None


def _of_subset(dataset: Subset[Any]) -> tuple[Tensor, Tensor | None] | None:
    indices, whole = _whole_numbers(dataset.indices, len(dataset)), in_memory(dataset.dataset)
    if indices is None or whole is None or not bool(((indices >= 0) & (indices < len(whole[0]))).all()):
        return None
    return whole[0][indices], None if whole[1] is None else whole[1][indices]


def _of_stacks(dataset: Any) -> tuple[Tensor, Tensor | None] | None:
    labels = _whole_numbers(dataset.targets, len(dataset))
    if labels is None or type(dataset.images) is not Tensor or type(dataset.indices) is not Tensor:
        return None
    return dataset.images[dataset.indices], labels


def _whole_numbers(values: Any, length: int) -> Tensor | None:
    """Return a copy of the first values as int64, or None if they are too few or not all whole numbers."""
    if type(values) in (list, tuple, range):
        if not all(type(value) is int and -(2**63) <= value < 2**63 for value in values):
            return None
        values = torch.tensor(values)
    elif type(values) is numpy.ndarray and values.dtype == numpy.int64:
        values = torch.from_numpy(values.copy())
    if type(values) is not Tensor or values.dtype != torch.int64 or values.ndim != 1 or len(values) < length:
        return None
    return values[:length].cpu().clone()


def plain(tensor: Tensor, name: str) -> Tensor:
    """Return a copy, since the data set may write its next item to the same memory."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
        raise DTypeError(
            f"{name} holds a sparse, nested, quantized or meta tensor; it must be a dense tensor with values"
        )
    return tensor.detach().as_subclass(Tensor).clone()

"""Generate samples without changing the generator."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves, tree_map_only

from ganlib._checks import check_option
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Condition

__all__ = ["BatchNormStatistics", "check_batch_norm", "count_entries", "draw", "evaluating"]

BatchNormStatistics: TypeAlias = Literal["running", "sample"]


def check_batch_norm(batch_norm: str) -> None:
    """Raise an ArgumentValueError unless ``batch_norm`` is one of the options."""
    check_option("batch_norm", batch_norm, get_args(BatchNormStatistics))


def count_entries(name: str, nest: Any, n: int | None = None) -> int:
    """Return the number of entries of each tensor in a nest; raise an error unless all have n entries."""
    tensors = [leaf for leaf in tree_leaves(nest) if leaf is not None]
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise ArgumentTypeError(f"{name} (={shown(nest)}) must be a tensor, or a dict or tuple of tensors")
    for tensor in tensors:
        if tensor.ndim == 0 or n not in (None, len(tensor)):
            raise ShapeError(f"{name} {tuple(tensor.shape)} must have one entry for each of n (={n}) samples")
        n = len(tensor)
    return len(tensors[0])


def draw(
    generator: nn.Module,
    latent: Tensor,
    condition: Condition = None,
    *,
    batch_norm: BatchNormStatistics = "running",
    batch_size: int | None = None,
) -> Tensor:
    """Generate samples in evaluation mode, without gradients, and restore modes and buffers.

    The latent (N, dim) and the condition (N entries per tensor) are on the device of the generator. A batch has at most
    ``batch_size`` samples; None means all. With ``batch_norm="sample"`` a batch has one sample. An ArgumentValueError
    says that the generator cannot be called with them, or that a batch norm has a single value per channel.
    """
    check_batch_norm(batch_norm)
    alone = batch_norm == "sample"
    size = 1 if alone else batch_size or max(1, len(latent))
    inputs = (latent,) if condition is None else (latent, condition)
    with torch.no_grad(), evaluating(generator), _without_running_averages(generator, alone):
        try:
            starts = range(0, max(1, len(latent)), size)
            return torch.cat(
                [generator(*tree_map_only(Tensor, itemgetter(slice(start, start + size)), inputs)) for start in starts]
            )
        except ValueError as error:
            if alone and re.search("more than 1 (value per channel|spatial element)", str(error)):
                raise ArgumentValueError(
                    f"batch_norm (='sample') needs several values of each channel in one sample: {error}"
                ) from error
            raise
        except (TypeError, RuntimeError, IndexError, AssertionError) as error:
            if isinstance(error, GanlibError) or not _is_about_inputs(error):
                raise
            raise ArgumentValueError(_refusal(generator, latent, condition, error)) from error


def _is_about_inputs(error: Exception) -> bool:
    """Test whether an error may come from the inputs, and not from the memory, the device or a compiler."""
    return type(error) in (TypeError, RuntimeError, IndexError, AssertionError) and not re.search(
        "CUDA|memory", str(error)
    )


def _refusal(generator: nn.Module, latent: Tensor, condition: Any, error: Exception) -> str:
    shapes = tree_map_only(Tensor, lambda leaf: tuple(leaf.shape), condition)
    hint = ""
    if isinstance(error, TypeError):
        hint = (
            " (there is no condition)"
            if condition is None
            else " (leave the condition out; conditioning.Unconditional wraps a network that ignores conditions)"
        )
    elif isinstance(error, IndexError) and isinstance(condition, Tensor) and condition.numel():
        hint = f" (the condition is from {condition.min().item()} to {condition.max().item()})"
    given = "no condition" if condition is None else f"condition {shapes}"
    return (
        f"generator (={shown(generator)}) cannot be called with latent {tuple(latent.shape)} of {latent.dtype} and "
        f"{given}: {type(error).__name__}: {error}{hint}"
    )


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks in evaluation mode within a context, and restore the mode of each module afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        try:
            network.eval()
        except NotImplementedError:  # a program of torch.export has one mode
            for module in network.modules():
                module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _without_running_averages(network: nn.Module, asked: bool) -> Iterator[None]:
    """Let batch and instance norms use the statistics of their input in this process only."""
    norms = [module for module in network.modules() if asked and isinstance(module, _NormBase)]
    averages = [(norm, norm.running_mean, norm.running_var, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = None
        norm.track_running_stats = False  # instance norms use this flag
    try:
        yield
    finally:
        for norm, mean, variance, tracked in averages:
            norm.running_mean, norm.running_var, norm.track_running_stats = mean, variance, tracked

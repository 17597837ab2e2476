"""The block that every stack repeats: a layer, its norm, its activation, its dropout."""

import copy
from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["LEAKY_RELU", "Activation", "Block", "Norm", "check_dropout", "make_activation", "make_norm", "run_blocks"]

Norm: TypeAlias = Literal["batch", "instance", "group", "none"] | Callable[[int], nn.Module]
Activation: TypeAlias = nn.Module | Callable[[], nn.Module] | None

_BATCH_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORMS = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_GROUPS = 32

LEAKY_RELU = partial(nn.LeakyReLU, 0.2)
"""What DCGAN puts between the layers of its discriminator."""


def make_norm(norm: Norm, channels: int, spatial_dims: int) -> nn.Module:
    """The normalisation layer that a word, or a user's own function, stands for.

    Args:
        norm: ``"batch"``, ``"instance"`` (with a gain and bias), ``"group"`` (as many groups as divide both the
            channels and 32), ``"none"``, or a function from a number of channels to a module. A module that has
            ``needs_condition = True`` is called with (x, condition).
        channels: how many channels it normalises.
        spatial_dims: 0 (vectors) to 3.

    Returns:
        The layer; ``nn.Identity`` for ``"none"``.

    Raises:
        ArgumentValueError: another word, or instance norm of vectors.

    Example:
        >>> make_norm("group", 48, spatial_dims=2)
        GroupNorm(16, 48, ...)

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015; Ulyanov et al., "Instance Normalization", 2016; Wu and He,
        "Group Normalization", 2018.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return _BATCH_NORMS[spatial_dims](channels)
    if norm == "group":
        return nn.GroupNorm(gcd(_GROUPS, channels), channels)
    if norm == "instance" and spatial_dims > 0:
        return _INSTANCE_NORMS[spatial_dims](channels, affine=True)
    if callable(norm):
        return norm(channels)
    raise ArgumentValueError(
        f"norm (={norm!r}) must be 'batch', 'instance' (not of vectors), 'group', 'none' or a function from a number "
        "of channels to a module"
    )


def make_activation(activation: Activation, name: str = "activation") -> nn.Module:
    """A fresh activation layer.

    Args:
        activation: a function that makes one (``nn.ReLU``), a module to copy (``nn.LeakyReLU(0.2)``), or None.
        name: what the caller calls it, for the error.

    Returns:
        The layer; ``nn.Identity`` for None.

    Raises:
        ArgumentTypeError: something else.

    Example:
        >>> make_activation(nn.LeakyReLU(0.2))
        LeakyReLU(negative_slope=0.2)
    """
    if activation is None:
        return nn.Identity()
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    what = f"{name} (={activation!r}) must be a module, a function that makes one (such as nn.ReLU), or None"
    try:
        made = activation()
    except TypeError as error:
        raise ArgumentTypeError(what) from error
    if not isinstance(made, nn.Module):
        raise ArgumentTypeError(what)
    return made


class Block(nn.Module):
    """Layer, norm, activation and dropout, one after the other.

    Args:
        layer: a convolution, its transpose, or a linear layer.
        norm: what follows it; see :func:`make_norm`.
        channels: the layer's output channels.
        spatial_dims: 0 to 3.
        activation: see :func:`make_activation`.
        dropout: probability in [0, 1); 0 is none.
        spectral_norm: whether the layer's weight is divided by its largest singular value.

    Example:
        >>> import torch
        >>> block = Block(nn.Linear(3, 5), norm="batch", channels=5, spatial_dims=0, activation=nn.ReLU)
        >>> block(torch.randn(4, 3)).shape
        torch.Size([4, 5])

    References:
        Spectral norm: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018.
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        norm: Norm,
        channels: int,
        spatial_dims: int,
        activation: Activation,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.layer = parametrizations.spectral_norm(layer) if spectral_norm else layer
        self.norm = make_norm(norm, channels, spatial_dims)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.needs_condition = bool(getattr(self.norm, "needs_condition", False))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Run the parts.

        Args:
            x: (N, channels, ...).
            condition: what a norm with ``needs_condition`` is given beside x.

        Returns:
            (N, channels, ...).
        """
        x = self.layer(x)
        x = self.norm(x, condition) if self.needs_condition else self.norm(x)
        return self.dropout(self.activation(x))


def run_blocks(stack: Any, x: Tensor, condition: Tensor | None) -> Tensor:
    """Run a stack's blocks, and refuse a condition that none of them would look at.

    Args:
        stack: a module with ``blocks`` and ``needs_condition``.
        x: (N, channels, ...).
        condition: None, or the condition.

    Returns:
        What the last block gives.

    Raises:
        ArgumentValueError: there is a condition, and no block takes one; or the other way round.
    """
    if (condition is not None) != stack.needs_condition:
        name = type(stack).__name__
        if stack.needs_condition:
            raise ArgumentValueError(f"condition (=None) is missing: this {name} has conditional norms")
        raise ArgumentValueError(
            f"condition {tuple(condition.shape) if condition is not None else None} was given to a {name} that takes "
            "none; wrap it in an adapter of ganlib.conditioning, such as Unconditional to ignore the condition"
        )
    for block in stack.blocks:
        x = block(x, condition)
    return x


def check_dropout(dropout: float) -> None:
    """Refuse a dropout that is no probability below 1.

    Args:
        dropout: must be in [0, 1).

    Raises:
        ArgumentValueError: it is not.
    """
    if not 0 <= dropout < 1:
        raise ArgumentValueError(f"dropout (={dropout}) must be in [0, 1)")


def check_shape(x: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Refuse a batch whose samples have another shape.

    Args:
        x: (N, ...).
        shape: the shape of one sample.
        name: what the caller calls x, for the error.

    Raises:
        ShapeError: the shapes differ.
    """
    if tuple(x.shape[1:]) != shape:
        raise ShapeError(f"{name} {tuple(x.shape)} must have shape (N, {', '.join(map(str, shape))})")

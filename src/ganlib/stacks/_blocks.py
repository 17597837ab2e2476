"""The block that every stack repeats: a layer, its norm, its activation, its dropout."""

import copy
from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.stacks._condition import check_condition, needs_condition
from ganlib.stacks._layers import normalise_spectrally
from ganlib.stacks._pixel_norm import PixelNorm

__all__ = ["LEAKY_RELU", "Activation", "Block", "Norm", "make_activation", "make_norm", "needs_bias", "run_blocks"]

Norm: TypeAlias = Literal["batch", "instance", "group", "pixel", "none"] | Callable[[int], nn.Module]
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
            channels and 32), ``"pixel"`` (:class:`PixelNorm`, which has neither), ``"none"``, or a function from a
            number of channels to a module. A module that has ``needs_condition = True`` is called with (x, condition).
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
        "Group Normalization", 2018; Karras et al., "Progressive Growing of GANs", 2018.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "pixel":
        return PixelNorm()
    if norm == "batch":
        return _BATCH_NORMS[spatial_dims](channels)
    if norm == "group":
        return nn.GroupNorm(gcd(_GROUPS, channels), channels)
    if norm == "instance" and spatial_dims > 0:
        return _INSTANCE_NORMS[spatial_dims](channels, affine=True)
    if callable(norm) and not isinstance(norm, nn.Module):  # one module cannot serve several layers
        return norm(channels)
    raise ArgumentValueError(
        f"norm (={norm!r}) must be 'batch', 'instance' (not of vectors), 'group', 'pixel', 'none' or a function from "
        "a number of channels to a module"
    )


def needs_bias(norm: Norm) -> bool:
    """Whether a layer that this norm follows needs a bias of its own.

    The others subtract a mean, and with it the bias, and then add their own.

    Args:
        norm: see :func:`make_norm`.

    Returns:
        True for ``"none"`` and ``"pixel"``.

    Example:
        >>> needs_bias("batch"), needs_bias("none")
        (False, True)
    """
    return norm in ("none", "pixel")


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

    A ReLU or LeakyReLU works in place, on what the layer or the norm has made and nothing else reads; a hook that keeps
    the output of one of these has to clone it.

    Args:
        layer: a convolution, its transpose, a linear layer, or a module that holds one.
        norm: what follows it; see :func:`make_norm`.
        channels: the layer's output channels.
        spatial_dims: 0 to 3.
        activation: see :func:`make_activation`.
        dropout: probability in [0, 1); 0 is none.
        spectral_norm: see :func:`normalise_spectrally`.
        wide: whether the activation is computed in float32 where autocast gives it half precision. What makes samples
            needs this: a tanh that rounds to 1 has no gradient.

    Example:
        >>> import torch
        >>> block = Block(nn.Linear(3, 5), norm="batch", channels=5, spatial_dims=0, activation=nn.ReLU)
        >>> block(torch.randn(4, 3)).shape
        torch.Size([4, 5])
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
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.wide = wide
        self.layer = normalise_spectrally(layer) if spectral_norm else layer
        self.norm = make_norm(norm, channels, spatial_dims)
        self.activation = make_activation(activation)
        if isinstance(norm, str):  # a norm of the user's own may need its answer once more in the backward pass
            _overwrite(self.activation)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.needs_condition = needs_condition(self.norm)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Run the parts.

        Args:
            x: (N, channels, ...).
            condition: what a norm with ``needs_condition`` is given beside x.

        Returns:
            (N, channels, ...).
        """
        for name, part in self._modules.items():  # in the order of __init__
            # To call an identity takes as long as a small layer.
            if part is not None and type(part) is not nn.Identity:
                if self.wide and name == "activation" and _is_rounded(x):
                    x = x.float()
                x = part(x, condition) if name == "norm" and self.needs_condition else part(x)
        return x


def _is_rounded(x: Tensor) -> bool:
    return x.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type)


def _overwrite(activation: nn.Module) -> None:
    if type(activation) is nn.ReLU or (type(activation) is nn.LeakyReLU and activation.negative_slope >= 0):
        activation.inplace = True


def run_blocks(stack: Any, x: Tensor, condition: Tensor | None) -> Tensor:
    """Run a stack's blocks.

    Args:
        stack: a module with ``blocks`` and ``needs_condition``.
        x: (N, channels, ...).
        condition: None, or the condition.

    Returns:
        What the last block gives.

    Raises:
        ArgumentValueError: there is a condition, and no block takes one; or the other way round.
    """
    check_condition(stack, condition)
    for block in stack.blocks:
        x = block(x, condition)
    return x

"""Blocks of layer, norm, activation and dropout."""

import copy
from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ganlib._checks import check_flag
from ganlib._condition import check_condition, needs_condition
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Condition
from ganlib.stacks._layers import normalize_spectrally
from ganlib.stacks._pixel_norm import PixelNorm

__all__ = ["LEAKY_RELU", "Activation", "Block", "Norm", "make_activation", "make_norm", "needs_bias", "run_blocks"]

Norm: TypeAlias = Literal["batch", "instance", "group", "pixel", "none"] | Callable[[int], nn.Module]
Activation: TypeAlias = nn.Module | Callable[[], nn.Module] | None

_GROUPS = 32

LEAKY_RELU = partial(nn.LeakyReLU, 0.2)
"""The activation between the layers of DCGAN's discriminator."""


def make_norm(norm: Norm, channels: int, spatial_dims: int) -> nn.Module:
    """Make a normalization layer.

    Args:
        norm: ``"batch"``, ``"instance"`` (with a gain and bias), ``"group"`` (with as many groups as divide both the
            channels and 32), ``"pixel"`` (:class:`PixelNorm`, without gain and bias), ``"none"``, or a function. The
            function takes the number of channels, and returns a module, one of these options or None. A module with
            ``needs_condition = True`` is called with (x, condition).
        channels: the number of channels of the input.
        spatial_dims: the number of spatial dimensions, 0 (vectors) to 3.

    Returns:
        The layer; ``nn.Identity`` for ``"none"``.

    Raises:
        ArgumentValueError: the option is unknown, or is ``"instance"`` for vectors.
        ArgumentTypeError: the function returned an object of another type.

    Example:
        >>> make_norm("group", 48, spatial_dims=2)
        GroupNorm(16, 48, ...)

    References:
        Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
        Shift", 2015, arXiv:1502.03167.

        Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016, arXiv:1607.08022.

        Wu and He, "Group Normalization", 2018, arXiv:1803.08494.

        Pixel norm: Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
        arXiv:1710.10196, section 4.2.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "pixel":
        return PixelNorm()
    if norm == "batch":
        return getattr(nn, f"BatchNorm{max(1, spatial_dims)}d")(channels)
    if norm == "group":
        return nn.GroupNorm(gcd(_GROUPS, channels), channels)
    if norm == "instance" and spatial_dims > 0:
        return getattr(nn, f"InstanceNorm{spatial_dims}d")(channels, affine=True)
    if callable(norm) and not isinstance(norm, nn.Module):  # one module cannot serve several layers
        made = norm(channels)
        if isinstance(made, str):
            return make_norm(made, channels, spatial_dims)
        if not isinstance(made, nn.Module | None):
            raise ArgumentTypeError(
                f"norm (={shown(norm)}) returned {shown(made)}, which must be a module or an option's name"
            )
        return nn.Identity() if made is None else made
    raise ArgumentValueError(
        f"norm (={shown(norm)}) must be 'batch', 'instance' (not of vectors), 'group', 'pixel', 'none' or a function "
        "from a number of channels to a module"
    )


def needs_bias(norm: Norm) -> bool:
    """Return whether a layer before this norm needs a bias.

    Most norms subtract the mean, which removes the bias of the layer before them, and add a bias themselves.

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
    """Make a new activation layer.

    Args:
        activation: a function that returns a module (``nn.ReLU``), a module to copy (``nn.LeakyReLU(0.2)``), or None.
        name: the name of the argument, for the error.

    Returns:
        The layer; ``nn.Identity`` for None.

    Raises:
        ArgumentTypeError: the activation has another type.

    Example:
        >>> make_activation(nn.LeakyReLU(0.2))
        LeakyReLU(negative_slope=0.2)
    """
    if activation is None:
        return nn.Identity()
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    what = f"{name} (={shown(activation)}) must be a module, a function that returns one (such as nn.ReLU), or None"
    try:
        made = activation()
    except TypeError as error:
        raise ArgumentTypeError(what) from error
    if not isinstance(made, nn.Module):
        raise ArgumentTypeError(what)
    return made


class Block(nn.Module):
    """Run layer, norm, activation and dropout; with ``wide`` the activation is computed in float32 under autocast."""

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
        self.layer = normalize_spectrally(layer) if check_flag("spectral_norm", spectral_norm) else layer
        self.norm = make_norm(norm, channels, spatial_dims)
        made: Any = make_activation(activation)
        # The backward pass of these two needs only their output. A custom norm may need the values that they overwrite.
        in_place = type(made) is nn.ReLU or (type(made) is nn.LeakyReLU and made.negative_slope >= 0)
        if in_place and isinstance(norm, str):
            made.inplace = True
        self.activation = made
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.needs_condition = needs_condition(self.norm)

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Run the layers on x (N, channels, ...)."""
        for name, part in self._modules.items():  # in the order of __init__
            # Calling an identity takes as long as a small layer.
            if part is not None and type(part) is not nn.Identity:
                if self.wide and name == "activation" and _is_rounded(x):
                    x = x.float()
                x = part(x, condition) if name == "norm" and self.needs_condition else part(x)
        return x


def _is_rounded(x: Tensor) -> bool:
    return x.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type)


def run_blocks(stack: Any, x: Tensor, condition: Condition) -> Tensor:
    """Run the blocks of a stack, each with the condition."""
    check_condition(stack, condition)
    for block in stack.blocks:
        x = block(x, condition)
    return x

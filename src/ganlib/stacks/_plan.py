"""Plans of convolutional stacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, PlanError
from ganlib.stacks._checks import Sizes, per_dimension

__all__ = ["StackPlan", "Stage", "check_plan"]


@rebuildable
@dataclass(frozen=True)
class Stage:
    """Represent one convolution of a plan, and the transposed convolution that reverses its change of shape.

    Args:
        channels: output channels of the convolution, at least 1.
        kernel_size: an int, or one per spatial dimension, at least 1.
        stride: an int, or one per spatial dimension, at least 1.
        padding: an int, or one per spatial dimension, at least 0.

    Example:
        >>> Stage(256, kernel_size=7, stride=1, padding=0)
        Stage(channels=256, kernel_size=7, stride=1, padding=0)
    """

    channels: int
    kernel_size: Sizes = 4
    stride: Sizes = 2
    padding: Sizes = 1


@rebuildable
@dataclass(frozen=True)
class StackPlan:
    r"""Describe the shapes of a convolutional discriminator and of the generator that mirrors it.

    A stage with kernel size :math:`k`, stride :math:`s` and padding :math:`p` maps a size :math:`n` to
    :math:`m = \lfloor (n + 2 p - k) / s \rfloor + 1`. The transposed convolution maps :math:`m` to
    :math:`(m - 1) s - 2 p + k + o`. The output padding :math:`o = (n + 2 p - k) \bmod s` makes this equal to :math:`n`.

    Args:
        image_shape: (C, \*spatial) with one to three spatial dimensions of any size.
        stages: the stages from the image to the top.

    Attributes:
        shapes: the shapes from the image to the top, ``image_shape`` first.
        kernel_sizes, strides, paddings, output_paddings: one tuple per stage, with one number per dimension.
        spatial_dims: the number of spatial dimensions of the image, 1 to 3.
        top_shape: the last of the shapes.
        top_is_flat: whether every spatial size of the top is 1.

    Raises:
        PlanError: the plan cannot be mirrored; the message names the stage and the sizes.

    Example:
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> plan.shapes
        ((1, 28, 28), (64, 14, 14), (128, 7, 7), (256, 1, 1))

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434, figure 1.

        Shapes: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285,
        relationships 6 and 14.
    """

    image_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    shapes: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    kernel_sizes: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    strides: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    paddings: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    output_paddings: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)

    def __init__(self, image_shape: Sequence[int], stages: Sequence[Stage]) -> None:
        image_shape = tuple(image_shape) if isinstance(image_shape, Sequence) else image_shape
        if not (
            isinstance(image_shape, tuple)
            and len(image_shape) in (2, 3, 4)
            and all(isinstance(n, int) and n >= 1 for n in image_shape)
        ):
            raise PlanError(
                f"image_shape (={shown(image_shape)}) must be (channels, *spatial) with one to three spatial "
                "dimensions, each a whole number of at least 1"
            )
        stages = tuple(stages) if isinstance(stages, Sequence) else stages
        if not (isinstance(stages, tuple) and stages):
            raise PlanError(f"stages (={shown(stages)}) must be a sequence of at least one Stage")
        shapes = [image_shape]
        geometry = []
        for index, stage in enumerate(stages):
            name = f"stages[{index}] ({stage})"
            if not isinstance(stage, Stage):
                raise PlanError(f"stages[{index}] (={shown(stage)}) must be a Stage")
            if not (isinstance(stage.channels, int) and stage.channels >= 1):
                raise PlanError(f"{name}: channels (={shown(stage.channels)}) must be a whole number of at least 1")
            spatial = shapes[-1][1:]
            kernel_size = per_dimension(f"{name}: kernel_size", stage.kernel_size, len(spatial), 1, PlanError)
            stride = per_dimension(f"{name}: stride", stage.stride, len(spatial), 1, PlanError)
            padding = per_dimension(f"{name}: padding", stage.padding, len(spatial), 0, PlanError)
            slack = [n + 2 * p - k for n, k, p in zip(spatial, kernel_size, padding, strict=True)]
            if min(slack) < 0:
                raise PlanError(
                    f"{name} cannot be mirrored: kernel_size {kernel_size} is larger than its input {spatial}, "
                    f"padded by {padding} on both sides"
                )
            shapes.append((stage.channels, *(n // s + 1 for n, s in zip(slack, stride, strict=True))))
            output_padding = tuple(n % s for n, s in zip(slack, stride, strict=True))
            geometry.append((kernel_size, stride, padding, output_padding))
        values = (image_shape, stages, tuple(shapes), *zip(*geometry, strict=True))
        for attribute, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, attribute.name, value)

    @property
    def spatial_dims(self) -> int:
        """Return the number of spatial dimensions of the image."""
        return len(self.image_shape) - 1

    @property
    def top_shape(self) -> tuple[int, ...]:
        """Return the last of the shapes."""
        return self.shapes[-1]

    def channels(self, image_channels: int | None = None, top_channels: int | None = None) -> tuple[int, ...]:
        """Return the channels from the image to the top, optionally with other channels at either end.

        Args:
            image_channels: channels of the image, at least 1; None keeps those of the plan.
            top_channels: channels of the top, at least 1; None keeps those of the plan.

        Returns:
            One number per shape.

        Raises:
            PlanError: a number is below 1.
        """
        for name, value in (("image_channels", image_channels), ("top_channels", top_channels)):
            if value is not None and value < 1:
                raise PlanError(f"{name} (={shown(value)}) must be at least 1")
        own = [shape[0] for shape in self.shapes]
        return (image_channels or own[0], *own[1:-1], top_channels or own[-1])

    @property
    def top_is_flat(self) -> bool:
        """Return whether every spatial size of the top is 1."""
        return prod(self.top_shape[1:]) == 1


def check_plan(plan: Any) -> None:
    """Raise an ArgumentTypeError unless the plan is a StackPlan."""
    if not isinstance(plan, StackPlan):
        raise ArgumentTypeError(
            f"plan (={shown(plan)}) must be a StackPlan, such as StackPlan((1, 28, 28), [Stage(64), Stage(128)])"
        )

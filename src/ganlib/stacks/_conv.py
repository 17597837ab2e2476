"""The two stacks of a plan: the discriminator's, and the generator's, which is its mirror."""

from math import prod
from typing import Literal

from torch import Tensor, nn

from ganlib._checks import check_flag, check_fraction, check_option
from ganlib._condition import needs_condition
from ganlib._recipe import rebuildable
from ganlib.errors import ShapeError
from ganlib.protocols import Condition
from ganlib.stacks._blocks import LEAKY_RELU, Activation, Block, Norm, make_activation, needs_bias, run_blocks
from ganlib.stacks._checks import check_shape
from ganlib.stacks._layers import make_convolution
from ganlib.stacks._plan import StackPlan, check_plan
from ganlib.stacks._upsample_conv import UpsampleConv

__all__ = ["ConvStack", "ConvTransposeStack"]


@rebuildable
class ConvStack(nn.Module):
    r"""Strided convolutions from the image to the top of a plan: the body of a discriminator.

    Every stage is followed by its norm, activation and dropout. The first has no norm (the DCGAN rule). The last has
    neither norm nor dropout, and its activation is ``last_activation``.

    Args:
        plan: the shapes, shared with the mirror.
        image_channels: replaces the image's channels (for example if an adapter adds planes to them).
        top_channels: replaces the top stage's channels (for example 1 for a logit).
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from channels to a
            module.
        activation: a module to copy, or a function that makes one.
        last_activation: the activation after the last stage, or None.
        last_norm: whether the last stage has its norm too (for example if a linear head follows).
        bias: whether convolutions have one; None means only those without a norm or with pixel norm, which has no bias.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether every convolution is spectrally normalized.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> ConvStack(plan, top_channels=1)(torch.randn(4, 1, 28, 28)).shape
        torch.Size([4, 1, 1, 1])

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016, section 3.
    """

    def __init__(
        self,
        plan: StackPlan,
        *,
        image_channels: int | None = None,
        top_channels: int | None = None,
        norm: Norm = "batch",
        activation: Activation = LEAKY_RELU,
        last_activation: Activation = None,
        last_norm: bool = False,
        bias: bool | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout, below_1=True)
        last_activation = make_activation(last_activation, "last_activation")
        check_plan(plan)
        channels = plan.channels(image_channels, top_channels)
        self.in_shape: tuple[int, ...] = (channels[0], *plan.image_shape[1:])
        self.out_shape: tuple[int, ...] = (channels[-1], *plan.top_shape[1:])
        last = len(plan.stages) - 1
        blocks = []
        for stage in range(len(plan.stages)):
            stage_norm: Norm = "none" if stage == 0 or (stage == last and not last_norm) else norm
            convolution = make_convolution(
                plan.spatial_dims,
                channels[stage],
                channels[stage + 1],
                plan.kernel_sizes[stage],
                stride=plan.strides[stage],
                padding=plan.paddings[stage],
                bias=needs_bias(stage_norm) if bias is None else check_flag("bias", bias),
            )
            blocks.append(
                Block(
                    convolution,
                    norm=stage_norm,
                    channels=channels[stage + 1],
                    spatial_dims=plan.spatial_dims,
                    activation=last_activation if stage == last else activation,
                    dropout=0.0 if stage == last else dropout,
                    spectral_norm=spectral_norm,
                )
            )
        self.blocks: nn.ModuleList = nn.ModuleList(blocks)
        self.needs_condition: bool = needs_condition(*blocks)

    def forward(self, sample: Tensor, condition: Condition = None) -> Tensor:
        """Run the stages.

        Args:
            sample: (N, *in_shape) float.
            condition: for conditional norms, where there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: samples of another shape.
            ArgumentValueError: a condition that no part takes, or a missing one that a part needs.
        """
        check_shape(sample, self.in_shape, "sample")
        return run_blocks(self, sample, condition)


@rebuildable
class ConvTransposeStack(nn.Module):
    r"""Transposed convolutions from the top of a plan to the image: the body of a generator.

    It has the kernels, strides and paddings of :class:`ConvStack`, in reverse; where a stride leaves the size open, the
    output padding of the plan gives exactly the size of the image. Every stage except the last, which makes the image,
    is followed by its norm, activation and dropout.

    The taps of a transposed convolution overlap unevenly where its stride does not divide its kernel, which shows as a
    checkerboard. With ``upsample="nearest"`` or ``"linear"`` a stage is an :class:`UpsampleConv` to the same size
    instead. Its kernel is the stage's, an even one made smaller by 1, and at least 3 where the size changes. A stage
    that starts from spatial size 1 stays a transposed convolution.

    Args:
        plan: the shapes, shared with the mirror.
        image_channels: replaces the image's channels.
        top_channels: replaces the top's channels (for example the size of a latent).
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from channels to a
            module.
        activation: a module to copy, or a function that makes one.
        last_activation: the activation of the image: Tanh for samples in [-1, 1], or None. Under autocast it is
            computed in float32: a tanh that rounds to 1 in half precision has no gradient.
        bias: whether convolutions have one; None means only those without a norm or with pixel norm, which has no bias.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether every convolution is spectrally normalized.
        upsample: ``"transposed"``, ``"nearest"`` or ``"linear"``.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> ConvTransposeStack(plan, top_channels=100)(torch.randn(4, 100)).shape
        torch.Size([4, 1, 28, 28])

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016, section 3; the checkerboard: Odena et
        al., "Deconvolution and Checkerboard Artifacts", 2016.
    """

    def __init__(
        self,
        plan: StackPlan,
        *,
        image_channels: int | None = None,
        top_channels: int | None = None,
        norm: Norm = "batch",
        activation: Activation = nn.ReLU,
        last_activation: Activation = nn.Tanh,
        bias: bool | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
        upsample: Literal["transposed", "nearest", "linear"] = "transposed",
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout, below_1=True)
        check_option("upsample", upsample, ("transposed", "nearest", "linear"))
        last_activation = make_activation(last_activation, "last_activation")
        check_plan(plan)
        channels = plan.channels(image_channels, top_channels)
        self.in_shape: tuple[int, ...] = (channels[-1], *plan.top_shape[1:])
        self.out_shape: tuple[int, ...] = (channels[0], *plan.image_shape[1:])
        blocks = []
        for stage in reversed(range(len(plan.stages))):
            stage_norm: Norm = "none" if stage == 0 else norm
            stage_bias = needs_bias(stage_norm) if bias is None else check_flag("bias", bias)
            ends = channels[stage + 1], channels[stage]
            # From a single pixel each output is reached by at most one tap of the kernel: nothing overlaps.
            if upsample == "transposed" or prod(plan.shapes[stage + 1][1:]) == 1:
                layer = getattr(nn, f"ConvTranspose{plan.spatial_dims}d")(
                    *ends,
                    plan.kernel_sizes[stage],
                    plan.strides[stage],
                    plan.paddings[stage],
                    plan.output_paddings[stage],
                    bias=stage_bias,
                )
            else:
                layer = UpsampleConv(
                    *ends,
                    kernel_size=_odd_kernel(plan, stage),
                    size=plan.shapes[stage][1:],
                    mode=upsample,
                    spatial_dims=plan.spatial_dims,
                    bias=stage_bias,
                )
            blocks.append(
                Block(
                    layer,
                    norm=stage_norm,
                    channels=channels[stage],
                    spatial_dims=plan.spatial_dims,
                    activation=last_activation if stage == 0 else activation,
                    dropout=0.0 if stage == 0 else dropout,
                    spectral_norm=spectral_norm,
                    wide=stage == 0,
                )
            )
        self.blocks: nn.ModuleList = nn.ModuleList(blocks)
        self.needs_condition: bool = needs_condition(*blocks)

    def forward(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Run the stages in reverse.

        Args:
            latent: (N, *in_shape) float, or flat (N, C * ...) with as many numbers.
            condition: for conditional norms, where there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: latents of another size.
            ArgumentValueError: a condition that no part takes, or a missing one that a part needs.
        """
        shape = tuple(latent.shape[1:])
        if shape != self.in_shape and shape != (prod(self.in_shape),):
            raise ShapeError(
                f"latent {tuple(latent.shape)} must have shape (N, {', '.join(map(str, self.in_shape))}) "
                f"or (N, {prod(self.in_shape)})"
            )
        return run_blocks(self, latent.reshape(latent.shape[0], *self.in_shape), condition)


def _odd_kernel(plan: StackPlan, stage: int) -> tuple[int, ...]:
    """The stage's kernel, odd, and large enough that enlarged pixels do not stay flat squares."""
    sizes = zip(plan.kernel_sizes[stage], plan.shapes[stage][1:], plan.shapes[stage + 1][1:], strict=True)
    return tuple(max(k - 1 + k % 2, 1 if lower == upper else 3) for k, lower, upper in sizes)

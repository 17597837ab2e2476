"""Convolutional stacks for discriminators and generators."""

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
from ganlib.stacks._layers import make_convolution, make_transposed_convolution
from ganlib.stacks._plan import StackPlan, check_plan
from ganlib.stacks._upsample_conv import UpsampleConv

__all__ = ["ConvStack", "ConvTransposeStack"]


@rebuildable
class ConvStack(nn.Module):
    r"""Run strided convolutions from the image to the top of a plan, as a DCGAN discriminator does.

    Every stage is followed by its norm, activation and dropout. The first stage has no norm. The last stage has neither
    norm nor dropout, and its activation is ``last_activation``.

    Args:
        plan: the shapes; :class:`ConvTransposeStack` uses the same plan.
        image_channels: replaces the channels of the image, for example if an adapter concatenates a condition.
        top_channels: replaces the channels of the last stage, for example 1 for a logit.
        norm: see :func:`make_norm`.
        activation: a module to copy, or a function that returns one.
        last_activation: the activation after the last stage, or None.
        last_norm: whether the last stage has a norm too, for example if a linear head follows.
        bias: whether convolutions have a bias; None adds a bias only if there is no norm, or a pixel norm, which has no
            bias.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether all convolutions have spectral normalization.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> ConvStack(plan, top_channels=1)(torch.randn(4, 1, 28, 28)).shape
        torch.Size([4, 1, 1, 1])

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434, section 3.
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
                whole=plan.kernel_sizes[stage] == plan.shapes[stage][1:],
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
            condition: for conditional norms, if there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: the samples have another shape.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        check_shape(sample, self.in_shape, "sample")
        return run_blocks(self, sample, condition)


@rebuildable
class ConvTransposeStack(nn.Module):
    r"""Run transposed convolutions from the top of a plan to the image, as a DCGAN generator does.

    The stack has the kernels, strides and paddings of :class:`ConvStack`, in reverse. The output padding of the plan
    makes the sizes exact. Every stage except the last is followed by its norm, activation and dropout. The last stage
    makes the image.

    A transposed convolution can cause a checkerboard pattern if its stride does not divide its kernel size. With
    ``upsample="nearest"`` or ``"linear"``, a stage is an :class:`UpsampleConv` to the same size instead. Its kernel
    size is that of the stage, reduced by 1 if even, and at least 3 if the size changes. A stage that starts from
    spatial size 1 remains a transposed convolution.

    Args:
        plan: the shapes; :class:`ConvStack` uses the same plan.
        image_channels: replaces the channels of the image.
        top_channels: replaces the channels of the top, for example by the size of a latent.
        norm: see :func:`make_norm`.
        activation: a module to copy, or a function that returns one.
        last_activation: the activation of the image: Tanh for samples in [-1, 1], or None. Under autocast it is
            computed in float32, because a tanh that rounds to 1 in half precision has no gradient.
        bias: whether convolutions have a bias; None adds a bias only if there is no norm, or a pixel norm, which has no
            bias.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether all convolutions have spectral normalization.
        upsample: ``"transposed"``, ``"nearest"`` or ``"linear"``.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> ConvTransposeStack(plan, top_channels=100)(torch.randn(4, 100)).shape
        torch.Size([4, 1, 28, 28])

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434, section 3.

        Checkerboard patterns: Odena et al., "Deconvolution and Checkerboard Artifacts", 2016,
        doi:10.23915/distill.00003.
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
            # From a single pixel, nothing overlaps: at most one tap of the kernel reaches each output.
            if upsample == "transposed" or prod(plan.shapes[stage + 1][1:]) == 1:
                layer = make_transposed_convolution(
                    plan.spatial_dims,
                    *ends,
                    plan.kernel_sizes[stage],
                    plan.strides[stage],
                    plan.paddings[stage],
                    plan.output_paddings[stage],
                    bias=stage_bias,
                    whole=plan.kernel_sizes[stage] == plan.shapes[stage][1:],
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
            latent: (N, *in_shape) float, or flattened to (N, C * ...).
            condition: for conditional norms, if there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: the latents have another size.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        shape = tuple(latent.shape[1:])
        if shape != self.in_shape and shape != (prod(self.in_shape),):
            raise ShapeError(
                f"latent {tuple(latent.shape)} must have shape (N, {', '.join(map(str, self.in_shape))}) "
                f"or (N, {prod(self.in_shape)})"
            )
        return run_blocks(self, latent.reshape(latent.shape[0], *self.in_shape), condition)


def _odd_kernel(plan: StackPlan, stage: int) -> tuple[int, ...]:
    """Return an odd kernel size that is large enough to smooth the upsampled pixels."""
    sizes = zip(plan.kernel_sizes[stage], plan.shapes[stage][1:], plan.shapes[stage + 1][1:], strict=True)
    return tuple(max(k - 1 + k % 2, 1 if lower == upper else 3) for k, lower, upper in sizes)

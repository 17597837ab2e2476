"""The generator that turns an image into another image of the same size."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_flag, check_fraction, check_sizes
from ganlib._condition import check_condition, needs_condition
from ganlib._recipe import rebuildable
from ganlib.stacks._blocks import LEAKY_RELU, Activation, Block, Norm, make_activation, needs_bias
from ganlib.stacks._checks import check_shape
from ganlib.stacks._conv import ConvStack
from ganlib.stacks._plan import StackPlan, check_plan

__all__ = ["UNet"]

_DROPPED = 3  # decoder levels that have dropout


@rebuildable
class UNet(nn.Module):
    r"""Encodes an image down to the top of a plan and decodes it again, with a skip connection at every level.

    The encoder is a :class:`ConvStack`. The decoder is its mirror of transposed convolutions. Each decoder level but
    the innermost sees what the level below it gives and, as further channels, what the encoder gives at the same size.
    For a plan whose shapes are :math:`(c_l, n_l)`, :math:`l = 0, \dots, L`:

    ====================================  ==========================  ===================================
    decoder level                         sees                        gives
    ====================================  ==========================  ===================================
    :math:`L`, the innermost              :math:`(c_L, n_L)`          :math:`(c_{L-1}, n_{L-1})`
    :math:`l = L - 1, \dots, 2`           :math:`(2 c_l, n_l)`        :math:`(c_{l-1}, n_{l-1})`
    :math:`1`, the last                   :math:`(2 c_1, n_1)`        (out_channels, :math:`n_0`)
    ====================================  ==========================  ===================================

    The output padding of the plan gives every level exactly the encoder's shape, also for odd sizes. Every level has
    its norm and activation, with three exceptions: the first and the innermost level of the encoder have no norm (one
    number per channel cannot be normalized), and the level that makes the image has no norm and ``last_activation``.

    Args:
        plan: the shapes; its image is the input.
        out_channels: channels of the output, at least 1; None is as many as the input has.
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from channels to a
            module.
        activation: of the encoder's levels; a module to copy, or a function that makes one.
        decoder_activation: of the decoder's levels, and of the encoder's innermost.
        last_activation: what makes the image; Tanh for samples in [-1, 1], None for none. Under autocast it is computed
            in float32: a tanh that rounds to 1 in half precision has no gradient.
        bias: whether convolutions have one; None means only those before no norm, or before pixel norm, which has none.
        dropout: probability in [0, 1) after each of the three innermost decoder levels. pix2pix has 0.5, as its only
            noise; it then samples in training mode too.
        spectral_norm: whether every convolution is spectrally normalized.

    Raises:
        ArgumentValueError: an argument is out of its range.
        ArgumentTypeError: an activation is not a module and does not make one.

    Example:
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256), Stage(256)])
        >>> plan.shapes
        ((1, 28, 28), (64, 14, 14), (128, 7, 7), (256, 3, 3), (256, 1, 1))
        >>> UNet(plan, out_channels=3, dropout=0.5)(torch.randn(4, 1, 28, 28)).shape
        torch.Size([4, 3, 28, 28])

    References:
        Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, arXiv:1505.04597;
        as a generator: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017,
        arXiv:1611.07004, section 3.2.1 and appendix 6.1.1.
    """

    def __init__(
        self,
        plan: StackPlan,
        out_channels: int | None = None,
        *,
        norm: Norm = "batch",
        activation: Activation = LEAKY_RELU,
        decoder_activation: Activation = nn.ReLU,
        last_activation: Activation = nn.Tanh,
        bias: bool | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_plan(plan)
        out_channels = plan.image_shape[0] if out_channels is None else out_channels
        check_sizes(out_channels=out_channels)
        check_fraction("dropout", dropout, below_1=True)
        decoder_activation = make_activation(decoder_activation, "decoder_activation")
        last_activation = make_activation(last_activation, "last_activation")
        self.in_shape: tuple[int, ...] = plan.image_shape
        self.out_shape: tuple[int, ...] = (out_channels, *plan.image_shape[1:])
        self.encoder: ConvStack = ConvStack(
            plan,
            norm=norm,
            activation=activation,
            last_activation=decoder_activation,
            bias=bias,
            spectral_norm=spectral_norm,
        )
        transposed = getattr(nn, f"ConvTranspose{plan.spatial_dims}d")
        channels = plan.channels(image_channels=out_channels)
        innermost = len(plan.stages) - 1
        blocks = []
        for stage in reversed(range(len(plan.stages))):
            stage_norm: Norm = "none" if stage == 0 else norm
            layer = transposed(
                channels[stage + 1] * (1 if stage == innermost else 2),
                channels[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.paddings[stage],
                plan.output_paddings[stage],
                bias=needs_bias(stage_norm) if bias is None else check_flag("bias", bias),
            )
            blocks.append(
                Block(
                    layer,
                    norm=stage_norm,
                    channels=channels[stage],
                    spatial_dims=plan.spatial_dims,
                    activation=last_activation if stage == 0 else decoder_activation,
                    dropout=dropout if stage > max(0, innermost - _DROPPED) else 0.0,
                    spectral_norm=spectral_norm,
                    wide=stage == 0,
                )
            )
        self.decoder: nn.ModuleList = nn.ModuleList(blocks)
        self.needs_condition: bool = needs_condition(self.encoder, *blocks)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        """Translate.

        Args:
            sample: (N, *in_shape) float.
            condition: for conditional norms, where there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: samples of another shape.
            ArgumentValueError: a condition that nothing here takes, or none where one is needed.
        """
        check_condition(self, condition)
        check_shape(sample, self.in_shape, "sample")
        encoded = [sample]
        for block in self.encoder.blocks:
            encoded.append(block(encoded[-1], condition))
        x = encoded.pop()
        for level, block in enumerate(self.decoder):
            x = block(x if level == 0 else torch.cat([x, encoded.pop()], dim=1), condition)
        return x

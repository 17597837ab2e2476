"""U-Net generator."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_flag, check_fraction, check_sizes
from ganlib._condition import check_condition, needs_condition
from ganlib._recipe import rebuildable
from ganlib.stacks._blocks import LEAKY_RELU, Activation, Block, Norm, make_activation, needs_bias
from ganlib.stacks._checks import check_shape
from ganlib.stacks._conv import ConvStack
from ganlib.stacks._layers import make_transposed_convolution
from ganlib.stacks._plan import StackPlan, check_plan

__all__ = ["UNet"]

_DROPPED = 3  # decoder levels that have dropout


@rebuildable
class UNet(nn.Module):
    r"""Translate an image to another image of the same size with a U-Net.

    The encoder is a :class:`ConvStack`. The decoder mirrors it with transposed convolutions. The input of each decoder
    level is the output of the previous decoder level, concatenated with the encoder's output of the same size. The
    innermost level has no such skip connection. If the shapes of the plan are :math:`(c_l, n_l)` with
    :math:`l = 0, \dots, L`:

    ====================================  ==========================  ===================================
    decoder level                         input                       output
    ====================================  ==========================  ===================================
    :math:`L`, the innermost              :math:`(c_L, n_L)`          :math:`(c_{L-1}, n_{L-1})`
    :math:`l = L - 1, \dots, 2`           :math:`(2 c_l, n_l)`        :math:`(c_{l-1}, n_{l-1})`
    :math:`1`, the last                   :math:`(2 c_1, n_1)`        (out_channels, :math:`n_0`)
    ====================================  ==========================  ===================================

    The output padding of the plan makes the decoder's sizes equal to the encoder's, also for odd sizes. Every level has
    a norm and an activation, with these exceptions: the first and the innermost encoder level have no norm, because one
    number per channel cannot be normalized. The level that makes the image has no norm, and its activation is
    ``last_activation``.

    Args:
        plan: the shapes; its image is the input.
        out_channels: channels of the output, at least 1; None means the channels of the input.
        norm: see :func:`make_norm`.
        activation: activation of the encoder; a module to copy, or a function that returns one.
        decoder_activation: activation of the decoder and of the innermost encoder level.
        last_activation: activation of the image: Tanh for samples in [-1, 1], or None. Under autocast it is computed in
            float32, because a tanh that rounds to 1 in half precision has no gradient.
        bias: whether convolutions have a bias; None adds a bias only if there is no norm, or a pixel norm, which has no
            bias.
        dropout: probability in [0, 1) after each of the three innermost decoder levels. pix2pix uses 0.5 as its only
            source of noise, so it also generates samples in training mode.
        spectral_norm: whether all convolutions have spectral normalization.

    Raises:
        ArgumentValueError: an argument is out of range.
        ArgumentTypeError: an activation is neither a module nor a function that returns one.

    Example:
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256), Stage(256)])
        >>> plan.shapes
        ((1, 28, 28), (64, 14, 14), (128, 7, 7), (256, 3, 3), (256, 1, 1))
        >>> UNet(plan, out_channels=3, dropout=0.5)(torch.randn(4, 1, 28, 28)).shape
        torch.Size([4, 3, 28, 28])

    References:
        Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, arXiv:1505.04597.

        As a generator: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix),
        2017, arXiv:1611.07004, section 3.2.1 and appendix 6.1.1.
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
        channels = plan.channels(image_channels=out_channels)
        innermost = len(plan.stages) - 1
        blocks = []
        for stage in reversed(range(len(plan.stages))):
            stage_norm: Norm = "none" if stage == 0 else norm
            layer = make_transposed_convolution(
                plan.spatial_dims,
                channels[stage + 1] * (1 if stage == innermost else 2),
                channels[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.paddings[stage],
                plan.output_paddings[stage],
                bias=needs_bias(stage_norm) if bias is None else check_flag("bias", bias),
                whole=plan.kernel_sizes[stage] == plan.shapes[stage][1:],
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
        """Translate images.

        Args:
            sample: (N, *in_shape) float.
            condition: for conditional norms, if there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: the samples have another shape.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
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

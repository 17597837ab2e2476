"""Patch discriminator (PatchGAN)."""

from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._condition import check_condition, needs_condition
from ganlib._recipe import rebuildable
from ganlib.protocols import Condition, DiscriminatorOutput
from ganlib.stacks._blocks import LEAKY_RELU, Activation, Block, Norm, needs_bias
from ganlib.stacks._checks import check_maps
from ganlib.stacks._layers import make_convolution

__all__ = ["PatchDiscriminator"]

_WIDEST = 8


@rebuildable
class PatchDiscriminator(nn.Module):
    r"""Compute one logit for each patch of an image of any size (PatchGAN).

    The network has ``layers`` convolutions of stride 2, one of stride 1, and one of stride 1 that makes the logits.
    Each convolution except the last doubles the channels, up to 8 times ``channels``. The padding is
    (kernel_size - 1) // 2. The first convolution has no norm. The last has neither norm nor activation.

    Args:
        in_channels: channels of the image, at least 1.
        channels: channels of the first convolution, at least 1.
        layers: the number of convolutions with stride 2, at least 1.
        spatial_dims: 1 to 3.
        kernel_size: kernel size of all convolutions, at least 1.
        norm: see :func:`make_norm`. With a conditional norm, call the network with (sample, condition).
        activation: a module to copy, or a function that returns one.
        spectral_norm: whether all convolutions have spectral normalization.
        features: whether to return a DiscriminatorOutput that also has the activations of the inner layers.

    Attributes:
        receptive_field: the number of pixels along each dimension that affect a logit. Batch and instance norm add a
            weak dependence on all pixels.
        smallest_size: the smallest image size along each dimension for which there is a logit.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> discriminator = PatchDiscriminator(3)
        >>> discriminator(torch.randn(1, 3, 256, 256)).shape
        torch.Size([1, 1, 30, 30])
        >>> discriminator.receptive_field
        70

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), 2017,
        arXiv:1611.07004, section 3.2.2 and appendix 6.1.2. The patches of 16, 70 and 286 pixels in the paper correspond
        to 1, 3 and 5 layers.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int = 64,
        layers: int = 3,
        spatial_dims: int = 2,
        kernel_size: int = 4,
        norm: Norm = "batch",
        activation: Activation = LEAKY_RELU,
        spectral_norm: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, channels=channels, layers=layers, kernel_size=kernel_size)
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.kernel_size = kernel_size
        self.padding: int = (kernel_size - 1) // 2
        self.strides: tuple[int, ...] = (*[2] * layers, 1, 1)
        self.features = features
        widths = [in_channels, *(channels * min(2**layer, _WIDEST) for layer in range(layers + 1)), 1]
        blocks = []
        for layer, stride in enumerate(self.strides):
            last = layer == layers + 1
            layer_norm: Norm = "none" if layer == 0 or last else norm
            convolution = make_convolution(
                spatial_dims,
                widths[layer],
                widths[layer + 1],
                kernel_size,
                stride=stride,
                padding=self.padding,
                bias=needs_bias(layer_norm),
            )
            blocks.append(
                Block(
                    convolution,
                    norm=layer_norm,
                    channels=widths[layer + 1],
                    spatial_dims=spatial_dims,
                    activation=None if last else activation,
                    spectral_norm=spectral_norm,
                )
            )
        self.blocks: nn.ModuleList = nn.ModuleList(blocks)
        self.needs_condition: bool = needs_condition(*blocks)

    @property
    def receptive_field(self) -> int:
        """Return the number of pixels along each dimension that affect a logit."""
        field = 1
        for stride in reversed(self.strides):
            field = (field - 1) * stride + self.kernel_size
        return field

    @property
    def smallest_size(self) -> int:
        """Return the smallest image size along each dimension for which there is a logit."""
        size = 1
        for stride in reversed(self.strides):
            size = max(1, (size - 1) * stride + self.kernel_size - 2 * self.padding)
        return size

    def forward(self, sample: Tensor, condition: Condition = None) -> Tensor | DiscriminatorOutput:
        """Compute the logits.

        Args:
            sample: (N, in_channels, *spatial) float, each size at least ``smallest_size``.
            condition: for conditional norms, if there are any.

        Returns:
            Logits (N, 1, *patches). With ``features=True``, a DiscriminatorOutput with the logits and the activations
            of every convolution except the last.

        Raises:
            ShapeError: the samples have another shape, or are too small for one patch.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        check_condition(self, condition)
        check_maps(sample, self.in_channels, self.spatial_dims, "sample", self.smallest_size)
        activations = [sample]
        for block in self.blocks:
            activations.append(block(activations[-1], condition))
        _, *inner, logits = activations
        return DiscriminatorOutput(logits, features=tuple(inner)) if self.features else logits

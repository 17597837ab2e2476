"""Network architectures: stacks of layers, patch discriminators, a vector quantizer, and blocks."""

from ganlib.stacks._bilinear import BilinearDownsample, BilinearUpsample
from ganlib.stacks._blocks import Activation, Norm, make_activation, make_norm, needs_bias
from ganlib.stacks._conv import ConvStack, ConvTransposeStack
from ganlib.stacks._inverted_bottleneck import InvertedBottleneck
from ganlib.stacks._linear import LinearStack
from ganlib.stacks._minibatch_std_dev import MinibatchStdDev
from ganlib.stacks._multi_scale import MultiScaleDiscriminator
from ganlib.stacks._patch_discriminator import PatchDiscriminator
from ganlib.stacks._pixel_norm import PixelNorm
from ganlib.stacks._plan import StackPlan, Stage
from ganlib.stacks._residual import ResidualDownBlock, ResidualUpBlock
from ganlib.stacks._self_attention import SelfAttention
from ganlib.stacks._sequential import ConditionalSequential
from ganlib.stacks._unet import UNet
from ganlib.stacks._upsample_conv import UpsampleConv
from ganlib.stacks._vector_quantizer import Quantized, VectorQuantizer

__all__ = [
    "Activation",
    "BilinearDownsample",
    "BilinearUpsample",
    "ConditionalSequential",
    "ConvStack",
    "ConvTransposeStack",
    "InvertedBottleneck",
    "LinearStack",
    "MinibatchStdDev",
    "MultiScaleDiscriminator",
    "Norm",
    "PatchDiscriminator",
    "PixelNorm",
    "Quantized",
    "ResidualDownBlock",
    "ResidualUpBlock",
    "SelfAttention",
    "StackPlan",
    "Stage",
    "UNet",
    "UpsampleConv",
    "VectorQuantizer",
    "make_activation",
    "make_norm",
    "needs_bias",
]

"""Mirrored stacks: one frozen plan, read downwards by a discriminator and backwards by a generator."""

from ganlib.stacks._blocks import Activation, Norm, make_activation, make_norm
from ganlib.stacks._conv import ConvStack
from ganlib.stacks._conv_transpose import ConvTransposeStack
from ganlib.stacks._linear import LinearStack
from ganlib.stacks._plan import StackPlan, Stage

__all__ = [
    "Activation",
    "ConvStack",
    "ConvTransposeStack",
    "LinearStack",
    "Norm",
    "StackPlan",
    "Stage",
    "make_activation",
    "make_norm",
]

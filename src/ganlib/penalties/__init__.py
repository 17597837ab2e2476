"""Gradient penalties on the discriminator, each with one norm per sample."""

from ganlib.penalties._gradient_penalty import GradientPenalty
from ganlib.penalties._zero_centred import R1, R2
from ganlib.protocols import Penalty

__all__ = ["R1", "R2", "GradientPenalty", "Penalty"]

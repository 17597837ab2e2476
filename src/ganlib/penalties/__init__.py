"""Penalties on the discriminator: of its gradient, of its logits, of its inconsistency.

Over several processes with equally large batches, and gradients averaged as DistributedDataParallel does, each penalty
is that of the whole batch, given the same random numbers; these each process draws for its own samples.
"""

from ganlib.penalties._consistency import Consistency
from ganlib.penalties._dragan import DRAGAN
from ganlib.penalties._gradient_penalty import GradientPenalty
from ganlib.penalties._lecam import LeCam
from ganlib.penalties._zero_centred import R1, R2
from ganlib.protocols import Penalty

__all__ = ["DRAGAN", "R1", "R2", "Consistency", "GradientPenalty", "LeCam", "Penalty"]

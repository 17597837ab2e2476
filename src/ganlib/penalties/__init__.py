"""Penalties on the discriminator: on its gradient, its logits, or its consistency; and one on the generator.

Each calls the network in eager mode and without autocast, so that it works with compiled networks and in
any loop. Under ``torch.no_grad`` it returns its value without a graph.

Over several processes with equally large batches, and gradients averaged as DistributedDataParallel does, each penalty
is that of the whole batch, given the same random numbers; each process draws those of its own samples.
"""

from ganlib.penalties._consistency import Consistency
from ganlib.penalties._dragan import DRAGAN
from ganlib.penalties._gradient_penalty import GradientPenalty
from ganlib.penalties._lecam import LeCam
from ganlib.penalties._path_length import PathLength
from ganlib.penalties._zero_centred import R1, R2
from ganlib.protocols import Penalty

__all__ = ["DRAGAN", "R1", "R2", "Consistency", "GradientPenalty", "LeCam", "PathLength", "Penalty"]

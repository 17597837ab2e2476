"""Penalties on the discriminator's gradient, logits or consistency, and a penalty on the generator.

A penalty calls the network in eager mode and without autocast, so it works with compiled networks and in any training
loop. Penalties on a derivative can also run under autocast, with ``precision="autocast"``. Under
:class:`torch.no_grad`, a penalty returns its value without a graph.

In multi-GPU training, each process draws the random numbers of its own samples, and the value of each penalty
is that of the whole batch, given the same random numbers. This requires batches of equal size in all processes, and
gradients that are averaged, as :class:`torch.nn.parallel.DistributedDataParallel` does.
"""

from ganlib.penalties._consistency import Consistency
from ganlib.penalties._dragan import DRAGAN
from ganlib.penalties._gradient_penalty import GradientPenalty
from ganlib.penalties._lecam import LeCam
from ganlib.penalties._path_length import PathLength
from ganlib.penalties._zero_centred import R1, R2
from ganlib.protocols import Penalty

__all__ = ["DRAGAN", "R1", "R2", "Consistency", "GradientPenalty", "LeCam", "PathLength", "Penalty"]

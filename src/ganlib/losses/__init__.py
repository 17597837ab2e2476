"""Adversarial and auxiliary losses.

The adversarial losses are numerically stable. Auxiliary losses are added to them. In multi-GPU training, each loss is
that of the whole batch. This requires batches of equal size in all processes, and gradients that are averaged, as
:class:`torch.nn.parallel.DistributedDataParallel` does. The draws of :class:`LabelSmoothing` differ between processes.
"""

from ganlib.losses._adaptive_weight import adaptive_weight
from ganlib.losses._auxiliary_classifier import AuxiliaryClassifier
from ganlib.losses._feature_matching import FeatureMatching
from ganlib.losses._hinge import HingeLoss
from ganlib.losses._least_squares import LeastSquaresLoss
from ganlib.losses._minimax import MinimaxLoss, NonSaturatingLoss
from ganlib.losses._relativistic import RelativisticAverageLoss, RelativisticLoss
from ganlib.losses._smoothing import LabelSmoothing
from ganlib.losses._wasserstein import WassersteinLoss
from ganlib.losses._weighted_sum import WeightedSum
from ganlib.protocols import AdversarialLoss, AuxiliaryLoss

__all__ = [
    "AdversarialLoss",
    "AuxiliaryClassifier",
    "AuxiliaryLoss",
    "FeatureMatching",
    "HingeLoss",
    "LabelSmoothing",
    "LeastSquaresLoss",
    "MinimaxLoss",
    "NonSaturatingLoss",
    "RelativisticAverageLoss",
    "RelativisticLoss",
    "WassersteinLoss",
    "WeightedSum",
    "adaptive_weight",
]

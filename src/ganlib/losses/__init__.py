"""Losses of the players: adversarial losses in a numerically stable form, and auxiliary losses that are added to them.

Over several processes with equally large batches, and gradients averaged as DistributedDataParallel does, each loss is
that of the whole batch. The draws of :class:`LabelSmoothing` are each process's own.
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

"""What the players minimise: adversarial losses, from logits in a stable form, and terms that are added to them.

Over several processes with equally large batches, and gradients averaged as DistributedDataParallel does, each loss and
term is that of the whole batch. Only what :class:`LabelSmoothing` draws, each process draws for its own samples.
"""

from ganlib.losses._auxiliary_classifier import AuxiliaryClassifier
from ganlib.losses._feature_matching import FeatureMatching
from ganlib.losses._hinge import HingeLoss
from ganlib.losses._least_squares import LeastSquaresLoss
from ganlib.losses._minimax import MinimaxLoss
from ganlib.losses._non_saturating import NonSaturatingLoss
from ganlib.losses._relativistic import RelativisticAverageLoss, RelativisticLoss
from ganlib.losses._smoothing import LabelSmoothing
from ganlib.losses._wasserstein import WassersteinLoss
from ganlib.losses._weighted_sum import WeightedSum
from ganlib.protocols import AdversarialLoss, Term

__all__ = [
    "AdversarialLoss",
    "AuxiliaryClassifier",
    "FeatureMatching",
    "HingeLoss",
    "LabelSmoothing",
    "LeastSquaresLoss",
    "MinimaxLoss",
    "NonSaturatingLoss",
    "RelativisticAverageLoss",
    "RelativisticLoss",
    "Term",
    "WassersteinLoss",
    "WeightedSum",
]

"""Adversarial losses: what the two players minimise, computed from logits in a numerically stable form."""

from ganlib.losses._minimax import MinimaxLoss
from ganlib.losses._non_saturating import NonSaturatingLoss
from ganlib.losses._smoothing import LabelSmoothing
from ganlib.protocols import AdversarialLoss

__all__ = ["AdversarialLoss", "LabelSmoothing", "MinimaxLoss", "NonSaturatingLoss"]

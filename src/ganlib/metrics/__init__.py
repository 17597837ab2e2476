"""Measures of how good a generator is, with the interface of torchmetrics: update, compute, reset."""

from ganlib.metrics._digit_classifier import DigitClassifier
from ganlib.metrics._frechet_distance import FrechetDistance
from ganlib.metrics._label_accuracy import LabelAccuracy

__all__ = ["DigitClassifier", "FrechetDistance", "LabelAccuracy"]

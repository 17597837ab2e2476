"""Measure how good a generator is, with metrics in the style of torchmetrics: ``update``, ``compute``, ``reset``."""

from ganlib.metrics._digit_classifier import DigitClassifier
from ganlib.metrics._frechet_distance import FrechetDistance
from ganlib.metrics._inception import InceptionFeatures
from ganlib.metrics._inception_score import InceptionScore
from ganlib.metrics._kernel_distance import KernelDistance
from ganlib.metrics._label_accuracy import LabelAccuracy
from ganlib.metrics._memorization import Memorization
from ganlib.metrics._mode_coverage import ModeCoverage
from ganlib.metrics._neighbors import nearest_neighbors
from ganlib.metrics._precision_recall import PrecisionRecall

__all__ = [
    "DigitClassifier",
    "FrechetDistance",
    "InceptionFeatures",
    "InceptionScore",
    "KernelDistance",
    "LabelAccuracy",
    "Memorization",
    "ModeCoverage",
    "PrecisionRecall",
    "nearest_neighbors",
]

"""Differentiable augmentation of batches on the device, with random parameters for each sample."""

from ganlib.augment._adaptive_augment import AdaptiveAugment
from ganlib.augment._diff_augment import DiffAugment
from ganlib.augment._flip import RandomHorizontalFlip
from ganlib.augment._joint import Joint
from ganlib.augment._rotation import RandomRotation

__all__ = ["AdaptiveAugment", "DiffAugment", "Joint", "RandomHorizontalFlip", "RandomRotation"]

"""Augmentation of whole batches: every sample by its own amount, on the device, differentiable."""

from ganlib.augment._diff_augment import DiffAugment
from ganlib.augment._flip import RandomHorizontalFlip
from ganlib.augment._rotation import RandomRotation

__all__ = ["DiffAugment", "RandomHorizontalFlip", "RandomRotation"]

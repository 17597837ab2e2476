"""Random affine maps of colors."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from ganlib.augment._draws import Draws

__all__ = ["COLOR", "recolored"]

COLOR = ("brightness", "contrast", "luma_flip", "hue", "saturation")


def recolored(images: Tensor, draws: Draws, names: Collection[str]) -> Tensor:
    r"""Change the colors of each sample by a random affine map.

    With the mean :math:`m` over the channels of a pixel :math:`x`, the product of the matrices of all transforms is
    :math:`c f (m + b) + c s R (x - m)`: brightness :math:`b`, contrast :math:`c`, luma flip :math:`f = \pm 1`, hue
    :math:`R` (a rotation about the gray axis), and saturation :math:`s`. Hue needs 3 channels, and saturation 2.
    """
    channels = images.shape[1]
    one = images.new_ones(len(images))
    add = draws.chosen() * draws.normal(0.2) if "brightness" in names else 0 * one
    luma = torch.exp2(draws.chosen() * draws.normal(0.5)) if "contrast" in names else one
    chroma = luma
    if "luma_flip" in names:
        luma = luma * (1 - 2 * draws.chosen() * draws.below(2))
    if channels == 1:
        return (images + _spread(add)) * _spread(luma)
    angle = draws.chosen() * draws.uniform(-math.pi, math.pi) if "hue" in names and channels == 3 else 0 * one
    if "saturation" in names:
        chroma = chroma * torch.exp2(draws.chosen() * draws.normal(1.0))
    mean = images.mean(1, keepdim=True)
    rest = images - mean
    # Differences from 1, so that samples that nothing changes keep their exact values.
    changed = images + (_spread(luma - 1) * mean + _spread(luma * add)) + _spread(chroma * angle.cos() - 1) * rest
    if channels != 3:
        return changed
    # The product of the unit vector along the gray axis with the rest of the color.
    across = rest.roll(1, 1) - rest.roll(-1, 1)
    return changed + _spread(chroma * angle.sin() / 3**0.5) * across


def _spread(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

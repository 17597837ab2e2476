"""Random affine maps from the positions of augmented samples to those of the samples."""

import math
from collections.abc import Collection
from functools import reduce

import torch
from torch import Tensor

from ganlib.augment._draws import Draws

__all__ = ["BLIT", "GEOMETRIC", "compose", "general_map", "pixel_map"]

BLIT = ("flip", "rotate90", "translate")
GEOMETRIC = ("scale", "rotate", "stretch", "shift")


def pixel_map(draws: Draws, names: Collection[str], height: int, width: int) -> Tensor:
    """Draw maps (n, 3, 3) of positions (x, y, 1), in pixels from the center, that keep pixels whole."""
    maps = []
    if "flip" in names:
        maps.append(_linear(1 - 2 * draws.chosen() * draws.below(2), 0, 0, 1))
    if "rotate90" in names:
        turns = draws.chosen() * draws.below(4)
        # The cosine and the sine of whole quarters of a turn, without rounding errors.
        cosine, sine = (1 - turns) * (turns != 3), (2 - turns) * (turns != 0)
        maps.append(_linear(cosine, -sine, sine, cosine))
    if "translate" in names:
        chosen = draws.chosen()
        x, y = ((chosen * draws.uniform(-0.125, 0.125) * size).round() for size in (width, height))
        maps.append(_translation(-x, -y))
    return _product(maps)


def general_map(draws: Draws, names: Collection[str], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Draw maps (n, 3, 3) like :func:`pixel_map` that interpolate, and return which samples (n,) they change."""
    maps, changed = [], []

    def chosen_of(one: Tensor) -> Tensor:
        changed.append(one)
        return one

    def rotation() -> Tensor:
        angle = chosen_of(draws.chosen_by_one_of_two()) * draws.uniform(-math.pi, math.pi)
        return _linear(angle.cos(), -angle.sin(), angle.sin(), angle.cos())

    if "scale" in names:
        factor = torch.exp2(chosen_of(draws.chosen()) * draws.normal(0.2))
        maps.append(_linear(1 / factor, 0, 0, 1 / factor))
    # Two rotations, so that the stretch has a random direction, and the sample has another one.
    if "rotate" in names:
        maps.append(rotation())
    if "stretch" in names:
        factor = torch.exp2(chosen_of(draws.chosen()) * draws.normal(0.2))
        maps.append(_linear(1 / factor, 0, 0, factor))
    if "rotate" in names:
        maps.append(rotation())
    if "shift" in names:
        chosen = chosen_of(draws.chosen())
        x, y = (chosen * draws.normal(0.125) * size for size in (width, height))
        maps.append(_translation(-x, -y))
    return _product(maps), torch.stack(changed).sum(0) > 0


def compose(left: Tensor, right: Tensor) -> Tensor:
    """Multiply maps (n, 3, 3)."""
    # Not a matrix product of torch, which may round to TF32, and would move samples by parts of a pixel.
    return (left.unsqueeze(3) * right.unsqueeze(1)).sum(2)


def _linear(xx: Tensor, xy: Tensor | int, yx: Tensor | int, yy: Tensor | int) -> Tensor:
    return _affine(xx, xy, 0, yx, yy, 0)


def _translation(x: Tensor, y: Tensor) -> Tensor:
    return _affine(1, 0, x, 0, 1, y)


def _affine(*rows: Tensor | int) -> Tensor:
    like = next(one for one in rows if isinstance(one, Tensor))
    numbers = {0: torch.zeros_like(like), 1: torch.ones_like(like)}
    parts = [one if isinstance(one, Tensor) else numbers[one] for one in (*rows, 0, 0, 1)]
    return torch.stack(parts, -1).view(-1, 3, 3)


def _product(maps: list[Tensor]) -> Tensor:
    """Multiply the maps, the first one on the left."""
    return reduce(compose, maps)

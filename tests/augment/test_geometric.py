"""Tests of the affine maps of ADA, against products of the official code's matrices in NumPy."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.augment._geometric import BLIT, GEOMETRIC, compose, general_map, pixel_map

F64 = torch.float64
HEIGHT, WIDTH = 24, 40


class Given:
    """Parameters in the place of random ones: those given, in the order in which they are asked for."""

    def __init__(self, *values: float) -> None:
        self.values: Iterator[float] = iter(values)

    def chosen(self) -> Tensor:
        """Apply every transform, to the first of two samples."""
        return torch.tensor([1.0, 0.0], dtype=F64)

    chosen_by_one_of_two = chosen

    def normal(self, deviation: float) -> Tensor:
        """The next one, times the deviation."""
        return torch.full((2,), deviation * next(self.values), dtype=F64)

    def uniform(self, low: float, high: float) -> Tensor:
        """The next one, of which -1 is low and 1 is high."""
        assert low == -high
        return self.normal(high)

    def below(self, count: int) -> Tensor:
        """The next one."""
        return self.normal(1)


def scaling(x: float, y: float) -> np.ndarray:
    """A matrix of the official code."""
    return np.diag([x, y, 1.0])


def rotation(angle: float) -> np.ndarray:
    """Another one."""
    return np.array([[math.cos(angle), math.sin(-angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])


def translation(x: float, y: float) -> np.ndarray:
    """Another one."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


# The transform, the parameters, and the inverse of its matrix.
PIXELS = [
    ("flip", [1], scaling(-1, 1)),
    ("flip", [0], np.eye(3)),
    *(("rotate90", [k], rotation(math.pi / 2 * k)) for k in range(4)),
    ("translate", [0.5, -1], translation(-round(0.5 * 0.125 * WIDTH), 0.125 * HEIGHT)),
    ("translate", [0.09, 0.0], np.eye(3)),
]
GENERAL = [
    ("scale", [1.5], scaling(2 ** (-0.2 * 1.5), 2 ** (-0.2 * 1.5))),
    ("rotate", [0.3, 0.0], rotation(0.3 * math.pi)),
    ("rotate", [0.3, -0.9], rotation(0.3 * math.pi) @ rotation(-0.9 * math.pi)),
    ("stretch", [1.5], scaling(2 ** (-0.2 * 1.5), 2 ** (0.2 * 1.5))),
    ("shift", [0.7, -0.2], translation(-0.7 * 0.125 * WIDTH, 0.2 * 0.125 * HEIGHT)),
]


def check(made: Tensor, expected: np.ndarray) -> None:
    """The first map is the expected one, and the second one is the identity, to the bit."""
    np.testing.assert_allclose(made[0].numpy(), expected, rtol=0, atol=1e-12)
    assert torch.equal(made[1], torch.eye(3, dtype=F64))


@pytest.mark.parametrize(("name", "values", "expected"), PIXELS)
def test_each_transform_of_pixels_is_its_matrix(name: str, values: list[float], expected: np.ndarray) -> None:
    """One alone, where it is chosen, and the identity elsewhere; its numbers are whole."""
    made = pixel_map(Given(*values), [name], HEIGHT, WIDTH)  # type: ignore[arg-type]
    check(made, expected)
    assert torch.equal(made, made.round())


@pytest.mark.parametrize(("name", "values", "expected"), GENERAL)
def test_each_general_transform_is_its_matrix(name: str, values: list[float], expected: np.ndarray) -> None:
    """One alone, where it is chosen, and the identity elsewhere; only the chosen sample is changed."""
    made, changed = general_map(Given(*values), [name], HEIGHT, WIDTH)  # type: ignore[arg-type]
    check(made, expected)
    assert changed.tolist() == [True, False]


def test_all_transforms_are_multiplied_in_their_order() -> None:
    """Flip, turn and translation, then scale, rotation, stretch, rotation and shift, as the official code has it."""
    whole = pixel_map(Given(1, 3, 0.5, -1), BLIT, HEIGHT, WIDTH)  # type: ignore[arg-type]
    general, _ = general_map(Given(1.5, 0.3, 0.8, -0.9, 0.7, -0.2), GEOMETRIC, HEIGHT, WIDTH)  # type: ignore[arg-type]
    first = scaling(-1, 1) @ rotation(math.pi / 2 * 3) @ PIXELS[6][2]
    factor = 2 ** (0.2 * 0.8)
    second = GENERAL[0][2] @ rotation(0.3 * math.pi) @ scaling(1 / factor, factor) @ rotation(-0.9 * math.pi)
    check(whole, first)
    check(general, second @ GENERAL[4][2])
    check(compose(whole, general), first @ second @ GENERAL[4][2])

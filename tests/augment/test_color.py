"""Tests of affine maps of colors, against products of the paper's matrices in NumPy."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.augment._color import COLOR, recolored
from tests.augment import dense

F64 = torch.float64
NEUTRAL = {"brightness": 0.0, "contrast": 1.0, "flip": False, "angle": 0.0, "saturation": 1.0}


class Given:
    """Parameters in the place of random ones: those given, in the order in which they are asked for."""

    def __init__(self, *values: float) -> None:
        self.values: Iterator[float] = iter(values)

    def chosen(self) -> Tensor:
        """Apply every transform."""
        return torch.ones(2, dtype=F64)

    def normal(self, deviation: float) -> Tensor:
        """The next one."""
        return torch.full((2,), next(self.values), dtype=F64)

    def uniform(self, low: float, high: float) -> Tensor:
        """The next one."""
        return self.normal(0)

    def below(self, count: int) -> Tensor:
        """The next one."""
        return self.normal(0)


@pytest.mark.parametrize(
    ("name", "value", "parameters"),
    [
        ("brightness", 0.3, {"brightness": 0.3}),
        ("contrast", -0.7, {"contrast": 2**-0.7}),
        ("luma_flip", 1, {"flip": True}),
        ("luma_flip", 0, {}),
        ("hue", 2.0, {"angle": 2.0}),
        ("saturation", 1.5, {"saturation": 2**1.5}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_is_the_papers_matrix(name: str, value: float, parameters: dict[str, float], channels: int) -> None:
    """One transform alone; gray images have neither hue nor saturation."""
    images = torch.randn(2, channels, 4, 5, dtype=F64)
    made = recolored(images, Given(value), [name])  # type: ignore[arg-type]
    for image, one in zip(images, made, strict=True):
        expected = dense.recolored(image.numpy(), **(NEUTRAL | parameters))  # type: ignore[arg-type]
        np.testing.assert_allclose(one.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_all_are_the_product_of_the_matrices(channels: int, flip: bool) -> None:
    """Brightness first, then contrast, luma flip, hue and saturation."""
    images = torch.randn(2, channels, 4, 5, dtype=F64)
    made = recolored(images, Given(0.3, -0.7, flip, 2.0, 1.5), COLOR)  # type: ignore[arg-type]
    for image, one in zip(images, made, strict=True):
        expected = dense.recolored(
            image.numpy(), brightness=0.3, contrast=2**-0.7, flip=flip, angle=2.0, saturation=2**1.5
        )
        np.testing.assert_allclose(one.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_have_no_hue(channels: int) -> None:
    """Hue does nothing; saturation is about the mean of the channels."""
    images = torch.randn(2, channels, 4, 5, dtype=F64)
    mean = images.mean(1, keepdim=True)
    assert torch.equal(recolored(images, Given(), ["hue"]), images)  # type: ignore[arg-type]
    torch.testing.assert_close(
        recolored(images, Given(1.5), ["saturation"]),  # type: ignore[arg-type]
        mean + 2**1.5 * (images - mean),
    )


def test_a_full_turn_of_hue_is_nothing_and_a_third_moves_the_channels() -> None:
    """The axis is that of gray: a third of a turn gives each channel's values to the next."""
    images = torch.randn(2, 3, 4, 5, dtype=F64)
    for angle, expected in ((2 * math.pi, images), (2 * math.pi / 3, images.roll(1, 1))):
        torch.testing.assert_close(recolored(images, Given(angle), ["hue"]), expected)  # type: ignore[arg-type]

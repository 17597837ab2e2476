"""Tests of the resolutions and widths of networks that halve the image."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError
from ganlib.models._resolutions import check_image_shape, check_widths, resolutions

lengths = st.integers(1, 300)


@given(lengths, lengths)
def test_sizes_are_halved_down_to_4(height, width):
    """Each size is half of the next, rounded up; the smaller side of the first is from 4 to 7, or that of the image."""
    sizes = resolutions(height, width)

    assert sizes[-1] == (height, width)
    for small, large in pairwise(sizes):
        assert small == ((large[0] + 1) // 2, (large[1] + 1) // 2)
    assert min(sizes[0]) in (range(4, 8) if len(sizes) > 1 else range(1, 8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (16, [4, 8, 16]),
        (28, [7, 14, 28]),
        (32, [4, 8, 16, 32]),
        (45, [6, 12, 23, 45]),
        (256, [4, 8, 16, 32, 64, 128, 256]),
    ],
)
def test_sizes_of_common_images(size, expected):
    """28 becomes 14 and 7; a power of 2 ends at 4."""
    assert expected == [height for height, _ in resolutions(size, size)]


def test_widths_have_a_default():
    """It is 32 at the highest resolution, and doubles up to 512; one number is that of all."""
    assert check_widths("widths", None, resolutions(28, 28)) == [128, 64, 32]
    assert check_widths("widths", None, resolutions(256, 256)) == [512, 512, 512, 256, 128, 64, 32]
    assert check_widths("widths", 48, resolutions(28, 28)) == [48, 48, 48]
    assert check_widths("widths", (3, 2, 1), resolutions(28, 28)) == [3, 2, 1]


@pytest.mark.parametrize("widths", [0, (64,), (64, 32, 16), (64, 0), (64, 1.5), "ab", 2.0, True])
def test_other_widths_are_refused(widths):
    """Another number of widths, and numbers that are none, are quoted, with the resolutions."""
    with pytest.raises(ArgumentValueError) as caught:
        check_widths("widths", widths, resolutions(28, 14))
    assert str(caught.value) == (
        f"widths (={widths!r}) must be a whole number of at least 1, or 2 of them, one for each resolution: 14x7, 28x14"
    )


@pytest.mark.parametrize(
    "image_shape", [28, (28, 28), (1, 28, 28, 28), (1, 0, 28), (1, 28, 2.5), (True, 28, 28), None, "128"]
)
def test_other_image_shapes_are_refused(image_shape):
    """An image has channels, a height and a width."""
    assert check_image_shape([1, 28, 20]) == (1, 28, 20)
    with pytest.raises(ArgumentValueError) as caught:
        check_image_shape(image_shape)
    assert f"image_shape (={image_shape!r}) must be (C, H, W)" in str(caught.value)

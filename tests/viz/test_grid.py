"""Tests of images laid out in rows."""

import math

import numpy
import pytest
import torch
from PIL import Image

from ganlib.errors import GanlibError
from ganlib.viz import image_grid

IMAGES = torch.zeros(3, 1, 8, 8)


def _pixels(image):
    return torch.from_numpy(numpy.array(image))


def test_every_pixel_is_at_its_place():
    """Five grey images of 2 x 3 in rows of 3, one pixel apart, are exactly this sheet."""
    samples = torch.arange(30.0).view(5, 1, 2, 3)
    expected = torch.tensor(
        [
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 1, 2, 0, 6, 7, 8, 0, 12, 13, 14, 0],
            [0, 3, 4, 5, 0, 9, 10, 11, 0, 15, 16, 17, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 18, 19, 20, 0, 24, 25, 26, 0, 0, 0, 0, 0],
            [0, 21, 22, 23, 0, 27, 28, 29, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ],
        dtype=torch.uint8,
    )
    image = image_grid(samples, columns=3, padding=1, sample_range=(0, 255))
    assert image.mode == "L"
    assert torch.equal(_pixels(image), expected)


@pytest.mark.parametrize("padding", [0, 3])
def test_colour_channels_stay_apart(padding):
    """Each cell of an RGB grid is its sample, channels last, at row * (height + padding)."""
    samples = torch.randint(0, 256, (6, 3, 4, 5)).float()
    image = image_grid(samples, columns=2, padding=padding, sample_range=(0, 255))
    assert (image.mode, image.size) == ("RGB", (2 * 5 + 3 * padding, 3 * 4 + 4 * padding))
    for index, sample in enumerate(samples):
        top, left = padding + index // 2 * (4 + padding), padding + index % 2 * (5 + padding)
        assert torch.equal(_pixels(image)[top : top + 4, left : left + 5], sample.permute(1, 2, 0).byte())


@pytest.mark.parametrize(
    ("value", "expected"), [(-1, 0), (1, 255), (0, 128), (-7, 0), (7, 255), (1 / 127.5 - 1, 1), (254 / 127.5 - 1, 254)]
)
def test_values_go_from_black_to_white_and_are_clipped(value, expected):
    """Value x in [-1, 1] becomes 127.5 (x + 1), rounded, and what lies beyond becomes black or white."""
    assert image_grid(torch.full((1, 1, 1, 1), float(value)), padding=0).getpixel((0, 0)) == expected


def test_uint8_makes_the_round_trip():
    """All 256 values scaled to [-1, 1] and drawn are what they were."""
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(_pixels(image_grid(values / 127.5 - 1, padding=0)), values[0, 0])


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 2), (9, 3), (10, 4), (100, 10)])
def test_the_grid_is_about_square_unless_told(n, columns):
    """Without ``columns`` a row has the root of N images, rounded up."""
    assert image_grid(torch.zeros(n, 1, 2, 2), padding=0).width == columns * 2


def test_samples_that_carry_gradients_or_half_precision_are_drawn():
    """Bfloat16 samples with a graph give the same image as plain float ones."""
    samples = torch.tensor([-1.0, 0.5, 1.0, 0.0]).view(1, 1, 2, 2)
    expected = image_grid(samples).tobytes()
    assert image_grid(samples.bfloat16().requires_grad_()).tobytes() == expected


@pytest.mark.parametrize(
    ("samples", "arguments", "builtin", "message"),
    [
        (torch.zeros(3, 28, 28), {}, ValueError, r"samples \(3, 28, 28\).*render="),
        (torch.zeros(3, 5, 8, 8), {}, ValueError, r"samples \(3, 5, 8, 8\).*render="),
        (torch.zeros(3, 8, 8, 3), {}, ValueError, r"samples \(3, 8, 8, 3\).*render="),
        (torch.zeros(3, 8), {}, ValueError, r"samples \(3, 8\).*render="),
        (torch.zeros(3), {}, ValueError, r"samples \(3,\).*render="),
        (torch.zeros(1, 1, 1, 1, 1, 1), {}, ValueError, r"samples \(1, 1, 1, 1, 1, 1\).*render="),
        (torch.zeros(()), {}, ValueError, r"samples \(\)"),
        (torch.zeros(0, 1, 8, 8), {}, ValueError, r"samples \(0, 1, 8, 8\)"),
        (torch.zeros(2, 1, 0, 8), {}, ValueError, r"samples \(2, 1, 0, 8\)"),
        (torch.zeros(0, 3), {"render": len}, ValueError, r"samples \(0, 3\)"),
        (IMAGES.numpy(), {}, TypeError, r"(?s)samples \(=array.* is a numpy\.ndarray: call torch\.from_numpy"),
        ([IMAGES], {}, TypeError, r"(?s)dense tensor, but is a list: call torch\.stack"),
        (IMAGES.to_sparse(), {}, TypeError, "must be a dense tensor"),
        (IMAGES.to("meta"), {}, TypeError, "must be a dense tensor"),
        (IMAGES.long(), {}, TypeError, "samples of torch.int64 need their sample_range"),
        (IMAGES.cfloat(), {}, TypeError, "torch.complex64"),
        (IMAGES / 0, {}, ValueError, "NaN"),
        (IMAGES, {"columns": 0}, ValueError, r"columns \(=0\)"),
        (IMAGES, {"columns": -1}, ValueError, r"columns \(=-1\)"),
        (IMAGES, {"columns": 2.0}, ValueError, r"columns \(=2.0\)"),
        (IMAGES, {"columns": True}, ValueError, r"columns \(=True\)"),
        (IMAGES, {"padding": -1}, ValueError, r"padding \(=-1\)"),
        (IMAGES, {"padding": 10**6}, ValueError, "more than 2"),
        (IMAGES, {"scale": 0}, ValueError, r"scale \(=0\)"),
        (IMAGES, {"scale": 1.5}, ValueError, r"scale \(=1.5\)"),
        (IMAGES, {"scale": 10**30}, ValueError, r"scale \(=10{30}\)"),
        (IMAGES, {"sample_range": (1, 1)}, ValueError, r"sample_range \(=\(1, 1\)\)"),
        (IMAGES, {"sample_range": (1, -1)}, ValueError, r"sample_range \(=\(1, -1\)\)"),
        (IMAGES, {"sample_range": (0, math.inf)}, ValueError, r"sample_range \(=\(0, inf\)\)"),
        (IMAGES, {"sample_range": (math.nan, 1)}, ValueError, r"sample_range \(=\(nan, 1\)\)"),
        (IMAGES, {"sample_range": (-1e308, 1e308)}, ValueError, "sample_range"),
        (IMAGES, {"sample_range": 1}, ValueError, r"sample_range \(=1\)"),
        (IMAGES, {"sample_range": (0, 1, 2)}, ValueError, r"sample_range \(=\(0, 1, 2\)\)"),
        (IMAGES, {"sample_range": None}, ValueError, r"sample_range \(=None\)"),
        (IMAGES, {"render": "L"}, TypeError, r"render \(='L'\)"),
        (IMAGES, {"render": lambda sample: sample}, TypeError, "must return a Pillow image, but gives tensor"),
        (IMAGES, {"render": lambda sample: 1 / 0}, ValueError, r"fails for sample 0 \(1, 8, 8\): ZeroDivisionError"),
        (IMAGES, {"render": lambda sample: Image.new("F", (1, 1))}, ValueError, r"gives F \(1, 1\)"),
        (IMAGES, {"render": lambda sample: Image.new("I;16", (1, 1))}, ValueError, r"gives I;16 \(1, 1\)"),
        (IMAGES, {"render": lambda sample: Image.new("L", (0, 1))}, ValueError, r"gives L \(0, 1\)"),
    ],
)
def test_bad_arguments_are_named(samples, arguments, builtin, message):
    """What cannot be drawn is an error of ours and the right built-in, with the shape or the value."""
    with pytest.raises(builtin, match=message) as caught:
        image_grid(samples, **arguments)
    assert isinstance(caught.value, GanlibError)


def test_no_more_columns_than_samples():
    """Two samples in at most 1,000 columns are two columns."""
    assert image_grid(IMAGES[:2], columns=1000, padding=0).size == (16, 8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_large_images_are_drawn_like_small_ones(channels, memory_format):
    """Each pixel of 200,000 and more is 127.5 (x + 1), rounded in double precision, in each layout in memory."""
    samples = (2.2 * torch.rand(2, channels, 331, 317) - 1.1).to(memory_format=memory_format)
    expected = (255 * ((samples.double() + 1) / 2).clamp(0, 1)).round().byte()
    image = image_grid(samples, padding=0, columns=1)
    assert torch.equal(_pixels(image).view(2, 331, 317, channels).movedim(-1, 1), expected)


def test_one_nan_among_many_values_is_found():
    """Also the last one of a million."""
    samples = torch.zeros(1, 1, 1000, 1000)
    samples[..., -1, -1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        image_grid(samples)


def test_a_change_of_the_image_leaves_the_samples():
    """The image has memory of its own, also of samples that are bytes already."""
    samples = torch.full((1, 1, 4, 4), 7, dtype=torch.uint8)
    image = image_grid(samples, padding=0)
    image.paste(255, (0, 0, 4, 4))
    assert samples.eq(7).all()

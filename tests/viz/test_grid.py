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
        (IMAGES.numpy(), {}, TypeError, r"samples \(=array"),
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


def _slow(samples, low, high, columns, padding, scale):
    """The pixels of a grid of images or volumes, (height, width, channels), one after the other, as Python numbers."""
    if samples.ndim == 5:
        samples = numpy.stack([_slow_slices(volume) for volume in samples])
        low, high = 0, 255
    n, channels, height, width = samples.shape
    rows = math.ceil(n / columns)
    shape = ((height + padding) * rows + padding, (width + padding) * columns + padding, channels)
    sheet = numpy.zeros(shape, numpy.uint8)
    if channels in (2, 4):
        sheet[..., -1] = 255
    for n, c, y, x in numpy.ndindex(samples.shape):
        share = (float(samples[n, c, y, x]) - low) / (high - low)
        row, column = padding + n // columns * (height + padding) + y, padding + n % columns * (width + padding) + x
        sheet[row, column, c] = round(255 * min(max(share, 0), 1))
    return numpy.array(
        [[sheet[y // scale, x // scale] for x in range(shape[1] * scale)] for y in range(shape[0] * scale)]
    )


def _slow_slices(volume, low=-1, high=1):
    """At most nine slices of a volume as one image (C, height, width), with a black pixel around each."""
    depth = volume.shape[1]
    count = min(9, depth)
    middles = [int((index + 0.5) * depth / count) for index in range(count)]
    slices = numpy.stack([volume[:, middle] for middle in middles])
    return _slow(slices, low, high, math.ceil(math.sqrt(count)), 1, 1).transpose(2, 0, 1)


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES += [torch.uint8, torch.bool, torch.int8, torch.int16, torch.int64]


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", range(1, 6))
@pytest.mark.parametrize("sides", [(), (3,), (2, 3), (4, 2, 3), (11, 1, 2), (1, 2, 1, 2)], ids=str)
def test_every_kind_of_samples_is_drawn_right_or_refused(sides, channels, dtype, scale):
    """The pixels are those of a slow renderer for all channels, dimensions, dtypes and scales, or it is our error."""
    samples = (3 * torch.randn(3, channels, *sides)).to(dtype)
    low, high = {torch.uint8: (0, 255), torch.bool: (0, 1)}.get(dtype, (-1, 1))
    drawn = (1 <= channels <= 4 and len(sides) in (2, 3)) or len(sides) == 1
    if not dtype.is_floating_point and dtype not in (torch.uint8, torch.bool):
        with pytest.raises(GanlibError):
            image_grid(samples, scale=scale)
        low, high = -2, 5
    if not drawn:
        with pytest.raises(GanlibError, match="render="):
            image_grid(samples, sample_range=(low, high), scale=scale)
        return
    image = image_grid(samples, sample_range=(low, high), columns=2, padding=1, scale=scale)
    if len(sides) == 1:
        assert (image.mode, image.size) == ("RGB", (scale * (2 * 161 + 1), scale * (2 * 81 + 1)))
        return
    if (low, high) != (-2, 5):
        assert image == image_grid(samples, columns=numpy.int64(2), padding=1, scale=numpy.uint8(scale))
    values = samples.double().numpy()
    if len(sides) == 3:
        values = numpy.stack([_slow_slices(volume, low, high) for volume in values]).astype(float)
        low, high = 0, 255
    expected = _slow(values, low, high, 2, 1, scale)
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    assert numpy.array_equal(numpy.array(image).reshape(expected.shape), expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 9), (2, 2, 3, 4, 5)])
def test_how_samples_lie_in_memory_is_the_same(shape):
    """Strided, expanded and flipped samples, and those with a graph, are drawn as plain ones, and stay as they are."""
    samples = torch.rand(shape)
    expected = image_grid(samples).tobytes()
    for other in (
        samples.mT.contiguous().mT,
        torch.cat([samples] * 2, 1)[:, : shape[1]],
        samples.clone().requires_grad_(),
    ):
        before = other.detach().clone()
        assert image_grid(other).tobytes() == expected
        assert torch.equal(other, before)
    assert (
        image_grid(samples[:1].expand(shape)).tobytes()
        == image_grid(samples[:1].repeat(2, *[1] * len(shape[1:]))).tobytes()
    )


def test_infinite_values_are_clipped():
    """Infinity is white, and minus infinity black."""
    samples = torch.tensor([-math.inf, math.inf]).view(1, 1, 1, 2)
    assert _pixels(image_grid(samples, padding=0)).tolist() == [[0, 255]]


def test_no_more_columns_than_samples():
    """Two samples in at most 1,000 columns are two columns."""
    assert image_grid(IMAGES[:2], columns=1000, padding=0).size == (16, 8)


def _curve(image, color, most=230):
    """The mean row of the pixels of about a color in each column of a plot."""
    near = numpy.abs(numpy.array(image).astype(int) - color).sum(2) < most
    return numpy.array([numpy.flatnonzero(column).mean() if column.any() else numpy.nan for column in near.T])


@pytest.mark.parametrize("length", [2, 5, 128, 16_000])
def test_a_signal_is_a_plot_whose_axis_is_the_range(length):
    """A line from low to high rises over the whole plot; another channel is another line; both have the same axis."""
    rise = torch.linspace(-3, 5, length)
    image = image_grid(torch.stack([rise, torch.full_like(rise, -1.0)])[None], sample_range=(-3, 5), padding=0)
    assert image.size == (160, 80)
    blue, orange = _curve(image, (31, 119, 180)), _curve(image, (255, 127, 14))
    height = lambda value: 76.5 - (value + 3) / 8 * 73.5  # noqa: E731  # without the margins
    assert numpy.nanmax(numpy.abs(blue - height(numpy.linspace(-3, 5, 160)))) < 1.5
    assert numpy.nanmax(numpy.abs(orange - height(-1))) < 1.5
    assert numpy.isfinite(blue).mean() > 0.9
    assert abs(numpy.nanmedian(_curve(image, (211, 211, 211), 80)) - height(0)) < 1.5


def test_all_signals_share_an_axis():
    """A sample with small values stays flat next to one with large values; a signal of one value is a level line."""
    small, large = (image_grid(torch.full((1, 1, 1), value), padding=0) for value in (0.1, 0.9))
    blue = (31, 119, 180)
    assert numpy.nanmean(_curve(small, blue)) - numpy.nanmean(_curve(large, blue)) == pytest.approx(0.4 * 73.5, abs=1)
    assert numpy.isfinite(_curve(large, blue)).all()


@pytest.mark.parametrize("shape", [(4,), (4, 7), (4, 9, 2, 2), (4, 1, 2, 2, 2, 2)])
def test_what_cannot_be_drawn_is_drawn_by_a_function(shape):
    """It gets each sample without a graph, and cannot change it; the grid is that of its images."""
    samples, seen = torch.rand(shape, requires_grad=True), []
    before = samples.detach().clone()

    def render(sample):
        seen.append(sample.clone())
        assert not sample.requires_grad
        sample.zero_()
        return Image.new("L", (3, 2), 50 * len(seen))

    image = image_grid(samples, render=render, columns=2, padding=1)
    assert torch.equal(torch.stack(seen), before)
    assert torch.equal(samples, before)
    expected = torch.tensor([50, 100, 150, 200]).view(4, 1, 1, 1).expand(4, 1, 2, 3)
    assert image == image_grid(expected, sample_range=(0, 255), columns=2, padding=1)


@pytest.mark.parametrize(
    ("modes", "mode"),
    [(["L", "1"], "L"), (["L", "RGB"], "RGB"), (["P", "L"], "RGB"), (["LA", "1"], "LA"), (["LA", "RGB"], "RGBA"),
     (["P", "PA"], "RGBA"), (["RGB", "RGBA"], "RGBA")],
)  # fmt: skip
def test_images_of_a_function_may_differ(modes, mode):
    """They get one mode that holds them all, and the size of the largest, with black where they are smaller."""
    sizes = iter([(3, 2), (1, 4)])
    kinds = iter(modes)

    def render(_):
        kind = next(kinds)
        return Image.new("RGBA" if "A" in kind else "RGB", next(sizes), "white").convert(kind)

    image = image_grid(torch.zeros(2, 1), padding=0, render=render)
    assert (image.mode, image.size) == (mode, (6, 4))
    lit = numpy.array(image.convert("RGB"))[..., 0] == 255
    expected = numpy.zeros((4, 6), bool)
    expected[:2, :3] = expected[:, 3] = True
    assert numpy.array_equal(lit, expected)
    assert set(image.convert("RGBA").getchannel("A").tobytes()) == {255}

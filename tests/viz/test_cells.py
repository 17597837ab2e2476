"""Tests of what is drawn of each sample."""

import math

import numpy
import pytest
import torch
from PIL import Image

from ganlib.errors import GanlibError
from ganlib.viz import image_grid


def _pixels(image):
    return torch.from_numpy(numpy.array(image))


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

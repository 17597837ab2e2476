"""Tests of bilinear resampling, by its published form: zeros between the pixels, and one filter."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.stacks import BilinearDownsample, BilinearUpsample
from tests import strategies

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def resampled(x, up):
    """X after the published steps, in each dimension: zeros are inserted or pixels left out, around the filter."""
    ones = torch.ones(2, dtype=x.dtype)
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype)
    kernel = F.conv1d(taps.view(1, 1, 3), ones.view(1, 1, 2), padding=1).flatten()  # 1, 3, 3, 1
    kernel = kernel / kernel.sum()
    for axis in range(2, x.ndim):
        columns = x.movedim(axis, -1)
        if up:
            columns = torch.stack([columns, torch.zeros_like(columns)], -1).flatten(-2)
        elif columns.shape[-1] % 2:
            columns = F.pad(columns, (0, 1))
        left, right = (2, 1) if up else (1, 1)
        windows = F.pad(columns, (left, right)).unfold(-1, 4, 1 if up else 2)
        x = (windows * (2 * kernel if up else kernel)).sum(-1).movedim(-1, axis)
    return x


def random(*shape, seed):
    """A tensor in float64."""
    return torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sizes, strategies.seeds)
def test_downsampling_is_its_published_form(spatial, seed):
    """It filters with zeros around the map, and keeps every second pixel, in 1 to 3 dimensions and any size."""
    x = random(*spatial, seed=seed)
    actual = BilinearDownsample(spatial_dims=len(spatial))(x)

    assert tuple(-(-size // 2) for size in spatial) == actual.shape[2:]
    torch.testing.assert_close(actual, resampled(x, up=False))


@given(sizes, strategies.seeds, st.data())
def test_upsampling_is_its_published_form(spatial, seed, data):
    """It inserts zeros and filters; where the larger size is odd, the last row is cropped."""
    x = random(*spatial, seed=seed)
    odd = [data.draw(st.booleans()) for _ in spatial]
    size = [2 * length - one for length, one in zip(spatial, odd, strict=True)]
    expected = resampled(x, up=True)

    torch.testing.assert_close(BilinearUpsample(spatial_dims=len(spatial))(x), expected)
    for axis, length in enumerate(size, start=2):
        expected = expected.narrow(axis, 0, length)
    torch.testing.assert_close(BilinearUpsample(size, spatial_dims=len(spatial))(x), expected)


@given(st.integers(2, 9), st.integers(2, 9), strategies.seeds)
def test_inside_it_is_bilinear_interpolation(height, width, seed):
    """Away from the border it is what torch interpolates."""
    x = random(height, width, seed=seed)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")

    torch.testing.assert_close(BilinearUpsample()(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@given(st.integers(1, 9), st.integers(1, 9), strategies.seeds)
def test_one_is_the_transpose_of_the_other(height, width, seed):
    """The inner products of maps agree, up to a factor of 2 in each dimension."""
    large = random(height, width, seed=seed)
    small = random(-(-height // 2), -(-width // 2), seed=seed + 1)

    expected = (BilinearDownsample()(large) * small).sum()
    torch.testing.assert_close((large * BilinearUpsample((height, width))(small)).sum() / 4, expected)


@pytest.mark.parametrize("resample", [BilinearDownsample(), BilinearUpsample(), BilinearUpsample((10, 14))])
def test_gradients_of_any_order(resample):
    """First and second derivatives are those of finite differences."""
    x = random(5, 7, seed=0).requires_grad_()

    assert torch.autograd.gradcheck(lambda x: resample(x).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: resample(x).square(), x)


def _format(x):
    """The memory format of a tensor."""
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


@pytest.mark.parametrize("resample", [BilinearDownsample(), BilinearUpsample()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_and_the_memory_do_not_matter(resample, dtype):
    """The filter is exact in any dtype, and the channels may be the last in memory."""
    x = torch.randint(-2, 3, (2, 3, 6, 7)).to(dtype)  # few enough bits that no sum is rounded
    expected = resample(x.double())

    for given_x in (x, x.to(memory_format=torch.channels_last)):
        actual = resample(given_x)
        assert actual.dtype == dtype
        assert torch.equal(expected, actual.double())
        assert actual.stride()[1:] == torch.empty_like(actual, memory_format=_format(given_x)).stride()[1:]


def test_wrong_arguments_are_named():
    """Numbers of dimensions and sizes that do not fit are quoted."""
    with pytest.raises(ArgumentValueError, match=r"size \(=\(4, 0\)\) must be a whole number of at least 1, or 2 of"):
        BilinearUpsample((4, 0))
    with pytest.raises(ShapeError, match=r"x \(2, 3, 4, 4\) must have half of each size \(=\(8, 9\)\), rounded up"):
        BilinearUpsample((8, 9))(torch.zeros(2, 3, 4, 4))
    for resample in (BilinearDownsample(), BilinearUpsample()):
        with pytest.raises(ShapeError, match=r"x \(2, 3, 4\) must have shape \(N, C, \*spatial\) with 2 spatial"):
            resample(torch.zeros(2, 3, 4))
        with pytest.raises(ArgumentTypeError, match="x must be a tensor, but it is a list"):
            resample([1.0])
        with pytest.raises(DTypeError, match="x must be floating point, but its dtype is torch.int64"):
            resample(torch.full((1, 1, 4, 4), 100))

"""Tests of images read where affine maps take their pixels, against loops over pixels in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.augment._resampling import copied, resampled
from ganlib.augment._wavelet import filter_taps
from tests.augment import dense

F64 = torch.float64
TAPS = filter_taps().to(F64).sum(0)
shapes = pytest.mark.parametrize("shape", [(8, 8), (5, 9), (12, 7)], ids=str)


def maps(n: int, spread: float, seed: int = 0) -> Tensor:
    """Random affine maps about the identity, in float64."""
    random = torch.Generator().manual_seed(seed)
    made = torch.eye(3, dtype=F64) + spread * torch.randn(n, 3, 3, generator=random, dtype=F64)
    made[:, :2, 2] *= 8
    made[:, 2] = torch.tensor([0.0, 0.0, 1.0])
    return made


def turn(degrees: float) -> Tensor:
    """The map of a rotation."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]], dtype=F64)


def by(x: float, y: float) -> Tensor:
    """The map of positions to those so many pixels further."""
    return torch.tensor([[[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]]], dtype=F64)


@shapes
@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0])
def test_it_is_the_papers_resampling(shape: tuple[int, int], spread: float) -> None:
    """Zeros inserted, the filter slid along, bilinear interpolation, and the filter again, one pixel at a time.

    Maps may lead far out of the image, where it is reflected as often as needed.
    """
    images = torch.randn(4, 2, *shape, dtype=F64)
    affine = maps(4, spread)
    actual = resampled(images, affine, TAPS)
    for image, matrix, made in zip(images, affine, actual, strict=True):
        for channel, one in zip(image.numpy(), made.numpy(), strict=True):
            np.testing.assert_allclose(one, dense.resampled(channel, matrix.numpy()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (8, 8), (9, 14), (32, 28), (64, 64)], ids=str)
@pytest.mark.parametrize(("dtype", "error"), [(F64, 1e-10), (torch.float32, 1e-4)])
def test_the_identity_returns_the_images(shape: tuple[int, int], dtype: torch.dtype, error: float) -> None:
    """The filter is orthogonal, so twice the resolution and back is the image, to float error."""
    images = torch.randn(3, 2, *shape, dtype=dtype)
    identity = torch.eye(3, dtype=dtype).expand(3, 3, 3)
    torch.testing.assert_close(resampled(images, identity, TAPS.to(dtype)), images, rtol=0, atol=error)
    assert torch.equal(copied(images, identity), images)


@shapes
@pytest.mark.parametrize(("x", "y"), [(1, 0), (-2, 3), (11, -30)])
def test_whole_pixels_are_moved_with_reflection(shape: tuple[int, int], x: int, y: int) -> None:
    """Both ways of reading shift by whole pixels, and bring in the reflected image."""
    images = torch.randn(2, 3, *shape, dtype=F64)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (40, 40), (40, 40)), mode="reflect")
    expected = torch.from_numpy(padded)[:, :, 40 + y :, 40 + x :][:, :, : shape[0], : shape[1]]
    affine = by(x, y).expand(2, 3, 3)
    assert torch.equal(copied(images, affine), expected)
    torch.testing.assert_close(resampled(images, affine, TAPS), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [4, 7, 8])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarters_of_a_turn_are_exact(size: int, quarters: int) -> None:
    """Copied, a square image is that of torch.rot90, to the bit."""
    images = torch.randn(2, 3, size, size, dtype=F64)
    affine = turn(90 * quarters).expand(2, 3, 3)
    expected = images.rot90(quarters, (2, 3))
    assert torch.equal(copied(images, affine), expected)


def test_half_a_turn_and_back_of_any_shape() -> None:
    """Half a turn keeps every shape; a quarter of an oblong image, also with an odd and an even side, is centered."""
    images = torch.randn(2, 3, 6, 9, dtype=F64)
    assert torch.equal(copied(images, turn(180).expand(2, 3, 3)), images.flip((2, 3)))
    for width in (8, 9):
        lines = torch.arange(float(width)).expand(1, 1, 6, width)
        turned = copied(lines, turn(90).float())
        low = (width - 6) // 2
        column = turned[0, 0, :, 0].tolist()
        assert column in ([*range(low + 5, low - 1, -1)], [*range(low, low + 6)])
        assert torch.equal(turned, turned[..., :1].expand_as(turned))


@pytest.mark.parametrize("read", [copied, lambda images, affine: resampled(images, affine, TAPS)])
def test_derivatives_of_the_first_and_the_second_order(read) -> None:
    """Gradcheck and gradgradcheck in float64."""
    images = torch.randn(2, 1, 5, 4, dtype=F64, requires_grad=True)
    affine = maps(2, 0.3)
    assert torch.autograd.gradcheck(lambda x: read(x, affine), images)
    assert torch.autograd.gradgradcheck(lambda x: read(x, affine).pow(2), images)


@pytest.mark.parametrize("read", [copied, lambda images, affine: resampled(images, affine, TAPS)])
def test_the_gradient_is_the_adjoint(read) -> None:
    """It is linear: <y, A x> = <A^t y, x>, also where algorithms must be deterministic."""
    images = torch.randn(3, 2, 6, 8, dtype=F64, requires_grad=True)
    affine, other = maps(3, 0.5), torch.randn(3, 2, 6, 8, dtype=F64)
    made = read(images, affine)
    (adjoint,) = torch.autograd.grad(made, images, other)
    torch.testing.assert_close((made * other).sum(), (adjoint * images).sum())


def test_a_constant_image_stays_constant() -> None:
    """The filter's sum is kept, and nothing of another value comes in from outside."""
    for affine in (maps(5, 0.3), maps(5, 2.0)):
        made = resampled(torch.full((5, 1, 9, 8), 0.7, dtype=F64), affine, TAPS)
        torch.testing.assert_close(made, torch.full_like(made, 0.7), rtol=0, atol=1e-10)

"""Tests of the matrices that double and halve the resolution, against zeros inserted and a filter slid along."""

import numpy as np
import pytest
import torch

from ganlib.augment import _wavelet
from tests.augment.dense import SYM6, downsampled, upsampled

F64 = torch.float64
TAPS = _wavelet.filter_taps().to(F64).sum(0)
sizes = pytest.mark.parametrize("size", [1, 2, 3, 8, 28, 33])


def test_the_filter_is_orthogonal() -> None:
    """It is orthogonal to itself moved by an even number of taps, and its sum is the root of 2."""
    for move in range(6):
        assert TAPS[: 12 - 2 * move].dot(TAPS[2 * move :]).item() == pytest.approx(float(move == 0), abs=1e-11)
    assert TAPS.sum().item() == pytest.approx(2**0.5, abs=1e-14)
    np.testing.assert_allclose(TAPS.numpy(), SYM6, rtol=0, atol=1e-15)


def test_it_has_six_vanishing_moments() -> None:
    """The highpass filter that belongs to it is orthogonal to polynomials up to the fifth degree: it is sym6."""
    high = TAPS.numpy() * (-1.0) ** np.arange(12)
    for degree in range(6):
        assert np.dot(high, (np.arange(12) - 5.5) ** degree) == pytest.approx(0, abs=1e-7)


@sizes
def test_an_index_is_reflected_as_numpy_does(size: int) -> None:
    """Indices from far below to far above the signal are those of numpy's reflection."""
    index = torch.arange(-3 * size - 4, 4 * size + 4)
    before, after = 3 * size + 4, 3 * size + 4
    expected = np.pad(np.arange(size), (before, after), mode="reflect")[: len(index)]
    assert _wavelet.reflected(index, size).tolist() == expected.tolist()
    assert _wavelet.reflected(index.to(F64), size).tolist() == expected.tolist()


@sizes
def test_upsampling_is_a_filter_on_zeros_inserted(size: int) -> None:
    """One period of the reflected signal at twice the resolution, and its first value again."""
    signal = np.random.default_rng(0).normal(size=size)
    actual = _wavelet.upsampling(size, TAPS) @ torch.from_numpy(signal)
    expected, zero = upsampled(signal)
    period = 2 * max(2 * size - 2, 1)
    np.testing.assert_allclose(actual, expected[zero : zero + period + 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(expected[zero - period : zero], expected[zero : zero + period], rtol=0, atol=1e-12)


@sizes
def test_downsampling_is_a_filter_at_every_second_value(size: int) -> None:
    """Each value is the filter times the values around it."""
    signal = np.random.default_rng(0).normal(size=2 * size + 10)
    actual = _wavelet.downsampling(size, TAPS) @ torch.from_numpy(signal)
    np.testing.assert_allclose(actual, downsampled(signal), rtol=0, atol=1e-12)


@sizes
def test_down_undoes_up(size: int) -> None:
    """Twice the resolution and back is the signal, to the precision of the filter's digits."""
    up = _wavelet.upsampling(size, TAPS)
    around = (torch.arange(2 * size + 10) - 5).remainder(len(up) - 1)
    identity = _wavelet.downsampling(size, TAPS) @ up[around]
    torch.testing.assert_close(identity, torch.eye(size, dtype=F64), rtol=0, atol=1e-11)

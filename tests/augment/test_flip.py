"""Tests of mirroring left and right."""

import pytest
import torch

from ganlib.augment import RandomHorizontalFlip
from ganlib.errors import GanlibError


@pytest.mark.parametrize("shape", [(5, 2, 4), (5, 2, 3, 4), (5, 2, 3, 3, 4)])
def test_probability_one_mirrors_and_zero_leaves(shape):
    """P = 1 reverses the last dimension of every sample, p = 0 changes nothing, in one to three dimensions."""
    samples = torch.randn(shape)
    assert torch.equal(RandomHorizontalFlip(1.0)(samples), samples.flip(-1))
    assert torch.equal(RandomHorizontalFlip(0.0)(samples), samples)


def test_each_sample_is_flipped_whole_or_not_at_all_by_its_own_draw():
    """With p = 0.3, 30 % of 10,000 samples come mirrored (4 standard deviations: 1.9 %), and all others untouched."""
    samples = torch.randn(10_000, 2, 1, 3)
    flipped = RandomHorizontalFlip(0.3)(samples, torch.Generator().manual_seed(0))
    mirrored = (flipped == samples.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == samples).flatten(1).all(1)).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.019)


def test_the_generator_decides_alone():
    """The same generator state gives the same flips, and torch's own random state is not touched."""
    samples, before = torch.randn(64, 1, 2, 2), torch.get_rng_state()
    first, second = (RandomHorizontalFlip()(samples, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_torchs_own_is_used():
    """After the same manual_seed the same samples are flipped."""
    samples, flip = torch.randn(64, 1, 2, 2), RandomHorizontalFlip()
    torch.manual_seed(3)
    first = flip(samples)
    torch.manual_seed(3)
    assert torch.equal(flip(samples), first)


def test_gradients_flow_through_the_flip():
    """The gradient of <w, flip(x)> is w mirrored."""
    samples, weight = torch.randn(2, 1, 3, 4, requires_grad=True), torch.randn(2, 1, 3, 4)
    (RandomHorizontalFlip(1.0)(samples) * weight).sum().backward()
    assert torch.equal(samples.grad, weight.flip(-1))


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_a_probability_out_of_range_is_named(p):
    """P outside [0, 1] is a ValueError of ours with its value."""
    with pytest.raises(ValueError, match=rf"p \(={p}\)") as caught:
        RandomHorizontalFlip(p)
    assert isinstance(caught.value, GanlibError)


def test_samples_without_spatial_dimensions_are_refused():
    """(N, D) is a ValueError of ours that names the shape."""
    with pytest.raises(ValueError, match=r"samples \(4, 2\)") as caught:
        RandomHorizontalFlip()(torch.zeros(4, 2))
    assert isinstance(caught.value, GanlibError)


def test_repr_shows_the_argument():
    """Repr can be read back."""
    assert repr(RandomHorizontalFlip(0.25)) == "RandomHorizontalFlip(p=0.25)"

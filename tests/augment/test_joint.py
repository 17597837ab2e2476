"""Tests of transforming samples and maps alike."""

import pytest
import torch

from ganlib import augment
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError


@pytest.mark.parametrize(
    "transform",
    [augment.RandomHorizontalFlip(), augment.RandomRotation(40), augment.AdaptiveAugment("blit,geometric", p=0.8)],
)
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_it_is_the_transform_with_the_same_random_numbers_twice(transform, channels, dtype):
    """Samples and maps are what the transform makes of each with the same generator, in their own dtypes."""
    samples, maps = torch.randn(16, 3, 6, 6).to(dtype), torch.randn(16, channels, 6, 6)
    joint = augment.Joint(transform)(samples, maps, torch.Generator().manual_seed(1))
    for made, given in zip(joint, (samples, maps), strict=True):
        wide = torch.promote_types(dtype, torch.float32)
        expected = transform(given.to(wide), torch.Generator().manual_seed(1)).to(given.dtype)
        assert made.dtype == given.dtype
        torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("shape", [(4, 2, 5), (4, 2, 5, 6), (4, 2, 3, 4, 5)])
def test_any_number_of_spatial_dimensions(shape):
    """Signals, images and volumes are flipped with their maps, and what was given stays as it was."""
    samples = torch.randn(shape)
    maps, kept = samples[:, :1].clone(), samples.clone()
    made, moved = augment.Joint(augment.RandomHorizontalFlip(1.0))(samples, maps)
    assert torch.equal(made, samples.flip(-1))
    assert torch.equal(moved, maps.flip(-1))
    assert torch.equal(samples, kept)


@pytest.mark.parametrize(
    "maps", [torch.zeros(4), torch.zeros(4, 3), torch.zeros(4, 1, 8, 4), torch.zeros(3, 1, 8, 8), torch.zeros(4, 8, 8)]
)
def test_what_are_no_maps_of_the_same_size_is_refused(maps):
    """Labels, vectors, another size and another number are a ShapeError with both shapes."""
    with pytest.raises(ShapeError, match=r"condition \(.*samples \(4, 3, 8, 8\)"):
        augment.Joint(augment.RandomHorizontalFlip())(torch.zeros(4, 3, 8, 8), maps)


def test_a_condition_that_is_no_tensor_is_refused():
    """A dict of conditions is an ArgumentTypeError."""
    with pytest.raises(ArgumentTypeError, match="condition must be a tensor, but it is a dict"):
        augment.Joint(augment.RandomHorizontalFlip())(torch.zeros(4, 3, 8, 8), {})


def test_what_is_not_geometric_is_refused():
    """Colors, a class, and a transform that changes the shape or returns something else are errors of ours."""
    with pytest.raises(ArgumentValueError, match="colors"):
        augment.Joint(augment.DiffAugment())
    augment.Joint(augment.DiffAugment("translation"))
    for policy in ("blit,geometric,color", "flip,brightness"):
        with pytest.raises(ArgumentValueError, match="AdaptiveAugment.*changes colors"):
            augment.Joint(augment.AdaptiveAugment(policy))
    with pytest.raises(ArgumentTypeError, match="not a class"):
        augment.Joint(augment.RandomHorizontalFlip)
    images = torch.zeros(4, 3, 8, 8)
    for transform in (lambda x, g: x[..., :4], lambda x, g: (x, g)):
        with pytest.raises(ShapeError, match="keep the shape"):
            augment.Joint(transform)(images, images)

"""A contract of all augmentations: right for any float samples, or an error of ours."""

import numpy as np
import pytest
import torch

from ganlib import augment
from ganlib.errors import GanlibError

AUGMENTATIONS = {
    "adaptive": augment.AdaptiveAugment(p=0.7),
    "adaptive, blit": augment.AdaptiveAugment("blit", p=0.7),
    "flip": augment.RandomHorizontalFlip(),
    "rotation": augment.RandomRotation(25),
    "nearest": augment.RandomRotation(25, interpolation="nearest"),
    "color": augment.DiffAugment("color"),
    "translation": augment.DiffAugment("translation"),
    "cutout": augment.DiffAugment("cutout"),
    "joint": lambda samples, generator: augment.Joint(augment.RandomHorizontalFlip())(samples, samples, generator)[0],
}
every = pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
SHAPES = [
    (0, 1, 4, 4),
    (1, 1, 4, 4),
    (3, 3, 5, 7),
    (2, 0, 4, 4),
    (2, 1, 0, 4),
    (2, 1, 1, 1),
    (2, 3, 8),
    (2, 1, 3, 4, 5),
    (4, 2),
    (4,),
    (),
]


@every
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.bool]
)
def test_samples_of_any_shape_and_dtype(augmentation, shape, dtype):
    """They are those of float32, rounded, in the given dtype, and what was given stays; or it is an error of ours."""
    samples = torch.randn(shape).to(dtype)
    before = samples.clone()
    try:
        made = augmentation(samples, torch.Generator().manual_seed(0))
    except GanlibError:
        assert not dtype.is_floating_point or len(shape) != 4 or 0 in shape[2:]
    else:
        assert (made.shape, made.dtype) == (samples.shape, dtype)
        if dtype in (torch.float16, torch.bfloat16):
            exact = augmentation(samples.float(), torch.Generator().manual_seed(0))
            assert torch.equal(made, exact.to(dtype))
    assert torch.equal(samples, before)


@every
@pytest.mark.parametrize(
    "given", [None, [1.0], "image", np.zeros((2, 1, 4, 4))], ids=lambda given: type(given).__name__
)
def test_what_is_no_tensor_is_named(augmentation, given):
    """It is a TypeError of ours with its type, not an AttributeError."""
    with pytest.raises(TypeError, match=f"samples must be a tensor, but it is a {type(given).__name__}") as caught:
        augmentation(given, None)
    assert isinstance(caught.value, GanlibError)


def test_large_values_of_half_precision_are_flipped_exactly():
    """A difference that half precision cannot hold makes no NaN."""
    samples = torch.tensor([[[60000.0, -60000.0]]] * 8, dtype=torch.float16)
    flipped = augment.RandomHorizontalFlip()(samples)
    assert torch.equal(flipped.abs(), samples.abs())


@pytest.mark.parametrize(
    "make",
    [
        augment.RandomRotation,
        augment.RandomHorizontalFlip,
        augment.DiffAugment,
        augment.AdaptiveAugment,
        lambda value: augment.AdaptiveAugment(p=value),
        lambda value: augment.RandomRotation(5, fill=value),
        lambda value: augment.DiffAugment(fill=value),
        lambda value: augment.RandomRotation(5, interpolation=value),
    ],
)
@pytest.mark.parametrize("value", ["25", None, [3], torch.tensor([1, 2]), 2j, float("nan")], ids=repr)
def test_arguments_that_cannot_be_are_errors_of_ours(make, value):
    """Text, None, lists, tensors and complex numbers are named, not compared."""
    with pytest.raises(GanlibError):
        make(value)

"""What a generator is called with, found in its layers."""

import pytest
import torch
from torch import nn

from ganlib.conditioning import (
    ClassEmbedding,
    ConcatLatent,
    ConditionalBatchNorm,
    Maps,
    OneHot,
    TagEmbedding,
    Unconditional,
)
from ganlib.models._example_inputs import example_condition, latent_shape
from ganlib.stacks import ConvTransposeStack, LinearStack, PixelNorm, UNet
from tests.models.cases import FLAT, GENERATORS


@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_found_fits(name):
    """A generator of any recipe takes the latents and conditions that are found for it."""
    make, condition, _ = GENERATORS[name]
    generator = make().eval()
    found = example_condition(generator, 4)

    assert latent_shape(generator) == (6,)
    assert (found is None) == (condition is None or isinstance(generator, Unconditional))
    if found is not None:
        assert (found.dtype, found.shape[1:]) == (condition.dtype, condition.shape[1:])
    assert len(generator(torch.randn(4, 6), *[] if found is None else [found])) == 4


@pytest.mark.parametrize(
    ("generator", "shape"),
    [
        (nn.Sequential(PixelNorm(), nn.Linear(7, 2)), (7,)),
        (nn.Sequential(nn.Unflatten(1, (4, 1, 2)), nn.Conv2d(4, 1, 1)), (8,)),
        (nn.Sequential(nn.Flatten(), LinearStack([5, 2])), (5,)),
        (UNet(FLAT), (1, 8, 8)),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), None),
        (nn.Sequential(nn.ReLU()), None),
        (nn.Conv2d(1, 1, 1), None),
        (ConcatLatent(nn.Conv2d(3, 1, 1), Maps(1)), None),
        (ConcatLatent(ConvTransposeStack(FLAT), OneHot(8)), None),
    ],
)
def test_latents(generator, shape):
    """The first layer with weights says the shape; where it does not, nothing is found."""
    assert latent_shape(generator) == shape


def test_encoders_that_differ():
    """Where two encoders take different conditions, none is found; where they take the same one, it is."""

    def norm(encoder):
        return LinearStack([4, 5, 2], norm=lambda n: ConditionalBatchNorm(n, encoder, spatial_dims=0))

    assert example_condition(nn.Sequential(norm(OneHot(3)), norm(TagEmbedding(3, 2))), 2) is None
    assert example_condition(nn.Sequential(norm(OneHot(3)), norm(OneHot(4))), 2) is None
    assert example_condition(nn.Sequential(norm(OneHot(3)), norm(ClassEmbedding(3, 2))), 2).dtype == torch.int64

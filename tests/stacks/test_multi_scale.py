"""Tests of discriminators at several scales."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConcatChannels, Maps, OneHot, Projection
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import MultiScaleDiscriminator, PatchDiscriminator
from tests import strategies
from tests.strategies import Recorder


class Fixed(nn.Module):
    """Gives what it was made with."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, sample):
        """Give it."""
        return self.output


@given(strategies.spatial_dims, st.integers(1, 3), st.integers(1, 3), st.data())
def test_each_discriminator_sees_the_sample_pooled_once_more(dims, count, pooling, data):
    """The i-th one sees the means of blocks of pooling^i pixels along each dimension."""
    blocks = data.draw(st.lists(st.integers(1, 2), min_size=dims, max_size=dims))
    coarsest = pooling ** (count - 1)
    x = data.draw(strategies.normals((2, 3, *(n * coarsest for n in blocks)), torch.float64))

    seen = MultiScaleDiscriminator([Recorder() for _ in range(count)], pooling=pooling)(x)

    assert len(seen) == count
    for index, sample in enumerate(seen):
        means = x
        for dim in range(2, 2 + dims):
            means = means.unflatten(dim, (-1, pooling**index)).mean(dim + 1)
        assert torch.allclose(means, sample)


def test_what_is_over_is_left_out():
    """Where the pooling does not divide a size, the last pixels are left out, as torch does."""
    x = torch.arange(5.0).view(1, 1, 5)

    fine, coarse = MultiScaleDiscriminator([Recorder(), Recorder()])(x)

    assert torch.equal(x, fine)
    assert torch.equal(torch.tensor([[[0.5, 2.5]]]), coarse)


def test_the_condition_reaches_every_discriminator():
    """Each is called with (sample, condition), and with the sample alone where the condition is None."""
    recorders = [Recorder(), Recorder()]
    discriminator, x, condition = MultiScaleDiscriminator(recorders), torch.randn(2, 1, 4, 4), torch.tensor([0, 1])

    discriminator(x)
    discriminator(x, condition)

    for recorder in recorders:
        alone, with_condition = recorder.calls
        assert len(alone) == 1
        assert with_condition[1] is condition


def test_any_discriminator_can_take_part():
    """A patch discriminator, a user's own that gives a vector, and a projection work together."""
    own = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    x = torch.randn(2, 3, 16, 16)

    patches, vector = MultiScaleDiscriminator([PatchDiscriminator(3, channels=2, layers=1), own])(x)
    projections = MultiScaleDiscriminator([Projection(backbone, OneHot(2), 5)] * 2)(x, torch.tensor([0, 1]))

    assert patches.shape == (2, 1, 6, 6)
    assert vector.shape == (2, 1)
    assert [tuple(logits.shape) for logits in projections] == [(2, 1), (2, 1)]


def test_tuples_and_features_are_joined():
    """Logits that are tuples become part of the one tuple, and features are joined from fine to coarse."""
    a, b, c, d, e = (torch.full((2, 1), float(n)) for n in range(5))
    outputs = [(a, b), DiscriminatorOutput(c, features=(d,)), DiscriminatorOutput((a, c), features=(e, b))]

    bare = MultiScaleDiscriminator([Fixed(outputs[0]), Fixed(e)])(torch.zeros(2, 1, 8))
    output = MultiScaleDiscriminator(map(Fixed, outputs))(torch.zeros(2, 1, 8))

    assert list(map(id, (a, b, e))) == list(map(id, bare))
    assert isinstance(output, DiscriminatorOutput)
    assert list(map(id, (a, b, c, a, c))) == list(map(id, output.logits))
    assert list(map(id, (d, e, b))) == list(map(id, output.features))


def test_patches_give_the_features_of_all_scales():
    """Two discriminators of patches with features give both their logits and activations."""
    members = [PatchDiscriminator(1, channels=2, layers=1, features=True) for _ in range(2)]
    x = torch.randn(2, 1, 16, 16)

    output = MultiScaleDiscriminator(members).eval()(x)
    fine, coarse = members[0](x), members[1](nn.functional.avg_pool2d(x, 2))

    assert all(map(torch.equal, (fine.logits, coarse.logits), output.logits))
    assert all(map(torch.equal, (*fine.features, *coarse.features), output.features))
    assert len(output.features) == 4


def test_maps_are_pooled_together_with_the_sample():
    """With ConcatChannels around it, every scale sees sample and map at its own size."""
    recorders = [Recorder(), Recorder()]
    discriminator = ConcatChannels(MultiScaleDiscriminator(recorders), Maps(2))
    x, maps = torch.randn(1, 1, 4, 4), torch.randn(1, 2, 4, 4)

    discriminator(x, maps)

    ((seen,),) = recorders[1].calls
    assert torch.equal(nn.functional.avg_pool2d(torch.cat([x, maps], 1), 2), seen)


def test_class_logits_are_refused():
    """Several classifiers cannot share one output: the error names the discriminator and the shape."""
    classifier = Fixed(DiscriminatorOutput(torch.zeros(2, 1), class_logits=torch.zeros(2, 3)))
    with pytest.raises(ArgumentValueError, match=r"discriminators\[1\] gives class_logits \(2, 3\)") as caught:
        MultiScaleDiscriminator([Fixed(torch.zeros(2, 1)), classifier])(torch.zeros(2, 1, 8))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(2, 1, 3), (2, 1, 4, 3), (2, 1), (2, 1, 4, 4, 4, 4)])
def test_samples_that_cannot_be_pooled_are_refused(shape):
    """Too small samples, and those with other dimensions, are refused with the smallest size."""
    discriminator = MultiScaleDiscriminator([Recorder()] * 3)
    discriminator(torch.zeros(2, 1, 4))
    with pytest.raises(ShapeError, match="dimensions of at least 4, for 3 scales") as caught:
        discriminator(torch.zeros(shape))
    assert f"sample {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("discriminators", "pooling", "error", "message"),
    [
        ([], 2, ArgumentValueError, "discriminators (=[]) must be at least one"),
        ([nn.Identity(), len], 2, ArgumentTypeError, f"discriminators[1] (={len!r}) must be a module"),
        ([nn.Identity()], 0, ArgumentValueError, "pooling (=0) must be a whole number of at least 1"),
    ],
)
def test_bad_arguments_are_refused(discriminators, pooling, error, message):
    """An argument out of its range is named and quoted."""
    with pytest.raises(error) as caught:
        MultiScaleDiscriminator(discriminators, pooling=pooling)
    assert message == str(caught.value)
    assert isinstance(caught.value, GanlibError)


def test_a_scale_that_is_too_small_is_named():
    """Where a pooled sample is too small, the error tells the scale and quotes the sample as it was given."""
    discriminator = MultiScaleDiscriminator([PatchDiscriminator(1, channels=2, layers=2) for _ in range(2)])
    with pytest.raises(ShapeError, match=r"at scale 1, where sample \(2, 1, 20, 20\) is pooled by 2: .*12"):
        discriminator(torch.randn(2, 1, 20, 20))

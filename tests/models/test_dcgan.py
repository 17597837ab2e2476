"""Tests of DCGAN, unconditional and conditional."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib.conditioning import ClassEmbedding, ConcatLatent, Maps, OneHot, Projection, TagEmbedding, VectorEmbedding
from ganlib.errors import GanlibError
from ganlib.models import conditional_dcgan, dcgan
from ganlib.stacks import StackPlan, Stage

_TALL = StackPlan((1, 12, 8), [Stage(4), Stage(8)])
_FLAT = StackPlan((1, 8, 8), [Stage(4), Stage(8, kernel_size=4, stride=1, padding=0)])
_PLANS = {
    "spatial top": _TALL,
    "flat top": _FLAT,
    "one dimension": StackPlan((2, 10), [Stage(4), Stage(6)]),
    "three dimensions": StackPlan((1, 5, 4, 6), [Stage(4)]),
    "odd sizes, colour": StackPlan((3, 13, 9), [Stage(4, kernel_size=3), Stage(8, kernel_size=(3, 5))]),
}
_CONDITIONS = {
    "classes": (OneHot(5), torch.tensor([3, 1, 4, 1])),
    "embedded": (ClassEmbedding(5, 3), torch.tensor([3, 1, 4, 1])),
    "tags": (TagEmbedding(6, 3), torch.eye(4, 6)),
    "vectors": (VectorEmbedding(7, 3), torch.randn(4, 7)),
}


def _has(network, kind):
    return any(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("plan", _PLANS.values(), ids=_PLANS)
def test_latents_to_images_to_logits(plan):
    """From any plan, flat or spatial at its top, come images of its shape within [-1, 1], and a logit for each."""
    generator, discriminator = dcgan(plan, 6)
    images = generator(torch.randn(4, 6))
    assert images.shape == (4, *plan.image_shape)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (4, 1)


@pytest.mark.parametrize("plan", [_TALL, _FLAT], ids=["spatial top", "flat top"])
@pytest.mark.parametrize("conditioning", ["projection", "channels", "features"])
@pytest.mark.parametrize("condition", _CONDITIONS)
def test_any_condition_in_any_way(plan, conditioning, condition):
    """Classes, tags and vectors go in by projection, as channels or beside the features, and gradients reach them."""
    encoder, asked = _CONDITIONS[condition]
    generator, discriminator = conditional_dcgan(plan, 6, encoder=encoder, conditioning=conditioning)
    images = generator(torch.randn(4, 6), asked)
    logits = discriminator(images, asked)
    assert (images.shape, logits.shape) == ((4, *plan.image_shape), (4, 1))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in [*generator.parameters(), *discriminator.parameters()])


@pytest.mark.parametrize("plan", [_TALL, _FLAT], ids=["spatial top", "flat top"])
@pytest.mark.parametrize("conditioning", ["projection", "channels", "features"])
def test_the_condition_matters(plan, conditioning):
    """Another class gives another image from the same latent, and another logit for the same image."""
    generator, discriminator = (
        network.eval() for network in conditional_dcgan(plan, 6, 5, conditioning=conditioning, init=None)
    )
    latent = torch.randn(1, 6)
    images = [generator(latent, torch.tensor([label])) for label in (0, 1)]
    assert not torch.allclose(*images)
    logits = [discriminator(images[0], torch.tensor([label])) for label in (0, 1)]
    assert not torch.allclose(*logits)


def test_num_classes_is_short_for_one_hot_and_an_embedding_of_the_features():
    """The generator is given the class one-hot; the projection embeds it in as many numbers as there are features."""
    generator, discriminator = conditional_dcgan(_TALL, 6, 5)
    assert isinstance(generator, ConcatLatent)
    assert (type(generator.encoder), generator.encoder.features) == (OneHot, 5)
    assert isinstance(discriminator, Projection)
    assert (type(discriminator.encoder), discriminator.encoder.features) == (ClassEmbedding, 8 * 3 * 2)


@pytest.mark.parametrize("conditioning", ["projection", "channels", "features"])
def test_the_players_share_no_parameter(conditioning):
    """The discriminator's encoder is a copy: no parameter belongs to both."""
    generator, discriminator = conditional_dcgan(_TALL, 6, encoder=TagEmbedding(6, 3), conditioning=conditioning)
    assert not {*map(id, generator.parameters())} & {*map(id, discriminator.parameters())}


@pytest.mark.parametrize("make", [dcgan, lambda *a, **k: conditional_dcgan(*a, num_classes=3, **k)])
def test_keywords_reach_the_parts(make):
    """Norms, activation, dropout, spectral normalisation and init are where they were asked for."""
    seen = []
    generator, discriminator = make(
        _TALL,
        6,
        norm="instance",
        discriminator_norm="group",
        activation=nn.ELU,
        dropout=0.2,
        spectral_norm=True,
        init=lambda network: seen.append(network) or network,
    )
    assert _has(generator, nn.InstanceNorm2d)
    assert not _has(generator, nn.GroupNorm)
    assert _has(discriminator, nn.GroupNorm)
    assert not _has(discriminator, nn.InstanceNorm2d)
    assert _has(generator, nn.ELU)
    assert _has(discriminator, nn.ELU)
    assert not _has(generator, nn.ReLU)
    assert not _has(discriminator, nn.LeakyReLU)
    assert not _has(generator, (nn.Dropout, nn.Dropout2d))
    assert _has(discriminator, (nn.Dropout, nn.Dropout2d))
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    assert all(parametrize.is_parametrized(module, "weight") for module in convolutions)
    assert {*seen} == {generator, discriminator}


def test_the_defaults_are_the_papers():
    """Batch norm in both, ReLU up and LeakyReLU(0.2) down, tanh at the end, and convolutions drawn from N(0, 0.02)."""
    generator, discriminator = dcgan(StackPlan((3, 32, 32), [Stage(32), Stage(64), Stage(128)]), 100)
    assert _has(generator, nn.BatchNorm2d)
    assert _has(discriminator, nn.BatchNorm2d)
    assert _has(generator, nn.ReLU)
    assert _has(generator, nn.Tanh)
    assert {module.negative_slope for module in discriminator.modules() if isinstance(module, nn.LeakyReLU)} == {0.2}
    for network in (generator, discriminator):
        weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert torch.cat([weight.flatten() for weight in weights]).std().item() == pytest.approx(0.02, rel=0.03)


def test_a_samples_logit_does_not_depend_on_the_others_without_batch_norm():
    """With group norm the logits of a batch are those of its samples alone, in train mode too."""
    _, discriminator = dcgan(_FLAT, 6, norm="group")
    images = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(discriminator(images), torch.cat([discriminator(image) for image in images.split(1)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, r"latent_dim \(=0\)"),
        ({"latent_dim": 2.0}, r"latent_dim \(=2.0\)"),
        ({"norm": "layer"}, r"norm \(='layer'\)"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
        ({"num_classes": None}, r"num_classes \(=None\) or encoder \(=None\)"),
        ({"encoder": OneHot(3)}, r"num_classes \(=5\) or encoder \(=OneHot\(3\)\)"),
        ({"num_classes": 0}, r"num_classes \(=0\)"),
        ({"num_classes": None, "encoder": Maps(3)}, r"encoder \(=Maps\(3\)\) gives maps"),
        ({"conditioning": "concat"}, r"conditioning \(='concat'\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        conditional_dcgan(**{"plan": _TALL, "latent_dim": 6, "num_classes": 5} | arguments)
    assert isinstance(caught.value, GanlibError)


def test_what_is_asked_for_is_checked():
    """A label out of range and no condition at all are ValueErrors of ours, on either player."""
    generator, discriminator = conditional_dcgan(_TALL, 6, 5)
    for call in (lambda *c: generator(torch.zeros(1, 6), *c), lambda *c: discriminator(torch.zeros(1, 1, 12, 8), *c)):
        for condition in ((), (torch.tensor([5]),)):
            with pytest.raises(ValueError, match="condition") as caught:
                call(*condition)
            assert isinstance(caught.value, GanlibError)

"""Tests of DCGAN, and of the halves that its conditional sister is made of too."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

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


@pytest.mark.parametrize("plan", [_TALL, _FLAT], ids=["spatial top", "flat top"])
@pytest.mark.parametrize("make", [dcgan, lambda *a, **k: conditional_dcgan(*a, num_classes=3, **k)])
def test_no_convolution_has_a_bias_where_none_is_wanted(make, plan):
    """``bias=False`` and ``bias=True`` reach every convolution of both players, and nothing else."""
    for bias in (False, True):
        for network in make(plan, 6, bias=bias):
            convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
            assert len(convolutions) == 2
            assert [layer.bias is not None for layer in convolutions] == [bias, bias]


@pytest.mark.parametrize("make", [dcgan, lambda *a, **k: conditional_dcgan(*a, num_classes=3, **k)])
def test_the_discriminators_activation_is_its_own(make):
    """It stands wherever the discriminator has one, and nowhere in the generator."""
    generator, discriminator = make(_FLAT, 6, activation=nn.ELU, discriminator_activation=nn.LeakyReLU(0.02))
    assert {layer.negative_slope for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU)} == {0.02}
    assert not _has(discriminator, nn.ELU)
    assert _has(generator, nn.ELU)
    assert not _has(generator, nn.LeakyReLU)


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
        ({"discriminator_norm": "layer"}, r"norm \(='layer'\)"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        dcgan(**{"plan": _TALL, "latent_dim": 6} | arguments)
    assert isinstance(caught.value, GanlibError)

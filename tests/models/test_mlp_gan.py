"""Tests of the fully connected GAN."""

import pytest
import torch
from torch import nn

from ganlib.conditioning import Maps
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.init import normal_
from ganlib.models import mlp_gan
from tests.models.cases import CONDITIONS


def _linears(network):
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 5, 7), (2,), (4, 9), (1, 3, 4, 5)])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 16)])
def test_latents_to_samples_to_logits(image_shape, hidden):
    """Any shape of a sample is made from latents, within [-1, 1], and judged with one logit a sample."""
    generator, discriminator = mlp_gan(image_shape, 6, hidden)
    samples = generator(torch.randn(4, 6) * 100)
    assert samples.shape == (4, *image_shape)
    assert samples.abs().max() <= 1
    assert discriminator(samples).shape == (4, 1)


def test_the_discriminator_is_the_generator_in_reverse():
    """The hidden sizes are those asked for, upwards in the generator and downwards in the discriminator."""
    generator, discriminator = mlp_gan((1, 4, 4), 5, (6, 7))
    assert _linears(generator) == [(5, 6), (6, 7), (7, 16)]
    assert _linears(discriminator) == [(16, 7), (7, 6), (6, 1)]


def test_the_discriminator_may_have_layers_of_its_own():
    """Its hidden sizes are those asked for, from the sample on; also none at all."""
    for hidden, expected in (((9, 8), [(16, 9), (9, 8), (8, 1)]), ((), [(16, 1)])):
        generator, discriminator = mlp_gan((1, 4, 4), 5, (6, 7), discriminator_hidden=hidden)
        assert _linears(generator) == [(5, 6), (6, 7), (7, 16)]
        assert _linears(discriminator) == expected


def test_without_hidden_layers_it_is_a_linear_map():
    """With no hidden layer G is tanh(W z + b), and D is w x + b."""
    generator, discriminator = mlp_gan((3,), 2, ())
    (up,) = [layer for layer in generator.modules() if isinstance(layer, nn.Linear)]
    (down,) = [layer for layer in discriminator.modules() if isinstance(layer, nn.Linear)]
    latents = torch.randn(4, 2)
    torch.testing.assert_close(generator(latents), (latents @ up.weight.T + up.bias).tanh())
    torch.testing.assert_close(discriminator(torch.eye(3)), down.weight.T + down.bias)


def test_norm_is_the_generators_alone():
    """Batch norm follows each hidden layer of the generator, and the discriminator has none."""
    generator, discriminator = mlp_gan((4,), 2, (8, 16), norm="batch")
    assert [layer.num_features for layer in generator.modules() if isinstance(layer, nn.BatchNorm1d)] == [8, 16]
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in discriminator.modules())


def test_activation_and_dropout_reach_both():
    """A hidden layer of either is followed by the activation and the dropout asked for."""
    for network in mlp_gan((4,), 2, (8, 16), activation=nn.ELU, dropout=0.25):
        assert sum(isinstance(layer, nn.ELU) for layer in network.modules()) == 2
        assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_condition_is_beside_latent_and_sample(condition):
    """With an encoder G is G'([z, e(y)]) and D is D'([x, e(y)]), each with an encoder of its own."""
    encoder, asked = CONDITIONS[condition]
    generator, discriminator = mlp_gan((1, 4, 4), 5, (6, 7), encoder=encoder)
    latents = torch.randn(4, 5)
    samples = generator(latents, asked)
    torch.testing.assert_close(samples, generator.module(torch.cat([latents, encoder(asked)], 1)))
    beside = torch.cat([samples.flatten(1), encoder(asked)], 1)
    torch.testing.assert_close(discriminator(samples, asked), discriminator.head(beside))
    assert _linears(generator.module) == [(5 + encoder.features, 6), (6, 7), (7, 16)]
    assert _linears(discriminator.head) == [(16 + encoder.features, 7), (7, 6), (6, 1)]
    assert not {*map(id, generator.parameters())} & {*map(id, discriminator.parameters())}


@pytest.mark.parametrize(
    ("encoder", "message"), [(Maps(3), "gives maps"), (5, r"encoder \(=5\)"), (nn.ReLU(), "encoder")]
)
def test_what_encodes_no_vectors_is_refused(encoder, message):
    """Maps cannot stand beside a vector, and what is no encoder is named."""
    with pytest.raises(GanlibError, match=message):
        mlp_gan((1, 4, 4), 5, (6,), encoder=encoder)


def test_init_is_given_both_networks():
    """The function given initialises the generator and the discriminator."""
    seen = []
    players = mlp_gan((4,), 2, (8,), init=lambda network: seen.append(network) or normal_(network))
    assert tuple(seen) == players


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (1, 0)}, r"image_shape \(=\(1, 0\)\)"),
        ({"latent_dim": 0}, r"latent_dim \(=.*0"),
        ({"hidden": (8, 2.5)}, r"hidden \(=\(8, 2.5\)\)"),
        ({"discriminator_hidden": (0,)}, r"discriminator_hidden \(=\(0,\)\)"),
        ({"dropout": 1.5}, r"dropout \(=1.5\)"),
        ({"norm": "layer"}, r"norm \(='layer'\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        mlp_gan(**{"image_shape": (1, 4, 4), "latent_dim": 3, "hidden": (8,)} | arguments)
    assert isinstance(caught.value, GanlibError)


def test_sizes_are_sequences():
    """A number in the place of sizes is refused by the name of its argument."""
    for name in ("image_shape", "hidden", "discriminator_hidden"):
        with pytest.raises(ArgumentValueError, match=rf"{name} \(=28\) must be whole numbers"):
            mlp_gan(**{"image_shape": (1, 4, 4), "latent_dim": 4, name: 28})

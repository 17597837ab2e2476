"""Tests of R3GAN's networks, by their published form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlib.conditioning import OneHot
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.models import r3gan
from tests.stacks.test_bilinear import resampled
from tests.stacks.test_inverted_bottleneck import grouped, leaky

LABELS = torch.tensor([3, 1, 4])


class Published:
    """The published networks, written plainly; each layer takes the next weights of a state."""

    def __init__(self, network, group_width):
        self.weights = iter(network.state_dict().values())
        self.group_width = group_width

    def pointwise(self, x):
        """A convolution of kernel size 1."""
        return torch.einsum("ocij,nchw->nohw", next(self.weights), x)

    def block(self, x):
        """A residual block."""
        w1, b1, w2, b2, w3 = (next(self.weights) for _ in range(5))
        h = leaky(torch.einsum("oc,nchw->nohw", w1[:, :, 0, 0], x) + b1.view(1, -1, 1, 1))
        h = leaky(grouped(h, w2, b2, self.group_width))
        return x + torch.einsum("oc,nchw->nohw", w3[:, :, 0, 0], h)

    def generator(self, latent, encoding, widths, sizes, blocks):
        """Samples."""
        maps = next(self.weights)
        if encoding is not None:
            latent = torch.cat([latent, encoding @ next(self.weights).T], 1)
        x = maps * (latent @ next(self.weights).T)[:, :, None, None]
        for stage, width in enumerate(widths):
            if stage:
                x = x if widths[stage - 1] == width else self.pointwise(x)
                height, length = sizes[stage]
                x = resampled(x, up=True)[:, :, :height, :length]
            for _ in range(blocks):
                x = self.block(x)
        return self.pointwise(x)

    def discriminator(self, x, encoding, widths, blocks):
        """Logits."""
        x = self.pointwise(x)
        for width, following in [*pairwise(reversed(widths)), (widths[0], None)]:
            for _ in range(blocks):
                x = self.block(x)
            if following is not None:
                x = resampled(x, up=False)
                x = x if width == following else self.pointwise(x)
        features = (next(self.weights)[:, 0] * x).sum((2, 3)) @ next(self.weights).T
        if encoding is None:
            return features
        return (features * (encoding @ next(self.weights).T)).sum(1, keepdim=True)


def drawn(network):
    """The network in float64, with all weights drawn."""
    for parameter in network.double().parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize(
    ("shape", "sizes", "widths"),
    [
        ((1, 28, 28), [(7, 7), (14, 14), (28, 28)], (12, 8, 8)),
        ((3, 18, 27), [(5, 7), (9, 14), (18, 27)], (4, 4, 8)),
        ((2, 5, 6), [(5, 6)], (4,)),
    ],
)
@pytest.mark.parametrize("condition", [None, LABELS])
def test_they_are_the_published_networks(shape, sizes, widths, blocks, condition):
    """In float64, samples and logits are those of a plain program that has the same weights."""
    torch.manual_seed(0)
    classes = None if condition is None else 5
    networks = r3gan(shape, 6, classes, widths=widths, blocks=blocks, group_width=4)
    generator, discriminator = map(drawn, networks)
    latent = torch.randn(3, 6, dtype=torch.float64)
    conditions = () if condition is None else (condition,)
    encoding = None if condition is None else F.one_hot(condition, 5).double()

    published = Published(generator, 4)
    samples = published.generator(latent, encoding, widths, sizes, blocks)
    torch.testing.assert_close(generator(latent, *conditions), samples)
    assert next(published.weights, None) is None

    published = Published(discriminator, 4)
    logits = published.discriminator(samples, encoding, widths, blocks)
    torch.testing.assert_close(discriminator(samples, *conditions), logits)
    assert next(published.weights, None) is None


def test_classes_are_an_encoder_of_one_hot_vectors():
    """Both ways to ask for classes make the same networks from the same random numbers."""
    made = []
    for words in ({"num_classes": 5}, {"encoder": OneHot(5)}):
        torch.manual_seed(0)
        made.append(r3gan((1, 8, 8), 6, **words))
    for one, other in zip(*made, strict=True):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_the_initialization_is_that_of_the_code():
    """Every layer outside the blocks keeps the variance; the embedding in the discriminator divides it by its size."""
    torch.manual_seed(0)
    networks = r3gan((64, 14, 14), 64, 100, widths=(256, 128), blocks=3)
    stds, depth = {}, 2 * 3
    for network in networks:
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and weight.any():
                stds[name, weight.shape] = math.sqrt(weight[0].numel()) * weight.std().item(), weight.numel()
    inner = math.sqrt(2 / 1.04) * depth**-0.25
    expected = {
        (256, 7, 7): 7.0,  # the learned maps are N(0, 1), times the square root of 49 positions
        (64, 100): 1.0,  # the condition's embedding in the generator
        (256, 100): 1 / 16,  # and in the discriminator
        (256, 64 + 64): 1.0,
        (128, 256, 1, 1): 1.0,
        (64, 128, 1, 1): 1.0,
        (128, 64, 1, 1): 1.0,
        (256, 128, 1, 1): None,  # both the channels' change in the discriminator, and the first layer of blocks
        (512, 256, 1, 1): inner,
        (512, 16, 3, 3): inner,
        (256, 16, 3, 3): inner,
        (256, 1, 7, 7): 1.0,
        (256, 256): 1.0,
    }

    assert {shape for _, shape in stds} == expected.keys()
    for (_, shape), (found, numbers) in stds.items():
        choices = [expected[shape]] if expected[shape] is not None else [1.0, inner]
        assert any(found == pytest.approx(std, rel=5 / math.sqrt(2 * numbers)) for std in choices), shape


def test_gradients_of_any_order():
    """Second derivatives by the sample, as R1 and R2 need them, and by the latent are those of finite differences."""
    torch.manual_seed(0)
    generator, discriminator = map(drawn, r3gan((1, 8, 9), 2, 3, widths=2, group_width=2, blocks=1))
    labels = torch.tensor([2])
    latent = torch.randn(1, 2, dtype=torch.float64, requires_grad=True)
    sample = torch.randn(1, 1, 8, 9, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradgradcheck(lambda z: generator(z, labels).square().sum(), latent)
    assert torch.autograd.gradgradcheck(lambda x: discriminator(x, labels).square().sum(), sample)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"blocks": 0}, r"blocks \(=0\) must be a whole number of at least 1"),
        ({"kernel_size": 2}, r"kernel_size \(=2\) must be odd"),
        (
            {"widths": (20, 16, 8)},
            r"widths \(=\(20, 16, 8\)\), multiplied by expansion \(=2\), must be",
        ),
        ({"embedding_dim": 8}, r"embedding_dim \(=8\) needs a condition"),
        ({"embedding_dim": 0, "num_classes": 5}, r"embedding_dim \(=0\) must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(words, message):
    """A wrong argument is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        r3gan(**{"image_shape": (1, 28, 28), "latent_dim": 6, **words})


def test_wrong_inputs_are_named():
    """Latents and images of other shapes are refused by name."""
    generator, discriminator = r3gan((1, 8, 8), 6, 5, widths=8)
    with pytest.raises(GanlibError, match=r"latent \(3, 7\) must have shape \(N, 6\)"):
        generator(torch.zeros(3, 7), LABELS)
    with pytest.raises(GanlibError, match=r"sample \(3, 1, 8, 9\) must have shape \(N, 1, 8, 8\)"):
        discriminator(torch.zeros(3, 1, 8, 9), LABELS)

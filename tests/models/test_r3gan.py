"""Tests of R3GAN's networks, by their published form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlib import latents, losses, penalties
from ganlib.conditioning import Maps, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.models import r3gan
from ganlib.training import AdversarialTrainer
from tests.models.cases import opened
from tests.stacks.test_bilinear import resampled
from tests.stacks.test_inverted_bottleneck import grouped, leaky

LABELS = torch.tensor([3, 1, 4])
TAGS = torch.eye(3, 4)
SHAPES = [(1, 16, 16), (1, 28, 28), (3, 32, 32), (2, 45, 60), (3, 64, 64), (4, 7, 30), (1, 1, 20)]


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


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_image_shape(shape, conditional):
    """Samples have the shape of images, and logits are (N, 1)."""
    generator, discriminator = r3gan(shape, 6, 5 if conditional else None, widths=8, blocks=1)
    conditions = (LABELS,) if conditional else ()
    samples = generator(torch.randn(3, 6), *conditions)

    assert samples.shape == (3, *shape)
    assert discriminator(samples, *conditions).shape == (3, 1)


@pytest.mark.parametrize(
    ("encoder", "condition"),
    [(OneHot(5), LABELS), (TagEmbedding(4, 3), TAGS), (VectorEmbedding(4, 2), torch.randn(3, 4))],
)
def test_conditions_of_an_encoder_matter(encoder, condition):
    """Samples and logits depend on the condition; each network has an encoder of its own."""
    generator, discriminator = r3gan((1, 8, 8), 6, encoder=encoder, embedding_dim=3, widths=8)
    latent = torch.randn(1, 6).expand(3, -1)
    samples = generator(latent, condition)
    own, others = ({id(parameter) for parameter in network.parameters()} for network in (generator, discriminator))

    assert not torch.allclose(samples, samples[:1], atol=1e-4)
    assert not torch.allclose(discriminator(samples[:1].expand(3, -1, -1, -1), condition).diff(dim=0), torch.zeros(()))
    assert not own & others


def test_classes_are_an_encoder_of_one_hot_vectors():
    """Both ways to ask for classes make the same networks from the same random numbers."""
    made = []
    for words in ({"num_classes": 5}, {"encoder": OneHot(5)}):
        torch.manual_seed(0)
        made.append(r3gan((1, 8, 8), 6, **words))
    for one, other in zip(*made, strict=True):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_the_weights_of_an_encoder_are_kept():
    """An encoder may be trained already: both networks have its weights."""
    encoder = VectorEmbedding(4, 2)
    before = [parameter.clone() for parameter in encoder.parameters()]
    for network in r3gan((1, 8, 8), 6, encoder=encoder, widths=8):
        (own,) = {id(part): part for part in network.modules() if isinstance(part, VectorEmbedding)}.values()
        assert all(map(torch.equal, before, own.parameters()))


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_as_published(precision, recwarn):
    """Under autocast samples are float32, and a step with both penalties changes every parameter, without a warning."""
    torch.manual_seed(0)
    generator, discriminator = map(opened, r3gan((1, 9, 10), 6, 5, widths=8))
    before = [parameter.clone() for network in (generator, discriminator) for parameter in network.parameters()]
    trainer = AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), 1e-3, (0.0, 0.99)),
        torch.optim.Adam(discriminator.parameters(), 1e-3, (0.0, 0.99)),
        loss=losses.RelativisticLoss(),
        latent=latents.Gaussian(6),
        penalties=[penalties.R1(1.0), penalties.R2(1.0)],
        precision=precision,
        channels_last=True,
    )
    for _ in range(2):
        metrics = trainer.train_step((torch.randn(8, 1, 9, 10), torch.randint(5, (8,))))
    after = [parameter for network in (generator, discriminator) for parameter in network.parameters()]

    assert all(torch.as_tensor(value).isfinite() for value in metrics.values())
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(torch.randn(3, 6), LABELS).dtype is torch.float32
    assert not recwarn.list


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image_shape": (28, 28)}, r"image_shape \(=\(28, 28\)\) must be \(C, H, W\)"),
        ({"latent_dim": 0}, r"latent_dim \(=0\) must be a whole number"),
        ({"blocks": 0}, r"blocks \(=0\) must be a whole number of at least 1"),
        ({"kernel_size": 2}, r"kernel_size \(=2\) must be odd"),
        ({"widths": (16, 8)}, r"widths \(=\(16, 8\)\) must be a whole number of at least 1, or 3 of them.* 7x7, 14x14"),
        (
            {"widths": (20, 16, 8)},
            r"widths \(=\(20, 16, 8\)\), multiplied by expansion \(=2\), must be",
        ),
        ({"num_classes": 5, "encoder": OneHot(5)}, r"pass num_classes \(=5\), or encoder .* and not both"),
        ({"encoder": Maps(3)}, r"encoder \(=Maps\(3\)\) gives maps"),
        ({"embedding_dim": 8}, r"embedding_dim \(=8\) needs a condition"),
        ({"embedding_dim": 0, "num_classes": 5}, r"embedding_dim \(=0\) must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(words, message):
    """A wrong argument is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        r3gan(**{"image_shape": (1, 28, 28), "latent_dim": 6, **words})


def test_something_else_than_an_encoder_is_refused():
    """Its type is wrong."""
    with pytest.raises(ArgumentTypeError, match="must be an encoder of conditions"):
        r3gan((1, 28, 28), 6, encoder=7)


def test_wrong_inputs_are_named():
    """Latents and images of other shapes, and conditions that are missing or too many, are refused by name."""
    generator, discriminator = r3gan((1, 8, 8), 6, 5, widths=8)
    with pytest.raises(GanlibError, match=r"latent \(3, 7\) must have shape \(N, 6\)"):
        generator(torch.zeros(3, 7), LABELS)
    with pytest.raises(GanlibError, match=r"sample \(3, 1, 8, 9\) must have shape \(N, 1, 8, 8\)"):
        discriminator(torch.zeros(3, 1, 8, 9), LABELS)
    with pytest.raises(GanlibError, match=r"condition \(=None\) is missing"):
        generator(torch.zeros(3, 6))
    with pytest.raises(GanlibError, match=r"condition \(3,\) was given"):
        r3gan((1, 8, 8), 6, widths=8)[0](torch.zeros(3, 6), LABELS)

"""Tests of SNGAN's residual networks, by their published form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.models import sngan
from ganlib.stacks import SelfAttention
from tests.models.cases import noisy

LABELS = torch.tensor([3, 1, 4])


class Published:
    """The published networks, written plainly; each layer takes the next weights of a state."""

    def __init__(self, network):
        self.weights = iter(network.parameters())

    def convolution(self, x):
        """A convolution that keeps the size."""
        weight, bias = next(self.weights), next(self.weights)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def relu_of_norm(self, x, encoding=None):
        """Batch norm of the batch's own statistics, with a gain and bias that may depend on a condition, and ReLU."""
        gain, bias = next(self.weights), next(self.weights)
        if encoding is not None:
            gain, bias = 1 + encoding @ gain, encoding @ bias
        centered = x - x.mean((0, 2, 3), keepdim=True)
        normalized = centered / (centered.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        return (gain.view(-1, x.shape[1], 1, 1) * normalized + bias.view(-1, x.shape[1], 1, 1)).clamp(min=0)

    def up(self, x, encoding, size, differs):
        """A block of the generator, and the crop of odd sizes."""
        h = self.relu_of_norm(x, encoding).repeat_interleave(2, 2).repeat_interleave(2, 3)
        weight = next(self.weights)
        h = F.conv2d(h, weight, padding=1)  # the norm after it removes any bias
        h = self.convolution(self.relu_of_norm(h, encoding))
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return (h + (self.convolution(x) if differs else x))[:, :, : size[0], : size[1]]

    def down(self, x, halves, first, differs):
        """A block of the discriminator; odd sizes are padded."""
        if halves:
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        h = self.convolution(x if first else x.clamp(min=0))
        h = self.convolution(h.clamp(min=0))
        x = self.convolution(x) if differs or halves else x
        return F.avg_pool2d(h + x, 2) if halves else h + x


@pytest.mark.parametrize(
    ("shape", "sizes", "halvings"),
    [
        ((3, 32, 32), [4, 8, 16, 32], 2),
        ((1, 28, 28), [7, 14, 28], 2),
        ((2, 18, 18), [5, 9, 18], 2),
        ((1, 7, 7), [7], 0),
    ],
)
@pytest.mark.parametrize("widths", [(3, 3, 3, 3), (5, 3, 4, 2)])
@pytest.mark.parametrize("condition", [None, LABELS])
def test_they_are_the_published_networks(shape, sizes, halvings, widths, condition):
    """In float64, samples and logits are those of a plain program that has the same weights, without spectral norm."""
    if condition is not None and len(sizes) == 1:
        pytest.skip("an image of one resolution has no condition")
    torch.manual_seed(0)
    widths = widths[: len(sizes)]
    networks = sngan(shape, 6, None if condition is None else 5, widths=widths, spectral_norm=False)
    generator, discriminator = (noisy(network.double()) for network in networks)
    latent = torch.randn(3, 6, dtype=torch.float64)
    conditions = () if condition is None else (condition,)
    encoding = None if condition is None else F.one_hot(condition, 5).double()

    published = Published(generator)
    x = (latent @ next(published.weights).T + next(published.weights)).view(3, widths[0], sizes[0], sizes[0])
    for (before, after), size in zip(pairwise(widths), sizes[1:], strict=True):
        x = published.up(x, encoding, (size, size), before != after)
    x = published.convolution(published.relu_of_norm(x)).tanh()
    torch.testing.assert_close(generator(latent, *conditions), x)
    assert next(published.weights, None) is None

    published = Published(discriminator)
    features = x
    for index, (before, after) in enumerate(pairwise([shape[0], *reversed(widths)])):
        features = published.down(features, index < halvings, index == 0, before != after)
    features = features.clamp(min=0).sum((2, 3))
    logits = features @ next(published.weights).T + next(published.weights)
    if encoding is not None:
        logits += (features * (encoding @ next(published.weights).T)).sum(1, keepdim=True)
    torch.testing.assert_close(discriminator(x, *conditions), logits)
    assert next(published.weights, None) is None


def test_at_32_pixels_it_has_the_layers_of_the_paper():
    """The shapes of the weights are those of the paper's table for CIFAR-10, but for the generator's skips."""
    generator, discriminator = sngan((3, 32, 32), 128, widths=256, discriminator_widths=128, spectral_norm=False)
    of_generator, of_discriminator = (
        [tuple(weight.shape) for weight in network.parameters() if weight.ndim > 1]
        for network in (generator, discriminator)
    )

    assert of_generator == [(256 * 4 * 4, 128), *[(256, 256, 3, 3)] * 6, (3, 256, 3, 3)]
    first = [(128, 3, 3, 3), (128, 128, 3, 3), (128, 3, 1, 1)]
    second = [(128, 128, 3, 3), (128, 128, 3, 3), (128, 128, 1, 1)]
    assert of_discriminator == [*first, *second, *[(128, 128, 3, 3)] * 4, (1, 128)]


@pytest.mark.parametrize("length", [9, 15, 17, 30, 33])
def test_the_discriminator_sees_every_pixel(length):
    """No pixel of an odd size is dropped: the logit has a gradient by each of them."""
    torch.manual_seed(0)
    discriminator = sngan((1, length, length + 1), 6, widths=4, spectral_norm=False)[1].double()
    sample = torch.randn(4, 1, length, length + 1, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(sample).sum(), sample)

    assert gradient.abs().sum((0, 1)).all()


@pytest.mark.parametrize("size", [28, 32, 45])
def test_spectral_norm_makes_every_layer_one_lipschitz(size):
    """With attention and a condition too, every weight of the discriminator has 1 for its largest singular value."""
    torch.manual_seed(0)
    side = {28: 14, 32: 16, 45: 12}[size]
    discriminator = sngan((1, size, size), 6, 5, widths=4, attention=(side,))[1]
    for _ in range(100):
        discriminator(torch.randn(3, 1, size, size), LABELS)
    layers = [part for part in discriminator.eval().modules() if isinstance(part, nn.Conv2d | nn.Linear)]

    assert layers
    for layer in layers:
        assert parametrize.is_parametrized(layer, "weight")
        assert pytest.approx(1, abs=1e-3) == torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()


def test_attention_follows_maps_of_its_size():
    """Both networks attend at the sizes that are asked for, and at no others."""
    generator, discriminator = sngan((1, 45, 60), 6, widths=(16, 12, 8, 4), attention=(23, 6))
    seen = []

    def note(module, arguments):
        seen.append(arguments[0].shape[1:])

    for network in (generator, discriminator):
        for part in network.modules():
            if isinstance(part, SelfAttention):
                part.register_forward_pre_hook(note)
    discriminator(generator(torch.randn(2, 6)))

    assert [tuple(shape) for shape in seen] == [(16, 6, 8), (8, 23, 30), (4, 23, 30), (12, 6, 8)]


def test_the_initialization_is_xavier():
    """Weights are uniform, with a gain of the square root of 2 in the blocks' main branches; biases are 0."""
    torch.manual_seed(0)
    for network in sngan((16, 14, 14), 64, widths=(64, 32), spectral_norm=False):
        for name, weight in network.named_parameters():
            if weight.ndim < 2:
                assert not weight.any() or (weight == 1).all()  # the gains of norms
                continue
            area = weight[0, 0].numel()
            gain = math.sqrt(2) if ".conv1" in name or ".conv2" in name else 1
            bound = gain * math.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
            assert 0.9 * bound < weight.abs().max() <= bound * (1 + 1e-6)


def test_gradients_of_any_order():
    """Second derivatives by the sample, as gradient penalties need them, are those of finite differences."""
    torch.manual_seed(0)
    generator, discriminator = (noisy(network.double()).eval() for network in sngan((1, 9, 10), 2, 3, widths=2))
    labels = torch.tensor([2, 0])
    latent = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    sample = torch.randn(2, 1, 9, 10, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradgradcheck(lambda z: generator(z, labels).square().sum(), latent)
    assert torch.autograd.gradgradcheck(lambda x: discriminator(x, labels).square().sum(), sample)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"image_shape": (1, 7, 28), "num_classes": 5},
            r"image_shape \(=\(1, 7, 28\)\) must have a smaller side of at",
        ),
        ({"discriminator_widths": 0}, r"discriminator_widths \(=0\) must be a whole number"),
        ({"attention": (28,)}, r"attention \(=\(28,\)\) must be a tuple of smaller sides of maps, from \(14, 7\)"),
        ({"attention": 14}, r"attention \(=14\) must be a tuple"),
    ],
)
def test_wrong_arguments_are_named(words, message):
    """A wrong argument is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        sngan(**{"image_shape": (1, 28, 28), "latent_dim": 6, **words})


def test_other_types_are_refused():
    """What is no bool is quoted."""
    with pytest.raises(ArgumentTypeError, match=r"spectral_norm \(=1\) must be True or False"):
        sngan((1, 28, 28), 6, spectral_norm=1)


def test_wrong_inputs_are_named():
    """Latents of another size, and images with other channels, are refused by name."""
    generator, discriminator = sngan((1, 8, 8), 6, 5, widths=8)
    with pytest.raises(GanlibError, match=r"\(3, 7\) must hold 6 numbers"):
        generator(torch.zeros(3, 7), LABELS)
    with pytest.raises(GanlibError, match=r"\(3, 2, 8, 8\) must have shape \(N, 1, \*spatial\)"):
        discriminator(torch.zeros(3, 2, 8, 8), LABELS)

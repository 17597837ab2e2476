"""Build the networks of the workloads twice: by hand in plain torch, and from ganlib's parts.

Both versions of a network have the same layers in the same order, so the weights of one fit the other.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ganlib import conditioning, init, models, stacks

__all__ = ["Pair", "cdcgan28", "copy_weights", "dcgan32", "deceptive64", "mlp"]

Pair = tuple[nn.Module, nn.Module]


class ClassBesideLatent(nn.Module):
    """Generate from the latent, concatenated with the encoded class."""

    def __init__(self, body: nn.Module, encoder: nn.Module | None, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.encoder = encoder
        self.num_classes = num_classes

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """Generate samples."""
        code = _one_hot(label, self.num_classes, latent) if self.encoder is None else self.encoder(label)
        return self.body(torch.cat([latent, code], 1)[:, :, None, None])


class ClassAsPlanes(nn.Module):
    """Score the image, concatenated with the class as one-hot planes."""

    def __init__(self, body: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.num_classes = num_classes

    def forward(self, sample: Tensor, label: Tensor) -> Tensor:
        """Return logits."""
        planes = _one_hot(label, self.num_classes, sample)[:, :, None, None].expand(-1, -1, *sample.shape[2:])
        return self.body(torch.cat([sample, planes], 1))


class ClassBesideFeatures(nn.Module):
    """Score the features of the image, concatenated with the embedded class."""

    def __init__(self, body: nn.Module, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.encoder = encoder
        self.head = head

    def forward(self, sample: Tensor, label: Tensor) -> Tensor:
        """Return logits."""
        return self.head(torch.cat([self.body(sample).flatten(1), self.encoder(label)], 1))


def cdcgan28(width: int, *, by_hand: bool, size: int = 28) -> Pair:
    """Build a conditional DCGAN like cDCGAN-MNIST, at 28 pixels or another multiple of 4, with one-hot classes."""
    top = stacks.Stage(4 * width, size // 4, stride=1, padding=0)
    plan = stacks.StackPlan((1, size, size), [stacks.Stage(width), stacks.Stage(2 * width), top])
    if not by_hand:
        return models.conditional_dcgan(plan, 100, 10, conditioning="channels", bias=False)
    kernels = [(size // 4, 1, 0), (4, 2, 1), (4, 2, 1)]
    up = _upwards([110, 2 * width, width, 1], kernels)
    down = _downwards([11, width, 2 * width, 1], kernels[::-1], slope=0.2)
    return ClassBesideLatent(up, None, 10), ClassAsPlanes(nn.Sequential(*down, nn.Flatten()), 10)


def deceptive64(width: int, *, by_hand: bool) -> Pair:
    """Build the conditional DCGAN of deceptive-digits at 64 pixels, with embedded classes."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    if not by_hand:
        top = stacks.Stage(10, kernel_size=4, stride=1, padding=0)
        plan = stacks.StackPlan((1, 64, 64), [*map(stacks.Stage, widths), top])
        embedding = conditioning.ClassEmbedding(10, 10)
        generator, _ = models.conditional_dcgan(plan, 100, encoder=embedding, bias=False)
        features = init.dcgan_(stacks.ConvStack(plan, last_activation=nn.LeakyReLU(0.2), bias=False))
        embedding = conditioning.ClassEmbedding(10, 10)
        return generator, conditioning.ConcatFeatures(features, embedding, stacks.LinearStack([20, 15, 1]))
    kernels = [(4, 1, 0), *[(4, 2, 1)] * 4]
    up = _upwards([110, *widths[::-1], 1], kernels)
    down = _downwards([1, *widths, 10], kernels[::-1], slope=0.2)
    head = nn.Sequential(nn.Linear(20, 15), nn.LeakyReLU(0.2, inplace=True), nn.Linear(15, 1))
    return (
        ClassBesideLatent(up, nn.Embedding(10, 10), 10),
        ClassBesideFeatures(nn.Sequential(*down, nn.LeakyReLU(0.2, inplace=True)), nn.Embedding(10, 10), head),
    )


def dcgan32(width: int, *, by_hand: bool) -> Pair:
    """Build the DCGAN of DCGAN_CIFAR10 at 32 pixels, with kernels of 5 and no padding."""
    kernels = [(5, 2, 0), (5, 2, 0), (5, 2, 0), (4, 1, 0)]
    widths = [width, 2 * width, 4 * width]
    if not by_hand:
        sizes = zip([*widths, 100], kernels[::-1], strict=True)
        plan = stacks.StackPlan((3, 32, 32), [stacks.Stage(channels, *kernel) for channels, kernel in sizes])
        return models.dcgan(plan, 100, discriminator_activation=nn.LeakyReLU(0.02), bias=False)
    up = nn.Sequential(nn.Unflatten(1, (100, 1, 1)), *_upwards([100, *widths[::-1], 3], kernels))
    down = _downwards([3, *widths, 1], kernels[::-1], slope=0.02)
    return up, nn.Sequential(*down, nn.Flatten())


def mlp(width: int, *, by_hand: bool) -> Pair:
    """Build the two perceptrons of MNIST-GAN."""
    hidden = [width, 2 * width, 4 * width]
    if not by_hand:
        return models.mlp_gan((1, 28, 28), 100, hidden, dropout=0.3)
    up = _linear([100, *hidden, 784])
    down = _linear([784, *hidden[::-1], 1])
    return nn.Sequential(*up, nn.Tanh(), nn.Unflatten(1, (1, 28, 28))), nn.Sequential(nn.Flatten(), *down)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one version of a network to the other, layer by layer."""
    own, other = list(target.state_dict().values()), list(source.state_dict().values())
    for mine, its in zip(own, other, strict=True):
        mine.copy_(its)


def _upwards(channels: Sequence[int], kernels: Sequence[tuple[int, int, int]]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for (below, above), (kernel, stride, padding) in zip(pairwise(channels), kernels, strict=True):
        layers += [nn.ConvTranspose2d(below, above, kernel, stride, padding, bias=False)]
        layers += [nn.BatchNorm2d(above), nn.ReLU(inplace=True)]
    layers[-2:] = [nn.Tanh()]
    return nn.Sequential(*layers)


def _downwards(channels: Sequence[int], kernels: Sequence[tuple[int, int, int]], *, slope: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for place, ((below, above), (kernel, stride, padding)) in enumerate(zip(pairwise(channels), kernels, strict=True)):
        layers += [nn.Conv2d(below, above, kernel, stride, padding, bias=False)]
        if 0 < place < len(kernels) - 1:
            layers += [nn.BatchNorm2d(above)]
        if place < len(kernels) - 1:
            layers += [nn.LeakyReLU(slope, inplace=True)]
    return layers


def _linear(features: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for below, above in pairwise(features):
        layers += [nn.Linear(below, above), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(0.3)]
    return layers[:-2]


def _one_hot(label: Tensor, num_classes: int, like: Tensor) -> Any:
    return nn.functional.one_hot(label, num_classes).to(like.dtype)

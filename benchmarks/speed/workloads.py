"""Define the workloads: networks, batches, losses and images of the reference systems."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision import transforms

from benchmarks.speed import networks
from ganlib import augment, latents
from ganlib.protocols import Latent

__all__ = ["WORKLOADS", "Pictures", "Workload", "endless"]


def endless(loader: Iterable[Any]) -> Iterator[Any]:
    """Repeat a loader without end."""
    return chain.from_iterable(repeat(loader))


class Pictures(Dataset[Any]):
    """Provide noise in the format of torchvision's MNIST and CIFAR-10; the content of images does not change the cost.

    Args:
        shape: (C, H, W).
        length: number of images.
        transform: function of a PIL image.
    """

    def __init__(self, shape: Sequence[int], length: int, transform: Callable[[Any], Any]) -> None:
        channels, *size = shape
        generator = torch.Generator().manual_seed(0)
        planes = size if channels == 1 else [*size, channels]
        self.data = torch.randint(256, (length, *planes), dtype=torch.uint8, generator=generator)
        self.targets = torch.randint(10, (length,), generator=generator)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


@dataclass(frozen=True)
class Workload:
    """Describe a training to time.

    Args:
        title: description.
        make: ``make(width, by_hand=...)`` returns (generator, discriminator).
        width: channels (or features) of the narrowest layer.
        batch_size: images per batch.
        shape: (C, H, W) of the training images.
        latent: distribution of latents.
        lr: learning rate of Adam.
        betas: betas of Adam.
        stored: side of the stored images in pixels, if the transforms enlarge them.
        pil: the original's transforms before ``ToTensor`` and ``Normalize``.
        transform: the same transform in ganlib.
        labelled: whether the networks use classes.
        random_labels: whether the classes of fakes are random; otherwise they are those of the batch.
        real_target: mean target of real samples in the discriminator's update.
        noise: width of the intervals for random targets of each sample, which end at 1 and start at 0.
        halved: whether the discriminator's losses of real and fake samples are averaged instead of added.
        joint_pass: whether ganlib's fast settings run the discriminator once on real and fake samples.
    """

    title: str
    make: Callable[..., networks.Pair]
    width: int
    batch_size: int
    shape: tuple[int, int, int]
    latent: Latent
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    stored: int | None = None
    pil: Callable[[], list[Any]] = list
    transform: Callable[[Tensor, torch.Generator], Tensor] | None = None
    labelled: bool = False
    random_labels: bool = False
    real_target: float = 1.0
    noise: float = 0.0
    halved: bool = False
    joint_pass: bool = False

    def sized(self, batch_size: int | None = None, width: int | None = None) -> "Workload":
        """Return the workload with another batch size or width."""
        return replace(self, batch_size=batch_size or self.batch_size, width=width or self.width)

    @property
    def length(self) -> int:
        """Return the length of the data set, which is large enough to rarely reach the end of an epoch."""
        return max(4 * self.batch_size, min(50 * self.batch_size, 6400))

    def as_pictures(self) -> Pictures:
        """Return the data as the originals read them: PIL images with classes, each transformed alone."""
        channels = self.shape[0]
        scale = [transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.5] * channels)]
        return self._pictures(transforms.Compose([*self.pil(), *scale]))

    def as_tensors(self) -> TensorDataset:
        """Return the data as uint8 tensors, with classes if the networks use them."""
        resize = transforms.Resize(self.shape[1]) if self.stored else None
        pictures = self._pictures(transforms.Compose([*([resize] if resize else []), transforms.PILToTensor()]))
        images = torch.stack([image for image, _ in (pictures[index] for index in range(len(pictures)))])
        return TensorDataset(images, pictures.targets) if self.labelled else TensorDataset(images)

    def _pictures(self, transform: Callable[[Any], Any]) -> Pictures:
        size = self.stored or self.shape[1]
        return Pictures((self.shape[0], size, size), self.length, transform)


WORKLOADS = {
    "cdcgan28": Workload(
        "a conditional DCGAN at 28 pixels",
        networks.cdcgan28,
        width=32,
        batch_size=128,
        shape=(1, 28, 28),
        latent=latents.Gaussian(100),
        labelled=True,
    ),
    "system2": Workload(
        "MNIST-GAN, two perceptrons",
        networks.mlp,
        width=32,
        batch_size=20,
        shape=(1, 28, 28),
        latent=latents.Uniform(100),
        lr=2e-3,
        betas=(0.9, 0.999),
        real_target=0.9,
        # Its dropout draws different random numbers in one forward pass, which does no harm.
        joint_pass=True,
    ),
    "system3": Workload(
        "DCGAN_CIFAR10 at 32 pixels",
        networks.dcgan32,
        width=128,
        batch_size=32,
        shape=(3, 32, 32),
        latent=latents.Gaussian(100),
        pil=lambda: [transforms.RandomHorizontalFlip()],
        transform=augment.RandomHorizontalFlip(),
        real_target=0.95,
        noise=0.1,
        halved=True,
    ),
    "system4": Workload(
        "deceptive-digits at 64 pixels",
        networks.deceptive64,
        width=64,
        batch_size=64,
        shape=(1, 64, 64),
        latent=latents.Gaussian(100),
        stored=28,
        pil=lambda: [transforms.Resize(64), transforms.RandomRotation(25)],
        transform=augment.RandomRotation(25),
        labelled=True,
        random_labels=True,
    ),
}

"""Measure samples against real images, for the example scripts and ``python -m ganlib evaluate``."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from _data import open_data
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import ganlib  # loads ganlib.metrics, and so torchmetrics, only when it is used
from ganlib import augment, data, models, training
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Batch, Latent

METRICS = ("fid", "kid", "prdc", "accuracy", "is", "modes", "memorization")
DIGITS = ("digits", "mnist")  # the data sets that ganlib's classifier knows
STACKED = "stacked-mnist"  # the data set with three digits in each image
MONITOR = "frechet_distance"  # the best checkpoint has the smallest value

_BATCH = 128  # the classifier is faster on a CPU than with 500


class DigitFeatures(nn.Module):
    """Compute the features of ganlib's classifier of digits, for images of any size with a digit in each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = ganlib.metrics.DigitClassifier.pretrained()

    def forward(self, samples: Tensor) -> Tensor:
        """Return the features (N, 128 C) of images (N, C, H, W) in [-1, 1]."""
        if samples.shape[2:] != (28, 28):
            samples = F.interpolate(samples, (28, 28), mode="bilinear", antialias=True)
        if samples.shape[1] == 1:  # metrics share the features of a tensor, and a view would be another one
            return self.classifier.features(samples)
        return self.classifier.features(samples.flatten(0, 1).unsqueeze(1)).view(len(samples), -1)

    def logits(self, samples: Tensor) -> Tensor:
        """Return the logits of images (N, C, H, W) in [-1, 1]; see :meth:`head`."""
        return self.head(self(samples))

    def head(self, rows: Tensor) -> Tensor:
        """Return the logits (N, 10^C) of features: for several digits, those of the number that they make."""
        each = self.classifier.head(rows.unflatten(1, (-1, self.classifier.head.in_features)))
        logits = each[:, 0]
        for digit in each.unbind(1)[1:]:
            logits = (logits.unsqueeze(2) + digit.unsqueeze(1)).flatten(1)
        return logits


@dataclass(frozen=True)
class Sampler:
    """Draw n samples with labels, in the proportions of the real images' labels.

    Args:
        generator: the generator.
        latent: the distribution of its latents.
        table: (K, ...) row y is the generator's condition for label y. None for a generator without a condition.
        labels: the labels of the real images. If the generator has other classes: ``torch.arange(K)``.
        batch_norm: see ``models.sample``.
        seed: seed of the latents.
    """

    generator: nn.Module
    latent: Latent
    table: Tensor | None = None
    labels: Tensor | None = None
    batch_norm: Literal["running", "sample"] = "running"
    seed: int = 0

    def __call__(self, n: int) -> Iterator[Batch]:
        """Yield batches with n samples in total, in the order of their labels."""
        options: Any = {"batch_norm": self.batch_norm, "batch_size": _BATCH, "seed": self.seed}
        if self.table is None or self.labels is None:
            for batch in models.sample(self.generator, self.latent, n, **options):
                yield Batch(batch.sample.clamp(-1, 1), None)  # as an image file has it; R3GAN has no tanh
            return
        labels = self.labels.cpu().sort().values
        labels = labels[_spread(n, len(labels))]
        batches = models.sample(self.generator, self.latent, condition=self.table.cpu()[labels], **options)
        for batch, label in zip(batches, labels.split(_BATCH), strict=True):
            yield Batch(batch.sample.clamp(-1, 1), label)


def real_images(
    arguments: argparse.Namespace,
    *,
    class_name: str | None = None,
    grey: bool = False,
    rotation: float | None = None,
    n: int | None = None,
    test: bool = True,
) -> data.TensorLoader:
    """Load the images that samples are compared with: the test set, or a folder's images, of all classes or of one.

    ``rotation`` rotates them by up to that many degrees, like the generator's training images. At most n are taken, at
    random from each class. Take as many as there are samples: coverage, for example, depends on both numbers.
    """
    dataset = open_data(arguments, test=test, grey=grey)
    if class_name is not None:
        if class_name not in dataset.classes:
            names = ", ".join(dataset.classes)
            raise ArgumentValueError(f"--data {arguments.data} has the classes {names:.200}, but not {class_name!r}")
        dataset = data.only_class(dataset, class_name)
    options: Any = {"device": arguments.device, "shuffle": False, "drop_last": False}
    loader = data.TensorLoader(dataset, _BATCH, **options)
    assert loader.conditions is not None
    if n is not None and n < len(loader.samples):
        order = torch.randperm(len(loader.samples), generator=torch.Generator().manual_seed(0))
        order = order[loader.conditions.cpu()[order].argsort(stable=True)]
        chosen = order[_spread(n, len(order))].sort().values.to(loader.samples.device)
        loader = data.TensorLoader(TensorDataset(loader.samples[chosen], loader.conditions[chosen]), _BATCH, **options)
    if rotation:
        turn, random = augment.RandomRotation(rotation), torch.Generator(loader.device).manual_seed(0)
        turned = torch.cat([turn(sample, random) for sample, _ in loader])
        assert loader.conditions is not None
        loader = data.TensorLoader(TensorDataset(turned, loader.conditions), _BATCH, **options)
    return loader


def _spread(n: int, length: int) -> Tensor:
    """Return n positions below ``length`` at equal distances."""
    return (2 * torch.arange(n) + 1) * length // (2 * n)


def features_for(data: str) -> str:
    """Return the name of the features for a data set: those of ganlib's classifier for digits, or Inception's."""
    return "digits" if data in (*DIGITS, STACKED) else "inception"


def load_features(name: str, weights: Any = None) -> Any:
    """Load the feature network, which also has ``logits``. ``weights`` is a file with Inception's weights."""
    return DigitFeatures() if name == "digits" else ganlib.metrics.InceptionFeatures(weights)


def default_metrics(features: str, *, digits: bool, data: str) -> list[str]:
    """Return the names of the default metrics; with accuracy for a conditional generator of digits."""
    if data == STACKED and features == "digits":
        return ["modes", "fid", "kid", "prdc"]
    return ["fid", "kid", "prdc", *["accuracy"] * (features == "digits" and digits)]


def make_metrics(
    names: Sequence[str], features: Any, classifier: Any, device: torch.device | str, *, data: str
) -> list[Any]:
    """Make metrics from their short names, with features (N, F) and logits (N, K), on a device."""
    reference: Any = "uniform" if data == STACKED else "real"  # published results of Stacked MNIST compare with that
    makers = {
        "fid": lambda: ganlib.metrics.FrechetDistance(features),
        "kid": lambda: ganlib.metrics.KernelDistance(features),
        "prdc": lambda: ganlib.metrics.PrecisionRecall(features),
        "accuracy": lambda: ganlib.metrics.LabelAccuracy(classifier),
        "is": lambda: ganlib.metrics.InceptionScore(classifier),
        "modes": lambda: ganlib.metrics.ModeCoverage(classifier, reference=reference),
        "memorization": lambda: ganlib.metrics.Memorization(features),
    }
    return [makers[name]().to(device) for name in names]


def check_counts(names: Sequence[str], samples: tuple[str, int], real: tuple[str, int]) -> None:
    """Raise an error if there are too few images: prdc needs six, for its five neighbors."""
    least = 6 if "prdc" in names else 2
    for argument, count in (samples, real):
        if count < least:
            raise ArgumentValueError(f"{argument} (={count}) must be at least {least} images for {', '.join(names)}")


def evaluation(
    arguments: argparse.Namespace,
    generator: nn.Module,
    latent: Latent,
    *,
    table: Tensor | None = None,
    class_name: str | None = None,
    batch_norm: Any = "running",
) -> list[training.Evaluate]:
    """Return the callback of ``--evaluate-every`` in a list, or an empty list without that option.

    Args:
        arguments: the command line.
        generator: the generator to measure: the average, if there is one.
        latent: the distribution of its latents.
        table: (K, ...) row y is the condition for label y of the data set. None for a generator without a condition.
        class_name: the class, if the generator is trained on only one.
        batch_norm: see ``models.sample``.
    """
    if arguments.evaluate_every is None:
        return []
    features = features_for(arguments.data)
    network = load_features(features).to(arguments.device)
    names = default_metrics(features, digits=table is not None and arguments.data in DIGITS, data=arguments.data)
    measured = make_metrics(names, network, network.logits, arguments.device, data=arguments.data)
    n = arguments.evaluate_samples
    real = real_images(arguments, class_name=class_name, rotation=getattr(arguments, "rotation", None), n=n)
    check_counts(names, ("--evaluate-samples", n), ("test images", len(real.samples)))
    sampler = Sampler(generator, latent, table, real.conditions, batch_norm, arguments.seed)
    return [training.Evaluate(measured, sampler, real=real, every=arguments.evaluate_every, n=n)]

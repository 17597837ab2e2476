"""How the example scripts and ``python -m ganlib evaluate`` measure samples: by which metrics, against what."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from _data import open_data
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import ganlib  # not metrics, which imports torchmetrics, and so takes seconds
from ganlib import augment, data, models, training
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Batch, Latent

METRICS = ("fid", "kid", "prdc", "accuracy", "is", "modes", "memorization")
DIGITS = ("digits", "mnist")  # the data sets whose images the classifier that comes with ganlib reads
MONITOR = "frechet_distance"  # the best checkpoint has the smallest

_BATCH = 128  # the classifier is faster on a CPU than with 500


class DigitFeatures(nn.Module):
    """The features of the classifier of digits that comes with ganlib, of grey images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = ganlib.metrics.DigitClassifier.pretrained()

    def forward(self, samples: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] -> (N, 128)."""
        if samples.shape[2:] != (28, 28):
            samples = F.interpolate(samples, (28, 28), mode="bilinear", antialias=True)
        return self.classifier.features(samples)

    def logits(self, samples: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] -> (N, 10)."""
        return self.classifier.head(self(samples))


@dataclass(frozen=True)
class Sampler:
    """Draws n samples, with labels; a label is as frequent as among the real images.

    Args:
        generator: what draws.
        latent: the distribution of its latents.
        table: (K, ...) row y is what the generator is given for label y; None for a generator without a condition.
        labels: those of the real images; if they are of other classes than the generator's, ``torch.arange(K)``.
        batch_norm: as for ``models.sample``.
        seed: of the latents.
    """

    generator: nn.Module
    latent: Latent
    table: Tensor | None = None
    labels: Tensor | None = None
    batch_norm: Literal["running", "sample"] = "running"
    seed: int = 0

    def __call__(self, n: int) -> Iterator[Batch]:
        """Batches of n samples in all, and their labels, in the order of the labels."""
        options: Any = {"batch_norm": self.batch_norm, "batch_size": _BATCH, "seed": self.seed}
        if self.table is None or self.labels is None:
            yield from models.sample(self.generator, self.latent, n, **options)
            return
        labels = self.labels.cpu().sort().values
        labels = labels[_spread(n, len(labels))]
        batches = models.sample(self.generator, self.latent, condition=self.table.cpu()[labels], **options)
        for batch, label in zip(batches, labels.split(_BATCH), strict=True):
            yield Batch(batch.sample, label)


def real_images(
    arguments: argparse.Namespace,
    *,
    class_name: str | None = None,
    grey: bool = False,
    rotation: float | None = None,
    n: int | None = None,
    test: bool = True,
) -> data.TensorLoader:
    """The images that samples are compared with, in their order: the test set, or a folder's images; of one class.

    They are turned, as those that the generator has learned, by up to ``rotation`` degrees. At most n are taken, at
    random from each class, as many as samples: coverage, for example, says nothing where the two numbers differ.
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
    """The positions of n out of so many, at equal distances."""
    return (2 * torch.arange(n) + 1) * length // (2 * n)


def features_for(data: str) -> str:
    """The features that fit a data set: those of the classifier of digits for digits, those of Inception for others."""
    return "digits" if data in DIGITS else "inception"


def load_features(name: str, weights: Any = None) -> Any:
    """The network of features, which also has ``logits``; weights are a file of Inception's."""
    return DigitFeatures() if name == "digits" else ganlib.metrics.InceptionFeatures(weights)


def default_metrics(features: str, *, digits: bool) -> list[str]:
    """Their names; accuracy for a generator that draws the digit that it is asked for."""
    return ["fid", "kid", "prdc", *["accuracy"] * (features == "digits" and digits)]


def make_metrics(names: Sequence[str], features: Any, classifier: Any, device: torch.device | str) -> list[Any]:
    """Metrics by their short names, of features (N, F) and logits (N, K), on a device."""
    makers = {
        "fid": lambda: ganlib.metrics.FrechetDistance(features),
        "kid": lambda: ganlib.metrics.KernelDistance(features),
        "prdc": lambda: ganlib.metrics.PrecisionRecall(features),
        "accuracy": lambda: ganlib.metrics.LabelAccuracy(classifier),
        "is": lambda: ganlib.metrics.InceptionScore(classifier),
        "modes": lambda: ganlib.metrics.ModeCoverage(classifier),
        "memorization": lambda: ganlib.metrics.Memorization(features),
    }
    return [makers[name]().to(device) for name in names]


def check_counts(names: Sequence[str], samples: tuple[str, int], real: tuple[str, int]) -> None:
    """Refuse fewer images, of either argument, than the metrics need: six, with five neighbors, for prdc."""
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
    """The callback of ``--evaluate-every``, or nothing without it; it must come before those that show metrics.

    Args:
        arguments: of the command line.
        generator: what is measured: the average, where there is one.
        latent: the distribution of its latents.
        table: (K, ...) row y is what it is given for label y of the data set; None if it takes no condition.
        class_name: the only class that it is trained on, if it is one.
        batch_norm: as for ``models.sample``.
    """
    if arguments.evaluate_every is None:
        return []
    features = features_for(arguments.data)
    network = load_features(features).to(arguments.device)
    names = default_metrics(features, digits=table is not None)
    measured = make_metrics(names, network, network.logits, arguments.device)
    n = arguments.evaluate_samples
    real = real_images(arguments, class_name=class_name, rotation=getattr(arguments, "rotation", None), n=n)
    check_counts(names, ("--evaluate-samples", n), ("test images", len(real.samples)))
    sampler = Sampler(generator, latent, table, real.conditions, batch_norm, arguments.seed)
    return [training.Evaluate(measured, sampler, real=real, every=arguments.evaluate_every, n=n)]

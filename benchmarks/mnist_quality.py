"""Measure drawn digits: are they what was asked for, and how far are they from real ones.

    python examples/mnist_cdcgan.py sample --run RUN --count 500 --out x.png --npz x.npz
    python -m benchmarks.mnist_quality --root DIR --classifier runs/classifier.pt x.npz

It prints the share of digits that the classifier reads as their label, and the Fréchet distance to MNIST's test set in
the classifier's features; beside each, what as many real training images get.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.datasets import MNIST

from benchmarks.digit_classifier import load
from ganlib import data, metrics
from ganlib.protocols import Batch


def measure(classifier: metrics.DigitClassifier, root: Path, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Label accuracy, and Fréchet distance to MNIST's test set."""
    real = data.TensorLoader(MNIST(root, train=False), 1000)
    distance = compare(metrics.FrechetDistance(classifier.features), real, images)
    return label_accuracy(classifier, images, labels), distance.item()


def label_accuracy(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images that are read as what was asked for."""
    accuracy = metrics.LabelAccuracy(classifier)
    for sample, label in zip(images.split(500), labels.split(500), strict=True):
        accuracy.update(sample, label)
    return accuracy.compute().item()


def compare(metric: Any, real: Iterable[Batch], images: Tensor) -> Any:
    """What a metric of two sides gives for drawn and real images."""
    for sample in images.split(500):
        metric.update(sample, real=False)
    for sample, _ in real:
        metric.update(sample, real=True)
    return metric.compute()


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path, nargs="+", metavar="X.npz")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="holds MNIST/raw")
    parser.add_argument("--classifier", type=Path, default=Path("runs/classifier.pt"), metavar="X.pt")
    arguments = parser.parse_args()
    classifier = load(arguments.classifier)
    size = 0
    for path in arguments.npz:
        with np.load(path) as arrays:
            images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        size = len(images)
        accuracy, frechet = measure(classifier, arguments.root, images, labels)
        print(f"{path}: {accuracy:.2%} as asked, Fréchet distance {frechet:.2f} ({size} images)")
    real = next(iter(data.TensorLoader(MNIST(arguments.root), size)))
    assert isinstance(real.condition, torch.Tensor)
    accuracy, frechet = measure(classifier, arguments.root, real.sample, real.condition)
    print(f"real training images: {accuracy:.2%}, Fréchet distance {frechet:.2f} ({size} images)")


if __name__ == "__main__":
    main()

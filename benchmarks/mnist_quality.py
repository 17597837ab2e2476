"""Measure generated digits: their label accuracy, and their distance to real digits.

    python examples/mnist_cdcgan.py sample --run RUN --count 500 --out x.png --npz x.npz
    python -m benchmarks.mnist_quality --root DIR --classifier runs/classifier.pt x.npz

The script prints the share of digits that the classifier assigns to their label, and the Fréchet distance to MNIST's
test set in the classifier's features. It then prints both for the same number of real training images.
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
    """Return the label accuracy, and the Fréchet distance to MNIST's test set."""
    real = data.TensorLoader(MNIST(root, train=False), 1000)
    distance = compare(metrics.FrechetDistance(classifier.features), real, images)
    return label_accuracy(classifier, images, labels), distance.item()


def label_accuracy(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that the classifier assigns to their label."""
    accuracy = metrics.LabelAccuracy(classifier)
    for sample, label in zip(images.split(500), labels.split(500), strict=True):
        accuracy.update(sample, label)
    return accuracy.compute().item()


def compare(metric: Any, real: Iterable[Batch], images: Tensor) -> Any:
    """Compute a metric that compares generated with real images."""
    for sample in images.split(500):
        metric.update(sample, real=False)
    for sample, _ in real:
        metric.update(sample, real=True)
    return metric.compute()


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npz", type=Path, nargs="+", metavar="X.npz")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with MNIST/raw")
    parser.add_argument("--classifier", type=Path, default=Path("runs/classifier.pt"), metavar="X.pt")
    arguments = parser.parse_args()
    classifier = load(arguments.classifier)
    size = 0
    for path in arguments.npz:
        with np.load(path) as arrays:
            images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
        size = len(images)
        accuracy, frechet = measure(classifier, arguments.root, images, labels)
        print(f"{path}: label accuracy {accuracy:.2%}, Fréchet distance {frechet:.2f} ({size} images)")
    real = next(iter(data.TensorLoader(MNIST(arguments.root), size)))
    assert isinstance(real.condition, torch.Tensor)
    accuracy, frechet = measure(classifier, arguments.root, real.sample, real.condition)
    print(f"real training images: label accuracy {accuracy:.2%}, Fréchet distance {frechet:.2f} ({size} images)")


if __name__ == "__main__":
    main()

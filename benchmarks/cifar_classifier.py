"""Train the classifier that measures generated CIFAR-10 images, on CIFAR-10 (JPEG).

    python -m benchmarks.cifar_classifier --root DIR --out runs/cifar_classifier.pt
    python -m benchmarks.cifar_classifier --root DIR --image-size 16 --out runs/cifar16.pt

DIR contains ``train`` and ``test``, each with a folder of images for each class. The script prints the accuracy on the
test images after every epoch, and the time.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.digit_classifier import learn
from ganlib import augment, data

BATCH_SIZE = 128


class ImageClassifier(nn.Module):
    """Classify color images with a small convolutional network of 128 features; images have 8x8 pixels or more.

    Reference: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
    arXiv:1409.1556.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        widths, body = (3, 32, 64, 128), list[nn.Module]()
        for before, width in pairwise(widths):
            for channels in (before, width):
                body += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            body.append(nn.MaxPool2d(2) if width < widths[-1] else nn.AdaptiveAvgPool2d(1))
        self.body = nn.Sequential(*body, nn.Flatten())
        self.head = nn.Linear(widths[-1], num_classes)

    def features(self, samples: Tensor) -> Tensor:
        """Return the input of the last layer: (N, 3, H, W) in [-1, 1] -> (N, 128)."""
        return self.body(samples)

    def forward(self, samples: Tensor) -> Tensor:
        """Return logits (N, num_classes)."""
        return self.head(self.features(samples))


def train(root: Path, *, epochs: int, seed: int, size: int = 32, device: str = "cpu") -> ImageClassifier:
    """Train a classifier on the training images, flipped and translated."""
    torch.manual_seed(seed)
    flip = augment.RandomHorizontalFlip()
    images = data.ImageFolder(root / "train", size)
    loader = data.TensorLoader(images, BATCH_SIZE, transform=flip, seed=seed, device=device)
    test = data.TensorLoader(data.ImageFolder(root / "test", size), 1000, device=device)
    move, classifier = augment.DiffAugment("translation"), ImageClassifier().to(device)
    learn(classifier, loader, test, epochs=epochs, lr=4e-3, weight_decay=2e-2, move=move)
    return classifier


def load(path: Path) -> ImageClassifier:
    """Load a classifier that this script has saved."""
    classifier = ImageClassifier()
    classifier.load_state_dict(torch.load(path, weights_only=True)["weights"])
    return classifier.eval()


def main() -> None:
    """Read the command line, train, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with train and test")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar_classifier.pt"), metavar="X.pt")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    arguments = parser.parse_args()
    classifier = train(
        arguments.root,
        epochs=arguments.epochs,
        seed=arguments.seed,
        size=arguments.image_size,
        device=arguments.device,
    ).cpu()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": classifier.state_dict()}, arguments.out)
    print(f"the classifier is {arguments.out}")


if __name__ == "__main__":
    main()

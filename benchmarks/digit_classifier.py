"""Train the DigitClassifier that generated digits are measured with, on real MNIST.

    python -m benchmarks.digit_classifier --root DIR --out runs/classifier.pt

It prints the accuracy on MNIST's test set after every epoch, and the time.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision.datasets import MNIST

from ganlib import augment, data, metrics, training

BATCH_SIZE = 128


def train(root: Path, *, epochs: int, seed: int, degrees: float = 12) -> metrics.DigitClassifier:
    """A classifier trained on the training set, turned by up to so many degrees, with one cycle of AdamW."""
    torch.manual_seed(seed)
    loader = data.TensorLoader(MNIST(root), BATCH_SIZE, transform=augment.RandomRotation(degrees), seed=seed)
    classifier = metrics.DigitClassifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loader))
    began = time.monotonic()
    for epoch in range(1, epochs + 1):
        classifier.train()
        for sample, condition in loader:
            assert condition is not None
            loss = F.cross_entropy(classifier(sample.to(memory_format=torch.channels_last)), condition)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch}: {accuracy(classifier, root):.2%} on the test set, {time.monotonic() - began:.0f} s")
    return classifier.eval()


def accuracy(classifier: metrics.DigitClassifier, root: Path) -> float:
    """The share of MNIST's test set that is read right."""
    score = metrics.LabelAccuracy(classifier.eval())
    for sample, condition in data.TensorLoader(MNIST(root, train=False), 1000):
        assert condition is not None
        score.update(sample, condition)
    return score.compute().item()


def load(path: Path) -> metrics.DigitClassifier:
    """A classifier that this script has saved."""
    classifier = metrics.DigitClassifier()
    classifier.load_state_dict(training.load_plain(path)["weights"])
    return classifier.eval()


def main() -> None:
    """Read the command line, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="holds MNIST/raw")
    parser.add_argument("--out", type=Path, default=Path("runs/classifier.pt"), metavar="X.pt")
    parser.add_argument("--epochs", type=int, default=8, metavar="N")
    parser.add_argument(
        "--degrees", type=float, default=12, help="how far its training images are turned (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    classifier = train(arguments.root, epochs=arguments.epochs, seed=arguments.seed, degrees=arguments.degrees)
    training.save_plain(arguments.out, {"weights": classifier.state_dict()})
    print(f"the classifier is {arguments.out}")


if __name__ == "__main__":
    main()

"""Train the DigitClassifier that measures generated digits, on real MNIST.

    python -m benchmarks.digit_classifier --root DIR --out runs/classifier.pt

The script prints the accuracy on MNIST's test set after every epoch, and the time.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.datasets import MNIST

from ganlib import augment, data, metrics
from ganlib.protocols import Batch

BATCH_SIZE = 128


def train(root: Path, *, epochs: int, seed: int, degrees: float = 12, device: str = "cpu") -> metrics.DigitClassifier:
    """Train a classifier on the training set, rotated by up to ``degrees``."""
    torch.manual_seed(seed)
    turn = augment.RandomRotation(degrees)
    loader = data.TensorLoader(MNIST(root), BATCH_SIZE, transform=turn, seed=seed, device=device)
    test = data.TensorLoader(MNIST(root, train=False), 1000, device=device)
    classifier = metrics.DigitClassifier().to(device)
    learn(classifier, loader, test, epochs=epochs, lr=2e-3, weight_decay=1e-2)
    return classifier


def learn(
    classifier: nn.Module,
    loader: data.TensorLoader,
    test: Iterable[Batch],
    *,
    epochs: int,
    lr: float,
    weight_decay: float,
    move: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Train a classifier with one cycle of AdamW, and print its accuracy after each epoch.

    The classifier is in evaluation mode afterwards.
    """
    classifier.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(loader))
    began = time.monotonic()
    for epoch in range(1, epochs + 1):
        classifier.train()
        for sample, condition in loader:
            assert isinstance(condition, Tensor)
            seen = sample if move is None else move(sample)
            loss = F.cross_entropy(classifier(seen.to(memory_format=torch.channels_last)), condition)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        score = metrics.LabelAccuracy(classifier.eval())
        for sample, condition in test:
            assert isinstance(condition, Tensor)
            score.update(sample, condition)
        seconds = time.monotonic() - began
        print(f"epoch {epoch}: {score.compute():.2%} on the test set, {seconds:.0f} s", flush=True)


def load(path: Path) -> metrics.DigitClassifier:
    """Load a classifier that this script has saved."""
    classifier = metrics.DigitClassifier()
    classifier.load_state_dict(torch.load(path, weights_only=True)["weights"])
    return classifier.eval()


def main() -> None:
    """Read the command line, train, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with MNIST/raw")
    parser.add_argument("--out", type=Path, default=Path("runs/classifier.pt"), metavar="X.pt")
    parser.add_argument("--epochs", type=int, default=8, metavar="N")
    parser.add_argument(
        "--degrees", type=float, default=12, help="largest rotation of training images (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in ("epochs", "seed", "degrees", "device")}
    classifier = train(arguments.root, **options).cpu()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": classifier.state_dict()}, arguments.out)
    print(f"the classifier is {arguments.out}")


if __name__ == "__main__":
    main()

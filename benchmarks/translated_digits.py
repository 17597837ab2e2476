"""Measure the label accuracy of digits that pix2pix and CycleGAN translate.

    python -m benchmarks.translated_digits examples/games/cyclegan.py runs/cyclegan
    python -m benchmarks.translated_digits examples/games/cyclegan.py runs/mnist --mnist DIR  # of a run with --data DIR

The script trains a classifier on 10,000 built-in digits of another seed for two epochs. With ``--mnist`` it trains one
on MNIST for one epoch, and the generator translates built-in digits to MNIST. The script prints the share of 1,000
held-out images that the classifier assigns to the right digit, before and after translation.
"""

import argparse
import runpy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from benchmarks import digit_classifier
from ganlib import data, metrics, training

SEED = 100  # the games train and test on the digits of seeds 0 and 1


def built_in_reader() -> metrics.DigitClassifier:
    """Train a classifier of the built-in digits."""
    torch.manual_seed(SEED)
    classifier = metrics.DigitClassifier()
    train = data.TensorLoader(data.RenderedDigits(length=10_000, seed=SEED), 128, seed=SEED)
    test = data.TensorLoader(data.RenderedDigits(length=2000, seed=SEED + 1), 1000)
    digit_classifier.learn(classifier, train, test, epochs=2, lr=2e-3, weight_decay=1e-2)
    return classifier


def held_out() -> tuple[Tensor, Tensor, Tensor]:
    """Return 1,000 built-in digits that no network was trained on, their outlines, and their labels."""
    loader = data.TensorLoader(data.RenderedDigits(length=1000, seed=SEED + 2), 1)
    assert isinstance(loader.conditions, Tensor)
    digits = loader.samples / 127.5 - 1
    outlines = torch.where(max_pool2d(digits, 3, 1, 1) - digits > 0.5, 1.0, -1.0)
    return digits, outlines, loader.conditions


def load(script: Path, run: Path, name: str) -> nn.Module:
    """Load a generator of a run by its name among the modules of the game."""
    state = training.Checkpoint(run).newest()
    if state is None:
        raise SystemExit(f"{run} contains no checkpoint")
    sys.path.insert(0, str(script.parent))
    network: nn.Module = runpy.run_path(str(script))["make_generator"]()
    network.load_state_dict(state["trainer"]["modules"][name])
    return network.eval()


@torch.no_grad()
def share_read(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that the classifier assigns to their label."""
    return (classifier.eval()(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    """Read the command line, and print the label accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path, help="a script of examples/games")
    parser.add_argument("run", type=Path, help="folder of a finished run of the script")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="folder with MNIST/raw")
    flags = parser.parse_args()
    digits, outlines, labels = held_out()
    if flags.mnist is None:
        classifier, images = built_in_reader(), outlines
        generator = load(flags.script, flags.run, "generator" if flags.script.stem == "pix2pix" else "to_a")
    else:
        classifier, images = digit_classifier.train(flags.mnist, epochs=1, seed=SEED), digits
        generator = load(flags.script, flags.run, "to_b")
    with torch.no_grad():
        translated = generator(images)
    before, after = (share_read(classifier, some, labels) for some in (images, translated))
    print(f"label accuracy of 1000 held-out images: {after:.3f} translated, {before:.3f} before")


if __name__ == "__main__":
    main()

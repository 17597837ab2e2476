"""Each reference system's recipe beside ours, for the same minutes on the same machine at the same time.

    python -m benchmarks.digit_classifier --root DIR --degrees 25 --epochs 6 --out runs/digits.pt
    python -m benchmarks.cifar_classifier --root DIR/cifar10 --epochs 6 --out runs/cifar.pt
    python -m benchmarks.reference_systems --root DIR --digits runs/digits.pt --cifar runs/cifar.pt --minutes 4

DIR holds ``MNIST/raw`` and ``cifar10/train`` and ``cifar10/test`` with a folder of images a class. The two trainings of
a system run at once, each on one half of the processor's cores, and nothing else should run beside them. Printed, and
written as ``results.csv``: iterations, the share of digits that the classifier reads as asked (systems 1 and 4), and
the Fréchet distance to test images in the features of the classifier, beside that of as many real training images.
"""

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks import cifar_classifier, digit_classifier
from benchmarks.mnist_quality import distance, label_accuracy
from ganlib import augment, data
from ganlib.protocols import Batch

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPES = ("ours", "original")


@dataclass(frozen=True)
class System:
    """One of the reference systems: who trains it, on what, by either recipe, and how much is drawn."""

    name: str
    script: str
    data: str
    count: int
    ours: Sequence[str] = ()
    original: Sequence[str] = ("--recipe", "original")


SYSTEMS = {
    1: System("cDCGAN-MNIST", "mnist_cdcgan.py", "mnist", 500),
    2: System("MNIST-GAN", "mnist_mlp_gan.py", "mnist", 5000),
    3: System("DCGAN_CIFAR10", "cifar10_dcgan.py", "folder", 2000),
    4: System(
        "deceptive-digits",
        "mnist_cdcgan.py",
        "mnist",
        500,
        ours=("--image-size", "64", "--rotation", "25"),
        original=("--preset", "deceptive64", "--recipe", "original"),
    ),
}


class Judge:
    """Measures drawn images beside real ones; what it needs of a system is read once."""

    def __init__(self, number: int, arguments: argparse.Namespace) -> None:
        root = arguments.root
        self.reads, self.size = number in (1, 4), 32 if number == 3 else 28
        if number == 3:
            self.classifier: Any = cifar_classifier.load(arguments.cifar)
            real = [_one_class(root / "cifar10" / part, arguments.class_name) for part in ("test", "train")]
        elif number == 4:
            # What the generator is to learn: images of 64 pixels, turned. The classifier looks at 28 of them.
            self.classifier = digit_classifier.load(arguments.digits)
            turn, resize = augment.RandomRotation(25), transforms.Resize(64)
            real = [
                data.TensorLoader(MNIST(root, train=train, transform=resize), 1000, transform=turn)
                for train in (False, True)
            ]
        else:
            self.classifier = digit_classifier.load(arguments.digits)
            real = [data.TensorLoader(MNIST(root, train=train), 1000) for train in (False, True)]
        self.test, self.training = real

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[float | None, float]:
        """The share read as asked, or None, and the Fréchet distance."""
        images = self._small(images)
        real = (Batch(self._small(sample), None) for sample, _ in self.test)
        read = label_accuracy(self.classifier, images, labels) if self.reads else None
        return read, distance(self.classifier.features, real, images)

    def real(self, n: int) -> tuple[float | None, float]:
        """The same of as many real training images."""
        batches, samples, labels = iter(self.training), list[Tensor](), list[Tensor]()
        while sum(map(len, samples)) < n:
            sample, label = next(batches)
            assert label is not None
            samples.append(sample)
            labels.append(label)
        return self(torch.cat(samples)[:n], torch.cat(labels)[:n])

    def _small(self, images: Tensor) -> Tensor:
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images, self.size, mode="bilinear", antialias=True)


def _one_class(folder: Path, name: str) -> data.TensorLoader:
    return data.TensorLoader(data.only_class(data.ImageFolder(folder, 32), name), 500)


def train_both(number: int, seed: int, folder: Path, arguments: argparse.Namespace) -> None:
    """Train by either recipe at once, each on its half of the cores."""
    system, cores = SYSTEMS[number], sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    root = arguments.root / "cifar10/train" if number == 3 else arguments.root
    running = []
    for recipe, own in zip(RECIPES, (cores[:half], cores[-half:]), strict=True):
        words = ["--data", system.data, "--root", root, *getattr(system, recipe)]
        words += ["--minutes", arguments.minutes, "--seed", seed]
        if number == 3:
            words += ["--class-name", arguments.class_name]
        with (folder / f"{recipe}.log").open("w", encoding="utf-8") as log:
            running.append(
                subprocess.Popen(
                    [sys.executable, EXAMPLES / system.script, "train", *map(str, words), "--out", folder / recipe],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "OMP_NUM_THREADS": str(half)},
                    preexec_fn=partial(os.sched_setaffinity, 0, own),
                )
            )
    failed = [recipe for recipe, process in zip(RECIPES, running, strict=True) if process.wait()]  # the other ends too
    if failed:
        sys.exit(f"{' and '.join(failed)} failed; see the .log in {folder}")


def drawn(number: int, run: Path) -> tuple[Tensor, Tensor]:
    """Images and labels of a run's generator."""
    system = SYSTEMS[number]
    words = ["sample", "--run", run, "--count", system.count, "--out", run / "drawn.png", "--npz", run / "drawn.npz"]
    command = [sys.executable, EXAMPLES / system.script, *words]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    with np.load(run / "drawn.npz") as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])


def main() -> None:
    """Read the command line, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    parser.add_argument("--digits", type=Path, required=True, metavar="X.pt", help="of benchmarks.digit_classifier")
    parser.add_argument("--cifar", type=Path, required=True, metavar="X.pt", help="of benchmarks.cifar_classifier")
    parser.add_argument("--class-name", default="cat", metavar="NAME", help="of system 3 (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=4, metavar="M", help="of each training (default: %(default)s)")
    parser.add_argument("--systems", type=int, nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S")
    parser.add_argument("--out", type=Path, default=Path("runs/reference_systems"), metavar="DIR")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "results.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["system", "seed", "recipe", "iterations", "read_as_asked", "frechet_distance"])

        def note(
            number: int, seed: object, recipe: str, iterations: object, read: float | None, frechet: float
        ) -> None:
            table.writerow([number, seed, recipe, iterations, read, frechet])
            file.flush()
            told = "" if read is None else f"{read:.2%} as asked, "
            name = f"{number} ({SYSTEMS[number].name})"
            print(f"{name}, seed {seed}, {recipe}: {iterations} iterations, {told}distance {frechet:.2f}", flush=True)

        for number in arguments.systems:
            judge, n = Judge(number, arguments), 0
            for seed in arguments.seeds:
                folder = arguments.out / f"{number}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                train_both(number, seed, folder, arguments)
                for recipe in RECIPES:
                    images, labels = drawn(number, folder / recipe)
                    rows = (folder / recipe / "metrics.csv").read_text(encoding="utf-8").splitlines()
                    note(number, seed, recipe, rows[-1].split(",")[0], *judge(images, labels))
                    n = len(images)
            note(number, "-", "real images", "-", *judge.real(n))


if __name__ == "__main__":
    main()

"""Measure the samples of finished runs: distance to real images, variety, and label accuracy.

    python -m benchmarks.run_quality runs/cat runs/mnist64 --root DIR --digits runs/digits.pt --cifar runs/cifar.pt
    python -m benchmarks.run_quality runs/cat --root DIR --cifar runs/cifar.pt --batch-norm running sample

RUN is the folder of a run of an example script, on MNIST or on one class of CIFAR-10. DIR contains ``MNIST/raw``, and
``cifar10/train`` and ``cifar10/test`` with a folder of images for each class. The script prints one line for each run
and each value of ``--batch-norm``:

- label accuracy: the share of digits that the classifier assigns to the requested class, for conditional runs;
- the Fréchet distance to test images in the features of the classifier (Heusel et al., 2017, arXiv:1706.08500, with
  other features);
- coverage: the share of test images that have a sample nearer, in these features, than their fifth nearest other test
  image (Naeem et al., 2020, arXiv:2002.09797, section 3.2, k = 5), by ``metrics.PrecisionRecall``;
- spread: the standard deviation over latents of a pixel in [-1, 1], averaged over pixels and classes. A spread near 0
  means that the generator has collapsed.

The last line of each run has the same measurements for the same number of real training images.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks import cifar_classifier, digit_classifier
from benchmarks.mnist_quality import compare, label_accuracy
from ganlib import augment, data, metrics
from ganlib.protocols import Batch

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class System:
    """Describe a reference system: script, data, options of both recipes, and the number of samples of each class."""

    name: str
    script: str
    data: str
    count: int
    ours: Sequence[str] = ()
    original: Sequence[str] = ("--recipe", "original")


SYSTEMS = {
    1: System("cDCGAN-MNIST", "mnist_cdcgan", "mnist", 500),
    2: System("MNIST-GAN", "mnist_mlp_gan", "mnist", 5000),
    3: System("DCGAN_CIFAR10", "cifar10_dcgan", "folder", 2000),
    4: System(
        "deceptive-digits",
        "mnist_cdcgan",
        "mnist",
        500,
        ours=("--image-size", "64", "--rotation", "25"),
        original=("--preset", "deceptive64", "--recipe", "original"),
    ),
}


class UnmeasuredError(Exception):
    """Say why a run cannot be measured."""


class Quality(NamedTuple):
    """Represent the measurements; see the top of this file."""

    read_as_asked: float | None
    frechet_distance: float
    coverage: float
    spread: float

    def __str__(self) -> str:
        """Format the measurements as one line."""
        read = "" if self.read_as_asked is None else f"label accuracy {self.read_as_asked:.2%}, "
        return f"{read}distance {self.frechet_distance:.2f}, coverage {self.coverage:.3f}, spread {self.spread:.3f}"


class Measure:
    """Measure images of one system, and read its real images once.

    Args:
        number: number of the system.
        root: folder with the data.
        classifier: file of the classifier, of digits or of CIFAR-10.
        class_name: class of system 3.
    """

    def __init__(self, number: int, root: Path, classifier: Path, class_name: str = "cat") -> None:
        self.reads, self.size = number in (1, 4), 32 if number == 3 else 28
        if number == 3:
            self.classifier: Any = cifar_classifier.load(classifier)
            real = [_one_class(root / "cifar10" / part, class_name) for part in ("test", "train")]
        else:
            self.classifier = digit_classifier.load(classifier)
            # The generator of system 4 learns rotated images of 64 pixels. The classifier needs 28 pixels.
            resize, turn = (transforms.Resize(64), augment.RandomRotation(25)) if number == 4 else (None, None)
            sets = (MNIST(root, train=train, transform=resize) for train in (False, True))
            real = [data.TensorLoader(Subset(images, range(10_000)), 1000, transform=turn) for images in sets]
        self.test, self.training = real

    def __call__(self, images: Tensor, labels: Tensor) -> Quality:
        """Measure images (N, C, H, W) in [-1, 1] with their requested labels (-1 without one)."""
        spread = torch.stack([images[labels == label].std(0).mean() for label in labels.unique()]).mean().item()
        images = self._small(images)
        real = [Batch(self._small(sample), None) for sample, _ in self.test]
        read = label_accuracy(self.classifier, images, labels) if self.reads else None
        features = self.classifier.features
        covered = compare(metrics.PrecisionRecall(features), real, images)["coverage"]
        return Quality(read, compare(metrics.FrechetDistance(features), real, images).item(), covered.item(), spread)

    def real(self, n: int) -> Quality:
        """Measure n real training images."""
        batches, samples, labels = iter(self.training), list[Tensor](), list[Tensor]()
        while sum(map(len, samples)) < n:
            sample, label = next(batches)
            assert isinstance(label, Tensor)
            samples.append(sample)
            labels.append(label)
        return self(torch.cat(samples)[:n], torch.cat(labels)[:n])

    def _small(self, images: Tensor) -> Tensor:
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images, self.size, mode="bilinear", antialias=True)


def _one_class(folder: Path, name: str) -> data.TensorLoader:
    return data.TensorLoader(data.only_class(data.ImageFolder(folder, 32), name), 500)


def drawn(number: int, run: Path, batch_norm: str | None = None, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Generate images and labels of a run; the defaults are the settings of its recipe and the count of its system."""
    system = SYSTEMS[number]
    words = [
        "sample",
        "--run",
        run,
        "--count",
        count or system.count,
        "--out",
        run / "drawn.png",
        "--npz",
        run / "drawn.npz",
    ]
    words += [] if batch_norm is None else ["--batch-norm", batch_norm]
    command = [sys.executable, EXAMPLES / f"{system.script}.py", *words]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode:
        raise UnmeasuredError(f"a run that cannot be sampled this way: {done.stderr.strip().splitlines()[-1]}")
    with np.load(run / "drawn.npz") as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])


def system_of(run: Path) -> int:
    """Return the number of the system that a run reproduces."""
    what = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if what["data"] not in ("mnist", "folder"):
        raise UnmeasuredError(
            f"a run on {what['data']}, but only runs on MNIST and on CIFAR-10 in folders can be measured"
        )
    if what.get("image_size") == 64 and what.get("rotation") not in (None, 25.0):
        raise UnmeasuredError("a run with 64 pixels, which can be measured only with --rotation 25")
    if what["script"] == "mnist_cdcgan":
        return 4 if what["image_size"] == 64 else 1
    for number, system in SYSTEMS.items():
        if system.script == what["script"]:
            return number
    raise UnmeasuredError(f"a run of {what['script']}, which cannot be measured")


def iterations(run: Path) -> str:
    """Return the last iteration of a run."""
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    return rows[-1].split(",")[0]


def lines(run: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each value of ``--batch-norm``, and one for real images."""
    number = system_of(run)
    what = json.loads((run / "run.json").read_text(encoding="utf-8"))
    classifier = arguments.cifar if number == 3 else arguments.digits
    if classifier is None:
        sys.exit(f"{run} needs {'--cifar' if number == 3 else '--digits'}")
    measure = Measure(number, arguments.root, classifier, what.get("class_name", "cat"))
    n = 0
    for batch_norm in arguments.batch_norm or [what.get("batch_norm", "running")]:
        try:
            images, labels = drawn(number, run, batch_norm, arguments.count)
        except UnmeasuredError as what_it_is:
            yield f"{run}, batch norm {batch_norm}: {what_it_is}"
            continue
        n = len(images)
        yield f"{run}, {iterations(run)} iterations, batch norm {batch_norm}: {measure(images, labels)}"
    if n:
        yield f"{n} real training images: {measure.real(n)}"


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--digits", type=Path, metavar="X.pt", help="classifier of digits, made by benchmarks.digit_classifier"
    )
    parser.add_argument(
        "--cifar", type=Path, metavar="X.pt", help="classifier of CIFAR-10, made by benchmarks.cifar_classifier"
    )
    parser.add_argument(
        "--batch-norm",
        nargs="+",
        choices=["running", "sample"],
        help="statistics of batch norm (default: those of the run's recipe)",
    )
    how_many = "samples of each class (default: 500; without classes 5000 or 2000)"
    parser.add_argument("--count", type=int, metavar="N", help=how_many)
    arguments = parser.parse_args()
    for run in arguments.runs:
        try:
            for line in lines(run, arguments):
                print(line, flush=True)
        except UnmeasuredError as what_it_is:
            print(f"{run} is {what_it_is}", flush=True)


if __name__ == "__main__":
    main()

"""How good the samples of finished runs are: near to the real ones, all of their variety, and what was asked for.

    python -m benchmarks.run_quality runs/cat runs/mnist64 --root DIR --digits runs/digits.pt --cifar runs/cifar.pt
    python -m benchmarks.run_quality runs/cat --root DIR --cifar runs/cifar.pt --batch-norm running sample

RUN is a folder that one of the examples has left, on MNIST or on one class of CIFAR-10. DIR holds ``MNIST/raw`` and
``cifar10/train`` and ``cifar10/test`` with a folder of images for each class. For each run, and each way of normalizing
that is asked for, one line is printed:

- the share of digits that the classifier reads as asked, where a class was asked for;
- the Fréchet distance to test images in the features of the classifier (Heusel et al. 2017, arXiv:1706.08500, with
  other features);
- coverage: the share of test images that have a sample nearer, in these features, than their fifth nearest other test
  image (Naeem et al. 2020, arXiv:2002.09797, section 3.2, k = 5), by ``metrics.PrecisionRecall``;
- spread: the standard deviation over latents of a pixel in [-1, 1], averaged over pixels and classes. Near 0 the
  generator has collapsed.

A last line for each run says the same of as many real training images.
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
    """One of the reference systems: who trains it, on what, by either recipe, and how much is drawn of each class."""

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
    """What a run is, that cannot be measured here."""


class Quality(NamedTuple):
    """What is measured; see the top of this file."""

    read_as_asked: float | None
    frechet_distance: float
    coverage: float
    spread: float

    def __str__(self) -> str:
        """One line."""
        read = "" if self.read_as_asked is None else f"{self.read_as_asked:.2%} as asked, "
        return f"{read}distance {self.frechet_distance:.2f}, coverage {self.coverage:.3f}, spread {self.spread:.3f}"


class Measure:
    """Measures images of one system; what it needs for that is read once.

    Args:
        number: of the system.
        root: holds the data.
        classifier: the file of the classifier, of digits or of CIFAR-10.
        class_name: of system 3.
    """

    def __init__(self, number: int, root: Path, classifier: Path, class_name: str = "cat") -> None:
        self.reads, self.size = number in (1, 4), 32 if number == 3 else 28
        if number == 3:
            self.classifier: Any = cifar_classifier.load(classifier)
            real = [_one_class(root / "cifar10" / part, class_name) for part in ("test", "train")]
        else:
            self.classifier = digit_classifier.load(classifier)
            # Of system 4 the generator is to learn images of 64 pixels, turned. The classifier looks at 28 of them.
            resize, turn = (transforms.Resize(64), augment.RandomRotation(25)) if number == 4 else (None, None)
            sets = (MNIST(root, train=train, transform=resize) for train in (False, True))
            real = [data.TensorLoader(Subset(images, range(10_000)), 1000, transform=turn) for images in sets]
        self.test, self.training = real

    def __call__(self, images: Tensor, labels: Tensor) -> Quality:
        """Measure images (N, C, H, W) in [-1, 1] with the labels that were asked for (-1 without one)."""
        spread = torch.stack([images[labels == label].std(0).mean() for label in labels.unique()]).mean().item()
        images = self._small(images)
        real = [Batch(self._small(sample), None) for sample, _ in self.test]
        read = label_accuracy(self.classifier, images, labels) if self.reads else None
        features = self.classifier.features
        covered = compare(metrics.PrecisionRecall(features), real, images)["coverage"]
        return Quality(read, compare(metrics.FrechetDistance(features), real, images).item(), covered.item(), spread)

    def real(self, n: int) -> Quality:
        """The same of as many real training images."""
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
    """Images and labels of a run's generator; normalized as its recipe does, and as many as usual, if not told."""
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
        raise UnmeasuredError(f"a run that cannot be drawn so: {done.stderr.strip().splitlines()[-1]}")
    with np.load(run / "drawn.npz") as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])


def system_of(run: Path) -> int:
    """The number of the system whose kind a run is of."""
    what = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if what["data"] not in ("mnist", "folder"):
        raise UnmeasuredError(f"a run on {what['data']}, and only MNIST and CIFAR-10 in folders are measured here")
    if what.get("image_size") == 64 and what.get("rotation") not in (None, 25.0):
        raise UnmeasuredError("of 64 pixels, and is measured only if turned by 25 degrees")
    if what["script"] == "mnist_cdcgan":
        return 4 if what["image_size"] == 64 else 1
    for number, system in SYSTEMS.items():
        if system.script == what["script"]:
            return number
    raise UnmeasuredError(f"a run of {what['script']}, which is not measured here")


def iterations(run: Path) -> str:
    """How far a run went."""
    rows = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    return rows[-1].split(",")[0]


def lines(run: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """A line for each way of normalizing, and one for real images."""
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
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    parser.add_argument("--digits", type=Path, metavar="X.pt", help="of benchmarks.digit_classifier")
    parser.add_argument("--cifar", type=Path, metavar="X.pt", help="of benchmarks.cifar_classifier")
    parser.add_argument(
        "--batch-norm", nargs="+", choices=["running", "sample"], help="(default: as the run's recipe draws)"
    )
    how_many = "samples of each class (default: 500, and 5000 or 2000 where there are no classes)"
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

"""Train the original recipe and our recipe of each reference system for the same time on the same machine.

    python -m benchmarks.digit_classifier --root DIR --degrees 25 --epochs 6 --out runs/digits.pt
    python -m benchmarks.cifar_classifier --root DIR/cifar10 --epochs 6 --out runs/cifar.pt
    python -m benchmarks.reference_systems --root DIR --digits runs/digits.pt --cifar runs/cifar.pt --minutes 4

DIR contains ``MNIST/raw``, and ``cifar10/train`` and ``cifar10/test`` with a folder of images for each class. The two
trainings of a system run at the same time, each on one half of the processor's cores. Run nothing else meanwhile. The
script prints the iterations and the measurements of ``benchmarks.run_quality``, and writes them to ``results.csv``. Use
``benchmarks.run_quality`` for runs of any other length.
"""

import argparse
import csv
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.run_quality import EXAMPLES, SYSTEMS, Measure, Quality, drawn, iterations

RECIPES = ("ours", "original")


def train_both(number: int, seed: int, folder: Path, arguments: argparse.Namespace) -> None:
    """Train both recipes at the same time, each on its half of the cores."""
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
                    [
                        sys.executable,
                        EXAMPLES / f"{system.script}.py",
                        "train",
                        *map(str, words),
                        "--out",
                        folder / recipe,
                    ],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "OMP_NUM_THREADS": str(half)},
                    preexec_fn=partial(os.sched_setaffinity, 0, own),
                )
            )
    failed = [recipe for recipe, process in zip(RECIPES, running, strict=True) if process.wait()]  # waits for both
    if failed:
        sys.exit(f"{' and '.join(failed)} failed; see the .log in {folder}")


def main() -> None:
    """Read the command line, train, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--digits",
        type=Path,
        required=True,
        metavar="X.pt",
        help="classifier of digits, made by benchmarks.digit_classifier",
    )
    parser.add_argument(
        "--cifar",
        type=Path,
        required=True,
        metavar="X.pt",
        help="classifier of CIFAR-10, made by benchmarks.cifar_classifier",
    )
    parser.add_argument("--class-name", default="cat", metavar="NAME", help="class of system 3 (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=4, metavar="M", help="length of each training (default: %(default)s)"
    )
    parser.add_argument("--systems", type=int, nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S")
    parser.add_argument("--out", type=Path, default=Path("runs/reference_systems"), metavar="DIR")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "results.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["system", "seed", "recipe", "iterations", *Quality._fields])

        def note(number: int, seed: object, recipe: str, iterations: str, quality: Quality) -> None:
            table.writerow([number, seed, recipe, iterations, *quality])
            file.flush()
            name = f"{number} ({SYSTEMS[number].name})"
            print(f"{name}, seed {seed}, {recipe}: {iterations} iterations, {quality}", flush=True)

        for number in arguments.systems:
            classifier = arguments.cifar if number == 3 else arguments.digits
            measure, n = Measure(number, arguments.root, classifier, arguments.class_name), 0
            for seed in arguments.seeds:
                folder = arguments.out / f"{number}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                train_both(number, seed, folder, arguments)
                for recipe in RECIPES:
                    images, labels = drawn(number, folder / recipe)
                    note(number, seed, recipe, iterations(folder / recipe), measure(images, labels))
                    n = len(images)
            note(number, "-", "real images", "-", measure.real(n))


if __name__ == "__main__":
    main()

"""Measure the effect of each speed setting on the quality of samples, after the same iterations.

    python -m benchmarks.digit_classifier --root DIR --epochs 6 --out runs/classifier.pt
    python -m benchmarks.setting_quality --root DIR --classifier runs/classifier.pt --iterations 2000 --seeds 0 1 2

DIR contains ``MNIST/raw``. Every training runs ``examples/mnist_cdcgan.py train --data mnist`` with the options of one
setting, for the same number of iterations, and then generates 500 digits of each label. The script prints the label
accuracy by the classifier, and the Fréchet distance to MNIST's test set in its features, and writes both to
``results.csv``. The number of iterations is fixed, so other programs do not change the results: ``--jobs`` trainings
run at the same time, with one thread each.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.digit_classifier import load
from benchmarks.mnist_quality import measure
from benchmarks.run_quality import EXAMPLES, drawn

PLAIN = ["--precision", "fp32", "--channels-last", "no"]
SETTINGS = {
    "none": PLAIN,
    "channels_last": ["--precision", "fp32", "--channels-last", "yes"],
    "bf16": ["--precision", "bf16", "--channels-last", "no"],
    "compile": [*PLAIN, "--compile"],
    "fast": [],
    "tf32": ["--precision", "tf32", "--channels-last", "no"],
    "fp16": ["--precision", "fp16", "--channels-last", "no"],
}


def train(setting: str, seed: int, run: Path, arguments: argparse.Namespace) -> None:
    """Train in a separate process."""
    words = ["--data", "mnist", "--root", arguments.root, "--iterations", arguments.iterations, "--seed", seed]
    words += ["--device", arguments.device, *SETTINGS[setting], "--out", run]
    command = [sys.executable, EXAMPLES / "mnist_cdcgan.py", "train", *words]
    run.mkdir(parents=True, exist_ok=True)
    with (run / "log").open("w", encoding="utf-8") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if arguments.jobs > 1 else None
        subprocess.run(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, check=True, env=environment)


def main() -> None:
    """Read the command line, train, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with MNIST/raw")
    parser.add_argument(
        "--classifier", type=Path, required=True, metavar="X.pt", help="classifier, made by benchmarks.digit_classifier"
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS)[:5], metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    parser.add_argument(
        "--iterations", type=int, default=2000, metavar="N", help="length of each training (default: %(default)s)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="trainings at the same time (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/setting_quality"), metavar="DIR")
    arguments = parser.parse_args()
    cases = [(setting, seed) for seed in arguments.seeds for setting in arguments.settings]
    runs = [arguments.out / f"{setting}-{seed}" for setting, seed in cases]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda case, run: train(case[0], case[1], run, arguments), cases, runs))
    classifier, found = load(arguments.classifier), dict[str, list[tuple[float, float]]]()
    with (arguments.out / "results.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["setting", "seed", "iterations", "read_as_asked", "frechet_distance"])
        for (setting, seed), run in zip(cases, runs, strict=True):
            read, frechet = measure(classifier, arguments.root, *drawn(1, run))
            found.setdefault(setting, []).append((read, frechet))
            table.writerow([setting, seed, arguments.iterations, read, frechet])
            print(f"{setting}, seed {seed}: label accuracy {read:.2%}, Fréchet distance {frechet:.2f}", flush=True)
    for setting, pairs in found.items():
        shares, distances = zip(*pairs, strict=True)
        print(
            f"{setting}: {statistics.mean(shares):.2%} ({min(shares):.2%} to {max(shares):.2%}), "
            f"{statistics.mean(distances):.1f} ({min(distances):.1f} to {max(distances):.1f})"
        )


if __name__ == "__main__":
    main()

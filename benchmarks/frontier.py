"""Train every recipe at hand for the same time, and measure its samples over time: quality per minute.

    python -m benchmarks.frontier train --task mnist --root DIR --minutes 3 --seeds 0 1 2 --out runs/frontier
    python -m benchmarks.frontier train --task stacked-mnist --root DIR --minutes 20 --out runs/frontier
    python -m benchmarks.cifar_classifier --root DIR/cifar10 --image-size 16 --out runs/cifar16.pt
    python -m benchmarks.frontier train --task cifar16 --root DIR --classifier runs/cifar16.pt --minutes 10
    python -m benchmarks.frontier train --task cifar32 --root DIR --classifier runs/cifar.pt --minutes 4 --device cuda
    python -m benchmarks.frontier plot runs/frontier --out frontier.png

DIR contains ``MNIST/raw``, and ``cifar10/train`` and ``cifar10/test`` with a folder of images for each class. The
trainings run one after the other, each as its script runs it. Run nothing else meanwhile. The time of the measurements
does not count. Each row of ``TASK.csv`` has one measurement against test images, in the features of a classifier:

- the Fréchet distance (Heusel et al., 2017, arXiv:1706.08500) and the kernel distance (KID; Binkowski et al., 2018,
  arXiv:1801.01401);
- precision, recall, density and coverage (Naeem et al., 2020, arXiv:2002.09797, k = 5);
- for conditional runs, the share of samples that the classifier assigns to their label;
- for Stacked MNIST, the number of modes and the divergence from equal shares.

The row "real images" measures training images in the same way. ``TASK.json`` has the minutes and the name of the
classifier: a folder has results of the same settings only.
"""

import argparse
import csv
import importlib
import json
import math
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets import MNIST

from benchmarks import cifar_classifier, digit_classifier
from ganlib import data, training
from ganlib.protocols import Batch, Latent, Run

EXAMPLES = Path(__file__).parents[1] / "examples"
MOMENTS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # parts of the training time, before its end
REAL = "real images"


@dataclass(frozen=True)
class Task:
    """Describe a data set: its name in the scripts, its size in pixels, the measurements and the recipes.

    Args:
        data: the value of the scripts' option ``--data``.
        size: height and width in pixels.
        measured: short names of metrics.
        samples: number of samples of a measurement, and of real images.
        recipes: names of recipes that can train on it.
    """

    data: str
    size: int
    measured: Sequence[str]
    samples: int
    recipes: Sequence[str]


RECIPES: dict[str, Sequence[str]] = {
    "MNIST-GAN, original": ("mnist_mlp_gan.py", "--recipe", "original"),
    "MNIST-GAN, ours": ("mnist_mlp_gan.py",),
    "CGAN, original": ("cgan.py",),
    "cDCGAN, original": ("mnist_cdcgan.py", "--recipe", "original"),
    "cDCGAN, ours": ("mnist_cdcgan.py",),
    "SNGAN": ("modern.py", "--model", "sngan"),
    "R3GAN": ("modern.py", "--model", "r3gan"),
    "DCGAN, modern": ("modern.py", "--model", "dcgan"),
}
_MODERN = ("SNGAN", "R3GAN", "DCGAN, modern")
_CONDITIONAL = ("cDCGAN, original", "cDCGAN, ours", *_MODERN)
_USUAL = ("fid", "kid", "prdc", "accuracy")
TASKS = {
    "mnist": Task("mnist", 28, _USUAL, 5_000, [*RECIPES]),
    "stacked-mnist": Task("stacked-mnist", 28, ("modes", "fid"), 26_000, ("MNIST-GAN, original", *_MODERN)),
    "cifar16": Task("folder", 16, _USUAL, 5_000, _CONDITIONAL),
    "cifar32": Task("folder", 32, _USUAL, 5_000, _CONDITIONAL),
}


def shared_code() -> Any:
    """Import what the scripts share for evaluation."""
    sys.path[:0] = [str(EXAMPLES)] * (str(EXAMPLES) not in sys.path)
    return importlib.import_module("_evaluation")


class Curve:
    """Measure a generator at parts of its training time.

    Args:
        evaluate: the measurement.
        minutes: the training time.
        note: a function that gets the seconds, the iteration and the results.
    """

    untimed = True

    def __init__(
        self, evaluate: training.Evaluate, minutes: float, note: Callable[[float, int, Mapping[str, float]], None]
    ) -> None:
        self.evaluate, self.note = evaluate, note
        self.moments = [60 * minutes * moment for moment in MOMENTS]
        self.measured_at = 0  # iteration

    def on_iteration(self, run: Run) -> None:
        """Measure if the next moment has passed."""
        if self.moments and run.seconds >= self.moments[0]:
            self.moments = [moment for moment in self.moments if moment > run.seconds]
            self._measure(run)

    def on_end(self, run: Run) -> None:
        """Measure the final generator."""
        if self.measured_at < run.iteration:
            self._measure(run)

    def _measure(self, run: Run) -> None:
        seconds = run.seconds  # before the measurement, which takes time of its own
        results = self.evaluate.measure()
        run.log(results)  # the script's checkpoints monitor one of them
        self.note(seconds, run.iteration, results)
        self.measured_at = run.iteration


class Measure:
    """Measure generators, or real images, of a task.

    Args:
        task: the task.
        arguments: the command line: ``root``, ``classifier`` and ``device``.
    """

    def __init__(self, task: Task, arguments: argparse.Namespace) -> None:
        self.task, self.arguments = task, arguments
        self.metrics: dict[bool, list[Any]] = {}  # by whether samples have labels
        self.shared: Any = vars(shared_code())
        if task.data == "folder":
            self.network: Any = cifar_classifier.load(arguments.classifier)
            self.features, self.logits = self.network.features, self.network
        else:
            self.network = self.shared["DigitFeatures"]()
            if arguments.classifier is not None:
                self.network.classifier = digit_classifier.load(arguments.classifier)
            self.features, self.logits = self.network, self.network.logits
        self.network.to(arguments.device).eval()
        self.real = self._loader(test=True)

    def of(self, sampler: Callable[[int], Any], *, conditional: bool) -> training.Evaluate:
        """Make the measurement of a sampler; all measurements share what they keep of the real images."""
        if conditional not in self.metrics:
            names = [name for name in self.task.measured if conditional or name != "accuracy"]
            make = self.shared["make_metrics"]
            self.metrics[conditional] = make(
                names, self.features, self.logits, self.arguments.device, data=self.task.data
            )
        return training.Evaluate(self.metrics[conditional], sampler, real=self.real, n=self.task.samples)

    def of_generator(
        self, generator: nn.Module, latent: Latent, *, table: Tensor | None = None, batch_norm: Any = "running"
    ) -> training.Evaluate:
        """Make the measurement of a generator, with the labels of the test images."""
        sampler = self.shared["Sampler"](generator, latent, table, self.real.conditions, batch_norm)
        return self.of(sampler, conditional=table is not None)

    def of_training_images(self) -> Mapping[str, float]:
        """Measure as many training images as there are samples of a generator."""
        images = self._loader(test=False)
        return self.of(lambda n: iter(images), conditional=True).measure()

    def images(self, *, test: bool) -> Dataset[Any]:
        """Open the test set or the training set."""
        task, root = self.task, self.arguments.root
        if task.data == "folder":
            return data.ImageFolder(root / "cifar10" / ("test" if test else "train"), task.size)
        digits = MNIST(root, train=not test)
        if task.data == "stacked-mnist":
            return data.StackedMNIST(digits, length=task.samples if test else 128_000)
        return digits

    def _loader(self, *, test: bool) -> data.TensorLoader:
        """Load as many images as there are samples, drawn at random."""
        drawn: Batch = next(iter(data.TensorLoader(self.images(test=test), self.task.samples, seed=0)))
        assert isinstance(drawn.condition, Tensor)
        chosen = TensorDataset(drawn.sample, drawn.condition)
        return data.TensorLoader(chosen, 500, shuffle=False, drop_last=False, device=self.arguments.device)


class Table:
    """Append rows to a CSV file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, recipe: str, seed: object, seconds: float, iteration: int, results: Mapping[str, float]) -> None:
        """Write and print a row."""
        row = {"recipe": recipe, "seed": seed, "seconds": round(seconds, 1), "iteration": iteration}
        row |= {name: float(f"{value:.5g}") for name, value in results.items()}
        columns = ["recipe", "seed", "seconds", "iteration", *_RESULTS]
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            if new:
                table.writeheader()
            table.writerow(row)
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)

    def drop(self, recipe: str, seed: object) -> None:
        """Remove the rows of a training that was stopped."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        with self.path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *(row for row in rows if row[:2] != [recipe, str(seed)])])


def keep_settings(arguments: argparse.Namespace) -> None:
    """Write the settings into the folder, or stop if its results have others."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, results = (arguments.out / f"{arguments.task}.{ending}" for ending in ("json", "csv"))
    classifier = None if arguments.classifier is None else arguments.classifier.name  # the folder differs by machine
    settings = {"minutes": arguments.minutes, "classifier": classifier}
    if path.exists() and results.exists():
        for name, value in json.loads(path.read_text(encoding="utf-8")).items():
            if value != settings.get(name):
                sys.exit(
                    f"--{name} (={settings.get(name)}) differs from {value}, with which {results} was made: use that, "
                    "or another folder as --out"
                )
    path.write_text(json.dumps(settings) + "\n", encoding="utf-8")


_RESULTS = (
    *("frechet_distance", "kernel_distance", "kernel_distance_std", "precision", "recall", "density", "coverage"),
    *("label_accuracy", "modes_found", "kl_divergence"),
)


def folder_of(arguments: argparse.Namespace, recipe: str, seed: int) -> Path:
    """Return the folder of a run."""
    folder: Path = arguments.out / f"{arguments.task}, {recipe}, {seed}"
    return folder


def train_one(arguments: argparse.Namespace) -> None:
    """Run the script of a recipe in this process, with a measurement of our own."""
    task, (script, *options) = TASKS[arguments.task], RECIPES[arguments.recipe]
    measure, table = Measure(task, arguments), Table(arguments.out / f"{arguments.task}.csv")
    shared = shared_code()

    def evaluation(_: Any, generator: nn.Module, latent: Latent, **words: Any) -> list[Curve]:
        measured = measure.of_generator(generator, latent, **words)

        def note(*row: Any) -> None:
            table.add(arguments.recipe, arguments.seed, *row)

        return [Curve(measured, arguments.minutes, note)]

    shared.evaluation = evaluation  # the scripts import it from there
    root = arguments.root / "cifar10/train" if task.data == "folder" else arguments.root
    run = folder_of(arguments, arguments.recipe, arguments.seed)
    words = ["train", "--data", task.data, "--root", root, "--image-size", task.size, "--minutes", arguments.minutes]
    words += ["--seed", arguments.seed, "--device", arguments.device, "--out", run, *options]
    sys.argv = [script, *map(str, words)]
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def train(arguments: argparse.Namespace) -> None:
    """Train each recipe in a process of its own, one after the other; a finished training is not repeated."""
    task = TASKS[arguments.task]
    if task.data == "folder" and arguments.classifier is None:
        sys.exit(f"--task {arguments.task} needs --classifier, made by benchmarks.cifar_classifier")
    keep_settings(arguments)
    table, failed = Table(arguments.out / f"{arguments.task}.csv"), list[str]()
    for seed in arguments.seeds:
        for recipe in arguments.recipes or task.recipes:
            run = folder_of(arguments, recipe, seed)
            if (run / "generator.safetensors").exists():
                print(f"{recipe}, seed {seed} is finished: {run}", flush=True)
                continue
            shutil.rmtree(run, ignore_errors=True)
            table.drop(recipe, seed)
            words = [sys.executable, "-m", "benchmarks.frontier", "one", "--task", arguments.task, "--recipe", recipe]
            for name in ("root", "minutes", "device", "out", "classifier"):
                value = getattr(arguments, name)
                words += [] if value is None else [f"--{name}", str(value)]
            with run.with_name(f"{run.name}.log").open("w", encoding="utf-8") as log:
                done = subprocess.run([*words, "--seed", str(seed)], stderr=log, check=False)
            if done.returncode:
                failed.append(f"{recipe}, seed {seed} failed: see {log.name} (status {done.returncode})")
                print(failed[-1], flush=True)
    if not table.path.exists() or REAL not in read(table.path):
        table.add(REAL, "", math.inf, 0, Measure(task, arguments).of_training_images())
    if failed:
        sys.exit(1)


def read(path: Path) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Read the rows of a file, by recipe and seed."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            recipe, seed = row.pop("recipe"), row.pop("seed")
            values = {name: float(value) for name, value in row.items() if value}
            found.setdefault(recipe, {}).setdefault(seed, []).append(values)
    return found


def plot(folder: Path, out: Path) -> None:
    """Draw a row for each task, and a column for each measurement: a line for each recipe, over the minutes."""
    import matplotlib.pyplot as plt  # only this command needs it

    shown = {
        "frechet_distance": "Fréchet distance",
        "kernel_distance": "kernel distance (KID)",
        "coverage": "coverage",
        "label_accuracy": "label accuracy",
        "modes_found": "modes found",
        "kl_divergence": "KL from equal shares",
    }
    tasks = {task: read(folder / f"{task}.csv") for task in TASKS if (folder / f"{task}.csv").exists()}
    if not tasks:
        sys.exit(f"{folder} holds no results of the command train")
    columns = 4
    figure, axes = plt.subplots(len(tasks), columns, figsize=(4 * columns, 3.2 * len(tasks)), squeeze=False)
    for (task, recipes), row in zip(tasks.items(), axes, strict=True):
        names = [
            name for name in shown if any(name in values[0] for runs in recipes.values() for values in runs.values())
        ]
        for name, axis in zip(names, row, strict=False):
            _draw(axis, name, recipes)
            axis.set_title(f"{task}: {shown[name]}", fontsize=10)
            axis.set_xlabel("minutes")
        for axis in row[len(names) :]:
            axis.axis("off")
    lines = {line.get_label(): line for axis in axes.flat for line in axis.lines if line.get_label()[0] != "_"}
    figure.tight_layout(rect=(0, 0, 0.88, 1))
    figure.legend(lines.values(), lines.keys(), loc="center right", fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    print(f"the figure is {out}")


def _draw(axis: Any, name: str, recipes: Mapping[str, Mapping[str, list[dict[str, float]]]]) -> None:
    """Draw a line for each seed of each recipe, in its color for all tasks, and real images as a dashed line."""
    if name in ("frechet_distance", "kernel_distance", "kl_divergence"):
        axis.set_yscale("log")
    known = [*RECIPES, *(recipe for recipe in recipes if recipe not in RECIPES)]
    for recipe, runs in recipes.items():
        curves = [[(row["seconds"] / 60, row[name]) for row in rows if name in row] for rows in runs.values()]
        for number, curve in enumerate(filter(None, curves)):
            label = recipe if number == 0 else None
            if recipe == REAL:
                axis.axhline(curve[0][1], color="black", linestyle="--", linewidth=1, label=label)
            else:
                axis.plot(*zip(*curve, strict=True), color=f"C{known.index(recipe)}", linewidth=1.5, label=label)


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, do, what in (
        ("train", train, "train and measure all recipes of a task"),
        ("one", train_one, "train and measure one recipe"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--task", choices=TASKS, required=True)
        command.add_argument("--root", type=Path, required=True, metavar="DIR")
        command.add_argument("--minutes", type=float, default=3.0, metavar="M", help="(default: %(default)s)")
        command.add_argument("--classifier", type=Path, metavar="X.pt", help="(default: ganlib's classifier of digits)")
        command.add_argument("--device", default="cpu", help="(default: %(default)s)")
        command.add_argument("--out", type=Path, default=Path("runs/frontier"), metavar="DIR")
        if name == "train":
            command.add_argument("--recipes", choices=RECIPES, nargs="+", metavar="RECIPE", help="(default: all)")
            command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S")
        else:
            command.add_argument("--recipe", choices=RECIPES, required=True)
            command.add_argument("--seed", type=int, default=0, metavar="S")
        command.set_defaults(do=do)
    command = commands.add_parser("plot", help="draw the curves of all tasks")
    command.add_argument("folder", type=Path)
    command.add_argument("--out", type=Path, default=Path("frontier.png"), metavar="X.png")
    command.set_defaults(do=lambda arguments: plot(arguments.folder, arguments.out))
    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    main()

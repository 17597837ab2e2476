"""Tests of what measures quality per minute, on rendered digits and for a second."""

import argparse
import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks import cifar_classifier, frontier
from tests.examples.scripts import write_images, write_mnist

TINY = ("--batch-size", "8", "--latent-dim", "6")
RECIPES = {
    "broken": ("modern.py", "--model", "dcgan", "--batch-size", "100"),
    "conditional": ("modern.py", "--model", "dcgan", "--width", "4", *TINY),
    "plain": ("mnist_mlp_gan.py", "--hidden", "8", *TINY),
}
CONDITIONAL = {"frechet_distance", "kernel_distance", "kernel_distance_std", "precision", "recall", "density",
               "coverage", "label_accuracy"}  # fmt: skip
ALWAYS = {"seconds", "iteration"}
TASKS = {
    "mnist": frontier.Task("mnist", 28, ("fid", "kid", "prdc", "accuracy"), 20, ["broken", "conditional", "plain"]),
    "stacked-mnist": frontier.Task("stacked-mnist", 28, ("modes", "fid"), 30, ["conditional"]),
    "cifar16": frontier.Task("folder", 16, ("fid", "accuracy"), 10, ["conditional"]),
}


class Process:
    """Run the command of a recipe in this process, as one of its own would end."""

    @staticmethod
    def run(words: list[str], *, stderr: Any, check: bool) -> SimpleNamespace:
        """Return the exit status, and write an error into the log."""
        assert words[1:3] == ["-m", "benchmarks.frontier"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", stderr)
            try:
                frontier.main(words[3:])
            except SystemExit as error:
                return SimpleNamespace(returncode=int(error.code or 0))
        return SimpleNamespace(returncode=0)


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Small tasks and recipes, trained in this process; yields the folder of the data sets."""
    root = write_mnist(tmp_path_factory.mktemp("data"), 60)
    for part in ("train", "test"):
        write_images(root / "cifar10" / part, ["cat", "dog"], 10, size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(frontier.EXAMPLES)  # which also restores sys.path
        patch.setattr(sys, "argv", [*sys.argv])
        patch.setattr(frontier, "TASKS", TASKS)
        patch.setattr(frontier, "RECIPES", RECIPES)
        patch.setattr(frontier, "subprocess", Process)
        yield root
    for name, module in [*sys.modules.items()]:
        if Path(getattr(module, "__file__", None) or "").parent == frontier.EXAMPLES:
            del sys.modules[name]  # a recipe has replaced its measurement


@contextlib.contextmanager
def shown_logs(out: Path) -> Iterator[None]:
    """Let a training that fails tell its log."""
    try:
        yield
    except SystemExit as error:
        if error.code == 1:
            error.add_note("\n".join(f"{log}: {log.read_text()}" for log in out.glob("*.log")))
        raise


def train(task: str, root: Path, out: Path, *words: str, fails: bool = False) -> Any:
    """Train all recipes of a task for a second, which fails if one of them does; returns the rows."""
    own = ("train", "--task", task, "--root", str(root), "--minutes", "0.015", "--out", str(out))
    with pytest.raises(SystemExit, match="1") if fails else shown_logs(out):
        frontier.main([*own, *words])
    return frontier.read(out / f"{task}.csv")


@pytest.fixture(scope="module")
def digits(patched: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The rows of two seeds on digits, and the folder with the results."""
    out = tmp_path_factory.mktemp("digits")
    return train("mnist", patched, out, "--seeds", "0", "1", fails=True), out


def test_each_recipe_has_a_row_for_each_moment(digits: tuple[Any, Path]) -> None:
    """In order, for each seed: the seconds and iterations rise, and every row has all measurements."""
    rows, _ = digits
    assert list(rows) == ["conditional", "plain", frontier.REAL]
    for recipe, names in (("conditional", CONDITIONAL), ("plain", CONDITIONAL - {"label_accuracy"})):
        assert list(rows[recipe]) == ["0", "1"]
        for measured in rows[recipe].values():
            assert 2 <= len(measured) <= len(frontier.MOMENTS) + 1
            for name in ALWAYS:
                assert [row[name] for row in measured] == sorted(row[name] for row in measured)
            assert measured[-1]["seconds"] >= 0.9 - 0.05  # the file has tenths of seconds
            assert all(row.keys() == ALWAYS | names for row in measured)
            assert all(math.isfinite(value) for row in measured for value in row.values())


def test_a_recipe_that_fails_is_told_and_the_others_go_on(
    patched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names it and the log, which says why."""
    rows = train("mnist", patched, tmp_path, "--recipes", "broken", "plain", fails=True)
    assert list(rows) == ["plain", frontier.REAL]
    log = tmp_path / "mnist, broken, 0.log"
    assert f"broken, seed 0 failed: see {log}" in capsys.readouterr().out
    assert "--batch-size (=100) is more than the 60 images" in log.read_text()


def test_a_finished_training_is_kept_and_a_stopped_one_starts_again(patched: Path, tmp_path: Path) -> None:
    """The same command continues: no row twice, none of the stopped training."""
    first = train("mnist", patched, tmp_path, "--recipes", "plain")
    run = tmp_path / "mnist, plain, 0"
    frontier.Table(tmp_path / "mnist.csv").add("conditional", 0, 99.0, 7, {"coverage": 0.5})  # it was stopped here
    again = train("mnist", patched, tmp_path, "--recipes", "plain", "conditional")
    assert again["plain"] == first["plain"]
    assert again[frontier.REAL] == first[frontier.REAL]
    assert all(row["seconds"] < 99 for row in again["conditional"]["0"])
    (run / "generator.safetensors").unlink()
    third = train("mnist", patched, tmp_path, "--recipes", "plain", "conditional")
    assert third["conditional"] == again["conditional"]
    assert len({row["iteration"] for row in third["plain"]["0"]}) == len(third["plain"]["0"])


def test_a_folder_has_results_of_one_setting(tmp_path: Path) -> None:
    """Other minutes or another classifier are refused by name; a classifier may be in another folder."""

    def keep(**other: Any) -> None:
        own = {"task": "mnist", "out": tmp_path / "new", "minutes": 3.0, "classifier": Path("a/x.pt")}
        frontier.keep_settings(argparse.Namespace(**{**own, **other}))

    settings = tmp_path / "new" / "mnist.json"
    keep(minutes=5.0)
    keep()  # there are no results of the five minutes
    frontier.Table(tmp_path / "new" / "mnist.csv").add("plain", 0, 1.0, 1, {})
    for _ in range(2):
        assert json.loads(settings.read_text()) == {"minutes": 3.0, "classifier": "x.pt"}
        keep()
        keep(classifier=Path("b/x.pt"))
        for name, value in (("minutes", 4.0), ("classifier", Path("a/y.pt")), ("classifier", None)):
            with pytest.raises(SystemExit, match=rf"--{name} \(=(4.0|y.pt|None)\) differs from (3.0|x.pt), .*mnist"):
                keep(**{name: value})
        settings.unlink()  # results of an earlier version
        keep()
    keep(task="cifar16", minutes=4.0)


def test_a_finished_training_of_other_settings_is_not_taken_for_this_one(patched: Path, tmp_path: Path) -> None:
    """The command stops before it trains, and leaves the folder as it is."""
    first = train("mnist", patched, tmp_path, "--recipes", "plain")
    for words in (("--minutes", "0.02"), ("--classifier", "x.pt")):
        with pytest.raises(SystemExit, match=rf"{words[0]} \(={words[1]}\) differs"):
            train("mnist", patched, tmp_path, "--recipes", "plain", *words)
    assert frontier.read(tmp_path / "mnist.csv") == first


def test_real_images_are_measured_as_samples_are(digits: tuple[Any, Path]) -> None:
    """The row of training images has all measurements, and is nearer to the test images than any generator."""
    rows, _ = digits
    ((real,),) = rows[frontier.REAL].values()
    assert real.keys() == ALWAYS | CONDITIONAL
    assert real["label_accuracy"] > 0.8
    generators = [row for recipe in ("conditional", "plain") for runs in rows[recipe].values() for row in runs]
    assert real["frechet_distance"] < min(row["frechet_distance"] for row in generators)


def test_stacked_digits(patched: Path, tmp_path: Path) -> None:
    """Their modes are counted; real images have no accuracy here."""
    rows = train("stacked-mnist", patched, tmp_path)
    names = ALWAYS | {"modes_found", "kl_divergence", "frechet_distance"}
    for runs in rows.values():
        assert all(row.keys() == names for measured in runs.values() for row in measured)
    ((real,),) = rows[frontier.REAL].values()
    assert 25 <= real["modes_found"] <= 30
    assert real["kl_divergence"] >= math.log(1000 / 30) - 1e-3


def test_color_images(patched: Path, tmp_path: Path) -> None:
    """A task of folders needs a classifier, which reads them at the size of the task."""
    with pytest.raises(SystemExit, match="--task cifar16 needs --classifier"):
        train("cifar16", patched, tmp_path)
    torch.save({"weights": cifar_classifier.ImageClassifier().state_dict()}, tmp_path / "x.pt")
    rows = train("cifar16", patched, tmp_path, "--classifier", str(tmp_path / "x.pt"))
    assert list(rows) == ["conditional", frontier.REAL]
    for runs in rows.values():
        assert all({"frechet_distance", "label_accuracy"} < row.keys() for (*_, row) in runs.values())


def test_the_figure(digits: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each task that was trained, as a PNG in a folder that is made."""
    _, out = digits
    frontier.main(["plot", str(out), "--out", str(tmp_path / "new/x.png")])
    with Image.open(tmp_path / "new/x.png") as image:
        assert (image.format, image.size) == ("PNG", (1600, 320))
        assert len(image.convert("RGB").getcolors(2**24) or []) > 50
    assert str(tmp_path / "new/x.png") in capsys.readouterr().out
    with pytest.raises(SystemExit, match="holds no results"):
        frontier.main(["plot", str(tmp_path)])


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """By recipe and seed, with five digits; what was not measured is not there, and a later call adds rows."""
    path = tmp_path / "x.csv"
    frontier.Table(path).add("a, b", 0, 1.26, 3, {"frechet_distance": 1.234567, "coverage": 0.0, "modes_real": 4})
    frontier.Table(path).add("a, b", 1, 2.0, 4, {"kl_divergence": math.inf})
    frontier.Table(path).add("a, b", 0, 3.0, 7, {"frechet_distance": 2.0})
    frontier.Table(path).add(frontier.REAL, "", math.inf, 0, {"coverage": 0.9})
    assert frontier.read(path) == {
        "a, b": {
            "0": [
                {"seconds": 1.3, "iteration": 3, "frechet_distance": 1.2346, "coverage": 0.0},
                {"seconds": 3.0, "iteration": 7, "frechet_distance": 2.0},
            ],
            "1": [{"seconds": 2.0, "iteration": 4, "kl_divergence": math.inf}],
        },
        frontier.REAL: {"": [{"seconds": math.inf, "iteration": 0, "coverage": 0.9}]},
    }


def test_the_moments_are_parts_of_the_training_time() -> None:
    """Each is measured once, at the first iteration after it, and the end always; an iteration may pass several."""
    logged, noted = [], []

    def note(seconds: float, iteration: int, results: Any) -> None:
        noted.append((seconds, iteration, results))

    run: Any = SimpleNamespace(seconds=0.0, iteration=0, log=logged.append)
    evaluate: Any = SimpleNamespace(measure=lambda: {"coverage": run.iteration / 100})
    curve = frontier.Curve(evaluate, 1.0, note)
    for iteration, seconds in enumerate((1, 3.5, 4, 6, 7, 25, 26, 37, 49, 60), start=1):
        run.seconds, run.iteration = seconds, iteration
        curve.on_iteration(run)
    run.seconds, run.iteration = 61, 10
    curve.on_end(run)
    assert [seconds for seconds, *_ in noted] == [3.5, 6, 25, 37, 49, 61]
    assert [results for *_, results in noted] == logged == [{"coverage": n / 100} for n in (2, 4, 6, 8, 9, 10)]
    assert curve.untimed  # else the measurements would count as training


def test_the_tasks_name_recipes_and_scripts_that_exist() -> None:
    """A task trains each of its recipes by an example."""
    for task in frontier.TASKS.values():
        assert {*task.recipes} <= frontier.RECIPES.keys()
    for script, *_ in frontier.RECIPES.values():
        assert (frontier.EXAMPLES / script).exists()


def test_a_process_of_its_own(tmp_path: Path) -> None:
    """A recipe whose data set is not there ends with an error, which a caller sees."""
    words = ["one", "--task", "cifar16", "--recipe", "SNGAN", "--root", str(tmp_path), "--out", str(tmp_path)]
    words += ["--classifier", str(tmp_path / "x.pt")]
    done = subprocess.run([sys.executable, "-m", "benchmarks.frontier", *words], cwd=frontier.EXAMPLES.parent,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode != 0
    assert "x.pt" in done.stderr


def test_a_measurement_is_of_as_many_real_images(patched: Path) -> None:
    """Test images and training images are drawn at random, each once, as many as samples."""
    arguments = argparse.Namespace(root=patched, classifier=None, device="cpu")
    measure = frontier.Measure(TASKS["mnist"], arguments)
    assert len(measure.real.samples) == 20
    assert len(measure.real.samples.flatten(1).unique(dim=0)) == 20

"""Tests of the commands that run the example scripts, or copy them."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganlib import models, training
from tests.cli.commands import SOURCE, call, environment, files, refused, run

ROOT = SOURCE.parent
LEFT = ("generator.safetensors", "metrics.csv", "losses.png", "training.gif", "run.json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_train_takes_the_words_of_the_script(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run is left, which goes on with ``--resume``, and which ``sample`` draws from; all options reach the script."""
    words = ("--batch-size", 8, "--width", 4, "--latent-dim", 5, "--seed", 3, "--out", "runs/tiny")
    before = sys.argv, list(sys.path)
    call("train", "--iterations", 2, *words)
    call("train", "--iterations", 3, *words, "--resume")
    assert (sys.argv, sys.path) == before
    assert "continues from iteration 2" in capsys.readouterr().out
    assert [name for name in LEFT if not (here / "runs/tiny" / name).exists()] == []
    assert [path.name for path in training.Checkpoint(here / "runs/tiny").paths()] == ["00000002.pt", "00000003.pt"]
    generator: Any = models.load_generator(here / "runs/tiny/generator.safetensors")
    assert {"iteration": 3, "width": 4, "latent_dim": 5, "seed": 3}.items() <= generator.info.items()
    call("sample", "--run", "runs/tiny", "--labels", 3, 1, "--count", 4, "--out", "digits.png")
    with Image.open(here / "digits.png") as image:
        assert image.size == (122 * 7, 62 * 7)


def test_the_help_of_train_is_that_of_the_script(tmp_path: Path) -> None:
    """Its usage begins with the words that a user types, and it holds every option of the script's own help."""
    done = run("train", "--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    script = subprocess.run(
        [sys.executable, ROOT / "examples/mnist_cdcgan.py", "train", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    usage, _, options = done.stdout.partition("\n\n")
    # From Python 3.14 on, the name of the interpreter may be another.
    assert usage.split()[2:6] == ["-m", "ganlib", "train", "[-h]"]
    assert options == script.stdout.partition("\n\n")[2]
    assert "--resume" in options


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--batch-size", "0"], "--batch_size: 0 must be a whole number of at least 1"),
        (["--data", "mnist", "--root", "nowhere"], "MNIST is not there (no nowhere/MNIST/raw)"),
    ],
)
def test_an_error_of_a_training_is_a_line(words: list[str], answer: str, here: Path) -> None:
    """What the script refuses is shown without a traceback, and no run is left."""
    assert answer in refused("train", *words, "--out", "run", status=2 if "--batch-size" in words else 1)
    assert files(here) == []


def test_the_demo_leaves_a_run_and_an_image(here: Path) -> None:
    """A training on the built-in digits, in its folder, which may be there empty, and ten of each digit."""
    (here / "runs/demo").mkdir(parents=True)
    call("demo", "--minutes", 0.0001)
    names = files(here)
    assert [name for name in LEFT if f"runs/demo/{name}" not in names] == []
    assert all(name.startswith("runs/demo/") for name in names)
    with Image.open(here / "runs/demo/digits.png") as image:
        assert image.size == (604, 604)
    generator: Any = models.load_generator(here / "runs/demo/generator.safetensors")
    assert generator.info["data"] == "digits"
    # A second demo does not overwrite it.
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert "--out (=runs/demo) holds files already" in refused("demo", "--minutes", 0.0001)
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_the_minutes_of_a_demo(minutes: str, here: Path) -> None:
    """Minutes that no training can last are named, and nothing is written."""
    answer = refused("demo", f"--minutes={minutes}")
    assert answer == f"python -m ganlib demo: error: argument --minutes: {minutes} must be a number above 0"
    assert files(here) == []


def test_the_demo_touches_no_file_of_the_users(here: Path) -> None:
    """A folder that holds anything, and a file in its place, are refused and stay as they are."""
    (here / "full").mkdir()
    (here / "full/letter.txt").write_text("dear")
    assert "--out (=full) holds files already" in refused("demo", "--out", "full")
    assert "full/letter.txt" in refused("demo", "--out", "full/letter.txt")
    assert files(here) == ["full/letter.txt"]
    assert (here / "full/letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train", "--minutes", "30", "--batch-size", "8", "--out", "run"], "--resume continues from the last"),
        (["demo", "--minutes", "30", "--out", "run"], "python -m ganlib: stopped"),
    ],
)
def test_ctrl_c_ends_without_a_traceback(words: list[str], answer: str, tmp_path: Path) -> None:
    """The status is 130, the last line says how it goes on, and a checkpoint is left."""
    # A shell that runs the tests in the background ignores the signal, and so would the new process.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "ganlib", *words],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            end = time.monotonic() + 200
            while not (tmp_path / "run/samples/00000001.png").exists():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert answer in printed.splitlines()[-1]
    assert training.Checkpoint(tmp_path / "run").newest() is not None
    assert not (tmp_path / "run/generator.safetensors").exists()


def test_the_examples_are_copied(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every script and notebook is there as it is, without caches or hidden files; what is there is printed."""
    call("examples")
    printed = capsys.readouterr().out
    copied = here / "ganlib-examples"
    assert str(Path("ganlib-examples/examples")) in printed
    assert str(Path("ganlib-examples/notebooks")) in printed
    assert {path.name for path in copied.iterdir()} == {"examples", "notebooks"}
    shipped = [path for name in ("examples", "notebooks") for path in (ROOT / name).rglob("*.*") if path.is_file()]
    hidden = (".", "__pycache__")
    shipped = [path for path in shipped if not any(part.startswith(hidden) for part in path.relative_to(ROOT).parts)]
    assert {"mnist_cdcgan.py", "_data.py", "pix2pix.py", "draw.ipynb", "train.ipynb"} <= {path.name for path in shipped}
    assert files(copied) == sorted(path.relative_to(ROOT).as_posix() for path in shipped)
    for path in shipped:
        assert (copied / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_a_copied_script_runs(here: Path) -> None:
    """A script runs in its new folder, with the files next to it."""
    call("examples", "a/b")
    done = subprocess.run(
        [sys.executable, "examples/mnist_cdcgan.py", "train", "--iterations", "1", "--batch-size", "8", "--out", "run"],
        cwd=here / "a/b",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (here / "a/b/run/generator.safetensors").exists()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_the_examples_need_a_new_folder(make: Any, here: Path) -> None:
    """A folder or file that is there, even an empty one, is named and left as it is."""
    make(here / "old")
    assert refused("examples", "old") == "python -m ganlib: DIR (=old) exists already: choose another folder"
    assert files(here) == (["old"] if make is Path.touch else [])

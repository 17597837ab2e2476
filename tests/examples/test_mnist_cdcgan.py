"""The main job, run as a user runs it: from the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import models

ROOT = Path(__file__).parents[2]


def run(*words: object, fails: bool = False, threads: int = 1) -> str:
    """Run the example; returns what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, "examples/mnist_cdcgan.py", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the built-in digits."""
    folder = tmp_path_factory.mktemp("run")
    printed = run("train", "--iterations", 20, "--batch-size", 16, "--out", folder, "--checkpoint-every", 5)
    for words in ("D loss", "G loss", "D(x)", "D(G(z))", "images/s", f"{folder}: generator.pt"):
        assert words in printed
    return folder


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture."""
    with Image.open(path) as image:
        return image.size


def test_every_promised_file_is_there(finished: Path) -> None:
    """A run leaves its checkpoints, generator, metrics, curves, film and samples, the first and last always."""
    for name in ("generator.pt", "metrics.csv", "losses.png", "training.gif", "checkpoints/00000020.pt"):
        assert (finished / name).stat().st_size > 0
    assert {"00000001.png", "00000020.png"} <= {path.name for path in (finished / "samples").iterdir()}
    assert size(finished / "samples/00000020.png") == (302, 302)
    rows = (finished / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "20"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(finished: Path, tmp_path: Path) -> None:
    """Resumed from its checkpoint of iteration 10, a run ends with the same generator and the same files."""
    killed = tmp_path / "killed"
    shutil.copytree(finished, killed)
    for name in ("generator.pt", "checkpoints/00000015.pt", "checkpoints/00000020.pt"):
        (killed / name).unlink()
    printed = run("train", "--iterations", 20, "--batch-size", 16, "--out", killed, "--checkpoint-every", 5, "--resume")
    assert "goes on from iteration 10" in printed
    one, other = (models.load_generator(folder / "generator.pt").state_dict() for folder in (finished, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("metrics.csv", "samples/00000001.png", "samples/00000020.png"):
        assert (killed / name).read_bytes() == (finished / name).read_bytes()


def test_sample_draws_what_is_asked_for(finished: Path, tmp_path: Path) -> None:
    """The command sample writes the picture, and images and labels in the promised form, the same for the same seed."""
    arrays = []
    for name in ("a", "b"):
        out = run("sample", "--run", finished, "--labels", 3, 1, "--count", 4, "--seed", 5,
                  "--out", tmp_path / f"{name}.png", "--npz", tmp_path / f"{name}.npz")  # fmt: skip
        assert str(tmp_path / f"{name}.png") in out
        with np.load(tmp_path / f"{name}.npz") as loaded:
            arrays.append((loaded["images"], loaded["labels"]))
    images, labels = arrays[0]
    assert (images.shape, images.dtype) == ((8, 1, 28, 28), np.float32)
    assert np.abs(images).max() <= 1
    assert (labels.tolist(), labels.dtype) == ([3, 3, 3, 3, 1, 1, 1, 1], np.int64)
    assert np.array_equal(images, arrays[1][0])
    assert size(tmp_path / "a.png") == (122, 62)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train", "--data", "mnist", "--root", "nowhere"], "MNIST is not there (no nowhere/MNIST/raw)"),
        (["train", "--data", "mnist", "--root", "nowhere"], "--download"),
        (["train", "--data", "mnst"], "digits"),
        (["train", "--iterations", "-3"], "iterations (=-3)"),
        (["train", "--batch-size", "0"], "batch_size (=0)"),
        (["train", "--latent-dim", "0"], "latent_dim (=0)"),
        (["sample", "--run", "nowhere"], "--run (=nowhere) holds no generator.pt"),
    ],
)
def test_a_wrong_word_is_answered_without_a_traceback(words: list[str], answer: str, tmp_path: Path) -> None:
    """What is wrong, and what to do, in a line."""
    printed = run(*words, *(["--out", tmp_path / "run"] if words[0] == "train" else []), fails=True)
    assert answer in printed
    assert "Traceback" not in printed


def test_wrong_labels_and_counts_are_answered(finished: Path, tmp_path: Path) -> None:
    """A label that the generator does not know, and no samples at all, are named."""
    (tmp_path / "x.png").write_text("in the way")
    assert "class 11" in run("sample", "--run", finished, "--labels", 11, "--out", tmp_path / "x.png", fails=True)
    wrong = run("sample", "--run", finished, "--out", tmp_path / "x.png/y.png", fails=True)
    assert "Traceback" not in wrong
    assert "--count (=0)" in run("sample", "--run", finished, "--count", 0, "--out", tmp_path / "x.png", fails=True)


def test_a_second_run_leaves_the_first_alone(finished: Path) -> None:
    """A new run into the same folder is refused before it touches a file."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert "resume" in run("train", "--iterations", 5, "--out", finished, fails=True)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_broken_data_is_answered(tmp_path: Path) -> None:
    """A cut MNIST file is called broken, with its folder and how to get it anew."""
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03\x00\x00")
    printed = run("train", "--data", "mnist", "--root", tmp_path, "--out", tmp_path / "run", fails=True)
    assert "is broken" in printed
    assert "Traceback" not in printed


@pytest.mark.real_data
def test_a_short_training_on_real_mnist(tmp_path: Path) -> None:
    """A minute on real MNIST draws digits that a classifier, itself trained for one epoch, reads as asked."""
    from benchmarks.digit_classifier import train
    from benchmarks.mnist_quality import measure

    data = Path(os.environ["GANLIB_DATA"])
    run("train", "--data", "mnist", "--root", data, "--iterations", 1200, "--out", tmp_path / "run", threads=2)
    run("sample", "--run", tmp_path / "run", "--count", 50, "--out", tmp_path / "x.png", "--npz", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    accuracy, distance = measure(train(data, epochs=1, seed=0), data, images, labels)
    print(f"after 1,200 iterations: {accuracy:.2%} as asked, Fréchet distance {distance:.2f}")
    assert accuracy > 0.8

"""The example after MNIST-GAN: its layers by hand, its recipe, its files, its answers."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import models
from ganlib.errors import GanlibError
from tests.examples.scripts import call, frames, load_script, picture_size, run_script, shapes_in_checkpoint

SCRIPT = "mnist_mlp_gan"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script."""
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of the original recipe."""
    folder = tmp_path_factory.mktemp("original")
    printed = run_script(
        SCRIPT, "train", "--recipe", "original", "--n_epochs", 2, "--batch_size", 5000, "--out", folder
    )
    assert f"{folder}: generator.safetensors" in printed
    assert "timeline.png" in printed
    return folder


def test_the_original_has_its_layers(original: Path) -> None:
    """100, 32, 64, 128, 784 upwards, the reverse to 1 downwards, each with a bias: 114,800 and 110,849 numbers."""
    up = [(32, 100), (32,), (64, 32), (64,), (128, 64), (128,), (784, 128), (784,)]
    down = [(128, 784), (128,), (64, 128), (64,), (32, 64), (32,), (1, 32), (1,)]
    for player, expected, count in (("generator", up, 114_800), ("discriminator", down, 110_849)):
        actual = shapes_in_checkpoint(original, player)
        assert actual == expected
        assert sum(int(np.prod(shape)) for shape in actual) == count


def test_the_original_has_its_recipe(script: dict[str, Any]) -> None:
    """Dropout 0.3, batches of 20, Adam at 2e-3 with torch's betas, real targets of 0.9, and nothing else."""
    expected = {"dropout": 0.3, "batch_size": 20, "lr": 2e-3, "beta1": 0.9, "smoothing": 0.9, "r1": 0.0}
    actual = script["RECIPES"]["original"]
    assert {name: actual[name] for name in expected} == expected
    assert not actual["averaged"]
    assert not actual["shuffle"]  # batches in the data set's own order


def test_every_promised_file_is_there(original: Path) -> None:
    """A row of 16 samples after the first iteration and each epoch; timeline, animation, curves, table, checkpoint."""
    names = [f"{iteration:08d}.png" for iteration in (1, 4, 8)]
    assert sorted(path.name for path in (original / "samples").iterdir()) == names
    assert picture_size(original / "samples/00000008.png") == (16 * 30 + 2, 32)
    assert picture_size(original / "timeline.png")[1] >= 3 * 28
    assert frames(original / "training.gif") == 3
    for name in ("generator.safetensors", "losses.png", "metrics.csv", "checkpoints/00000008.pt", "run.json"):
        assert (original / name).stat().st_size > 0
    with (original / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["2"]


def test_sample_draws_in_evaluation_mode(script: dict[str, Any], original: Path, tmp_path: Path) -> None:
    """The same seed draws the same samples, so dropout is off; they have no labels."""
    arrays = []
    for name in ("a", "b"):
        call(script, "sample", "--run", original, "--count", 6, "--out", tmp_path / "x.png",
             "--npz", tmp_path / f"{name}.npz")  # fmt: skip
        with np.load(tmp_path / f"{name}.npz") as loaded:
            arrays.append((loaded["images"], loaded["labels"]))
    (images, labels), (again, _) = arrays
    assert (images.shape, images.dtype) == ((6, 1, 28, 28), np.float32)
    assert (labels.tolist(), labels.dtype) == ([-1] * 6, np.int64)
    assert np.array_equal(images, again)


def test_ours_goes_on_as_if_nothing_had_happened(script: dict[str, Any], tmp_path: Path) -> None:
    """Killed after iteration 6 of 9 and resumed, the default recipe draws and logs what it does without that."""
    words = ("train", "--iterations", 9, "--batch-size", 4000, "--checkpoint-every", 3, "--out")
    call(script, *words, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for name in ("generator.safetensors", "checkpoints/00000009.pt"):
        (tmp_path / "killed" / name).unlink()
    call(script, *words, tmp_path / "killed", "--resume")
    one, other = (
        models.load_generator(tmp_path / out / "generator.safetensors").state_dict() for out in ("whole", "killed")
    )
    assert all(one[name].equal(other[name]) for name in one)
    for name in ("losses.png", "timeline.png", "metrics.csv", "training.gif"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_another_recipe_does_not_go_on_in_the_folder(script: dict[str, Any], original: Path) -> None:
    """What the folder holds is named, and nothing in it changes."""
    before = {path: path.stat().st_mtime_ns for path in original.rglob("*") if path.is_file()}
    with pytest.raises(GanlibError, match=r"recipe original \(not ours\)"):
        call(script, "train", "--resume", "--out", original)
    assert {path: path.stat().st_mtime_ns for path in original.rglob("*") if path.is_file()} == before


def test_a_generator_of_another_script_is_refused(script: dict[str, Any], tmp_path: Path) -> None:
    """The file is named, with the script that it is of."""
    generator, _ = models.mlp_gan((1, 28, 28), 100)
    models.save_generator(tmp_path / "generator.safetensors", generator, {"script": "cgan", "latent_dim": 100})
    with pytest.raises(GanlibError, match="script cgan, not mnist_mlp_gan"):
        call(script, "sample", "--run", tmp_path, "--out", tmp_path / "x.png")
    torch.save({"x": 1}, tmp_path / "generator.safetensors")
    with pytest.raises(GanlibError, match=r"generator\.safetensors"):
        call(script, "sample", "--run", tmp_path, "--out", tmp_path / "x.png")

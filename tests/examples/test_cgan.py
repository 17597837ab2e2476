"""The example after Mirza and Osindero: its layers by hand, its losses, and conditions that are not classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import models
from ganlib.errors import GanlibError
from tests.examples.scripts import (
    call,
    frames,
    load_script,
    picture_size,
    run_script,
    shapes_in_checkpoint,
    write_images,
)

SCRIPT = "cgan"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script."""
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def runs(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run for each kind of condition, the first by the words of the original and the paper's loss."""
    folder = tmp_path_factory.mktemp("runs")
    words = ("--dataset", "digits", "--epochs", 1, "--batch_size", 5000, "--latent_size", 20, "--lr", 1e-3)
    printed = run_script(SCRIPT, "train", *words, "--loss", "minimax", "--outdir", folder / "class")
    assert "final.gif" in printed
    for condition in ("tags", "text"):
        call(script, "train", "--condition", condition, "--iterations", 2, "--out", folder / condition)
    return {condition: folder / condition for condition in ("class", "tags", "text")}


def test_the_condition_is_beside_what_each_player_looks_at(runs: dict[str, Path]) -> None:
    """One-hot labels widen the first layer of either by ten: 20 + 10 and 784 + 10."""
    up = [(128, 30), (128,), (128,), (256, 128), (256,), (256,), (512, 256), (512,), (512,), (784, 512), (784,)]
    down = [(256, 794), (256,), (128, 256), (128,), (1, 128), (1,)]
    for player, expected in (("generator", up), ("discriminator", down)):
        assert shapes_in_checkpoint(runs["class"], player) == expected


def test_every_promised_file_is_there(runs: dict[str, Path]) -> None:
    """Loss graph, table, checkpoints, images with a row for each class, and the animations."""
    for run in runs.values():
        for name in ("generator.safetensors", "losses.png", "metrics.csv", "training.gif"):
            assert (run / name).stat().st_size > 0
        assert frames(run / "final.gif") == 20
        assert {picture_size(path) for path in (run / "samples").iterdir()} == {(302, 302)}


def test_each_loss_is_the_one_asked_for(script: dict[str, Any]) -> None:
    """Minimax saturates where the generator loses, the other does not."""
    lost = torch.tensor([[-20.0]], requires_grad=True)
    slopes = {}
    for name, make in script["LOSSES"].items():
        (slope,) = torch.autograd.grad(make().generator(lost), lost)
        slopes[name] = abs(slope.item())
    assert slopes["minimax"] < 1e-6
    assert slopes["non-saturating"] == pytest.approx(1)


def test_sample_draws_what_is_asked_for(script: dict[str, Any], runs: dict[str, Path], tmp_path: Path) -> None:
    """Labels, tags together that no class has, and a description in the words of the vocabulary."""
    for condition, words, rows in (
        ("class", ("--labels", 3, 1), 2),
        ("tags", ("--labels", 3, 1), 2),
        ("tags", ("--tags", "loop", "straight stroke", "level stroke"), 1),
        ("text", ("--text", "two rings, one above the other"), 1),
        ("text", (), 10),
    ):
        call(script, "sample", "--run", runs[condition], *words, "--count", 4, "--out", tmp_path / "x.png",
             "--npz", tmp_path / "x.npz")  # fmt: skip
        assert picture_size(tmp_path / "x.png") == tuple(
            (2 if rows == 10 else 5) * side for side in (122, rows * 30 + 2)
        )
        with np.load(tmp_path / "x.npz") as arrays:
            assert arrays["images"].shape == (4 * rows, 1, 28, 28)
            expected = [3] * 4 + [1] * 4 if condition == "class" else [-1] * 4 * rows
            assert arrays["labels"].tolist() == expected


def test_the_tables_tell_the_classes_apart(script: dict[str, Any]) -> None:
    """No two classes of a data set share their tags, nor their bag of words; rows of words have length 1."""
    make_tags, make_texts = script["tag_table"], script["text_table"]
    for data in ("digits", "mnist", "fashion-mnist", "cifar10"):
        names, tags = make_tags(data, [str(n) for n in range(10)], None)
        assert tags.shape == (10, len(names))
        assert len(tags.unique(dim=0)) == 10
        words, bags = make_texts(data, [f"class {n}" for n in range(10)], None)
        assert bags.shape == (10, len(words))
        assert len(bags.unique(dim=0)) == 10
        torch.testing.assert_close(bags.norm(dim=1), torch.ones(10))


def test_own_tags_and_vectors(script: dict[str, Any], tmp_path: Path) -> None:
    """For a data set of the user's, tags come from a table, and vectors from a file with a row for each class."""
    write_images(tmp_path / "own", ["apple", "pear"], 6, size=16)
    (tmp_path / "tags.csv").write_text("pear,green\napple,red, round\n")
    np.save(tmp_path / "vectors.npy", np.eye(2, 3))
    (tmp_path / "vectors.csv").write_text("0.5,1\n2,-1\n")
    words = ("train", "--data", "folder", "--root", tmp_path / "own", "--iterations", 1, "--batch-size", 4)
    for condition, file, table in (
        ("tags", "tags.csv", [[1, 1, 0], [0, 0, 1]]),
        ("vectors", "vectors.npy", [[1, 0, 0], [0, 1, 0]]),
        ("vectors", "vectors.csv", [[0.5, 1], [2, -1]]),
    ):
        run = tmp_path / file.replace(".", "_")
        kind = "tags" if condition == "tags" else "text"
        call(script, *words, "--condition", kind, f"--{condition}", tmp_path / file, "--out", run)
        generator: Any = models.load_generator(run / "generator.safetensors")
        assert generator.info["table"] == table
    with pytest.raises(GanlibError, match="trained with --vectors"):
        call(script, "sample", "--run", run, "--text", "a pear", "--out", tmp_path / "x.png")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--condition", "tags", "--data", "folder"), "--tags FILE"),
        (("--tags", "x.csv"), r"--tags needs --condition tags, not class"),
        (("--vectors", "x.npy", "--condition", "tags"), r"--vectors needs --condition text, not tags"),
        (("--condition", "text", "--vectors", "nowhere.npy"), "nowhere.npy"),
        (("--condition", "tags", "--tags", "nowhere.csv"), "nowhere.csv"),
        (("--image-size", "4"), r"--image-size \(=4\)"),
    ],
)
def test_wrong_words_are_answered(script: dict[str, Any], words: tuple[str, ...], answer: str, tmp_path: Path) -> None:
    """What is wrong is named, and no run is begun."""
    write_images(tmp_path / "own", ["apple", "pear"], 2, size=16)
    root = ("--root", tmp_path / "own") if "folder" in words else ()
    with pytest.raises(GanlibError, match=answer):
        call(script, "train", *words, *root, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("condition", "words", "answer"),
    [
        ("class", ("--tags", "loop"), "--tags needs a run with --condition tags; this one has class"),
        ("tags", ("--tags", "lop"), "the tag 'lop' is not one of loop"),
        ("tags", ("--labels", "11"), "class 11"),
        ("class", ("--labels", "10"), "class 10"),
        ("text", ("--text", "xyzzy"), "'xyzzy' has none of the words"),
    ],
)
def test_a_wrong_question_is_answered(
    script: dict[str, Any], runs: dict[str, Path], condition: str, words: tuple[str, ...], answer: str, tmp_path: Path
) -> None:
    """What a generator cannot be asked is named, with what it can be."""
    with pytest.raises(GanlibError, match=answer):
        call(script, "sample", "--run", runs[condition], *words, "--out", tmp_path / "x.png")


def test_a_table_that_lacks_a_class_is_refused(script: dict[str, Any], tmp_path: Path) -> None:
    """A missing row of tags is named by its class; vectors of another number are told with their shape."""
    (tmp_path / "tags.csv").write_text("pear,green\n")
    with pytest.raises(GanlibError, match="no row for apple"):
        script["tag_table"]("folder", ["apple", "pear"], tmp_path / "tags.csv")
    np.save(tmp_path / "vectors.npy", np.eye(3))
    with pytest.raises(GanlibError, match=r"\(3, 3\)"):
        script["text_table"]("folder", ["apple", "pear"], tmp_path / "vectors.npy")


def test_another_table_does_not_go_on_in_the_folder(script: dict[str, Any], tmp_path: Path) -> None:
    """Other vectors of the same size are another training."""
    words = ("train", "--condition", "text", "--vectors", tmp_path / "v.npy", "--out", tmp_path / "run")
    np.save(tmp_path / "v.npy", np.eye(10, 3))
    call(script, *words, "--iterations", 1)
    np.save(tmp_path / "v.npy", np.ones((10, 3)))
    with pytest.raises(GanlibError, match="holds another run, with conditions"):
        call(script, *words, "--iterations", 2, "--resume")


def test_words_without_effect_are_told(
    script: dict[str, Any], runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word that no description has is named; the others are drawn by."""
    call(script, "sample", "--run", runs["text"], "--text", "a zebra ring", "--out", tmp_path / "x.png")
    assert "without effect, as no description has them: zebra" in capsys.readouterr().out


def test_another_loss_does_not_go_on_in_the_folder(script: dict[str, Any], runs: dict[str, Path]) -> None:
    """What the folder holds is named, and nothing in it changes."""
    before = {path: path.stat().st_mtime_ns for path in runs["tags"].rglob("*") if path.is_file()}
    with pytest.raises(GanlibError, match=r"loss minimax \(not non-saturating\)"):
        call(script, "train", "--condition", "tags", "--loss", "non-saturating", "--resume", "--out", runs["tags"])
    assert {path: path.stat().st_mtime_ns for path in runs["tags"].rglob("*") if path.is_file()} == before

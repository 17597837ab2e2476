"""Tests of the comparison with and without adaptive augmentation, on a few images."""

import csv
import math
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cifar_classifier, small_data
from tests.examples.scripts import write_images


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> list[dict[str, str]]:
    """Run the benchmark on a few made images, and read its rows."""
    for part, count in (("train", 90), ("test", 20)):
        write_images(tmp_path / "data" / part, ["cat", "horse"], count, size=16)
    torch.manual_seed(0)
    torch.save({"weights": cifar_classifier.ImageClassifier().state_dict()}, tmp_path / "x.pt")
    usual = ["--root", tmp_path / "data", "--classifier", tmp_path / "x.pt", "--out", tmp_path / "out", "--width", 4]
    usual += ["--images", 70, "--iterations", 6, "--target", 0, "--speed", 256]
    monkeypatch.setattr(sys, "argv", ["small_data", *map(str, [*usual, *words])])
    small_data.main()
    with (tmp_path / "out/small_data.csv").open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_each_training_and_the_other_images_have_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the probability of ADA, and without it for the others; all values are finite."""
    rows = {row.pop("augment"): row for row in run(tmp_path, monkeypatch, "--augmentations", "none", "ada", "diff")}
    assert list(rows) == ["none", "ada", "diff", "other training images"]
    assert all(0 <= float(row["coverage"]) <= 1 and 0 <= float(row["memorization"]) <= 1 for row in rows.values())
    assert 0 <= float(rows["ada"]["p_mean"]) <= 1
    assert all(-1 <= float(rows[name]["sign_train"]) <= 1 for name in ("none", "ada", "diff"))
    assert all(math.isfinite(float(rows[name]["overfit"])) for name in ("none", "ada", "diff"))
    assert rows["none"]["p"] == rows["other training images"]["p"] == ""


def test_measurements_on_the_way_do_not_change_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row is the same with and without them."""
    often = run(tmp_path, monkeypatch, "--augmentations", "ada", "--measure-every", 2)
    once = run(tmp_path, monkeypatch, "--augmentations", "ada")
    assert [row["iteration"] for row in often] == ["2", "4", "6", ""]
    assert often[2:] == once


def test_overfitting_compares_logits_of_test_images_with_the_others() -> None:
    """0 where test images look like training images, 1 where they look like samples; the sign is of training images."""
    train, samples = torch.full((4, 1), 3.0), torch.full((4, 1), -1.0)
    for test, expected in ((train, 0.0), (samples, 1.0), (torch.full((2, 1), 2.0), 0.25)):
        measured = small_data.overfitting(torch.nn.Identity(), train, test, samples)
        assert measured == {"sign_train": 1.0, "overfit": expected}

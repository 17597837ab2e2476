"""Tests of the comparison with and without adaptive augmentation, on a few images."""

import csv
import math
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cifar_classifier, small_data
from tests.examples.scripts import write_images


def test_each_training_and_the_other_images_have_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the probability of ADA, and without it for the others; all values are finite."""
    for part, count in (("train", 90), ("test", 20)):
        write_images(tmp_path / "data" / part, ["cat", "horse"], count, size=16)
    torch.manual_seed(0)
    torch.save({"weights": cifar_classifier.ImageClassifier().state_dict()}, tmp_path / "x.pt")
    words = ["--root", tmp_path / "data", "--classifier", tmp_path / "x.pt", "--out", tmp_path / "out", "--width", 4]
    words += ["--images", 70, "--iterations", 6, "--augmentations", "none", "ada", "diff"]
    words += ["--target", 0, "--speed", 256]
    monkeypatch.setattr(sys, "argv", ["small_data", *map(str, words)])
    small_data.main()
    with (tmp_path / "out/small_data.csv").open(encoding="utf-8", newline="") as file:
        rows = {row.pop("augment"): row for row in csv.DictReader(file)}
    assert list(rows) == ["none", "ada", "diff", "other training images"]
    assert all(0 <= float(row["coverage"]) <= 1 and 0 <= float(row["memorization"]) <= 1 for row in rows.values())
    assert 0 <= float(rows["ada"]["p_mean"]) <= 1
    assert all(-1 <= float(rows[name]["sign_train"]) <= 1 for name in ("none", "ada", "diff"))
    assert all(math.isfinite(float(rows[name]["overfit"])) for name in ("none", "ada", "diff"))
    assert rows["none"]["p"] == rows["other training images"]["p"] == ""


def test_overfitting_compares_logits_of_test_images_with_the_others() -> None:
    """0 where test images look like training images, 1 where they look like samples; the sign is of training images."""
    train, samples = torch.full((4, 1), 3.0), torch.full((4, 1), -1.0)
    for test, expected in ((train, 0.0), (samples, 1.0), (torch.full((2, 1), 2.0), 0.25)):
        measured = small_data.overfitting(torch.nn.Identity(), train, test, samples)
        assert measured == {"sign_train": 1.0, "overfit": expected}

"""The benchmark that trains both recipes of a system side by side."""

import csv
import os
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cifar_classifier, mnist_quality, reference_systems, run_quality
from ganlib import metrics
from ganlib.protocols import Batch


def _measure(monkeypatch: pytest.MonkeyPatch, real: torch.Tensor) -> run_quality.Measure:
    """Of digits, with an untrained classifier and these real images."""
    monkeypatch.setattr(run_quality.digit_classifier, "load", lambda path: metrics.DigitClassifier().eval())
    monkeypatch.setattr(run_quality, "MNIST", lambda *_, **__: range(10_000))
    monkeypatch.setattr(run_quality.data, "TensorLoader", lambda *_, **__: [(real, None)])
    return run_quality.Measure(1, Path(), Path())


def test_a_copy_of_the_real_images_is_at_no_distance() -> None:
    """The Fréchet distance of images to themselves is 0, and grows as they are moved away."""
    images = torch.randn(600, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    near, far = (
        mnist_quality.compare(
            metrics.FrechetDistance(lambda sample: sample.flatten(1)), [Batch(images, None)], images + shift
        ).item()
        for shift in (0.0, 0.5)
    )
    assert near == pytest.approx(0, abs=1e-6)
    assert far == pytest.approx(16 * 0.25, rel=1e-6)


def test_copies_of_the_real_images_cover_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real images have coverage 1 and distance 0 to themselves; one image over and over covers next to nothing."""
    images = torch.rand(60, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    measure, labels = _measure(monkeypatch, images), torch.zeros(60, dtype=torch.int64)
    assert measure(images, labels).coverage == 1
    assert measure(images, labels).frechet_distance == pytest.approx(0, abs=1e-6)
    assert measure(images[:1].expand(60, -1, -1, -1), labels).coverage < 0.5


def test_spread_tells_a_constant_from_variety(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the deviation within each class: images that differ by their class alone have none."""
    measure = _measure(monkeypatch, torch.randn(60, 1, 28, 28))
    labels = torch.arange(2).repeat_interleave(100)
    constant = labels.view(-1, 1, 1, 1).expand(-1, 1, 28, 28) - 0.5
    assert measure(constant, labels).spread == 0
    assert measure(constant + torch.randn(200, 1, 28, 28), labels).spread == pytest.approx(1, abs=0.05)


def test_the_classifier_of_colour_images_has_128_features() -> None:
    """Images (N, 3, 32, 32) give 128 features and ten logits."""
    classifier = cifar_classifier.ImageClassifier().eval()
    images = torch.zeros(2, 3, 32, 32)
    assert classifier.features(images).shape == (2, 128)
    assert classifier(images).shape == (2, 10)


@pytest.mark.real_data
def test_both_recipes_are_trained_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a second for each leaves a table with a row for ours, for the original, and for real images."""
    torch.manual_seed(0)
    torch.save({"weights": metrics.DigitClassifier().state_dict()}, tmp_path / "digits.pt")
    words = ["--root", os.environ["GANLIB_DATA"], "--digits", tmp_path / "digits.pt", "--cifar", "unused.pt",
             "--systems", 2, "--minutes", 0.02, "--out", tmp_path / "out"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["reference_systems", *map(str, words)])
    reference_systems.main()
    with (tmp_path / "out/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe"] for row in rows] == ["ours", "original", "real images"]
    assert all(float(row["frechet_distance"]) > 0 for row in rows)
    assert float(rows[2]["frechet_distance"]) < min(float(row["frechet_distance"]) for row in rows[:2])

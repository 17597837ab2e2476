"""Tests of what measures MNIST with every metric, on rendered digits and an untrained generator."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import metrics_on_mnist
from benchmarks.metrics_on_mnist import Measure, bias, cases, distances, features_of, scaled
from ganlib import data, metrics, models

N = 60
COPIER = "a copier: training images"


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    """The results of each case, measured with rendered digits in place of MNIST."""
    classifier, generator = metrics.DigitClassifier.pretrained(), models.pretrained("mnist_cdcgan")
    real, held_out, train = (data.TensorLoader(data.RenderedDigits(length=N, seed=seed), N) for seed in range(3))
    assert held_out.conditions is not None
    measure = Measure(classifier, *(features_of(classifier, scaled(part.samples)) for part in (real, train)))
    made = cases(generator, scaled(held_out.samples), held_out.conditions, train, seed=0)
    return {name: measure(images, labels) for name, images, labels in made}


def test_each_failure_is_seen_by_the_metric_that_looks_for_it(found: dict[str, dict[str, float]]) -> None:
    """Copies are at distance 0 of training data, five digits are half of the modes, one image each has no recall."""
    real, copier = found["real digits, the other half"], found[COPIER]
    assert copier["nearest_distance"] == 0 < real["nearest_distance"]
    assert copier["memorization"] == 1 > real["memorization"]
    assert found["digits 0 to 4 only"]["kl_divergence"] > 0.4
    assert found["one image of each digit"]["recall"] == 0
    assert found["the same latents in bfloat16"]["label_accuracy"] == pytest.approx(
        found["the generator"]["label_accuracy"], abs=2 / N
    )


def test_every_case_has_as_many_images(found: dict[str, dict[str, float]]) -> None:
    """All nine rows are there, with all results, and 8-bit images are nearly the same ones."""
    assert len(found) == 9
    assert all(row.keys() == found[COPIER].keys() for row in found.values())
    in_8_bits, float_ = found["the same images in 8 bits"], found["the generator"]
    assert in_8_bits["frechet_distance"] == pytest.approx(float_["frechet_distance"], rel=0.01)


def test_the_bias_is_of_the_frechet_distance_alone() -> None:
    """Of one distribution, the Fréchet distance falls with n, and the kernel distance is 0 within its spread."""
    features = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    (_, few), (_, many) = bias(features, features, (50, 500), 3, 0)
    assert few[:, 0].mean() > 5 * many[:, 0].mean() > 0
    assert few[:, 1].mean().abs() < few[:, 1].std()


def test_a_draw_of_the_same_images_is_at_a_distance_of_zero() -> None:
    """A sample's distance to itself is 0, and grows with the distance of the means."""
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert distances(features, features)[0] == pytest.approx(0, abs=1e-6)
    assert distances(features, features + 1)[0] == pytest.approx(4, abs=1e-5)


def test_the_tables_and_the_figure_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a row for each case, each side and each number of samples, and draws."""

    def digits(root: Any, *, train: bool) -> data.RenderedDigits:
        return data.RenderedDigits(length=200 if train else 80, seed=int(train))

    for name, value in {"MNIST": digits, "SIZES": (10, 20), "BATCH": 40}.items():
        monkeypatch.setattr(metrics_on_mnist, name, value)
    figure = tmp_path / "x.png"
    monkeypatch.setattr("sys.argv", ["x", "--root", ".", "--draws", "2", "--figure", str(figure)])
    metrics_on_mnist.main()
    rows = [line.split('", "') for line in capsys.readouterr().out.splitlines()]
    assert [len(row) for row in rows] == [12] * 9 + [3] * 3 + [5] * 2
    assert figure.stat().st_size > 5000


def test_sizes_may_have_different_numbers_of_draws(tmp_path: Path) -> None:
    """The figure is drawn of means and deviations, each of its own number of values."""
    metrics_on_mnist.draw([(500, torch.rand(20, 4)), (5000, torch.rand(2, 4))], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5000

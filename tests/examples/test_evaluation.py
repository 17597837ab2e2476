"""Tests of ``--evaluate-every``: what a training with it leaves, for each script that has it."""

import argparse
import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ganlib import conditioning, data, latents, metrics, models, training
from ganlib._cli import main
from ganlib.errors import GanlibError
from tests.examples.scripts import ROOT, call, load_script, write_mnist

RENDERED = data.RenderedDigits
UNCONDITIONAL = ["frechet_distance", "kernel_distance", "kernel_distance_std", "precision", "recall", "density",
                 "coverage"]  # fmt: skip
CONDITIONAL = [*UNCONDITIONAL, "label_accuracy"]
TINY = ("--batch-size", 16, "--latent-dim", 6, "--iterations", 7, "--evaluate-every", 3, "--evaluate-samples", 40)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set of rendered digits has 200."""
    monkeypatch.setattr(data, "RenderedDigits", lambda size, length=200, seed=0: RENDERED(size, 200, seed))


def rows(run: Path) -> dict[int, dict[str, str]]:
    """The table of a run, by iteration."""
    with (run / "metrics.csv").open() as file:
        return {int(row["iteration"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("script", "words", "names"),
    [
        ("mnist_cdcgan", ["--width", 4], CONDITIONAL),
        ("mnist_cdcgan", ["--width", 4, "--recipe", "original", "--image-size", 16], CONDITIONAL),
        ("mnist_mlp_gan", [], UNCONDITIONAL),
        ("mnist_mlp_gan", ["--recipe", "original"], UNCONDITIONAL),
        ("cifar10_dcgan", ["--data", "digits", "--class-name", "3", "--width", 4], UNCONDITIONAL),
        ("cgan", [], CONDITIONAL),
        ("cgan", ["--condition", "tags"], CONDITIONAL),
        ("cgan", ["--condition", "text"], CONDITIONAL),
        ("modern", ["--model", "r3gan", "--width", 4], CONDITIONAL),
        ("modern", ["--model", "dcgan", "--width", 4, "--conditional", "no"], UNCONDITIONAL),
    ],
    ids=lambda value: "" if value in (CONDITIONAL, UNCONDITIONAL) else str(value),
)
def test_a_run_is_measured(
    script: str, words: list[Any], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third iteration and the last have values; the best is kept; ``evaluate`` finds those of the last again."""
    run = tmp_path / "run"
    call(load_script(script), "train", *words, *TINY, "--out", run)
    table = rows(run)
    measured = [iteration for iteration, row in table.items() if row["frechet_distance"]]
    assert measured == [3, 6, 7]
    for iteration in measured:
        assert all(math.isfinite(float(table[iteration][name])) for name in names)
    assert ("label_accuracy" in table[7]) == (names is CONDITIONAL)
    best = training.Checkpoint.load(run / "checkpoints/best.pt")
    values = {iteration: float(table[iteration]["frechet_distance"]) for iteration in measured}
    assert best["iteration"] == min(values, key=lambda iteration: values[iteration])
    assert best["metrics"]["frechet_distance"] == pytest.approx(min(values.values()))
    main(["evaluate", str(run), "--n", "40"])
    again = json.loads((run / "evaluation.json").read_text())["metrics"]
    assert again == pytest.approx({name: float(table[7][name]) for name in names}, rel=1e-4, abs=1e-6)


def test_it_changes_no_training(tmp_path: Path) -> None:
    """The weights are those of a training without it, bit for bit."""
    script = load_script("mnist_mlp_gan")
    for name, words in {"with": TINY, "without": TINY[:6]}.items():
        call(script, "train", *words, "--out", tmp_path / name)
    weights, others = (load_file(tmp_path / name / "generator.safetensors") for name in ("with", "without"))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert not (tmp_path / "without/checkpoints/best.pt").exists()


def test_a_resumed_run_may_change_it(tmp_path: Path) -> None:
    """A run without it goes on with it, and then with other numbers; its table has what was measured."""
    script = load_script("cgan")
    words = ("train", "--batch-size", 16, "--out", tmp_path, "--resume", "--iterations")
    call(script, *words, 4)
    call(script, *words, 8, "--evaluate-every", 3, "--evaluate-samples", 20)
    with pytest.warns(UserWarning, match=r"Evaluate has n \(=30\), but n \(=20\) in the checkpoint"):
        call(script, *words, 11, "--evaluate-every", 5, "--evaluate-samples", 30)
    assert [iteration for iteration, row in rows(tmp_path).items() if row["frechet_distance"]] == [6, 8, 10, 11]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--evaluate-samples", 5], "--evaluate-samples (=5) must be at least 6 images"),
        (["--data", "mnist", "--root", "nowhere"], "MNIST is not there"),
    ],
)
def test_what_cannot_be_measured(words: list[Any], answer: str, tmp_path: Path) -> None:
    """It is told before anything is trained, and no run is left."""
    with pytest.raises(GanlibError, match=re.escape(answer)):
        call(load_script("mnist_mlp_gan"), "train", *TINY, *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_the_extra(tmp_path: Path) -> None:
    """Where torchmetrics is not installed, the line says what installs it, before any training."""
    code = f"""
import runpy, sys
sys.modules["torchmetrics"] = None
from ganlib import data
data.RenderedDigits = lambda size, length=20, seed=0, kind=data.RenderedDigits: kind(size, 20, seed)
sys.argv = ["x.py", "train", "--batch-size", "8", "--evaluate-every", "3", "--out", {str(tmp_path / "run")!r}]
sys.path.insert(0, {str(ROOT / "examples")!r})
runpy.run_path({str(ROOT / "examples/mnist_mlp_gan.py")!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'ganlib[metrics]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("n", [1, 4, 7, 20, 400])
def test_a_label_is_drawn_as_often_as_it_is_there(n: int) -> None:
    """Of n samples, a class has its share of the real labels, up to one sample; each is given its row of the table."""
    real = torch.tensor([2, 0, 0, 0, 2, 0, 0, 0, 1, 0])
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    generator = models.mlp_gan((1, 8, 8), 4, [8], encoder=conditioning.VectorEmbedding(2, 3))[0]
    sampler = load_script("_evaluation")["Sampler"](generator, latents.Gaussian(4), table, real)
    batches = list(sampler(n))
    labels = torch.cat([batch.condition for batch in batches])
    shares = torch.tensor([0.7, 0.1, 0.2])
    assert ((labels.bincount(minlength=3) - n * shares).abs() <= 1).all()
    expected = models.sample(generator, latents.Gaussian(4), condition=table[labels], seed=0)
    assert torch.equal(torch.cat([b.sample for b in batches]), torch.cat([b.sample for b in expected]))


@pytest.mark.parametrize("size", [16, 28, 64])
def test_the_features_are_those_of_digits_of_any_size(size: int) -> None:
    """The classifier reads rendered digits at every size, and at its own size its features are unchanged."""
    network = load_script("_evaluation")["DigitFeatures"]().eval()
    images = next(iter(data.TensorLoader(RENDERED(size, 200), 200, shuffle=False))).sample
    labels = torch.arange(200) % 10
    with torch.no_grad():
        assert (network.logits(images).argmax(1) == labels).double().mean() > 0.8
        if size == 28:
            assert torch.equal(network(images), metrics.DigitClassifier.pretrained().features(images))


@pytest.mark.parametrize("size", [16, 28])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_features_of_stacked_digits_are_those_of_each(size: int, channels: int) -> None:
    """Side by side; and the probability of a number is the product of those of its digits, the first the highest."""
    network = load_script("_evaluation")["DigitFeatures"]().eval()
    stacked = data.StackedMNIST(RENDERED(size, 200), channels=channels, length=50)
    images = next(iter(data.TensorLoader(stacked, 50, shuffle=False))).sample
    with torch.no_grad():
        rows, logits = network(images), network.logits(images)
        apart = [network(image.unsqueeze(1)) for image in images.unbind(1)]
        each = [network.classifier.head(row).double().softmax(1) for row in apart]
    torch.testing.assert_close(rows, torch.cat(apart, dim=1))
    expected = each[0]
    for digit in each[1:]:
        expected = torch.einsum("na,nb->nab", expected, digit).flatten(1)
    torch.testing.assert_close(logits.double().softmax(1), expected, atol=1e-5, rtol=1e-4)
    numbers = [int("".join(map(str, digits))) for digits in zip(*(p.argmax(1).tolist() for p in each), strict=True)]
    assert logits.argmax(1).tolist() == numbers
    assert (logits.argmax(1) == stacked.targets).double().mean() > 0.5**channels


@pytest.mark.parametrize("size", [28, 16])
def test_the_data_set_of_stacked_digits(size: int, tmp_path: Path) -> None:
    """It has images of MNIST in three channels, for training or tests; the label is the number that they make."""
    arguments = argparse.Namespace(
        data="stacked-mnist", root=write_mnist(tmp_path, 30, RENDERED), download=False, image_size=size
    )
    opened = load_script("_data")["open_data"]
    for test, length in ((False, 128_000), (True, 26_000)):
        stacked = opened(arguments, test=test)
        assert (len(stacked), len(stacked.classes)) == (length, 1000)
        single = opened(argparse.Namespace(**{**vars(arguments), "data": "mnist"}), test=test)
        images = torch.stack([torch.from_numpy(np.array(image)) for image, _ in single])
        for index in (0, 1, length - 1):
            image, label = stacked[index]
            assert image.shape == (3, size, size)
            digits = [int((images == channel).flatten(1).all(1).nonzero()[0, 0]) for channel in image]
            assert int("".join(str(single[digit][1]) for digit in digits)) == label

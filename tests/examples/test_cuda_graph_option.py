"""Every example records its iterations where that works, and ``--cuda-graph`` says otherwise."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import data, training
from tests.examples.scripts import ROOT, Given, load_script, taken, write_images

NETWORKS = nn.Linear(1, 1), nn.Linear(1, 1)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is fast on a device that can record."""
    settings = {"precision": "tf32", "channels_last": False, "cuda_graph": "auto"}
    monkeypatch.setattr(training, "fast_settings", lambda *_: dict(settings))
    return settings


def chosen(*words: str, recipe: str = "ours") -> dict[str, Any]:
    """The settings of a trainer, by the words of a command line."""
    script = load_script("_command_line")
    parser = argparse.ArgumentParser()
    script["add_train_options"](parser, out="run", data="digits")
    parser.set_defaults(recipe=recipe)
    return script["speed"](parser.parse_args(words), *NETWORKS)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], "auto"),
        (["--cuda-graph", "auto"], "auto"),
        (["--cuda-graph"], True),
        (["--cuda-graph", "yes"], True),
        (["--cuda-graph", "no"], False),
    ],
)
def test_the_option_is_what_the_trainer_is_given(words: list[str], value: Any, fast: dict[str, Any]) -> None:
    """By default what is fast; an original recipe has that alone of it, since a graph does not change the results."""
    assert chosen(*words) == {**fast, "compile": False, "cuda_graph": value}
    assert chosen(*words, recipe="original") == {"compile": False, "cuda_graph": value}


def test_on_the_cpu_auto_means_no() -> None:
    """Nothing is recorded, and nothing has to be said of it."""
    assert not chosen().get("cuda_graph", False)


def test_another_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither yes nor no, and not auto."""
    with pytest.raises(SystemExit):
        chosen("--cuda-graph", "maybe")
    assert "'maybe' is neither yes nor no" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--cuda-graph", "no"]])
@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("mnist_cdcgan.py", ["train"]),
        ("mnist_cdcgan.py", ["train", "--preset", "deceptive64", "--recipe", "original"]),
        ("mnist_mlp_gan.py", ["train"]),
        ("mnist_mlp_gan.py", ["train", "--recipe", "original"]),
        ("cifar10_dcgan.py", ["train", "--class-name", "a"]),
        ("cifar10_dcgan.py", ["train", "--class-name", "a", "--recipe", "original"]),
        ("cgan.py", ["train"]),
        ("modern.py", ["train"]),
        ("modern.py", ["train", "--model", "r3gan", "--augment", "ada"]),
        ("modern.py", ["train", "--model", "sngan", "--conditional", "no"]),
        ("gaussians.py", ["train"]),
        ("gaussians.py", ["compare"]),
    ],
)
def test_every_example_gives_it_to_its_trainer(
    script: str, options: list[str], words: list[str], fast: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it trains, and by whatever recipe."""
    if script != "gaussians.py":
        write_images(tmp_path / "images", ["a", "b"], 8)
        options = [*options, "--data", "folder", "--root", str(tmp_path / "images"), "--batch-size", "4"]
    digits = data.RenderedDigits
    monkeypatch.setattr(data, "RenderedDigits", lambda *_, **__: digits(length=16))
    for trainer in ("AdversarialTrainer", "GameTrainer"):
        monkeypatch.setattr(training, trainer, taken)
    path = ROOT / "examples" / script
    out = str(tmp_path / ("run.png" if "compare" in options else "run"))
    monkeypatch.setattr(sys, "argv", [script, *options, *words, "--device", "cpu", "--out", out])
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(Given) as given:
        load_script(script.removesuffix(".py"))["main"]()
    assert given.value.keywords["cuda_graph"] == (False if words else "auto")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_random_labels_are_drawn_on_the_device(device: str) -> None:
    """On the CPU they are those that the seed always gave."""
    draw = load_script("mnist_cdcgan")["draw_labels"]
    torch.manual_seed(0)
    labels = draw(10, device, 6)
    assert (labels.device.type, labels.shape, labels.dtype) == (device, (6,), torch.int64)
    if device == "cpu":
        torch.manual_seed(0)
        assert torch.equal(labels, torch.randint(10, (6,)))


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["ours", "original"])
def test_on_cuda_cifar10_dcgan_is_recorded_by_itself(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With default settings, whose gradients differ each time by rounding; a warning would be an error."""
    fit, made = training.fit, list[Any]()
    monkeypatch.setattr(
        training, "fit", lambda trainer, *args, **words: (made.append(trainer), fit(trainer, *args, **words))
    )
    words = ["train", "--recipe", recipe, "--data", "folder", "--root", write_images(tmp_path / "images", ["cat"], 200)]
    words += ["--device", "cuda", "--iterations", 70, "--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["cifar10_dcgan.py", *map(str, words)])
    monkeypatch.syspath_prepend(ROOT / "examples")
    load_script("cifar10_dcgan")["main"]()
    (trainer,) = made
    assert trainer.recorded_iterations == 70 - 2 * 3  # with R1 and without; whole batches and others


@pytest.mark.gpu
def test_on_cuda_gaussians_are_drawn_there() -> None:
    """A seed gives the same batches again."""
    example = load_script("gaussians")
    batches = [next(iter(example["Batches"](example["grid"](), 64, 3, "cuda"))) for _ in range(2)]
    assert batches[0].device.type == "cuda"
    assert torch.equal(*batches)

"""The example of modern GANs: three models, with and without classes, for any data set."""

import argparse
import json
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten

from ganlib import augment, data, models, training
from ganlib.errors import GanlibError
from tests.examples.scripts import call, frames, load_script, picture_size, write_images, write_mnist

MODELS = ("r3gan", "dcgan", "sngan")
RENDERED = data.RenderedDigits
TINY = ("--device", "cpu", "--batch-size", 8, "--width", 4, "--latent-dim", 6)
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Every set of rendered digits has 64, and ADA adapts by as much at each update as a short run shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "AdaptiveAugment", partial(augment.AdaptiveAugment, p=0.5, images=1000, every=1))
        patch.setattr(data, "RenderedDigits", lambda size, length=64, seed=0: RENDERED(size, 64, seed))
        yield


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script."""
    return load_script("modern")


@pytest.fixture(scope="module")
def runs(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run of each model, with classes, and one without."""
    folder = tmp_path_factory.mktemp("runs")
    for model in MODELS:
        call(script, "train", "--model", model, *TINY, "--iterations", 2, "--out", folder / model)
    words = ("--conditional", "no", "--iterations", 2, "--out", folder / "plain")
    call(script, "train", "--model", "dcgan", *TINY, *words)
    return {name: folder / name for name in (*MODELS, "plain")}


def info(run: Path) -> dict[str, Any]:
    """What a run's generator says of its training."""
    generator: Any = models.load_generator(run / "generator.safetensors")
    return dict(generator.info)


def state_at_end(run: Path) -> Any:
    """The trainer's state in the newest checkpoint."""
    state = training.Checkpoint(run).newest()
    assert state is not None
    return state["trainer"]


def chosen(script: dict[str, Any], **given: Any) -> argparse.Namespace:
    """The options of a training; what is not given is left to the script."""
    names = ("model", "batch_size", "lr", "width", "blocks", "conditional", "flip", "precision", "channels_last")
    own = {"device": "cpu", "data": "digits", "latent_dim": 6, "augment": "none", "compile": False}
    arguments = argparse.Namespace(**dict.fromkeys(names), cuda_graph="auto")
    vars(arguments).update({**own, "precision": "auto", **given})
    script["choose"](arguments)
    return arguments


def test_every_promised_file_is_there(runs: dict[str, Path]) -> None:
    """Generator, table, losses, checkpoints, and images with a row of ten for each class."""
    for run in runs.values():
        for name in ("generator.safetensors", "losses.png", "metrics.csv", "checkpoints/00000002.pt", "run.json"):
            assert (run / name).stat().st_size > 0
        assert frames(run / "training.gif") == 2
        assert {picture_size(path) for path in (run / "samples").iterdir()} == {(302, 302)}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("r3gan", ["--augment", "ada"]),
        ("dcgan", ["--augment", "diff", "--flip"]),
        ("sngan", ["--conditional", "no", "--augment", "ada"]),
    ],
)
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(
    script: dict[str, Any], model: str, words: list[str], tmp_path: Path
) -> None:
    """Weights, optimizers, ADA's probability, average, table and images are those of a run in one piece."""
    train = ("train", "--model", model, *words, *TINY, "--iterations", 6, "--checkpoint-every", 2, "--out")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    call(script, *train, whole)
    shutil.copytree(whole, stopped)
    for name in ("generator.safetensors", "checkpoints/00000004.pt", "checkpoints/00000006.pt"):
        (stopped / name).unlink()
    call(script, *train, stopped, "--resume")
    for name in ("metrics.csv", "samples/00000001.png", "samples/00000006.png"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    ends = []
    for run in (whole, stopped):
        average = models.load_generator(run / "generator.safetensors").state_dict()
        ends.append(tree_flatten([state_at_end(run), average]))
    assert ends[0][1] == ends[1][1]
    for one, other in zip(ends[0][0], ends[1][0], strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    if "ada" in words:
        # Changed by a schedule, or by the logits.
        assert abs(state_at_end(stopped)["modules"]["augment"]["p"] - 0.5) > 1e-3


@every_model
def test_sample_draws_the_labels(script: dict[str, Any], runs: dict[str, Path], model: str, tmp_path: Path) -> None:
    """Those that are given, or all; the same images with the same seed."""
    words = ("sample", "--run", runs[model], "--count", 3, "--out", tmp_path / "x.png", "--npz", tmp_path / "x.npz")
    drawn = []
    for labels, expected in (([3, 1], [3, 1]), ([3, 1], [3, 1]), ([], range(10))):
        call(script, *words, *(["--labels", *labels] if labels else []))
        with np.load(tmp_path / "x.npz") as arrays:
            assert arrays["labels"].tolist() == [label for label in expected for _ in range(3)]
            assert arrays["images"].shape == (3 * len(expected), 1, 28, 28)
            drawn.append(arrays["images"])
    assert np.array_equal(drawn[0], drawn[1])
    with pytest.raises(GanlibError, match="class 10"):
        call(script, *words, "--labels", 10)


def test_a_run_without_classes(script: dict[str, Any], runs: dict[str, Path], tmp_path: Path) -> None:
    """It draws ``--count`` samples in all, and has no labels."""
    words = ("sample", "--run", runs["plain"], "--count", 7, "--out", tmp_path / "x.png", "--npz", tmp_path / "x.npz")
    call(script, *words)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].shape == (7, 1, 28, 28)
        assert arrays["labels"].tolist() == [-1] * 7
    with pytest.raises(GanlibError, match="--labels needs a conditional run"):
        call(script, *words, "--labels", 3)


@every_model
@pytest.mark.parametrize("size", [8, 28, 30, 45])
def test_networks_of_any_size_and_width(script: dict[str, Any], model: str, size: int) -> None:
    """Samples have the shape of the images, with classes and without, also at a width that 16 does not divide."""
    arguments = chosen(script, model=model, width=5)
    for classes in (None, 4):
        labels = [] if classes is None else [torch.tensor([3, 0])]
        generator, discriminator = script["make_networks"](arguments, torch.Size([3, size, size]), classes)
        samples = generator(torch.randn(2, 6), *labels)
        assert samples.shape == (2, 3, size, size)
        assert discriminator(samples, *labels).shape == (2, 1)


@every_model
def test_a_width_above_the_usual_limit(script: dict[str, Any], model: str) -> None:
    """Channels double up to 512; a width of more is that of all maps."""
    for width, widest in ((300, 512), (640, 640)):
        arguments = chosen(script, model=model, width=width, device="meta")
        with torch.device("meta"):
            networks = script["make_networks"](arguments, torch.Size([3, 32, 32]), None)
        channels = {
            size
            for network in networks
            for layer in network.modules()
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
            for size in (layer.in_channels, layer.out_channels)
        }
        expected = {3, width, widest}
        if model == "r3gan":  # its blocks are wider inside
            expected |= {2 * width, 2 * widest}
        assert channels == expected


def test_a_folder_of_color_images(script: dict[str, Any], tmp_path: Path) -> None:
    """It is trained with its classes and flipped images, at a size that no power of two divides."""
    root = write_images(tmp_path / "images", ["apple", "pear"], 8, size=50)
    words = ("--data", "folder", "--root", root, "--image-size", 45, "--iterations", 2, "--out", tmp_path / "run")
    call(script, "train", *TINY, *words)
    assert {"classes": ["apple", "pear"], "conditional": True, "flip": True, "image_size": 45}.items() <= info(
        tmp_path / "run"
    ).items()
    call(script, "sample", "--run", tmp_path / "run", "--count", 2, "--out", tmp_path / "x.png",
         "--npz", tmp_path / "x.npz")  # fmt: skip
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].shape == (4, 3, 45, 45)
        assert arrays["labels"].tolist() == [0, 0, 1, 1]


def test_stacked_digits(script: dict[str, Any], tmp_path: Path) -> None:
    """Three digits in the channels are trained without classes, and measured by their number of modes."""
    root = write_mnist(tmp_path, 40)
    words = ("--data", "stacked-mnist", "--root", root, "--iterations", 2, "--out", tmp_path / "run")
    call(script, "train", *TINY, *words, "--evaluate-every", 2, "--evaluate-samples", 20)
    assert (info(tmp_path / "run")["conditional"], len(info(tmp_path / "run")["classes"])) == (False, 1000)
    header, *_, last = (tmp_path / "run/metrics.csv").read_text().splitlines()
    row = dict(zip(header.split(","), last.split(","), strict=True))
    assert 1 <= float(row["modes_found"]) <= 20
    # The divergence of 20 samples from 1,000 equal shares is log(1000 / 20) where all differ.
    assert np.log(1000 / 20) - 1e-6 <= float(row["kl_divergence"]) <= np.log(1000) + 1e-6
    assert "label_accuracy" not in row


@pytest.mark.parametrize(
    ("device", "model"), [("cpu", "dcgan"), ("cuda", "r3gan"), ("mps", "r3gan"), ("cuda:1", "r3gan")]
)
def test_the_model_by_default(script: dict[str, Any], device: str, model: str) -> None:
    """R3GAN needs a GPU; every other option has a value then."""
    arguments = chosen(script, device=device)
    assert arguments.model == model
    assert all(getattr(arguments, name) for name in ("batch_size", "lr", "width"))


@every_model
def test_the_options_by_default(script: dict[str, Any], model: str) -> None:
    """A CPU gets networks that are not wider than a GPU's; what is given stays."""
    on_cpu, on_gpu = (chosen(script, model=model, device=device) for device in ("cpu", "cuda"))
    assert on_cpu.width <= on_gpu.width
    assert on_cpu.batch_size <= on_gpu.batch_size
    given = {"width": 7, "batch_size": 3, "lr": 0.5, "conditional": False, "flip": True}
    assert given.items() <= vars(chosen(script, model=model, **given)).items()


@pytest.mark.parametrize(
    ("name", "conditional", "flip"),
    [
        ("digits", True, False),
        ("mnist", True, False),
        ("fashion-mnist", True, False),
        ("cifar10", True, True),
        ("folder", True, True),
        ("stacked-mnist", False, False),
    ],
)
def test_the_data_set_chooses(script: dict[str, Any], name: str, conditional: bool, flip: bool) -> None:
    """Digits are not flipped, and 1,000 modes are not told to the generator."""
    arguments = chosen(script, data=name)
    assert (arguments.conditional, arguments.flip) == (conditional, flip)


@every_model
def test_schedules_reach_their_ends(script: dict[str, Any], model: str) -> None:
    """R1 and R2 fall from H W / 2048 to a tenth, and beta2 rises to 0.99, until half of the run; the rates fall."""
    arguments = chosen(script, model=model, width=4, lr=0.01)
    shape = torch.Size([1, 16, 16])
    networks = script["make_networks"](arguments, shape, 10)
    trainer, schedules = script["make_trainer"](arguments, *networks, shape)
    optimizers = trainer.generator_optimizer, trainer.discriminator_optimizer
    weights = [schedule.tensor for schedule in schedules if isinstance(schedule, training.Schedule)]
    seen = []

    class Watch:
        """Keep the numbers after each iteration."""

        def on_start(self, run: Any) -> None:
            self.on_iteration(run)

        def on_iteration(self, run: Any) -> None:
            groups = [optimizer.param_groups[0] for optimizer in optimizers]
            seen.append(([float(group["lr"]) for group in groups], [float(group["betas"][1]) for group in groups],
                         [weight.item() for weight in weights]))  # fmt: skip

    loader = data.TensorLoader(data.RenderedDigits(16), 8)
    training.fit(trainer, loader, iterations=4, callbacks=[*schedules, Watch()])
    (rates, betas, first), half, (last_rates, last_betas, last) = seen[0], seen[2], seen[-1]
    assert rates == pytest.approx([0.01, 0.01])
    assert all(max(after) <= min(before) for (before, *_), (after, *_) in pairwise(seen))
    assert betas == pytest.approx([0.9, 0.9])
    if model == "sngan":
        assert (last_rates, last_betas, weights) == ([0.0, 0.0], betas, [])
        return
    assert 0 < max(last_rates) < 0.1 * 0.01
    assert half[1:] == (last_betas, last)
    assert last_betas == pytest.approx([0.99, 0.99])
    assert (first, last) == (pytest.approx([16 * 16 / 2048]), pytest.approx([16 * 16 / 20480]))


@pytest.mark.parametrize("model", ["r3gan", "dcgan"])
def test_the_schedule_of_adas_probability_is_on_the_device(script: dict[str, Any], model: str) -> None:
    """Its tensor is on the device of the networks from the start; a later move would make another one."""
    arguments = chosen(script, model=model, width=4, augment="ada", device="meta")
    shape = torch.Size([1, 12, 12])
    _, schedules = script["make_trainer"](arguments, *script["make_networks"](arguments, shape, 10), shape)
    tensors = [schedule.tensor for schedule in schedules if isinstance(schedule, training.Schedule)]
    assert [tensor.device.type for tensor in tensors] == ["meta", "meta"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@every_model
def test_every_precision(script: dict[str, Any], model: str, precision: str) -> None:
    """Also where float16 needs the penalties in float32: a step gives finite losses."""
    arguments = chosen(script, model=model, precision=precision, width=4)
    shape = torch.Size([1, 12, 12])
    networks = script["make_networks"](arguments, shape, 10)
    trainer, _ = script["make_trainer"](arguments, *networks, shape)
    batch = torch.rand(4, 1, 12, 12) * 2 - 1, torch.arange(4)
    metrics = trainer.train_step(iter([batch] * 5))  # SNGAN takes them all
    assert all(torch.as_tensor(value).isfinite() for value in metrics.values())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--model", "sngan"], r"model dcgan \(not sngan\)"),
        (["--conditional", "yes"], r"conditional False \(not True\)"),
        (["--augment", "ada"], r"augment none \(not ada\)"),
        (["--flip"], r"flip False \(not True\)"),
        (["--width", "8"], r"width 4 \(not 8\)"),
    ],
)
def test_another_run_does_not_go_on_in_the_folder(
    script: dict[str, Any], runs: dict[str, Path], words: list[str], answer: str
) -> None:
    """What the folder holds is named, and nothing in it changes."""
    before = {path: path.stat().st_mtime_ns for path in runs["plain"].rglob("*") if path.is_file()}
    own = ("--model", "dcgan", "--conditional", "no")
    with pytest.raises(GanlibError, match=answer):
        call(script, "train", *TINY, *own, *words, "--resume", "--out", runs["plain"])
    assert {path: path.stat().st_mtime_ns for path in runs["plain"].rglob("*") if path.is_file()} == before


def test_the_run_file_names_what_a_resumed_run_shares(runs: dict[str, Path]) -> None:
    """The number of blocks too, which differs between a CPU and a GPU."""
    held = json.loads((runs["r3gan"] / "run.json").read_text())
    assert held["blocks"] >= 1
    assert held.items() <= info(runs["r3gan"]).items()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--data", "stacked-mnist", "--root", "nowhere"], "--data stacked-mnist: MNIST is not there"),
        (["--batch-size", "100"], r"--batch-size \(=100\) is more than the 64 images"),
        (["--image-size", "7"], r"--image-size \(=7\) must be at least 8"),
    ],
)
def test_what_cannot_be_trained(script: dict[str, Any], words: list[str], answer: str, tmp_path: Path) -> None:
    """The option is named, and no run is begun."""
    with pytest.raises(GanlibError, match=answer):
        call(script, "train", *TINY, *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""The main job, run as a user runs it: from the command line."""

import argparse
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import models
from ganlib.errors import GanlibError
from tests.examples.scripts import call, frames, load_script, picture_size, run_script, shapes_in_checkpoint

run = partial(run_script, "mnist_cdcgan")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script."""
    return load_script("mnist_cdcgan")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the built-in digits."""
    folder = tmp_path_factory.mktemp("run")
    printed = run("train", "--iterations", 20, "--batch-size", 16, "--out", folder, "--checkpoint-every", 5)
    for words in ("D loss", "G loss", "D(x)", "D(G(z))", "images/s", f"{folder}: generator.safetensors"):
        assert words in printed
    return folder


@pytest.fixture(scope="module")
def deceptive(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One iteration of the original deceptive-digits."""
    folder = tmp_path_factory.mktemp("deceptive")
    call(script, "train", "--preset", "deceptive64", "--recipe", "original", "--iterations", 1, "--batch-size", 2,
         "--out", folder)  # fmt: skip
    return folder


def test_every_promised_file_is_there(finished: Path) -> None:
    """A run leaves its checkpoints, generator, metrics, curves, animation and samples, the first and last always."""
    for name in ("generator.safetensors", "metrics.csv", "losses.png", "training.gif", "checkpoints/00000020.pt"):
        assert (finished / name).stat().st_size > 0
    assert {"00000001.png", "00000020.png"} <= {path.name for path in (finished / "samples").iterdir()}
    assert picture_size(finished / "samples/00000020.png") == (302, 302)
    rows = (finished / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "20"]


def test_a_killed_run_goes_on_as_if_nothing_had_happened(finished: Path, tmp_path: Path) -> None:
    """Resumed from its checkpoint of iteration 10, a run ends with the same generator and the same files."""
    killed = tmp_path / "killed"
    shutil.copytree(finished, killed)
    for name in ("generator.safetensors", "checkpoints/00000015.pt", "checkpoints/00000020.pt"):
        (killed / name).unlink()
    printed = run("train", "--iterations", 20, "--batch-size", 16, "--out", killed, "--checkpoint-every", 5, "--resume")
    assert "continues from iteration 10" in printed
    one, other = (models.load_generator(folder / "generator.safetensors").state_dict() for folder in (finished, killed))
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
    assert picture_size(tmp_path / "a.png") == (610, 310)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train", "--data", "mnist", "--root", "nowhere"], "MNIST is not there (no nowhere/MNIST/raw)"),
        (["train", "--data", "mnist", "--root", "nowhere"], "--download"),
        (["train", "--data", "mnst"], "digits"),
        (["train", "--iterations", "-3"], "argument --iterations: -3 must be a whole number of at least 1"),
        (["train", "--batch-size", "0"], "argument --batch-size/--batch_size: 0 must be"),
        (["train", "--latent-dim", "0"], "/--latent_vector_length: 0 must be"),
        (["train", "--device", "gpu"], "argument --device: 'gpu' is not a device"),
        (["train", "--lr", "-1"], "argument --lr: -1 must be a number above 0"),
        (["sample", "--run", "nowhere"], "--run (=nowhere) is not there"),
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
    assert "argument --count: 0 must be" in run(
        "sample", "--run", finished, "--count", 0, "--out", tmp_path / "x.png", fails=True
    )


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


def test_deceptive64_has_its_layers(deceptive: Path) -> None:
    """Kernels of 4 without bias, batch norms, embeddings of 10 in either, and 20, 15, 1: 3,656,676 and 2,837,679."""
    embedding = (10, 10)
    up = [(110, 512, 4, 4), (512,), (512,), (512, 256, 4, 4), (256,), (256,), (256, 128, 4, 4), (128,), (128,),
          (128, 64, 4, 4), (64,), (64,), (64, 1, 4, 4), embedding]  # fmt: skip
    down = [(64, 1, 4, 4), (128, 64, 4, 4), (128,), (128,), (256, 128, 4, 4), (256,), (256,), (512, 256, 4, 4), (512,),
            (512,), (10, 512, 4, 4), embedding, (15, 20), (15,), (1, 15), (1,)]  # fmt: skip
    for player, expected, count in (("generator", up, 3_656_676), ("discriminator", down, 2_837_679)):
        actual = shapes_in_checkpoint(deceptive, player)
        assert actual == expected
        assert sum(int(np.prod(shape)) for shape in actual) == count


def test_our_networks_halve_three_times_and_take_the_rest(finished: Path) -> None:
    """28, 14, 7, 3, 1 by kernels of 4, and of 3: labels one-hot next to the latent, and projected on the features."""
    up = [(110, 128, 3, 3), (128,), (128,), (128, 64, 4, 4), (64,), (64,), (64, 32, 4, 4), (32,), (32,),
          (32, 1, 4, 4), (1,)]  # fmt: skip
    down = [(32, 1, 4, 4), (32,), (64, 32, 4, 4), (64,), (64,), (128, 64, 4, 4), (128,), (128,), (256, 128, 3, 3),
            (256,), (10, 256), (1, 256), (1,), (10, 256), (10,)]  # fmt: skip
    assert shapes_in_checkpoint(finished, "generator") == up
    assert shapes_in_checkpoint(finished, "discriminator") == down


def test_the_original_recipes(script: dict[str, Any], deceptive: Path) -> None:
    """Adam at 2e-4 without penalty or average; batches of 64, turned by up to 25 degrees, random labels for fakes."""
    assert [script["RECIPES"][recipe]["preset"] for recipe in ("ours", "original")] == ["deep28", "dcgan28"]
    original, preset = script["RECIPES"]["original"], script["PRESETS"]["deceptive64"]
    assert (original["lr"], original["r1"], original["averaged"]) == (2e-4, 0.0, False)
    assert (preset["batch_size"], preset["rotation"], preset["random_labels"]) == (64, 25.0, True)
    assert (preset["interpolation"], preset["width"]) == ("nearest", 64)
    assert script["TOGETHER"]["deceptive64", "original"] == {"reuse_fakes": True, "batch_norm": "sample"}
    generator: Any = models.load_generator(deceptive / "generator.safetensors")
    info = {"preset": "deceptive64", "recipe": "original", "image_size": 64, "batch_norm": "sample"}
    assert info.items() <= generator.info.items()


@pytest.mark.parametrize(("size", "shapes"), [(28, [28, 14, 7, 1]), (32, [32, 16, 8, 4, 1]), (20, [20, 10, 5, 1])])
def test_a_plan_for_any_size(script: dict[str, Any], size: int, shapes: list[int]) -> None:
    """The image is halved down to 7 pixels or fewer, and what is left is one stage."""
    assert [shape[1] for shape in script["dcgan28"](3, size).shapes] == shapes


def test_a_number_is_cropped_inverted_and_joined(script: dict[str, Any], deceptive: Path, tmp_path: Path) -> None:
    """Each digit keeps 56 rows and 48 columns of its 64, black on white; the same digits with the same seed."""
    out = tmp_path / "number.png"
    call(script, "digits", "--run", deceptive, "--number", "9830976450", "--seed", 1, "--out", out)
    assert picture_size(out) == (960, 112)
    call(script, "sample", "--run", deceptive, "--labels", *"9830976450", "--count", 1, "--seed", 1,
         "--out", tmp_path / "x.png", "--npz", tmp_path / "x.npz")  # fmt: skip
    with np.load(tmp_path / "x.npz") as arrays, Image.open(out) as number:
        expected = np.concatenate([1 - image[0, 4:60, 10:58] for image in arrays["images"]], axis=1) / 2 * 255
        assert np.abs(np.asarray(number, dtype=float)[::2, ::2] - expected).max() <= 0.51


def test_a_number_of_28_pixels_is_cropped_alike(script: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    """The same shares of 28 pixels are kept: 25 rows and 21 columns."""
    call(script, "digits", "--run", finished, "--number", "07", "--out", tmp_path / "number.png")
    assert picture_size(tmp_path / "number.png") == (15 * 42, 15 * 25)


@pytest.mark.parametrize("way", ["lerp", "slerp"])
def test_interpolate_writes_an_image_and_an_animation_there_and_back(
    script: dict[str, Any], finished: Path, tmp_path: Path, way: str
) -> None:
    """A row of ten steps for each class; the animation has them all and comes back without repeating its ends."""
    call(script, "interpolate", "--run", finished, "--way", way, "--out", tmp_path / "between.png")
    assert picture_size(tmp_path / "between.png") == (604, 604)
    assert frames(tmp_path / "between.gif") == 18
    assert picture_size(tmp_path / "between.gif") == (604, 64)


def test_the_same_latent_is_drawn_as_each_class(script: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    """One row, whose columns are the classes."""
    call(script, "same-latent", "--run", finished, "--seed", 3, "--out", tmp_path / "same.png")
    assert picture_size(tmp_path / "same.png") == (604, 64)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["digits", "--number", "12a"], r"--number \(='12a'\)"),
        (["digits", "--number", "\u0663"], "--number"),
        (["interpolate", "--steps", "1"], r"steps \(=1\)"),
        (["interpolate", "--out", "film.gif"], r"--out \(=film.gif\) is the image's"),
        (["same-latent", "--out", "picture.xyz"], r"--out \(=picture.xyz\) must end in .png"),
    ],
)
def test_a_wrong_drawing_is_answered(
    script: dict[str, Any], finished: Path, tmp_path: Path, words: list[str], answer: str
) -> None:
    """What cannot be drawn is named, and nothing is written."""
    with pytest.raises(GanlibError, match=answer):
        call(script, words[0], "--run", finished, "--out", tmp_path / "x.png", *words[1:])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "sides"), [("dcgan28", [28, 14, 7, 1]), ("deep28", [28, 14, 7, 3, 1])], ids=["dcgan28", "deep28"]
)
def test_a_deeper_preset_has_one_layer_more(script: dict[str, Any], preset: str, sides: list[int]) -> None:
    """Both halve the image, to 7 pixels or to 4 or fewer, and double the channels from 32 on."""
    plan = script["dcgan28"](1, 28, 32, script["SMALLEST"][preset])
    assert [shape[-1] for shape in plan.shapes] == sides
    assert [shape[0] for shape in plan.shapes] == [1, 32, 64, 128, 256][: len(sides)]
    arguments = argparse.Namespace(
        preset=preset, width=32, latent_dim=100, conditioning="projection", generator_conditioning="latent"
    )
    generator, discriminator = script["make_networks"](arguments, torch.Size([1, 28, 28]), 10)
    labels = torch.arange(3)
    assert discriminator(generator(torch.randn(3, 100), labels), labels).shape == (3, 1)


def test_another_preset_does_not_go_on_in_the_folder(script: dict[str, Any], deceptive: Path, tmp_path: Path) -> None:
    """What the folder holds is named, and nothing in it changes; nor is deceptive64 made at another size."""
    before = {path: path.stat().st_mtime_ns for path in deceptive.rglob("*") if path.is_file()}
    with pytest.raises(GanlibError, match=r"preset deceptive64 \(not deep28\)"):
        call(script, "train", "--resume", "--out", deceptive)
    assert {path: path.stat().st_mtime_ns for path in deceptive.rglob("*") if path.is_file()} == before
    with pytest.raises(GanlibError, match=r"--image-size \(=32\) must be 64"):
        call(script, "train", "--preset", "deceptive64", "--image-size", 32, "--out", tmp_path / "run")


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

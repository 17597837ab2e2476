"""The example after DCGAN_CIFAR10: its layers by hand, its recipe, its files, a user's own pictures, its answers."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import models, stacks
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

SCRIPT = "cifar10_dcgan"
SMALL = ("--batch-size", 4, "--latent-dim", 8)
NOT = ("--init-generator-weights", "no", "--init-discriminator-weights", "no")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of the script."""
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures each."""
    return write_images(tmp_path_factory.mktemp("pictures"), ["cat", "dog", "ship"], 10)


@pytest.fixture(scope="module")
def cat(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of two iterations of the original recipe, by the original's words."""
    run = tmp_path_factory.mktemp("runs") / "cat"
    printed = run_script(
        SCRIPT, "train", "--recipe", "original", "--data", "folder", "--root_datasets_dir", folder,
        "--download_datasets", "False", "--class_name", "cat", "--n_epochs", 2, "--batch_size", 5,
        "--latent_vector_length", 100, "--init_generator_weights", "True", "--init_discriminator_weights", "True",
        "--out", run,
    )  # fmt: skip
    assert f"{run}: generator.safetensors" in printed
    return run


def test_the_original_has_its_layers(cat: Path) -> None:
    """Four kernels either way without bias, and the batch norms: 5,383,936 and 4,116,480 numbers in all."""
    up = [(100, 512, 5, 5), (512,), (512,), (512, 256, 5, 5), (256,), (256,), (256, 128, 5, 5), (128,), (128,),
          (128, 3, 4, 4)]  # fmt: skip
    down = [(128, 3, 4, 4), (256, 128, 5, 5), (256,), (256,), (512, 256, 5, 5), (512,), (512,), (1, 512, 5, 5)]
    for player, expected, count in (("generator", up, 5_383_936), ("discriminator", down, 4_116_480)):
        actual = shapes_in_checkpoint(cat, player)
        assert actual == expected
        assert sum(int(np.prod(shape)) for shape in actual) == count


def test_the_original_has_its_sizes(script: dict[str, Any]) -> None:
    """The plan goes from 32 over 29, 13 and 5 to 1, and either player reads the same kernels and strides."""
    plan = script["original_plan"](3, 32, 128)
    assert [shape[1] for shape in plan.shapes] == [32, 29, 13, 5, 1]
    assert (plan.kernel_sizes, plan.strides) == (((4, 4), *[(5, 5)] * 3), ((1, 1), *[(2, 2)] * 3))
    assert {*plan.paddings, *plan.output_paddings} == {(0, 0)}


@pytest.mark.parametrize("size", [8, 13, 32, 48, 64, 97])
@pytest.mark.parametrize("name", ["plan", "original_plan"])
def test_a_plan_for_any_size_ends_in_a_vector(script: dict[str, Any], name: str, size: int) -> None:
    """Whatever size is asked for, the top has one place, and the way back gives the image's shape."""
    plan: stacks.StackPlan = script[name](3, size)
    assert plan.top_shape[1:] == (1, 1)
    assert stacks.ConvTransposeStack(plan)(torch.randn(2, plan.top_shape[0])).shape == (2, 3, size, size)


def test_the_original_has_its_recipe(script: dict[str, Any]) -> None:
    """LeakyReLU 0.02, gains near 0, batches of 32 and a short last one, Adam at 2e-4, noisy targets, the same fakes."""
    expected = {"slope": 0.02, "gains": True, "batch_size": 32, "drop_last": False, "lr": 2e-4, "noise": 0.1, "r1": 0.0}
    expected |= {"reuse_fakes": True, "batch_norm": "sample", "width": 128}
    actual = script["RECIPES"]["original"]
    assert {name: actual[name] for name in expected} == expected
    assert not actual["averaged"]


def test_the_discriminators_loss_is_averaged(script: dict[str, Any]) -> None:
    """With logits of 0 the losses of real and fake samples are log 2, and so is their mean; the generator's stays."""
    loss = script["AveragedLoss"](script["losses"].NonSaturatingLoss())
    zeros = torch.zeros(3, 1)
    assert loss.discriminator(zeros, zeros).item() == pytest.approx(np.log(2))
    assert loss.generator(zeros).item() == pytest.approx(np.log(2))


def test_the_gains_of_the_original_start_near_0(script: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """The gains of all norms of both networks are drawn from N(0, 0.02), unless the switch is off; ours are 1."""
    for words, near in ((["--recipe", "original"], 0), (["--recipe", "original", *NOT], 1), ([], 1)):
        out = tmp_path / f"{len(words)}"
        call(script, "train", "--data", "folder", "--root", folder, "--iterations", 1, "--lr", 1e-12, *SMALL,
             "--width", 16, *words, "--out", out)  # fmt: skip
        state = script["training"].Checkpoint(out).newest()["trainer"]["modules"]
        for player in ("generator", "discriminator"):
            gains = [value for name, value in state[player].items() if name.endswith("norm.weight")]
            assert len(gains) >= 2
            assert (torch.cat(gains) - near).abs().max() < 0.1


def test_the_short_last_batch_is_trained_on(script: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """Ten pictures in batches of 4 are three iterations an epoch in the original, and two in ours."""
    for recipe, iterations in (("original", 3), ("ours", 2)):
        call(script, "train", "--recipe", recipe, "--data", "folder", "--root", folder, "--epochs", 1, *SMALL,
             "--width", 8, "--out", tmp_path / recipe)  # fmt: skip
        assert script["training"].Checkpoint(tmp_path / recipe).newest()["trainer"]["iteration"] == iterations


def test_samples_are_drawn_as_the_recipe_does_or_as_one_asks(cat: Path, script: dict[str, Any], tmp_path: Path) -> None:
    """The original draws each latent alone with batch norm in training mode; running averages are another picture."""
    drawn = {}
    for way in ((), ("--batch-norm", "sample"), ("--batch-norm", "running")):
        call(script, "sample", "--run", cat, "--count", 3, *way, "--out", tmp_path / "x.png",
             "--npz", tmp_path / "x.npz")  # fmt: skip
        with np.load(tmp_path / "x.npz") as arrays:
            drawn[way[1:]] = arrays["images"]
    assert np.array_equal(drawn[()], drawn["sample",])
    assert not np.allclose(drawn["running",], drawn["sample",], atol=1e-4)
    generator: Any = models.load_generator(cat / "generator.safetensors")
    latent = script["latents"].Gaussian(100)(3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = torch.cat([generator.train()(one[None]) for one in latent])
    assert np.array_equal(drawn[()], alone.numpy())


def test_a_row_an_epoch_and_a_picture_an_epoch(cat: Path) -> None:
    """The table has both losses, D(x) and D(G(z)) in either update; the one latent is drawn after each epoch."""
    with (cat / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("real_score", "fake_score", "generator_score"):
        assert all(0 < float(row[name]) < 1 for row in rows)
    assert {"discriminator_loss", "generator_loss"} <= rows[0].keys()
    assert sorted(path.name for path in (cat / "samples").iterdir()) == [f"{n:08d}.png" for n in (1, 2, 4)]
    assert picture_size(cat / "samples/00000004.png") == (9 * 36, 9 * 36)
    assert frames(cat / "training.gif") == 3


def test_the_generator_knows_what_it_is(cat: Path) -> None:
    """Its file holds class, epoch, latent size, losses and time, and rebuilds it."""
    generator: Any = models.load_generator(cat / "generator.safetensors")
    assert {"class_name": "cat", "epoch": 2, "latent_dim": 100}.items() <= generator.info.items()
    assert {"generator_loss", "discriminator_loss", "saved"} <= generator.info.keys()
    assert generator(torch.randn(2, 100)).shape == (2, 3, 32, 32)


def test_weight_init_is_switched_for_each_network(script: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """On, the kernels have a standard deviation of 0.02; off, torch's own, which is smaller in the widest layers."""
    for player in ("generator", "discriminator"):
        out = tmp_path / player
        call(script, "train", "--data", "folder", "--root", folder, "--iterations", 1, "--lr", 1e-12, *SMALL,
             f"--init-{player}-weights", "no", "--out", out)  # fmt: skip
        state = script["training"].Checkpoint(out).newest()["trainer"]["modules"]
        for each in ("generator", "discriminator"):
            widest = max((weight for weight in state[each].values() if weight.ndim == 4), key=torch.numel)
            assert (abs(widest.std().item() - 0.02) < 0.001) == (each != player)


def test_all_classes_are_trained_and_drawn(script: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """A folder for each class, and one picture with a row for each; a second call with --resume finds all done."""
    words = ("train", "--data", "folder", "--root", folder, "--all-classes", "--iterations", 1, *SMALL)
    for more in ((), ("--resume",)):
        call(script, *words, "--out", tmp_path, *more)
        assert picture_size(tmp_path / "classes.png") == (2 * (10 * 34 + 2), 2 * (3 * 34 + 2))
    for name in ("cat", "dog", "ship"):
        assert (tmp_path / name / "generator.safetensors").exists()
    call(script, "sample", "--run", tmp_path, "--class-name", "dog", "--count", 4, "--out", tmp_path / "dogs.png")
    assert picture_size(tmp_path / "dogs.png") == (9 * 70, 9 * 70)
    with pytest.raises(GanlibError, match="holds a run for each of cat, dog, ship: say which by --class-name"):
        call(script, "sample", "--run", tmp_path, "--out", tmp_path / "x.png")


def test_pictures_elsewhere_leave_what_is_there_alone(script: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    """A folder with other files is refused for the pictures before any is touched; an own one is gone on in."""
    words = ("train", "--data", "folder", "--root", folder, "--iterations", 2, "--checkpoint-every", 1, *SMALL)
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    with pytest.raises(GanlibError, match="holds files that are not this run's"):
        call(script, *words, "--ref_images_dir", folder, "--out", tmp_path / "run")
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    for more in ((), ("--resume",)):
        call(script, *words, "--ref_images_dir", tmp_path / "refs", "--out", tmp_path / "run", *more)
        assert {path.name for path in (tmp_path / "refs/cat").iterdir()} == {"00000001.png", "00000002.png"}


def test_own_pictures_of_any_size(script: dict[str, Any], tmp_path: Path) -> None:
    """Pictures of mixed sizes and modes are trained on at the size asked for, a corrupt file is told and left out."""
    write_images(tmp_path / "own", ["pet"], 6, size=50)
    write_images(tmp_path / "own", ["other"], 6, size=50)
    write_images(tmp_path / "more", ["pet"], 4, size=31, mode="L")
    for path in (tmp_path / "more/pet").iterdir():
        path.rename(tmp_path / "own/pet" / f"grey{path.name}")
    (tmp_path / "own/pet/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.warns(UserWarning, match=r"broken\.jpg"):
        call(script, "train", "--data", "folder", "--root", tmp_path / "own", "--class-name", "pet", "--image-size", 40,
             "--iterations", 2, *SMALL, "--out", tmp_path / "run")  # fmt: skip
    call(script, "sample", "--run", tmp_path / "run", "--count", 2, "--out", tmp_path / "x.png",
         "--npz", tmp_path / "x.npz")  # fmt: skip
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].shape == (2, 3, 40, 40)


def test_wrong_words_are_answered(script: dict[str, Any], folder: Path, cat: Path, tmp_path: Path) -> None:
    """A wrong class lists those there are; another class or script in the folder is named; nothing is left behind."""
    words = ("train", "--data", "folder", "--root", folder)
    with pytest.raises(GanlibError, match=r"--class-name \(='cta'\) must be one of cat, dog, ship"):
        call(script, *words, "--class-name", "cta", "--out", tmp_path / "run")
    with pytest.raises(GanlibError, match="nowhere"):
        call(script, "train", "--data", "folder", "--root", tmp_path / "nowhere", "--out", tmp_path / "run")
    with pytest.raises(GanlibError, match=r"--batch-size \(=64\) is more than the 10 images"):
        call(script, *words, "--out", tmp_path / "run")
    (tmp_path / "empty/cat").mkdir(parents=True)
    with pytest.raises(GanlibError, match="empty"):
        call(script, "train", "--data", "folder", "--root", tmp_path / "empty", "--out", tmp_path / "run")
    write_images(tmp_path / "one", ["cat"], 1)
    with pytest.raises(GanlibError, match="cat"):
        call(script, "train", "--data", "folder", "--root", tmp_path / "one", "--out", tmp_path / "run")
    with pytest.raises(GanlibError, match=r"class_name cat \(not dog\)"):
        call(script, *words, "--recipe", "original", "--class-name", "dog", "--resume", "--out", cat)
    with pytest.raises(GanlibError, match="class_name cat, not dog"):
        call(script, "sample", "--run", cat, "--class-name", "dog", "--out", tmp_path / "x.png")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "x.png").exists()


def test_a_switch_is_yes_or_no(script: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A word after a flag of the original's that is neither is answered with both."""
    with pytest.raises(SystemExit):
        call(script, "train", "--init_generator_weights", "perhaps")
    assert "'perhaps' is neither yes nor no" in capsys.readouterr().err


@pytest.mark.real_data
def test_cats_of_cifar10(tmp_path: Path) -> None:
    """On CIFAR-10 (JPEG) a few iterations of the default recipe leave a generator of cats."""
    root = Path(os.environ["GANLIB_DATA"]) / "cifar10/train"
    words = ("--data", "folder", "--root", root, "--iterations", 10)
    run_script(SCRIPT, "train", *words, "--out", tmp_path / "run", threads=2)
    generator: Any = models.load_generator(tmp_path / "run/generator.safetensors")
    assert generator.info["classes"] == sorted(
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    )

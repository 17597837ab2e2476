"""Runs that earlier versions have left: their generator is a ``.pt``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import latents, models
from ganlib.errors import GanlibError
from tests.examples.scripts import call, load_script, picture_size

OLD = Path(__file__).parents[1] / "models/format_1"
CLASSES = {"classes": list("abcde"), "condition": "class", "table": [0, 1, 2, 3, 4], "words": []}


def write(folder: Path, script: str, name: str, **info: Any) -> Path:
    """A run's folder with no generator but one that an earlier version has saved."""
    folder.mkdir(parents=True)
    values = torch.load(OLD / f"{name}.pt", weights_only=True)
    torch.save({**values, "info": {"script": script, "latent_dim": 6, **info}}, folder / "generator.pt")
    return folder


@pytest.mark.parametrize(
    ("script", "name", "info", "latent"),
    [
        ("mnist_cdcgan", "conditional_dcgan", CLASSES, latents.Gaussian(6)),
        ("cgan", "mlp_gan", CLASSES, latents.Gaussian(6)),
        ("cifar10_dcgan", "dcgan", {"class_name": "cat"}, latents.Gaussian(6)),
        ("mnist_mlp_gan", "dcgan", {}, latents.Uniform(6)),
    ],
)
def test_a_script_still_samples_from_it(script: str, name: str, info: Any, latent: Any, tmp_path: Path) -> None:
    """``sample`` draws what the generator in the file draws from the latents of the seed."""
    run = write(tmp_path / "run", script, name, **info)
    out = tmp_path / "x.npz"
    call(load_script(script), "sample", "--run", run, "--count", 3, "--seed", 2, "--out", tmp_path / "x.png",
         "--npz", out)  # fmt: skip
    labels = torch.arange(5).repeat_interleave(3) if info is CLASSES else None
    drawn = latent(3 if labels is None else 15, generator=torch.Generator().manual_seed(2))
    expected = next(models.sample(models.load_generator(run / "generator.pt"), drawn, condition=labels)).sample
    with np.load(out) as arrays:
        assert np.array_equal(arrays["images"], expected.numpy())
    assert picture_size(tmp_path / "x.png")[0] > 0


def test_the_newer_file_is_taken(tmp_path: Path) -> None:
    """Where a later training has left a generator.safetensors next to the old file, that one is drawn from."""
    run = write(tmp_path / "run", "mnist_cdcgan", "conditional_dcgan", **CLASSES)
    generator: Any = models.load_generator(run / "generator.pt")
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2)
    models.save_generator(run / "generator.safetensors", generator, generator.info)
    call(load_script("mnist_cdcgan"), "sample", "--run", run, "--out", tmp_path / "x.png", "--npz", tmp_path / "x.npz")
    drawn = latents.Gaussian(6)(50, generator=torch.Generator().manual_seed(0))
    expected = next(models.sample(generator, drawn, condition=torch.arange(5).repeat_interleave(10))).sample
    with np.load(tmp_path / "x.npz") as arrays:
        assert np.array_equal(arrays["images"], expected.numpy())


def test_a_run_of_several_classes(tmp_path: Path) -> None:
    """Classes that an earlier version has trained, and one of this version, are listed together, and drawn."""
    for name in ("cat", "dog"):
        write(tmp_path / "run" / name, "cifar10_dcgan", "dcgan", class_name=name)
    ship = models.load_generator(tmp_path / "run/dog/generator.pt")
    (tmp_path / "run/ship").mkdir()
    info = {"script": "cifar10_dcgan", "latent_dim": 6, "class_name": "ship"}
    models.save_generator(tmp_path / "run/ship/generator.safetensors", ship, info)
    script = load_script("cifar10_dcgan")
    with pytest.raises(GanlibError, match="holds a run for each of cat, dog, ship: say which by --class-name"):
        call(script, "sample", "--run", tmp_path / "run", "--out", tmp_path / "x.png")
    for name in ("cat", "ship"):
        call(
            script,
            "sample",
            "--run",
            tmp_path / "run",
            "--class-name",
            name,
            "--count",
            4,
            "--out",
            tmp_path / f"{name}.png",
        )
        assert picture_size(tmp_path / f"{name}.png") == (28 * 22, 28 * 22)
    with pytest.raises(GanlibError, match=r"holds no generator\.safetensors"):
        call(script, "sample", "--run", tmp_path / "run", "--class-name", "frog", "--out", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()

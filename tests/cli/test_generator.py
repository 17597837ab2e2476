"""Tests of finding a trained generator, and its latents."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from ganlib import latents, models
from ganlib._cli._generator import find_generator, latent_of, load_generator
from ganlib.errors import ArgumentValueError


def test_where_it_is(tmp_path: Path) -> None:
    """A folder's own file, the one of an earlier version if that is alone, a file by its path, and none for a name."""
    assert find_generator(str(tmp_path)) == tmp_path / "generator.safetensors"  # which is not there yet
    (tmp_path / "generator.pt").touch()
    assert find_generator(str(tmp_path)) == tmp_path / "generator.pt"
    (tmp_path / "generator.safetensors").touch()
    assert find_generator(str(tmp_path)) == tmp_path / "generator.safetensors"
    assert find_generator(str(tmp_path / "generator.pt")) == tmp_path / "generator.pt"
    assert find_generator("mnist_cdcgan") is None


def test_it_is_loaded(tmp_path: Path) -> None:
    """A file gives the saved generator, a name the pretrained one, and an error names the argument."""
    models.save_generator(tmp_path / "x", nn.Linear(3, 2), {"latent_dim": 3})
    assert load_generator(str(tmp_path / "x"), "RUN").info["latent_dim"] == 3
    assert load_generator("mnist_cdcgan", "RUN").info["image_size"] == 28
    with pytest.raises(ArgumentValueError, match=r"^--from \(=mnist\) must be the folder of a finished run, the file"):
        load_generator("mnist", "--from")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, latents.Gaussian(5)),
        ({"script": "mnist_cdcgan"}, latents.Gaussian(5)),
        ({"latent": "gaussian", "script": "mnist_mlp_gan"}, latents.Gaussian(5)),
        ({"latent": "uniform"}, latents.Uniform(5)),
        ({"script": "mnist_mlp_gan"}, latents.Uniform(5)),  # saved before the name was
    ],
)
def test_its_latents(info: dict[str, Any], expected: Any) -> None:
    """The distribution that is named, that of the script, or the Gaussian one."""
    assert latent_of({"latent_dim": 5, **info}) == expected


def test_latents_that_are_not_known() -> None:
    """Another name, and a dimension that cannot be, are quoted."""
    with pytest.raises(ArgumentValueError, match=r"latent \(='cauchy'\) in its info must be one of gaussian, uniform"):
        latent_of({"latent_dim": 5, "latent": "cauchy"})
    with pytest.raises(ArgumentValueError, match=r"dim \(=0\)"):
        latent_of({"latent_dim": 0})

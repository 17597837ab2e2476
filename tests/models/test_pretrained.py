"""Tests of the trained generators that come with ganlib."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import ganlib
from ganlib import latents, metrics, models
from ganlib.errors import ArgumentValueError

SIZES = {"mnist_cdcgan": 28, "mnist_cdcgan64": 64}
SRC = Path(ganlib.__file__).parent
FILES = sorted(SRC.glob("**/pretrained/*"))


def _draw(generator: Any, labels: torch.Tensor) -> torch.Tensor:
    latent = latents.Gaussian(generator.info["latent_dim"])
    return next(models.sample(generator, latent, condition=labels, seed=0)).sample


@pytest.mark.parametrize("name", SIZES)
def test_it_draws_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: a generator on the CPU, in float32 and evaluation mode, whose images are in [-1, 1]."""
    monkeypatch.setattr(socket, "socket", None)  # whoever opens one fails
    generator: Any = models.pretrained(name)
    state = generator.state_dict().values()
    assert {tensor.dtype for tensor in state if tensor.is_floating_point()} == {torch.float32}
    assert {tensor.device.type for tensor in state} == {"cpu"}
    assert not any(module.training for module in generator.modules())
    with torch.no_grad():
        images = generator(torch.randn(20, generator.info["latent_dim"]), torch.arange(20) % 10)
    assert images.shape == (20, 1, SIZES[name], SIZES[name])
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    # White strokes on black.
    assert images.amax(dim=(1, 2, 3)).min() > 0.5
    assert images.median() < -0.9


@pytest.mark.parametrize("name", SIZES)
def test_its_info_says_what_it_is(name: str) -> None:
    """The size of the latents, ten classes by name, the command that trained it, and good figures."""
    info: Any = models.pretrained(name).info  # type: ignore[assignment]
    assert type(info["latent_dim"]) is int
    assert [label[0] for label in info["classes"]] == list("0123456789")
    assert info["command"].startswith("python examples/mnist_cdcgan.py train ")
    names = {"read_as_asked", "frechet_distance", "coverage", "spread"}
    figures = info["figures"]
    assert figures.keys() == names | {"samples", "real"}
    assert figures["real"].keys() >= names
    for measured in (figures, figures["real"]):
        assert 0.9 < measured["read_as_asked"] <= 1
        assert 0 < measured["coverage"] <= 1
        assert measured["frechet_distance"] > 0
        assert measured["spread"] > 0
    # What a user may rely on.
    assert figures["read_as_asked"] >= {"mnist_cdcgan": 0.99, "mnist_cdcgan64": 0.95}[name]
    # The unit of the distance depends on the classifier that measured it, so real digits are the scale.
    assert figures["frechet_distance"] <= 2 * figures["real"]["frechet_distance"]
    assert figures["coverage"] >= 0.9 * figures["real"]["coverage"]
    assert figures["samples"] >= 1000
    json.dumps(info)


@pytest.mark.parametrize("name", SIZES)
def test_it_draws_the_class_that_is_asked_for(name: str) -> None:
    """The classifier that comes with ganlib reads what was asked for, each digit about as well as all."""
    labels = torch.arange(10).repeat_interleave(50)
    images = torch.nn.functional.interpolate(
        _draw(models.pretrained(name), labels), 28, mode="bilinear", antialias=True
    )
    with torch.no_grad():
        right = metrics.DigitClassifier.pretrained()(images).argmax(1) == labels
    assert right.float().mean() >= {"mnist_cdcgan": 0.98, "mnist_cdcgan64": 0.93}[name]
    assert right.view(10, 50).float().mean(1).min() >= 0.8


@pytest.mark.parametrize("name", SIZES)
def test_its_digits_differ(name: str) -> None:
    """Another latent gives another image of the class: no two of a hundred are nearly the same."""
    for digit in (1, 8):
        images = _draw(models.pretrained(name), torch.full((100,), digit)).flatten(1)
        distances = torch.cdist(images, images) + 1e9 * torch.eye(100)
        assert distances.min() > 0.02 * distances.median()


def test_two_calls_share_nothing() -> None:
    """What one of them is changed to, the other is not; nor is the one that is loaded later."""
    one: Any = models.pretrained("mnist_cdcgan")
    other: Any = models.pretrained("mnist_cdcgan")
    expected = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    with torch.no_grad():
        for tensor in one.state_dict().values():
            tensor.zero_()
    one.info["classes"].clear()
    for generator in (other, models.pretrained("mnist_cdcgan")):
        assert all(torch.equal(tensor, expected[key]) for key, tensor in generator.state_dict().items())
        assert len(generator.info["classes"]) == 10  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("name", SIZES)
def test_it_can_be_trained_on(name: str) -> None:
    """Each parameter has a finite gradient that is not zero, and a step of SGD along it lowers the loss."""
    torch.manual_seed(0)
    generator: Any = models.pretrained(name).train()
    latent, labels = torch.randn(20, generator.info["latent_dim"]), torch.arange(20) % 10
    optimizer = torch.optim.SGD(generator.parameters(), lr=1e-4)
    before = (generator(latent, labels) - 1).square().mean()
    before.backward()
    for key, parameter in generator.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key
    optimizer.step()
    assert (generator(latent, labels) - 1).square().mean() < before


def test_it_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """A pretrained generator is a generator as any other: its file rebuilds it, with its info."""
    generator: Any = models.pretrained("mnist_cdcgan")
    models.save_generator(tmp_path / "mine", generator, generator.info)
    loaded: Any = models.load_generator(tmp_path / "mine")
    labels = torch.arange(10)
    assert loaded.info == generator.info
    assert torch.equal(_draw(loaded, labels), _draw(generator, labels))


@pytest.mark.parametrize(
    "name", ["mnist", "", "MNIST_CDCGAN", "mnist_cdcgan.safetensors", "../models/mnist_cdcgan", None]
)
def test_another_name(name: Any) -> None:
    """A name that there is not is quoted, with the names that there are."""
    with pytest.raises(ArgumentValueError) as caught:
        models.pretrained(name)
    assert str(caught.value) == f"name (={name!r}) must be 'mnist_cdcgan' or 'mnist_cdcgan64'"


def test_the_files_are_small() -> None:
    """All trained weights together are at most 5 MB; each file is safetensors in half precision."""
    assert {path.name for path in FILES} == {*(f"{name}.safetensors" for name in SIZES), "digit_classifier.safetensors"}
    assert sum(path.stat().st_size for path in FILES) <= 5_000_000
    for path in FILES:
        with safe_open(path, framework="pt") as file:
            dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
            assert "info" in file.metadata()
        assert dtypes - {torch.int64} == {torch.float16}, path.name  # batch norm counts in int64

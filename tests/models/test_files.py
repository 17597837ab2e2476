"""Tests of generators on disk."""

import copy
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlib._files import load_plain, save_plain
from ganlib.conditioning import ClassEmbedding, ConcatLatent, FiLM, OneHot, TagEmbedding, Unconditional, VectorEmbedding
from ganlib.errors import CheckpointError, GanlibError, RunFolderError
from ganlib.models import conditional_dcgan, dcgan, load_generator, mlp_gan, save_generator
from ganlib.stacks import StackPlan, Stage
from ganlib.training import EMA

_TALL = StackPlan((1, 12, 8), [Stage(4, kernel_size=(4, 2), padding=(1, 0)), Stage(8)])
_FLAT = StackPlan((1, 8, 8), [Stage(4), Stage(8, kernel_size=4, stride=1, padding=0)])
_LABELS = torch.tensor([3, 1, 4])


def _noisy(generator):
    """The generator, with conditional norms that have left their zeros."""
    for module in generator.modules():
        if isinstance(module, FiLM):
            nn.init.normal_(module.gain)
            nn.init.normal_(module.bias)
    return generator


_GENERATORS = {
    "dcgan": (lambda: dcgan(_TALL, 6)[0], None),
    "flat dcgan": (lambda: dcgan(_FLAT, 6, norm="group")[0], None),
    "conditional": (lambda: conditional_dcgan(_TALL, 6, 5)[0], _LABELS),
    "channels": (lambda: conditional_dcgan(_FLAT, 6, 5, conditioning="channels", spectral_norm=True)[0], _LABELS),
    "embedding": (lambda: conditional_dcgan(_TALL, 6, encoder=ClassEmbedding(5, 3))[0], _LABELS),
    "tags": (lambda: conditional_dcgan(_FLAT, 6, encoder=TagEmbedding(4, 3))[0], torch.eye(3, 4)),
    "vectors": (lambda: conditional_dcgan(_FLAT, 6, encoder=VectorEmbedding(2, 3))[0], torch.ones(3, 2)),
    "conditional norms": (
        lambda: _noisy(conditional_dcgan(_TALL, 6, 5, generator_conditioning="batch_norm")[0]),
        _LABELS,
    ),
    "a shared encoder": (
        lambda: _noisy(conditional_dcgan(_FLAT, 6, encoder=TagEmbedding(4, 3), generator_conditioning="batch_norm")[0]),
        torch.eye(3, 4),
    ),
    "mlp": (lambda: mlp_gan((1, 4, 5), 6, (8,), norm="batch", dropout=0.1)[0], None),
    "without bias": (lambda: dcgan(_TALL, 6, bias=False)[0], None),
    "conditional mlp": (lambda: mlp_gan((1, 4, 5), 6, (8,), encoder=TagEmbedding(4, 3))[0], torch.eye(3, 4)),
    "unconditional": (lambda: Unconditional(dcgan(_TALL, 6)[0]), _LABELS),
    "concat": (lambda: ConcatLatent(mlp_gan((1, 4, 5), 11, (8,))[0], OneHot(5)), _LABELS),
}


def _draw(generator, condition):
    latent = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator(latent) if condition is None else generator(latent, condition)


@pytest.fixture
def path(tmp_path):
    """Where the generator is saved."""
    return tmp_path / "run" / "generator.pt"


@pytest.fixture
def saved(path):
    """The path of a saved generator."""
    save_generator(path, mlp_gan((1, 4, 5), 6, (8,))[0], info={"classes": ["a"]})
    return path


@pytest.mark.parametrize("wrap", ["itself", "deepcopy", "EMA"])
@pytest.mark.parametrize("name", _GENERATORS)
def test_a_generator_comes_back(path, name, wrap):
    """Every recipe, its copy and its average, is rebuilt from the file alone, and draws the same to the bit."""
    make, condition = _GENERATORS[name]
    generator = make()
    _draw(generator.train(), condition)  # moves batch norm's statistics
    if wrap != "itself":
        generator = copy.deepcopy(generator) if wrap == "deepcopy" else EMA(generator).module
    save_generator(path, generator, info={"classes": ["zero", "one"], "seed": 3})
    before = torch.get_rng_state()
    loaded = load_generator(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(_draw(loaded, condition), _draw(generator.eval(), condition))
    assert loaded.info == {"classes": ["zero", "one"], "seed": 3}
    assert (loaded.sample_range, loaded.training) == ((-1.0, 1.0), False)
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in loaded.parameters())
    assert not any(buffer.is_meta for buffer in loaded.buffers())


def test_a_loaded_generator_can_be_saved_and_loaded_again(saved, tmp_path):
    """The second file holds what the first one does."""
    save_generator(tmp_path / "again.pt", load_generator(saved))
    assert torch.equal(_draw(load_generator(tmp_path / "again.pt"), None), _draw(load_generator(saved), None))


def test_a_module_of_ones_own_is_given_the_weights(path):
    """A generator without a recipe is loaded into a module, which is returned in evaluation mode, range and all."""
    module = nn.Linear(6, 2)
    module.sample_range = (0.0, 1.0)
    save_generator(path, module)
    other = nn.Linear(6, 2).train()
    assert load_generator(path, other) is other
    assert torch.equal(_draw(other, None), _draw(module, None))
    assert (other.training, other.info, other.sample_range) == (False, {}, (0.0, 1.0))


def test_weights_without_a_recipe_need_a_module(path):
    """Without a module they are a ValueError of ours that names the argument and the file."""
    save_generator(path, dcgan(_TALL, 6, activation=nn.ELU)[0])
    with pytest.raises(ValueError, match=r"module \(=None\) is needed: .*generator\.pt") as caught:
        load_generator(path)
    assert isinstance(caught.value, GanlibError)


class _Bomb:
    """Runs code where it is unpickled: leaves a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_bit(path):
    content, weights = bytearray(path.read_bytes()), load_plain(path)["weights"]
    position = content.find(next(iter(weights.values())).numpy().tobytes())
    assert position > 0
    content[position + 3] ^= 0x10
    path.write_bytes(content)


def _bomb(path):
    torch.save(load_plain(path) | {"info": _Bomb(path.with_name("trace"))}, path)


def _change(**values):
    return lambda path: save_plain(path, load_plain(path) | values)


def _recipe(name, arguments):
    return _change(recipe={"name": name, "arguments": arguments})


_DAMAGES = {
    "missing": os.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": _halve,
    "bit flipped": _flip_bit,
    "text": lambda path: path.write_text("weights"),
    "an object": _bomb,
    "a list": lambda path: torch.save([1, 2], path),
    "a checkpoint": lambda path: save_plain(path, {"format": 1, "trainer": {}}),
    "format 99": _change(format=99),
    "unknown recipe": _recipe("Tesseract", {}),
    "unknown argument": _recipe("mlp_gan", {"image_shape": [4], "latent_dim": 6, "colour": 1}),
    "bad argument": _recipe("mlp_gan", {"image_shape": [0], "latent_dim": 6}),
    "arguments a list": _recipe("mlp_gan", [1]),
    "negative class count": _recipe("OneHot", {"num_classes": -1}),
    "not a module": _recipe("Stage", {"channels": 4}),
    "recipe a word": _change(recipe="mlp_gan"),
    "range a number": _change(sample_range=3),
    "other weights": _change(weights={"x": torch.zeros(2)}),
    "weights a number": _change(weights=1),
    "other sizes": _recipe("mlp_gan", {"image_shape": [1, 4, 5], "latent_dim": 6, "hidden": [9]}),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_a_damaged_hostile_or_foreign_file_is_refused(saved, damage):
    """Whatever is wrong with it, the error is a CheckpointError that names the file, and no code in it is run."""
    damage(saved)
    with pytest.raises(CheckpointError, match=r"run/generator\.pt"):
        load_generator(saved)
    assert not saved.with_name("trace").exists()


def test_the_bomb_is_live(tmp_path):
    """The object of the test above does leave its file where pickle is trusted."""
    torch.save(_Bomb(tmp_path / "trace"), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "trace").exists()


def test_a_module_of_another_architecture_is_refused(saved):
    """The error names the file and the module's class."""
    with pytest.raises(CheckpointError, match=r"generator\.pt is of another architecture than Linear"):
        load_generator(saved, nn.Linear(6, 2))


@pytest.mark.parametrize(
    ("generator", "info", "message"),
    [(len, None, r"generator \(=<built-in function len>\)"), (nn.Linear(1, 1), {"f": len}, r"info/f .*built-in")],
)
def test_what_cannot_be_saved_is_refused(path, generator, info, message):
    """What is not a module, and an info that could not be read again, are TypeErrors of ours, and no file is left."""
    with pytest.raises(TypeError, match=message) as caught:
        save_generator(path, generator, info)
    assert isinstance(caught.value, GanlibError)
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(path):
    """Where the run's folder is a file, it is an OSError that names it."""
    path.parent.write_text("")
    with pytest.raises(RunFolderError, match="run"):
        save_generator(path, nn.Linear(1, 1))

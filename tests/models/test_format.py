"""Tests of the file of a network: what other programs make of it, and what is refused."""

import copy
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import nn

from ganlib._files import load_plain, save_plain
from ganlib.conditioning import ConcatLatent, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.models import load_discriminator, load_generator, save_discriminator, save_generator
from ganlib.models._format import checksum
from ganlib.stacks import LinearStack
from tests.models.cases import FORMAT_1, GENERATORS, LABELS, Counted, assert_same_state, draw, metadata_of


def test_other_programs_can_read_the_metadata(path):
    """Recipe, range and info are JSON; the range is null where a module has none."""
    generator = ConcatLatent(LinearStack([11, 4]), OneHot(5))
    save_generator(path, generator, {"classes": ("zero", "one")})
    values = {name: json.loads(metadata_of(path)[name]) for name in ("recipe", "info", "sample_range")}
    assert values["info"] == {"classes": ["zero", "one"]}
    assert values["sample_range"] is None
    assert values["recipe"]["name"] == "ConcatLatent"
    assert values["recipe"]["arguments"]["encoder"] == {"name": "OneHot", "arguments": {"num_classes": 5}}
    assert values["recipe"]["arguments"]["module"]["arguments"]["features"] == [11, 4]
    generator.sample_range = (0, 255)
    save_generator(path, generator)
    assert json.loads(metadata_of(path)["sample_range"]) == [0, 255]
    assert load_generator(path).sample_range == (0, 255)


@pytest.mark.parametrize("name", ["mlp", "spectral norm", "by hand, a shared encoder", "a shared encoder"])
def test_other_programs_can_read_the_weights(path, name):
    """``safetensors.torch.load_model`` reads the file strictly into a module of the same architecture."""
    make, condition, _ = GENERATORS[name]
    generator, other = make(), make()
    save_generator(path, generator)
    load_model(other, path)
    assert_same_state(generator.state_dict(), other.state_dict())
    assert torch.equal(draw(generator.eval(), condition), draw(other.eval(), condition))


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"recipe": "flour", "info": "{", "shared": "1"}])
def test_a_foreign_file_is_loaded_into_a_module(tmp_path, metadata):
    """Without ganlib's metadata a file has weights only, whatever else is in its metadata."""
    module, other = nn.Linear(6, 2), nn.Linear(6, 2)
    save_file(module.state_dict(), tmp_path / "x.safetensors", metadata)
    assert load_generator(tmp_path / "x.safetensors", other) is other
    assert_same_state(module.state_dict(), other.state_dict())
    assert (other.info, other.training, hasattr(other, "sample_range")) == ({}, False, False)
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed: .*x\.safetensors holds weights only"):
        load_generator(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors is of another architecture than Linear"):
        load_generator(tmp_path / "x.safetensors", nn.Linear(6, 3))


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, dtype=torch.complex128), torch.eye(2).to_sparse(), torch.zeros(2, device="meta")]
)
def test_a_tensor_that_the_format_lacks_is_an_error_of_ours(path, tensor):
    """It says so, and no file is left."""
    generator = Counted(2, 2)
    generator.register_buffer("table", tensor)
    with pytest.raises(ArgumentTypeError, match="state that safetensors cannot hold"):
        save_generator(path, generator)
    assert not path.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the root user can read any file")
def test_a_file_that_may_not_be_read_is_not_called_missing(saved):
    """The error is that of the system."""
    saved.chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        load_generator(saved)


@pytest.mark.parametrize("name", sorted(path.name for path in FORMAT_1.iterdir()))
def test_a_generator_of_the_version_before_draws_what_it_drew(name):
    """Files of format 1 hold a latent, a condition, and the sample that was drawn of them when they were written."""
    generator = load_generator(FORMAT_1 / name)
    info = generator.info
    arguments = [info["latent"]] if info["condition"] is None else [info["latent"], info["condition"]]
    with torch.no_grad():
        sample = generator(*arguments)
    torch.testing.assert_close(sample, info["sample"], rtol=0, atol=1e-6)
    assert (generator.sample_range, generator.training) == ((-1.0, 1.0), False)


def test_a_generator_of_the_version_before_can_be_saved_again(old, path):
    """The new file draws the same, to the bit, without the maker that the old one names."""
    generator = load_generator(old)
    save_generator(path, generator)
    loaded = load_generator(path)
    assert torch.equal(draw(loaded, LABELS[:3]), draw(generator, LABELS[:3]))
    assert json.loads(metadata_of(path)["recipe"])["name"] == "ConcatLatent"


def test_a_length_that_looks_like_a_zip_is_read(path):
    """A safetensors file begins with a length, whose first two bytes may be those of a zip: PK."""
    wanted = int.from_bytes(b"PK", "little")
    save_generator(path, nn.Linear(6, 2), {"padding": ""})
    missing = wanted - int.from_bytes(path.read_bytes()[:8], "little")
    for padding in range(missing - 16, missing + 16):  # the length of the checksum varies
        save_generator(path, nn.Linear(6, 2), {"padding": " " * padding})
        if path.read_bytes()[:2] == b"PK":
            break
    assert path.read_bytes()[:2] == b"PK"
    assert load_generator(path).weight.shape == (2, 6)


class _Bomb:
    """Runs code where it is unpickled: leaves a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _flip(find, offset=0, bit=0x10):
    """Flip a bit after the first place where something is."""

    def damage(path):
        content = bytearray(path.read_bytes())
        position = content.find(find) + offset
        assert position >= offset
        content[position] ^= bit
        path.write_bytes(content)

    return damage


def _flip_weight(path):
    weights = load_plain(path)["weights"] if path.suffix == ".pt" else load_file(path)
    _flip(next(iter(weights.values())).numpy().tobytes(), 3)(path)


def _make_folder(path):
    path.unlink()
    path.mkdir()


def _bomb(path):
    torch.save({"format": 1, "info": _Bomb(path.with_name("trace"))}, path)


def _change(**values):
    """Change values of a file, with a checksum that is right."""

    def damage(path):
        if path.suffix == ".pt":
            save_plain(path, load_plain(path) | values)
            return
        weights = values.get("weights", load_file(path))
        metadata = metadata_of(path) | {name: json.dumps(value) for name, value in values.items() if name != "weights"}
        save_file(weights, path, metadata | {"checksum": str(checksum(metadata, weights))})

    return damage


def _recipe(name, arguments):
    return _change(recipe={"name": name, "arguments": arguments})


def _metadata_change(**texts):
    """Change the metadata of a file, and leave its checksum."""
    return lambda path: save_file(load_file(path), path, metadata_of(path) | texts)


_DAMAGES = {
    "missing": os.unlink,
    "a folder": _make_folder,
    "empty": lambda path: path.write_bytes(b""),
    "half": _halve,
    "a byte short": _cut,
    "weight flipped": _flip_weight,
    "text": lambda path: path.write_text("weights"),
    "the start of a zip": lambda path: path.write_bytes(b"PK\3\4"),
    "an object": _bomb,
    "a list": lambda path: torch.save([1, 2], path),
    "a checkpoint": lambda path: save_plain(path, {"format": 1, "trainer": {}}),
    "unknown recipe": _recipe("Tesseract", {}),
    "a private class": _recipe("Block", {"layer": {"name": "nn.Tanh", "arguments": {}}, "norm": "none", "channels": 1}),
    "a function": _recipe("os.system", {"command": "true"}),
    "unknown argument": _recipe("mlp_gan", {"image_shape": [4], "latent_dim": 6, "colour": 1}),
    "bad argument": _recipe("mlp_gan", {"image_shape": [0], "latent_dim": 6}),
    "arguments a list": _recipe("mlp_gan", [1]),
    "negative class count": _recipe("OneHot", {"num_classes": -1}),
    "not a module": _recipe("Stage", {"channels": 4}),
    "recipe a word": _change(recipe="mlp_gan"),
    "recipe false": _change(recipe=False),
    "range a number": _change(sample_range=3),
    "range of words": _change(sample_range=["a", "b"]),
    "range reversed": _change(sample_range=[1.0, -1.0]),
    "info a list": _change(info=[]),
    "other weights": _change(weights={"x": torch.zeros(2)}),
    "no weights": _change(weights={}),
    "other sizes": _recipe("mlp_gan", {"image_shape": [1, 4, 5], "latent_dim": 6, "hidden": [9]}),
}
_OLD_DAMAGES = {
    "format 99": _change(format=99),
    "format 2": _change(format=2),
    "info none": _change(info=None),
    "weights a number": _change(weights=1),
}
_NEW_DAMAGES = {
    "a byte long": _lengthen,
    "format 99": _metadata_change(ganlib="99"),
    "info changed": _metadata_change(info='{"classes": ["b"]}'),
    "info of no JSON": _metadata_change(info="{"),
    "recipe of no JSON": _metadata_change(recipe="mlp_gan"),
    "range of no JSON": _metadata_change(sample_range="(0, 1)"),
    "shared of no JSON": _metadata_change(shared="x"),
    "shared a list": _change(shared=["blocks.0.layer.weight"]),
    "shared a name that is not there": _change(shared={"blocks.0.layer.weight": "x"}),
    "another name": _change(shared={"x": "blocks.0.layer.weight"}),
    "no format": lambda path: save_file(load_file(path), path, {**metadata_of(path), "format": "pt", "ganlib": ""}),
    "no checksum": lambda path: save_file(
        load_file(path), path, {name: text for name, text in metadata_of(path).items() if name != "checksum"}
    ),
    "length flipped": _flip(b"{", -8, 0x08),
    "length of 2 ** 63": _flip(b"{", -1, 0x80),
    "length beyond the file": _flip(b"{", -5, 0x10),
    "header flipped": _flip(b"blocks.0"),
    "type flipped": _flip(b"F32", 1, 0x01),
    "offset flipped": _flip(b"data_offsets", 15, 0x01),
    "recipe flipped": _flip(b"LinearStack"),
    "info flipped": _flip(b'\\"a\\"', 2, 0x02),
    "checksum flipped": _flip(b'"checksum":"', 12, 0x01),
    "range flipped": _flip(b"[-1.0, 1.0]", 2, 0x01),
    "brace flipped": _flip(b"{"),
}


def _load_damaged(path, damage):
    damage(path)
    with pytest.raises(CheckpointError, match=rf"run/{path.name}"):
        load_generator(path)
    assert not path.with_name("trace").exists()


@pytest.mark.parametrize("damage", (_DAMAGES | _NEW_DAMAGES).values(), ids=_DAMAGES | _NEW_DAMAGES)
def test_a_damaged_hostile_or_foreign_file_is_refused(saved, damage):
    """Whatever is wrong with it, the error is a CheckpointError that names the file, and no code in it is run."""
    _load_damaged(saved, damage)


@pytest.mark.parametrize("damage", (_DAMAGES | _OLD_DAMAGES).values(), ids=_DAMAGES | _OLD_DAMAGES)
def test_a_damaged_file_of_the_version_before_is_refused(old, damage):
    """The same is true of a ``.pt`` file."""
    _load_damaged(old, damage)


@pytest.mark.parametrize(
    ("kind", "save", "load"),
    [("generator", save_generator, load_generator), ("discriminator", save_discriminator, load_discriminator)],
)
def test_a_file_of_a_later_version_is_refused_by_its_kind(path, kind, save, load):
    """The error says what was to be read, which format this version reads, and which one the file has."""
    save(path, nn.Linear(1, 1))
    _metadata_change(ganlib="3")(path)
    with pytest.raises(CheckpointError, match=f"is not a {kind} of format 2, which this version .* its format is 3"):
        load(path, nn.Linear(1, 1))


def test_a_module_does_not_help_a_damaged_file(saved):
    """Also where a module is given, weights that were damaged are refused, and the module keeps its own."""
    module = load_generator(saved)
    before = copy.deepcopy(module.state_dict())
    _flip_weight(saved)
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        load_generator(saved, module)
    assert_same_state(before, module.state_dict())


def test_the_bomb_is_live(tmp_path):
    """The object of the tests above does leave its file where pickle is trusted."""
    torch.save(_Bomb(tmp_path / "trace"), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "trace").exists()


def test_what_torch_or_a_run_saved_is_named(tmp_path):
    """A state_dict and a checkpoint are called so, with how they are read; torch's advice is left out."""
    path, module = tmp_path / "x.pt", nn.Linear(2, 2)
    for saved, match in (
        (module.state_dict(), r"holds a state_dict, .*load_state_dict\(torch.load\(path\)\), then save"),
        ({"format": 5, "run": {}}, "holds a checkpoint of fit, .*training.Checkpoint.load"),
        ({"format": 5}, "its format is 5"),
        ({"a": 1}, "its format is None"),
        (module, r"more than tensors and plain values \(UnpicklingError: Weights only load failed\.\)$"),
    ):
        torch.save(saved, path)
        with pytest.raises(CheckpointError, match=match):
            load_generator(path, module)

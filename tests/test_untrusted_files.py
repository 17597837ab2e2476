"""Whatever a file holds, ganlib reads it or refuses it with an error of its own, and never runs code from it."""

import functools
import io
import json
import os
import pickle
import random
import time
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from ganlib import conditioning, data, models, stacks, training, viz
from ganlib._files import load_plain, save_plain
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError
from ganlib.models._format import checksum
from tests.training.players import MyTrainer, points

ROUNDS = 300
SECONDS = 20  # of the processor, for one reading; most take milliseconds


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


# Each reader makes a good file in a folder, and reads it.


def _make_checkpoint(folder):
    torch.manual_seed(0)
    callbacks = [training.CSVLogger(folder / "x.csv", every=5, mean=True), training.Checkpoint(folder)]
    training.fit(MyTrainer(), [points(4)], iterations=2, callbacks=callbacks)
    return folder / "checkpoints/00000002.pt"


def _make_best(folder):
    torch.manual_seed(0)
    checkpoint = training.Checkpoint(folder, monitor="total")
    training.fit(MyTrainer(), [points(4)], iterations=2, callbacks=[training.EarlyStopping("total", 5), checkpoint])
    (folder / "checkpoints/00000002.pt").unlink()
    return folder / "checkpoints/best.pt"


def _make_generator(folder):
    generator = models.mlp_gan((1, 4, 4), 3, (5,))[0]
    models.save_generator(folder / "generator.safetensors", generator, info={"classes": ["a"]})
    return folder / "generator.safetensors"


def _make_discriminator(folder):
    discriminator = models.mlp_gan((1, 4, 4), 3, (5,))[1]
    models.save_discriminator(folder / "discriminator.safetensors", discriminator, info={"classes": ["a"]})
    return folder / "discriminator.safetensors"


def _make_old_generator(folder):
    """The format of the version before, which a maker's name and arguments rebuild."""
    values = {
        "format": 1,
        "recipe": {"name": "mlp_gan", "arguments": {"image_shape": [1, 4, 4], "latent_dim": 3, "hidden": [5]}},
        "sample_range": [-1.0, 1.0],
        "weights": models.mlp_gan((1, 4, 4), 3, (5,))[0].state_dict(),
        "info": {"classes": ["a"]},
    }
    save_plain(folder / "generator.pt", values)
    return folder / "generator.pt"


def _make_grids(folder):
    for iteration in (1, 2, 3):
        Image.effect_noise((12, 9), 50).save(folder / f"{iteration:08d}.png")
    return folder / "00000002.png"


def _make_last_grid(folder):
    return _make_grids(folder).with_name("00000003.png")


def _make_table(folder):
    callbacks = [training.CSVLogger(folder / "metrics.csv", every=1)]
    training.fit(MyTrainer(), [points(4)], iterations=9, callbacks=callbacks)
    return folder / "metrics.csv"


def _make_images(folder):
    for name in ("1.png", "2.png"):
        path = folder / "class" / name
        path.parent.mkdir(exist_ok=True)
        Image.radial_gradient("L").resize((9, 9)).save(path)
    return path


def _read_newest(path):
    assert isinstance(training.Checkpoint(path.parent.parent).newest(), dict)


def _read_best(path):
    """As a run that goes on from it."""
    checkpoint = training.Checkpoint(path.parent.parent, monitor="total")
    assert isinstance(checkpoint.newest(), dict)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be used is put aside
        checkpoint.on_start(SimpleNamespace(iteration=2))
        checkpoint.close()


def _load(path):
    values = training.Checkpoint.load(path, MyTrainer(), [training.EarlyStopping("total", 5)])
    assert values["iteration"] >= 0
    assert all(type(value) is float for value in values["metrics"].values())


def _read_generator(path):
    generator = models.load_generator(path)
    assert isinstance(generator, nn.Module)
    assert not generator.training


def _read_discriminator(path):
    assert not models.load_discriminator(path).training


def _read_into_module(path, *, partial=False):
    """A module that is given gets all weights, or keeps its own."""
    module = models.mlp_gan((1, 4, 4), 3, (5,))[0]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what does not fit
            models.load_generator(path, module, partial=partial)
    except GanlibError:
        assert all(map(torch.equal, module.state_dict().values(), before.values()))
        raise


def _read_grids(path):
    gif = viz.TrainingGif(path.with_name("x.gif"), path.parent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gif.on_end(SimpleNamespace(iteration=3))
    assert all(".png is left out of the GIF" in str(warning.message) for warning in caught)
    with Image.open(gif.path) as image:
        assert image.n_frames >= 1


def _read_table(path):
    training.CSVLogger(path, every=1).on_start(SimpleNamespace(iteration=9, progress=1.0))
    assert path.read_bytes()[-2:] in (b"\r\n", b"")


def _read_images(path):
    assert len(data.ImageFolder(path.parent.parent, 8)) == 2


READERS = {
    "Checkpoint.newest": (_make_checkpoint, _read_newest),
    "Checkpoint.newest, best.pt": (_make_best, _read_best),
    "Checkpoint.load": (_make_best, _load),
    "load_generator": (_make_generator, _read_generator),
    "load_generator, format 1": (_make_old_generator, _read_generator),
    "load_generator, a module": (_make_generator, _read_into_module),
    "load_generator, a part": (_make_generator, functools.partial(_read_into_module, partial=True)),
    "load_generator, format 1, a module": (_make_old_generator, _read_into_module),
    "load_discriminator": (_make_discriminator, _read_discriminator),
    "TrainingGif": (_make_grids, _read_grids),
    "TrainingGif, the last": (_make_last_grid, _read_grids),
    "CSVLogger": (_make_table, _read_table),
    "ImageFolder": (_make_images, _read_images),
}
ARCHIVES = [
    *("Checkpoint.newest", "Checkpoint.newest, best.pt", "Checkpoint.load"),
    *("load_generator, format 1", "load_generator, format 1, a module"),
]


@pytest.fixture
def subject(request, tmp_path):
    """A function that puts other bytes into the good file of a reader, reads it, and says whether it was refused."""
    make, read = READERS[request.param]
    path = make(tmp_path)
    good = path.read_bytes()

    def refused(content):
        path.write_bytes(content)
        start = time.process_time()
        try:
            read(path)
        except GanlibError as error:
            message = str(error)
        else:
            message = ""
        assert time.process_time() - start < SECONDS
        assert not (tmp_path / "exploded").exists()
        assert not message or path.name in message
        return bool(message)

    refused.good, refused.bomb, refused.path = good, Bomb(tmp_path / "exploded"), path
    assert not refused(good)
    return refused


def _mutated(content, numbers):
    """Some bytes flipped, cut out, put in, repeated or moved."""
    content = bytearray(content)
    for _ in range(numbers.choice([1, 1, 2, 5, 20])):
        at, length = numbers.randrange(len(content) + 1), numbers.choice([1, 1, 2, 4, 8, 64])
        kind = numbers.randrange(6)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << numbers.randrange(8)
        elif kind == 1:
            content[at : at + length] = numbers.randbytes(length)
        elif kind == 2:
            del content[at : at + length]
        elif kind == 3:
            content[at:at] = numbers.choice([numbers.randbytes(length), b"\0" * length, b"\xff" * length])
        elif kind == 4:
            other = numbers.randrange(len(content) + 1)
            content[at:at] = content[other : other + length]
        elif kind == 5 and numbers.random() < 0.1:
            del content[at:]
        content = content or bytearray(b"\0")
    return bytes(content)


def _rezipped(content, change):
    """The archive with its members changed, and right checksums; ``change(name, content)``."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w") as out:
        for info in archive.infolist():
            changed = change(info.filename, archive.read(info))
            if changed is not None:
                out.writestr(info.filename, changed)
    return target.getvalue()


def _put(word, new, name, content):
    return new if name.endswith(word) else content


@pytest.mark.parametrize("subject", READERS, indirect=True)
def test_bytes_that_are_changed(subject):
    """Bytes that are flipped, cut, put in or moved anywhere in a file."""
    numbers = random.Random(0)
    for _ in range(ROUNDS):
        subject(_mutated(subject.good, numbers))


ODD = [
    *(None, True, -1, 0, 10**12, 2**70, float("nan"), "", "x" * 1000, b"x", [], {}, (), set(), [[[[]]]], {"a": 1}),
    *(torch.zeros(()), torch.zeros(2, 2), torch.zeros(1).expand(10**12), torch.float32, torch.Size([1])),
    *(OrderedDict(a=1), nn.Parameter(torch.ones(1)), functools.reduce(lambda inner, _: [inner], range(60), 0)),
]


def _positions(value, position=()):
    """The positions of a nested value, outermost first."""
    yield position
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, member in members:
        yield from _positions(member, (*position, key))


def _replaced(value, position, new):
    """The value with something else at a position, or, where ``new`` is a function, what it makes of what is there."""
    if not position:
        return new(value) if callable(new) and not isinstance(new, type) else new
    members = dict(value) if isinstance(value, dict) else list(value)
    members[position[0]] = _replaced(members[position[0]], position[1:], new)
    return tuple(members) if isinstance(value, tuple) else members


def _saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _some_positions(value, most=25):
    positions = list(_positions(value))
    return positions if len(positions) <= most else random.Random(2).sample(positions, most)


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_values_of_another_type(subject):
    """Something of another type, size or sign in place of any value of a well-formed file."""
    values = load_plain(subject.path)
    for position in _some_positions(values):
        for odd in ODD:
            subject(_saved(_replaced(values, position, odd)))


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_code_is_never_run(subject):
    """A pickle that would make a folder, in place of any value, or as a key, is refused."""
    values = load_plain(subject.path)
    for position in _some_positions(values):
        for hostile in (subject.bomb, {subject.bomb: 1}, [subject.bomb], nn.Linear, pickle.Pickler):
            assert subject(_saved(_replaced(values, position, hostile)))


@pytest.mark.parametrize("subject", READERS, indirect=True)
def test_plain_pickles_run_no_code(subject):
    """A pickle in place of the file, or of an archive's pickle, runs nothing."""
    for protocol in range(6):
        pickled = pickle.dumps(subject.bomb, protocol)
        subject(pickled)
        if subject.path.suffix == ".pt":
            assert subject(_rezipped(subject.good, functools.partial(_put, ".pkl", pickled)))


def test_the_bomb_is_live(tmp_path):
    """The object of the tests above does make its folder where pickle is trusted."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


# A safetensors file: 8 bytes with the length of the header, the header in JSON, the weights. Values are JSON in its
# metadata.


def _rewritten(path, weights=None, **texts):
    """A generator's file with other texts in its metadata, or other weights, and a checksum that is right."""
    weights = load_file(path) if weights is None else weights
    with safe_open(path, "pt") as file:
        metadata = file.metadata() | texts
    return save(weights, metadata | {"checksum": str(checksum(metadata, weights))})


def _with_header(content, change):
    """A safetensors file with another header; ``change(header)`` is a dict or bytes."""
    length = int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8 : 8 + length]))
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


NAMES = ["recipe", "info", "sample_range", "shared", "ganlib", "checksum", "kind"]
ODD_JSON = [
    *(None, True, False, -1, 0, 0.5, 10**12, 2**70, float("nan"), float("inf"), "", "x" * 1000, "\ud800", [], {}),
    *([[[[]]]], {"a": 1}, [1, -1], [True, False], functools.reduce(lambda inner, _: [inner], range(60), 0)),
]
NOT_JSON = [
    "",
    "{",
    "nil",
    "'a'",
    "1e",
    "\x00",
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 5000,
    "{" + "[]" * 9,
    "\ufeff1",
]


@pytest.fixture
def generator(tmp_path):
    """A function that puts bytes into a generator's file, and returns the generator, or None where it was refused."""
    path = _make_generator(tmp_path)

    def read(content):
        path.write_bytes(content)
        start = time.process_time()
        loaded, message = None, ""
        try:
            loaded = models.load_generator(path)
        except GanlibError as error:
            message = f"{type(error).__name__}: {error}"
        assert loaded is not None or "generator.safetensors" in message
        assert loaded is not None or "CheckpointError" in message or "holds weights only" in message
        assert time.process_time() - start < SECONDS
        return loaded

    read.path, read.good = path, path.read_bytes()
    return read


def test_a_flipped_bit_is_refused_or_changes_nothing(generator):
    """Wherever a single bit of a generator's file is flipped, what can be read is what was written."""
    good = models.load_generator(generator.path)
    numbers = random.Random(3)
    refused = 0
    for position in range(len(generator.good)):
        content = bytearray(generator.good)
        content[position] ^= 1 << numbers.randrange(8)
        loaded = generator(content)
        refused += loaded is None
        if loaded is not None:
            assert (loaded.info, loaded.sample_range) == (good.info, good.sample_range), position
            assert repr(loaded) == repr(good), position
            assert all(map(torch.equal, loaded.state_dict().values(), good.state_dict().values())), position
    assert refused > 0.95 * len(generator.good)


def test_json_of_another_type(generator):
    """Something of another type, size or sign in place of any value of the metadata, with a checksum that is right."""
    with safe_open(generator.path, "pt") as file:
        metadata = file.metadata()
    for name in NAMES[:4]:
        value = json.loads(metadata[name])
        for position in _some_positions(value):
            for odd in ODD_JSON:
                text = json.dumps(_replaced(value, position, odd))
                generator.path.write_bytes(generator.good)
                generator(_rewritten(generator.path, **{name: text}))


def test_metadata_that_is_not_json(generator):
    """A text that is not JSON, or that no parser can hold, is refused in place of any value."""
    for name in NAMES:
        for text in NOT_JSON:
            generator.path.write_bytes(generator.good)
            changed = _rewritten(generator.path, **{name: text})
            if name == "checksum":
                changed = _with_header(
                    changed,
                    lambda header, text=text: header | {"__metadata__": header["__metadata__"] | {"checksum": text}},
                )
            assert generator(changed) is None, (name, text[:9])


def test_metadata_that_is_missing(generator):
    """Without one of its values a file is refused, but for its kind, and without any of them it holds weights only."""
    for name in NAMES:

        def drop(header, name=name):
            texts = {key: text for key, text in header["__metadata__"].items() if key != name}
            return header | {"__metadata__": texts}

        assert (generator(_with_header(generator.good, drop)) is None) == (name != "kind")
    bare = _with_header(generator.good, lambda header: header | {"__metadata__": {"format": "pt"}})
    assert generator(bare) is None
    assert models.load_generator(generator.path, models.mlp_gan((1, 4, 4), 3, (5,))[0]).info == {}


def _tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def _one(**values):
    return lambda header: {"__metadata__": header["__metadata__"], "x": _tensor(**values)}


HEADERS = {
    "no JSON": lambda header: b"{" * 100,
    "empty": lambda header: b"",
    "a list": lambda header: [header],
    "deep": lambda header: b'{"a":' * 100_000,
    "no UTF-8": lambda header: b"\xff" * 64,
    "metadata a list": lambda header: header | {"__metadata__": []},
    "metadata of numbers": lambda header: header | {"__metadata__": {"ganlib": 2}},
    "no tensors": lambda header: {"__metadata__": header["__metadata__"]},
    "10 ** 12 numbers": _one(shape=(10**12,)),
    "10 ** 12 numbers and their offsets": _one(shape=(10**12,), offsets=(0, 4 * 10**12)),
    "2 ** 64 numbers": _one(shape=(2**32, 2**32)),
    "2 ** 65 numbers": _one(shape=(2**33, 2**32), offsets=(0, 0)),
    "a negative size": _one(shape=(-1,)),
    "half a size": _one(shape=(0.5,)),
    "a huge size": _one(shape=(2**200,)),
    "many sizes": _one(shape=(1,) * 10_000),
    "no numbers, of a huge shape": _one(shape=(0, 2**62, 2**62), offsets=(0, 0)),
    "another type": _one(dtype="F1"),
    "a type of half a byte": _one(dtype="F4", shape=(8,)),
    "a reversed offset": _one(offsets=(4, 0)),
    "an offset beyond the file": _one(offsets=(10**9, 10**9 + 4)),
    "the same bytes for all": lambda header: {
        name: value if name == "__metadata__" else _tensor() for name, value in header.items()
    },
    "100,000 empty tensors": lambda header: (
        {"__metadata__": header["__metadata__"]} | {str(i): _tensor(shape=(0,), offsets=(0, 0)) for i in range(100_000)}
    ),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_changed(generator, change):
    """A header that claims something else than what is there is refused."""
    assert generator(_with_header(generator.good, change)) is None


@pytest.mark.parametrize("length", [0, 1, 7, 8, 10**8, 10**8 + 1, 2**31, 2**32 + 300, 2**63 - 1, 2**63, 2**64 - 8])
def test_a_header_that_claims_a_huge_size(generator, length):
    """The length of the header is compared with that of the file before memory is taken for it."""
    assert generator(length.to_bytes(8, "little") + generator.good[8:]) is None


def test_no_pickle_in_a_generator_is_run(generator, tmp_path):
    """Under its suffix, around it, or in its metadata: a pickle is not run."""
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"), 0)
    for content in (bomb, generator.good + bomb, bomb + generator.good, _saved(Bomb(tmp_path / "exploded"))):
        assert generator(content) is None
    for name in NAMES[:4]:
        generator.path.write_bytes(generator.good)
        assert generator(_rewritten(generator.path, **{name: bomb.decode("latin-1")})) is None
    assert not (tmp_path / "exploded").exists()


def _old_values(folder, arguments, name="mlp_gan", make=models.mlp_gan):
    path = _make_old_generator(folder)
    weights = make(**arguments)[0].state_dict()
    arguments = {key: _plain(value) for key, value in arguments.items()}
    return path, load_plain(path) | {"recipe": {"name": name, "arguments": arguments}, "weights": weights}


def _plain(value):
    """A value as the version before wrote it."""
    if isinstance(value, stacks.StackPlan):
        arguments = {"image_shape": list(value.image_shape), "stages": [_plain(stage) for stage in value.stages]}
        return {"name": "StackPlan", "arguments": arguments}
    if isinstance(value, stacks.Stage):
        return {"name": "Stage", "arguments": dict(vars(value))}
    return list(value) if isinstance(value, tuple) else value


PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])
OLD = {
    "mlp": {"arguments": {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden": (5,)}},
    "dcgan": {
        "arguments": {"plan": PLAN, "latent_dim": 6, "num_classes": 5},
        "name": "conditional_dcgan",
        "make": models.conditional_dcgan,
    },
}


def _drop(there):
    if isinstance(there, dict):
        return {key: there[key] for key in list(there)[1:]}
    return there[1:] if isinstance(there, list | str) else None


def _more(there):
    return {**there, "colour": 1} if isinstance(there, dict) else there


def _large(there):
    return [10**12] * len(there) if isinstance(there, list) else 10**12


def _many(there):
    return [there] * 11_000


KNOWN = [
    *("mlp_gan", "dcgan", "conditional_dcgan", "OneHot", "StackPlan", "Stage", "Maps", "arguments", "name"),
    *("nn.Linear", "nn.Sequential", "ConcatLatent", "same_as", "makes", "id"),
]
CHANGES = [*KNOWN, -(10**12), 1, 2, 3, 10**6, [10**12] * 3, {"same_as": 0}, {"makes": []}, _drop, _more, _large, _many]


def _assert_refused_or_small(path, content, what):
    """A file with another recipe is refused, by an error that names it, or gives a generator of its weights."""
    path.write_bytes(content)
    start = time.process_time()
    try:
        generator = models.load_generator(path)
    except GanlibError as error:
        named = path.name in str(error)
        right = isinstance(error, CheckpointError) or (what[0] == () and isinstance(error, ArgumentValueError))
    else:
        named = right = sum(weight.nbytes for weight in generator.state_dict().values()) <= 2 * len(content)
    assert (named, right) == (True, True), what
    assert time.process_time() - start < SECONDS, what


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_old_recipes_that_are_changed(tmp_path, old):
    """Another type, size, sign, name or key anywhere in a recipe is refused, or gives a generator of the weights."""
    path, values = _old_values(tmp_path, **old)
    path.write_bytes(_saved(values))
    _read_generator(path)
    for position in _positions(values["recipe"]):
        for odd in (*ODD, *CHANGES):
            content = _saved(values | {"recipe": _replaced(values["recipe"], position, odd)})
            _assert_refused_or_small(path, content, (position, odd))


def _by_hand():
    encoder = conditioning.TagEmbedding(4, 3)
    blocks = stacks.ConditionalSequential(
        nn.Linear(6 + 3, 4),
        stacks.LinearStack([4, 5, 4], norm=lambda channels: conditioning.FiLM(channels, encoder), activation=nn.PReLU),
        nn.Unflatten(1, (1, 4)),
    )
    return conditioning.ConcatLatent(blocks, encoder)


@pytest.mark.parametrize(
    "make",
    [lambda: models.mlp_gan((1, 4, 4), 3, (5,))[0], lambda: models.conditional_dcgan(PLAN, 6, 5)[0], _by_hand],
    ids=["mlp", "dcgan", "by hand"],
)
def test_recipes_that_are_changed(tmp_path, make):
    """The same is true of the recipe in a safetensors file."""
    path = tmp_path / "generator.safetensors"
    models.save_generator(path, make())
    good = path.read_bytes()
    with safe_open(path, "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    for position in _some_positions(recipe):
        for odd in (*ODD_JSON, *CHANGES):
            path.write_bytes(good)
            content = _rewritten(path, recipe=json.dumps(_replaced(recipe, position, odd)))
            _assert_refused_or_small(path, content, (position, odd))


def test_weights_that_only_seem_to_be_there(tmp_path):
    """A recipe of 10 ** 12 channels is refused, also where weights of that shape repeat one number."""
    path, values = _old_values(tmp_path, **OLD["mlp"])
    values["recipe"]["arguments"]["latent_dim"] = 10**12
    (name,) = (name for name, weight in values["weights"].items() if weight.shape == (5, 3))
    values["weights"][name] = torch.zeros(1).expand(5, 10**12)
    path.write_bytes(_saved(values))
    with pytest.raises(CheckpointError, match=r"generator\.pt holds a recipe of 20,\d+,.* bytes of weights"):
        models.load_generator(path)


def test_shared_weights_that_only_seem_to_be_there(generator):
    """Names that share a tensor take no memory, and cannot stand for a tensor of another shape."""
    recipe = {"name": "nn.Sequential", "arguments": {}}
    linear = {"name": "nn.Linear", "arguments": {"in_features": 100, "out_features": 100, "bias": False}}
    recipe["arguments"] = {str(i): linear for i in range(100)}
    weights = {"0.weight": torch.zeros(100, 100)}
    shared = {f"{i}.weight": "0.weight" for i in range(1, 100)}
    texts = {"recipe": json.dumps(recipe), "shared": json.dumps(shared)}
    loaded = generator(_rewritten(generator.path, weights, **texts))
    assert len({weight.data_ptr() for weight in loaded.parameters()}) == 1
    large = {"name": "nn.Linear", "arguments": {"in_features": 10**9, "out_features": 10**9, "bias": False}}
    for changed in ({"1": large}, {"0": large}):
        generator.path.write_bytes(generator.good)
        text = json.dumps(recipe | {"arguments": recipe["arguments"] | changed})
        assert generator(_rewritten(generator.path, weights, **texts | {"recipe": text})) is None
    generator.path.write_bytes(generator.good)
    many = json.dumps({str(i): "0.weight" for i in range(100_000)})
    assert generator(_rewritten(generator.path, weights, **texts | {"shared": many})) is None


def test_an_old_recipe_that_names_its_parts_over_and_over(tmp_path):
    """A few bytes that would unfold to 2 ** 40 values are refused at once."""
    path, values = _old_values(tmp_path, **OLD["mlp"])
    for depth in (13, 40):
        parts = functools.reduce(lambda inner, _: [inner, inner], range(depth), 4)
        for recipe in (parts, {"name": "nn.Sequential", "arguments": {"a": parts}}):
            _assert_refused_or_small(path, _saved(values | {"recipe": recipe}), (depth, recipe))


def _doubled(inner, level):
    arguments = {"a": inner, "b": {"same_as": level}}
    return {"name": "nn.Sequential", "arguments": arguments, "id": level + 1}


def _makes(inner, _):
    norm = {"makes": [inner, inner]}
    return {"name": "LinearStack", "arguments": {"features": [1, 1, 1], "norm": norm}}


@pytest.mark.parametrize("wrap", [_doubled, _makes, lambda inner, _: [inner, inner]], ids=["same_as", "makes", "lists"])
def test_a_recipe_that_names_its_parts_over_and_over(generator, wrap):
    """A module that is in a sequence twice, 40 times over, has a state of 2 ** 40 names, and is refused at once."""
    for depth in (13, 40) if wrap is _doubled else (13,):
        inner = {"name": "nn.PReLU", "arguments": {}, "id": 0}
        recipe = functools.reduce(wrap, range(depth), inner)
        generator.path.write_bytes(generator.good)
        assert generator(_rewritten(generator.path, recipe=json.dumps(recipe))) is None


@pytest.mark.parametrize("depth", [100, 300, 450, *range(470, 500, 3), 900, *range(950, 1010, 6), 5000])
def test_deep_recipes(generator, depth):
    """Sequences inside each other are read as deep as Python can go, and refused where they are deeper."""
    start, end = '{"name": "nn.Sequential", "arguments": {"a": ', "}}"
    recipe = start * depth + '{"name": "nn.PReLU", "arguments": {}}' + end * depth
    weights = {"a." * depth + "weight": torch.ones(1)}
    loaded = generator(_rewritten(generator.path, weights, recipe=recipe))
    assert (loaded is None) == (depth > 450) or 450 < depth < 1000


def test_no_device_in_a_recipe_takes_memory(generator):
    """A recipe that says where a layer is to be made is refused before it is made."""
    arguments = {"in_features": 10**5, "out_features": 10**5}
    for device in ("cpu", "cuda", "meta"):
        recipe = json.dumps({"name": "nn.Linear", "arguments": arguments | {"device": device}})
        generator.path.write_bytes(generator.good)
        changed = _rewritten(generator.path, recipe=recipe)
        assert generator(changed) is None
        with pytest.raises(CheckpointError, match="device"):
            models.load_generator(generator.path)


def test_an_image_of_a_billion_pixels_is_not_unpacked(tmp_path):
    """The size that a PNG says it has is checked before its pixels are read, also for the last image."""
    _make_grids(tmp_path)
    head = bytearray((tmp_path / "00000003.png").read_bytes())
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    for name in ("00000002.png", "00000003.png"):
        (tmp_path / name).write_bytes(head)
    _read_grids(tmp_path / "00000003.png")


def test_an_image_that_is_a_program_is_not_run(tmp_path):
    """PostScript under the name of an image, for which Pillow would call Ghostscript, is left out."""
    _make_grids(tmp_path)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 9\n%%EndComments\n(exploded) (w) file\n"
    (tmp_path / "00000003.png").write_bytes(eps)
    _read_grids(tmp_path / "00000003.png")
    assert not Path("exploded").exists()

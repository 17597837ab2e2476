"""Whatever a file holds, ganlib reads it or refuses it with an error of its own, and never runs code from it."""

import functools
import io
import os
import pickle
import random
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from ganlib import data, models, stacks, training, viz
from ganlib._files import load_plain
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError
from tests.training.players import MyTrainer, points

ROUNDS = 300


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


def _make_generator(folder):
    models.save_generator(folder / "generator.pt", models.mlp_gan((1, 4, 4), 3, (5,))[0], info={"classes": ["a"]})
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


def _read_generator(path):
    generator = models.load_generator(path)
    assert isinstance(generator, nn.Module)
    assert not generator.training


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
    "load_generator": (_make_generator, _read_generator),
    "TrainingGif": (_make_grids, _read_grids),
    "TrainingGif, the last": (_make_last_grid, _read_grids),
    "CSVLogger": (_make_table, _read_table),
    "ImageFolder": (_make_images, _read_images),
}
ARCHIVES = ["Checkpoint.newest", "load_generator"]


@pytest.fixture
def subject(request, tmp_path):
    """A function that puts other bytes into the good file of a reader, reads it, and says whether it was refused."""
    make, read = READERS[request.param]
    path = make(tmp_path)
    good = path.read_bytes()

    def refused(content):
        path.write_bytes(content)
        try:
            read(path)
        except GanlibError as error:
            message = str(error)
        else:
            message = ""
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


def _recipe_values(folder, make):
    models.save_generator(folder / "generator.pt", make())
    return load_plain(folder / "generator.pt")


def _conditional():
    plan = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])
    return models.conditional_dcgan(plan, 6, 5)[0]


@pytest.mark.parametrize("make", [lambda: models.mlp_gan((1, 4, 4), 3, (5,))[0], _conditional], ids=["mlp", "dcgan"])
def test_recipes_that_are_changed(tmp_path, make):
    """Another type, size, sign, name or key anywhere in a recipe is refused, or gives a generator of the weights."""
    values, path = _recipe_values(tmp_path, make), tmp_path / "generator.pt"
    known = ["mlp_gan", "dcgan", "conditional_dcgan", "OneHot", "StackPlan", "Stage", "Maps", "arguments", "name"]

    def drop(there):
        if isinstance(there, dict):
            return {key: there[key] for key in list(there)[1:]}
        return there[1:] if isinstance(there, list | str) else None

    def more(there):
        return {**there, "colour": 1} if isinstance(there, dict) else there

    def large(there):
        return [10**12] * len(there) if isinstance(there, list) else 10**12

    def many(there):
        return [there] * 20_000

    for position in _positions(values["recipe"]):
        for odd in (*ODD, *known, -(10**12), 1, 2, 3, 10**6, [10**12] * 3, drop, more, large, many):
            content = _saved(values | {"recipe": _replaced(values["recipe"], position, odd)})
            path.write_bytes(content)
            try:
                generator = models.load_generator(path)
            except GanlibError as error:
                named = "generator.pt" in str(error)
                right = isinstance(error, CheckpointError) or (position == () and isinstance(error, ArgumentValueError))
            else:
                named = right = sum(weight.nbytes for weight in generator.state_dict().values()) <= len(content)
            assert (named, right) == (True, True), (position, odd)


def test_weights_that_only_seem_to_be_there(tmp_path):
    """A recipe of 10 ** 12 channels is refused, also where weights of that shape repeat one number."""
    values = _recipe_values(tmp_path, lambda: models.mlp_gan((1, 4, 4), 3, (5,))[0])
    values["recipe"]["arguments"]["latent_dim"] = 10**12
    (name,) = (name for name, weight in values["weights"].items() if weight.shape == (5, 3))
    values["weights"][name] = torch.zeros(1).expand(5, 10**12)
    (tmp_path / "generator.pt").write_bytes(_saved(values))
    with pytest.raises(CheckpointError, match=r"generator\.pt holds a recipe of 20,\d+,.* bytes of weights"):
        models.load_generator(tmp_path / "generator.pt")


def test_a_recipe_that_names_its_parts_over_and_over(tmp_path):
    """A few bytes that would unfold to 2 ** 40 values are refused at once."""
    values = _recipe_values(tmp_path, lambda: models.mlp_gan((1, 4, 4), 3, (5,))[0])
    for depth in (13, 40):
        parts = functools.reduce(lambda inner, _: [inner, inner], range(depth), 4)
        (tmp_path / "generator.pt").write_bytes(_saved(values | {"recipe": parts}))
        with pytest.raises(CheckpointError, match="generator.pt"):
            models.load_generator(tmp_path / "generator.pt")


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

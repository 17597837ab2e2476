"""Whatever a file holds, ganlib reads it rightly or refuses it with an error of its own, and runs no code in it."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from ganlib import data, models, stacks, training, viz
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError
from tests.training.players import MyTrainer, points

ROUNDS = 300


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


# Each reader takes a folder with one good file and reads it, and says which file that is.


def _make_checkpoint(folder):
    torch.manual_seed(0)
    callbacks = [viz.LossCurves(folder / "x.png", every=1), training.Checkpoint(folder)]
    training.fit(MyTrainer(), [points(4)], iterations=2, callbacks=callbacks)
    return folder / "checkpoints/00000002.pt"


def _make_generator(folder):
    models.save_generator(folder / "generator.pt", models.mlp_gan((1, 4, 4), 3, (5,))[0], info={"classes": ["a"]})
    return folder / "generator.pt"


def _make_pictures(folder):
    for iteration in (1, 2, 3):
        Image.effect_noise((12, 9), 50).save(folder / f"{iteration:08d}.png")
    return folder / "00000002.png"


def _make_last_picture(folder):
    return _make_pictures(folder).with_name("00000003.png")


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


def _read_plain(path):
    assert type(training.load_plain(path)) is dict


def _read_newest(path):
    assert isinstance(training.Checkpoint(path.parent.parent).newest(), dict)


def _read_generator(path):
    generator = models.load_generator(path)
    assert isinstance(generator, nn.Module)
    assert not generator.training


def _read_pictures(path):
    film = viz.TrainingGif(path.with_name("x.gif"), path.parent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        film.on_end(SimpleNamespace(iteration=3))
    assert all(".png is left out of the film" in str(warning.message) for warning in caught)
    with Image.open(film.path) as image:
        assert image.n_frames >= 1


def _read_table(path):
    training.CSVLogger(path, every=1).on_start(SimpleNamespace(iteration=9))
    assert path.read_bytes()[-2:] in (b"\r\n", b"")


def _read_images(path):
    assert len(data.ImageFolder(path.parent.parent, 8)) == 2


READERS = {
    "load_plain": (_make_checkpoint, _read_plain),
    "Checkpoint.newest": (_make_checkpoint, _read_newest),
    "load_generator": (_make_generator, _read_generator),
    "TrainingGif": (_make_pictures, _read_pictures),
    "TrainingGif, the last": (_make_last_picture, _read_pictures),
    "CSVLogger": (_make_table, _read_table),
    "ImageFolder": (_make_images, _read_images),
}
ARCHIVES = ["load_plain", "Checkpoint.newest", "load_generator"]


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


def _mutate_one(word, numbers, name, content):
    return _mutated(content, numbers) if name.endswith(word) and content else content


def _put(word, new, name, content):
    return new if name.endswith(word) else content


@pytest.mark.parametrize("subject", READERS, indirect=True)
def test_bytes_that_are_changed(subject):
    """Bytes that are flipped, cut, put in or moved anywhere in a file."""
    numbers = random.Random(0)
    for _ in range(ROUNDS):
        subject(_mutated(subject.good, numbers))


@pytest.mark.parametrize("subject", READERS, indirect=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes(subject, data):
    """Whatever Hypothesis puts into the place of any stretch of a file."""
    start = data.draw(st.integers(0, len(subject.good)))
    end = data.draw(st.integers(start, len(subject.good)))
    subject(subject.good[:start] + data.draw(st.binary(max_size=40)) + subject.good[end:])


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_pickles_that_are_changed(subject):
    """A changed pickle, or storage, under a right checksum, so that the reader of pickles is what meets it."""
    numbers = random.Random(1)
    for _ in range(ROUNDS):
        word = numbers.choice(["data.pkl", "data.pkl", "data.pkl", "data/0", "byteorder", "version", ".format_version"])
        subject(_rezipped(subject.good, functools.partial(_mutate_one, word, numbers)))


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_members_that_are_changed(subject):
    """Members that are left out, empty, or have the content of another."""
    with zipfile.ZipFile(io.BytesIO(subject.good)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for word in members:
        for content in (None, b"", *members.values()):
            subject(_rezipped(subject.good, functools.partial(_put, word, content)))


ODD = [
    *(None, True, -1, 0, 10**12, 2**70, float("nan"), "", "x" * 1000, b"x", [], {}, (), set(), [[[[]]]], {"a": 1}),
    *(torch.zeros(()), torch.zeros(2, 2), torch.zeros(1).expand(10**12), torch.float32, torch.Size([1])),
    *(OrderedDict(a=1), nn.Parameter(torch.ones(1)), functools.reduce(lambda inner, _: [inner], range(60), 0)),
]


def _places(value, place=()):
    """The places of a nested value, outermost first."""
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, member in members:
        yield from _places(member, (*place, key))


def _replaced(value, place, new):
    """The value with something else at a place, or, where ``new`` is a function, what it makes of what is there."""
    if not place:
        return new(value) if callable(new) and not isinstance(new, type) else new
    members = dict(value) if isinstance(value, dict) else list(value)
    members[place[0]] = _replaced(members[place[0]], place[1:], new)
    return tuple(members) if isinstance(value, tuple) else members


def _saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _some_places(value, most=25):
    places = list(_places(value))
    return places if len(places) <= most else random.Random(2).sample(places, most)


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_values_of_another_type(subject):
    """Something of another type, size or sign in the place of any value of a well-formed file."""
    values = training.load_plain(subject.path)
    for place in _some_places(values):
        for odd in ODD:
            subject(_saved(_replaced(values, place, odd)))


@pytest.mark.parametrize("subject", ARCHIVES, indirect=True)
def test_code_is_never_run(subject):
    """A pickle that would make a folder, in the place of any value, or as a key, is refused."""
    values = training.load_plain(subject.path)
    for place in _some_places(values):
        for hostile in (subject.bomb, {subject.bomb: 1}, [subject.bomb], nn.Linear, pickle.Pickler):
            assert subject(_saved(_replaced(values, place, hostile)))


@pytest.mark.parametrize("subject", READERS, indirect=True)
def test_plain_pickles_run_no_code(subject):
    """A pickle in the place of the file, or of an archive's pickle, runs nothing."""
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
    return training.load_plain(folder / "generator.pt")


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

    for place in _places(values["recipe"]):
        for odd in (*ODD, *known, -(10**12), 1, 2, 3, 10**6, [10**12] * 3, drop, more, large, many):
            content = _saved(values | {"recipe": _replaced(values["recipe"], place, odd)})
            path.write_bytes(content)
            try:
                generator = models.load_generator(path)
            except GanlibError as error:
                named = "generator.pt" in str(error)
                right = isinstance(error, CheckpointError) or (place == () and isinstance(error, ArgumentValueError))
            else:
                named = right = sum(weight.nbytes for weight in generator.state_dict().values()) <= len(content)
            assert (named, right) == (True, True), (place, odd)


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


def test_a_picture_of_a_billion_pixels_is_not_unpacked(tmp_path):
    """What a PNG says of its size is looked at before its pixels are made, in the last picture too."""
    _make_pictures(tmp_path)
    head = bytearray((tmp_path / "00000003.png").read_bytes())
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    for name in ("00000002.png", "00000003.png"):
        (tmp_path / name).write_bytes(head)
    _read_pictures(tmp_path / "00000003.png")


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    """PostScript under a picture's name, for which Pillow would call Ghostscript, is left out."""
    _make_pictures(tmp_path)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 9\n%%EndComments\n(exploded) (w) file\n"
    (tmp_path / "00000003.png").write_bytes(eps)
    _read_pictures(tmp_path / "00000003.png")
    assert not Path("exploded").exists()

"""Tests of what a folder of images refuses, and of what it leaves out."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.data import ImageFolder
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError, GanlibError
from tests.data.pictures import noise, put


def _cut(path):
    """A JPEG without its second half."""
    noise(64, 64).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _bomb(path):
    """A PNG that says it has 100,000 x 100,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))


DAMAGES = {
    "cut": _cut,
    "bomb": _bomb,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image"),
    "of another format": lambda path: Image.new("L", (8, 8)).save(path, format="GIF"),
    "PostScript": lambda path: Image.new("L", (8, 8)).save(path, format="EPS"),
    "of floats": lambda path: Image.new("F", (8, 8)).save(path, format="TIFF"),
    "of 32 bits": lambda path: Image.new("I", (8, 8), 70_000).save(path, format="TIFF"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_is_left_out(root, damage):
    """A damaged or hostile file is named in a warning at the caller's line, with the reason; the others are there."""
    whole = ImageFolder(root, 8)
    DAMAGES[damage](root / "cat" / "1b.jpg")
    with pytest.warns(UserWarning, match=r"1 of the 7 images in root \(=.*cat/1b.jpg \(\w+: ") as warned:
        dataset = ImageFolder(root, 8)
    assert [warning.filename for warning in warned] == [__file__]
    assert torch.equal(dataset.data, whole.data)
    assert dataset.targets == whole.targets


def test_one_warning_names_three(root):
    """Of five files that cannot be read one warning has the number and the first three names."""
    for name in ("cat/4.png", "cat/5.png", "dog/0.png", "dog/4.png", "dog/5.png"):
        (root / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="5 of the 11 images") as warned:
        assert len(ImageFolder(root, 8)) == 6
    (text,) = [str(warning.message) for warning in warned]
    assert [name in text for name in ("cat/4", "cat/5", "dog/0", "dog/4", "dog/5")] == [True] * 3 + [False] * 2
    assert text.endswith("and 2 more")


def test_a_large_photograph_is_no_bomb(root, monkeypatch):
    """What Pillow only warns of, up to twice its limit, is read, and without a word."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ImageFolder(root, 8)) == 6


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"has no subfolder; it must have a subfolder for each class.* such as cat/1.jpg"),
        (["1.png", "2.png"], r"has no subfolder; images that lie directly in it \(1.png, 2.png\) have no class"),
        (["a/notes.txt", "b/notes.txt"], r"has no image in its subfolders \(a, b\); it must have"),
        (["a/notes.txt", "1.png"], r"has no image in its subfolders \(a\); images that lie directly in it \(1.png\)"),
        (["a/1.png", "a/2.png", "b/notes.txt"], r"the subfolder 'b' has no image \(of .bmp .*\); a class needs two"),
        (["a/1.png", "a/2.png", "b/1.png"], r"the subfolder 'b' has a single image \(1.png\); a class needs two"),
    ],
)
def test_another_layout_is_answered(tmp_path, names, message):
    """What is missing is said, with the folder's name and what it must hold."""
    for name in names:
        put(tmp_path, name, format="PNG")
    with pytest.raises(DataError, match=message) as caught:
        ImageFolder(tmp_path, 8)
    assert f"root (={tmp_path})" in str(caught.value)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("name", ["nowhere", "file.png"])
def test_what_is_no_folder_is_answered(tmp_path, name):
    """A missing folder and a file are DataErrors that name them and the layout."""
    put(tmp_path, "file.png")
    with pytest.raises(DataError, match=rf"{name}\) is not a folder; it must have a subfolder for each class"):
        ImageFolder(str(tmp_path / name), 8)


@pytest.mark.parametrize("good", [0, 1])
def test_a_class_of_which_too_little_is_left_is_answered(root, good):
    """Where fewer than two images of a class can be read, there is no data set, and the reasons are told."""
    for name in ("1.png", "2.png", "3.png")[good:]:
        (root / "dog" / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"of the 3 images of class 'dog' {good} can be read, .* dog/3.png \(Unid"):
        ImageFolder(root, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), r"size \(=0\)"),
        ((2.0,), r"size \(=2.0\)"),
        (("8",), r"size \(='8'\)"),
        ((8, "CMYK"), r"mode \(='CMYK'\)"),
        ((8, "rgb"), r"mode \(='rgb'\)"),
    ],
)
def test_bad_arguments_are_named(root, arguments, message):
    """A size that is no whole number above 0, and another mode, are ValueErrors of ours that quote the value."""
    with pytest.raises(ArgumentValueError, match=message):
        ImageFolder(root, *arguments)


@pytest.mark.parametrize("other", [None, 3, b"x"])
def test_what_is_no_path_is_named(other):
    """It is a TypeError of ours."""
    with pytest.raises(ArgumentTypeError, match=r"root \(="):
        ImageFolder(other, 8)


@pytest.mark.parametrize("index", [slice(1, 3), 1.0, True, None, "1"])
def test_what_is_no_index_is_named(root, index):
    """One image is asked for, by a whole number."""
    with pytest.raises(ArgumentTypeError, match=r"index \(="):
        ImageFolder(root, 8)[index]


@pytest.mark.parametrize("size", [np.int64(4), (np.int64(4), 4), np.array([4, 4]), [4, 4]])
def test_numbers_of_numpy_are_numbers(root, size):
    """Sizes and flags of NumPy's are those of Python's."""
    dataset = ImageFolder(root, size, in_memory=np.True_)
    assert dataset[0][0].shape == (3, 4, 4)
    assert dataset.size in (4, (4, 4))


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "test", "valid")])
def test_parts_of_a_data_set_are_not_classes(tmp_path, names):
    """One warning says which folder to give; pictures of trains are a class."""
    for name in names:
        for number in range(2):
            put(tmp_path, f"{name}/cat/{number}.png")
    with pytest.warns(UserWarning, match="parts of a data set") as warned:
        ImageFolder(tmp_path, 8)
    assert [warning.filename for warning in warned] == [__file__]
    put(tmp_path, "ship/1.png")
    put(tmp_path, "ship/2.png")
    ImageFolder(tmp_path, 8)


def test_a_size_that_does_not_fit_in_memory_is_named(root, monkeypatch):
    """The file is not at fault."""
    dataset = ImageFolder(root, 10**6, in_memory=False)
    monkeypatch.setattr(Image.Image, "resize", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(DataError, match=r"does not fit in memory at size \(=1000000\)"):
        dataset[0]

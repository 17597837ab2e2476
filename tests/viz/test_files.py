"""Tests of pictures on disk."""

import os

import pytest
from PIL import Image

from ganlib.errors import RunFolderError
from ganlib.viz._files import check_folder, remove_pictures, save_picture


def test_a_missing_folder_is_made(tmp_path):
    """All missing folders on the way are made; one that is there is left as it is."""
    for _ in range(2):
        check_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    """Where a file has the folder's name the error is ours, an OSError too, and names the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run cannot be written to") as caught:
        check_folder(tmp_path / "run")
    assert isinstance(caught.value, RunFolderError)


def test_a_picture_is_written_whole_under_its_name(tmp_path):
    """The picture lies at its path, and nothing else does."""
    save_picture(tmp_path / "x.png", Image.new("L", (3, 2)).save, format="PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (3, 2)


def test_a_drawing_that_fails_leaves_the_old_picture(tmp_path):
    """Where drawing breaks off half-way the error is the drawing's own, and the folder is as it was."""
    (tmp_path / "x.png").write_text("old")

    def break_off(file):
        file.write(b"half")
        raise ValueError("no such colour")

    with pytest.raises(ValueError, match="no such colour"):
        save_picture(tmp_path / "x.png", break_off)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.png": "old"}


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    """Where the disk is full the old file is untouched, no half file stays, and the error names the path."""
    (tmp_path / "x.png").write_text("old")

    def fill(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(RunFolderError, match=r"x\.png cannot be written:.*No space left"):
        save_picture(tmp_path / "x.png", Image.new("L", (3, 2)).save, format="PNG")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.png": "old"}


def test_pictures_are_removed_where_they_are(tmp_path):
    """Those that are there go, those that are not are no error, and what cannot go is named."""
    (tmp_path / "x.png").write_text("")
    remove_pictures([tmp_path / "x.png", tmp_path / "y.png"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "z.png").mkdir()
    with pytest.raises(RunFolderError, match=r"z\.png cannot be removed"):
        remove_pictures([tmp_path / "z.png"])


def test_a_folder_that_has_become_a_file_is_our_error(tmp_path):
    """Where the folder has been replaced by a file since the start, the error is still ours."""
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match=r"x\.png cannot be written"):
        save_picture(tmp_path / "run" / "x.png", Image.new("L", (3, 2)).save, format="PNG")

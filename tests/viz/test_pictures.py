"""Tests of what finds, selects and reads the pictures of a run."""

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from ganlib.viz._pictures import even_selection, numbered_pictures, read_pictures


def _draw(folder, names):
    """One picture a name, each of another grey."""
    paths = [folder / name for name in names]
    for grey, path in enumerate(paths):
        Image.new("L", (6, 4), grey).save(path, format="PNG")
    return paths


def test_pictures_are_found_by_number(tmp_path):
    """PNG files whose names are numbers up to the last come by number, not by name; a folder so named does not."""
    _draw(tmp_path, ["100.png", "00000020.png", "3.png", "101.png", "3b.png", "x3.png", "4.gif", ".5.png.tmp"])
    (tmp_path / "6.png").mkdir()
    assert [path.name for path in numbered_pictures(tmp_path, 100)] == ["3.png", "00000020.png", "100.png"]


def test_in_a_missing_folder_nothing_is_found(tmp_path):
    """A folder that is not there holds no picture."""
    assert numbered_pictures(tmp_path / "nowhere", 9) == []


@pytest.mark.parametrize("most", [2, 3, 7, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 101])
def test_a_selection_is_even(count, most):
    """It has all, or the most that are allowed, from the first to the last, with steps that differ by one at most."""
    paths = [Path(str(index)) for index in range(count)]
    selected = even_selection(paths, most)
    places = [paths.index(path) for path in selected]
    steps = {after - before for before, after in pairwise(places)}
    assert len(selected) == min(count, most)
    assert selected[:1] + selected[-1:] == paths[:1] + paths[-1:]
    assert max(steps, default=1) - min(steps, default=1) <= 1
    assert min(steps, default=1) >= 1


def test_pictures_are_read_in_order(tmp_path):
    """Each path has the pixels of its file, and nothing else that the file says."""
    paths = _draw(tmp_path, ["1.png", "2.png", "3.png"])
    Image.new("L", (6, 4), 1).save(paths[1], dpi=(300, 300))
    pictures = read_pictures(paths, work="film", form="GIF")
    assert list(pictures) == paths
    assert [picture.getpixel((0, 0)) for picture in pictures.values()] == [0, 1, 2]
    assert [picture.info for picture in pictures.values()] == [{}] * 3


def test_what_is_unlike_the_last_good_one_is_left_out(tmp_path):
    """A damaged last picture counts for nothing; the one before it says the mode and the size."""
    paths = _draw(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    Image.new("L", (7, 4)).save(paths[0])
    paths[3].write_bytes(paths[3].read_bytes()[:50])
    with pytest.warns(UserWarning, match="left out of the stack") as warned:
        pictures = read_pictures(paths, work="stack", form="PNG")
    assert list(pictures) == paths[1:3]
    assert [str(warning.message).split(" is left")[0] for warning in warned] == [str(paths[3]), str(paths[0])]


def test_a_picture_of_another_kind_is_left_out(tmp_path):
    """A picture with a palette is none that a SampleGrid draws, and the warning says what it was read for."""
    Image.new("P", (6, 4)).save(tmp_path / "1.png")
    with pytest.warns(UserWarning, match=r"a P picture of \(6, 4\) is none that a SampleGrid draws for a GIF"):
        assert read_pictures([tmp_path / "1.png"], work="film", form="GIF") == {}

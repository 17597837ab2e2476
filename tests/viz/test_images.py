"""Tests of what writes, finds, selects and reads the images of a run."""

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from ganlib.errors import GanlibError, RunFolderError
from ganlib.viz import LossCurves, Timeline, TrainingGif
from ganlib.viz._images import even_selection, numbered_images, read_images, save_image


def _draw(folder, names):
    """One image for each name, each of another grey."""
    paths = [folder / name for name in names]
    for grey, path in enumerate(paths):
        Image.new("L", (6, 4), grey).save(path, format="PNG")
    return paths


def test_images_are_found_by_number(tmp_path):
    """PNG files whose names are numbers up to the last come by number, not by name; a folder so named does not."""
    _draw(tmp_path, ["100.png", "00000020.png", "3.png", "101.png", "3b.png", "x3.png", "4.gif", ".5.png.tmp"])
    (tmp_path / "6.png").mkdir()
    assert [path.name for path in numbered_images(tmp_path, 100)] == ["3.png", "00000020.png", "100.png"]


def test_in_a_missing_folder_nothing_is_found(tmp_path):
    """A folder that is not there holds no image."""
    assert numbered_images(tmp_path / "nowhere", 9) == []


@pytest.mark.parametrize("most", [2, 3, 7, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 101])
def test_a_selection_is_even(count, most):
    """It has all, or the most that are allowed, from the first to the last, with steps that differ by one at most."""
    paths = [Path(str(index)) for index in range(count)]
    selected = even_selection(paths, most)
    positions = [paths.index(path) for path in selected]
    steps = {after - before for before, after in pairwise(positions)}
    assert len(selected) == min(count, most)
    assert selected[:1] + selected[-1:] == paths[:1] + paths[-1:]
    assert max(steps, default=1) - min(steps, default=1) <= 1
    assert min(steps, default=1) >= 1


def test_images_are_read_in_order(tmp_path):
    """Each path has the pixels of its file, and nothing else that the file says."""
    paths = _draw(tmp_path, ["1.png", "2.png", "3.png"])
    Image.new("L", (6, 4), 1).save(paths[1], dpi=(300, 300))
    images = read_images(paths, product="GIF")
    assert list(images) == paths
    assert [image.getpixel((0, 0)) for image in images.values()] == [0, 1, 2]
    assert [image.info for image in images.values()] == [{}] * 3


def test_what_is_unlike_the_last_good_one_is_left_out(tmp_path):
    """A damaged last image counts for nothing; the one before it says the mode and the size."""
    paths = _draw(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    Image.new("L", (7, 4)).save(paths[0])
    paths[3].write_bytes(paths[3].read_bytes()[:50])
    with pytest.warns(UserWarning, match="left out of the stack") as warned:
        images = read_images(paths, product="stack")
    assert list(images) == paths[1:3]
    assert [str(warning.message).split(" is left")[0] for warning in warned] == [str(paths[3]), str(paths[0])]


def test_an_image_of_another_kind_is_left_out(tmp_path):
    """A SampleGrid saves no images with a palette."""
    Image.new("P", (6, 4)).save(tmp_path / "1.png")
    with pytest.warns(UserWarning, match=r"SampleGrid does not save images like this one, which is P \(6, 4\)"):
        assert read_images([tmp_path / "1.png"], product="GIF") == {}


def test_an_image_is_written_completely_under_its_name(tmp_path):
    """The image is at its path, and nothing else is in the folder."""
    save_image(tmp_path / "x.png", Image.new("L", (3, 2)).save, format="PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (3, 2)


def test_an_error_while_drawing_leaves_the_old_image(tmp_path):
    """It is raised as it is, and the folder is as it was."""
    (tmp_path / "x.png").write_text("old")

    def fail(file):
        file.write(b"half")
        raise ValueError("no such colour")

    with pytest.raises(ValueError, match="no such colour"):
        save_image(tmp_path / "x.png", fail)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.png": "old"}


def test_a_folder_that_has_become_a_file_is_an_error_of_ours(tmp_path):
    """Also if that happened after the start of the run."""
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match=r"x\.png cannot be written"):
        save_image(tmp_path / "run" / "x.png", Image.new("L", (3, 2)).save, format="PNG")


MAKERS = {
    "curves": (lambda path: LossCurves(path, path.with_name("metrics.csv")), "png"),
    "gif": (lambda path: TrainingGif(path, path.parent), "gif"),
    "timeline": (lambda path: Timeline(path, path.parent), "png"),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", ["a folder in its place", "a file in the place of its folder", "a long name"])
def test_what_cannot_be_written_at_the_end_is_refused_at_the_start(run, tmp_path, name, kind):
    """Of all that is written when a run ends; an OSError of ours names it."""
    make, suffix = MAKERS[name]
    path = tmp_path / f"x.{suffix}"
    if kind == "a folder in its place":
        path.mkdir()
    elif kind == "a file in the place of its folder":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "x" / path.name
    else:
        path = tmp_path / f"{'x' * 300}.{suffix}"
    with pytest.raises(RunFolderError, match="cannot be written"):
        make(path).on_start(run)
    assert run.iteration == 0


@pytest.mark.parametrize("make", [LossCurves, lambda path: TrainingGif(path, "s"), lambda path: Timeline(path, "s")])
@pytest.mark.parametrize("path", [None, 3, b"x.png", ["x.png"], "", ".", "x.mp4", "x.xyz", "x.txt"])
def test_what_is_not_the_path_of_an_image_is_refused_at_once(make, path):
    """Neither a path, nor one with a name, nor with a suffix of a format that can be written."""
    with pytest.raises(GanlibError, match=r"path \(="):
        make(path)


@pytest.mark.parametrize("make", [TrainingGif, Timeline])
def test_a_folder_that_is_not_a_path_is_refused_at_once(make):
    """As an error of ours."""
    with pytest.raises(GanlibError, match=r"folder \(=3\) must be a path"):
        make("x", 3)


@pytest.mark.parametrize(("mode", "opaque"), [("LA", "L"), ("RGBA", "RGB")])
def test_transparent_images_are_put_on_white(tmp_path, mode, opaque):
    """Colors that are hidden stay hidden, opaque ones are what they are, and half transparent ones in the middle."""
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 255, 128)):
        image.putpixel((x, 0), (40,) * (len(mode) - 1) + (alpha,))
    image.save(tmp_path / "1.png")
    (read,) = read_images([tmp_path / "1.png"], product="GIF").values()
    assert read.mode == opaque
    assert [*read.convert("L").tobytes()] == pytest.approx([255, 40, 147], abs=1)

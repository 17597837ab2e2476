"""Tests of the GIF of a run."""

import numpy
import pytest
from PIL import Image, ImageSequence

from ganlib.errors import GanlibError
from ganlib.viz import TrainingGif


def _draw(folder, iterations, mode="L"):
    """One image for each iteration, all of it the grey of that number."""
    for iteration in iterations:
        Image.new("RGB", (6, 4), (iteration,) * 3).convert(mode).save(folder / f"{iteration:08d}.png")


def _frames(path):
    with Image.open(path) as gif:
        frames = [
            (frame.convert("L").getpixel((0, 0)), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)
        ]
        return [grey for grey, _ in frames], [duration for _, duration in frames], gif


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_frames_are_the_images_in_order(run, tmp_path, mode):
    """The GIF shows each image once, by iteration, repeats forever, and shows the last for two seconds."""
    _draw(tmp_path, [1, 20, 40, 100], mode)
    run.iteration = 100
    run.go(TrainingGif(tmp_path / "gifs" / "x.gif", tmp_path, seconds=2.0), 100)
    greys, durations, gif = _frames(tmp_path / "gifs" / "x.gif")
    assert greys == [1, 20, 40, 100]
    assert durations == [500, 500, 500, 2000]
    assert (gif.info["loop"], gif.size, gif.format) == (0, (6, 4), "GIF")


@pytest.mark.parametrize("colors", [256, 100_000])
def test_colors_are_near_those_of_the_images(run, tmp_path, colors):
    """Each frame has its own palette, so a frame of few colors keeps them, and one of all colors is near them."""
    values = numpy.arange(colors) * 16_777_216 // colors
    pixels = numpy.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(numpy.uint8).reshape(16, -1, 3)
    for iteration, frame in enumerate((pixels, 255 - pixels)):
        Image.fromarray(frame).save(tmp_path / f"{iteration:08d}.png")
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 1)
    with Image.open(tmp_path / "x.gif") as gif:
        frames = [numpy.array(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(gif)]
    for frame, expected in zip(frames, (pixels, 255 - pixels), strict=True):
        assert numpy.sqrt(((frame - expected) ** 2).mean()) <= (25 if colors > 256 else 0)


def test_of_many_images_an_even_selection_is_shown(run, tmp_path):
    """Of 0, 10, ..., 200 five frames are 0, 50, 100, 150, 200."""
    _draw(tmp_path, range(0, 201, 10))
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path, max_frames=5), 200)
    assert _frames(tmp_path / "x.gif")[0] == [0, 50, 100, 150, 200]


def test_no_frame_is_shorter_than_two_hundredths(run, tmp_path):
    """Frames that players would slow down to a tenth are given the shortest time that they keep."""
    _draw(tmp_path, range(1, 9))
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path, seconds=0.01), 8)
    assert _frames(tmp_path / "x.gif")[1] == [20] * 7 + [2000]


def test_images_of_a_later_iteration_and_other_files_are_left_out(run, tmp_path):
    """A run that ends at 40 shows nothing of 50, nor an image whose name is not a number."""
    _draw(tmp_path, [10, 40, 50])
    Image.new("L", (6, 4), 99).save(tmp_path / "10 copy.png")
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 40)
    assert _frames(tmp_path / "x.gif")[0] == [10, 40]


def test_one_image_makes_a_gif_of_one_frame(run, tmp_path):
    """A single image is a GIF that shows it."""
    _draw(tmp_path, [7])
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 7)
    with Image.open(tmp_path / "x.gif") as gif:
        assert (gif.n_frames, gif.convert("L").getpixel((0, 0))) == (1, 7)


def test_without_images_there_is_no_gif(run, tmp_path):
    """An empty or missing folder leaves no file and no error."""
    run.go(TrainingGif(tmp_path / "x.gif", tmp_path / "nowhere"), 3)
    assert not (tmp_path / "x.gif").exists()


@pytest.mark.parametrize(
    ("damage", "at"),
    [(damage, at) for damage in ("cut", "empty", "another format") for at in (10, 40)]
    + [("larger", 10), ("colour", 10)],
)
def test_an_image_that_does_not_fit_is_left_out(run, tmp_path, at, damage):
    """A file that is damaged, or unlike the last good one, is named in a warning, and the GIF has the others."""
    _draw(tmp_path, [10, 20, 30, 40])
    path = tmp_path / f"{at:08d}.png"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        size, mode = ((9, 4), "L") if damage == "larger" else ((6, 4), "RGB" if damage == "colour" else "L")
        Image.new(mode, size).save(path, format="BMP" if damage == "another format" else "PNG")
    with pytest.warns(UserWarning, match=f"000{at}.png is left out of the GIF"):
        run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 40)
    assert _frames(tmp_path / "x.gif")[0] == [grey for grey in (10, 20, 30, 40) if grey != at]


def test_images_unlike_the_last_are_left_out(run, tmp_path):
    """If the grid has changed, the GIF shows the images of the size of the last one."""
    _draw(tmp_path, [10, 20])
    Image.new("L", (9, 4), 40).save(tmp_path / "00000040.png")
    with pytest.warns(UserWarning, match=r"it is L \(6, 4\), but the last image is L \(9, 4\)") as warned:
        run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 40)
    assert len(warned) == 2
    assert _frames(tmp_path / "x.gif")[0] == [40]


def test_without_a_good_image_there_is_no_gif(run, tmp_path):
    """Only damaged images give warnings, and no file."""
    (tmp_path / "00000001.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match="00000001.png"):
        run.go(TrainingGif(tmp_path / "x.gif", tmp_path), 3)
    assert not (tmp_path / "x.gif").exists()


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(run, tmp_path):
    """Before anything is trained, an OSError of ours names the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run cannot be written to") as caught:
        TrainingGif(tmp_path / "run" / "x.gif", tmp_path).on_start(run)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0}, r"seconds \(=0\)"),
        ({"seconds": float("nan")}, r"seconds \(=nan\)"),
        ({"max_frames": 1}, r"max_frames \(=1\)"),
        ({"max_frames": 2.0}, r"max_frames \(=2.0\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        TrainingGif("x.gif", "samples", **arguments)
    assert isinstance(caught.value, GanlibError)

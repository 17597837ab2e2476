"""Tests of the stack of a run's images."""

import pytest
import torch
from PIL import Image, ImageChops
from torch import nn

from ganlib.errors import GanlibError
from ganlib.viz import SampleGrid, Timeline


def _draw(folder, iterations, mode="L", size=(30, 12)):
    """One image for each iteration, all of it the grey of that number."""
    for iteration in iterations:
        Image.new("RGB", size, (iteration,) * 3).convert(mode).save(folder / f"{iteration:08d}.png")


def _rows(path, width=30, height=12):
    """The greys of the rows, each checked to be even, and the margin to the left of each."""
    with Image.open(path) as stack:
        stack.load()
    edge = stack.width - width
    tops = range(0, stack.height, height)
    images = [stack.crop((edge, top, stack.width, top + height)).convert("L") for top in tops]
    assert all(low == high for low, high in (image.getextrema() for image in images))
    margins = [stack.crop((0, top, edge, top + height)).convert("L") for top in tops]
    return [image.getpixel((0, 0)) for image in images], margins


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_rows_are_the_images_from_the_oldest(run, tmp_path, mode):
    """Each image is there once, by iteration, in the mode and the width that it has, next to a margin."""
    _draw(tmp_path, [1, 20, 40, 100], mode)
    run.iteration = 100
    run.go(Timeline(tmp_path / "stacks" / "x.png", tmp_path), 100)
    assert _rows(tmp_path / "stacks" / "x.png")[0] == [1, 20, 40, 100]
    with Image.open(tmp_path / "stacks" / "x.png") as stack:
        assert (stack.format, stack.mode, stack.height) == ("PNG", mode, 48)


def test_the_rows_are_pixel_for_pixel_what_a_grid_has_drawn(run, tmp_path):
    """Of a SampleGrid with as many columns as latents each row is one image, in colour."""
    generator = nn.Sequential(nn.Linear(2, 3 * 16 * 16), nn.Tanh(), nn.Unflatten(1, (3, 16, 16)))
    grid = SampleGrid(generator, tmp_path / "samples", latent=torch.linspace(-1, 1, 10).view(5, 2), columns=5, every=2)

    class Learn:
        def on_iteration(self, run):
            nn.init.normal_(generator[0].weight)

    timeline = Timeline(tmp_path / "x.png", tmp_path / "samples")
    for callback in (grid, timeline):
        callback.on_start(run)
    for run.iteration in range(1, 6):
        Learn().on_iteration(run)
        grid.on_iteration(run)
    for callback in (grid, timeline):
        callback.on_end(run)
    images = [Image.open(tmp_path / "samples" / f"{iteration:08d}.png") for iteration in (1, 2, 4, 5)]
    with Image.open(tmp_path / "x.png") as stack:
        edge = stack.width - images[0].width
        for index, image in enumerate(images):
            box = (edge, index * image.height, stack.width, (index + 1) * image.height)
            assert stack.crop(box).tobytes() == image.tobytes()


def test_of_many_images_an_even_selection_is_shown(run, tmp_path):
    """Of 0, 10, ..., 200 five rows are 0, 50, 100, 150, 200."""
    _draw(tmp_path, range(0, 201, 10))
    run.go(Timeline(tmp_path / "x.png", tmp_path, max_rows=5), 200)
    assert _rows(tmp_path / "x.png")[0] == [0, 50, 100, 150, 200]


def test_each_row_has_its_number_in_the_margin(run, tmp_path):
    """White on black: equal pixels for equal numbers alone, more of them for longer numbers, and none at the edges."""
    margins = {}
    for name, iterations in (("a", [7, 11, 250]), ("b", [8, 11, 250])):
        (tmp_path / name).mkdir()
        _draw(tmp_path / name, iterations, size=(30, 40))
        run.iteration = 250
        run.go(Timeline(tmp_path / f"{name}.png", tmp_path / name), 250)
        margins[name] = _rows(tmp_path / f"{name}.png", height=40)[1]
    boxes = [margin.getbbox() for margin in margins["a"]]
    width, height = margins["a"][0].size
    assert all(0 < box[0] < box[2] < width and 0 < box[1] < box[3] < height for box in boxes)
    assert [box[2] - box[0] for box in boxes] == sorted(box[2] - box[0] for box in boxes)
    assert all(margin.getextrema()[0] == 0 and margin.getextrema()[1] > 200 for margin in margins["a"])
    same = [ImageChops.difference(*pair).getbbox() is None for pair in zip(margins["a"], margins["b"], strict=True)]
    assert same == [False, True, True]


@pytest.mark.parametrize("height", [1, 3, 9, 32, 300])
def test_a_number_keeps_to_its_row(run, tmp_path, height):
    """However low or high an image is, what is written next to the middle one is all within its row."""
    for name, iterations in (("one", [88_888]), ("three", [0, 88_888, 88_889])):
        (tmp_path / name).mkdir()
        for iteration in iterations:
            Image.new("L", (5, height)).save(tmp_path / name / f"{iteration}.png")
        run.iteration = 88_889
        run.go(Timeline(tmp_path / f"{name}.png", tmp_path / name), 88_889)
    margins = {name: _rows(tmp_path / f"{name}.png", width=5, height=height)[1] for name in ("one", "three")}
    assert margins["three"][1].tobytes() == margins["one"][0].tobytes()


def test_two_files_of_one_iteration_are_two_rows(run, tmp_path):
    """What another program has written next to them, under a name that is the same number, hides nothing."""
    _draw(tmp_path, [7])
    Image.new("L", (30, 12), 9).save(tmp_path / "7.png")
    run.go(Timeline(tmp_path / "x.png", tmp_path), 7)
    assert sorted(_rows(tmp_path / "x.png")[0]) == [7, 9]


def test_images_of_a_later_iteration_are_left_out(run, tmp_path):
    """A run that ends at 40 shows nothing of 50."""
    _draw(tmp_path, [10, 40, 50])
    run.go(Timeline(tmp_path / "x.png", tmp_path), 40)
    assert _rows(tmp_path / "x.png")[0] == [10, 40]


def test_one_image_makes_one_row(run, tmp_path):
    """A single image is shown, with its number."""
    _draw(tmp_path, [7])
    run.go(Timeline(tmp_path / "x.png", tmp_path), 7)
    greys, (margin,) = _rows(tmp_path / "x.png")
    assert greys == [7]
    assert margin.getbbox() is not None


def test_without_images_there_is_no_stack(run, tmp_path):
    """An empty or missing folder leaves no file and no error."""
    run.go(Timeline(tmp_path / "x.png", tmp_path / "nowhere"), 3)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("at", [10, 40])
def test_a_damaged_image_is_left_out(run, tmp_path, at):
    """A file that is cut is named in a warning, and the stack has the others."""
    _draw(tmp_path, [10, 20, 30, 40])
    path = tmp_path / f"{at:08d}.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(UserWarning, match=f"000{at}.png is left out of the timeline"):
        run.go(Timeline(tmp_path / "x.png", tmp_path), 40)
    assert _rows(tmp_path / "x.png")[0] == [grey for grey in (10, 20, 30, 40) if grey != at]


def test_without_a_good_image_there_is_no_stack(run, tmp_path):
    """Only damaged images give warnings, and no file."""
    (tmp_path / "00000001.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match="00000001.png"):
        run.go(Timeline(tmp_path / "x.png", tmp_path), 3)
    assert not (tmp_path / "x.png").exists()


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(run, tmp_path):
    """Before anything is trained, an OSError of ours names the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run cannot be written to") as caught:
        Timeline(tmp_path / "run" / "x.png", tmp_path).on_start(run)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("rows", [1, 0, 2.0, None])
def test_bad_arguments_are_named(rows):
    """A number of rows that is not whole, or below 2, is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=rf"max_rows \(={rows}\)") as caught:
        Timeline("x.png", "samples", max_rows=rows)
    assert isinstance(caught.value, GanlibError)


def test_one_process_alone_draws():
    """Of several processes the first one writes the file, and there is no state to resume."""
    assert Timeline.rank_zero_only is True
    assert not hasattr(Timeline, "state_dict")

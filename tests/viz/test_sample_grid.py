"""Tests of the grid drawn while a generator learns."""

import pytest
import torch
from PIL import Image
from torch import nn

from ganlib.errors import GanlibError
from ganlib.viz import SampleGrid, image_grid


class _Images(nn.Module):
    """Its weight plus the condition, as a grey image of 4 x 4; notes the mode that it is called in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(0.5)
        self.modes = []

    def forward(self, latent, condition=None):
        self.modes.append((self.training, self.dropout.training, torch.is_grad_enabled()))
        bias = torch.zeros(len(latent)) if condition is None else condition
        return self.dropout((latent[:, 0] + bias + self.weight).view(-1, 1, 1, 1).expand(-1, 1, 4, 4))


def _names(folder):
    return sorted(int(path.stem) for path in folder.iterdir())


def test_it_draws_what_the_generator_makes():
    """The grid is image_grid of generator(latent, condition), in the columns asked for."""
    latent, condition = torch.linspace(-1, 0, 6).view(6, 1), torch.linspace(0, 0.5, 6)
    grid = SampleGrid(_Images(), "unused", latent=latent, condition=condition, columns=2)
    expected = image_grid((latent[:, 0] + condition).view(-1, 1, 1, 1).expand(-1, 1, 4, 4), columns=2)
    assert grid.draw().tobytes() == expected.tobytes()
    assert grid.draw().size == (14, 20)


def test_conditions_may_be_nests():
    """A dict of tensors reaches the generator as it is, tuples in it included."""

    class Sums(nn.Module):
        def forward(self, latent, condition):
            total = latent[:, 0] + condition["a"] + condition["b"][0]
            return total.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    latent, a, b = torch.linspace(-1, 0, 6).view(6, 1), torch.linspace(0, 0.2, 6), torch.linspace(0.3, 0, 6)
    grid = SampleGrid(Sums(), "unused", latent=latent, condition={"a": a, "b": (b,)}, batch_norm="sample")
    expected = image_grid((latent[:, 0] + a + b).view(-1, 1, 1, 1).expand(-1, 1, 4, 4))
    assert grid.draw().tobytes() == expected.tobytes()


def test_the_generators_own_range_is_black_to_white():
    """A generator with sample_range (0, 1) draws 0 black."""
    generator = _Images()
    generator.sample_range = (0.0, 1.0)
    assert SampleGrid(generator, "unused", latent=torch.zeros(1, 1)).draw().getextrema() == (0, 0)


def test_it_draws_in_evaluation_mode_and_restores_every_module():
    """Each module is in evaluation mode, without gradients, while it draws, and in its own mode afterwards."""
    generator = _Images().train()
    generator.dropout.eval()  # as somebody might freeze a part
    before = torch.get_rng_state()
    SampleGrid(generator, "unused", latent=torch.zeros(1, 1)).draw()
    assert generator.modes == [(False, False, False)]
    assert (generator.training, generator.dropout.training) == (True, False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mode_is_restored_after_an_error():
    """A latent that the generator chokes on leaves it in train mode."""
    generator = _Images().train()
    with pytest.raises(IndexError):
        SampleGrid(generator, "unused", latent=torch.zeros(1)).draw()
    assert (generator.training, generator.dropout.training) == (True, True)


@pytest.mark.parametrize(
    ("every", "to", "drawn"), [(3, 8, [1, 3, 6, 8]), (4, 8, [1, 4, 8]), (1, 3, [1, 2, 3]), (50, 1, [1]), (5, 0, [0])]
)
def test_it_draws_at_the_first_every_kth_and_the_last(run, tmp_path, every, to, drawn):
    """Images are there for iteration 1, each divisible by ``every``, and the last, and no others."""
    run.go(SampleGrid(_Images(), tmp_path / "samples", latent=torch.zeros(4, 1), every=every), to)
    assert _names(tmp_path / "samples") == drawn
    with Image.open(tmp_path / "samples" / f"{to:08d}.png") as image:
        assert image.size == (14, 14)


def test_images_of_a_later_iteration_are_removed_at_the_start(run, tmp_path):
    """A run that begins at 4 keeps the images up to 4 and files of other names, and draws the others again."""
    for name in ("00000002.png", "00000004.png", "00000006.png", "00000009.png", "2_mine.png", "99.txt"):
        (tmp_path / name).write_text("")
    run.iteration = 4
    SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1), every=2).on_start(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002.png", "00000004.png", "2_mine.png", "99.txt"]


def test_the_image_of_a_stop_goes_when_the_run_goes_on(run, tmp_path):
    """That of a stop after 5, which was not due, stays for a run that is over, and goes if the run continues."""
    grid = SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1), every=2)
    run.go(grid, 5)
    run.go(grid, 5)
    assert _names(tmp_path) == [1, 2, 4, 5]
    run.go(grid, 6)
    assert _names(tmp_path) == [1, 2, 4, 6]


def test_a_run_that_is_over_keeps_its_last_image(run, tmp_path):
    """At its start, so that an error before its end costs nothing; else the image of a stop goes at once."""
    grid = SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1), every=2)
    run.go(grid, 5)
    run.progress = 1.0
    grid.on_start(run)
    assert _names(tmp_path) == [1, 2, 4, 5]
    run.progress = 0.5
    grid.on_start(run)
    assert _names(tmp_path) == [1, 2, 4]


@pytest.mark.parametrize("stop", [0, 1])
def test_a_stop_at_the_beginning(run, tmp_path, stop):
    """A run of no iteration draws an image that one that goes on does not keep; that of iteration 1 is kept."""
    grid = SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1), every=2)
    run.go(grid, stop)
    run.go(grid, 3)
    assert _names(tmp_path) == [1, 2, 3]


def test_what_a_killed_run_left_is_removed(run, tmp_path):
    """Half an image under its temporary name goes at the start."""
    (tmp_path / ".00000004.png.0123abcd.tmp").write_text("half")
    SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1)).on_start(run)
    assert list(tmp_path.iterdir()) == []


def test_a_run_taken_back_ends_with_an_image(run, tmp_path):
    """The same callback, in a run that goes back to 3 and on to 5 again, draws the last image again."""
    grid = SampleGrid(_Images(), tmp_path, latent=torch.zeros(4, 1))
    run.go(grid, 5)
    run.iteration = 3
    run.go(grid, 5)
    assert _names(tmp_path) == [1, 5]


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(run, tmp_path):
    """Before anything is trained, an OSError of ours names the folder."""
    (tmp_path / "samples").write_text("")
    with pytest.raises(OSError, match="samples cannot be written to") as caught:
        SampleGrid(_Images(), tmp_path / "samples", latent=torch.zeros(4, 1)).on_start(run)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("arguments", "builtin", "message"),
    [
        ({"generator": len}, TypeError, r"generator \(=<built-in function len>\)"),
        ({"latent": [0.0]}, TypeError, r"latent \(=\[0.0\]\)"),
        ({"latent": None}, TypeError, r"latent \(=None\)"),
        ({"condition": [0] * 4}, TypeError, r"condition \(=\[0, 0, 0, 0\]\)"),
        ({"condition": torch.zeros(3)}, ValueError, r"condition \(3,\) .* n \(=4\)"),
        ({"condition": (torch.zeros(4), torch.zeros(3, 2))}, ValueError, r"condition \(3, 2\) .* n \(=4\)"),
        ({"condition": {}}, TypeError, r"condition \(=\{\}\)"),
        ({"every": 0}, ValueError, r"every \(=0\)"),
        ({"every": 1.5}, ValueError, r"every \(=1.5\)"),
    ],
)
def test_bad_arguments_are_named(arguments, builtin, message):
    """Each bad argument is an error of ours and the right built-in, naming it and its value."""
    with pytest.raises(builtin, match=message) as caught:
        SampleGrid(**{"generator": _Images(), "folder": "unused", "latent": torch.zeros(4, 1)} | arguments)
    assert isinstance(caught.value, GanlibError)

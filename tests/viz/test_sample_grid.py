"""Tests of the grid drawn while a generator learns."""

import math
import random
import re

import numpy
import pytest
import torch
from PIL import Image
from torch import nn

from ganlib import latents, losses, training
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.viz import SampleGrid, Timeline, TrainingGif, image_grid


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
    assert {modes[:2] for modes in generator.modes} == {(False, False)}
    assert generator.modes[0] == (False, False, False)
    assert (generator.training, generator.dropout.training) == (True, False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mode_is_restored_after_an_error():
    """A latent that the generator chokes on leaves it in train mode."""
    generator = _Images().train()
    with pytest.raises(ArgumentValueError, match=r"latent \(1,\).*IndexError"):
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
        ({"latent": torch.zeros(0, 1)}, ValueError, r"latent \(0, 1\)"),
        ({"latent": torch.zeros(())}, ValueError, r"latent \(\)"),
        ({"columns": 0}, ValueError, r"columns \(=0\)"),
        ({"columns": 2.5}, ValueError, r"columns \(=2.5\)"),
        ({"scale": 0}, ValueError, r"scale \(=0\)"),
        ({"scale": "2"}, ValueError, r"scale \(='2'\)"),
        ({"render": 3}, TypeError, r"render \(=3\)"),
        ({"folder": None}, TypeError, r"folder \(=None\)"),
    ],
)
def test_bad_arguments_are_named(arguments, builtin, message):
    """Each bad argument is an error of ours and the right built-in, naming it and its value."""
    with pytest.raises(builtin, match=message) as caught:
        SampleGrid(**{"generator": _Images(), "folder": "unused", "latent": torch.zeros(4, 1)} | arguments)
    assert isinstance(caught.value, GanlibError)


class _Gives(nn.Module):
    """Gives what a function makes of the latent, and has a weight, so that it can be trained."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, latent, *condition):
        return self.function(latent * self.weight, *condition)


def _grey(latent):
    return latent[:, :1, None, None].expand(-1, 1, 2, 2)


WRONG = {
    "a latent of another dimension": (lambda z: z @ torch.zeros(3, 4), {}, r"latent \(4, 2\).*RuntimeError"),
    "a latent of another dtype": (lambda z: z @ torch.zeros(2, 4), {"latent": torch.ones(4, 2).double()}, "dtype"),
    "a condition too many": (lambda z: z, {"condition": torch.zeros(4)}, r"condition \(4,\).*TypeError"),
    "a condition too few": (lambda z, y: z, {}, "TypeError"),
    "flat samples": (lambda z: z, {}, r"samples \(4, 2\).*render="),
    "samples of many channels": (lambda z: z[:, :, None, None].expand(-1, -1, 3, 3).repeat(1, 3, 1, 1), {}, "render="),
    "no tensor": (lambda z: {"image": z}, {}, "TypeError"),
    "a tuple": (lambda z: (_grey(z), z), {}, "TypeError"),
    "a number": (lambda z: 3.0, {}, "TypeError"),
    "complex samples": (lambda z: _grey(z) * 1j, {}, "complex64"),
    "a render that fails": (_grey, {"render": lambda sample: sample.nothing}, "AttributeError"),
    "a render that returns an array": (_grey, {"render": lambda sample: sample.numpy()}, "but gives array"),
    "an image that is too large": (_grey, {"scale": 10**5}, "pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_drawn_is_refused_before_the_training(run, tmp_path, name):
    """An error of ours at the start, which keeps the images that are there and leaves random numbers and modes."""
    function, arguments, message = WRONG[name]
    generator = _Gives(function).train()
    (tmp_path / "00000009.png").write_text("old")
    grid = SampleGrid(generator, tmp_path, **{"latent": torch.zeros(4, 2)} | arguments)
    before = torch.get_rng_state()
    with pytest.raises(GanlibError, match=message):
        grid.on_start(run)
    assert generator.training
    assert torch.equal(torch.get_rng_state(), before)
    assert [path.name for path in tmp_path.iterdir()] == ["00000009.png"]


def test_a_wrong_range_is_refused_before_the_training(run, tmp_path):
    """A generator whose sample_range does not increase is an error of ours."""
    generator = _Gives(_grey)
    generator.sample_range = (1.0, -1.0)
    with pytest.raises(ArgumentValueError, match=r"sample_range \(=\(1.0, -1.0\)\)"):
        SampleGrid(generator, tmp_path, latent=torch.zeros(4, 2)).on_start(run)


def test_the_start_leaves_no_trace(run, tmp_path):
    """Random numbers of Python, NumPy and torch, modes and gradients are as before; nothing is saved."""

    def noisy(latent):
        drawn = random.random() + numpy.random.rand() + torch.rand(())
        return torch.sigmoid(_grey(latent) + drawn)

    generator = _Gives(noisy).train()
    before = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    SampleGrid(generator, tmp_path, latent=torch.zeros(4, 2)).on_start(run)
    assert (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert generator.training
    assert generator.weight.grad is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("sides", [(6,), (5, 7), (2, 5, 7)])
def test_a_run_draws_all_kinds_of_samples(run, tmp_path, sides, channels):
    """Signals, images and volumes; the GIF and the timeline show them too, with white behind what is transparent."""
    shape = (channels, *sides)
    generator = _Gives(lambda latent: torch.tanh(latent[:, :1] + torch.linspace(-2, 2, torch.Size(shape).numel())))
    generator.function = lambda latent, make=generator.function: make(latent).view(-1, *shape)
    grid = SampleGrid(generator, tmp_path / "samples", latent=torch.linspace(-1, 1, 4).view(4, 1), every=2, scale=3)
    products = TrainingGif(tmp_path / "x.gif", tmp_path / "samples"), Timeline(tmp_path / "x.png", tmp_path / "samples")
    run.callbacks = (grid, *products)
    for callback in (grid, *products):
        run.iteration = 0
        run.go(callback, 4)
    expected = image_grid(generator(grid.latent), scale=3)
    with Image.open(tmp_path / "samples/00000004.png") as image:
        assert (image.mode, image.tobytes()) == (expected.mode, expected.tobytes())
    white = Image.new("RGBA", expected.size, "white")
    white.alpha_composite(expected.convert("RGBA"))
    with Image.open(tmp_path / "x.png") as stack:
        rows = stack.convert("RGB").crop((stack.width - white.width, 0, stack.width, white.height))
        assert stack.height == 3 * white.height
        assert numpy.abs(numpy.asarray(rows, int) - numpy.asarray(white.convert("RGB"), int)).max() <= 1
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.size == white.size
        gap = numpy.asarray(gif.convert("RGB"), int) - numpy.asarray(white.convert("RGB"), int)
        assert numpy.abs(gap).mean() < 3  # a GIF has 256 colors


@pytest.mark.parametrize("ending", [nn.Sigmoid(), nn.Hardsigmoid()], ids=["sigmoid", "hardsigmoid"])
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "average"])
def test_a_sigmoid_at_the_end_draws_from_0_to_1(ending, trained):
    """Without sample_range, 0 is black there; a generator's own range comes first."""
    generator = nn.Sequential(nn.Linear(2, 16), ending, nn.Unflatten(1, (1, 4, 4))).requires_grad_(trained)
    latent = torch.randn(4, 2)
    grid = SampleGrid(generator, "unused", latent=latent)
    assert grid.draw() == image_grid(generator(latent), sample_range=(0, 1))
    generator.sample_range = (-1.0, 1.0)
    assert grid.draw() == image_grid(generator(latent))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda latent: _grey(latent).abs().clamp(0.1, 0.9), r"\[0.143, 0.9\].*sample_range = \(low, high\)"),
        (lambda latent: _grey(latent).abs() * 255 + 2, "sample_range"),
        (lambda latent: _grey(latent) * math.nan, "NaN"),
        (lambda latent: torch.tanh(_grey(latent)), None),
        (lambda latent: 2 * torch.sigmoid(_grey(latent)) - 1, None),
        (lambda latent: 1.4 * _grey(latent), None),
        (lambda latent: torch.zeros(4, 1, 2, 2), None),
        (lambda latent: (_grey(latent) * 255).byte(), None),
        (lambda latent: latent[:, :, None].abs().clamp(0, 1), None),
    ],
)
def test_a_range_that_is_surely_another_is_warned_of_once(run, tmp_path, function, message, recwarn):
    """Images in [0, 1] or far beyond [-1, 1], or with NaN, of a generator that does not say its range."""
    grid = SampleGrid(_Gives(function), tmp_path, latent=torch.linspace(-1, 1, 8).view(4, 2), every=2)
    run.go(grid, 6)
    assert len(recwarn) == (message is not None)
    assert message is None or re.search(message, str(recwarn[0].message))
    assert _names(tmp_path) == [1, 2, 4, 6]


@pytest.mark.parametrize("product", [TrainingGif, Timeline])
def test_a_folder_that_no_grid_writes_is_warned_of(run, tmp_path, product):
    """Where a SampleGrid is missing, writes elsewhere or comes later; images may be those of others."""
    grid = SampleGrid(_Images(), tmp_path / "samples", latent=torch.zeros(4, 1))
    suffix = {TrainingGif: "gif", Timeline: "png"}[product]
    right, wrong = product(tmp_path / f"x.{suffix}", tmp_path / "samples"), product(tmp_path / f"x.{suffix}", tmp_path)
    for callbacks, callback in (((grid, wrong), wrong), ((right, grid), right), ((right,), right)):
        run.callbacks = callbacks
        with pytest.warns(UserWarning, match=f"no SampleGrid before {product.__name__} writes images"):
            callback.on_start(run)

    class Own:
        """A callback of the user's, which may write the images."""

    for callbacks in ((grid, right), (Own(), right), (right, Own())):
        run.callbacks = callbacks
        right.on_start(run)
    (tmp_path / "samples").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "samples" / "00000000.png")  # of an earlier run, or of another program
    run.callbacks = (right,)
    right.on_start(run)


def test_a_training_ends_before_its_first_iteration(tmp_path):
    """In ``fit``, a latent that does not fit is an error before anything is trained."""
    generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters()),
        torch.optim.Adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(4),
    )
    grid = SampleGrid(generator, tmp_path, latent=torch.zeros(3, 5))
    with pytest.raises(GanlibError, match=r"latent \(3, 5\)"):
        training.fit(trainer, [torch.randn(8, 2)], iterations=3, callbacks=[grid])
    assert trainer.iteration == 0

"""The files of a run that was stopped, or killed, and continued are those of a run that was not, byte for byte."""

import pytest
import torch
from torch import nn

from ganlib import latents, losses, training, viz

LAST = 23


class KillError(Exception):
    """Ends a run as a kill does: nothing is written after it."""


class KillAt:
    """Kills after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration(self, run):
        """Kill, where it is time."""
        if run.iteration == self.iteration:
            raise KillError


class Lazy:
    """A penalty that is a metric at some iterations alone, so that its column comes late."""

    every = 5

    def __call__(self, discriminator, real, fake, condition=None, fake_condition=None):
        """The mean square of the logits of the real samples."""
        return discriminator(real).square().mean()


def _objects(folder):
    """A trainer and callbacks, as a new process makes them."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Unflatten(1, (1, 4, 4)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters()),
        torch.optim.Adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(3),
        penalties=[Lazy()],
    )
    fixed = torch.linspace(-1, 1, 12).view(4, 3)
    return trainer, [
        training.CSVLogger(folder / "metrics.csv", every=2),
        viz.SampleGrid(generator, folder / "samples", latent=fixed, every=3),
        viz.LossCurves(folder / "losses.png"),
        viz.TrainingGif(folder / "training.gif", folder / "samples"),
    ]


def _batches():
    return list(torch.linspace(-1, 1, 8 * 16 * 3).view(3, 8, 1, 4, 4))


def _go(folder, iterations, *extra):
    """Go on from the newest checkpoint, with new objects."""
    trainer, callbacks = _objects(folder)
    callbacks = [*callbacks, *extra, training.Checkpoint(folder, every=4)]
    training.fit(trainer, _batches(), iterations=iterations, resume=True, callbacks=callbacks)


def _files(folder):
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("checkpoints")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a run that was not stopped, by its last iteration."""
    files = {}
    for last in (LAST, 24):
        folder = tmp_path_factory.mktemp("undisturbed")
        _go(folder, last)
        files[last] = _files(folder)
    assert {"metrics.csv", "losses.png", "training.gif", "samples/00000001.png"} <= set(files[LAST])
    return files


@pytest.mark.parametrize("stops", [*([stop] for stop in range(LAST)), [1, 2, 5, 7, 8, 9, 16, 17], [5, 5, 17, 17]])
def test_stopped_after_any_iteration(tmp_path, undisturbed, stops):
    """Stopped and resumed with new objects, as often as one likes, a run leaves the same files."""
    for stop in [*stops, LAST]:
        _go(tmp_path, stop)
    assert _files(tmp_path) == undisturbed[LAST]


def test_a_run_that_is_over_keeps_its_files(tmp_path, undisturbed):
    """Resumed with nothing to do it changes nothing, the row and the image of its last iteration among them."""
    for _ in range(3):
        _go(tmp_path, LAST)
    assert _files(tmp_path) == undisturbed[LAST]


@pytest.mark.parametrize("kills", [*([kill] for kill in range(1, LAST)), [3, 7, 9, 10, 17, 19], [LAST - 1] * 3])
def test_killed_after_any_iteration(tmp_path, undisturbed, kills):
    """Killed between checkpoints and resumed, a run writes again what was ahead, and leaves the same files."""
    for kill in kills:
        with pytest.raises(KillError):
            _go(tmp_path, LAST, KillAt(kill))
    _go(tmp_path, LAST)
    assert _files(tmp_path) == undisturbed[LAST]


class KillAtEnd:
    """Kills when the iterations are done, before anything is written of the end."""

    def on_end(self, run):
        """Kill."""
        raise KillError


def test_killed_between_the_last_checkpoint_and_the_end(tmp_path):
    """Where the last checkpoint lies at the last iteration, what was to be written at the end is written later."""
    for name, extras in (("whole", []), ("killed", [KillAtEnd()])):
        folder = tmp_path / name
        trainer, callbacks = _objects(folder)
        callbacks = [*extras, *callbacks, training.Checkpoint(folder, every=LAST)]
        if extras:
            with pytest.raises(KillError):
                training.fit(trainer, _batches(), iterations=LAST, callbacks=callbacks)
            assert "losses.png" not in _files(folder)
            trainer, callbacks = _objects(folder)
            callbacks.append(training.Checkpoint(folder, every=LAST))
        training.fit(trainer, _batches(), iterations=LAST, resume=True, callbacks=callbacks)
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")


def test_stopped_and_killed(tmp_path, undisturbed):
    """A stop between two rows, then kills before and after the first iteration of what follows, leave no trace."""
    _go(tmp_path, 9)
    for kill in (10, 11, 18):
        with pytest.raises(KillError):
            _go(tmp_path, LAST, KillAt(kill))
    _go(tmp_path, 24)
    assert _files(tmp_path) == undisturbed[24]


@pytest.mark.parametrize("stops", [[1, 5], [8, 8, 9], [10, 17]])
def test_fit_called_twice(tmp_path, stops):
    """The same trainer and callbacks taken further by another call, without a resume, leave the same files."""
    files = []
    for name, lasts in (("whole", [LAST]), ("in parts", [*stops, LAST])):
        trainer, callbacks = _objects(tmp_path / name)
        for last in lasts:
            training.fit(trainer, _batches()[:1], iterations=last, callbacks=callbacks)
        files.append(_files(tmp_path / name))
    assert files[0] == files[1]

"""Checkpoint.save writes the state of a run to any file, and Checkpoint.load gets it back into fresh objects."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.kill_and_resume import assert_same_files
from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, CheckpointError, RunFolderError
from tests.ranks import Ranks
from tests.training.callbacks.test_checkpoint import cut, empty, flip, foreign, hostile, pickled, wrong_type
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights


class SavesAt:
    """Saves the run to a file after an iteration."""

    def __init__(self, iteration: int, path: Path) -> None:
        self.iteration, self.path = iteration, path

    def on_iteration(self, run: training.Run) -> None:
        """Save it, where it is time."""
        if run.iteration == self.iteration:
            training.Checkpoint.save(run, self.path)


class Keeps:
    """Keeps copies of the weights of some modules after an iteration, and the metrics."""

    def __init__(self, iteration: int, **modules: nn.Module) -> None:
        self.iteration, self.modules = iteration, modules
        self.weights: dict[str, dict[str, Tensor]] = {}
        self.metrics: dict[str, float] = {}

    def on_iteration(self, run: training.Run) -> None:
        """Keep them, where it is time."""
        if run.iteration == self.iteration:
            self.metrics = {name: value.item() for name, value in run.metrics.items()}
            self.weights = {
                module: {name: value.clone() for name, value in self.modules[module].state_dict().items()}
                for module in self.modules
            }


def parts(seed: int) -> tuple[training.AdversarialTrainer, list[training.EMA]]:
    """A trainer, and two averages of its generator."""
    trainer = make_trainer(*make_players(seed=seed))
    return trainer, [training.EMA(trainer.generator, decay) for decay in (0.5, 0.9)]


def run_of_a_gan(folder: Path) -> Keeps:
    """A run with a checkpoint of each kind at iteration 4, and what there was to save."""
    torch.manual_seed(0)
    trainer, averages = parts(seed=0)
    keeps = Keeps(4, generator=trainer.generator, first=averages[0], second=averages[1])
    saves = SavesAt(4, folder / "saved.pt")
    checkpoint = training.Checkpoint(folder, every=4, monitor="never")
    with pytest.warns(UserWarning, match="'never'"):
        training.fit(trainer, [points()], iterations=6, callbacks=[*averages, keeps, saves, checkpoint])
    values = load_plain(folder / "checkpoints/00000004.pt")
    save_plain(folder / "checkpoints/best.pt", values | {"monitor": "x", "mode": "min", "value": 0.0})
    return keeps


KINDS = ["checkpoints/00000004.pt", "checkpoints/best.pt", "saved.pt"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_is_loaded(kind: str, tmp_path: Path) -> None:
    """Fresh objects get the weights, averages and iteration of each kind of file; the rest comes as plain values."""
    kept = run_of_a_gan(tmp_path)
    trainer, averages = parts(seed=1)
    numbers = torch.get_rng_state()
    loaded = training.Checkpoint.load(tmp_path / kind, trainer, [averages[0], training.ProgressBar(), averages[1]])
    assert torch.equal(torch.get_rng_state(), numbers)
    assert trainer.iteration == loaded["iteration"] == 4
    assert loaded.keys() == {"iteration", "metrics", "trainer", "callbacks"}
    assert loaded["metrics"] == kept.metrics
    modules = {"generator": trainer.generator, "first": averages[0], "second": averages[1]}
    states = {
        "generator": loaded["trainer"]["modules"]["generator"],
        "first": loaded["callbacks"]["EMA"],
        "second": loaded["callbacks"]["EMA#2"],
    }
    for name, module in modules.items():
        assert module.state_dict().keys() == states[name].keys() == kept.weights[name].keys()
        for key, value in module.state_dict().items():
            assert torch.equal(value, kept.weights[name][key])
            assert torch.equal(states[name][key], kept.weights[name][key])


def test_nothing_is_changed_that_is_not_given(tmp_path: Path) -> None:
    """Without a trainer the file is only read; with a callback alone, only that is loaded."""
    run_of_a_gan(tmp_path)
    trainer, averages = parts(seed=1)
    before = weights(trainer)
    training.Checkpoint.load(tmp_path / "saved.pt")
    training.Checkpoint.load(str(tmp_path / "saved.pt"), callbacks=averages[:1])
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


def test_a_saved_file_is_a_whole_checkpoint(tmp_path: Path) -> None:
    """It holds what a numbered checkpoint of the iteration does, and a run goes on from it as from that."""
    run_of_a_gan(tmp_path)
    for name, file in (("one", "saved.pt"), ("other", "checkpoints/00000004.pt")):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        shutil.copy(tmp_path / file, tmp_path / name / "checkpoints/00000004.pt")
    assert_same_files(tmp_path / "one", tmp_path / "other")
    trainer, averages = parts(seed=1)
    callbacks = [*averages, training.Checkpoint(tmp_path / "one")]
    training.fit(trainer, [points()], iterations=6, callbacks=callbacks, resume=True)
    shutil.copy(tmp_path / "checkpoints/00000006.pt", tmp_path / "other/checkpoints/00000006.pt")
    assert_same_files(tmp_path / "other", tmp_path / "one")


@pytest.mark.parametrize("damage", [cut, empty, flip, foreign, hostile, pickled, wrong_type])
def test_a_file_that_cannot_be_used_is_named(damage: Any, tmp_path: Path) -> None:
    """A damaged or foreign file is a CheckpointError with its path, and runs no code."""
    path, trainer = tmp_path / "saved.pt", MyTrainer()
    training.fit(MyTrainer(), [points(2)], iterations=2, callbacks=[SavesAt(2, path)])
    damage(path, tmp_path / "exploded")
    with pytest.raises(CheckpointError, match=r"saved\.pt "):
        training.Checkpoint.load(path, trainer)
    assert trainer.iteration == 0
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """So is one that is not there."""
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read: there is no such file"):
        training.Checkpoint.load(tmp_path / "x.pt")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    """Networks of other shapes, and callbacks that the run did not have, are CheckpointErrors with the path."""
    run_of_a_gan(tmp_path)
    path = tmp_path / "saved.pt"
    with pytest.raises(CheckpointError, match=r"saved\.pt cannot be loaded: the state of generator"):
        training.Checkpoint.load(path, make_trainer(*make_players(hidden=5)))
    with pytest.raises(CheckpointError, match=r"saved\.pt cannot be loaded: RuntimeError.* EMA:\n.*size mismatch"):
        training.Checkpoint.load(path, callbacks=[training.EMA(make_players(hidden=5)[0])])
    trainer, averages = parts(seed=1)
    before = weights(trainer)
    with pytest.raises(CheckpointError, match=r"it holds no state of EMA#3, EarlyStopping, only of EMA, EMA#2$"):
        training.Checkpoint.load(path, trainer, [*averages, *averages[:1], training.EarlyStopping("x", 1)])
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())


@pytest.mark.parametrize(
    ("name", "arguments"), [("trainer", (nn.Linear(1, 1),)), ("callbacks", (None, training.EMA(nn.Linear(1, 1))))]
)
def test_bad_arguments(name: str, arguments: tuple[Any, ...], tmp_path: Path) -> None:
    """A trainer is not a network, and callbacks are a sequence."""
    with pytest.raises(ArgumentTypeError, match=rf"{name} \(="):
        training.Checkpoint.load(tmp_path / "x.pt", *arguments)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """It is a RunFolderError, which ends the run."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match=r"x\.pt cannot be written"):
        training.fit(MyTrainer(), [points(2)], iterations=2, callbacks=[SavesAt(1, tmp_path / "file/x.pt")])


def save_and_load(folder: Path) -> list[Any]:
    """What this rank saves with the others, and loads by itself."""
    torch.manual_seed(rank())
    trainer, fresh = MyTrainer(), MyTrainer()
    training.fit(trainer, [points(2)], iterations=3, callbacks=[SavesAt(3, folder / f"{rank()}.pt")])
    training.Checkpoint.load(folder / "0.pt", fresh)
    ranks = load_plain(folder / "0.pt")["run"]["ranks"]
    return [trainer.total.item(), fresh.total.item(), fresh.iteration, len(ranks)]


def test_ranks_save_together(two_ranks: Ranks, tmp_path: Path) -> None:
    """The first rank alone writes, the random numbers of both and its own trainer; each rank can load that."""
    mine, theirs = two_ranks(save_and_load, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.pt"]
    assert mine[0] != theirs[0]
    assert mine == [mine[0], mine[0], 3, 2]
    assert theirs[1:] == mine[1:]

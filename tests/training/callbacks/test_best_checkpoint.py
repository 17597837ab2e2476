"""The checkpoint of the best value of a metric: what is kept, and that no stop, kill or rollback changes it."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.kill_and_resume import assert_same_files
from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError
from tests.ranks import Ranks
from tests.training.callbacks.measured import Measures, StopAt
from tests.training.callbacks.test_checkpoint import cut, empty, flip, hostile, names, pickled
from tests.training.players import Going, MyTrainer, Tripping, points

NAN, INF = math.nan, math.inf
VALUES = {2: 5.0, 3: 6.0, 4: 3.0, 7: NAN, 8: 2.0, 10: 0.5, 11: 4.0, 12: 1.0, 13: 0.5}  # of a run of 14 iterations
LAST = 14


def train(folder: Path, *extra: Any, values: Any = VALUES, iterations: int = LAST, **options: Any) -> MyTrainer:
    """Train on a folder's run with fresh objects; the best value is kept, and a checkpoint every 5 iterations."""
    torch.manual_seed(0)
    random.seed(0)
    trainer = MyTrainer()
    resume = options.pop("resume", True)
    options = {"every": 5, "monitor": "distance"} | options
    callbacks = [training.Checkpoint(folder, **options), *extra, Measures(values)]
    training.fit(trainer, [points(2)], iterations=iterations, callbacks=callbacks, resume=resume)
    return trainer


def best(folder: Path) -> tuple[int, float] | None:
    """The iteration and the value of the best checkpoint."""
    path = folder / "checkpoints/best.pt"
    if not path.exists():
        return None
    values = load_plain(path)
    loaded = training.Checkpoint.load(path)
    assert loaded["iteration"] == loaded["trainer"]["iteration"] == values["iteration"]
    assert loaded["metrics"][values["monitor"]] == values["value"]
    return values["iteration"], values["value"]


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        (VALUES, "min", (10, 0.5)),
        (VALUES, "max", (3, 6.0)),
        ({1: 3.0, 2: 3.0, 3: 4.0}, "min", (1, 3.0)),
        ({1: NAN, 2: 3.0, 3: NAN}, "min", (2, 3.0)),
        ({1: NAN, 2: 3.0, 3: NAN}, "max", (2, 3.0)),
        ({1: -INF, 2: 3.0, 3: -INF}, "min", (2, 3.0)),
        ({1: INF, 2: 3.0, 3: INF}, "max", (2, 3.0)),
        ({1: -2.0, LAST: -3.0}, "min", (LAST, -3.0)),
        ({1: NAN, 2: INF, 3: -INF}, "min", None),
    ],
)
def test_the_best_finite_value_is_kept(values: Any, mode: Any, expected: Any, tmp_path: Path) -> None:
    """best.pt is of the first iteration with the smallest or largest finite value, and counts for keep as none."""
    train(tmp_path, values=values, mode=mode, keep=2)
    assert best(tmp_path) == expected
    assert names(tmp_path) == ["00000010.pt", "00000014.pt", *(["best.pt"] if expected else [])]


def test_it_is_the_whole_state_of_its_iteration(tmp_path: Path) -> None:
    """best.pt holds what the numbered checkpoint of the same iteration holds, and monitor, mode and value."""
    train(tmp_path, values={10: 1.0})
    assert load_plain(tmp_path / "checkpoints/best.pt").keys() == {
        *("format", "iteration", "run", "monitor", "mode", "value")
    }
    for name, kept in (("best", "best.pt"), ("numbered", "00000010.pt")):
        values = load_plain(tmp_path / "checkpoints" / kept)
        save_plain(tmp_path / name / "x.pt", {name: values[name] for name in ("format", "iteration", "run")})
    assert_same_files(tmp_path / "best", tmp_path / "numbered")


def test_a_metric_of_the_trainer_is_looked_at_as_often_as_it_is_saved(tmp_path: Path) -> None:
    """At every fifth iteration and at the end, not at those in between."""
    losses = [9.0, 1.0, 9.0, 9.0, 6.0, 1.0, 9.0, 9.0, 9.0, 5.0, 1.0, 1.0, 9.0, 4.0]
    for iterations, expected in ((9, (5, 6.0)), (13, (10, 5.0)), (14, (14, 4.0))):
        checkpoint = training.Checkpoint(tmp_path / str(iterations), every=5, monitor="loss")
        trainer = Going(lambda iteration: losses[iteration - 1])
        training.fit(trainer, [points(2)], iterations=iterations, callbacks=[checkpoint])
        assert best(tmp_path / str(iterations)) == expected


def assert_same_end(expected: Path, actual: Path) -> None:
    """The best and the last checkpoint are the same, value by value."""
    for folder in (expected, actual):
        for name in ("best.pt", f"{LAST:08d}.pt"):
            (folder / "end").mkdir(exist_ok=True)
            shutil.copy(folder / "checkpoints" / name, folder / "end" / name)
    assert_same_files(expected / "end", actual / "end")


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_run_that_was_stopped_keeps_the_best(mode: Any, tmp_path: Path) -> None:
    """Stopped after any iteration and resumed by fresh objects, it ends with the best checkpoint of a whole run."""
    train(tmp_path / "whole", mode=mode)
    for stop in range(1, LAST):
        folder = tmp_path / str(stop)
        train(folder, StopAt(stop), mode=mode)
        train(folder, mode=mode)
        assert_same_end(tmp_path / "whole", folder)


WRITES = 7  # best.pt at iterations 2, 4, 8 and 10, numbered ones at 5, 10 and 14


def kill_before_each_write(folder: Path) -> None:
    """In forked processes, train; and train with a SIGKILL right before a file gets its name, and resume."""
    torch.set_num_threads(1)
    assert in_a_fork(train, folder / "whole") == 0
    rename = os.replace

    def kill(*paths: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*paths)

    for write in range(1, WRITES + 1):
        left, os.replace = write, kill
        assert in_a_fork(train, folder / str(write)) == signal.SIGKILL
        os.replace = rename
        assert in_a_fork(train, folder / str(write)) == 0


def in_a_fork(action: Callable[..., Any], *arguments: Any) -> int:
    """What a forked process ends with that does something: 0 if it went well, or the signal."""
    child = os.fork()
    if child == 0:
        try:
            action(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_run_that_is_killed_keeps_the_best(tmp_path: Path) -> None:
    """Killed with SIGKILL before each of its files gets its name, it ends as one that nobody killed."""
    module = "tests.training.callbacks.test_best_checkpoint"
    code = f"import pathlib, {module} as tests; tests.kill_before_each_write(pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    for write in range(1, WRITES + 1):
        assert_same_end(tmp_path / "whole", tmp_path / str(write))


def test_what_is_newer_than_the_numbered_ones_is_resumed_from(tmp_path: Path) -> None:
    """A run that was killed after a best checkpoint goes on from it; one that is not resumed is refused."""
    train(tmp_path, StopAt(8))
    (tmp_path / "checkpoints/00000005.pt").unlink()
    (tmp_path / "checkpoints/00000008.pt").unlink()
    checkpoint = training.Checkpoint(tmp_path)
    assert (checkpoint.furthest(), checkpoint.paths()) == (8, [])
    state = checkpoint.newest()
    assert state is not None
    assert state["trainer"]["iteration"] == 8
    for monitor in ("distance", None):
        with pytest.raises(RunFolderError, match=r"further on \(best.pt\).*iteration 0.*resume=True"):
            train(tmp_path, resume=False, monitor=monitor)
    met: list[int] = []

    class Met:
        """Notes where it starts."""

        def on_start(self, run: training.Run) -> None:
            met.append(run.iteration)

    train(tmp_path, Met())
    assert (met, best(tmp_path)) == ([8], (10, 0.5))


@pytest.mark.parametrize("at", [3, 5, 6, 9, 11, 13, 14])
def test_a_run_that_went_back_keeps_the_best(at: int, tmp_path: Path) -> None:
    """A training that has diverged goes back to the newest checkpoint, the best one included, and ends the same."""
    ends = []
    for trips in (0, at):
        folder, trainer = tmp_path / str(trips), Tripping(trips)
        callbacks = [training.Checkpoint(folder, every=5, monitor="distance"), Measures(VALUES)]
        back = max(iteration for iteration in (2, 4, 5, 8, 10) if iteration < at)
        expected = pytest.warns(UserWarning, match=f"goes back to iteration {back}$") if trips else nullcontext()
        with expected:
            training.fit(trainer, [points(2)], iterations=LAST, callbacks=callbacks, rollbacks=1)
        loaded = training.Checkpoint.load(folder / "checkpoints/best.pt")
        ends.append((best(folder), loaded["metrics"], loaded["trainer"]["total"].item(), trainer.total.item()))
    assert ends[0] == ends[1]


def train_on_ranks(folder: Path, stop: int, ranks: tuple[int, ...], values: dict[int, float]) -> int:
    """Train on a folder's run, with values that are logged on some ranks; those of rank 1 are others."""
    values = values if rank() == 0 else {iteration: -value for iteration, value in values.items()}
    callbacks = [
        Measures(values, ranks=ranks),
        StopAt(stop),
        training.Checkpoint(folder, every=5, monitor="distance"),
    ]
    trainer = MyTrainer()
    training.fit(trainer, [points(2)], iterations=LAST, callbacks=callbacks, resume=True)
    return trainer.iteration


@pytest.mark.parametrize("ranks", [(0,), (0, 1)])
def test_the_first_rank_decides_for_all(ranks: tuple[int, ...], two_ranks: Ranks, tmp_path: Path) -> None:
    """Ranks with other values, or with none, save what is best on rank 0, also after a stop and a resume."""
    for stop in (4, 9, 11):
        folder = tmp_path / str(stop)
        assert two_ranks(train_on_ranks, folder, stop, ranks, VALUES) == [stop, stop]
        assert two_ranks(train_on_ranks, folder, 0, ranks, VALUES) == [LAST, LAST]
        assert best(folder) == (10, 0.5)
        assert len(load_plain(folder / "checkpoints/best.pt")["run"]["ranks"]) == 2


def no_value(path: Path, _: Path) -> None:
    """A value that was changed."""
    save_plain(path, load_plain(path) | {"value": NAN})


def no_iteration(path: Path, _: Path) -> None:
    """An iteration that was changed."""
    save_plain(path, load_plain(path) | {"iteration": "8"})


@pytest.mark.parametrize("damage", [cut, empty, flip, hostile, pickled, no_value, no_iteration])
@pytest.mark.parametrize("resume", [True, False])
def test_a_damaged_one_is_put_aside(damage: Any, resume: bool, tmp_path: Path) -> None:
    """It is named in a warning, runs no code and gets another name; the next best value is kept."""
    trainer = train(tmp_path, iterations=11)
    damage(tmp_path / "checkpoints/best.pt", tmp_path / "exploded")
    callbacks = [training.Checkpoint(tmp_path, every=5, keep=1, monitor="distance"), Measures(VALUES | {13: 2.0})]
    with pytest.warns(UserWarning, match="best.pt .*; it is put aside$") as caught:
        training.fit(trainer, [points(2)], iterations=LAST, callbacks=callbacks, resume=resume)
    assert [warning.filename for warning in caught] == [__file__]
    assert names(tmp_path) == ["00000014.pt", "best.damaged", "best.pt"]
    assert best(tmp_path) == (12, 1.0)
    assert not (tmp_path / "exploded").exists()


def test_where_it_is_the_only_one_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    """A resume does not start a new run without saying so."""
    train(tmp_path, StopAt(2))
    (tmp_path / "checkpoints/00000002.pt").unlink()
    cut(tmp_path / "checkpoints/best.pt", tmp_path)
    with pytest.raises(CheckpointError, match=r"none of the checkpoints.*best.pt"):
        train(tmp_path)
    assert names(tmp_path) == ["best.pt"]


def test_it_is_used_where_a_newer_one_is_damaged(tmp_path: Path) -> None:
    """The run goes on from best.pt, if the numbered ones after it cannot be used, and ends the same."""
    train(tmp_path / "whole")
    train(tmp_path / "run", StopAt(9))
    cut(tmp_path / "run/checkpoints/00000009.pt", tmp_path)
    with pytest.warns(UserWarning, match=r"00000009.pt .*; the run continues from best.pt, of iteration 8$"):
        train(tmp_path / "run")
    assert_same_end(tmp_path / "whole", tmp_path / "run")


@pytest.mark.filterwarnings("ignore:the run has no metric monitor")
@pytest.mark.parametrize("options", [{"monitor": "precision"}, {"mode": "max"}])
def test_another_metric_does_not_replace_it(options: dict[str, Any], tmp_path: Path) -> None:
    """A run that monitors something else is refused before it trains, and best.pt is as it was."""
    train(tmp_path, StopAt(9))
    before = (tmp_path / "checkpoints/best.pt").read_bytes()
    with pytest.raises(RunFolderError, match=r"best.pt is the best by .*'distance', 'min'.*'(precision|max)'.*rename"):
        train(tmp_path, **options)
    assert (tmp_path / "checkpoints/best.pt").read_bytes() == before
    (tmp_path / "checkpoints/best.pt").rename(tmp_path / "distance.pt")
    train(tmp_path, Measures({12: 7.0}, "precision"), **options)
    assert best(tmp_path) == ((12, 7.0) if "monitor" in options else (11, 4.0))


def test_without_a_metric_it_is_left_alone(tmp_path: Path) -> None:
    """A run that goes on without a monitor does not touch best.pt, and one that comes back to it goes on with it."""
    train(tmp_path, StopAt(9))
    before = (tmp_path / "checkpoints/best.pt").read_bytes()
    train(tmp_path, iterations=11, monitor=None)
    assert (tmp_path / "checkpoints/best.pt").read_bytes() == before
    train(tmp_path, values={12: 3.0, 13: 2.0})
    assert best(tmp_path) == (8, 2.0)


def test_a_metric_that_never_came_is_warned_of(tmp_path: Path) -> None:
    """Once others are logged, with the names that there are, similar ones first."""
    with pytest.warns(UserWarning, match=r"monitor \(='distence'\) .*best.pt; it has 'distance', 'total'$") as caught:
        train(tmp_path, monitor="distence")
    assert [warning.filename for warning in caught] == [__file__]
    assert best(tmp_path) is None


def test_values_that_are_never_finite_are_not_missed(tmp_path: Path) -> None:
    """A metric that came as NaN alone is not said to be missing, also after a resume."""
    train(tmp_path, StopAt(9), values={2: NAN})
    train(tmp_path, values={2: NAN})
    assert best(tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"monitor": 3}, ArgumentTypeError), ({"monitor": "x", "mode": "least"}, ArgumentValueError)],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], tmp_path: Path) -> None:
    """A monitor is a name, and a mode one of two."""
    with pytest.raises(error, match=list(arguments)[-1]):
        training.Checkpoint(tmp_path, **arguments)

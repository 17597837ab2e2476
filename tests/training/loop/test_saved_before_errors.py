"""What is saved where a callback fails, and callbacks that a checkpoint knows nothing of."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib import training
from ganlib.errors import TrainingDivergedError
from tests.training.players import make_trainer, points, weights


class Fails:
    """A callback that raises an error at an iteration, or at the end."""

    def __init__(
        self, at: int | None = 17, *, spoils: bool = False, error: type[Exception] = ZeroDivisionError
    ) -> None:
        self.at, self.spoils, self.error = at, spoils, error

    def on_iteration(self, run: Any) -> None:
        """Fail, if it is time."""
        if run.iteration == self.at:
            with torch.no_grad():
                next(run.trainer.generator.parameters()).mul_(math.nan if self.spoils else 1)
            raise self.error("no plot")

    def on_end(self, run: Any) -> None:
        """Fail."""
        if self.at is None:
            raise self.error("no plot")


class FailsUntimed(Fails):
    """One that runs after averages."""

    untimed = True


class FailsLate(Fails):
    """One that reads metrics."""

    reads_metrics = True


def train(folder: Path, *callbacks: Any, iterations: int = 20) -> list[Any]:
    """Train, with an average and checkpoints, and resume."""
    torch.manual_seed(0)
    trainer = make_trainer()
    ema = training.EMA(trainer.generator, 0.9)
    checkpoint = training.Checkpoint(folder, every=15, monitor="fd")
    training.fit(trainer, [points()], iterations=iterations, callbacks=[*callbacks, ema, checkpoint], resume=True)
    return [*weights(trainer).values(), *ema.state_dict().values()]


def names(folder: Path) -> list[str]:
    """The files that are there."""
    return sorted(path.name for path in (folder / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("failing", [Fails(None), FailsUntimed(), FailsLate()])
@pytest.mark.filterwarnings("ignore:the run has no metric")
def test_the_state_is_saved_before_the_error_of_a_callback(failing: Fails, tmp_path: Path) -> None:
    """The user sees that error, and a resume ends with the bits of a run without it."""
    with pytest.raises(ZeroDivisionError, match="no plot"):
        train(tmp_path / "run", failing)
    assert names(tmp_path / "run") == ["00000015.pt", f"{failing.at or 20:08d}.pt"]
    assert all(map(torch.equal, train(tmp_path / "run", iterations=25), train(tmp_path / "other", iterations=25)))


@pytest.mark.parametrize(
    "failing",
    [Fails(), FailsLate(spoils=True), FailsUntimed(error=TrainingDivergedError)],
    ids=["early", "NaN", "said"],
)
def test_a_state_that_is_not_whole_is_not_saved(failing: Fails, tmp_path: Path) -> None:
    """An average that has not seen the iteration, or a training that has diverged, is in no checkpoint."""
    with pytest.raises(failing.error, match="no plot"):
        train(tmp_path, failing)
    assert names(tmp_path) == ["00000015.pt"]


def test_a_full_disk_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the callback counts, also where the state cannot be saved."""

    class FailsAndFills(FailsLate):
        """Makes the folder useless first."""

        def on_iteration(self, run: Any) -> None:
            if run.iteration == self.at:
                (tmp_path / "checkpoints").rename(tmp_path / "gone")
                (tmp_path / "checkpoints").write_bytes(b"")
            super().on_iteration(run)

    with pytest.raises(ZeroDivisionError, match="no plot"):
        train(tmp_path, FailsAndFills())


def resume(folder: Path, before: list[float], after: list[float], *extra: Any) -> None:
    """Train with averages of some decays, and resume with others."""
    for iterations, decays in ((5, before), (8, after)):
        trainer = make_trainer()
        averages = [training.EMA(trainer.generator, decay) for decay in decays]
        callbacks = [*averages, *(extra if iterations == 8 else ()), training.Checkpoint(folder)]
        training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True)


def test_a_second_callback_of_a_class_is_warned_of_at_a_resume(tmp_path: Path) -> None:
    """Once: it takes part in the order of the states, and has none itself."""
    with pytest.warns(UserWarning, match="the state of EMA, but of no EMA#2.*matched in their order") as caught:
        resume(tmp_path, [0.99], [0.99, 0.5])
    assert [warning.filename for warning in caught] == [__file__]


def test_an_average_that_is_new_at_a_resume_is_warned_of(tmp_path: Path) -> None:
    """Once: it holds the weights from before the checkpoint was loaded."""
    with pytest.warns(UserWarning, match="no state of the EMA, which starts with the weights") as caught:
        resume(tmp_path, [], [0.5])
    assert len(caught) == 1


def test_other_callbacks_may_be_new_at_a_resume(tmp_path: Path, recwarn: Any) -> None:
    """A logger, a grid, a schedule or one more evaluation has nothing to lose."""

    class Mean:
        """A metric."""

        def reset(self) -> None:
            self.values: list[float] = []

        def update(self, samples: torch.Tensor) -> None:
            self.values.append(float(samples.mean()))

        def compute(self) -> float:
            return sum(self.values)

    evaluate = partial(training.Evaluate, sampler=lambda n: [torch.randn(n, 2)], n=9, every=3)
    extra = [evaluate({"one": Mean()}), evaluate({"two": Mean()}), training.EarlyStopping("real_score", 99)]
    resume(tmp_path, [0.9], [0.9], *extra, training.CSVLogger(tmp_path / "metrics.csv"), training.ProgressBar())
    assert not recwarn

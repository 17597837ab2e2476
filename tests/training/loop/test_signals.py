"""A run that is told to end finishes its iteration, and leaves a checkpoint."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import kill_and_resume
from ganlib import training
from ganlib.training._loop import _run
from tests.training.players import MyTrainer, points

STATUS = {signal.SIGTERM: 143, signal.SIGUSR1: 138}


class Told(MyTrainer):
    """Is sent signals within an iteration."""

    def __init__(self, at: int, *numbers: int) -> None:
        super().__init__()
        self.at, self.numbers = at, numbers

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Be told in the middle of the iteration."""
        if self.iteration + 1 == self.at:
            for number in self.numbers:
                os.kill(os.getpid(), number)
        return super().train_step(batches)


def train(trainer: MyTrainer, folder: Path, **options: Any) -> None:
    """Ten iterations with a table and checkpoints."""
    callbacks = [training.CSVLogger(folder / "metrics.csv", every=4), training.Checkpoint(folder, every=4)]
    training.fit(trainer, [points(2)], iterations=10, callbacks=callbacks, **options)


def names(folder: Path) -> list[str]:
    """The checkpoints that are there."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_ends_the_run_after_its_iteration(number: int, tmp_path: Path) -> None:
    """The iteration is finished and saved, and the process exits with 128 and the signal's number."""
    before = [signal.getsignal(each) for each in (*STATUS, signal.SIGINT)]
    trainer = Told(6, number)
    with pytest.raises(SystemExit) as caught:
        train(trainer, tmp_path)
    assert caught.value.code == STATUS[number]
    assert trainer.iteration == 6
    assert names(tmp_path) == ["00000004.pt", "00000006.pt"]
    assert [signal.getsignal(each) for each in (*STATUS, signal.SIGINT)] == before


@pytest.mark.parametrize("number", [0, signal.SIGTERM])
def test_callbacks_know_whether_a_signal_ended_the_run(number: int, tmp_path: Path) -> None:
    """At the end ``run.interrupted`` says so, also where the iteration was the last one."""
    seen = []

    class End:
        """Notes it."""

        def on_end(self, run: training.Run) -> None:
            seen.append(run.interrupted)

    for last in (3, 9):
        trainer = Told(3, *([number] if number else []))
        with contextlib.suppress(SystemExit):
            training.fit(trainer, [points(2)], iterations=last, callbacks=[End()])
    assert seen == [bool(number)] * 2


def test_an_interrupt_is_a_keyboard_interrupt_after_the_iteration(tmp_path: Path) -> None:
    """SIGINT takes its usual way, once the iteration is finished and saved."""
    with pytest.raises(KeyboardInterrupt):
        train(Told(6, signal.SIGINT), tmp_path)
    assert names(tmp_path) == ["00000004.pt", "00000006.pt"]


@pytest.mark.parametrize("torchrun", [False, True])
def test_a_second_interrupt_does_not_wait(torchrun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two SIGINTs the second is obeyed at once, in the middle of the iteration; torchrun's repetition is not."""
    if torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    trainer = Told(6, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(trainer, tmp_path)
    assert trainer.iteration == (6 if torchrun else 5)
    assert names(tmp_path) == (["00000004.pt", "00000006.pt"] if torchrun else ["00000004.pt"])


def test_a_handler_of_the_users_own_is_called_at_the_end(tmp_path: Path) -> None:
    """A handler that was there before fit is called once the run is saved, and then fit returns."""
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append((number, names(tmp_path))))
    try:
        train(Told(6, signal.SIGTERM), tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [(signal.SIGTERM, ["00000004.pt", "00000006.pt"])]


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """Under nohup, say, nothing ends the run."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(Told(6, signal.SIGINT), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(tmp_path) == ["00000004.pt", "00000008.pt", "00000010.pt"]


def test_a_run_in_another_thread_takes_no_signals(tmp_path: Path) -> None:
    """Only a main thread may; in another, fit works without."""
    thread = threading.Thread(target=train, args=(MyTrainer(), tmp_path))
    thread.start()
    thread.join()
    assert names(tmp_path) == ["00000004.pt", "00000008.pt", "00000010.pt"]


def test_an_iteration_that_a_signal_breaks_still_ends_by_the_signal(tmp_path: Path) -> None:
    """Where the signal also ended something that the iteration needs (a worker), fit warns, and exits by the signal."""

    class Broken(Told):
        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            if self.iteration + 1 == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
                raise RuntimeError("DataLoader worker is killed")
            return super().train_step(batches)

    with (
        pytest.warns(UserWarning, match=r"SIGTERM.*could not be finished.*worker is killed"),
        pytest.raises(SystemExit, match="143"),
    ):
        train(Broken(6), tmp_path)
    assert names(tmp_path) == ["00000004.pt"]


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Ended by a signal at any iteration and resumed, a run has the sum and the table of an undisturbed one."""
    torch.manual_seed(0)
    whole = MyTrainer()
    train(whole, tmp_path / "whole")
    for at in range(1, 11):
        folder = tmp_path / str(at)
        torch.manual_seed(0)
        with pytest.raises(SystemExit):
            train(Told(at, signal.SIGTERM), folder)
        resumed = MyTrainer()
        train(resumed, folder, resume=True)
        assert torch.equal(resumed.total, whole.total)
        assert (folder / "metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_a_signal_is_not_missed_while_the_ranks_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes just after the run has looked for signals is seen the next time."""
    calls = []

    def agree(*values: float) -> list[float]:
        calls.append(values)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return list(values)

    monkeypatch.setattr(_run, "agree", agree)
    trainer = MyTrainer()
    with pytest.raises(SystemExit):
        train(trainer, tmp_path)
    assert trainer.iteration == 4


class Orphaned:
    """Batches whose workers a signal ends."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __iter__(self) -> Iterator[Tensor]:
        """So many batches, and then no more."""
        for _ in range(self.at):
            yield points(2)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker is killed")


def test_a_signal_that_ends_a_loaders_workers_too_leaves_a_checkpoint(tmp_path: Path) -> None:
    """Where no further batch comes, the last iteration is complete and saved, and the run ends by the signal."""
    trainer = MyTrainer()
    with pytest.raises(SystemExit, match="143"):
        training.fit(trainer, Orphaned(3), iterations=9, callbacks=[training.Checkpoint(tmp_path)])
    assert trainer.iteration == 3
    assert names(tmp_path) == ["00000003.pt"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_real_process_leaves_a_checkpoint_and_a_status(number: int, status: int, tmp_path: Path) -> None:
    """A training in a process of its own, told to end, exits as a scheduler expects, and leaves a good checkpoint."""
    words = [sys.executable, *kill_and_resume.command(tmp_path, 100_000, every=100_000)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert "trains from 0" in process.stdout.readline()
        process.send_signal(number)
        try:
            assert process.wait(60) == status
        finally:
            process.kill()
    assert len(names(tmp_path)) == 1
    assert training.Checkpoint(tmp_path).newest() is not None

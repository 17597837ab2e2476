"""One run at a time in a folder."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganlib import training
from ganlib.errors import RunFolderError
from ganlib.training._lock import FolderLock
from tests.training.players import MyTrainer, points

HOLDS = """
import multiprocessing, sys, time
from pathlib import Path
from ganlib.training._lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()  # as a loader's worker
print("holds", flush=True)
time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a folder, and has forked another."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def test_another_process_is_refused_by_its_number_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    """While a process holds the folder a second one is told which; SIGKILL frees it, though a forked worker lives."""
    process = holder(tmp_path)
    try:
        with pytest.raises(RunFolderError, match=rf"{tmp_path} is in use by process {process.pid} on "):
            FolderLock(tmp_path).acquire()
        process.kill()
        process.wait()
        lock = FolderLock(tmp_path)
        lock.acquire()
        lock.release()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_second_lock_of_the_same_process_is_refused(tmp_path: Path) -> None:
    """Two runs of one process into one folder would mix as well; a lock can be taken again once it is released."""
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    first, second = FolderLock(folder), FolderLock(link)
    first.acquire()
    first.acquire()
    with pytest.raises(RunFolderError, match=f"another run of this process.*{os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert list(folder.iterdir()) == []


def take_turns(folder: Path, turns: int) -> None:
    """Hold the folder again and again, each time alone."""
    for _ in range(turns):
        lock = FolderLock(folder)
        while True:
            try:
                lock.acquire()
                break
            except RunFolderError:
                time.sleep(0.0001)
        inside = folder / "inside"
        inside.touch(exist_ok=False)
        inside.unlink()
        lock.release()


def test_processes_that_come_and_go_are_never_in_together(tmp_path: Path) -> None:
    """Four processes that take and remove the lock all the time: at no time are two in."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=take_turns, args=(tmp_path, 100)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


class Second:
    """Starts a second run, into the folder of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trainer = MyTrainer()

    def on_iteration(self, run: training.Run) -> None:
        """Try it."""
        training.fit(self.trainer, [points()], iterations=9, callbacks=[training.Checkpoint(self.folder)], resume=True)


def test_a_second_run_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    """fit refuses a folder that a run is using; the files are the first one's, and the second has trained nothing."""
    second, table = Second(tmp_path), training.CSVLogger(tmp_path / "metrics.csv", every=1)
    with pytest.raises(RunFolderError, match="in use by"):
        training.fit(MyTrainer(), [points()], iterations=3, callbacks=[table, second, training.Checkpoint(tmp_path)])
    assert second.trainer.iteration == 0
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["metrics.csv"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_that_has_ended_holds_nothing(fails: bool, tmp_path: Path) -> None:
    """After fit, and after an error in it, the same folder can be used again, and no lock lies in it."""

    class Fails:
        def on_iteration(self, run: training.Run) -> None:
            if fails:
                raise ZeroDivisionError

    for iterations in (1, 2):
        try:
            callbacks = [Fails(), training.Checkpoint(tmp_path)]
            training.fit(MyTrainer(), [points()], iterations=iterations, callbacks=callbacks, resume=True)
        except ZeroDivisionError:
            assert fails
    assert not (tmp_path / "checkpoints/.lock").exists()

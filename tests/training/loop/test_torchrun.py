"""Real trainings under torchrun: a rank that dies, a job that is ended, another number of ranks."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from benchmarks import kill_and_resume
from ganlib import training

ITERATIONS = 400


class Job:
    """A training under torchrun, whose ranks say which processes they are."""

    def __init__(
        self, folder: Path, *, ranks: int = 2, restarts: int = 0, iterations: int = ITERATIONS, every: int = 20
    ) -> None:
        words = ["--standalone", "--nproc-per-node", str(ranks), "--max-restarts", str(restarts)]
        words += ["--monitor-interval", "0.1"]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *words,
                *kill_and_resume.command(folder, iterations, every),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.ranks = ranks
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()  # first, since a torchrun that is killed leaves its ranks
        try:
            self.process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def wait_until_it_trains(self) -> dict[int, int]:
        """Each rank's process."""
        assert self.process.stdout is not None
        begun = {}
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"rank (\d+) process (\d+) trains from", line):
                begun[int(found[1])] = int(found[2])
            if len(begun) == self.ranks:
                return begun
        raise AssertionError(f"it never trained:\n{self.said}")

    def wait(self, seconds: float) -> int:
        """The status that it ends with."""
        said, _ = self.process.communicate(timeout=seconds)
        self.said += said
        return self.process.returncode


def wait_for_checkpoint(folder: Path, *, beyond: int) -> None:
    """Wait until a checkpoint lies in the folder."""
    checkpoint = training.Checkpoint(folder)
    for _ in range(600):
        if checkpoint.furthest() >= beyond:
            return
        time.sleep(0.1)
    raise AssertionError("no checkpoint was written")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on two ranks that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Job(folder) as job:
        assert job.wait(120) == 0, job.said
    return folder


@pytest.fixture
def start() -> Iterator[Callable[..., Job]]:
    """Starts jobs, which are ended with the test."""
    with contextlib.ExitStack() as jobs:
        yield lambda *arguments, **options: jobs.enter_context(Job(*arguments, **options))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_leaves_no_trace_under_max_restarts(
    rank: int, undisturbed: Path, start: Callable[..., Job], tmp_path: Path
) -> None:
    """SIGKILL of a rank, under ``--max-restarts 1``: the run ends with the same files as an undisturbed one."""
    job = start(tmp_path, restarts=1)
    ranks = job.wait_until_it_trains()
    wait_for_checkpoint(tmp_path, beyond=20)
    os.kill(ranks[rank], signal.SIGKILL)
    assert job.wait(120) == 0, job.said
    assert re.search(r"trains from [1-9]", job.said)
    kill_and_resume.assert_same_files(undisturbed, tmp_path)


def test_a_rank_that_dies_stops_the_others_with_an_error(start: Callable[..., Job], tmp_path: Path) -> None:
    """Without restarts, SIGKILL of a rank ends the whole job with an error within a minute."""
    job = start(tmp_path, iterations=1_000_000)
    ranks = job.wait_until_it_trains()
    wait_for_checkpoint(tmp_path, beyond=20)
    os.kill(ranks[1], signal.SIGKILL)
    assert job.wait(60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(ranks[0], 0)


def test_a_job_that_is_ended_goes_on_exactly(undisturbed: Path, start: Callable[..., Job], tmp_path: Path) -> None:
    """SIGTERM to torchrun, as a scheduler sends it, leaves a checkpoint; the same command then ends as undisturbed."""
    job = start(tmp_path)
    job.wait_until_it_trains()
    wait_for_checkpoint(tmp_path, beyond=20)
    job.process.terminate()
    assert job.wait(60) != 0
    stopped = training.Checkpoint(tmp_path).furthest()
    again = start(tmp_path)
    assert again.wait(120) == 0, again.said
    assert f"trains from {stopped}" in again.said
    kill_and_resume.assert_same_files(undisturbed, tmp_path)


def test_what_two_ranks_have_saved_goes_on_in_one(start: Callable[..., Job], tmp_path: Path) -> None:
    """The checkpoint that SIGTERM makes two ranks write is resumed by one process, which finishes the run."""
    job = start(tmp_path, iterations=1_000_000, every=1_000_000)
    job.wait_until_it_trains()
    time.sleep(0.5)
    job.process.terminate()
    assert job.wait(60) != 0
    stopped = training.Checkpoint(tmp_path).furthest()
    assert stopped > 0, job.said
    alone = start(tmp_path, ranks=1, iterations=stopped + 5, every=1_000_000)
    assert alone.wait(60) == 0, alone.said
    assert f"trains from {stopped}" in alone.said
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"{stopped:08d}.pt", f"{stopped + 5:08d}.pt"]

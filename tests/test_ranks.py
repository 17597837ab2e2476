"""What the ranks of a run agree on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib._ranks import agree, first_does, gather
from ganlib.distributed import rank
from ganlib.errors import CheckpointError, RunFolderError
from tests.ranks import Ranks


def agreements() -> list[Any]:
    """Agree on numbers that differ."""
    return [agree(float(rank()), -float(rank())), gather({"rank": rank()}), first_does(lambda: f"from {rank()}")]


def failure() -> tuple[str, str, bool]:
    """Let the first rank fail."""
    done = []

    def fail() -> None:
        done.append(rank())
        raise RunFolderError("disk full on the first")

    try:
        first_does(fail)
    except RunFolderError as error:
        return type(error).__name__, str(error), bool(done)
    raise AssertionError("no error")


def test_a_process_alone_agrees_with_itself() -> None:
    """In one process each gives what it was given, and errors pass."""
    assert agreements() == [[0.0, 0.0], [{"rank": 0}], "from 0"]

    def fail() -> None:
        raise CheckpointError("x")

    with pytest.raises(CheckpointError, match="x"):
        first_does(fail)


def test_all_ranks_come_to_the_same(three_ranks: Ranks) -> None:
    """The largest numbers, the values of all, and what the first one did are the same on every rank."""
    assert three_ranks(agreements) == [[[2.0, 0.0], [{"rank": 0}, {"rank": 1}, {"rank": 2}], "from 0"]] * 3


def test_an_error_of_the_first_is_everyones(two_ranks: Ranks) -> None:
    """What fails on the first rank raises the same error on all, so none waits for the others; only one has tried."""
    assert two_ranks(failure) == [
        ("RunFolderError", "disk full on the first", True),
        ("RunFolderError", "disk full on the first", False),
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a system that lists a process's threads")
@pytest.mark.skipif(torch.__version__ < "2.8", reason="torch might wait for ever for those threads")
@pytest.mark.parametrize("last_line", ["", "distributed.destroy_process_group()"])
def test_no_thread_of_an_agreement_outlives_the_script(last_line: str, tmp_path: Path) -> None:
    """gloo's threads may hold a tensor for a moment longer than the script; Python aborts if it shuts down then."""
    script = f"""
import atexit, os, sys
from torch import distributed

count = lambda: len(os.listdir("/proc/self/task"))
counts = []
atexit.register(lambda: print(*counts, count()))  # the first to be registered is the last to be called

from ganlib._ranks import agree

distributed.init_process_group("gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
counts.append(count())
agree(1.0)
counts.append(count())
{last_line}
"""
    words = [sys.executable, "-c", script, f"file://{tmp_path}/store"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([*words, str(rank)], env=alone, stdout=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        said = [process.communicate(timeout=60)[0] for process in ranks]
    finally:
        for process in ranks:  # one that waits for another would wait for half an hour
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0]
    for counts in said:
        before, agreed, left = map(int, counts.split())
        assert left <= before < agreed

"""What the ranks of a run agree on."""

import os
import random
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from ganlib import _ranks
from ganlib._ranks import agree, first_does, gather, meet
from ganlib.distributed import rank, world_size
from ganlib.errors import CheckpointError, GanlibRuntimeError, RunFolderError
from ganlib.metrics import FrechetDistance
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


def distance(**options: Any) -> FrechetDistance:
    """A metric with two real and two generated samples a rank; 9 over any ranks with as many as they have."""
    metric = FrechetDistance(lambda samples: samples, **options)
    metric.update(torch.tensor([[0.0], [1.0]]), real=True)
    metric.update(torch.tensor([[3.0], [4.0]]), real=False)
    return metric


def alone(lonely: int, times: int, timeout: float) -> tuple[list[str], list[float], float]:
    """Compute on one rank, while the others go on to what all do together: the errors, the later values, the time."""
    messages, values, waited = [], [], 0.0
    metric = distance(timeout=timeout)
    for _ in range(times):
        if rank() == lonely:
            start = time.monotonic()
            try:
                metric.compute()
            except GanlibRuntimeError as error:
                messages.append(str(error))
            waited = max(waited, time.monotonic() - start)
        total = torch.ones(1)
        distributed.all_reduce(total)
        assert total == world_size()
        assert agree(float(rank())) == [world_size() - 1]
        metric.timeout = 60
        values.append(metric.compute().item())
        metric.timeout = timeout
    return messages, values, waited


@pytest.mark.parametrize("lonely", [0, 1])
def test_a_rank_alone_gives_up(lonely: int, two_ranks: Ranks) -> None:
    """After its timeout it names the missing rank; then what all do together works, and both get the right value."""
    results = two_ranks(alone, lonely, 1, 2.0)
    ((message,), _, waited) = results[lonely]
    assert f"FrechetDistance waited 2 s for ranks [{1 - lonely}]: all ranks [0, 1] must" in message
    assert 2 <= waited < 4
    assert results[1 - lonely][0] == []
    for _, values, _ in results:
        assert values == pytest.approx([9])


def test_a_rank_alone_gives_up_each_time(two_ranks: Ranks) -> None:
    """Twenty times in a row it is an error, and right again afterwards."""
    (messages, values, _), (_, others, _) = two_ranks(alone, 0, 20, 0.1)
    assert len(messages) == 20
    assert values == others == pytest.approx([9] * 20)


def test_one_of_three_is_missing(three_ranks: Ranks) -> None:
    """The two that are there both name the third."""
    assert three_ranks(absent, 1) == ["ranks [1]", "", "ranks [1]"]
    assert three_ranks(absent, 0) == ["", "ranks [0]", "ranks [0]"]


def absent(which: int) -> str:
    """All ranks but one meet; then all do, in a metric."""
    named = ""
    if rank() != which:
        try:
            meet("something", timeout=1)
        except GanlibRuntimeError as error:
            named = str(error).split(" for ")[1].split(":")[0]
    assert distance().compute().item() == pytest.approx(9)
    return named


def late() -> list[str]:
    """One comes when the other has given up, and gives up too; then both come."""
    said = []
    for turn in range(4):
        if rank() == turn % 2:
            try:
                meet("something", timeout=0.2)
            except GanlibRuntimeError as error:
                said.append(str(error))
        agree(0.0)
    meet("something", timeout=60)
    return said


def test_one_that_comes_too_late_gives_up_too(two_ranks: Ranks) -> None:
    """It does not join those that have given up, and waits no longer than its own timeout; later they find together."""
    first, second = two_ranks(late)
    assert [message.split(":")[0] for message in first] == ["something waited 0.2 s for ranks [1]"] * 2
    assert [message.split(":")[0] for message in second] == ["something waited 0.2 s for ranks [0]"] * 2


def chance() -> int:
    """Meet with a timeout that is as long as the ranks are apart, and again until it has been 30 times."""
    unsure, met = random.Random(rank()), 0
    while met < 30:
        time.sleep(unsure.random() / 20)
        try:
            meet("chance", timeout=0.02)
        except GanlibRuntimeError:
            continue
        met += 1
        assert gather(met) == [met] * world_size()  # would wait for ever for a rank that has not met
    return met


def test_all_meet_or_none(two_ranks: Ranks, three_ranks: Ranks) -> None:
    """However the timeouts and the arrivals fall, those that meet have all met."""
    assert two_ranks(chance) == [30] * 2
    assert three_ranks(chance) == [30] * 3


class LastMoment:
    """A store in which the other rank comes, and goes on, between this one's last look and its giving up."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        def operation(key: Any, *rest: Any) -> Any:
            if name in ("set", "compare_set") and key.endswith("outcome"):
                self._store.set("gives up", "")
                self._store.wait(["has met"], timedelta(seconds=60))
            return getattr(self._store, name)(key, *rest)

        return operation


def last_moment() -> list[float]:
    """Rank 1 comes when rank 0 gives up."""
    store = _ranks._store()
    with pytest.MonkeyPatch.context() as monkeypatch:
        if rank() == 0:
            slow = LastMoment(store)
            monkeypatch.setattr(_ranks, "_store", lambda: slow)
            meet("last moment", timeout=0.1)
        else:
            store.wait(["gives up"], timedelta(seconds=60))
            meet("last moment", timeout=60)
            store.set("has met", "")
    return agree(float(rank()))


def test_one_that_comes_at_the_last_moment(two_ranks: Ranks) -> None:
    """Where a rank has met, the other has met too, although its time was up."""
    assert two_ranks(last_moment) == [[1.0]] * 2


def of_some(path: Path) -> tuple[str, list[float], bool]:
    """Ranks 1 and 2 of three have a process group: 2 alone, both together, and what they save."""
    group = distributed.new_group([1, 2])
    if rank() == 0:
        return "", [], path.exists()
    metric, message = distance(process_group=group, timeout=0.5), ""
    if rank() == 2:
        try:
            metric.compute()
        except GanlibRuntimeError as error:
            message = str(error)
    distributed.barrier(group)
    metric.timeout = 60
    values = [metric.compute().item()]
    metric.save_statistics(path)
    other = FrechetDistance(lambda samples: samples, process_group=group)
    other.load_statistics(path)
    other.update(torch.tensor([[4.0], [5.0]]), real=False)
    values.append(other.compute().item())
    return message, values, True


def test_a_process_group_of_some_ranks(three_ranks: Ranks, tmp_path: Path) -> None:
    """Its ranks wait for each other and for no others, and its first one writes what it saves."""
    _, *both = three_ranks(of_some, tmp_path / "real.npz")
    assert [message.split(":")[0] for message, *_ in both] == ["", "FrechetDistance waited 0.5 s for ranks [1]"]
    for _, values, _ in both:
        assert values == pytest.approx([9, 16])


TCP = """
import sys
import torch
from torch import distributed
from tests.test_ranks import alone

torch.set_num_threads(1)
for port in sys.argv[2:]:
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=int(sys.argv[1]), world_size=2)
    for lonely in (0, 1):
        messages, values, _ = alone(lonely, 20, 0.1)
        assert len(messages) == (20 if int(sys.argv[1]) == lonely else 0), messages
        assert all(abs(value - 9) < 1e-9 for value in values), values
    distributed.destroy_process_group()
"""


def test_over_the_network() -> None:
    """Ranks whose store is a server, as of torchrun, are as those whose store is a file; and in a second group too."""
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        ports = [str(free.getsockname()[1]) for free in (first, second)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TCP, str(rank), *ports],
            env=environment,
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said

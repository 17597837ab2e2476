"""What the ranks of a run agree on."""

from typing import Any

import pytest

from ganlib.distributed import rank
from ganlib.errors import CheckpointError, RunFolderError
from ganlib.training._ranks import agree, first_does, gather
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

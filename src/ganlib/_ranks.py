"""Communication between the ranks of a run; all ranks call each function together."""

import atexit
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch
from torch import distributed

from ganlib.distributed import rank, world_size
from ganlib.errors import GanlibError, GanlibRuntimeError

__all__ = ["agree", "first_does", "gather", "host_group", "meet"]

T = TypeVar("T")

_host_groups: dict[Any, Any] = {}
_rounds: dict[Any, dict[str, int]] = {}  # the last round of each meeting by name, for the current process group
_ALL = "all are here"


def agree(*values: float) -> list[float]:
    """Return the maximum of each value over all ranks.

    Example:
        >>> agree(0.5, True)
        [0.5, 1.0]
    """
    if world_size() == 1:
        return [float(value) for value in values]
    together = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(together, distributed.ReduceOp.MAX, group=host_group())
    return together.tolist()


def gather(value: T) -> list[T]:
    """Return the values of all ranks in order; each value must be picklable.

    Example:
        >>> gather("me")
        ['me']
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value, group=host_group())
    return values


def first_does(action: Callable[[], T], group: Any = None) -> T:
    """Run a function on the first rank only, and return its result, or raise its error, on all ranks.

    Args:
        action: the function; its result must be picklable.
        group: the process group; None means all ranks.

    Returns:
        The result, on all ranks.

    Raises:
        Exception: the error of the function. If it is not a GanlibError, other ranks raise a GanlibRuntimeError.

    Example:
        >>> first_does(lambda: 3)
        3
    """
    if world_size() == 1:
        return action()
    first = 0 if group is None else distributed.get_global_rank(group, 0)
    outcome: list[Any] = [None, None]
    if rank() == first:
        try:
            outcome[0] = action()
        except Exception as error:  # the other ranks must not wait for a result
            outcome[1] = error
    failure = outcome[1]
    if failure is not None and not isinstance(failure, GanlibError):
        outcome[1] = GanlibRuntimeError(f"the first process failed: {failure!r}")  # always picklable
    distributed.broadcast_object_list(outcome, src=first, group=host_group() if group is None else group)
    if failure := failure or outcome[1]:
        raise failure
    return outcome[0]


def meet(name: str, *, timeout: float, group: Any = None) -> None:
    """Wait until all ranks call this, so that the next collective operation cannot hang.

    It uses only the store of the process group, so all process groups still work after a failure.

    Args:
        name: the name of the meeting.
        timeout: in seconds, above 0.
        group: the process group; None means all ranks.

    Raises:
        GanlibRuntimeError: some ranks did not call in time; the message names them. All other ranks raise it.
    """
    whole = distributed.group.WORLD
    ranks = distributed.get_process_group_ranks(group or whole)
    if whole not in _rounds:
        _rounds.clear()  # rounds of a process group that no longer exists
        _rounds[whole] = {}
    store = _store()
    who = f"ganlib/{name} of {ranks}"
    first = _rounds[whole].get(who, 0) + 1
    # Skip rounds that already have an outcome: the other ranks ended them before this rank arrived.
    this = next(number for number in count(first) if not store.check([f"{who}/{number}/outcome"]))
    _rounds[whole][who] = this
    key = f"{who}/{this}"
    store.set(f"{key}/{rank()}", "here")
    if store.add(f"{key}/here", 1) == len(ranks):
        # The first outcome counts for all ranks, so that no rank continues alone.
        store.compare_set(f"{key}/outcome", "", _ALL)
    deadline = time.monotonic() + timeout
    # store.wait() would block the store for other threads.
    while not store.check([f"{key}/outcome"]):
        if time.monotonic() > deadline:
            missing = ", ".join(str(other) for other in ranks if not store.check([f"{key}/{other}"]))
            store.compare_set(f"{key}/outcome", "", missing or _ALL)
        else:
            time.sleep(0.005)
    missing = store.get(f"{key}/outcome").decode()
    if missing != _ALL:
        raise GanlibRuntimeError(
            f"{name} waited {timeout:g} s for ranks [{missing}]: all ranks {ranks} must call it together, so do not "
            "call it in a callback or a branch that only one rank runs"
        )


def _store() -> Any:
    from torch.distributed.distributed_c10d import _get_default_store  # not every build of torch has it

    return _get_default_store()


def host_group() -> Any:
    """Return a process group of all ranks over gloo, which communicates on the CPU without waiting for a device."""
    whole = distributed.group.WORLD
    if whole not in _host_groups:
        _host_groups.clear()  # groups of a process group that no longer exists
        # A rank that dies breaks the connection at once. The long timeout is for ranks that write files or draw.
        _host_groups[whole] = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
    return _host_groups[whole]


@atexit.register
def _part() -> None:
    """End the threads of the host group at exit; torch does not, and a thread with a tensor would abort Python."""
    if not _host_groups:
        return
    if torch.__version__ < "2.8":
        # Destroying the group could deadlock with its threads in these versions, so give the threads time to finish.
        time.sleep(0.1)
        return
    if distributed.group.WORLD in _host_groups:  # otherwise torch has destroyed the group already
        distributed.destroy_process_group(_host_groups[distributed.group.WORLD])
    _host_groups.clear()

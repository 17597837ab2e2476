"""What the ranks of a run agree on; all of them call each of these together."""

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
_rounds: dict[Any, dict[str, int]] = {}  # the last round of each meeting, by its name; one dict, that of the group
_ALL = "all are here"


def agree(*values: float) -> list[float]:
    """The largest of each value over the ranks.

    Args:
        values: this rank's.

    Returns:
        The same on all ranks.

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
    """The values of all ranks.

    Args:
        value: this rank's; can be pickled.

    Returns:
        One a rank, in their order.

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
    """Do something on the first rank alone, and let all ranks have what came of it: the result, or the error.

    Args:
        action: what it gives can be pickled.
        group: the process group whose ranks these are; None is all ranks.

    Returns:
        The result, on all ranks.

    Raises:
        Exception: what it raised, on the first rank; elsewhere the same where it is of ours, else a GanlibRuntimeError.

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
        except Exception as error:  # whatever it was, the other ranks must not wait for a result
            outcome[1] = error
    failure = outcome[1]
    if failure is not None and not isinstance(failure, GanlibError):
        outcome[1] = GanlibRuntimeError(f"the first process failed: {failure!r}")  # which can always be pickled
    distributed.broadcast_object_list(outcome, src=first, group=host_group() if group is None else group)
    if failure := failure or outcome[1]:
        raise failure
    return outcome[0]


def meet(name: str, *, timeout: float, group: Any = None) -> None:
    """Wait until all ranks are here, so that what they do together next cannot hang.

    Nothing but the store of the process group is used: after a failure all process groups work as before.

    Args:
        name: what the ranks meet for.
        timeout: seconds, above 0.
        group: the process group that meets; None is all ranks.

    Raises:
        GanlibRuntimeError: some ranks did not come in time; they are named. Those that came all raise it.
    """
    whole = distributed.group.WORLD
    ranks = distributed.get_process_group_ranks(group or whole)
    if whole not in _rounds:
        _rounds.clear()  # those of ranks that have parted since
        _rounds[whole] = {}
    store = _store()
    who = f"ganlib/{name} of {ranks}"
    first = _rounds[whole].get(who, 0) + 1
    # The others gave up the rounds that have an outcome before this rank came.
    this = next(number for number in count(first) if not store.check([f"{who}/{number}/outcome"]))
    _rounds[whole][who] = this
    key = f"{who}/{this}"
    store.set(f"{key}/{rank()}", "here")
    if store.add(f"{key}/here", 1) == len(ranks):
        # Whoever is first decides for all, so that none goes on alone.
        store.compare_set(f"{key}/outcome", "", _ALL)
    deadline = time.monotonic() + timeout
    # Not store.wait(), which keeps the store from other threads all the time.
    while not store.check([f"{key}/outcome"]):
        if time.monotonic() > deadline:
            missing = ", ".join(str(other) for other in ranks if not store.check([f"{key}/{other}"]))
            store.compare_set(f"{key}/outcome", "", missing or _ALL)
        else:
            time.sleep(0.005)
    missing = store.get(f"{key}/outcome").decode()
    if missing != _ALL:
        raise GanlibRuntimeError(
            f"{name} waited {timeout:g} s for ranks [{missing}]: all ranks {ranks} must call it together, so not in a "
            "callback or a branch of one rank alone"
        )


def _store() -> Any:
    from torch.distributed.distributed_c10d import _get_default_store  # not every build of torch has it

    return _get_default_store()


def host_group() -> Any:
    """The ranks, joined a second time over gloo, which agrees on the host: nothing waits for a device.

    Returns:
        A process group.
    """
    whole = distributed.group.WORLD
    if whole not in _host_groups:
        _host_groups.clear()  # those of ranks that have parted since
        # A rank that dies breaks the connection at once; one that writes or draws is waited for.
        _host_groups[whole] = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
    return _host_groups[whole]


@atexit.register
def _part() -> None:
    """End the host group's threads, as torch does not: one that still holds a tensor aborts Python as it shuts down."""
    if not _host_groups:
        return
    if torch.__version__ < "2.8":
        # There a group waits for its threads with the lock that they wait for, so they are given time to let go.
        time.sleep(0.1)
        return
    if distributed.group.WORLD in _host_groups:  # else the ranks have parted, and torch has let go of it
        distributed.destroy_process_group(_host_groups[distributed.group.WORLD])
    _host_groups.clear()

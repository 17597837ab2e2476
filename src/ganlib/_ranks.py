"""What the ranks of a run agree on; all of them call each of these together."""

import atexit
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from ganlib.distributed import rank, world_size
from ganlib.errors import GanlibError, GanlibRuntimeError

__all__ = ["agree", "first_does", "gather", "host_group"]

T = TypeVar("T")

_host_groups: dict[Any, Any] = {}


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


def first_does(action: Callable[[], T]) -> T:
    """Do something on rank 0 alone, and let all ranks have what came of it: the result, or the error.

    Args:
        action: what it gives can be pickled.

    Returns:
        The result, on all ranks.

    Raises:
        Exception: what it raised, on rank 0; elsewhere the same where it is of ours, else a GanlibRuntimeError.

    Example:
        >>> first_does(lambda: 3)
        3
    """
    if world_size() == 1:
        return action()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = action()
        except Exception as error:  # whatever it was, the other ranks must not wait for a result
            outcome[1] = error
    failure = outcome[1]
    if failure is not None and not isinstance(failure, GanlibError):
        outcome[1] = GanlibRuntimeError(f"the first process failed: {failure!r}")  # which can always be pickled
    distributed.broadcast_object_list(outcome, src=0, group=host_group())
    if failure := failure or outcome[1]:
        raise failure
    return outcome[0]


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

"""Endless stream of batches that can save and restore its position."""

import contextlib
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeGuard

from torch import Tensor
from torch.utils._pytree import tree_leaves

from ganlib._random import load_random_state, random_state, seeded
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.distributed import world_size
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    CheckpointError,
    GanlibError,
    ShapeError,
)
from ganlib.protocols import Batch, Stateful

__all__ = ["Stream", "has_state"]


class Stream:
    """Iterate over the batches of one epoch after another.

    A resume continues at the exact position. If the loader has a state (``TensorLoader``, torchdata's
    ``StatefulDataLoader``), that state is used. Otherwise the unfinished epoch is repeated up to the position, with the
    random state from its start.

    Args:
        batches: an iterable of batches.
        name: the name of the argument, for errors.

    Attributes:
        length: the number of batches in an epoch, or None if unknown.
        epoch: the number of complete epochs.
        samples: the number of samples drawn so far by all processes.

    Raises:
        ArgumentTypeError: the batches are not iterable.
        ArgumentValueError: there are no batches.
    """

    def __init__(self, batches: Iterable[Any], name: str = "batches") -> None:
        self._batches = batches
        self._name = name
        if not isinstance(batches, Iterable):
            raise ArgumentTypeError(f"{self._named()} must be iterable, such as a DataLoader{_hint(batches)}")
        if isinstance(batches, Batch | Mapping | str):
            raise ArgumentTypeError(f"{self._named()} must give batches, one after another, such as [samples]")
        self.length = _length(batches)
        if self.length == 0:
            raise ArgumentValueError(f"{self._named()} is empty: it has length 0")
        self._batches_left: Iterator[Any] | None = None
        self._ahead: list[Any] = []
        self._random_at_start: dict[str, Any] | None = None
        self._position = 0
        self._loaded = False
        self.epoch = 0
        self.samples = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while not self.peek():
            pass
        batch = self._ahead.pop()
        self._position += 1
        self.samples += _samples_in(batch) * world_size()
        if self._position == self.length and self._batches_left is not None:
            # One more call of next lets a loader finish its epoch. A loader can also have more batches than its length.
            surplus = self._draw(self._batches_left)
            if surplus is self:
                self._end_epoch()
            else:
                self._ahead.append(surplus)
        return batch

    @property
    def has_begun(self) -> bool:
        """Return whether an epoch has begun and is not complete."""
        return self._batches_left is not None

    @property
    def position(self) -> int:
        """Return the number of batches drawn from the unfinished epoch."""
        return self._position

    @property
    def epochs(self) -> float:
        """Return the number of epochs, including the fraction of the unfinished one if the length is known."""
        return self.epoch + (self._position / self.length if self.length else 0.0)

    def peek(self) -> bool:
        """Draw the next batch in advance, to detect the end of an epoch.

        Returns:
            True if there is a batch, False if the epoch has ended.

        Raises:
            ArgumentValueError: a whole epoch has no batches.
            ArgumentTypeError: torch's DataLoader cannot make batches of the items, such as Pillow images.
            ShapeError: the items of torch's DataLoader have different sizes.
            BatchesExhaustedError: the batches can be iterated only once, and there are no more.
        """
        if self._ahead:
            return True
        if self._batches_left is None:
            self._batches_left = self._begin_epoch()
        self._loaded = False
        batch = self._draw(self._batches_left)
        if batch is not self:
            self._ahead.append(batch)
        else:
            self._batches_left = None
            if self._position:
                self._end_epoch()
            elif self.epoch:
                raise BatchesExhaustedError(
                    f"{self._named()} ran out after {self.epoch} epoch(s) and gave nothing when iterated "
                    "again; pass a loader that can be iterated again"
                )
            else:
                raise ArgumentValueError(f"{self._named()} is empty: it gave nothing")
        return bool(self._ahead)

    def _draw(self, batches: Iterator[Any]) -> Any:
        """Return the next batch, or self if there are no more; explain torch's errors about items of a batch."""
        try:
            return next(batches, self)
        except (TypeError, RuntimeError, ValueError, LookupError, AttributeError) as error:
            if isinstance(error, GanlibError) or not _is_of_collate(error):
                raise
            reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
            if "equal size" in reason or "resize storage" in reason:
                raise ShapeError(
                    f"{self._named()} cannot put its items into a batch, because their sizes differ ({reason}): give "
                    "the data set a transform to one size, or use data.ImageFolder(root, size=...)"
                ) from error
            if isinstance(error, RuntimeError) and "dtype" not in reason:
                raise  # for example, too little memory
            raise ArgumentTypeError(
                f"{self._named()} cannot put its items into a batch ({reason}): give the data set a transform to "
                "tensors, or use data.TensorLoader"
            ) from error

    def _named(self) -> str:
        return f"{self._name} (={shown(self._batches)})"

    def _begin_epoch(self) -> Iterator[Any]:
        self._random_at_start = None if has_state(self._batches) else random_state(self._batches)
        # DistributedSampler needs the epoch to shuffle differently each time.
        batch_sampler: Any = getattr(self._batches, "batch_sampler", None)
        for sampler in (
            getattr(self._batches, "sampler", None),
            batch_sampler,
            getattr(batch_sampler, "sampler", None),
        ):
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.epoch)
        self.length = _length(self._batches)  # it can change, for example with the number of processes
        return iter(self._batches)

    def begin(self) -> None:
        """Begin an epoch and draw its order, unless an epoch has begun."""
        if self._batches_left is None:
            self._batches_left = self._begin_epoch()
            self._draw_order()

    def restart(self) -> None:
        """Leave an unfinished epoch; the next batch is the first one of a new epoch."""
        if self._position and self._loaded and has_state(self._batches):
            with seeded(0):  # a loader starts the next epoch only after it has returned a batch of this one
                self.peek()
        if self._position:
            self._ahead = []
            self._end_epoch()

    def _end_epoch(self) -> None:
        self.epoch += 1
        self._position = 0
        self._batches_left = None

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and the state of the loader or the random state from the start of the epoch.

        It begins an epoch first if necessary, because this draws random numbers, which a resume must not repeat.
        """
        self.begin()
        return {
            "epoch": self.epoch,
            "samples": self.samples,
            "position": self._position,
            "length": self.length,
            "loader": self._batches.state_dict() if has_state(self._batches) else None,
            "random_at_start": self._random_at_start,
        }

    def load_state_dict(self, state: dict[str, Any], *, other_ranks: bool = False) -> None:
        """Restore a position; the caller sets the random state afterwards.

        Args:
            state: a state of :meth:`state_dict`.
            other_ranks: whether another number of processes saved the state. If the state of the loader contains the
                number of processes, the loader continues at the same part of the epoch. Otherwise the epoch restarts.

        Raises:
            CheckpointError: the state does not match the batches.
        """
        for name in ("epoch", "samples", "position"):
            if not (type(state[name]) is int and state[name] >= 0):
                raise CheckpointError(f"its {name} (={shown(state[name])}) is not a count")
        loader, random_at_start = state["loader"], state["random_at_start"]
        if has_state(self._batches):
            if loader is None:
                raise CheckpointError(f"the state is of batches without a state of their own, not of {self._named()}")
        elif random_at_start is None:
            raise CheckpointError(f"the state is of a loader with a state of its own, not of {self._named()}")
        self.epoch, self.samples, self._position = state["epoch"], state["samples"], state["position"]
        self._ahead, self._batches_left, self._loaded = [], None, True
        if other_ranks and not (loader and "world_size" in loader):
            self._position = 0
            return
        if has_state(self._batches):
            if other_ranks and self.length and state["length"]:
                self._position = self._position * self.length // state["length"]
            self._batches.load_state_dict(loader)
            self._batches_left = self._begin_epoch()
        else:
            load_random_state(random_at_start, self._batches)
            self._batches_left = self._begin_epoch()
            for place in range(self._position):
                if self._draw(self._batches_left) is self:
                    raise CheckpointError(
                        f"{self._named()} cannot be resumed: an epoch was at batch {self._position}, but "
                        f"it now ends after {place}"
                    )
            if not self._position:
                self._draw_order()
            elif not other_ranks and None not in (self.length, state["length"]):
                self._warn_of_length(state["length"])

    def _warn_of_length(self, before: int) -> None:
        if self.length != before:
            warn_user(
                f"{self._named()} gives {self.length} batches in an epoch, but gave {before} when the run was saved, "
                "perhaps because of another batch_size. The run continues at the same batch number, so the samples of "
                "this epoch differ"
            )

    def _draw_order(self) -> None:
        # A shuffling loader draws the order of an epoch with its first batch. A loader with a state would count it.
        if not has_state(self._batches):
            with contextlib.suppress(BatchesExhaustedError):
                self.peek()


def has_state(loader: Any) -> TypeGuard[Stateful]:
    """Return whether a loader has a state, or forwards a state with ``__getattr__``.

    From Python 3.12 on, ``isinstance`` with :class:`ganlib.protocols.Stateful` does not find forwarded methods.
    """
    return all(callable(getattr(loader, name, None)) for name in ("state_dict", "load_state_dict"))


def _is_of_collate(error: Exception) -> bool:
    """Return whether an error was raised by torch's function that makes a batch of items, also in a worker."""
    # A worker's error is text.
    files = re.findall(r'^ *File "(.*)", line', str(error), re.MULTILINE)
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return Path((files or frames)[-1]).parts[-4:] == ("utils", "data", "_utils", "collate.py")


def _hint(batches: Any) -> str:
    is_data_set = all(hasattr(type(batches), name) for name in ("__getitem__", "__len__"))
    return "; it is a data set, so give data.TensorLoader(dataset, batch_size)" if is_data_set else ""


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None


def _samples_in(batch: Any) -> int:
    if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Tensor):  # the common case needs no search
        batch = batch[0]
    leaves = [batch] if isinstance(batch, Tensor) else tree_leaves(batch)
    tensors = (leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim)
    return next((len(tensor) for tensor in tensors), 0)

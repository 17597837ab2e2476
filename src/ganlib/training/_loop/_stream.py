"""An endless stream of batches from a loader, which knows its position and can go back to it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from typing_extensions import Self

from ganlib._random import load_random_state, random_state
from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, BatchesExhaustedError, CheckpointError
from ganlib.protocols import Stateful

__all__ = ["Stream"]


class Stream:
    """Gives the batches of one epoch after another.

    Its position is exact. A loader with a state of its own (``TensorLoader``, torchdata's ``StatefulDataLoader``) is
    asked for it. With any other, the unfinished epoch is repeated up to the position, with the random state that it
    began with.

    Args:
        batches: anything that can be iterated.

    Attributes:
        length: batches in an epoch, or None where that is not known.
        epoch: complete epochs so far.
        samples: samples drawn so far, by all processes together.

    Raises:
        ArgumentTypeError: it cannot be iterated.
        ArgumentValueError: it is empty.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        if not isinstance(batches, Iterable):
            raise ArgumentTypeError(f"batches (={batches!r}) must be iterable, such as a DataLoader")
        try:
            self.length: int | None = len(batches)  # type: ignore[arg-type]  # what has no length says so by TypeError
        except TypeError:
            self.length = None
        if self.length == 0:
            raise ArgumentValueError(f"batches (={batches!r}) is empty: it has length 0")
        self._batches = batches
        self._batches_left: Iterator[Any] | None = None
        self._ahead: list[Any] = []
        self._random_at_start: dict[str, Any] | None = None
        self._position = 0
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
            # Asked once more, so that a loader notices its own end; one that is longer than it says goes on.
            surplus = next(self._batches_left, self)
            if surplus is self:
                self._end_epoch()
            else:
                self._ahead.append(surplus)
        return batch

    @property
    def epochs(self) -> float:
        """Epochs so far, with the fraction of the unfinished one where the length is known."""
        return self.epoch + (self._position / self.length if self.length else 0.0)

    def peek(self) -> bool:
        """Draw the next batch already, so that an epoch that has ended is known to have ended.

        Returns:
            Whether there is one; False where an epoch has ended instead.

        Raises:
            ArgumentValueError: a whole epoch gives nothing.
            BatchesExhaustedError: the batches can be iterated only once, and have run out.
        """
        if self._ahead:
            return True
        if self._batches_left is None:
            self._batches_left = self._begin_epoch()
        try:
            self._ahead.append(next(self._batches_left))
        except StopIteration:
            self._batches_left = None
            if self._position:
                self._end_epoch()
            elif self.epoch:
                raise BatchesExhaustedError(
                    f"batches (={self._batches!r}) ran out after {self.epoch} epoch(s) and gave nothing when iterated "
                    "again; give a loader that can be iterated again"
                ) from None
            else:
                raise ArgumentValueError(f"batches (={self._batches!r}) is empty: it gave nothing") from None
        return bool(self._ahead)

    def _begin_epoch(self) -> Iterator[Any]:
        self._random_at_start = None if isinstance(self._batches, Stateful) else random_state(self._batches)
        # DistributedSampler shuffles by the epoch that it is told.
        batch_sampler: Any = getattr(self._batches, "batch_sampler", None)
        for sampler in (
            getattr(self._batches, "sampler", None),
            batch_sampler,
            getattr(batch_sampler, "sampler", None),
        ):
            set_epoch = getattr(sampler, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.epoch)
        return iter(self._batches)

    def _end_epoch(self) -> None:
        self.epoch += 1
        self._position = 0
        self._batches_left = None

    def state_dict(self) -> dict[str, Any]:
        """The counts, and the loader's own state or the random state that the epoch began with.

        It is always within an epoch: to begin one draws random numbers, which a resume must not repeat.
        """
        if self._batches_left is None:
            self._batches_left = self._begin_epoch()
            self._draw_order()
        return {
            "epoch": self.epoch,
            "samples": self.samples,
            "position": self._position,
            "length": self.length,
            "loader": self._batches.state_dict() if isinstance(self._batches, Stateful) else None,
            "random_at_start": self._random_at_start,
        }

    def load_state_dict(self, state: dict[str, Any], *, other_ranks: bool = False) -> None:
        """Go to a position; the caller sets the random state afterwards.

        Args:
            state: what :meth:`state_dict` gave.
            other_ranks: whether another number of processes wrote it. A loader whose own state knows how many there
                were goes on at the same part of the epoch; with any other, the epoch begins again.

        Raises:
            CheckpointError: the state is of other batches.
        """
        for name in ("epoch", "samples", "position"):
            if not (type(state[name]) is int and state[name] >= 0):
                raise CheckpointError(f"its {name} (={state[name]!r:.80}) is not a count")
        loader, random_at_start = state["loader"], state["random_at_start"]
        if isinstance(self._batches, Stateful):
            if loader is None:
                raise CheckpointError(f"the state is of batches without a state of their own, not of {self._batches!r}")
        elif random_at_start is None:
            raise CheckpointError(f"the state is of a loader with a state of its own, not of {self._batches!r}")
        self.epoch, self.samples, self._position = state["epoch"], state["samples"], state["position"]
        self._ahead, self._batches_left = [], None
        if other_ranks and not (loader and "world_size" in loader):
            self._position = 0
            return
        if isinstance(self._batches, Stateful):
            if other_ranks and self.length and state["length"]:
                self._position = self._position * self.length // state["length"]
            self._batches.load_state_dict(loader)
            self._batches_left = self._begin_epoch()
        else:
            load_random_state(random_at_start, self._batches)
            self._batches_left = self._begin_epoch()
            for place in range(self._position):
                if next(self._batches_left, self) is self:
                    raise CheckpointError(
                        f"batches (={self._batches!r}) cannot be resumed: an epoch was at batch {self._position}, but "
                        f"it now ends after {place}"
                    )
            if not self._position:
                self._draw_order()

    def _draw_order(self) -> None:
        # A shuffling loader draws the order of an epoch with its first batch; one with an own state would count it.
        if not isinstance(self._batches, Stateful):
            with contextlib.suppress(BatchesExhaustedError):
                self.peek()


def _samples_in(batch: Any) -> int:
    if isinstance(batch, tuple | list) and batch and isinstance(batch[0], Tensor):  # as most are: nothing to search for
        batch = batch[0]
    leaves = [batch] if isinstance(batch, Tensor) else tree_leaves(batch)
    tensors = (leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim)
    return next((len(tensor) for tensor in tensors), 0)

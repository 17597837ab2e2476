"""An endless stream of batches from a loader, which knows its place and can go back to it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from typing_extensions import Self

from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, BatchesExhaustedError, CheckpointError
from ganlib.protocols import Stateful
from ganlib.training._random import load_random_state, random_state

__all__ = ["Stream"]


class Stream:
    """Goes over the batches again and again.

    Its place is exact: a loader with a state of its own (``TensorLoader``, torchdata's ``StatefulDataLoader``) is
    asked for it; of any other, the pass that was under way is replayed, with the random state that it began with, up
    to the place.

    Args:
        batches: anything that can be iterated.

    Attributes:
        length: batches a pass, or None where that is not known.
        epoch: complete passes so far.
        samples: samples drawn so far, by all ranks together where there are several.

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
        self._pass: Iterator[Any] | None = None
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
        if self._position == self.length and self._pass is not None:
            # Asked once more, so that a loader sees its own end; one that is longer than it says goes on.
            surplus = next(self._pass, self)
            if surplus is self:
                self._end_pass()
            else:
                self._ahead.append(surplus)
        return batch

    @property
    def passes(self) -> float:
        """Passes so far, with the fraction of the one under way where the length is known."""
        return self.epoch + (self._position / self.length if self.length else 0.0)

    def peek(self) -> bool:
        """Draw the batch that is given out next, so that a pass that has ended is known to have ended.

        Returns:
            Whether there is one; False where a pass has ended instead.

        Raises:
            ArgumentValueError: a whole pass gives nothing.
            BatchesExhaustedError: the batches can be iterated only once, and have run out.
        """
        if self._ahead:
            return True
        if self._pass is None:
            self._pass = self._begin_pass()
        try:
            self._ahead.append(next(self._pass))
        except StopIteration:
            self._pass = None
            if self._position:
                self._end_pass()
            elif self.epoch:
                raise BatchesExhaustedError(
                    f"batches (={self._batches!r}) ran out after {self.epoch} pass(es) and gave nothing when iterated "
                    "again; give a loader that can be iterated again"
                ) from None
            else:
                raise ArgumentValueError(f"batches (={self._batches!r}) is empty: it gave nothing") from None
        return bool(self._ahead)

    def _begin_pass(self) -> Iterator[Any]:
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

    def _end_pass(self) -> None:
        self.epoch += 1
        self._position = 0
        self._pass = None

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, within a pass always: to begin one draws random numbers, which a resume must not redo.

        Returns:
            The counts, the loader's own state where it has one, else the random state that the pass began with.
        """
        if self._pass is None:
            self._pass = self._begin_pass()
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
        """Go to a place; the random state that this leaves behind is the caller's to set.

        Args:
            state: what :meth:`state_dict` gave.
            other_ranks: whether it was written on another number of ranks. A loader whose own state knows how many
                there were goes on at the same part of the pass; with any other, the pass begins anew.

        Raises:
            CheckpointError: the state is of other batches.
        """
        for name in ("epoch", "samples", "position"):
            if not (type(state[name]) is int and state[name] >= 0):
                raise CheckpointError(f"its {name} (={state[name]!r:.80}) is no count")
        loader, random_at_start = state["loader"], state["random_at_start"]
        if isinstance(self._batches, Stateful):
            if loader is None:
                raise CheckpointError(f"the state is of batches without a state of their own, not of {self._batches!r}")
        elif random_at_start is None:
            raise CheckpointError(f"the state is of a loader with a state of its own, not of {self._batches!r}")
        self.epoch, self.samples, self._position = state["epoch"], state["samples"], state["position"]
        self._ahead, self._pass = [], None
        if other_ranks and not (loader and "world_size" in loader):
            self._position = 0
            return
        if isinstance(self._batches, Stateful):
            if other_ranks and self.length and state["length"]:
                self._position = self._position * self.length // state["length"]
            self._batches.load_state_dict(loader)
            self._pass = self._begin_pass()
        else:
            load_random_state(random_at_start, self._batches)
            self._pass = self._begin_pass()
            for place in range(self._position):
                if next(self._pass, self) is self:
                    raise CheckpointError(
                        f"batches (={self._batches!r}) cannot be resumed: a pass was at batch {self._position}, but it "
                        f"now ends after {place}"
                    )
            if not self._position:
                self._draw_order()

    def _draw_order(self) -> None:
        # A shuffling loader draws the order of its pass with the first batch, so that a pass begins with that one; one
        # that has a state of its own would count it.
        if not isinstance(self._batches, Stateful):
            with contextlib.suppress(BatchesExhaustedError):
                self.peek()


def _samples_in(batch: Any) -> int:
    first = batch if isinstance(batch, Tensor) else batch[0] if isinstance(batch, tuple | list) and batch else None
    return len(first) if isinstance(first, Tensor) and first.ndim else 0

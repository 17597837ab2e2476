"""Combine the batches of several loaders."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from ganlib._batch_sizes import batch_sizes
from ganlib._random import generators_of, load_random_state, mixed_seed, random_state, seeded
from ganlib._shown import described, shown
from ganlib._stream import Stream, has_state
from ganlib.data._fixed import fixed
from ganlib.data._function_state import function_state, load_function_state
from ganlib.distributed import world_size
from ganlib.errors import ArgumentValueError, CheckpointError

__all__ = ["JoinedLoader"]


@fixed("loaders", "function")
class JoinedLoader:
    """Combine one batch of each loader, and keep track of the exact position in all of them.

    Args:
        loaders: the loaders; the keys are their names in error messages.
        combine: function that makes one batch from a list of one batch per loader.
        longest: whether an epoch ends with the loader that has the most batches; the others then start again during
            the epoch. If False, an epoch ends with the first loader that has no more batches.
        function: the user's function that ``combine`` calls, whose state is saved too, or None.

    Attributes:
        loaders: the loaders.
        function: the function.
    """

    def __init__(
        self,
        loaders: dict[str, Iterable[Any]],
        combine: Callable[[list[Any]], Any],
        *,
        longest: bool = False,
        function: Callable[[Any], Any] | None = None,
    ) -> None:
        self._streams = [Stream(loader, name) for name, loader in loaders.items()]
        self.loaders: tuple[Iterable[Any], ...] = tuple(loaders.values())
        self.function = function
        self._combine = combine
        self._longest = longest
        self._began = [0] * len(loaders)  # the epoch of each loader when the joint epoch began
        self._seed: int | None = None
        self._resumed = False
        leaves = [leaf for leaf in _leaves(self) if has_state(leaf) or isinstance(leaf, Iterator)]
        if twice := [leaf for index, leaf in enumerate(leaves) if any(leaf is other for other in leaves[:index])]:
            raise ArgumentValueError(
                f"{list(loaders)[-1]} (={shown(twice[0])}) is there twice, but a loader has only one position: create "
                "a second loader"
            )

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "loaders")

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: if one of the loaders has no length.
        """
        lengths = [len(loader) for loader in self.loaders]  # type: ignore[arg-type]  # raises the TypeError
        return max(lengths) if self._longest else min(lengths)

    @property
    def batch_sizes(self) -> tuple[int, int] | None:
        """Sizes of the first and of the smallest batch; None if they are unknown, or differ between the loaders."""
        sizes = [batch_sizes(loader) for loader in self.loaders]
        # With two lengths, the last batch of the longer loader may never come, or may come with a full batch.
        same = None not in sizes and len({*sizes}) == len({len(loader) for loader in self.loaders}) == 1  # type: ignore[arg-type]
        return sizes[0] if same else None

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch; the first epoch after :meth:`load_state_dict` begins at the restored position.

        Returns:
            The batches.
        """
        if not self._resumed:
            self._restart()
        return self._batches()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in every loader, and the states of the loaders' random generators and of the function.

        Returns:
            A dict of tensors and plain values.
        """
        self._begin()
        kept = [] if self.function is None else function_state(self.function)
        return {
            "streams": [stream.state_dict() for stream in self._streams],
            "seed": self._seed,
            "began": list(self._began),
            "generators": [[own.get_state() for own in generators_of(loader)] for loader in self.loaders],
            "world_size": world_size(),
            **({"function": kept} if kept else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a position. The random state of the process does not change.

        Args:
            state: the result of :meth:`state_dict`.

        Raises:
            CheckpointError: if the state belongs to other loaders.
        """
        streams = state.get("streams")
        if not isinstance(streams, list) or len(streams) != len(self._streams):
            count = len(streams) if isinstance(streams, list) else "other"
            raise CheckpointError(f"the state is of {count} loaders, but {len(self._streams)} are joined")
        before = random_state()
        for stream, own in zip(self._streams, streams, strict=True):
            stream.load_state_dict(own, other_ranks=state["world_size"] != world_size())
        load_random_state(before)
        for loader, saved in zip(self.loaders, state["generators"], strict=True):
            for generator, own in zip(generators_of(loader), saved, strict=False):
                generator.set_state(own)
        if "function" in state:  # an earlier version did not save it
            load_function_state(self.function, state["function"], "function")
        self._seed, self._began, self._resumed = state["seed"], list(state["began"]), True

    def _batches(self) -> Iterator[Any]:
        self._resumed = False
        while self._goes_on():
            yield self._combine([next(stream) for stream in self._streams])
        self._restart()

    def _begin(self) -> None:
        """Begin an epoch of each loader that is between epochs; the order depends only on the seed and the epoch."""
        if self._seed is None:
            self._seed = int(torch.randint(2**62, ()))
        for index, stream in enumerate(self._streams):
            if not stream.has_begun:
                with seeded(mixed_seed(self._seed, index, stream.epoch)):
                    stream.begin()

    def _goes_on(self) -> bool:
        """Return whether there is another batch, after an attempt to fetch it from each loader."""
        for stream, over in zip(self._streams, self._ended(), strict=True):
            if not over:
                self._begin()
                stream.peek()
        ended = self._ended()
        goes_on = not (all(ended) if self._longest else any(ended))
        if goes_on:
            self._begin()
        return goes_on

    def _ended(self) -> list[bool]:
        return [stream.epoch > began for stream, began in zip(self._streams, self._began, strict=True)]

    def _restart(self) -> None:
        for stream in self._streams:
            stream.restart()
        self._began = [stream.epoch for stream in self._streams]


def _leaves(loader: Any) -> Iterator[Any]:
    if isinstance(loader, JoinedLoader):
        for inner in loader.loaders:
            yield from _leaves(inner)
    else:
        yield loader

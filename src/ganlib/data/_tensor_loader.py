"""A loader that is nothing but indexing."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganlib.data._tensors import as_tensors
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.protocols import Batch

__all__ = ["TensorLoader"]


class TensorLoader:
    """Keeps a whole data set on the device, and shuffles, scales and augments it there, a batch at a time.

    uint8 samples are scaled to [-1, 1]; float ones are given out as they are. Shuffling and augmentation depend on the
    seed, the pass and the place in it alone, so that a loader whose state is restored goes on exactly.

    Args:
        dataset: read once, whole; see Raises for what it may hold.
        batch_size: samples a batch, at least 1.
        transform: ``transform(samples, generator) -> samples``, from :mod:`ganlib.augment` or your own; it draws its
            random numbers from the generator.
        device: where the data set is kept; None is the CPU.
        seed: another seed, another order.
        drop_last: whether a last batch that is smaller is left out.

    Attributes:
        samples: (L, C, ...) uint8 or float.
        conditions: (L, ...), or None.

    Raises:
        ArgumentTypeError: the data set has no length, or items that are neither PIL images nor tensors.
        DTypeError: samples or conditions of a dtype they cannot be.
        ShapeError: samples, or conditions, of different shapes.
        ArgumentValueError: an empty data set, fewer samples than one batch, values that are not finite, labels out of
            range, a batch size below 1.

    Example:
        >>> from ganlib.data import RenderedDigits
        >>> loader = TensorLoader(RenderedDigits(length=100), batch_size=32)
        >>> batch = next(iter(loader))
        >>> batch.sample.shape, batch.condition.shape, len(loader)
        (torch.Size([32, 1, 28, 28]), torch.Size([32]), 3)
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        device: torch.device | str | None = None,
        seed: int = 0,
        drop_last: bool = True,
    ) -> None:
        if not (isinstance(batch_size, int) and batch_size >= 1):
            raise ArgumentValueError(f"batch_size (={batch_size!r}) must be a whole number of at least 1")
        if transform is not None and not callable(transform):
            raise ArgumentTypeError(f"transform (={transform!r}) must be callable, or None")
        samples, conditions = as_tensors(dataset)
        if drop_last and len(samples) < batch_size:
            raise ArgumentValueError(
                f"batch_size (={batch_size}) is more than the {len(samples)} samples of the data set, and drop_last "
                "(=True) leaves smaller batches out"
            )
        self.samples = samples.to(device)
        self.conditions = None if conditions is None else conditions.to(device)
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.drop_last = drop_last
        self._epoch = 0
        self._position = 0
        self._resumed = False

    def __len__(self) -> int:
        """Batches a pass."""
        full, rest = divmod(len(self.samples), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[Batch]:
        """Begin a pass; the first one after :meth:`load_state_dict` begins where that one was.

        Returns:
            Batches of samples (N, C, ...) float and, where there are any, conditions.
        """
        if self._position and not self._resumed:
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False
        epoch, start, device = self._epoch, self._position, self.samples.device
        order = torch.randperm(len(self.samples), generator=self._generator(torch.device("cpu"), epoch)).to(device)
        for position in range(start, len(self)):
            chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
            samples = self.samples[chosen]
            if samples.dtype == torch.uint8:
                samples = samples.to(torch.get_default_dtype()).div_(127.5).sub_(1)
            if self.transform is not None:
                samples = self.transform(samples, self._generator(device, epoch, position))
            # The place is moved on before the batch is given out: a state taken meanwhile is the one after it.
            last = position == len(self) - 1
            self._epoch, self._position = (epoch + 1, 0) if last else (epoch, position + 1)
            yield Batch(samples, None if self.conditions is None else self.conditions[chosen])

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is.

        Returns:
            The seed, the pass and the place in it.
        """
        return {
            "seed": self.seed,
            "epoch": self._epoch,
            "position": self._position,
            "batch_size": self.batch_size,
            "length": len(self.samples),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place.

        Args:
            state: what :meth:`state_dict` gave.

        Raises:
            CheckpointError: the state is of a loader with other batches, or no loader's.
        """
        missing = self.state_dict().keys() - state.keys()
        if missing:
            raise CheckpointError(f"the state (={state}) is no TensorLoader's: it lacks {', '.join(sorted(missing))}")
        for name, own in (("batch_size", self.batch_size), ("length", len(self.samples))):
            if state[name] != own:
                raise CheckpointError(f"the state is of a TensorLoader with {name} (={state[name]}), not {own}")
        self.seed = state["seed"]
        self._epoch, self._position, self._resumed = state["epoch"], state["position"], True

    def _generator(self, device: torch.device, *place: int) -> torch.Generator:
        # Python's seeding by text mixes well; sums of small numbers would collide.
        mixed = random.Random("/".join(map(str, (self.seed, *place)))).getrandbits(63)
        return torch.Generator(device).manual_seed(mixed)

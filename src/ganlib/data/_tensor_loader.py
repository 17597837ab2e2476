"""A loader that keeps the data set on the device and indexes it."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganlib import distributed
from ganlib._checks import check_option, check_sizes
from ganlib.data._tensors import as_tensors
from ganlib.data._transfer import Transfer
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.protocols import Batch

__all__ = ["TensorLoader"]


class TensorLoader:
    """Keeps a whole data set on the device, and shuffles, scales and augments it there, batch by batch.

    uint8 samples are scaled to [-1, 1]; float samples are not changed. Shuffling and augmentation depend only on the
    seed, the epoch and the position in it, so that a loader whose state is restored continues exactly.

    Over several processes, each process has a loader of the same data set and seed. All use the same order, and
    together they give the batches of one process with a batch size larger by the number of processes: the first
    process has the first part of each, the second the next. The number of processes is read when an epoch begins, so
    that a loader may be made before the process group. Each process augments its own samples differently.

    Args:
        dataset: read once, as a whole: items are samples or (sample, condition); see Raises.
        batch_size: samples per batch of each process, at least 1.
        transform: ``transform(samples, generator) -> samples``, from :mod:`ganlib.augment` or your own; it draws its
            random numbers from the generator.
        device: the device of the batches; None is the CPU.
        storage: where the data set is kept: on the ``"device"``, or on the ``"host"``, which sends one batch ahead
            through pinned memory. ``"auto"`` is the device, unless that is a CUDA device and the data
            set would take more than half of its free memory.
        seed: another seed gives another order.
        shuffle: whether each epoch has its own random order; otherwise it is the order of the data set.
        drop_last: whether a smaller last batch is left out. Otherwise several processes share it equally; if its size
            cannot be divided, they repeat samples from the start of the epoch, as torch's ``DistributedSampler`` does.

    Attributes:
        samples: (L, C, ...) uint8 or float, where they are kept.
        conditions: (L, ...), or None.
        device: the device of the batches.

    Raises:
        ArgumentTypeError: the data set has no length, or items that are neither PIL images nor tensors.
        DTypeError: samples or conditions of a dtype they cannot be.
        ShapeError: samples, or conditions, of different shapes.
        ArgumentValueError: an empty data set, fewer samples than one batch (of all processes together, counted again
            when an epoch begins), values that are not finite, labels out of range, a batch size
            below 1.

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
        storage: Literal["auto", "device", "host"] = "auto",
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        check_sizes(batch_size=batch_size)
        if transform is not None and not callable(transform):
            raise ArgumentTypeError(f"transform (={transform!r}) must be callable, or None")
        check_option("storage", storage, ("auto", "device", "host"))
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not isinstance(value, bool):
                raise ArgumentTypeError(f"{name} (={value!r}) must be True or False")
        samples, conditions = as_tensors(dataset)
        try:
            self.device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise ArgumentValueError(f"device (={device!r}) is invalid: {str(error).splitlines()[0]}") from error
        if storage == "auto":
            fits = self.device.type != "cuda" or 2 * samples.nbytes <= torch.cuda.mem_get_info(self.device)[0]
            storage = "device" if fits else "host"  # the other half of the free memory is for the training
        kept_on = self.device if storage == "device" else torch.device("cpu")
        self.samples = samples.to(kept_on)
        self.conditions = None if conditions is None else conditions.to(kept_on)
        self._transfer = Transfer(self._kept(), self.device) if storage == "host" else None
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._epoch = 0
        self._position = 0
        self._resumed = False
        len(self)  # raises an error if there would never be a batch

    def __len__(self) -> int:
        """Return the number of batches per epoch, the same for every process.

        Raises:
            ArgumentValueError: fewer samples than one batch of all processes together.
        """
        world_size = distributed.world_size()
        batches = self._count_batches(self.batch_size * world_size)
        if batches == 0:
            times = f" times {world_size} processes" if world_size > 1 else ""
            raise ArgumentValueError(
                f"batch_size (={self.batch_size}){times} is more than the {len(self.samples)} samples of the data set, "
                "and drop_last (=True) leaves smaller batches out"
            )
        return batches

    def __iter__(self) -> Iterator[Batch]:
        """Begin an epoch; the first one after :meth:`load_state_dict` begins at the restored position.

        Returns:
            Batches of samples (N, C, ...) float and, if there are any, conditions; of several processes, the share of
            this one.

        Raises:
            ArgumentValueError: fewer samples than one batch of all processes together.
        """
        if self._position and not self._resumed:
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False
        epoch, start, batches, rank = self._epoch, self._position, len(self), distributed.rank()
        rows = self._rows(epoch, start, batches)
        for position, (samples, *conditions) in enumerate(self._fetched(rows), start):
            if samples.dtype == torch.uint8:
                samples = samples.to(torch.get_default_dtype()).div_(127.5).sub_(1)
            if self.transform is not None:
                index = (epoch, position, rank) if rank else (epoch, position)
                samples = self.transform(samples, self._generator(self.device, *index))
            # The position moves on before the batch is yielded, so that a state that is taken then is the one after it.
            last = position == batches - 1
            self._epoch, self._position = (epoch + 1, 0) if last else (epoch, position + 1)
            yield Batch(samples, *conditions)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loader.

        Returns:
            The seed, the epoch and the position in it, the same for every process.
        """
        return {
            "seed": self.seed,
            "epoch": self._epoch,
            "position": self._position,
            "batch_size": self.batch_size,
            "length": len(self.samples),
            "world_size": distributed.world_size(),
            "batches": len(self),
            "shuffle": self.shuffle,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; with another number of processes, to the same fraction of the epoch.

        If the batches of all processes together are as large as they were, that is the exact position. A state without
        a number of processes is that of one process.

        Args:
            state: the result of :meth:`state_dict`, on any of the processes.

        Raises:
            CheckpointError: the state is of a loader with other batches, or not of a loader.
        """
        missing = self.state_dict().keys() - state.keys() - {"world_size", "batches", "shuffle"}
        if missing:
            raise CheckpointError(
                f"the state (={state}) is not of a TensorLoader: it lacks {', '.join(sorted(missing))}"
            )
        same = state.get("world_size", 1) == distributed.world_size()
        for name, own in (("batch_size", self.batch_size), ("length", len(self.samples))):
            if state[name] != own and (same or name == "length"):
                raise CheckpointError(f"the state is of a TensorLoader with {name} (={state[name]}), not {own}")
        if state.get("shuffle", True) is not self.shuffle:
            raise CheckpointError(
                f"the state is of a TensorLoader with shuffle (={not self.shuffle}), not {self.shuffle}"
            )
        position = state["position"]
        if not same:
            batches = state.get("batches", self._count_batches(state["batch_size"]))
            position = position * len(self) // max(1, batches)
        self.seed = state["seed"]
        self._epoch, self._position, self._resumed = state["epoch"], position, True

    def _kept(self) -> list[Tensor]:
        return [self.samples] if self.conditions is None else [self.samples, self.conditions]

    def _rows(self, epoch: int, start: int, batches: int) -> Iterator[Tensor]:
        """Yield the indices of the samples of each batch, on the device that holds the data set."""
        rank, world_size = distributed.rank(), distributed.world_size()
        order = torch.arange(len(self.samples))
        if self.shuffle:
            order = torch.randperm(len(order), generator=self._generator(torch.device("cpu"), epoch))
        # The start once more, for the shares of a last batch whose size cannot be divided.
        order = torch.cat([order, order[:world_size].repeat(world_size)[: world_size - 1]])
        order = order.to(self.samples.device, non_blocking=True)
        for position in range(start, batches):
            first = position * self.batch_size * world_size
            share = min(self.batch_size, -(-(len(self.samples) - first) // world_size))
            yield order[first + rank * share : first + (rank + 1) * share]

    def _fetched(self, rows: Iterator[Tensor]) -> Iterator[list[Tensor]]:
        if self._transfer is not None:
            return self._transfer(rows)
        kept = self._kept()
        # On the CPU index_select takes a fraction of the time of [chosen].
        return ([tensor.index_select(0, chosen) for tensor in kept] for chosen in rows)

    def _count_batches(self, together: int) -> int:
        full, rest = divmod(len(self.samples), together)
        return full if self.drop_last or not rest else full + 1

    def _generator(self, device: torch.device, *index: int) -> torch.Generator:
        # Python's seeding by text mixes well; sums of small numbers would collide.
        mixed = random.Random("/".join(map(str, (self.seed, *index)))).getrandbits(63)
        return torch.Generator(device).manual_seed(mixed)

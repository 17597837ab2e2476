"""Keep a data set on the device and draw batches from it."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ganlib import distributed
from ganlib._batch_sizes import sizes_of_epoch
from ganlib._checks import check_count, check_flag, check_option, check_seed
from ganlib._random import mixed_seed
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib.data._fixed import fixed
from ganlib.data._tensors import as_tensors
from ganlib.data._transfer import Transfer
from ganlib.data._transforms import Transforms
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.protocols import Batch

__all__ = ["TensorLoader"]

_DARK = 16  # out of 255: 4-bit digits, masks and class indices have no larger values


@fixed("transform", "joint_transform", "device")
class TensorLoader:
    """Keep a whole data set on the device, and shuffle, scale and augment it there, batch by batch.

    uint8 samples are scaled to [-1, 1]. Float samples are not changed. Shuffling and augmentation depend only on the
    seed, the epoch and the position in the epoch. A loader that is restored from its state continues exactly.

    With several processes, each process creates a loader with the same data set and seed. Together, the processes draw
    the same batches as one process with a batch size of ``batch_size`` times the number of processes. The first process
    has the first part of each large batch, the second process the next part. Each process augments its samples
    differently. The number of processes is determined at the start of each epoch, so you can create the loader before
    the process group.

    Args:
        dataset: the data set, with items ``sample`` or ``(sample, condition)``. Each item is read once.
        batch_size: samples per batch of each process, at least 1.
        transform: function that changes the samples. A function ``transform(samples, generator) -> samples``, from
            :mod:`ganlib.augment` or your own, gets scaled batches and draws its random numbers from the generator. A
            function of one argument, such as a transform of ``torchvision.transforms.v2``, gets one sample (C, ...) at
            a time, as the data set stores it, because it would draw the same random numbers for a whole batch. If it
            returns uint8, the result is scaled; floats are not. The global random numbers of torch, Python and NumPy
            are seeded for it, and restored afterwards.
        joint_transform: function ``joint_transform(samples, condition, generator) -> (samples, condition)``, for
            conditions that are maps, such as :class:`ganlib.augment.Joint`. It replaces ``transform``. A transform of
            ``torchvision.transforms.v2`` gets one sample at a time as an ``Image``, and its condition as a ``Mask``.
            The mask is moved in the same way, and keeps its values.
        device: the device of the batches; None is the CPU.
        storage: where to keep the data set. ``"device"`` keeps it on the device. ``"host"`` keeps it in the memory of
            the host, and sends each batch to the device one iteration in advance, through pinned memory. ``"auto"`` is
            ``"device"``, unless the device is a CUDA device and the samples need more than half of its free memory.
        seed: seed of the order, from 0 to 2**64 - 1.
        shuffle: whether to draw a random order for each epoch. If False, the order is that of the data set.
        drop_last: whether to skip a smaller last batch. If False, several processes share the last batch equally. If
            its size is not divisible by their number, samples from the start of the epoch are repeated, as by torch's
            ``DistributedSampler``.

    Attributes:
        samples: (L, C, ...) uint8 or float, where they are stored.
        conditions: (L, ...), or None.
        device: the device of the batches.

    Raises:
        DataError: if the data set raises an error for an item or for its length.
        ArgumentTypeError: if the data set has no length, an item is neither a PIL image nor a tensor, or a transform
            cannot be called in this way.
        DTypeError: if samples or conditions have an unsupported dtype.
        ShapeError: if samples, or conditions, differ in shape.
        ArgumentValueError: if the data set is empty or smaller than one batch of all processes together (checked again
            at the start of each epoch), values are not finite, labels are out of range, or the batch size is below 1.
            Also if ``transform`` is used with conditions that are maps, or a transform fails on the first samples.

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
        transform: Callable[[Tensor, torch.Generator], Tensor] | Callable[[Any], Any] | None = None,
        joint_transform: Callable[..., Any] | None = None,
        device: torch.device | str | None = None,
        storage: Literal["auto", "device", "host"] = "auto",
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        self.batch_size: int = check_count("batch_size", batch_size, least=1)
        self.seed: int = check_seed("seed", seed)
        self.shuffle: bool = check_flag("shuffle", shuffle)
        self.drop_last: bool = check_flag("drop_last", drop_last)
        check_option("storage", storage, ("auto", "device", "host"))
        self.device: torch.device = _device(device)
        self.transform = transform
        self.joint_transform = joint_transform
        self._transforms = Transforms(transform, joint_transform)
        samples, conditions = as_tensors(dataset)
        if not self._transforms.given_as_stored and samples.dtype == torch.uint8 and 0 < samples.max() <= _DARK:
            warn_user(
                f"dataset's uint8 samples are at most {samples.max()}, where 255 is white. Scaled, they are from -1 to "
                f"{samples.max() / 127.5 - 1:.2g}: multiply them to reach 255, or pass floats in [-1, 1]"
            )
        if storage == "auto":
            fits = self.device.type != "cuda" or 2 * samples.nbytes <= torch.cuda.mem_get_info(self.device)[0]
            storage = "device" if fits else "host"  # training needs the other half of the free memory
        kept_on = self.device if storage == "device" else torch.device("cpu")
        self.samples: Tensor = samples.to(kept_on)
        self.conditions: Tensor | None = None if conditions is None else conditions.to(kept_on)
        self._transfer = Transfer(self._kept(), self.device) if storage == "host" else None
        self._epoch = 0
        self._position = 0
        self._resumed = False
        self._drawing: object = None
        self._two_loops = False
        len(self)  # raises an error if there would never be a batch
        first = [tensor[: self.batch_size].to(self.device) for tensor in self._kept()]
        self._transforms.try_on(first[0], first[1:])

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(
            self, "samples", "conditions", "batch_size", "shuffle", "drop_last", "device", classes=self._count_classes
        )

    def _count_classes(self) -> int | None:
        labels = self.conditions
        return None if labels is None or labels.ndim != 1 or labels.is_floating_point() else len(labels.unique())

    def __len__(self) -> int:
        """Return the number of batches per epoch, the same for every process.

        Raises:
            ArgumentValueError: if there are fewer samples than one batch of all processes together.
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

    @property
    def batch_sizes(self) -> tuple[int, int] | None:
        """Sizes of the first and of the smallest batch of an epoch in this process."""
        world_size = distributed.world_size()
        sizes = sizes_of_epoch(len(self.samples), self.batch_size * world_size, drop_last=self.drop_last)
        return sizes and (-(-sizes[0] // world_size), -(-sizes[1] // world_size))

    def __iter__(self) -> Iterator[Batch]:
        """Begin an epoch; the first epoch after :meth:`load_state_dict` begins at the restored position.

        Returns:
            Batches of samples (N, C, ...) float and, if there are any, conditions. With several processes, a batch is
            the share of this process.

        Raises:
            ArgumentValueError: if there are fewer samples than one batch of all processes together.
        """
        if self._position and not self._resumed:
            self._epoch, self._position = self._epoch + 1, 0
        return self._batches(self._epoch, self._position, len(self), distributed.rank())

    def _batches(self, epoch: int, start: int, batches: int, rank: int) -> Iterator[Batch]:
        self._resumed = False
        loop = object()
        for position, (samples, *conditions) in enumerate(self._fetched(self._rows(epoch, start, batches)), start):
            if self._drawing is not loop and position > start:
                self._two_loops = True
            seeds = (self.seed, epoch, position, rank) if rank else (self.seed, epoch, position)
            batch = Batch(*self._transforms(samples, conditions, seeds))
            # Advance before the yield: a state that is saved after this batch must continue with the next one.
            last = position == batches - 1
            self._epoch, self._position = (epoch + 1, 0) if last else (epoch, position + 1)
            self._drawing = loop
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loader.

        Returns:
            A dict with the seed, the epoch and the position in it, equal in all processes, and the settings to check
            them.
        """
        if self._two_loops:
            self._two_loops = False
            warnings.warn(
                "this TensorLoader is iterated in two loops at once. Its state belongs to the loop that drew the last "
                "batch, so a run may not resume exactly; create a second TensorLoader for the second loop",
                stacklevel=2,
            )
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
        """Restore a position; with another number of processes, go to the same fraction of the epoch.

        The position is exact if the batches of all processes together have the same size as before. A state that
        contains no number of processes counts as the state of one process.

        Args:
            state: the result of :meth:`state_dict` of any process.

        Raises:
            CheckpointError: if the state comes from a loader with other batches, or not from a loader.
        """
        missing = self.state_dict().keys() - state.keys() - {"world_size", "batches", "shuffle"}
        if missing:
            raise CheckpointError(
                f"the state (={shown(state)}) is not of a TensorLoader: it lacks {', '.join(sorted(missing))}"
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
        if state["seed"] != self.seed and distributed.rank() == 0:
            warnings.warn(
                f"the state is of a TensorLoader with seed (={state['seed']}), which is used and not {self.seed}. The "
                "order continues: set seed to that value, or begin a new run for another order",
                stacklevel=2,
            )
        self.seed = state["seed"]
        self._epoch, self._position, self._resumed = state["epoch"], position, True

    def _kept(self) -> list[Tensor]:
        return [self.samples] if self.conditions is None else [self.samples, self.conditions]

    def _rows(self, epoch: int, start: int, batches: int) -> Iterator[Tensor]:
        """Yield the indices of the samples of each batch, on the device that stores the data set."""
        rank, world_size = distributed.rank(), distributed.world_size()
        order = torch.arange(len(self.samples))
        if self.shuffle:
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(mixed_seed(self.seed, epoch)))
        # Repeat the start, in case the processes cannot share the last batch equally.
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
        # On the CPU, index_select is faster than [chosen].
        return ([tensor.index_select(0, chosen) for tensor in kept] for chosen in rows)

    def _count_batches(self, together: int) -> int:
        full, rest = divmod(len(self.samples), together)
        return full if self.drop_last or not rest else full + 1


def _device(device: Any) -> torch.device:
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ArgumentValueError(f"device (={shown(device)}) is invalid: {str(error).splitlines()[0]:.120}") from error
    except TypeError:
        raise ArgumentTypeError(f"device (={shown(device)}) must be a torch.device, its name, or None") from None
    if found.type == "meta":
        raise ArgumentValueError(f"device (={shown(device)}) holds no values, so you cannot train on it")
    return found

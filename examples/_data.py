"""Open the data sets of the example scripts by their names."""

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor, distributed
from torch.utils.data import Dataset, TensorDataset

from ganlib import data
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentValueError, DataError, MissingExtraError

# torchvision's class, and the folder below the root that it reads.
_TORCHVISION = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "kmnist": ("KMNIST", "KMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "stacked-mnist": ("MNIST", "MNIST/raw"),
}
_OWN_SIZES = {"cifar10": 32, "folder": 32}  # the others have 28
DATA_SETS = ["digits", *_TORCHVISION, "folder"]


def image_size(arguments: argparse.Namespace) -> int:
    """Return the height and width in pixels: the value on the command line, or that of the data set."""
    size = arguments.image_size
    if size is None:
        return _OWN_SIZES.get(arguments.data, 28)
    if size < 8:
        raise ArgumentValueError(f"--image-size (={size}) must be at least 8")
    return int(size)


def open_data(arguments: argparse.Namespace, *, test: bool = False, grey: bool = False) -> Any:
    """Open the data set of the command line. It has ``classes``, ``targets`` and a length.

    Args:
        arguments: the command line: ``data``, ``root``, ``download`` and ``image_size``.
        test: whether to open the test images: torchvision's test set, or digits of another seed. A folder has no test
            images, so this opens the folder itself.
        grey: whether to read the images of a folder as grayscale. It has no effect on the other data sets.
    """
    name, root, size = arguments.data, arguments.root, image_size(arguments)
    if name == "digits":
        return data.RenderedDigits(size, length=10_000, seed=1) if test else data.RenderedDigits(size)
    if name == "folder":
        return data.ImageFolder(root, size, mode="L" if grey else "RGB")
    if rank() > 0:
        distributed.barrier()  # until the first process has downloaded it
    dataset = _torchvision(name, root, arguments.download, size, train=not test)
    if rank() == 0 and world_size() > 1:
        distributed.barrier()
    if name == "stacked-mnist":
        return data.StackedMNIST(dataset, length=26_000 if test else 128_000)
    return dataset


def _torchvision(name: str, root: Path, download: bool, size: int, *, train: bool) -> Any:
    try:  # a late import: the built-in digits and folders need no torchvision
        from torchvision import datasets, transforms
    except ImportError as error:
        raise MissingExtraError(
            f"torchvision is not installed, which reads --data {name}: pip install torchvision"
        ) from error
    kind, folder = _TORCHVISION[name]
    resize = None if size == _OWN_SIZES.get(name, 28) else transforms.Resize(size)
    try:
        return getattr(datasets, kind)(root, train=train, download=download, transform=resize)
    except (RuntimeError, OSError, ValueError, AssertionError, EOFError) as error:
        raw = root / folder
        found = sorted(path.name for path in raw.glob("*")) if raw.is_dir() else []
        state = f"is broken ({raw} holds {', '.join(found)})" if found else f"is not there (no {raw})"
        state += f": {error}" if found or download else ""  # without files, torchvision's message names its own option
        how = f"add --download to fetch it, or pass the folder that contains {folder} by --root"
        if name == "cifar10":
            how += "; if you have it as images in a folder for each class, use --data folder"
        raise DataError(f"--data {name}: {kind} {state}; {how}") from error


def with_conditions(dataset: Dataset[Any], table: Tensor) -> TensorDataset:
    """Replace each label y by row y of the table, (classes, features) float."""
    loader = data.TensorLoader(dataset, 1)  # it reads the whole data set
    assert loader.conditions is not None
    return TensorDataset(loader.samples, table[loader.conditions])

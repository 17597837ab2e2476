"""Stack images of one channel into images with many modes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ganlib._checks import check_count, check_seed
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib.data._fixed import fixed, without_transform
from ganlib.data._item_index import item_index
from ganlib.data._tensors import as_tensors
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["StackedMNIST"]

_MOST_MODES = 1_000_000


@without_transform
@fixed("channels", "num_classes", "seed")
class StackedMNIST(Dataset[tuple[Tensor, int]]):
    r"""Stack random images in the channels of one image, a data set with a known number of modes.

    With three MNIST digits in each image, there are 1,000 modes: the numbers from 000 to 999. A generator that
    collapses reaches few of them; :class:`ganlib.metrics.ModeCoverage` counts them. Any data set of labeled images with
    one channel can be stacked, such as :class:`RenderedDigits` or torchvision's ``MNIST`` and ``FashionMNIST``. With K
    classes, the label of an image is the number with the labels :math:`y_c` of its channels as digits. The first
    channel is the highest digit:

    .. math:: \text{label} = \sum_{c=1}^{C} y_c K^{C - c}

    The images are drawn with replacement, independently for each channel, when the data set is created. The drawn
    indices depend only on the seed and the sizes. Each image of ``dataset`` is read once and stored once. An item is
    stacked when you ask for it, so the data set needs little more memory than ``dataset``. A :class:`TensorLoader`
    stacks all items at once: 128,000 images of 3 x 28 x 28 bytes are 301 MB.

    Args:
        dataset: data set with items (image, label), each image (1, ...) uint8 or float, or a grayscale PIL image.
        channels: number of images in a stack, at least 1.
        length: number of stacks, at least 1. VEEGAN and PacGAN train on 128,000 stacks.
        seed: seed of the drawn images, from 0 to 2**64 - 1.
        num_classes: number of classes K, at least 1. None takes it from ``dataset.classes``, or else from the largest
            label.

    Attributes:
        images: (L, ...) the images of ``dataset``, without the channel.
        indices: (length, channels) int64, the index of the image in each channel.
        targets: (length,) int64, the labels of all items.
        classes: the names of all :math:`K^C` modes: ``"000"`` to ``"999"``. With more than 10 classes, ``"3-14-15"``.

    Raises:
        DataError, ArgumentTypeError, DTypeError, ShapeError: as for :class:`TensorLoader`; also if images have several
            channels, or there are no labels.
        ArgumentValueError: if ``dataset`` is empty, an argument is out of its range, a label is not below
            ``num_classes``, or there are more than 1,000,000 modes.

    Example:
        >>> from ganlib.data import RenderedDigits, TensorLoader
        >>> stacked = StackedMNIST(RenderedDigits(length=100), length=1000)
        >>> image, label = stacked[0]
        >>> image.shape, label == int(stacked.classes[label]), len(stacked.classes)
        (torch.Size([3, 28, 28]), True, 1000)
        >>> loader = TensorLoader(stacked, batch_size=64)
        >>> next(iter(loader)).sample.shape
        torch.Size([64, 3, 28, 28])

    References:
        Metz et al., "Unrolled Generative Adversarial Networks", 2017, arXiv:1611.02163, section 3.3.1.

        Srivastava et al., "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning", 2017,
        arXiv:1705.07761.

        Lin et al., "PacGAN: The Power of Two Samples in Generative Adversarial Networks", 2018, arXiv:1712.04086. Its
        code, https://github.com/fjxmlzn/PacGAN, draws from the training and test images of MNIST together.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        channels: int = 3,
        length: int = 128_000,
        seed: int = 0,
        num_classes: int | None = None,
    ) -> None:
        self.channels: int = check_count("channels", channels, least=1)
        length = check_count("length", length, least=1)
        self.seed: int = check_seed("seed", seed)
        if num_classes is not None:
            num_classes = check_count("num_classes", num_classes, least=1)
        images, labels = as_tensors(dataset)
        if images.ndim < 3 or images.shape[1] != 1:
            raise ShapeError(
                f"dataset's images {tuple(images.shape[1:])} must have one channel: (1, H, W), for example. A stack "
                "has one image in each channel"
            )
        if labels is None:
            raise ArgumentTypeError(f"dataset (={shown(dataset)}) has no labels; its items must be (image, label)")
        if labels.ndim != 1 or labels.is_floating_point():
            raise ShapeError(
                f"dataset's labels {tuple(labels.shape)} of {labels.dtype} must be one class index for each image"
            )
        self.num_classes: int = _count_classes(dataset, labels, num_classes)
        if (modes := self.num_classes**self.channels) > _MOST_MODES:
            raise ArgumentValueError(
                f"channels (={channels}) with {self.num_classes} classes each have {self.num_classes}^{channels} "
                f"modes; at most {_MOST_MODES:,} are supported"
            )
        numbers = torch.Generator().manual_seed(self.seed)
        self.images: Tensor = images.squeeze(1)
        self.indices: Tensor = torch.randint(len(images), (length, self.channels), generator=numbers)
        digits = labels.cpu()[self.indices]
        self.targets: Tensor = (digits * self.num_classes ** torch.arange(self.channels - 1, -1, -1)).sum(1)
        self.classes: list[str] = _names(self.num_classes, self.channels)
        absent = self.num_classes - len(labels.unique())
        if absent:
            warn_user(
                f"dataset has no image of {absent} of its {self.num_classes} classes, so {modes:,} modes are possible, "
                f"but {(self.num_classes - absent) ** self.channels:,} occur"
            )

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "images", "num_classes", "channels", "seed", length=lambda: len(self))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Stack one item.

        Args:
            index: the index of the item; negative indices count from the end.

        Returns:
            An image (channels, ...) with the dtype of ``dataset``'s images, and its label.

        Raises:
            IndexError: if the index is out of range.
            ArgumentTypeError: if the index is not a whole number.
        """
        index = item_index(index, len(self))
        return self.images[self.indices[index]], int(self.targets[index])


def _count_classes(dataset: Any, labels: Tensor, given: int | None) -> int:
    """Return the number of classes: as given, as the data set says, or from the largest label."""
    largest = int(labels.max())
    if given is not None:
        if largest >= given:
            raise ArgumentValueError(f"num_classes (={given}) must be above the largest label of dataset, {largest}")
        return given
    while isinstance(dataset, Subset):  # its labels are those of the whole
        dataset = dataset.dataset
    try:
        return max(len(dataset.classes), largest + 1)
    except Exception:  # the attribute is missing or has another meaning
        return largest + 1


def _names(classes: int, channels: int) -> list[str]:
    """Name all modes by the indices of their classes, in order."""
    separator, names = "" if classes <= 10 else "-", [""]
    for channel in range(channels):
        names = [f"{name}{separator if channel else ''}{index}" for name in names for index in range(classes)]
    return names

"""Load your own images from a folder."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ganlib._checks import check_flag, check_option
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib.data._fixed import fixed, without_transform
from ganlib.data._item_index import item_index
from ganlib.data._pixels import eight_bit, grey_range, pixels
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError

__all__ = ["ImageFolder"]

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
_LAYOUT = "it must have a subfolder for each class, with two images or more in each, such as cat/1.jpg and dog/7.png"
_PARTS = {"train", "val", "valid", "validation", "test"}
_LONGEST = 16  # crop="random" keeps only the middle of a panorama: at most so many times the aspect ratio of an item


@without_transform
@fixed("root", "in_memory")
@fixed("size", "mode", "crop", unless=lambda folder: vars(folder).get("data", 0) is None)  # read at each access
class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Load the images of a folder that has one subfolder for each class.

    Every image gets the same size. EXIF orientation is applied. 16-bit grayscale images are scaled to 8 bits. Only the
    first frame of a file is used. Color profiles are ignored. If ``mode`` has no alpha channel, transparent pixels are
    blended with black.

    Each subfolder is a class; images in its own subfolders belong to it too. Classes and files are sorted by name. A
    file is an image if its suffix is .bmp .jpeg .jpg .pgm .png .ppm .tif .tiff or .webp, in lower or upper case. Hidden
    files and folders (``.name``) are ignored, and so are files outside the subfolders. Images that cannot be read are
    skipped, with one warning. These include 32-bit integers, signed integers and floats, because their white is
    unknown.

    Args:
        root: the folder.
        size: height and width in pixels, at least 1. A number sets both; a pair is (height, width).
        mode: ``"RGB"``, ``"L"`` (grayscale), or with an alpha channel ``"RGBA"`` or ``"LA"``.
        crop: how to treat an image with another aspect ratio. ``"center"`` resizes the largest central part.
            ``"random"`` resizes a largest part at a random position, drawn from torch's random numbers at each access.
            It keeps the resized images uncropped; if an image has more than 16 times the aspect ratio, only its middle
            is kept. ``"stretch"`` resizes the whole image and changes its aspect ratio. ``"pad"`` keeps the whole image
            and its aspect ratio, and adds bars. The bars are black or, with an alpha channel, transparent.
        in_memory: whether to decode all images at once and keep them, at H x W bytes per channel and image. If False,
            only the paths are kept, and each access reads, decodes and resizes one file; use a ``DataLoader`` with
            workers. Only the headers are checked first, so a damaged file raises an error when it is accessed.

    Attributes:
        classes: the names of the subfolders.
        targets: the labels of all items, as indices into ``classes``.
        paths: the files of all items.
        data: uint8 (L, H, W, C), or (L, H, W) for ``mode="L"``. A list of such images for ``crop="random"``. None if
            the images are not in memory.

    Raises:
        ArgumentValueError: if the size, the mode or the crop is invalid.
        ArgumentTypeError: if ``root`` is not a path, or ``in_memory`` is not True or False.
        DataError: if the folder has another layout, or a class has fewer than two readable images. A GAN cannot learn
            from one image.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.jpg", "dog/2.jpg"):
        ...         path = pathlib.Path(root, name)
        ...         path.parent.mkdir(exist_ok=True)
        ...         Image.new("RGB", (60, 40)).save(path)
        ...     dataset = ImageFolder(root, size=(24, 32))
        >>> dataset.classes, dataset.targets, dataset[0][0].shape
        (['cat', 'dog'], [0, 0, 1, 1], torch.Size([3, 24, 32]))
    """

    data: Tensor | list[Tensor] | None

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | tuple[int, int],
        mode: Literal["RGB", "L", "RGBA", "LA"] = "RGB",
        *,
        crop: Literal["center", "random", "stretch", "pad"] = "center",
        in_memory: bool = True,
    ) -> None:
        if not isinstance(root, str | os.PathLike):
            raise ArgumentTypeError(f"root (={shown(root)}) must be the path of a folder")
        size = size.tolist() if isinstance(size, numpy.ndarray) else size
        sides: Any = size if isinstance(size, tuple | list) and len(size) == 2 else (size,)
        if not all(not isinstance(side, bool) and isinstance(side, Integral) and int(side) >= 1 for side in sides):
            raise ArgumentValueError(
                f"size (={shown(size)}) must be a whole number of at least 1, or (height, width) of them"
            )
        check_option("mode", mode, ("RGB", "L", "RGBA", "LA"))
        check_option("crop", crop, ("center", "random", "stretch", "pad"))
        self.root: Path = Path(root)
        self.size: int | tuple[int, int] = (int(sides[0]), int(sides[1])) if len(sides) == 2 else int(sides[0])
        self.mode = mode
        self.crop = crop
        self.in_memory: bool = check_flag("in_memory", in_memory)
        found = _find(self.root)
        self.classes: list[str] = list(found)
        if len(found) > 1 and {name.lower() for name in found} <= _PARTS:
            warn_user(
                f"the classes in root (={self.root}) are {', '.join(found)}, which are parts of a data set: pass one "
                f"of them as root, such as {str(self.root / self.classes[0])!r}"
            )
        self.targets: list[int] = []
        self.paths: list[Path] = []
        count = sum(map(len, found.values()))
        shape = (count, *self._hw, len(mode)) if in_memory and crop != "random" else (0,)
        try:
            data = torch.empty(shape, dtype=torch.uint8)
        except RuntimeError as error:
            raise DataError(f"{count} images of size (={size}) do not fit in memory; use in_memory=False") from error
        uncropped: list[Tensor] = []
        unread: list[str] = []
        for label, (name, paths) in enumerate(found.items()):
            already = len(unread)
            for path in paths:
                try:
                    if not in_memory:
                        _check_header(path)
                    elif crop == "random":
                        uncropped.append(self._read(path))
                    else:
                        data[len(self.targets)] = self._read(path)
                except Exception as error:  # Pillow raises many types for damaged or hostile files
                    unread.append(f"{path.relative_to(self.root).as_posix()} ({type(error).__name__}: {error})")
                else:
                    self.targets.append(label)
                    self.paths.append(path)
            if (left := len(paths) - len(unread) + already) < 2:
                raise DataError(
                    f"root (={self.root}): of the {len(paths)} images of class {name!r} {left} can be read, but a "
                    f"class needs two: {_some(unread[already:])}"
                )
        if unread:
            warnings.warn(
                f"{len(unread)} of the {count} images in root (={self.root}) cannot be read and are left out: "
                f"{_some(unread)}",
                stacklevel=2,
            )
        if mode == "L":
            data, uncropped = data.squeeze(-1), [image.squeeze(-1) for image in uncropped]
        self.data = None if not in_memory else uncropped if crop == "random" else data[: len(self.targets)]

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "root", "size", "mode", "crop", "classes", images=lambda: len(self))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image and its label.

        Args:
            index: the index of the item; negative indices count from the end.

        Returns:
            A uint8 tensor (C, H, W), which is a copy, and the label.

        Raises:
            IndexError: if the index is out of range.
            ArgumentTypeError: if the index is not a whole number.
            DataError: if the images are not in memory, and the file cannot be read.
        """
        index = item_index(index, len(self))
        if self.data is None:
            try:
                image = self._read(self.paths[index])
            except MemoryError as error:
                raise DataError(f"{self.paths[index]} does not fit in memory at size (={self.size})") from error
            except Exception as error:
                raise DataError(
                    f"{self.paths[index]} cannot be read ({type(error).__name__}: {error}); remove it. "
                    "ImageFolder(root, size=1) reads each file once, and warns of all those that cannot be read"
                ) from error
        else:
            image = self.data[index]
            image = image.view(*image.shape[:2], -1)
        if self.crop == "random":
            height, width = self._hw
            top, left = (int(torch.randint(n, ())) for n in (len(image) - height + 1, image.shape[1] - width + 1))
            image = image[top : top + height, left : left + width]
        return image.permute(2, 0, 1).clone(memory_format=torch.contiguous_format), self.targets[index]

    @property
    def _hw(self) -> tuple[int, int]:
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return height, width

    def _read(self, path: Path) -> Tensor:
        """Read a file as uint8 (H, W, C), uncropped for ``crop="random"``."""
        with _opened(path) as file:
            image = eight_bit(file, alpha=self.mode.endswith("A")).convert(self.mode)
        return pixels(_resized(image, *self._hw, self.crop))


def _find(root: Path) -> dict[str, list[Path]]:
    try:
        if not root.is_dir():
            raise DataError(f"root (={root}) is not a folder; {_LAYOUT}")
        entries = _visible(root)
        folders = [path for path in entries if path.is_dir()]
        found = {folder.name: list(_images(folder, (folder.resolve(),))) for folder in folders}
    except OSError as error:
        raise DataError(f"root (={root}) cannot be searched: {error}") from error
    if not any(found.values()):
        lacks = f"no image in its subfolders ({_some(list(found))})" if found else "no subfolder"
        loose = [path.name for path in entries if _is_image(path) and path not in folders]
        hint = (
            f"images that lie directly in it ({_some(loose)}) have no class, so move them into one; " if loose else ""
        )
        raise DataError(f"root (={root}) has {lacks}; {hint}{_LAYOUT}")
    for name, paths in found.items():
        if len(paths) < 2:
            number = f"a single image ({paths[0].name})" if paths else f"no image (of {' '.join(_ENDINGS)})"
            raise DataError(f"root (={root}): the subfolder {name!r} has {number}; a class needs two")
    return found


def _visible(folder: Path) -> list[Path]:
    """Return the visible entries, sorted by code points: the same order on all file systems."""
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), key=lambda path: path.name)


def _images(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    for path in _visible(folder):
        if not path.is_dir():
            if _is_image(path):
                yield path
        elif (target := path.resolve()) not in above:  # a link may point to a parent folder
            yield from _images(path, (*above, target))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():  # opening a named pipe would wait forever
        raise OSError("it is a broken link or no file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and large images
        with Image.open(path, formats=_FORMATS) as file:  # fixed formats, because some others run other programs
            yield file


def _check_header(path: Path) -> None:
    with _opened(path) as file:
        grey_range(file)


def _resized(image: Image.Image, height: int, width: int, crop: str) -> Image.Image:
    """Resize the part that the crop keeps. Pillow multiplies colors by alpha, so hidden colors do not show."""
    box = (0, 0, *image.size)
    if crop == "pad":
        scale = min(width / image.width, height / image.height)
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        padded = Image.new(image.mode, (width, height), (0,) * len(image.mode))
        padded.paste(image.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return padded
    if crop != "stretch":
        times = 1 if crop == "center" else _LONGEST
        part = (
            max(1, min(image.width, round(image.height * width / height) * times)),
            max(1, min(image.height, round(image.width * height / width) * times)),
        )
        left, top = (image.width - part[0]) // 2, (image.height - part[1]) // 2
        box = (left, top, left + part[0], top + part[1])
        if crop == "random":  # one side gets the size of the item, the other stays longer
            scale = max(width / part[0], height / part[1])
            width, height = max(width, round(part[0] * scale)), max(height, round(part[1] * scale))
    # Resizing first and cropping then is the same, but would need much memory for a strip of 1 x 10,000,000 pixels.
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box)

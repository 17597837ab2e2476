"""Your own images, from a folder."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from ganlib._checks import check_option, check_sizes
from ganlib.errors import DataError

__all__ = ["ImageFolder"]

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
_LAYOUT = "it must have a subfolder for each class, with two images or more in each, such as cat/1.jpg and dog/7.png"


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """The images in a folder with one subfolder per class, resized, read at once and kept in memory.

    The largest central square of each image is resized to size x size. Images are rotated as their EXIF data say,
    16-bit grey images are scaled to 8 bits, transparent pixels are put on black, and only the first frame is read.

    Classes and their files are in the order of their names; subfolders of a class belong to it. A file is an image if
    its suffix is one of .bmp .jpeg .jpg .pgm .png .ppm .tif .tiff .webp, in lower or upper case. Hidden files and
    folders (``.name``) are ignored, and so are files outside the subfolders. Images that cannot be read are left out,
    with one warning.

    Args:
        root: the folder.
        size: height and width in pixels, at least 1.
        mode: ``"RGB"`` or ``"L"`` (grey).

    Attributes:
        classes: the names of the subfolders.
        targets: the labels of all items, indices of ``classes``.
        data: uint8, (L, size, size, 3) for RGB, (L, size, size) for grey.

    Raises:
        ArgumentValueError: the size or the mode is invalid.
        DataError: the folder has another layout, or a class has fewer than two images that can be read: a GAN cannot
            learn anything from one image.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cat/1.png", "cat/2.png", "dog/1.jpg", "dog/2.jpg"):
        ...         path = pathlib.Path(root, name)
        ...         path.parent.mkdir(exist_ok=True)
        ...         Image.new("RGB", (60, 40)).save(path)
        ...     dataset = ImageFolder(root, size=32)
        >>> dataset.classes, dataset.targets, dataset[0][0].shape
        (['cat', 'dog'], [0, 0, 1, 1], torch.Size([3, 32, 32]))
    """

    def __init__(self, root: str | os.PathLike[str], size: int, mode: Literal["RGB", "L"] = "RGB") -> None:
        check_sizes(size=size)
        check_option("mode", mode, ("RGB", "L"))
        self.root = Path(root)
        self.size = size
        self.mode = mode
        found = _find(self.root)
        self.classes = list(found)
        self.targets: list[int] = []
        count = sum(map(len, found.values()))
        data = torch.empty((count, size, size, 3) if mode == "RGB" else (count, size, size), dtype=torch.uint8)
        unread: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd metadata and large images; what fails is told below
            for label, (name, paths) in enumerate(found.items()):
                already = len(unread)
                for path in paths:
                    try:
                        pixels = bytearray(_square(path, size, mode).tobytes())
                    except Exception as error:  # whatever a damaged or hostile file makes Pillow raise
                        name_in_root = path.relative_to(self.root).as_posix()
                        unread.append(f"{name_in_root} ({type(error).__name__}: {error})")
                    else:
                        data[len(self.targets)] = torch.frombuffer(pixels, dtype=torch.uint8).view(data.shape[1:])
                        self.targets.append(label)
                if (left := len(paths) - len(unread) + already) < 2:
                    raise DataError(
                        f"root (={self.root}): of the {len(paths)} images of class {name!r} {left} can be read, and a "
                        f"class needs two: {_some(unread[already:])}"
                    )
        if unread:
            warnings.warn(
                f"{len(unread)} of the {count} images in root (={self.root}) cannot be read and are left out: "
                f"{_some(unread)}",
                stacklevel=2,
            )
        self.data = data[: len(self.targets)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image.

        Args:
            index: which one; negative ones count from the end.

        Returns:
            A uint8 tensor (C, size, size) of its own memory, and its label.

        Raises:
            IndexError: the index is out of range.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"index (={index}) must be in [-{len(self)}, {len(self)})")
        image = self.data[index].view(self.size, self.size, -1).permute(2, 0, 1)
        return image.clone(memory_format=torch.contiguous_format), self.targets[index]


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
    """Return the visible entries in the order of code points, which is the same on all file systems."""
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), key=lambda path: path.name)


def _images(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    for path in _visible(folder):
        if not path.is_dir():
            if _is_image(path):
                yield path
        elif (target := path.resolve()) not in above:  # a link may lead back up
            yield from _images(path, (*above, target))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS


def _some(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _square(path: Path, size: int, mode: str) -> Image.Image:
    if not path.is_file():  # opening a named pipe would wait forever
        raise OSError("it is a broken link or no file")
    with Image.open(path, formats=_FORMATS) as file:  # not by its content: some formats run other programs
        image = _eight_bit(ImageOps.exif_transpose(file)).convert(mode)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    # The same as resizing and then cropping, for which a strip of 1 x 10,000,000 pixels would need much memory.
    return image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + short, top + short))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return an image on black, in a mode that Pillow converts to RGB and grey without clipping."""
    if image.mode == "F":
        raise ValueError("its pixels are floats, whose black and white are unknown")
    if image.mode.startswith("I"):
        wide = image.convert("I")
        low, high = wide.getextrema()
        if not 0 <= low <= high < 2**16:  # type: ignore[operator]  # two numbers, as there is one channel
            raise ValueError(f"its pixels are from {low} to {high}, neither 8 nor 16 bits")
        grey = wide.point(lambda value: value / 257 + 0.5).convert("L")
        grey.info = {}  # a transparent grey would be one of the 16-bit values
        return grey
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image

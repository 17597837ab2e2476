"""Write images, and read the images that a SampleGrid saved."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganlib._checks import check_path_like
from ganlib._files import write_atomically
from ganlib.errors import ArgumentValueError

__all__ = [
    "check_path",
    "even_selection",
    "numbered_images",
    "read_images",
    "save_image",
]

_LARGEST = 65_535  # the longest side of a GIF
_OPAQUE = {"L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB"}


def check_path(path: Any, *suffixes: str) -> Path:
    """Return the path of a file; raise an error if it is invalid or has a suffix that is not listed."""
    path = check_path_like("path", path)
    if not path.name:
        raise ArgumentValueError(f"path (={str(path)!r}) must be the path of a file")
    if suffixes and path.suffix.lower() not in ("", *suffixes):
        raise ArgumentValueError(f"path (={path}) must end in {' or '.join(suffixes)}")
    return path


def save_image(path: Path, save: Any, **options: Any) -> None:
    """Write the output of ``save(file, **options)`` atomically; ``save`` belongs to an image or a figure."""
    content = io.BytesIO()  # encode in memory, since Pillow would hide the error of a full disk
    save(content, **options)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def numbered_images(folder: Path, last: int) -> list[Path]:
    """Return the PNG files of a folder with numbers up to the last iteration as names, sorted by number."""
    numbered = (path for path in folder.glob("[0-9]*.png") if path.stem.isdecimal() and path.is_file())
    return sorted((path for path in numbered if int(path.stem) <= last), key=lambda path: int(path.stem))


def even_selection(paths: Sequence[Path], most: int) -> list[Path]:
    """Return all paths, or an even selection of ``most`` paths (at least 2) that includes the first and the last."""
    last = len(paths) - 1
    count = min(len(paths), most)
    return [paths[round(index * last / max(count - 1, 1))] for index in range(count)]


def read_images(paths: Sequence[Path], *, product: str) -> dict[Path, Image.Image]:
    """Return the readable images with the size and mode of the last one; warn of each other image.

    Transparent images are put on white.
    """
    images: list[tuple[Path, Image.Image]] = []
    for path in reversed(paths):
        try:
            images.append((path, _read(path, like=images[0][1] if images else None)))
        except Exception as error:  # Pillow can raise any error for a damaged or hostile file
            warnings.warn(f"{path} is left out of the {product}: {type(error).__name__}: {error}", stacklevel=4)
    return {path: _on_white(image) for path, image in reversed(images)}


def _read(path: Path, like: Image.Image | None) -> Image.Image:
    """Return the pixels of an image, without metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images long before its limit
        with Image.open(path, formats=["PNG"]) as image:  # other formats may make Pillow run other programs
            if like is not None and (image.mode, image.size) != (like.mode, like.size):
                raise ValueError(f"it is {image.mode} {image.size}, but the last image is {like.mode} {like.size}")
            if image.mode not in _OPAQUE or not all(1 <= side <= _LARGEST for side in image.size):
                raise ValueError(f"SampleGrid does not save images like this one, which is {image.mode} {image.size}")
            return Image.frombytes(image.mode, image.size, image.tobytes())


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image without transparency, on white."""
    if _OPAQUE[image.mode] == image.mode:
        return image
    sheet = Image.new("RGBA", image.size, "white")
    sheet.alpha_composite(image.convert("RGBA"))
    return sheet.convert(_OPAQUE[image.mode])

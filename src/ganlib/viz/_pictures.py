"""The pictures that a SampleGrid has left in its folder."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

__all__ = ["even_selection", "numbered_pictures", "read_pictures"]

_LARGEST = 65_535  # a GIF's side


def numbered_pictures(folder: Path, last: int) -> list[Path]:
    """Find the pictures up to an iteration.

    Args:
        folder: where they may be; it may be missing.
        last: the iteration.

    Returns:
        The PNG files whose names are numbers up to it, by number.
    """
    numbered = (path for path in folder.glob("[0-9]*.png") if path.stem.isdecimal() and path.is_file())
    return sorted((path for path in numbered if int(path.stem) <= last), key=lambda path: int(path.stem))


def even_selection(paths: Sequence[Path], most: int) -> list[Path]:
    """Select some, evenly, the first and the last always.

    Args:
        paths: any number.
        most: how many at most, at least 2.

    Returns:
        All of them, or ``most`` of them, in order.
    """
    last = len(paths) - 1
    count = min(len(paths), most)
    return [paths[round(index * last / max(count - 1, 1))] for index in range(count)]


def read_pictures(paths: Sequence[Path], *, work: str, form: str) -> dict[Path, Image.Image]:
    """Read the pictures that are good, and like the last good one; each other one is named in a warning.

    Args:
        paths: the files.
        work: what they are read for, as the warning calls it.
        form: the format that it is written in.

    Returns:
        The pictures, mode ``L`` or ``RGB``, in order.
    """
    pictures: list[tuple[Path, Image.Image]] = []
    for path in reversed(paths):
        try:
            pictures.append((path, _read(path, form, like=pictures[0][1] if pictures else None)))
        except Exception as error:  # whatever a damaged or hostile file makes Pillow raise
            warnings.warn(f"{path} is left out of the {work}: {type(error).__name__}: {error}", stacklevel=4)
    return dict(reversed(pictures))


def _read(path: Path, form: str, like: Image.Image | None) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a grid may be as large as it likes, up to Pillow's limit
        with Image.open(path, formats=["PNG"]) as image:  # not by its content: some formats run other programs
            if like is not None and (image.mode, image.size) != (like.mode, like.size):
                raise ValueError(f"it is {image.mode} {image.size}, but the last picture {like.mode} {like.size}")
            if image.mode not in ("L", "RGB") or not all(1 <= side <= _LARGEST for side in image.size):
                raise ValueError(f"a {image.mode} picture of {image.size} is none that a SampleGrid draws for a {form}")
            return Image.frombytes(image.mode, image.size, image.tobytes())  # without what else the file says

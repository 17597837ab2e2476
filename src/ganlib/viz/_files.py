"""Pictures on disk, whole or not at all."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ganlib.errors import RunFolderError

__all__ = ["check_folder", "remove_pictures", "save_picture"]


def check_folder(folder: Path) -> None:
    """Make the folder where it is missing, and see whether a file can be made in it.

    Args:
        folder: the folder.

    Raises:
        RunFolderError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {error}") from error


def remove_pictures(paths: Iterable[Path]) -> None:
    """Remove pictures, those of them that are there.

    Args:
        paths: the files.

    Raises:
        RunFolderError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be removed: {error}") from error


def save_picture(path: Path, save: Any, **options: Any) -> None:
    """Write a picture under another name, and rename it, so that no reader sees half of one.

    Args:
        path: the file.
        save: ``save(file, **options)``, a Pillow image's or a matplotlib figure's.
        options: handed on; they say the format.

    Raises:
        RunFolderError: it cannot be written.
    """
    picture = io.BytesIO()  # drawn before it is written: what a full disk raises is then always an OSError
    save(picture, **options)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(picture.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # nothing is left to remove where the folder itself has gone
            temporary.unlink()
        if isinstance(error, OSError):
            raise RunFolderError(f"{path} cannot be written: {error}") from error
        raise

"""Pictures on disk, whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Any

from ganlib.errors import RunFolderError

__all__ = ["check_folder", "save_picture"]


def check_folder(folder: Path) -> None:
    """Make the folder where it is missing.

    Args:
        folder: the folder.

    Raises:
        RunFolderError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("permission denied")
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {error}") from error


def save_picture(path: Path, save: Any, **options: Any) -> None:
    """Write a picture under another name, and rename it, so that no reader sees half of one.

    Args:
        path: the file.
        save: ``save(path, **options)``, a Pillow image's or a matplotlib figure's.
        options: handed on.

    Raises:
        RunFolderError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save(temporary, **options)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # nothing is left to remove where the folder itself has gone
            temporary.unlink()
        raise RunFolderError(f"{path} cannot be written: {error}") from error

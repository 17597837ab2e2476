"""Files of tensors and plain values: written whole or not at all, read without running code."""

import os
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, CheckpointError, RunFolderError

__all__ = ["load_plain", "make_folder", "save_plain", "write_atomically"]

_PLAIN = {bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device}


def save_plain(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Save tensors and plain values so that a crash at any moment leaves the whole file or none.

    Args:
        path: the file; its folder is made.
        values: dicts, lists, tuples and sets of tensors, numbers, strings, None.

    Raises:
        ArgumentTypeError: a value that could not be read back without running code, named by its place.
        RunFolderError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_plain(f"{folder}/x.pt", {"weights": torch.ones(2)})
        ...     load_plain(f"{folder}/x.pt")
        {'weights': tensor([1., 1.])}
    """
    _check_plain(values, "")
    write_atomically(path, lambda file: torch.save(values, file))


def load_plain(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save_plain` wrote, onto the CPU; nothing in the file is run.

    Args:
        path: the file.

    Returns:
        The values.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds more than tensors and plain values.

    Example:
        >>> load_plain("no/such/file.pt")
        Traceback (most recent call last):
        ganlib.errors.CheckpointError: no/such/file.pt cannot be read: there is no such file
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd files before it refuses them
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()  # torch.save writes checksums, but torch.load does not compare them
            if broken is not None:
                raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
            values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except Exception as error:  # whatever a damaged or hostile file makes torch.load raise
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or holds more than tensors and plain values ({_first_line(error)})"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it holds a {type(values).__name__}, not a dict")
    return values


def write_atomically(path: str | os.PathLike[str], write: Any) -> None:
    """Write a file under another name, flush it to the disk, and rename it.

    Args:
        path: the file; its folder is made.
        write: called with the open binary file.

    Raises:
        RunFolderError: it cannot be written; what was at the path is untouched.
    """
    path = Path(path)
    make_folder(path.parent)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened, and renames need no such flush
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error}") from error


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """A folder of a run, made where it is missing, and found writable.

    Args:
        folder: the folder.

    Returns:
        Its path.

    Raises:
        RunFolderError: it cannot be made or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {error}") from error
    return folder


def _check_plain(value: Any, place: str) -> None:
    if isinstance(value, Tensor) or type(value) in _PLAIN:
        return
    if type(value) in (dict, OrderedDict):
        for key, member in value.items():
            _check_plain(key, f"{place} (a key)")
            _check_plain(member, f"{place}/{key}" if place else str(key))
    elif type(value) in (list, tuple, set):
        for index, member in enumerate(value):
            _check_plain(member, f"{place}/{index}")
    else:
        raise ArgumentTypeError(
            f"{place or 'values'} (={value!r}) is a {type(value).__qualname__}; only tensors and plain values "
            "(numbers, strings, None, and dicts, lists, tuples and sets of them) can be saved"
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

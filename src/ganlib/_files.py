"""The files of a run: written completely or not at all, read without running code, and used by one run at a time."""

import contextlib
import errno
import glob
import os
import secrets
import socket
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError

try:
    import fcntl
except ImportError:  # on Windows no folder is locked
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "FolderLock",
    "load_plain",
    "make_folder",
    "prepare_file",
    "remove_files",
    "remove_leftovers",
    "save_plain",
    "write_atomically",
]

_PLAIN = {bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device}
_DEEPEST = 64  # levels of dicts, lists and tuples inside each other

_locked = set[Path]()  # by this process


def write_atomically(path: str | os.PathLike[str], write: Callable[[Any], Any]) -> None:
    """Write a file under a temporary name, flush it to the disk, then rename it; on an error the old file stays."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                sink = _Sink(file)
                write(sink)
                if sink.error is not None:
                    raise sink.error
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # it is renamed, or the folder is gone or read-only
                temporary.unlink()
        if os.name == "posix":  # other systems cannot open a folder, and need no flush of a rename
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error}") from error


def save_plain(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Save tensors and plain values atomically; raise an ArgumentTypeError for what ``load_plain`` could not read."""
    _check_plain(values, "")
    write_atomically(path, lambda file: torch.save(values, file))


def load_plain(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of ``save_plain`` onto the CPU without running code; raise a CheckpointError if it is damaged."""
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # torch warns of strange files before it refuses them
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch.save writes checksums, but torch.load does not compare them
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            file.seek(0)
            values = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except Exception as error:  # a damaged or hostile file can make torch.load raise anything
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or holds more than tensors and plain values ({reason})"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it holds a {type(values).__name__}, not a dict")
    return values


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder if it is missing, and raise a RunFolderError if no file can be written in it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {error}") from error


def prepare_file(path: Path) -> None:
    """Make the folder of a file, and remove what a killed process left of ``write_atomically`` to it."""
    make_folder(path.parent)
    remove_leftovers(path.parent, glob.escape(path.name))


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what a killed process left of ``write_atomically`` to files of a name, or of a pattern of names."""
    remove_files(folder.glob(f".{name}.????????.tmp"))


def remove_files(paths: Iterable[Path]) -> None:
    """Remove the files that exist; raise a RunFolderError if one cannot be removed."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be removed: {error}") from error


class FolderLock:
    """Keeps a second run out of a folder while this process lives and holds the lock.

    It is a record lock of POSIX. The system releases it when the process ends, in whatever way. Such a lock belongs to
    one process. A lock that forked workers share (of flock or filelock) would outlive a killed run in its workers.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._key = self._path.resolve()
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock, unless it is held already; raise a RunFolderError if another run holds it."""
        if self._handle is not None:
            return
        if self._key in _locked:
            self._refuse(f"another run of this process ({os.getpid()})")
        while self._handle is None:
            handle = self._open()
            if self._exists(handle):
                self._handle = handle
            else:  # its last holder removed it at this very moment
                os.close(handle)
        with contextlib.suppress(OSError):  # the name of the holder is a courtesy; a full disk does not matter
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        _locked.add(self._key)

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self._path.unlink()
            os.close(self._handle)
            self._handle = None
            _locked.discard(self._key)

    def _open(self) -> int:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RunFolderError(f"{self._path} cannot be written: {error}") from error
        try:
            if fcntl is not None:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = os.read(handle, 200).decode(errors="replace").strip()
                os.close(handle)
                self._refuse(holder or "another run")
            warnings.warn(f"{self._path} cannot be locked, so a second run would not be noticed: {error}", stacklevel=3)
        return handle

    def _exists(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _refuse(self, holder: str) -> None:
        raise RunFolderError(
            f"{self._path.parent} is in use by {holder}; the files of two runs in one folder would mix: choose another "
            "folder, or end that run"
        ) from None


class _Sink:
    """A file that keeps the error of the disk, since torch.save makes an error without the reason of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.error: OSError | None = None
        self._file = file

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Do nothing: the file is flushed at the end."""


def _check_plain(value: Any, position: str, depth: int = 0) -> None:
    """Raise an ArgumentTypeError that says where a value is that ``weights_only=True`` would not read."""
    if type(value) in _PLAIN:
        return
    if depth == _DEEPEST:
        raise ArgumentValueError(f"{position} has more than {_DEEPEST} levels, and could not be read again")
    if type(value) in (Tensor, nn.Parameter):
        members: Iterable[tuple[Any, Any]] = vars(value).items()  # attributes of a tensor are saved with it
    elif type(value) in (dict, OrderedDict):
        members = value.items()
        for key in value:
            _check_plain(key, f"{position} (a key)", depth + 1)
    elif type(value) in (list, tuple, set):
        members = enumerate(value)
    else:
        raise ArgumentTypeError(
            f"{position or 'values'} (={value!r}) is a {type(value).__qualname__}; only tensors and plain values "
            "(numbers, strings, None, and dicts, lists, tuples and sets of them) can be saved"
        )
    for key, member in members:
        _check_plain(member, f"{position}/{key}" if position else str(key), depth + 1)

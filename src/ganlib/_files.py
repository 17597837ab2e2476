"""Files of a run: atomic writes, safe reads and folder locks."""

import contextlib
import errno
import glob
import importlib
import os
import secrets
import socket
import tempfile
import time
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError

__all__ = [
    "FolderLock",
    "as_plain",
    "load_plain",
    "make_folder",
    "prepare_file",
    "remove_files",
    "remove_leftovers",
    "save_plain",
    "write_atomically",
]


def _system_module(name: str) -> Any:
    """Return a module, or None if the system does not have it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _system_module("fcntl"), _system_module("msvcrt")

_PLAIN = {bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device}
_MAPPINGS = (dict, OrderedDict, Counter)
_SCALARS = (bool, int, float, complex, str, bytes)
_DEEPEST = 64  # levels of nested dicts, lists and tuples
_WIDEST = 2000  # bits of an int; pickle writes longer ones in a format that torch does not read

_LOCKED_BYTE = 2**30  # after all text, because Windows does not let others read locked bytes

_locked = set[Path]()  # by this process


def write_atomically(path: str | os.PathLike[str], write: Callable[[Any], Any]) -> None:
    """Write a file under a temporary name, flush it to the disk, and rename it; on an error the old file remains."""
    path = Path(path)
    _check_path(path)
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
            _patiently(partial(os.replace, temporary, path))
        finally:
            with contextlib.suppress(OSError):  # the file is renamed, or the folder is gone or read-only
                temporary.unlink()
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and needs no flush after a rename
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {_reason(error)}") from error


def _check_path(path: Path) -> None:
    """Raise a RunFolderError for a name that no file can have, for example with a NUL byte."""
    try:
        os.lstat(path)
    except OSError:  # the write reports it
        pass
    except ValueError as error:
        raise RunFolderError(f"{str(path)!r} cannot be written: {error}") from error


def _reason(error: OSError) -> str:
    """Return the message of a system error without the name of a temporary file."""
    return str(error) if error.strerror is None else f"[Errno {error.errno}] {error.strerror}"


def save_plain(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Save tensors and plain values atomically; raise an ArgumentTypeError for values that cannot be loaded again."""
    plain = as_plain(values)
    try:
        write_atomically(path, lambda file: torch.save(plain, file))
    except KeyError as error:  # torch cannot save some dtypes of a few bits
        raise ArgumentTypeError(f"values contain a tensor that torch cannot save: {error}") from error


def load_plain(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a file of ``save_plain`` to the CPU without running code; raise a CheckpointError if it is damaged."""
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # torch warns about strange files before it raises an error
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch.save writes checksums, but torch.load does not check them
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            file.seek(0)
            values = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except Exception as error:  # a damaged or malicious file can make torch.load raise any error
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        reason = reason.partition(" This file can still be loaded")[0]  # torch's advice would run code of the file
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or holds more than tensors and plain values ({reason})"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it holds a {type(values).__name__}, not a dict")
    return values


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder if it is missing, and raise a RunFolderError if it is not writable."""
    _check_path(Path(folder))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {_reason(error)}") from error


def prepare_file(path: Path) -> None:
    """Make the folder of a file, remove temporary files, and raise a RunFolderError if the file is not writable."""
    _check_path(path)
    make_folder(path.parent)
    remove_leftovers(path.parent, glob.escape(path.name))
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:  # a name can be too long
        raise RunFolderError(f"{path} cannot be written: {_reason(error)}") from error


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove temporary files that a killed process left in ``write_atomically``, for a name or a glob pattern."""
    remove_files(folder.glob(f".{name}.????????.tmp"))


def remove_files(paths: Iterable[Path]) -> None:
    """Remove existing files; raise a RunFolderError if one cannot be removed."""
    for path in paths:
        try:
            _patiently(partial(path.unlink, missing_ok=True))
        except OSError as error:
            raise RunFolderError(f"{path} cannot be removed: {error}") from error


class FolderLock:
    """Lock a folder against a second run.

    It is a POSIX or Windows record lock of this process, which the system releases when the process ends. A lock that
    forked workers share (flock, filelock) would remain in the workers of a killed run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._key = self._path.resolve()
        self._handle: int | None = None

    def acquire(self) -> None:
        """Acquire the lock, unless this object has it; raise a RunFolderError if another run has it."""
        if self._handle is not None:
            return
        if self._key in _locked:
            self._refuse(f"another run of this process ({os.getpid()})")
        while self._handle is None:
            handle = self._open()
            if self._exists(handle):
                self._handle = handle
            else:  # the previous owner removed the file in the meantime
                os.close(handle)
        with contextlib.suppress(OSError):  # the name of the owner is not essential, so a full disk does not matter
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        _locked.add(self._key)

    def release(self) -> None:
        """Release the lock, if this object has it."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self._path.unlink()
            os.close(self._handle)
            if fcntl is None:  # Windows cannot remove an open file
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._handle = None
            _locked.discard(self._key)

    def _open(self) -> int:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RunFolderError(f"{self._path} cannot be written: {error}") from error
        try:
            _lock(handle)
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


def _lock(handle: int) -> None:
    """Lock a file; raise an OSError, with EACCES or EAGAIN if another process has the lock."""
    if fcntl is not None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    if msvcrt is None:
        raise OSError(errno.ENOTSUP, "this system has no locks")
    try:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(handle, 0, os.SEEK_SET)


def _patiently(action: Callable[[], object]) -> None:
    """Change a file with retries, because on Windows another program, such as a virus scanner, can block it."""
    for pause in (0.05, 0.2, 1.0) if fcntl is None else ():
        try:
            action()
            return
        except PermissionError:
            time.sleep(pause)
    action()


class _Sink:
    """Write to a file and keep the error of the disk, because torch.save raises an error without the reason."""

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
        """Do nothing, because the file is flushed at the end."""


def as_plain(values: Any, position: str = "", *, lazy: bool = False) -> Any:
    """Convert values so that ``load_plain`` can read them; tensors are not copied.

    NumPy scalars and subclasses of Python's types become Python's types, and arrays become tensors. Values that need no
    conversion are returned unchanged.

    Args:
        values: values in nested dicts, lists, tuples and sets.
        position: the position of the values, for the error.
        lazy: whether to accept parameters without a shape; they cannot be saved yet.

    Raises:
        ArgumentTypeError: a value has no plain equivalent; the message names its position.
        ArgumentValueError: the values are nested too deeply, or an int is too long.

    Example:
        >>> as_plain({"best": np.float64(0.5), "seen": [np.int64(3)]})
        {'best': 0.5, 'seen': [3]}
    """
    return _plain(values, position, 0, lazy)


def _plain(value: Any, position: str, depth: int, lazy: bool) -> Any:
    kind = type(value)
    if kind in _PLAIN and not (kind is int and value.bit_length() > _WIDEST):
        return value
    if depth == _DEEPEST:
        raise ArgumentValueError(f"{position} has more than {_DEEPEST} levels, so it could not be read again")
    if isinstance(value, Tensor):
        return _plain_tensor(value, position, depth, lazy)
    if isinstance(value, np.ndarray | np.generic):
        return _of_numpy(value, position)
    if isinstance(value, int) and value.bit_length() > _WIDEST:
        raise ArgumentValueError(f"{position or 'values'} is an int of {value.bit_length()} bits, too long to be read")
    scalar: Any
    for scalar in _SCALARS:
        if isinstance(value, scalar):
            return scalar(value.value if isinstance(value, Enum) else value)
    if isinstance(value, dict):
        pairs = [
            (_plain(key, f"{position} (a key)", depth + 1, lazy), _plain(one, _within(position, key), depth + 1, lazy))
            for key, one in value.items()
        ]
        attributes = vars(value) if isinstance(value, OrderedDict) else {}  # where torch saves metadata of a module
        plain_attributes = _plain(attributes, position, depth + 1, lazy) if attributes else attributes
        same = all(
            old is new
            for pair, own in zip(value.items(), pairs, strict=True)
            for old, new in zip(pair, own, strict=True)
        )
        if kind in _MAPPINGS and same and plain_attributes is attributes:
            return value
        mapping = next(base for base in reversed(_MAPPINGS) if isinstance(value, base))(pairs)
        if plain_attributes:
            vars(mapping).update(plain_attributes)
        return mapping
    for sequence in (list, tuple, set):
        if isinstance(value, sequence):
            members = [_plain(one, _within(position, index), depth + 1, lazy) for index, one in enumerate(value)]
            same = all(old is new for old, new in zip(value, members, strict=True))
            return value if kind is sequence and same else sequence(members)
    raise _not_plain(value, position)


def _within(position: str, key: Any) -> str:
    return f"{position}/{key}" if position else str(key)


def _plain_tensor(value: Tensor, position: str, depth: int, lazy: bool) -> Tensor:
    """Convert a tensor to a Tensor or Parameter of torch; its attributes are saved too."""
    if is_lazy(value):
        if lazy:
            return value
        raise ArgumentTypeError(
            f"{position or 'values'} is a parameter without a shape yet, so it could not be read again"
        )
    attributes = vars(value)
    plain = _plain(attributes, position, depth, lazy) if attributes else attributes
    if type(value) in (Tensor, nn.Parameter) and plain is attributes:
        return value
    if type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__:  # its data is not stored like a tensor's
        raise _not_plain(value, position)
    own = value.detach().as_subclass(Tensor)
    if isinstance(value, nn.Parameter):
        own = nn.Parameter(own, value.requires_grad)
    vars(own).update(plain)
    return own


def _of_numpy(value: Any, position: str) -> Any:
    """Convert a NumPy scalar to a Python value, and an array to a tensor."""
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
        except TypeError:
            raise _not_plain(value, position) from None
    plain = value.item() if value.dtype.kind in "biufcSU" else value  # of the dates, NaT would become None
    if type(plain) not in _PLAIN:  # a long double
        raise _not_plain(value, position)
    return plain


def _not_plain(value: Any, position: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{position or 'values'} (={shown(value)}) is a {type(value).__qualname__}; only tensors and plain values "
        "(numbers, strings, None, and dicts, lists, tuples and sets of them) can be saved"
    )

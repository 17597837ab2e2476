"""Files of tensors and plain values: written whole or not at all, read without running code."""

import os
import stat
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError
from ganlib.training._pickles import DEEPEST, check_pickle

__all__ = ["load_plain", "make_folder", "remove_leftovers", "save_plain", "write_atomically"]

_PLAIN = {bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device}


def save_plain(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Save tensors and plain values so that a crash at any moment leaves the whole file or none.

    Args:
        path: the file; its folder is made.
        values: dicts, lists, tuples and sets of tensors, numbers, strings, None.

    Raises:
        ArgumentTypeError: a value that could not be read back without running code, named by its place where it can.
        ArgumentValueError: a value that lies too deep in others, or in itself.
        RunFolderError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_plain(f"{folder}/x.pt", {"weights": torch.ones(2)})
        ...     load_plain(f"{folder}/x.pt")
        {'weights': tensor([1., 1.])}
    """
    _check_plain(values, "")

    def check(written: str) -> None:
        try:
            _check_archive(written, checksums=False)
        except Exception as error:  # as load_plain would
            raise ArgumentTypeError(f"values cannot be read back from {path}: {_first_line(error)}") from error

    write_atomically(path, lambda file: torch.save(values, file), check)


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
            _check_archive(path)
            values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except Exception as error:  # whatever a damaged or hostile file makes torch.load raise
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or holds more than tensors and plain values ({_first_line(error)})"
        ) from error
    if type(values) is not dict:
        raise CheckpointError(f"{path} cannot be read: it holds a {type(values).__name__}, not a dict")
    return values


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[Any], Any], check: Callable[[str], Any] | None = None
) -> None:
    """Write a file under another name, flush it to the disk, and rename it.

    Args:
        path: the file; its folder is made.
        write: called with something that has a binary file's ``write`` and ``flush``. There an error of the disk is
            kept and raised at the end, as torch.save makes a RuntimeError of it that does not say what is wrong.
        check: called with the name of the file that has been written, before it takes its place.

    Raises:
        RunFolderError: it cannot be written; what was at the path is untouched.
    """
    path = Path(path)
    make_folder(path.parent)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                sink = _Sink(file)
                write(sink)
                if sink.error is not None:
                    raise sink.error
                file.flush()
                os.fsync(file.fileno())
            if check is not None:
                check(temporary)
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


def remove_leftovers(folder: str | os.PathLike[str], name: str = "*") -> None:
    """Remove what a process that was killed while it wrote has left of :func:`write_atomically`.

    Args:
        folder: the folder; nothing writes in it now.
        name: the file's name, or a pattern of several.

    Raises:
        RunFolderError: they cannot be removed.
    """
    try:
        for leftover in Path(folder).glob(f".{name}.????????.tmp"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise RunFolderError(f"the folder {folder} cannot be written to: {error}") from error


class _Sink:
    """A file that takes everything, and keeps the error of one that could not."""

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
        """Nothing: the file is flushed at the end."""


def _check_archive(path: str | os.PathLike[str], *, checksums: bool = True) -> None:
    """Refuse what torch.save has not written, while nothing has been unpacked."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise zipfile.BadZipFile("it is no regular file")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        root = members[0].filename.split("/")[0]
        # torch finds a name whatever its case, and the first of two; zipfile the last.
        if len({name.lower() for name in sizes}) < len(members) or any(not n.startswith(f"{root}/") for n in sizes):
            raise zipfile.BadZipFile("two members share a name, or one lies elsewhere")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise zipfile.BadZipFile("a member is compressed, which torch.save does not do")
        if sum(sizes.values()) > status.st_size:
            raise zipfile.BadZipFile("its members are larger than the file")
        broken = (
            archive.testzip() if checksums else None
        )  # torch.save writes checksums, but torch.load does not compare them
        if broken is not None:
            raise zipfile.BadZipFile(f"the checksum of {broken} is wrong")
        data = f"{root}/data/"
        storages = {name.removeprefix(data): size for name, size in sizes.items() if name.startswith(data)}
        check_pickle(archive.read(f"{root}/data.pkl"), storages)


def _check_plain(value: Any, place: str, depth: int = 0) -> None:
    if isinstance(value, Tensor) or type(value) in _PLAIN:
        return
    if depth == DEEPEST:
        raise ArgumentValueError(f"{place} lies more than {DEEPEST} levels deep, and could not be read back")
    if type(value) in (dict, OrderedDict):
        for key, member in value.items():
            _check_plain(key, f"{place} (a key)", depth + 1)
            _check_plain(member, f"{place}/{key}" if place else str(key), depth + 1)
    elif type(value) in (list, tuple, set):
        for index, member in enumerate(value):
            _check_plain(member, f"{place}/{index}", depth + 1)
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

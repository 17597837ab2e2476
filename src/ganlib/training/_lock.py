"""One run at a time in a folder."""

import contextlib
import errno
import os
import socket
import warnings
from pathlib import Path

from ganlib.errors import RunFolderError

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["FolderLock"]

_held: set[Path] = set()


class FolderLock:
    """Keeps a second run out of a folder, for as long as this process lives and holds it.

    The system drops the lock with the process, however that ends. It is one of POSIX's record locks, which belong to a
    process alone: a lock that forked workers share (flock's, filelock's) would outlive a killed run in its orphans.

    Args:
        folder: must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._key = self._path.resolve()
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock; one that is held already is kept.

        Raises:
            RunFolderError: another run holds it.
        """
        if self._handle is not None:
            return
        if self._key in _held:
            self._refuse(f"another run of this process ({os.getpid()})")
        while self._handle is None:
            handle = self._open()
            if self._is_there(handle):
                self._handle = handle
            else:  # its last holder has removed it in this very moment
                os.close(handle)
        with contextlib.suppress(OSError):  # who holds it is a courtesy; on a full disk the lock holds all the same
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        _held.add(self._key)

    def release(self) -> None:
        """Let the folder go, where it is held."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self._path.unlink()
            os.close(self._handle)
            self._handle = None
            _held.discard(self._key)

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

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _refuse(self, holder: str) -> None:
        raise RunFolderError(
            f"{self._path.parent} is in use by {holder}; two runs into one folder would mix: take another folder, or "
            "end that run"
        ) from None

"""Handle signals that ask a run to end."""

import signal
import threading
import warnings
from types import FrameType, TracebackType
from typing import Any, Self

from torch import distributed

__all__ = ["Signals"]

_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGBREAK")  # where they exist; SIGBREAK is Ctrl-Break on Windows


class Signals:
    """Record SIGTERM, SIGINT, SIGUSR1 and SIGBREAK during a run, and handle the first one after the run.

    After the run, the signal has the same effect as without this class. SIGINT raises KeyboardInterrupt. If the user
    has set a handler, it is called. Without a handler the process exits with 128 plus the signal's number, as shells
    and schedulers expect. A second SIGINT acts at once, unless ``torchrun`` started the process, since ``torchrun``
    sends a second one itself.

    Only the main thread can receive signals. In another thread, and for an ignored signal (``nohup``), nothing changes.

    Attributes:
        received: the number of the first signal; 0 if there was no signal.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if not self.received or not isinstance(error, Exception | None):
            return
        if error is not None:  # for example, the same signal ended a loader's worker
            name = signal.Signals(self.received).name
            warnings.warn(f"the iteration in which {name} came could not be finished: {error!r}", stacklevel=3)
        before = self._before.get(self.received)
        if callable(before):
            before(self.received, None)
        else:
            raise SystemExit(128 + self.received) from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT and not distributed.is_torchelastic_launched():
            signal.default_int_handler(number, frame)
        self.received = self.received or number
        # A signal to a process group also ends a DataLoader's workers. torch's handler of SIGCHLD would raise an error
        # for that at any line of the main process. Without it the loader raises the error at the next batch.
        child = getattr(signal, "SIGCHLD", None)
        if child is not None and child not in self._before and callable(before := signal.getsignal(child)):
            self._before[child] = before
            signal.signal(child, lambda number, frame: None)

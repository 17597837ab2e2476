"""Signals that ask a run to end."""

import signal
import threading
import warnings
from types import FrameType, TracebackType
from typing import Any, Self

from torch import distributed

__all__ = ["Signals"]

_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGBREAK")  # those that there are; the last, Ctrl-Break, is of Windows


class Signals:
    """Notes SIGTERM, SIGINT, SIGUSR1 and SIGBREAK during a run, and lets the first one act when the run has ended.

    It then does what it would have done without this class: SIGINT is a KeyboardInterrupt, a handler of the user's is
    called, and where there was none the process exits with 128 + the signal's number, which shells and schedulers
    expect. A second SIGINT acts at once, unless ``torchrun`` started the process: it sends one more itself.

    Only a main thread can receive signals; in another, and for a signal that is ignored (``nohup``), nothing changes.

    Attributes:
        received: the number of the first signal that came; 0 for none.
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
        if error is not None:  # such as a loader's worker that the same signal has ended
            name = signal.Signals(self.received).name
            warnings.warn(f"the iteration during which {name} came could not be finished: {error!r}", stacklevel=3)
        before = self._before.get(self.received)
        if callable(before):
            before(self.received, None)
        else:
            raise SystemExit(128 + self.received) from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT and not distributed.is_torchelastic_launched():
            signal.default_int_handler(number, frame)
        self.received = self.received or number
        # A signal to a whole group ends a DataLoader's workers too, and torch would raise that in the middle of
        # whatever the process does. Asked for one more batch, the loader says so all the same.
        child = getattr(signal, "SIGCHLD", None)
        if child is not None and child not in self._before and callable(before := signal.getsignal(child)):
            self._before[child] = before
            signal.signal(child, lambda number, frame: None)

"""Processes that ``torch.distributed`` has joined, kept for a whole test session, to run a test's function on."""

import multiprocessing
import multiprocessing.connection
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = ["Ranks"]


class Ranks:
    """Several processes on one machine, joined over gloo with one thread each; started when first asked.

    Args:
        size: how many.
        timeout: seconds that a function may take.
    """

    def __init__(self, size: int, timeout: float = 120.0) -> None:
        self.size = size
        self.timeout = timeout
        self._processes: list[Any] = []
        self._pipes: list[multiprocessing.connection.Connection] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Return what ``function(*arguments)`` gives on each rank; its random numbers begin with the same seed.

        A function is found by its name, so it must stand at the top of a module; what it takes and gives is pickled.
        Where one rank fails, all are ended, and the failure is raised.
        """
        if not self._processes:
            self._start()
        for pipe in self._pipes:
            pipe.send((function, arguments))
        results: list[Any] = [None] * self.size
        waiting = dict(zip(self._pipes, range(self.size), strict=True))
        try:
            while waiting:
                ready = multiprocessing.connection.wait(list(waiting), self.timeout)
                assert ready, f"ranks {sorted(waiting.values())} gave nothing within {self.timeout} s"
                for pipe in ready:
                    rank = waiting.pop(pipe)  # type: ignore[call-overload]
                    fine, results[rank] = pipe.recv()  # type: ignore[union-attr]
                    assert fine, f"rank {rank} failed:\n{results[rank]}"
        except BaseException:
            self.end()
            raise
        return results

    def end(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()
        if self._processes:
            self._folder.cleanup()
        self._processes, self._pipes = [], []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory()
        meeting_point = str(Path(self._folder.name) / "store")
        for rank in range(self.size):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, self.size, meeting_point, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(mine)


def _serve(rank: int, size: int, meeting_point: str, pipe: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        torch.manual_seed(0)
        try:
            result = (True, function(*arguments))
        except BaseException:
            result = (False, traceback.format_exc())
        pipe.send(result)

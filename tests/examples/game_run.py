"""Run a game as its script does, with an average of each network and a schedule for each player, and perhaps kill it.

    python tests/examples/game_run.py FILE examples/games/pix2pix.py --iterations 30 --out DIR

Once FILE is there, a checkpoint of the run, the process kills itself with SIGKILL; with ``-`` it does not.
"""

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ganlib import training

fit = training.fit


def fit_with_more(trainer: Any, batches: Any, *, callbacks: Sequence[Any] = (), **words: Any) -> None:
    """Fit with an EMA of each module that has weights, and a schedule for each player's optimizer that has none."""
    networks = [part for part in trainer.modules.values() if isinstance(part, nn.Module) and [*part.parameters()]]
    scheduled = [part.optimizer for part in callbacks if isinstance(part, training.LearningRateSchedule)]
    optimizers = dict.fromkeys(player.optimizer for player in trainer.players if player.optimizer not in scheduled)
    more = [training.EMA(network, decay=0.9) for network in networks]
    for number, optimizer in enumerate(optimizers, start=1):
        decay = (training.linear_decay, training.cosine_decay)[number % 2](start=0.2 / number, final=0.1)
        more.append(training.LearningRateSchedule(optimizer, decay))
    fit(trainer, batches, callbacks=[*callbacks, *more], **words)


def kill_once_there(checkpoint: Path) -> None:
    """End this process, without a word, once there is such a file."""
    while not checkpoint.exists():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, file, *sys.argv = sys.argv
    sys.path[0] = str(Path(sys.argv[0]).parent)  # as if it had been started itself
    if file != "-":
        threading.Thread(target=kill_once_there, args=[Path(file)], daemon=True).start()
    training.fit = fit_with_more
    runpy.run_path(sys.argv[0], run_name="__main__")

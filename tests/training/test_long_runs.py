"""A run of many iterations holds no more memory, tensors, files or processes at its end than near its beginning."""

import gc
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ganlib import data, penalties, training, viz
from tests.training.players import MyTrainer, make_players, make_trainer, points

ROOT = Path(__file__).parents[2]
PROC = Path("/proc/self")
# Clean runs were measured to grow by 0.0 to 1.0 MiB from iteration 4,000 to 10,000, nearly all of it before 6,000, and
# 6,000 tensors of a kilobyte by 4.4 MiB: less than they are, for the heap has room that is resident already.
BOUND = 2 * 2**20
SAMPLED = (2_000, 4_000, 6_000, 8_000, 10_000, 11_000)


class Sampled:
    """Notes now and then what the process holds."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, int]] = {}

    def on_iteration(self, run: training.Run) -> None:
        """Count, where it is time; what is garbage is collected first."""
        if run.iteration not in SAMPLED:
            return
        gc.collect()
        # Without pages of files: those of libraries come and go with what else the machine does.
        _, resident, of_files, *_ = map(int, (PROC / "statm").read_text().split())
        self.rows[run.iteration] = {
            "resident": (resident - of_files) * os.sysconf("SC_PAGE_SIZE"),
            "tensors": sum(isinstance(thing, Tensor) for thing in gc.get_objects()),
            "files": len(os.listdir(PROC / "fd")),
            "cuda": torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0,
        }


class Leaking:
    """Keeps six tensors of a kilobyte of every iteration after one: in 1,000 as many as one each would be in 6,000."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.kept: list[Tensor] = []

    def on_iteration(self, run: training.Run) -> None:
        """Keep them."""
        if run.iteration > self.after:
            self.kept += [torch.ones(256) for _ in range(6)]


def train(iterations: int, leaking_iterations: int, device: str) -> dict[int, dict[str, int]]:
    """Train a tiny GAN with all that is usual about a run, then go on with a leak; what was held along the way."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    players = [player.to(device) for player in make_players()]
    trainer = make_trainer(*players, penalties=[penalties.R1(1.0, every=16)], auxiliary_losses=[penalties.LeCam(0.1)])
    loader = data.TensorLoader(TensorDataset(points(256)), 16, device=device)
    with tempfile.TemporaryDirectory() as folder:
        sampled = Sampled()
        callbacks: list[Any] = [
            training.EMA(trainer.generator),
            training.LearningRateSchedule(trainer.generator_optimizer, training.linear_decay()),
            training.CSVLogger(Path(folder) / "metrics.csv", every=10, mean=True),
            viz.LossCurves(Path(folder) / "losses.png"),
            training.ProgressBar(),
            training.Checkpoint(folder, every=iterations // 4),
            Leaking(after=iterations),
            sampled,
        ]
        training.fit(trainer, loader, iterations=iterations + leaking_iterations, callbacks=callbacks)
    return sampled.rows


def sample(iterations: int, leaking_iterations: int, device: str = "cpu") -> dict[int, dict[str, int]]:
    """Train in a process of its own, whose memory nothing else has touched."""
    call = f"t.train({iterations}, {leaking_iterations}, {device!r})"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; from tests.training import test_long_runs as t; print(json.dumps({call}))",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return {int(iteration): row for iteration, row in json.loads(done.stdout.splitlines()[-1]).items()}


def grows(rows: dict[int, dict[str, int]], first: int, last: int) -> bool:
    """Whether the process holds more memory at the last iteration than at the first."""
    return rows[last]["resident"] - rows[first]["resident"] > BOUND


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, int]]:
    """What a run of 10,000 iterations held, and what 1,000 more with a leak did."""
    if not (PROC / "statm").exists():
        pytest.skip("there is no /proc to read the resident memory from")
    return sample(10_000, 1_000)


@pytest.mark.slow
def test_ten_thousand_iterations_leak_nothing(rows: dict[int, dict[str, int]]) -> None:
    """From iteration 4,000 on the resident memory stays where it is, and tensors and open files are as many."""
    assert not any(grows(rows, 4_000, iteration) for iteration in (6_000, 8_000, 10_000))
    for what in ("tensors", "files"):
        assert rows[10_000][what] == rows[4_000][what]


@pytest.mark.slow
def test_a_leak_of_a_kilobyte_an_iteration_is_found(rows: dict[int, dict[str, int]]) -> None:
    """The same measure, with the same bound, tells a callback that keeps as much as such a leak would by then."""
    assert grows(rows, 10_000, 11_000)
    assert rows[11_000]["tensors"] >= rows[10_000]["tensors"] + 6_000


@pytest.mark.gpu
def test_memory_of_a_device_stays_flat() -> None:
    """What is allocated on a CUDA device is the same after 4,000 and after 10,000 iterations, to the byte."""
    rows = sample(10_000, 0, "cuda")
    assert rows[4_000]["cuda"] == rows[10_000]["cuda"] > 0
    assert rows[4_000]["tensors"] == rows[10_000]["tensors"]


class Endless(IterableDataset[Tensor]):
    """Twelve points from each worker, and no length."""

    def __iter__(self) -> Iterator[Tensor]:
        yield from points(12)


class Processes:
    """Notes how many processes, threads and open files there are."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def on_iteration(self, run: training.Run) -> None:
        """Count them."""
        self.seen.append(self.now())

    @staticmethod
    def now() -> tuple[int, int, int]:
        """How many there are."""
        files = len(os.listdir(PROC / "fd")) if (PROC / "fd").exists() else 0
        return len(multiprocessing.active_children()), threading.active_count(), files


class Firsts(MyTrainer):
    """Takes batches of any kind."""

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Take one."""
        batch = next(batches)
        return super().train_step(iter([batch if isinstance(batch, Tensor) else batch[0]]))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("known", [False, True])
def test_many_passes_leave_no_worker_behind(known: bool) -> None:
    """A loader with two workers, its length known or not, has two in each of many passes, and none when fit is over."""
    dataset: Any = TensorDataset(points(24)) if known else Endless()
    training.fit(Firsts(), DataLoader(dataset, 4, num_workers=2), epochs=1)  # what is opened once, for good
    gc.collect()
    after_one = Processes.now()
    before, counted, trainer = after_one[0], Processes(), Firsts()
    training.fit(trainer, DataLoader(dataset, 4, num_workers=2), epochs=20, callbacks=[counted])
    assert trainer.iteration == 120
    assert max(children for children, _, _ in counted.seen) <= before + 2
    gc.collect()
    # Not at the last batch of an epoch: on a busy machine its workers' threads may have ended already, or not yet.
    assert Processes.now() == after_one

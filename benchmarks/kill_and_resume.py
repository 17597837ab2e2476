"""Kills a real training with SIGKILL at random moments, resumes it each time, and compares its end.

    python -m benchmarks.kill_and_resume --kills 100

The same command trains, is killed, and continues with ``resume=True``, until it has been killed often enough; then it
runs to its end. What it leaves must be what a run leaves that nobody killed: the state in the last checkpoint, bit for
bit, and every byte of the table, the images and the GIF. The training has all that makes a resume hard: dropout, batch
norm, augmentation, lazy penalties, an auxiliary loss with a state, an average, schedules.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganlib import augment, conditioning, data, distributed, latents, losses, models, penalties, stacks, training, viz

__all__ = ["assert_same_files", "command", "main", "train"]


class SaysThatItTrains:
    """Tells the parent process when training begins, which takes an import of torch, and in which process."""

    def on_start(self, run: training.Run) -> None:
        """Say it."""
        line = f"rank {distributed.rank()} process {os.getpid()} trains from {run.iteration}\n"
        os.write(sys.stdout.fileno(), line.encode())  # at once: ranks that share an output must not mix their lines


def train(folder: Path, iterations: int, every: int, device: str) -> None:
    """Train, or train on."""
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    for seed in (torch.manual_seed, random.seed, np.random.seed):  # a checkpoint holds the state of each
        seed(0)
    loader = data.TensorLoader(
        data.RenderedDigits(size=8, length=256),
        32,
        device=device,
        transform=augment.RandomRotation(10),
        drop_last=False,
    )
    generator, _ = models.mlp_gan((1, 8, 8), latent_dim=8, hidden=(32,))
    plan = stacks.StackPlan((1, 8, 8), [stacks.Stage(8), stacks.Stage(16)])
    discriminator = torch.nn.Sequential(stacks.ConvStack(plan, dropout=0.2), torch.nn.Flatten(), torch.nn.Linear(64, 1))
    generator.to(device)
    discriminator.to(device)
    optimizers = [torch.optim.Adam(player.parameters(), lr=1e-3) for player in (generator, discriminator)]
    latent = latents.Gaussian(8)
    trainer = training.AdversarialTrainer(
        conditioning.Unconditional(generator),
        conditioning.Unconditional(discriminator),
        *optimizers,
        loss=losses.NonSaturatingLoss(smoothing=losses.LabelSmoothing(real=0.9, jitter=0.05)),
        latent=latent,
        penalties=[penalties.R1(0.1, every=4)],
        auxiliary_losses=[penalties.LeCam(0.01)],
        augment=augment.DiffAugment("translation"),
    )
    ema = training.EMA(generator)
    training.fit(
        trainer,
        loader,
        iterations=iterations,
        resume=True,
        callbacks=[
            *(training.LearningRateSchedule(optimizer, training.linear_decay(start=0.1)) for optimizer in optimizers),
            ema,
            training.CSVLogger(folder / "metrics.csv", every=7),
            viz.SampleGrid(
                ema.module,
                folder / "samples",
                latent=latent(9, generator=torch.Generator().manual_seed(0)),
                every=100,
            ),
            viz.TrainingGif(folder / "training.gif", folder / "samples"),
            viz.LossCurves(folder / "losses.png"),
            training.Checkpoint(folder, every=every),
            SaysThatItTrains(),
        ],
    )


def command(folder: Path, iterations: int, every: int = 20, device: str = "cpu") -> list[str]:
    """What starts a training in a process of its own, after the name of a Python."""
    words = ["--train", str(folder), "--iterations", str(iterations), "--every", str(every), "--device", device]
    return ["-m", "benchmarks.kill_and_resume", *words]


def live(words: list[str], kill_after: float | None, *, from_birth: bool = False) -> int:
    """One life of the process; killed so many seconds after training began, or after its own beginning."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not from_birth:
        process.stdout.readline()
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    process.stdout.read()
    process.stdout.close()
    return process.wait()


def assert_same_files(expected: Path, actual: Path) -> None:
    """Two runs' folders hold the same files, with the same bytes; the last checkpoint has the same state.

    The states are compared value by value, since a file of torch's is named inside by the path it was saved to.
    """
    files, others = ({path.relative_to(folder) for path in folder.rglob("*.*")} for folder in (expected, actual))
    assert files == others, f"the files differ: {sorted(map(str, files ^ others))}"
    for name in sorted(files):
        if name.suffix == ".pt":
            _assert_same(_loaded(expected / name), _loaded(actual / name), str(name))
        else:
            assert (expected / name).read_bytes() == (actual / name).read_bytes(), f"{name} differs"


def _loaded(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def _assert_same(expected: Any, actual: Any, place: str) -> None:
    assert type(expected) is type(actual), f"{place} differs"
    if isinstance(expected, Tensor):
        same = expected.dtype == actual.dtype and torch.equal(expected, actual)
        assert same, f"{place} differs"
    elif isinstance(expected, dict):
        assert expected.keys() == actual.keys(), f"{place} differs"
        for name in expected:
            _assert_same(expected[name], actual[name], f"{place}/{name}")
    elif isinstance(expected, list | tuple):
        assert len(expected) == len(actual), f"{place} differs"
        for index, (mine, theirs) in enumerate(zip(expected, actual, strict=True)):
            _assert_same(mine, theirs, f"{place}/{index}")
    else:
        assert expected == actual, f"{place} differs"


def main(words: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--iterations", type=int, default=6000, metavar="N", help="of the whole run")
    parser.add_argument("--span", type=float, default=0.3, metavar="S", help="longest life in training, in seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--every", type=int, default=20, metavar="N", help="iterations between two checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", type=Path, metavar="DIR", help="be the process that trains")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    if arguments.train:
        distributed.init()
        train(arguments.train, arguments.iterations, arguments.every, arguments.device)
        return
    moments = random.Random(arguments.seed)
    lost = 0
    with tempfile.TemporaryDirectory() as scratch:
        whole, killed = Path(scratch, "whole"), Path(scratch, "killed")
        numbers = arguments.iterations, arguments.every, arguments.device
        assert live(command(whole, *numbers), None) == 0, "the run that nobody kills failed"
        words = command(killed, *numbers)
        for kill in range(arguments.kills):
            birth = kill % 10 == 9  # every tenth one falls into the time in which the process begins
            status = live(words, moments.uniform(0, 3 if birth else arguments.span), from_birth=birth)
            lost += status != -signal.SIGKILL
            reached = training.Checkpoint(killed).furthest()
        assert reached < arguments.iterations, "the run was over before it had been killed often enough"
        assert live(words, None) == 0, "the last resume failed"
        assert_same_files(whole, killed)
    print(
        f"{arguments.kills} kills up to iteration {reached} of {arguments.iterations}: {lost} runs lost; the end "
        "equals that of the run that nobody killed, bit for bit"
    )
    assert lost == 0


if __name__ == "__main__":
    main()

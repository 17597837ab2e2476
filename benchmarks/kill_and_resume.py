"""Kill a real training with SIGKILL at random moments, resume it each time, and compare the result.

    python -m benchmarks.kill_and_resume --kills 100

The same command trains, is killed, and continues with ``resume=True``. After the given number of kills it runs to its
end. The result must equal that of a run that was never killed: the state in the last checkpoint, bit for bit, and every
byte of the table, the images and the GIF. The training has everything that makes a resume hard: dropout, batch norm,
augmentation, lazy penalties, an auxiliary loss with a state, an average and schedules.
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
    """Tell the parent process when training begins, and in which process."""

    def on_start(self, run: training.Run) -> None:
        """Print the rank, the process id and the iteration."""
        line = f"rank {distributed.rank()} process {os.getpid()} trains from {run.iteration}\n"
        os.write(sys.stdout.fileno(), line.encode())  # one write: ranks that share an output must not mix their lines


def train(folder: Path, iterations: int, every: int, device: str) -> None:
    """Train, or resume a training."""
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    for seed in (torch.manual_seed, random.seed, np.random.seed):  # a checkpoint contains the state of each
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
    """Return the command that trains in a separate process, without the name of the Python."""
    words = ["--train", str(folder), "--iterations", str(iterations), "--every", str(every), "--device", device]
    return ["-m", "benchmarks.kill_and_resume", *words]


def live(words: list[str], kill_after: float | None, *, from_birth: bool = False) -> int:
    """Run the process, and kill it ``kill_after`` seconds after training began, or after the process began."""
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
    """Compare the folders of two runs: the same files, the same bytes, and the same state in each checkpoint.

    States are compared value by value, because torch writes the name of a file into the file.
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
    """Read the command line, and kill and resume a training, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument(
        "--iterations", type=int, default=6000, metavar="N", help="length of the run (default: %(default)s)"
    )
    parser.add_argument(
        "--span", type=float, default=0.3, metavar="S", help="longest time of training before a kill, in seconds"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--every", type=int, default=20, metavar="N", help="iterations between two checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", type=Path, metavar="DIR", help="train in this folder, without kills")
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
        assert live(command(whole, *numbers), None) == 0, "the run without kills failed"
        words = command(killed, *numbers)
        for kill in range(arguments.kills):
            birth = kill % 10 == 9  # every tenth kill hits the start of the process
            status = live(words, moments.uniform(0, 3 if birth else arguments.span), from_birth=birth)
            lost += status != -signal.SIGKILL
            reached = training.Checkpoint(killed).furthest()
        assert reached < arguments.iterations, "the run ended before all kills"
        assert live(words, None) == 0, "the last resume failed"
        assert_same_files(whole, killed)
    print(
        f"{arguments.kills} kills up to iteration {reached} of {arguments.iterations}: {lost} runs lost; the end "
        "equals that of the run that nobody killed, bit for bit"
    )
    assert lost == 0


if __name__ == "__main__":
    main()

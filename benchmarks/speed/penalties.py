"""Time an iteration with R1 and R2: in float32 or under autocast, with forward passes of their own or without.

    python -m benchmarks.speed.penalties --threads 1
    python -m benchmarks.speed.penalties --threads 1 --cpu-time  # while other processes use the CPU too

All runs of a row take turns in one process. The images have 28 pixels and one channel. ``conv`` is a discriminator
with four convolutions of 3 by 3 that keep the size at 28, 28, 14 and 14 pixels. ``dcgan`` has convolutions of 4 by 4
with stride 2, without norm. R1 and R2 act in every iteration.

``discriminator`` times the discriminator's update alone, on fixed images. ``iteration`` times an iteration of
``AdversarialTrainer``, with a DCGAN generator of the same width. ``ms`` is the median time, and ``ratio`` the time
divided by that of the first run of the group, turn by turn, ± half of the distance between the quartiles.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.timing import Run, Timed, wait, warm_up
from ganlib import latents, losses, models, penalties, stacks, training

__all__ = ["discriminator_updates", "iterations"]


def main() -> None:
    """Read the command line, time, and print a table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.speed.penalties",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128], metavar="N")
    parser.add_argument("--batch", type=int, default=64, metavar="N")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="turns of each run (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=3, metavar="N", help="iterations of a turn")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch")
    parser.add_argument("--cpu-time", action="store_true", help="count the seconds of this process on the CPU alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    for title, runs in _groups(arguments.widths, arguments.batch, device):
        for run in runs.values():
            warm_up(run, device, 2)
        clock = time.process_time if arguments.cpu_time else time.perf_counter
        timed = _in_turns(runs, device, clock, iterations=arguments.iterations, rounds=arguments.rounds)
        first = next(iter(timed.values()))
        for name, own in timed.items():
            ratio, spread = own.over(first)
            print(f"{title}, {name}: {own.seconds * 1e3:.1f} ms, ratio {ratio:.3f} ± {spread:.3f}", flush=True)


def discriminator_updates(discriminators: dict[str, nn.Module], batch: int, device: torch.device) -> dict[str, Run]:
    """Return the discriminator's update with R1 and R2 in three precisions, for equal networks.

    Args:
        discriminators: a network for each of ``"bf16"``, ``"bf16, autocast"`` and ``"fp32"``.
        batch: number of real and of fake images.
        device: device of the networks.
    """
    real, fake = (torch.rand(batch, 1, 28, 28, device=device) * 2 - 1 for _ in range(2))
    return {name: _update(network, name, real, fake) for name, network in discriminators.items()}


def iterations(width: int, batch: int, device: torch.device, precision: Any) -> dict[str, Run]:
    """Return an iteration of a GAN with R1 and R2, without and with ``reuse_logits``."""
    real = torch.rand(batch, 1, 28, 28, device=device) * 2 - 1
    return {
        f"reuse_logits={reuse}": _repeated(_trainer(width, precision, device, reuse_logits=reuse), real)
        for reuse in (False, True)
    }


def conv(width: int) -> nn.Module:
    """Make a discriminator of convolutions of 3 by 3."""
    channels, layers = [1, width, width, width], list[nn.Module]()
    for index, (inputs, outputs) in enumerate(zip(channels, [width] * 4, strict=True)):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.LeakyReLU(0.2)]
        layers += [nn.AvgPool2d(2)] if index % 2 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * 49, 1))


def _groups(widths: list[int], batch: int, device: torch.device) -> Iterator[tuple[str, dict[str, Run]]]:
    for width in widths:
        for kind, make in (("conv", conv), ("dcgan", lambda width: _dcgan(width)[1])):
            networks = {name: make(width).to(device) for name in ("bf16", "bf16, autocast", "fp32")}
            yield f"discriminator, {kind} {width}", discriminator_updates(networks, batch, device)
        for precision in ("fp32", "bf16"):
            yield f"iteration, dcgan {width}, {precision}", iterations(width, batch, device, precision)


def _in_turns(
    runs: Mapping[str, Run], device: torch.device, clock: Callable[[], float], *, iterations: int, rounds: int
) -> dict[str, Timed]:
    """Let all runs take turns, and read a clock before and after each turn."""
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for position in range(rounds):
        for name in list(runs)[:: 1 if position % 2 == 0 else -1]:  # no run always follows the same one
            wait(device)
            began = clock()
            runs[name](iterations)
            wait(device)
            turns[name].append((clock() - began) / iterations)
    return {name: Timed(values) for name, values in turns.items()}


def _dcgan(width: int) -> tuple[nn.Module, nn.Module]:
    stages = [stacks.Stage(width), stacks.Stage(2 * width), stacks.Stage(4 * width, kernel_size=7, stride=1, padding=0)]
    return models.dcgan(stacks.StackPlan((1, 28, 28), stages), 64, norm="none")


def _update(network: nn.Module, name: str, real: Tensor, fake: Tensor) -> Run:
    loss, precision = losses.NonSaturatingLoss(), "autocast" if "autocast" in name else "fp32"
    r1, r2 = penalties.R1(1.0, precision=precision), penalties.R2(1.0, precision=precision)  # type: ignore[arg-type]

    def objective(batch: Any) -> Tensor:
        adversarial = loss.discriminator(network(batch[0]), network(batch[1]))
        return adversarial + r1(network, *batch) + r2(network, *batch)

    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)
    trainer = training.GameTrainer(
        {"discriminator": network},
        [training.Player("discriminator", optimizer, objective)],
        precision="bf16" if "bf16" in name else "fp32",
    )
    return _repeated(trainer, (real, fake))


def _trainer(width: int, precision: Any, device: torch.device, *, reuse_logits: bool) -> training.AdversarialTrainer:
    generator, discriminator = (network.to(device) for network in _dcgan(width))
    own: Any = "fp32" if precision == "fp32" else "autocast"
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-5, fused=True),
        torch.optim.Adam(discriminator.parameters(), lr=1e-5, fused=True),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(64),
        penalties=[penalties.R1(1.0, precision=own), penalties.R2(1.0, precision=own)],
        precision=precision,
        reuse_logits=reuse_logits,
    )


def _repeated(trainer: Any, batch: Any) -> Run:
    def run(times: int) -> None:
        for _ in range(times):
            trainer.train_step(iter([batch]))

    return run


if __name__ == "__main__":
    main()

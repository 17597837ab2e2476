"""From DCGAN to today, one change at a time: train each step for the same time, and measure its samples.

    python -m benchmarks.one_change --task stacked-mnist --root DIR --minutes 4 --seeds 0 1 --out runs/one_change
    python -m benchmarks.one_change --task cifar16 --root DIR --classifier runs/cifar16.pt --minutes 4

The tasks, their data and their measurements are those of ``benchmarks.frontier``. All steps train without classes. Each
step keeps the changes of the steps before it. A step that is in the file of results is not trained again. A folder has
results of the same minutes and classifier only. Run nothing else meanwhile.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.frontier import TASKS, Measure, Table, keep_settings, read
from ganlib import augment, data, latents, losses, models, penalties, stacks, training
from ganlib.conditioning import Unconditional

LATENT_DIM = 100


@dataclass(frozen=True)
class Step:
    """Describe a training: the networks, the loss, the penalties and the schedules."""

    networks: str = "dcgan"
    discriminator_norm: str = "batch"
    averaged: bool = False
    lr: float = 2e-4
    falls: bool = False
    beta1: float = 0.5
    beta2: float = 0.999
    loss: type = losses.NonSaturatingLoss
    r1: float = 0.0
    r1_every: int = 16
    r2: bool = False
    scheduled: bool = False


def steps() -> dict[str, Step]:
    """Return the steps by their names, from the first to the last."""
    changes: list[tuple[str, dict[str, Any]]] = [
        ("DCGAN", {}),
        ("average of the generator", {"averaged": True}),
        ("higher, falling learning rate", {"lr": 1e-3, "falls": True}),
        ("R1", {"r1": 0.1}),
        ("no norm in the discriminator", {"discriminator_norm": "none"}),
        ("relativistic loss", {"loss": losses.RelativisticLoss}),
        ("R1 and R2 at every iteration", {"r1": 0.4, "r1_every": 1, "r2": True}),
        ("no momentum", {"beta1": 0.0}),
        ("schedules of the penalties and of beta2", {"beta2": 0.9, "scheduled": True}),
        ("R3GAN's networks", {"networks": "r3gan"}),
    ]
    found, step = dict[str, Step](), Step()
    for name, change in changes:
        found[name] = step = replace(step, **change)
    return found


def halvings(shape: Sequence[int], width: int) -> list[stacks.Stage]:
    """Halve images (C, H, W) as long as 4 pixels are left, and double the channels from ``width`` on."""
    stages, size = list[stacks.Stage](), min(shape[1:])
    while size >= 8:
        stages.append(stacks.Stage(width << len(stages)))
        size = -(-size // 2)
    return stages


def make_networks(step: Step, shape: torch.Size) -> tuple[nn.Module, nn.Module]:
    """Make the networks of a step."""
    stages = halvings(shape, 32)
    if step.networks == "r3gan":
        widths = [16 << level for level in reversed(range(len(stages) + 1))]  # from the lowest resolution
        return models.r3gan(shape, LATENT_DIM, widths=widths, blocks=1)
    norm: Any = step.discriminator_norm
    return models.dcgan(stacks.StackPlan(tuple(shape), stages), LATENT_DIM, discriminator_norm=norm)


def train(step: Step, loader: data.TensorLoader, minutes: float) -> tuple[nn.Module, training.AdversarialTrainer]:
    """Train a step; return the generator that is measured, and the trainer."""
    device = loader.device
    generator, discriminator = (part.to(device) for part in make_networks(step, loader.samples.shape[1:]))
    adam = partial(torch.optim.Adam, lr=step.lr, betas=(step.beta1, step.beta2), fused=True)
    optimizers = adam(generator.parameters()), adam(discriminator.parameters())
    weight = torch.full((), step.r1, device=device)
    added: list[Any] = [penalties.R1(weight, every=step.r1_every)] if step.r1 else []
    added += [penalties.R2(weight)] if step.r2 else []
    trainer = training.AdversarialTrainer(
        Unconditional(generator),
        Unconditional(discriminator),
        optimizers[0],
        optimizers[1],
        loss=step.loss(),
        latent=latents.Gaussian(LATENT_DIM),
        penalties=added,
    )
    callbacks, measured = list[Any](), generator
    if step.averaged:
        average = training.EMA(generator, decay=0.999)
        callbacks, measured = [average], average.module
    if step.falls:
        factor = training.linear_decay(start=0.4, final=0.05)
        callbacks += [training.LearningRateSchedule(optimizer, factor) for optimizer in optimizers]
    if step.scheduled:
        callbacks.append(training.Schedule(weight, training.cosine_ramp(step.r1, step.r1 / 10, until=0.5)))
        beta2 = training.cosine_ramp(step.beta2, 0.99, until=0.5)
        callbacks += [training.BetasSchedule(optimizer, beta2=beta2) for optimizer in optimizers]
    training.fit(trainer, loader, minutes=minutes, callbacks=callbacks)
    return measured, trainer


def main() -> None:
    """Read the command line, train, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="stacked-mnist", help="(default: %(default)s)")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    parser.add_argument("--classifier", type=Path, metavar="X.pt", help="(default: ganlib's classifier of digits)")
    parser.add_argument("--minutes", type=float, default=4.0, metavar="M", help="of each step (default: %(default)s)")
    parser.add_argument("--steps", nargs="+", choices=steps(), metavar="STEP", help="(default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/one_change"), metavar="DIR")
    arguments = parser.parse_args()
    keep_settings(arguments)
    measure = Measure(TASKS[arguments.task], arguments)
    table = Table(arguments.out / f"{arguments.task}.csv")
    images, latent = measure.images(test=False), latents.Gaussian(LATENT_DIM)
    flip = augment.RandomHorizontalFlip() if measure.task.data == "folder" else None
    done = read(table.path) if table.path.exists() else {}
    for seed in arguments.seeds:
        for name in arguments.steps or steps():
            if str(seed) in done.get(name, {}):
                continue
            torch.manual_seed(seed)
            loader = data.TensorLoader(images, 64, seed=seed, transform=flip, device=arguments.device)
            generator, trainer = train(steps()[name], loader, arguments.minutes)
            results = measure.of_generator(copy.deepcopy(generator).eval(), latent).measure()
            table.add(name, seed, 60 * arguments.minutes, trainer.iteration, results)


if __name__ == "__main__":
    main()

"""Train GANs on a ring of 8 Gaussians or a grid of 25 Gaussians, with every loss and penalty.

    python examples/gaussians.py train --data grid --minutes 2 --seeds 0 1 2 3 4 --out runs/gaussians
    python examples/gaussians.py train --data ring --loss hinge --penalty r1,r2 --iterations 3000
    python examples/gaussians.py compare --data grid --iterations 2000 --out grid.png

These data sets show at a glance whether a generator drops modes or puts samples between them. Of 10,000 samples, a mode
is *found* if at least a tenth of its equal share lies within 3 sigma of its center. (Other authors require one sample.)
The *share within 3 sigma* of any mode is 98.9 % for real samples.

``train`` uses the recommended recipe by default. ``compare`` trains every combination with the networks and learning
rates of that recipe, for the same number of iterations. It shows the effect of the loss and the penalty, not the best
result of each. For example, a Wasserstein critic needs several steps for each step of the generator. The results are in
``benchmarks/results/gaussians.md``.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _command_line import above_zero, add_cuda_graph, add_device, seed, whole
from _gaussian_verdict import REAL_SHARE, SAMPLES, Mixture, Outcome, Table, draw, judge
from _plumbing import run_main
from matplotlib.figure import Figure
from torch import Tensor, nn

from ganlib import init, latents, losses, penalties, stacks, training
from ganlib.errors import ArgumentValueError, TrainingDivergedError

# ---------------------------------------------------------------------------------------------------------------------
# The data: every batch is drawn from the distribution, so a discriminator cannot memorize a data set.
# ---------------------------------------------------------------------------------------------------------------------


def ring() -> Mixture:
    """Return 8 modes of sigma 0.02 on a circle of radius 2."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return Mixture(2 * torch.stack([angles.cos(), angles.sin()], dim=1), sigma=0.02)


def grid() -> Mixture:
    """Return 25 modes of sigma 0.05 at a distance of 2."""
    ticks = torch.arange(-4.0, 5.0, 2.0)
    return Mixture(torch.cartesian_prod(ticks, ticks), sigma=0.05)


@dataclass(frozen=True)
class Batches:
    """Yield batches without end. Each iterator starts again with the same batches."""

    mixture: Mixture
    batch_size: int
    seed: int
    device: str = "cpu"

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator(self.device).manual_seed(self.seed)
        spread = self.mixture.spread
        while True:
            yield self.mixture.draw(self.batch_size, generator) / spread


# ---------------------------------------------------------------------------------------------------------------------
# The networks: two small multilayer perceptrons.
# ---------------------------------------------------------------------------------------------------------------------


class FourierFeatures(nn.Module):
    """Append sines and cosines of random directions and wavelengths to the samples: (N, 2) -> (N, 2 + 2 * waves).

    A multilayer perceptron learns smooth functions long before sharp ones. The modes of the grid are sharp: their sigma
    is 1/160 of its width. Without these features a discriminator learns the width of the modes slowly.

    References:
        Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains", 2020,
        arXiv:2006.10739.
    """

    frequencies: Tensor

    def __init__(self, waves: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(2, waves))

    def forward(self, samples: Tensor) -> Tensor:
        """Concatenate the samples and the waves."""
        phases = samples @ self.frequencies
        return torch.cat([samples, phases.sin(), phases.cos()], dim=1)


# Two dimensions, as the samples have: the generator has to stretch and cut the plane, and not to fold it.
LATENT = latents.Gaussian(2)


def players() -> tuple[nn.Module, nn.Module]:
    """Make a generator and a discriminator."""
    # ReLU, not LeakyReLU: where its units are 0 the generator is constant. So it maps a whole region of latents to one
    # mode, and fewer latents to the space between two modes.
    generator = init.kaiming_(stacks.LinearStack([LATENT.dim, 128, 128, 128, 2], activation=nn.ReLU))
    scores = init.kaiming_(stacks.LinearStack([2 + 2 * 32, 64, 64, 64, 1]), negative_slope=0.2)
    return generator, nn.Sequential(FourierFeatures(32, scale=12.0), scores)


# ---------------------------------------------------------------------------------------------------------------------
# The choices: losses, and penalties on the discriminator's gradient.
# ---------------------------------------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[], losses.AdversarialLoss]] = {
    "minimax": losses.MinimaxLoss,
    "non-saturating": losses.NonSaturatingLoss,
    "least-squares": losses.LeastSquaresLoss,
    "hinge": losses.HingeLoss,
    "wasserstein": losses.WassersteinLoss,
    "relativistic": losses.RelativisticLoss,
    "relativistic-average": losses.RelativisticAverageLoss,
}
# The weights are far below those for images: a discriminator must be steep to resolve modes this narrow. Weights that
# are too low lose modes: with R1 and R2 at 0.01 instead of 0.1, the ring lost 2 of its 8 modes with both tested seeds.
# Each training makes its own penalties, since a penalty may have a state. (Consistency would need an augmentation.)
PENALTIES: dict[str, Callable[[], penalties.Penalty]] = {
    "r1": partial(penalties.R1, 0.1),
    "r2": partial(penalties.R2, 0.1),
    "wgan-gp": partial(penalties.GradientPenalty, 0.1),
    "dragan": partial(penalties.DRAGAN, 0.1),
    "lecam": partial(penalties.LeCam, 0.3),
}
COLUMNS = ["none", "r1", "r2", "r1,r2", "wgan-gp", "dragan", "lecam"]


def make_loss(name: str) -> losses.AdversarialLoss:
    """Make the loss with this name."""
    if name not in LOSSES:
        raise ArgumentValueError(f"--loss (={name}) must be one of {', '.join(LOSSES)}")
    return LOSSES[name]()


def make_penalties(names: str) -> list[penalties.Penalty]:
    """Make the penalties with these names, separated by commas. ``none`` makes no penalty."""
    split = [] if names == "none" else names.split(",")
    for name in split:
        if name not in PENALTIES or split.count(name) > 1:
            raise ArgumentValueError(
                f"--penalty (={names}) must be none, or some of {', '.join(PENALTIES)}, each once, with commas between"
            )
    return [PENALTIES[name]() for name in split]


# ---------------------------------------------------------------------------------------------------------------------
# The training.
# ---------------------------------------------------------------------------------------------------------------------


def learn(
    mixture: Mixture,
    loss: str,
    penalty: str,
    seed: int,
    batch_size: int,
    lr: float,
    device: str = "cpu",
    cuda_graph: Any = "auto",
    **limits: Any,
) -> Outcome:
    """Train one combination; ``limits`` are those of ``training.fit``."""
    torch.manual_seed(seed)
    generator, discriminator = (player.to(device) for player in players())
    if cuda_graph == "auto":
        # The only fast setting that does not change what is computed.
        cuda_graph = training.fast_settings(generator, discriminator).get("cuda_graph", False)
    # No momentum: the other network changes, so earlier gradients point in outdated directions.
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.0, 0.99), fused=True)
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        generator_optimizer,
        discriminator_optimizer,
        loss=make_loss(loss),
        latent=LATENT,
        penalties=make_penalties(penalty),
        cuda_graph=cuda_graph,
    )
    # The generator finds the modes at the full learning rate. They become sharp while it falls to almost 0.
    decay = training.linear_decay(start=0.5, final=0.01)
    ema = training.EMA(generator, decay=0.99)
    began = time.monotonic()
    try:
        training.fit(
            trainer,
            Batches(mixture, batch_size, seed, device),
            **limits,
            callbacks=[
                training.LearningRateSchedule(generator_optimizer, decay),
                training.LearningRateSchedule(discriminator_optimizer, decay),
                ema,
            ],
        )
    except TrainingDivergedError as error:
        print(f"{loss} with {penalty}: {error}")  # also a result: measure the samples of this generator
    seconds = time.monotonic() - began
    with torch.no_grad():
        latent = LATENT(SAMPLES, generator=torch.Generator().manual_seed(seed))
        samples = ema.module(latent.to(device)).cpu() * mixture.spread
    return Outcome(loss, penalty, seed, samples, judge(samples, mixture), trainer.iteration, seconds)


# ---------------------------------------------------------------------------------------------------------------------
# The output: a table and an image (see _gaussian_verdict.py).
# ---------------------------------------------------------------------------------------------------------------------


def train(arguments: argparse.Namespace) -> None:
    """Train one combination, once for each seed."""
    mixture, words = MIXTURES[arguments.data](), recipe(arguments, [arguments.loss], [arguments.penalty])
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "results.csv").open("w", encoding="utf-8") as file:
        table, outcomes = Table(file), []
        for seed in arguments.seeds:
            outcomes.append(learn(mixture, arguments.loss, arguments.penalty, seed, **words))
            table.add(outcomes[-1])
    every = sum(outcome.verdict.modes == outcome.verdict.of for outcome in outcomes)
    shares = [outcome.verdict.share for outcome in outcomes]
    print(
        f"all modes found: {every} of {len(outcomes)} seeds; within 3 sigma: {min(shares):.1%} to {max(shares):.1%} "
        f"(real samples: {REAL_SHARE:.1%})"
    )

    figure = Figure(figsize=(4 * len(outcomes), 4.3), layout="constrained")
    for axes, outcome in zip(figure.subplots(1, len(outcomes), squeeze=False)[0], outcomes, strict=True):
        draw(axes, outcome, mixture)
        axes.set_title(f"seed {outcome.seed}: {outcome.verdict}", fontsize=10)
    figure.savefig(arguments.out / "samples.png", dpi=150)
    print(f"{arguments.out}: samples.png, results.csv")


def compare(arguments: argparse.Namespace) -> None:
    """Train every combination, and show all in one image: a row for each loss, a column for each penalty."""
    mixture, words = MIXTURES[arguments.data](), recipe(arguments, arguments.losses, arguments.penalties)
    if arguments.out.suffix.lower().lstrip(".") not in Figure().canvas.get_supported_filetypes():
        raise ArgumentValueError(f"--out (={arguments.out}) must end in .png or another suffix of an image")
    cells = list(product(arguments.losses, arguments.penalties))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = len(arguments.losses), len(arguments.penalties)
    figure = Figure(figsize=(1.9 * columns + 0.3, 2.05 * rows + 0.7), layout="constrained")
    figure.suptitle(
        f"{arguments.data}: modes found, share of samples within 3σ (real samples: {REAL_SHARE:.1%})", fontsize=11
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    results = arguments.out.with_suffix(".csv")
    with results.open("w", encoding="utf-8") as file:
        table = Table(file)
        for (loss, penalty), axes in zip(cells, panels.flat, strict=True):
            outcome = learn(mixture, loss, penalty, arguments.seed, **words)
            table.add(outcome)
            draw(axes, outcome, mixture)
            axes.set_title(f"{outcome.verdict.modes}/{outcome.verdict.of}   {outcome.verdict.share:.1%}", fontsize=9)
    for axes, penalty in zip(panels[-1], arguments.penalties, strict=True):
        axes.set_xlabel(penalty.replace(",", " + "), fontsize=10)
    for axes, loss in zip(panels[:, 0], arguments.losses, strict=True):
        axes.set_ylabel(loss, fontsize=10)
    figure.savefig(arguments.out, dpi=150)
    print(f"the image is {arguments.out}, its numbers are {results}")


# ---------------------------------------------------------------------------------------------------------------------
# The command line.
# ---------------------------------------------------------------------------------------------------------------------

MIXTURES = {"ring": ring, "grid": grid}


def recipe(arguments: argparse.Namespace, loss_names: list[str], penalty_names: list[str]) -> dict[str, Any]:
    """Check all names before the first training, and return the keywords of ``learn``."""
    for name in loss_names:
        make_loss(name)
    for name in penalty_names:
        make_penalties(name)
    names = "iterations", "minutes", "batch_size", "lr", "device", "cuda_graph"
    words = {name: getattr(arguments, name) for name in names}
    if arguments.iterations is None and arguments.minutes is None:
        words["iterations"] = arguments.default_iterations
    return words


def add_common_options(parser: argparse.ArgumentParser, *, iterations: int) -> None:
    """Add the options of both subcommands."""
    parser.add_argument("--data", choices=list(MIXTURES), default="grid", help="data set (default: %(default)s)")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--iterations", type=whole, metavar="N", help=f"iterations of each training (default: {iterations})"
    )
    limit.add_argument("--minutes", type=above_zero, metavar="M", help="minutes of each training")
    parser.add_argument("--batch-size", type=whole, default=256, metavar="N")
    parser.add_argument(
        "--lr", type=above_zero, default=4e-3, help="learning rate of both networks (default: %(default)s)"
    )
    add_device(parser)
    add_cuda_graph(parser)
    parser.set_defaults(default_iterations=iterations)


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    train_command = commands.add_parser("train", help="train one combination of a loss and penalties")
    add_common_options(train_command, iterations=10_000)
    train_command.add_argument(
        "--loss", default="relativistic", metavar="NAME", help=f"{', '.join(LOSSES)} (default: %(default)s)"
    )
    train_command.add_argument(
        "--penalty",
        default="r1,r2",
        metavar="NAME[,NAME]",
        help=f"none, or some of {', '.join(PENALTIES)} (default: %(default)s)",
    )
    train_command.add_argument("--seed", "--seeds", dest="seeds", type=seed, nargs="+", default=[0], metavar="S")
    train_command.add_argument(
        "--out", type=Path, default=Path("runs/gaussians"), metavar="RUN", help="folder of the run"
    )
    train_command.set_defaults(do=train)

    compare_command = commands.add_parser("compare", help="train every loss with every penalty, and draw them together")
    add_common_options(compare_command, iterations=2000)
    compare_command.add_argument("--losses", nargs="+", default=list(LOSSES), metavar="NAME", help="the rows")
    compare_command.add_argument("--penalties", nargs="+", default=COLUMNS, metavar="NAME[,NAME]", help="the columns")
    compare_command.add_argument("--seed", type=seed, default=0, metavar="S")
    compare_command.add_argument("--out", type=Path, default=Path("gaussians.png"), metavar="X.png")
    compare_command.set_defaults(do=compare)

    arguments = parser.parse_args(options)
    try:
        arguments.do(arguments)
    except KeyboardInterrupt:
        print("stopped; the table has the finished trainings", file=sys.stderr)
        sys.exit(130)  # the exit status of a shell for Ctrl-C


if __name__ == "__main__":
    run_main(main)

"""Train a GAN of two multilayer perceptrons (Goodfellow et al., 2014, arXiv:1406.2661), after MNIST-GAN.

    python examples/mnist_mlp_gan.py train --data mnist --root DIR --download --minutes 4 --out runs/mlp
    python examples/mnist_mlp_gan.py train --recipe original --data mnist --root DIR --epochs 100 --out runs/mlp100
    python examples/mnist_mlp_gan.py sample --run runs/mlp --count 64 --out digits.png

The networks do not use the labels of the data set. ``--recipe original`` trains as MNIST-GAN does. ``ours`` was better
after the same time. The results of both are in ``docs/gallery``.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from _command_line import add_train_options, fill_in, limits, speed, whole
from _data import open_data
from _drawing import add_sample_options, draw_samples, enlargement, load
from _evaluation import MONITOR, evaluation
from _plumbing import RunFile, Summary, averaging, describe, finish, make_loader, run_main

from ganlib import latents, losses, models, penalties, training, viz
from ganlib.conditioning import Unconditional

SCRIPT, RUN = "mnist_mlp_gan", "runs/mnist_mlp_gan"

# The original's discriminator has the generator's hidden layers in reverse (None).
RECIPES: dict[str, dict[str, Any]] = {
    "ours": {
        "hidden": [64, 128, 256], "discriminator_hidden": [256, 128], "norm": "batch", "dropout": 0.0,
        "batch_size": 64, "lr": 1e-3, "beta1": 0.5, "smoothing": 1.0, "r1": 1.0, "averaged": True, "shuffle": True,
    },
    "original": {
        "hidden": [32, 64, 128], "discriminator_hidden": None, "norm": "none", "dropout": 0.3,
        "batch_size": 20, "lr": 2e-3, "beta1": 0.9, "smoothing": 0.9, "r1": 0.0, "averaged": False, "shuffle": False,
    },
}  # fmt: skip


def train(arguments: argparse.Namespace) -> None:
    """Train, and write the files of a run (docs/how-to/stop_and_resume.rst), and ``timeline.png``."""
    fill_in(arguments, RECIPES[arguments.recipe])
    what = describe(arguments, SCRIPT, "recipe", "hidden", "shuffle")
    run, run_file, summary = arguments.out, RunFile(arguments.out, what), Summary(resume=arguments.resume)
    run_file.check()
    torch.manual_seed(arguments.seed)
    loader = make_loader(arguments, open_data(arguments), shuffle=arguments.shuffle)
    epoch = len(loader)  # iterations

    generator, discriminator = models.mlp_gan(
        loader.samples.shape[1:],
        arguments.latent_dim,
        arguments.hidden,
        discriminator_hidden=arguments.discriminator_hidden,
        norm=arguments.norm,
        dropout=arguments.dropout,
    )
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(arguments.beta1, 0.999), fused=True)
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    latent = latents.Uniform(arguments.latent_dim)
    trainer = training.AdversarialTrainer(
        Unconditional(generator),
        Unconditional(discriminator),
        generator_optimizer,
        discriminator_optimizer,
        # One-sided: only the targets of real samples are below 1, and only in the discriminator's update.
        loss=losses.NonSaturatingLoss(smoothing=losses.LabelSmoothing(real=arguments.smoothing, fake=0.0)),
        latent=latent,
        penalties=[penalties.R1(arguments.r1, every=16)] if arguments.r1 else [],
        **speed(arguments, generator, discriminator),
    )

    callbacks, final = list[Any](), generator
    if arguments.averaged:
        callbacks, final = averaging(generator, generator_optimizer, discriminator_optimizer)
    measures = evaluation(arguments, final, latent)
    training.fit(
        trainer,
        loader,
        **limits(arguments, epochs=100),
        resume=arguments.resume,
        callbacks=[
            *callbacks,
            *measures,
            training.CSVLogger(run / "metrics.csv", mean=True),
            # The same 16 latents after every epoch, in one row. The timeline stacks the rows.
            viz.SampleGrid(
                final,
                run / "samples",
                latent=latent(16, generator=torch.Generator().manual_seed(arguments.seed)),
                every=epoch,
                columns=16,
                scale=enlargement(loader.samples.shape[-1], 16),
            ),
            viz.Timeline(run / "timeline.png", run / "samples"),
            viz.TrainingGif(run / "training.gif", run / "samples"),
            viz.LossCurves(run / "losses.png", against="epoch"),
            training.Checkpoint(run, every=arguments.checkpoint_every, monitor=MONITOR if measures else None),
            run_file,
            training.ProgressBar(),
            summary,
        ],
    )
    finish(run, final, {**what, "latent": "uniform", **summary.end}, "timeline.png")


def sample(arguments: argparse.Namespace) -> None:
    """Write ``count`` samples as an image, and as an ``.npz`` file where one is requested."""
    generator: Any = load(arguments.run, SCRIPT)
    draw_samples(arguments, generator, latents.Uniform(generator.info["latent_dim"]))


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a generator")
    add_train_options(command, out=RUN, data="digits")
    command.add_argument("--recipe", choices=RECIPES, default="ours", help="(default: %(default)s)")
    command.add_argument("--hidden", type=whole, nargs="+", metavar="N", help="sizes of the generator's hidden layers")
    command.set_defaults(do=train)
    command = commands.add_parser("sample", help="draw with a trained generator")
    add_sample_options(command, run=RUN, labels=False, count=64)
    command.set_defaults(do=sample)
    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)

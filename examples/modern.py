"""Train a modern GAN on any data set, without tuning: R3GAN, SNGAN, or DCGAN's networks with R3GAN's training.

    python examples/modern.py train --data digits --minutes 10 --out runs/digits
    python examples/modern.py train --model r3gan --data cifar10 --root DIR --download --minutes 8 --out runs/cifar
    python examples/modern.py train --data folder --root DIR --image-size 64 --minutes 30 --augment ada --out runs/own
    python examples/modern.py train --data stacked-mnist --root DIR --download --minutes 20 --out runs/stacked
    python examples/modern.py sample --run runs/cifar --labels 3 5 --count 8 --out samples.png

``--model`` chooses the networks and the training:

- ``r3gan``: the networks of R3GAN, a relativistic loss with R1 and R2 at every iteration, and half-cosine schedules.
- ``dcgan``: the networks of DCGAN, without a norm in the discriminator, and the same training. It is the fastest on a
  CPU.
- ``sngan``: the residual networks and the training of SNGAN: hinge loss, spectral normalization, five updates of the
  discriminator for each update of the generator.

The generator gets the class of each image, unless you pass ``--conditional no``. Images of folders and of CIFAR-10 are
flipped at random. ``--augment ada`` augments what the discriminator sees, for small data sets. Its probability follows
the discriminator with ``sngan``, and rises from 0 to 0.3 by a schedule with the others.

References: Huang et al., "The GAN is dead; long live the GAN!", 2024, arXiv:2501.05441; Miyato et al., "Spectral
Normalization for Generative Adversarial Networks", 2018, arXiv:1802.05957; Radford et al., "Unsupervised Representation
Learning with Deep Convolutional Generative Adversarial Networks", 2016, arXiv:1511.06434; Karras et al., "Training
Generative Adversarial Networks with Limited Data", 2020, arXiv:2006.06676.
"""

import argparse
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from _command_line import add_train_options, fill_in, limits, speed, switch, whole
from _data import open_data
from _drawing import add_sample_options, draw_samples, enlargement, load
from _evaluation import MONITOR, evaluation
from _plumbing import RunFile, Summary, describe, finish, make_loader, run_main
from torch import nn

from ganlib import augment, latents, losses, models, penalties, stacks, training, viz
from ganlib.conditioning import Unconditional
from ganlib.errors import ArgumentValueError

SCRIPT, RUN = "modern", "runs/modern"

# The options of each model, and what differs on a CPU. The width is that of the largest maps.
MODELS: dict[str, dict[str, Any]] = {
    "r3gan": {"batch_size": 128, "lr": 5e-4, "width": 64, "blocks": 2},
    "dcgan": {"batch_size": 64, "lr": 1e-3, "width": 32, "blocks": None},
    "sngan": {"batch_size": 64, "lr": 2e-4, "width": 64, "blocks": None},
}
ON_CPU: dict[str, dict[str, Any]] = {
    "r3gan": {"batch_size": 64, "lr": 1e-3, "width": 16, "blocks": 1},
    "dcgan": {},
    "sngan": {"width": 32},
}
AUGMENTATIONS = ("none", "diff", "ada")


def train(arguments: argparse.Namespace) -> None:
    """Train, and write the files of a run (docs/how-to/stop_and_resume.rst)."""
    choose(arguments)
    what = describe(arguments, SCRIPT, "model", "width", "blocks", "conditional", "flip", "augment")
    run, run_file, summary = arguments.out, RunFile(arguments.out, what), Summary(resume=arguments.resume)
    run_file.check()
    torch.manual_seed(arguments.seed)
    dataset = open_data(arguments)
    classes = list(dataset.classes)
    loader = make_loader(arguments, dataset, augment.RandomHorizontalFlip() if arguments.flip else None)
    shape = loader.samples.shape[1:]
    generator, discriminator = make_networks(arguments, shape, len(classes) if arguments.conditional else None)
    trainer, schedules = make_trainer(arguments, generator, discriminator, shape)

    ema = training.EMA(generator, decay=0.999)
    latent = latents.Gaussian(arguments.latent_dim)
    table = torch.arange(len(classes)) if arguments.conditional else None
    measures = evaluation(arguments, ema.module, latent, table=table)
    # One row for each of ten classes, with the same ten latents; without classes, a hundred latents.
    columns = latent(100 if table is None else 10, generator=torch.Generator().manual_seed(arguments.seed))
    rows = None if table is None else table[:10]
    training.fit(
        trainer,
        loader,
        **limits(arguments, epochs=30),
        resume=arguments.resume,
        callbacks=[
            *schedules,
            ema,
            *measures,
            training.CSVLogger(run / "metrics.csv"),
            viz.SampleGrid(
                ema.module,
                run / "samples",
                latent=columns if rows is None else columns.repeat(len(rows), 1),
                condition=None if rows is None else rows.repeat_interleave(10),
                columns=10,
                scale=enlargement(loader.samples.shape[-1], 10),
            ),
            viz.TrainingGif(run / "training.gif", run / "samples"),
            viz.LossCurves(run / "losses.png"),
            training.Checkpoint(run, every=arguments.checkpoint_every, monitor=MONITOR if measures else None),
            run_file,
            training.ProgressBar(),
            summary,
        ],
    )
    finish(run, ema.module, {**what, "classes": classes, **summary.end})


def choose(arguments: argparse.Namespace) -> None:
    """Set each missing argument to the value of the model and the data set."""
    on_cpu = torch.device(arguments.device).type == "cpu"
    fill_in(arguments, {"model": "dcgan" if on_cpu else "r3gan"})
    fill_in(arguments, MODELS[arguments.model] | (ON_CPU[arguments.model] if on_cpu else {}))
    fill_in(
        arguments, {"conditional": arguments.data != "stacked-mnist", "flip": arguments.data in ("cifar10", "folder")}
    )


def make_networks(arguments: argparse.Namespace, shape: torch.Size, classes: int | None) -> tuple[nn.Module, nn.Module]:
    """Make the networks of the model, for images of this shape. Without classes they are unconditional."""
    latent_dim, width = arguments.latent_dim, arguments.width
    widest = max(512, width)
    stages, size = list[stacks.Stage](), min(shape[1:])
    while size >= 8:  # halve the image as long as 4 pixels are left
        stages.append(stacks.Stage(min(width << len(stages), widest)))
        size = -(-size // 2)
    if arguments.model == "dcgan":
        plan = stacks.StackPlan(tuple(shape), stages)
        if classes is None:
            return models.dcgan(plan, latent_dim, discriminator_norm="none")
        return models.conditional_dcgan(plan, latent_dim, classes, discriminator_norm="none")
    widths = [min(width << level, widest) for level in reversed(range(len(stages) + 1))]  # from the lowest resolution
    if arguments.model == "sngan":
        return models.sngan(shape, latent_dim, classes, widths=widths)
    group_width = math.gcd(16, 2 * width)  # it must divide twice each width
    return models.r3gan(shape, latent_dim, classes, widths=widths, blocks=arguments.blocks, group_width=group_width)


def make_trainer(
    arguments: argparse.Namespace, generator: nn.Module, discriminator: nn.Module, shape: torch.Size
) -> tuple[training.AdversarialTrainer, list[Any]]:
    """Make the training of the model, and the schedules of its numbers, for images of this shape."""
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.0, 0.9), fused=True)
    optimizers = adam(generator.parameters()), adam(discriminator.parameters())
    fast, options = speed(arguments, generator, discriminator), dict[str, Any]()
    if arguments.model == "sngan":
        options = {"loss": losses.HingeLoss(), "discriminator_steps": 5}
        factor, schedules = training.linear_decay(start=0.0, final=0.0), list[Any]()
    else:
        # The penalties grow with the number of pixels: 2 at 64 x 64, as R3GAN has it. They fall to a tenth.
        first = shape[1] * shape[2] / 2048
        weight = torch.zeros((), device=arguments.device)
        options = {"loss": losses.RelativisticLoss(), "reuse_logits": fast["precision"] != "fp16"}
        precision: Any = "autocast" if options["reuse_logits"] else "fp32"
        options["penalties"] = [kind(weight, precision=precision) for kind in (penalties.R1, penalties.R2)]
        factor = training.linear_decay(start=0.4, final=0.05)
        beta2 = training.cosine_ramp(0.9, 0.99, until=0.5)
        schedules = [training.Schedule(weight, training.cosine_ramp(first, first / 10, until=0.5))]
        schedules += [training.BetasSchedule(optimizer, beta2=beta2) for optimizer in optimizers]
    augmentation: Any = {"none": None, "diff": augment.DiffAugment(), "ada": augment.AdaptiveAugment()}[
        arguments.augment
    ]
    if arguments.augment == "ada" and arguments.model != "sngan":
        # A relativistic loss fixes only differences of logits. R3GAN raises the probability by a schedule.
        augmentation = augment.AdaptiveAugment(target=None).to(arguments.device)  # where the trainer uses it
        schedules.append(training.Schedule(augmentation.p, training.cosine_ramp(0.0, 0.3, until=0.5)))
    schedules += [training.LearningRateSchedule(optimizer, factor) for optimizer in optimizers]
    ignoring = (lambda network: network) if arguments.conditional else Unconditional
    trainer = training.AdversarialTrainer(
        ignoring(generator),
        ignoring(discriminator),
        optimizers[0],
        optimizers[1],
        latent=latents.Gaussian(arguments.latent_dim),
        augment=augmentation,
        **options,
        **fast,
    )
    return trainer, schedules


def sample(arguments: argparse.Namespace) -> None:
    """Write ``count`` samples of each label as an image, and as an ``.npz`` file where one is requested."""
    generator: Any = load(arguments.run, SCRIPT)
    latent = latents.Gaussian(generator.info["latent_dim"])
    classes = len(generator.info["classes"])
    if not generator.info["conditional"]:
        if arguments.labels is not None:
            raise ArgumentValueError("--labels needs a conditional run, but this one was trained with --conditional no")
        draw_samples(arguments, generator, latent)
        return
    labels = torch.arange(classes) if arguments.labels is None else torch.tensor(arguments.labels)
    draw_samples(arguments, generator, latent, labels)


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a generator")
    add_train_options(command, out=RUN, data="digits")
    command.add_argument("--model", choices=MODELS, help="(default: r3gan on a GPU, dcgan on the CPU)")
    command.add_argument("--width", type=whole, metavar="N", help="channels of the largest maps (default: by model)")
    yes: dict[str, Any] = {"type": switch, "nargs": "?", "const": True, "metavar": "YES"}
    command.add_argument("--conditional", **yes, help="use the classes (default: yes, but not for stacked-mnist)")
    command.add_argument("--flip", **yes, help="flip images at random (default: yes for cifar10 and folder)")
    command.add_argument(
        "--augment", choices=AUGMENTATIONS, default="none", help="what the discriminator sees (default: %(default)s)"
    )
    command.set_defaults(do=train)
    command = commands.add_parser("sample", help="draw samples from a trained generator")
    add_sample_options(command, run=RUN, labels=True, count=10)
    command.set_defaults(do=sample)
    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)

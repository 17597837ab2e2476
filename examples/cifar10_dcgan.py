"""Train a DCGAN (Radford et al., 2016, arXiv:1511.06434) on the images of one class, after DCGAN_CIFAR10.

    python examples/cifar10_dcgan.py train --class-name cat --root DIR --download --minutes 10 --out runs/cat
    python examples/cifar10_dcgan.py train --recipe original --class-name cat --root DIR --epochs 300 --out runs/cat300
    python examples/cifar10_dcgan.py train --data folder --root DIR --class-name cat --image-size 64 --out runs/pets
    python examples/cifar10_dcgan.py train --all-classes --root DIR --minutes 3 --out runs/ten
    python examples/cifar10_dcgan.py sample --run runs/cat --count 64 --out cats.png

``--data cifar10`` is torchvision's data set. ``--data folder`` takes any folder with one subfolder of images for each
class, such as your own images, or CIFAR-10 as JPEG files. ``--recipe original`` trains as DCGAN_CIFAR10 does. ``ours``
was better after the same time. The results of both are in ``docs/gallery``.

As in the original, a run draws one latent after every epoch (``samples/``). Its ``metrics.csv`` has one row of means
for each epoch: both losses, ``real_score`` (D(x)), ``fake_score`` (D(G(z)) in the discriminator's update) and
``generator_score`` (D(G(z)) in the generator's update).
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _command_line import add_train_options, fill_in, limits, speed, switch, whole
from _data import open_data
from _drawing import add_sample_options, draw, draw_samples, enlargement, generator_file, grid, load, save_image
from _evaluation import MONITOR, evaluation
from _plumbing import RunFile, Summary, averaging, describe, finish, make_loader, run_main
from torch import Tensor, nn

from ganlib import augment, data, distributed, init, latents, losses, models, penalties, stacks, training, viz
from ganlib.conditioning import Unconditional
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Step

SCRIPT, RUN = "cifar10_dcgan", "runs/cifar10_dcgan"


def original_plan(channels: int, size: int, width: int = 128) -> stacks.StackPlan:
    """Make the plan of DCGAN_CIFAR10, for any size: 32, 29, 13, 5, 1 pixels, without padding."""
    stages, left = [stacks.Stage(width, kernel_size=4, stride=1, padding=0)], size - 3
    while left > 5:
        stages.append(stacks.Stage(min(width << len(stages), 4 * width), kernel_size=5, stride=2, padding=0))
        left = (left - 5) // 2 + 1
    stages.append(stacks.Stage(100, kernel_size=left, stride=2, padding=0))  # each network replaces these channels
    return stacks.StackPlan((channels, size, size), stages)


def plan(channels: int, size: int, width: int = 32) -> stacks.StackPlan:
    """Make a plan that halves the image down to at most 4 pixels, and then reduces it to 1: 32, 16, 8, 4, 1."""
    stages, left = list[stacks.Stage](), size
    while left > 4:
        stages.append(stacks.Stage(min(width << len(stages), 8 * width)))
        left //= 2
    stages.append(stacks.Stage(100, kernel_size=left, stride=1, padding=0))
    return stacks.StackPlan((channels, size, size), stages)


RECIPES: dict[str, dict[str, Any]] = {
    "ours": {
        "plan": plan, "width": 32, "slope": 0.2, "gains": False,
        "batch_size": 64, "drop_last": True, "lr": 1e-3, "noise": 0.0, "reuse_fakes": False, "r1": 0.1,
        "averaged": True, "batch_norm": "running",
    },
    "original": {
        # It also draws the gains of its norms from N(0, 0.02).
        "plan": original_plan, "width": 128, "slope": 0.02, "gains": True,
        "batch_size": 32, "drop_last": False, "lr": 2e-4, "noise": 0.1, "reuse_fakes": True, "r1": 0.0,
        "averaged": False, "batch_norm": "sample",
    },
}  # fmt: skip


class AveragedLoss:
    """Average the discriminator's losses of real and fake samples, instead of adding them."""

    def __init__(self, loss: losses.NonSaturatingLoss) -> None:
        self.loss = loss

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return half of the sum."""
        return self.loss.discriminator(real, fake) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the generator's loss unchanged."""
        return self.loss.generator(fake)


class GeneratorScore:
    """Report the mean D(G(z)) in the generator's update: an auxiliary loss of weight 0 is only a metric."""

    weight = 0.0

    def discriminator(self, step: Step) -> Tensor:
        """Return 0: the trainer reports D(x) and D(G(z)) of this update itself."""
        return torch.zeros((), device=step.fake.device)

    def generator(self, step: Step) -> Tensor:
        """Return the mean probability that the discriminator assigns to "real" for the fakes."""
        assert isinstance(step.fake_output.logits, Tensor)  # this discriminator has one scale
        return torch.sigmoid(step.fake_output.logits.detach()).mean()


def train(arguments: argparse.Namespace) -> None:
    """Train on one class, or on all classes one after the other, and draw a row of each."""
    fill_in(arguments, RECIPES[arguments.recipe])
    dataset = open_data(arguments)
    if not arguments.all_classes:
        train_class(arguments, dataset, arguments.class_name, arguments.out)
        return
    for name in dataset.classes:
        run = arguments.out / name
        if arguments.resume and arguments.minutes is not None and generator_file(run) is not None:
            print(f"{run} is finished")  # --minutes counts from the start of the call
        else:
            print(f"{name}:")
            train_class(arguments, dataset, name, run)
    if distributed.rank() == 0:
        latent = latents.Gaussian(arguments.latent_dim)(10, generator=torch.Generator().manual_seed(arguments.seed))
        rows = [draw(load(arguments.out / name, SCRIPT, class_name=name), latent) for name in dataset.classes]
        save_image(grid(torch.cat(rows), len(latent)), arguments.out / "classes.png")


def train_class(arguments: argparse.Namespace, dataset: Any, class_name: str, run: Path) -> None:
    """Train on one class, and write the files of a run (docs/how-to/stop_and_resume.rst)."""
    classes = list(dataset.classes)
    if class_name not in classes:
        raise ArgumentValueError(f"--class-name (={class_name!r}) must be one of {', '.join(classes)}")
    what = {**describe(arguments, SCRIPT, "recipe", "width", "batch_norm"), "class_name": class_name}
    run_file, summary = RunFile(run, what), Summary(resume=arguments.resume)
    run_file.check()
    torch.manual_seed(arguments.seed)
    images = data.only_class(dataset, class_name)
    loader = make_loader(arguments, images, augment.RandomHorizontalFlip(), drop_last=arguments.drop_last)
    epoch = len(loader)  # iterations
    trainer = make_trainer(arguments, loader.samples.shape[1:])
    generator: Any = trainer.generator

    callbacks, final = list[Any](), generator.module
    if arguments.averaged:
        callbacks, final = averaging(final, trainer.generator_optimizer, trainer.discriminator_optimizer)
    images_folder = run / "samples"
    if arguments.ref_images_dir is not None:
        images_folder = arguments.ref_images_dir / class_name
        if images_folder.exists() and any(images_folder.iterdir()) and not training.Checkpoint(run).paths():
            # A run would remove files of another run with later iterations.
            raise ArgumentValueError(
                f"--ref-images-dir: {images_folder} holds files that are not this run's: take another"
            )
    latent = latents.Gaussian(arguments.latent_dim)
    measures = evaluation(arguments, final, latent, class_name=class_name, batch_norm=arguments.batch_norm)
    one = latent(1, generator=torch.Generator().manual_seed(arguments.seed))
    training.fit(
        trainer,
        loader,
        **limits(arguments, epochs=300),
        resume=arguments.resume,
        callbacks=[
            *callbacks,
            *measures,
            # One row for each epoch: the means of both losses, of D(x), and of D(G(z)) in both updates.
            training.CSVLogger(run / "metrics.csv", every=epoch, mean=True),
            viz.SampleGrid(
                final,
                images_folder,
                latent=one,
                every=epoch,
                scale=enlargement(loader.samples.shape[-1], 1),
                batch_norm=arguments.batch_norm,
            ),
            viz.TrainingGif(run / "training.gif", images_folder),
            viz.LossCurves(run / "losses.png", against="epoch"),
            training.Checkpoint(run, every=arguments.checkpoint_every, monitor=MONITOR if measures else None),
            run_file,
            training.ProgressBar(),
            summary,
        ],
    )
    samples = "samples" if arguments.ref_images_dir is None else images_folder
    finish(run, final, {**what, "classes": classes, **summary.end}, samples=samples)


def make_trainer(arguments: argparse.Namespace, shape: torch.Size) -> training.AdversarialTrainer:
    """Make the networks, the optimizers and the loss of the recipe, for images of this shape."""
    channels, _, size = shape
    generator, discriminator = models.dcgan(
        arguments.plan(channels, size, arguments.width),
        arguments.latent_dim,
        discriminator_activation=nn.LeakyReLU(arguments.slope),
        bias=False,
        init=None,
    )
    if arguments.init_generator_weights:
        init.normal_(generator, std=0.02, gains=arguments.gains)
    if arguments.init_discriminator_weights:
        init.normal_(discriminator, std=0.02, gains=arguments.gains)
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.5, 0.999), fused=True)
    # Targets in [1 - noise, 1] and [0, noise], drawn for each sample.
    half = arguments.noise / 2
    noisy = losses.LabelSmoothing(real=1 - half, fake=half, jitter=half)
    return training.AdversarialTrainer(
        Unconditional(generator),
        Unconditional(discriminator),
        adam(generator.parameters()),
        adam(discriminator.parameters()),
        loss=AveragedLoss(losses.NonSaturatingLoss(smoothing=noisy)),
        latent=latents.Gaussian(arguments.latent_dim),
        penalties=[penalties.R1(arguments.r1, every=16)] if arguments.r1 else [],
        auxiliary_losses=[GeneratorScore()],
        reuse_fakes=arguments.reuse_fakes,
        **speed(arguments, generator, discriminator),
    )


def sample(arguments: argparse.Namespace) -> None:
    """Write ``count`` samples as an image, and as an ``.npz`` file where one is requested."""
    run, name = arguments.run, arguments.class_name
    several = sorted(path.name for path in run.glob("*") if generator_file(path) is not None)
    if name in several:  # a run of all classes
        run = run / name
    elif name is None and generator_file(run) is None and several:
        told = ", ".join(several)
        raise ArgumentValueError(f"--run (={run}) holds a run for each of {told}: say which by --class-name")
    generator: Any = load(run, SCRIPT, class_name=name)
    draw_samples(arguments, generator, latents.Gaussian(generator.info["latent_dim"]))


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a generator")
    add_train_options(command, out=RUN, data="cifar10")
    command.add_argument("--recipe", choices=RECIPES, default="ours", help="(default: %(default)s)")
    command.add_argument(
        "--width", type=whole, metavar="N", help="channels of the stage with the largest image (default: by recipe)"
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument("--class-name", "--class_name", default="cat", metavar="NAME", help="(default: %(default)s)")
    which.add_argument("--all-classes", action="store_true", help="train on each class, in its own folder below RUN")
    for player in ("generator", "discriminator"):
        command.add_argument(
            f"--init-{player}-weights",
            f"--init_{player}_weights",
            type=switch,
            nargs="?",
            const=True,
            default=True,
            metavar="YES",
            help="initialize the weights from N(0, 0.02), or else as torch does (default: yes)",
        )
    command.add_argument(
        "--ref-images-dir",
        "--ref_images_dir",
        type=Path,
        metavar="DIR",
        help="folder for the samples, with a subfolder for the class (default: RUN/samples)",
    )
    command.set_defaults(do=train)
    command = commands.add_parser("sample", help="draw samples from a trained generator")
    add_sample_options(command, run=RUN, labels=False, count=64)
    command.add_argument("--class-name", "--class_name", metavar="NAME", help="the class, for a run of all classes")
    command.set_defaults(do=sample)
    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)

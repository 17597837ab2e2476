"""Train a conditional DCGAN on digits.

    python examples/mnist_cdcgan.py train --data digits --minutes 3 --out runs/digits
    python examples/mnist_cdcgan.py train --data mnist --root DIR --download --epochs 20 --out runs/mnist
    python examples/mnist_cdcgan.py train --preset deceptive64 --data mnist --root DIR --minutes 4 --out runs/mnist64
    python examples/mnist_cdcgan.py sample --run runs/mnist --labels 3 1 4 --count 8 --seed 0 --out digits.png
    python examples/mnist_cdcgan.py digits --run runs/mnist --number 9830976450 --out number.png
    python examples/mnist_cdcgan.py interpolate --run runs/mnist --way slerp --out between.png
    python examples/mnist_cdcgan.py same-latent --run runs/mnist --seed 3 --out same.png

``--data digits`` renders digits and needs no download. ``train ... --resume`` continues a run that was stopped.
``--recipe`` chooses the training: ours, or that of the original. ``--preset`` chooses the networks and the data:
``dcgan28`` (after cDCGAN-MNIST, with the original recipe), ``deep28`` (one more layer, with ours) or ``deceptive64``
(those of deceptive-digits). The results are in ``docs/gallery``.

References: Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784; Radford et al.,
"Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", 2016, arXiv:1511.06434.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from _command_line import add_train_options, fill_in, from_zero, limits, speed, switch, whole
from _data import image_size, open_data
from _drawing import (
    add_sample_options,
    add_sampling_options,
    draw,
    draw_samples,
    enlargement,
    grid,
    load,
    save_animation,
    save_image,
)
from _evaluation import MONITOR, evaluation
from _plumbing import RunFile, Summary, averaging, describe, finish, make_loader, run_main, sync_batch_norm
from torch import Tensor, nn

from ganlib import augment, conditioning, init, latents, losses, models, penalties, stacks, training, viz
from ganlib.errors import ArgumentValueError

SCRIPT, RUN = "mnist_cdcgan", "runs/mnist_cdcgan"

# The training. "averaged" means a falling learning rate and a moving average of the generator.
RECIPES: dict[str, dict[str, Any]] = {
    # A penalty at every 4th iteration gives more variety, and a discriminator that classifies gives clearer digits.
    "ours": {
        "preset": "deep28",
        "batch_size": 64,
        "lr": 2e-3,
        "conditioning": "projection+auxiliary",
        "r1": 0.1,
        "r1_every": 4,
        "reuse_fakes": True,
        "averaged": True,
    },
    "original": {
        "preset": "dcgan28",
        "batch_size": 128,
        "lr": 2e-4,
        "conditioning": "channels",
        "r1": 0.0,
        "r1_every": 16,
        "reuse_fakes": False,
        "averaged": False,
    },
}
# The networks and the data. The fakes' labels are random, or else those of the real batch.
PRESETS: dict[str, dict[str, Any]] = {
    "dcgan28": {
        "rotation": 0.0,
        "interpolation": "bilinear",
        "random_labels": False,
        "default_epochs": 20,
    },
    "deceptive64": {
        "width": 64,
        "rotation": 25.0,
        "interpolation": "nearest",
        "random_labels": True,
        "image_size": 64,
        "batch_size": 64,
        "conditioning": "features",
        "default_epochs": 7,
    },
}
PRESETS["deep28"] = PRESETS["dcgan28"]  # only the depth differs
SMALLEST = {"dcgan28": 7, "deep28": 4}  # pixels to which the image is halved
# Where the preset and the recipe together differ from both. The original deceptive-digits uses the generator's output
# for both updates, and draws samples one by one with batch norm in training mode.
TOGETHER: dict[tuple[str, str], dict[str, Any]] = {
    ("deceptive64", "ours"): {"r1": 0.02, "r1_every": 16, "reuse_fakes": False},
    ("deceptive64", "original"): {"reuse_fakes": True, "batch_norm": "sample"},
}


def dcgan28(channels: int, size: int, width: int = 32, smallest: int = 7) -> stacks.StackPlan:
    """Make a plan that halves the image down to at most ``smallest`` pixels, and then reduces it to 1.

    With 7 the sizes are 28, 14, 7, 1. With 4 they are 28, 14, 7, 3, 1.
    """
    stages, left = list[stacks.Stage](), size
    widest = max(256, width)
    while left > smallest:
        stages.append(stacks.Stage(min(width << len(stages), widest)))
        left //= 2
    stages.append(stacks.Stage(min(width << len(stages), widest), kernel_size=left, stride=1, padding=0))
    return stacks.StackPlan((channels, size, size), stages)


def deceptive64(channels: int, width: int = 64) -> stacks.StackPlan:
    """Make the plan of deceptive-digits: 64, 32, 16, 8, 4 pixels, and ten features."""
    halves = [stacks.Stage(width << step) for step in range(4)]
    return stacks.StackPlan((channels, 64, 64), [*halves, stacks.Stage(10, kernel_size=4, stride=1, padding=0)])


def make_networks(arguments: argparse.Namespace, shape: torch.Size, classes: int) -> tuple[nn.Module, nn.Module]:
    """Make the generator and the discriminator of the preset, for images of this shape."""
    channels, size, latent_dim = shape[0], shape[-1], arguments.latent_dim
    if arguments.preset in SMALLEST:
        return models.conditional_dcgan(
            dcgan28(channels, size, arguments.width, SMALLEST[arguments.preset]),
            latent_dim,
            classes,
            conditioning=arguments.conditioning,
            generator_conditioning=arguments.generator_conditioning.replace("-", "_"),
        )
    fixed = {"image_size": 64, "conditioning": "features", "generator_conditioning": "latent"}
    asked = {name: size if name == "image_size" else getattr(arguments, name) for name in fixed}
    for name, value in asked.items():
        if value != fixed[name]:
            flag = f"--{name.replace('_', '-')}"
            raise ArgumentValueError(f"{flag} (={value}) must be {fixed[name]} with --preset deceptive64")
    plan = deceptive64(channels, arguments.width)
    generator, _ = models.conditional_dcgan(
        plan, latent_dim, encoder=conditioning.ClassEmbedding(classes, 10), bias=False
    )
    gentle = nn.LeakyReLU(0.01)
    features = init.dcgan_(stacks.ConvStack(plan, last_activation=gentle, bias=False))
    head = stacks.LinearStack([10 + 10, 15, 1], activation=gentle)
    return generator, conditioning.ConcatFeatures(features, conditioning.ClassEmbedding(classes, 10), head)


def train(arguments: argparse.Namespace) -> None:
    """Train, and write the files of a run (docs/how-to/stop_and_resume.rst)."""
    choose(arguments)
    own = "preset", "recipe", "width", "conditioning", "generator_conditioning", "rotation", "batch_norm"
    what = describe(arguments, SCRIPT, *own)
    run, run_file = arguments.out, RunFile(arguments.out, what)
    run_file.check()
    torch.manual_seed(arguments.seed)
    dataset = open_data(arguments)
    rotation = augment.RandomRotation(arguments.rotation, interpolation=arguments.interpolation)
    loader = make_loader(arguments, dataset, rotation if arguments.rotation else None)
    classes = list(dataset.classes)
    trainer = make_trainer(arguments, loader.samples.shape[1:], len(classes))
    generator, latent = trainer.generator, latents.Gaussian(arguments.latent_dim)

    callbacks, final, summary = list[Any](), generator, Summary(resume=arguments.resume)
    if arguments.averaged:
        callbacks, final = averaging(generator, trainer.generator_optimizer, trainer.discriminator_optimizer)
    labels = torch.arange(len(classes))
    measures = evaluation(arguments, final, latent, table=labels, batch_norm=arguments.batch_norm)
    # One row for each class, with the same ten latents: within a column only the class differs.
    columns = latent(10, generator=torch.Generator().manual_seed(arguments.seed))
    training.fit(
        trainer,
        loader,
        **limits(arguments, arguments.default_epochs),
        resume=arguments.resume,
        callbacks=[
            *callbacks,
            *measures,
            training.CSVLogger(run / "metrics.csv"),
            viz.SampleGrid(
                final,
                run / "samples",
                latent=columns.repeat(len(classes), 1),
                condition=labels.repeat_interleave(len(columns)),
                columns=len(columns),
                scale=enlargement(loader.samples.shape[-1], max(len(columns), len(classes))),
                batch_norm=arguments.batch_norm,
            ),
            viz.TrainingGif(run / "training.gif", run / "samples"),
            viz.LossCurves(run / "losses.png"),
            training.Checkpoint(run, every=arguments.checkpoint_every, monitor=MONITOR if measures else None),
            run_file,
            training.ProgressBar(),
            summary,
        ],
    )
    finish(run, final, {**what, "classes": classes, **summary.end})


def choose(arguments: argparse.Namespace) -> None:
    """Set each missing argument to the value of the recipe and the preset."""
    recipe = RECIPES[arguments.recipe]
    fill_in(arguments, {"preset": recipe["preset"]})
    together = TOGETHER.get((arguments.preset, arguments.recipe), {})
    fill_in(arguments, {"batch_norm": "running", **recipe, **PRESETS[arguments.preset], **together})
    # The stage with the largest image costs most.
    fill_in(arguments, {"width": 32 if image_size(arguments) <= 32 else 16})


def make_trainer(arguments: argparse.Namespace, shape: torch.Size, classes: int) -> training.AdversarialTrainer:
    """Make the networks, the optimizers and the loss, for images of this shape."""
    generator, discriminator = make_networks(arguments, shape, classes)
    if arguments.sync_batch_norm:
        generator = sync_batch_norm(generator, arguments.device)
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.5, 0.999), fused=True)
    fast, added, auxiliary = speed(arguments, generator, discriminator), list[Any](), list[Any]()
    reuse_logits = fast.get("precision") != "fp16"
    if arguments.r1:
        precision: Any = "autocast" if reuse_logits else "fp32"
        added = [penalties.R1(arguments.r1, every=arguments.r1_every, precision=precision)]
    if "auxiliary" in arguments.conditioning:  # the discriminator learns to predict the class, as in AC-GAN
        auxiliary = [losses.AuxiliaryClassifier()]
    return training.AdversarialTrainer(
        generator,
        discriminator,
        adam(generator.parameters()),
        adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(arguments.latent_dim),
        penalties=added,
        auxiliary_losses=auxiliary,
        fake_conditions=partial(draw_labels, classes, arguments.device) if arguments.random_labels else None,
        reuse_fakes=arguments.reuse_fakes,
        reuse_logits=reuse_logits and bool(added),
        **fast,
    )


def draw_labels(classes: int, device: str, n: int) -> Tensor:
    """Draw n random labels on the device. Labels from the host would make the step wait."""
    return torch.randint(classes, (n,), device=device)


def all_labels(generator: Any) -> Tensor:
    """Return the labels of all classes of the generator."""
    return torch.arange(len(generator.info["classes"]))


def sample(arguments: argparse.Namespace) -> None:
    """Write ``count`` samples of each label as an image, and as an ``.npz`` file where one is requested."""
    generator = load(arguments.run, SCRIPT)
    labels = all_labels(generator) if arguments.labels is None else torch.tensor(arguments.labels)
    draw_samples(arguments, generator, latent_of(generator), labels)


def digits(arguments: argparse.Namespace) -> None:
    """Write a number: draw its digits, crop, invert and join them."""
    generator = load(arguments.run, SCRIPT)
    if not (arguments.number.isascii() and arguments.number.isdecimal()):
        raise ArgumentValueError(f"--number (={arguments.number!r}) must be digits from 0 to 9")
    labels = torch.tensor([int(digit) for digit in arguments.number])
    images = draw(generator, seeded(arguments, generator, len(labels)), labels, batch_norm=arguments.batch_norm)
    height, width = images.shape[2:]
    # For 64 x 64 pixels: the rows from 4 to 60 and the columns from 10 to 58.
    rows, columns = slice(height * 4 // 64, height * 60 // 64), slice(width * 10 // 64, width * 58 // 64)
    number = torch.cat([-image[:, rows, columns] for image in images], dim=2)
    save_image(grid(number.unsqueeze(0), padding=0), arguments.out)


def interpolate(arguments: argparse.Namespace) -> None:
    """Interpolate between two latents for all classes: an image with a row for each class, and an animation."""
    generator = load(arguments.run, SCRIPT)
    if arguments.out.suffix.lower() == ".gif":
        raise ArgumentValueError(f"--out (={arguments.out}) is the image's; the animation is next to it, as a .gif")
    way: Any = {"lerp": latents.lerp, "slerp": latents.slerp}[arguments.way]
    path, labels = way(*seeded(arguments, generator, 2), arguments.steps), all_labels(generator)
    asked = labels.repeat_interleave(len(path))
    images = draw(generator, path.repeat(len(labels), 1), asked, batch_norm=arguments.batch_norm)
    save_image(grid(images, len(path)), arguments.out)
    frames = [grid(step, len(labels)) for step in images.unflatten(0, (len(labels), -1)).unbind(1)]
    save_animation([*frames, *frames[-2:0:-1]], arguments.out.with_suffix(".gif"))


def same_latent(arguments: argparse.Namespace) -> None:
    """Draw one latent as each class."""
    generator = load(arguments.run, SCRIPT)
    labels = all_labels(generator)
    images = draw(
        generator, seeded(arguments, generator, 1).expand(len(labels), -1), labels, batch_norm=arguments.batch_norm
    )
    save_image(grid(images, len(labels)), arguments.out)


def latent_of(generator: Any) -> latents.Gaussian:
    """Return the distribution of the generator's latents."""
    return latents.Gaussian(generator.info["latent_dim"])


def seeded(arguments: argparse.Namespace, generator: nn.Module, n: int) -> Tensor:
    """Draw n latents with the seed of the command line."""
    return latent_of(generator)(n, generator=torch.Generator().manual_seed(arguments.seed))


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("train", help="train a generator")
    add_train_options(command, out=RUN, data="digits")
    command.add_argument("--preset", choices=PRESETS, help="the networks (default: by recipe)")
    command.add_argument("--recipe", choices=RECIPES, default="ours", help="the training (default: %(default)s)")
    command.add_argument(
        "--width", type=whole, metavar="N", help="channels of the stage with the largest image (default: by preset)"
    )
    command.add_argument(
        "--conditioning",
        choices=["projection", "channels", "features", "auxiliary", "projection+auxiliary"],
        help="how the discriminator uses the class; channels: one-hot planes (default: by preset and recipe)",
    )
    command.add_argument(
        "--generator-conditioning",
        choices=["latent", "batch-norm"],
        default="latent",
        help="how the generator gets the class (default: %(default)s)",
    )
    command.add_argument("--r1", type=from_zero, metavar="WEIGHT", help="weight of R1 (default: by preset and recipe)")
    command.add_argument(
        "--r1-every", type=whole, metavar="N", help="add R1 at every Nth iteration (default: by preset and recipe)"
    )
    command.add_argument(
        "--reuse-fakes",
        type=switch,
        nargs="?",
        const=True,
        metavar="YES",
        help="update both networks with the same fakes, which is faster (default: by preset and recipe)",
    )
    command.add_argument("--rotation", type=from_zero, metavar="DEGREES", help="rotate real images by up to this angle")
    command.add_argument(
        "--sync-batch-norm",
        action="store_true",
        help="compute the statistics of the generator's batch norm over all processes (CUDA only)",
    )
    command.set_defaults(do=train)

    command = commands.add_parser("sample", help="draw digits from a trained generator")
    add_sample_options(command, run=RUN, labels=True, count=10)
    command.set_defaults(do=sample)

    command = commands.add_parser("digits", help="write a number")
    add_sampling_options(command, run=RUN, out="number.png")
    command.add_argument("--number", required=True, metavar="DIGITS")
    command.set_defaults(do=digits)

    command = commands.add_parser("interpolate", help="interpolate between two latents, as an image and an animation")
    add_sampling_options(command, run=RUN, out="interpolation.png")
    command.add_argument("--way", choices=["lerp", "slerp"], default="slerp", help="(default: %(default)s)")
    command.add_argument(
        "--steps",
        type=whole,
        default=10,
        metavar="N",
        help="number of latents, both ends included (default: %(default)s)",
    )
    command.set_defaults(do=interpolate)

    command = commands.add_parser("same-latent", help="draw one latent as each class")
    add_sampling_options(command, run=RUN, out="same.png")
    command.set_defaults(do=same_latent)

    arguments = parser.parse_args(options)
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)

"""A conditional DCGAN that draws the digit you ask for (Mirza and Osindero 2014; Radford et al. 2016).

    python examples/mnist_cdcgan.py train --data digits --minutes 3 --out runs/digits
    python examples/mnist_cdcgan.py train --data mnist --root DIR --download --epochs 20 --out runs/mnist
    python examples/mnist_cdcgan.py sample --run runs/mnist --labels 3 1 4 --count 8 --seed 0 --out digits.png

``digits`` are drawn on the spot and need no download. A run that was stopped goes on with ``train ... --resume``.
What it reached on real MNIST, and on what machine, stands in ``docs/explanation/measured.rst``.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _plumbing import Summary, add_train_words, best_precision, limits, open_data, run_main, sync_batch_norm

from ganlib import data, distributed, latents, losses, models, penalties, stacks, training, viz
from ganlib.errors import ArgumentValueError

# Read downwards by the discriminator, upwards by the generator.
PLAN = stacks.StackPlan(
    image_shape=(1, 28, 28),
    stages=[stacks.Stage(32), stacks.Stage(64), stacks.Stage(128, kernel_size=7, stride=1, padding=0)],
)


def train(arguments: argparse.Namespace) -> None:
    """Train, and leave in the run's folder what DESIGN.md's section 4 promises."""
    torch.manual_seed(arguments.seed)
    dataset = open_data(arguments.data, arguments.root, download=arguments.download)
    loader = data.TensorLoader(dataset, arguments.batch_size, device=arguments.device, seed=arguments.seed)
    classes = list(dataset.classes)  # type: ignore[attr-defined]  # all the data sets by name have them

    generator, discriminator = models.conditional_dcgan(
        PLAN,
        arguments.latent_dim,
        len(classes),
        conditioning=arguments.conditioning,
        generator_conditioning=arguments.generator_conditioning.replace("-", "_"),
    )
    if arguments.sync_batch_norm:
        generator = sync_batch_norm(generator, arguments.device)
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.5, 0.999), fused=True)
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    latent = latents.Gaussian(arguments.latent_dim)
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        generator_optimizer,
        discriminator_optimizer,
        loss=losses.NonSaturatingLoss(),
        latent=latent,
        # Lazily, at every 16th iteration: it costs little, and brings the digits' variety close to the real one.
        penalties=[penalties.R1(0.02, every=16)],
        # A discriminator that is not told the class has to read it; then both players want it to be readable.
        terms=[losses.AuxiliaryClassifier()] if arguments.conditioning == "auxiliary" else [],
        precision=best_precision(arguments.precision, arguments.device),
        channels_last=True,
    )

    # A row for each class, the same ten latents in all of them: what differs within a column is the class alone.
    columns = latent(10, generator=torch.Generator().manual_seed(arguments.seed))
    run, decay = arguments.out, training.linear_decay(start=0.6, final=0.05)
    ema = training.EMA(generator, decay=0.999)
    training.fit(
        trainer,
        loader,
        **limits(arguments),
        resume=arguments.resume,
        callbacks=[
            training.LearningRateSchedule(generator_optimizer, decay),
            training.LearningRateSchedule(discriminator_optimizer, decay),
            ema,
            training.CSVLogger(run / "metrics.csv"),
            viz.SampleGrid(
                ema.generator,
                run / "samples",
                latent=columns.repeat(len(classes), 1),
                condition=torch.arange(len(classes)).repeat_interleave(len(columns)),
                columns=len(columns),
            ),
            viz.TrainingGif(run / "training.gif", run / "samples"),
            viz.LossCurves(run / "losses.png"),
            training.Checkpoint(run, every=arguments.checkpoint_every),
            training.ProgressBar(),
            Summary(resume=arguments.resume),
        ],
    )
    if distributed.rank() == 0:
        info = {"data": arguments.data, "classes": classes, "latent_dim": arguments.latent_dim}
        models.save_generator(run / "generator.pt", ema.generator, info)
        print(f"{run}: generator.pt, metrics.csv, losses.png, training.gif, samples/, checkpoints/")


def sample(arguments: argparse.Namespace) -> None:
    """Draw ``count`` samples of each label that is asked for, a picture of them all, and their numbers if wanted."""
    if arguments.count < 1:
        raise ArgumentValueError(f"--count (={arguments.count}) must be at least 1")
    path = arguments.run / "generator.pt"
    if not path.exists():
        raise ArgumentValueError(
            f"--run (={arguments.run}) holds no generator.pt, which a training writes when it ends: "
            f"finish it with train ... --out {arguments.run} --resume"
        )
    generator = models.load_generator(path)
    info: Any = generator.info
    labels = torch.tensor(arguments.labels).repeat_interleave(arguments.count)
    drawn = latents.Gaussian(info["latent_dim"])(len(labels), generator=torch.Generator().manual_seed(arguments.seed))
    with torch.no_grad():
        pairs = zip(drawn.split(500), labels.split(500), strict=True)
        images = torch.cat([generator(latent, label) for latent, label in pairs])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    viz.image_grid(images, columns=min(arguments.count, 50)).save(arguments.out)
    if arguments.npz is not None:
        arguments.npz.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.npz, images=images.numpy(), labels=labels.numpy())
    print(f"the picture is {arguments.out}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    words = commands.add_parser("train", help="train a generator")
    add_train_words(words, out="runs/mnist_cdcgan", batch_size=64, lr=2e-3, latent_dim=100)
    words.add_argument(
        "--conditioning",
        choices=["projection", "channels", "features", "auxiliary"],
        default="projection",
        help="how the discriminator meets the class (default: %(default)s)",
    )
    words.add_argument(
        "--generator-conditioning",
        choices=["latent", "batch-norm"],
        default="latent",
        help="how the generator is given the class (default: %(default)s)",
    )
    words.set_defaults(do=train)
    words = commands.add_parser("sample", help="draw digits with a trained generator")
    words.add_argument("--run", type=Path, default=Path("runs/mnist_cdcgan"), metavar="RUN")
    words.add_argument("--labels", type=int, nargs="+", default=list(range(10)), metavar="N")
    words.add_argument("--count", type=int, default=10, metavar="N", help="of each label")
    words.add_argument("--seed", type=int, default=0, metavar="S")
    words.add_argument("--out", type=Path, default=Path("digits.png"), metavar="X.png")
    words.add_argument("--npz", type=Path, metavar="X.npz", help="images (N C H W in [-1, 1]) and labels as well")
    words.set_defaults(do=sample)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    run_main(main)

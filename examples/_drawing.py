"""Load a trained generator, sample from it, and write images."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _command_line import label, seed, whole
from PIL import Image
from torch import Tensor, nn

from ganlib import models, viz
from ganlib.errors import ArgumentValueError, CheckpointError
from ganlib.protocols import Latent


def add_sampling_options(parser: argparse.ArgumentParser, *, run: str, out: str) -> None:
    """Add the options of every subcommand that samples from a trained generator."""
    own = "default: %(default)s"
    parser.add_argument("--run", type=Path, default=Path(run), metavar="RUN", help=f"folder of the run ({own})")
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help=f"seed of the latents ({own})")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="X.png", help=own)
    parser.add_argument(
        "--batch-norm",
        choices=["running", "sample"],
        help="normalize by the running averages, or by the statistics of each sample alone (default: the value of "
        "batch_norm in the run's run.json)",
    )


def add_sample_options(parser: argparse.ArgumentParser, *, run: str, labels: bool, count: int) -> None:
    """Add the options of every ``sample``."""
    add_sampling_options(parser, run=run, out="samples.png")
    if labels:
        which = "indices of the classes (default: all classes)"
        parser.add_argument("--labels", type=label, nargs="+", metavar="N", help=which)
    how_many = ("samples of each class" if labels else "number of samples") + " (default: %(default)s)"
    parser.add_argument("--count", type=whole, default=count, metavar="N", help=how_many)
    parser.add_argument(
        "--npz", type=Path, metavar="X.npz", help="also write the images (N C H W in [-1, 1]) and the labels"
    )


def generator_file(run: Path) -> Path | None:
    """Return the path of the generator in a run's folder, if there is one. Earlier versions wrote a ``.pt``."""
    return next((run / name for name in ("generator.safetensors", "generator.pt") if (run / name).exists()), None)


def load(run: Path, script: str, **wanted: Any) -> nn.Module:
    """Load the generator of a run, and check that its info has this script and the other given values."""
    path = generator_file(run)
    if path is None and not run.is_dir():
        what = "is a file" if run.exists() else "is not there"
        raise ArgumentValueError(f"--run (={run}) {what}: pass the folder of a run, the --out of its train")
    if path is None:
        raise ArgumentValueError(
            f"--run (={run}) holds no generator.safetensors, which a training writes when it ends: "
            f"finish it with train ... --out {run} --resume, or add --iterations 1 to that command to end it now"
        )
    generator = models.load_generator(path)
    info: Any = generator.info
    for name, value in {"script": script, **wanted}.items():
        if value is not None and info.get(name) != value:
            raise CheckpointError(f"{path} holds a generator of {name} {info.get(name)}, not {value}")
    return generator


def draw_samples(
    arguments: argparse.Namespace, generator: nn.Module, latent: Latent, conditions: Tensor | None = None
) -> None:
    """Write an image of ``count`` samples of each condition, and an ``.npz`` file where one is requested."""
    repeated = None if conditions is None else conditions.repeat_interleave(arguments.count, dim=0)
    n = arguments.count if repeated is None else len(repeated)
    images = draw(
        generator,
        latent(n, generator=torch.Generator().manual_seed(arguments.seed)),
        repeated,
        batch_norm=arguments.batch_norm,
    )
    columns = min(arguments.count, 50 if conditions is not None and len(conditions) > 1 else 10)
    save_image(grid(images, None if repeated is None else columns), arguments.out)
    if arguments.npz is not None:
        classes = repeated is not None and not repeated.is_floating_point()
        labels = repeated if classes else torch.full((n,), -1)
        assert labels is not None
        arguments.npz.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.npz, images=images.numpy(), labels=labels.numpy())


def draw(generator: Any, latent: Tensor, condition: Tensor | None = None, *, batch_norm: Any = None) -> Tensor:
    """Return samples; ``batch_norm=None`` takes the value in the generator's info."""
    recipes: Any = getattr(generator, "info", {}).get("batch_norm", "running")
    batches = models.sample(generator, latent, condition=condition, batch_norm=batch_norm or recipes)
    return torch.cat([batch.sample for batch in batches]).clamp(-1, 1)  # R3GAN has no tanh


def enlargement(side: int, most: int) -> int:
    """Return the ``scale`` that gives a run's grid 300 pixels on its longer side.

    A larger grid would take time from the training each time it is written.
    """
    return math.ceil(300 / (most * (side + 2) + 2))


def grid(samples: Tensor, columns: int | None = None, **options: Any) -> Image.Image:
    """Return an image of samples, enlarged; ``options`` are those of ``viz.image_grid``."""
    image = viz.image_grid(samples, columns=columns, **options)
    scale = _enlargement(min(samples.shape[2:]), max(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _enlargement(side: int, longest: int) -> int:
    """Return the factor that gives a sample 56 pixels, and the image 600 pixels, at least."""
    return max(1, math.ceil(56 / side), math.ceil(600 / longest))


def save_image(image: Image.Image, out: Path) -> None:
    """Write an image, make its folder, and print the path."""
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ArgumentValueError(f"--out (={out}) must end in .png or another suffix of an image")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        image.save(out)
    except ValueError as error:  # for example, the format limits the size
        raise ArgumentValueError(f"--out (={out}) cannot be written: {error}") from error
    print(f"the image is {out}")


def save_animation(frames: Sequence[Image.Image], out: Path, *, seconds: float = 4.0) -> None:
    """Write an endless GIF."""
    # GIF counts time in hundredths of a second.
    each = max(20, round(seconds * 100 / len(frames)) * 10)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=each, loop=0)
    print(f"the animation is {out}")

"""What the example scripts share once a generator is trained: load it, sample from it, write an image."""

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
    parser.add_argument("--seed", type=seed, default=0, metavar="S", help=f"of the latents ({own})")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="X.png", help=own)
    parser.add_argument(
        "--batch-norm",
        choices=["running", "sample"],
        help="normalize by running averages, or by the statistics of each sample alone, as scripts do that sample in "
        "training mode (default: batch_norm in the run's run.json)",
    )


def add_sample_options(parser: argparse.ArgumentParser, *, run: str, labels: bool, count: int) -> None:
    """Add the options of every ``sample``."""
    add_sampling_options(parser, run=run, out="samples.png")
    if labels:
        which = "which classes, by number in their order (default: all)"
        parser.add_argument("--labels", type=label, nargs="+", metavar="N", help=which)
    how_many = ("of each label" if labels else "how many") + " (default: %(default)s)"
    parser.add_argument("--count", type=whole, default=count, metavar="N", help=how_many)
    parser.add_argument("--npz", type=Path, metavar="X.npz", help="images (N C H W in [-1, 1]) and labels as well")


def generator_file(run: Path) -> Path | None:
    """The generator in the folder of a run, if there is one; earlier versions wrote a ``.pt``."""
    return next((run / name for name in ("generator.safetensors", "generator.pt") if (run / name).exists()), None)


def load(run: Path, script: str, **wanted: Any) -> nn.Module:
    """The generator of a run, which this script must have trained, and what else is wanted of its info."""
    path = generator_file(run)
    if path is None and not run.is_dir():
        what = "is a file" if run.exists() else "is not there"
        raise ArgumentValueError(f"--run (={run}) {what}: give the folder of a run, the --out of its train")
    if path is None:
        raise ArgumentValueError(
            f"--run (={run}) holds no generator.safetensors, which a training writes when it ends: "
            f"finish it with train ... --out {run} --resume, or end it where it is by adding --iterations 1 to that"
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
    """Write ``count`` samples of each condition, or in all if there are none, as an image, and as numbers if wanted."""
    repeated = None if conditions is None else conditions.repeat_interleave(arguments.count, dim=0)
    n = arguments.count if repeated is None else len(repeated)
    images = draw(
        generator,
        latent(n, generator=torch.Generator().manual_seed(arguments.seed)),
        repeated,
        batch_norm=arguments.batch_norm,
    )
    save_image(grid(images, None if repeated is None else min(arguments.count, 50)), arguments.out)
    if arguments.npz is not None:
        classes = repeated is not None and not repeated.is_floating_point()
        labels = repeated if classes else torch.full((n,), -1)
        assert labels is not None
        arguments.npz.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.npz, images=images.numpy(), labels=labels.numpy())


def draw(generator: Any, latent: Tensor, condition: Tensor | None = None, *, batch_norm: Any = None) -> Tensor:
    """Samples of latents and conditions; what normalizes them is told, or that of the generator's recipe."""
    recipes: Any = getattr(generator, "info", {}).get("batch_norm", "running")
    batches = models.sample(generator, latent, condition=condition, batch_norm=batch_norm or recipes)
    return torch.cat([batch.sample for batch in batches])


def enlargement(side: int, most: int) -> int:
    """The ``scale`` of a run's grid with at most so many samples in a row or column, of so many pixels a side.

    It has 300 pixels on its longest side. Larger ones would take time from the training, each time one is written.
    """
    return math.ceil(300 / (most * (side + 2) + 2))


def grid(samples: Tensor, columns: int | None = None, **options: Any) -> Image.Image:
    """An image of samples that is large enough to look at; the options are those of ``viz.image_grid``."""
    image = viz.image_grid(samples, columns=columns, **options)
    scale = _enlargement(min(samples.shape[2:]), max(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _enlargement(side: int, longest: int) -> int:
    """By how much a sample has at least 56 pixels a side, and the longest side of the image 600."""
    return max(1, math.ceil(56 / side), math.ceil(600 / longest))


def save_image(image: Image.Image, out: Path) -> None:
    """Write an image, whose folder is made, and say where it is."""
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ArgumentValueError(f"--out (={out}) must end in .png or another suffix of an image")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        image.save(out)
    except ValueError as error:  # a format has a largest size, for example
        raise ArgumentValueError(f"--out (={out}) cannot be written: {error}") from error
    print(f"the image is {out}")


def save_animation(frames: Sequence[Image.Image], out: Path, *, seconds: float = 4.0) -> None:
    """Write a GIF that loops."""
    # GIF's clock ticks in hundredths of a second.
    each = max(20, round(seconds * 100 / len(frames)) * 10)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=each, loop=0)
    print(f"the animation is {out}")

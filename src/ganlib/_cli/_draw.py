"""Generate images with a trained generator."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from ganlib import models, viz
from ganlib._cli._generator import latent_of, load_generator
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError, GanlibError

__all__ = ["DEFAULT", "draw", "sample"]

DEFAULT: Final = "mnist_cdcgan"
"""Name of the default generator."""

# Pixels: the largest sample and the largest image after enlargement, and the smallest sample.
_SAMPLE, _IMAGE, _LEAST = 200, 1000, 56


def draw(run: str | None, number: str, seed: int, out: Path) -> None:
    """Write an image of a number, black on white: generate its digits, crop them, and join them.

    Args:
        run: the generator: a file, the folder of a run, or the name of a pretrained one. None is :data:`DEFAULT`.
        number: digits from 0 to 9.
        seed: seed of the latents.
        out: the image.

    Raises:
        ArgumentValueError: if the number is not digits, the generator does not generate digits, or an argument is out
            of its range.
    """
    if not (number.isascii() and number.isdecimal()):
        raise ArgumentValueError(f"NUMBER (={shown(number)}) must be digits from 0 to 9")
    _check_image(out)
    digits = -_samples(run, "NUMBER", [int(digit) for digit in number], 1, seed)
    width = digits.shape[-1]
    # Digits have some empty space at their sides, even rotated ones.
    number_image = torch.cat(list(digits[..., width * 4 // 64 : width * 60 // 64]), dim=-1)
    _write(viz.image_grid(number_image.unsqueeze(0), padding=0), digits.shape[-2], out)


def sample(run: str | None, labels: Sequence[int] | None, count: int, seed: int, out: Path) -> None:
    """Write an image of samples, one row for each class.

    Args:
        run: the generator: a file, the folder of a run, or the name of a pretrained one. None is :data:`DEFAULT`.
        labels: the classes, as numbers. None is all classes.
        count: samples per class, at least 1.
        seed: seed of the latents.
        out: the image.

    Raises:
        ArgumentValueError: if an argument is out of its range.
    """
    _check_image(out)
    samples = _samples(run, "--labels", labels, count, seed)
    _write(viz.image_grid(samples, columns=count), samples.shape[-2], out)


def _samples(run: str | None, argument: str, labels: Sequence[int] | None, count: int, seed: int) -> Tensor:
    """Generate ``count`` samples in [-1, 1] for each label; ``argument`` is the name of the labels in errors."""
    # A folder could have the name of the default.
    generator = models.pretrained(DEFAULT) if run is None else load_generator(run, "--run")
    run = DEFAULT if run is None else run
    info: Any = generator.info
    classes, latent_dim = info.get("classes"), info.get("latent_dim")
    if not isinstance(latent_dim, int) or not isinstance(classes, list):
        raise ArgumentValueError(
            f"--run (={run}) is not a generator of classes: its info has no latent_dim or no classes. Save them by "
            "save_generator(path, generator, info={'latent_dim': ..., 'classes': [...]})"
        )
    asked = range(len(classes)) if labels is None else labels
    for label in asked:
        if not 0 <= label < len(classes):
            names = ", ".join(map(str, classes))
            raise ArgumentValueError(
                f"{argument} holds {label}, but must be from 0 to {len(classes) - 1}: --run (={run}) draws {names:.200}"
            )
    random = torch.Generator().manual_seed(seed)
    try:
        condition = torch.tensor(list(asked)).repeat_interleave(count)
        latent = latent_of(info)(len(condition), generator=random)
        batch_norm = info.get("batch_norm", "running")
        batches = models.sample(generator, latent, condition=condition, batch_norm=batch_norm)
        return torch.cat([batch.sample for batch in batches])
    except GanlibError as error:  # the info is wrong, or the generator takes no labels
        raise ArgumentValueError(f"--run (={run}) cannot draw classes: {error}") from error


def _check_image(out: Path) -> None:
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ArgumentValueError(f"--out (={out}) must end in .png or another suffix of an image")


def _write(image: Image.Image, height: int, out: Path) -> None:
    """Write an image, enlarged if its samples would be too small to see."""
    scale = max(1, math.ceil(_LEAST / height), min(_SAMPLE // height, _IMAGE // max(image.size)))
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC).save(out)
    except ValueError as error:  # for example, the format limits the size
        raise ArgumentValueError(f"--out (={out}) cannot be written: {error}") from error
    print(f"the image is {out}")

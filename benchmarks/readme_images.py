"""Compose the images of the README from the gallery and from samples of a trained generator.

python -m benchmarks.readme_images
"""

from pathlib import Path

import torch
from PIL import Image

from ganlib import latents, models, viz

GALLERY = Path(__file__).parents[1] / "docs/gallery"
CELL = 30  # pixels of a digit with its border


def joined(images: list[Image.Image], *, down: bool = False, gap: int = 12) -> Image.Image:
    """Join images on white, next to each other or one below the other."""
    steps = [(image.height if down else image.width) + gap for image in images]
    across = max(image.width if down else image.height for image in images)
    canvas = Image.new("RGB", (across, sum(steps) - gap) if down else (sum(steps) - gap, across), "white")
    for number, image in enumerate(images):
        start = sum(steps[:number])
        canvas.paste(image, (0, start) if down else (start, 0))
    return canvas


def cells(name: str, left: int, top: int, columns: int, rows: int) -> Image.Image:
    """Cut cells out of an image of the gallery."""
    box = (left * CELL, top * CELL, (left + columns) * CELL + 2, (top + rows) * CELL + 2)
    return Image.open(GALLERY / name).crop(box)


if __name__ == "__main__":
    generator = models.pretrained("mnist_cdcgan")
    labels = torch.arange(10).repeat(9)
    digits = next(models.sample(generator, latents.Gaussian(100), condition=labels, seed=1)).sample
    asked = viz.image_grid(digits, columns=10)
    translated = joined([cells("pix2pix.png", left, 0, 8, 2) for left in (0, 8)], down=True)
    colors = Image.open(GALLERY / "cifar10_classes.png").crop((0, 0, 7 * 34 + 2, 3 * 34 + 2))
    codes = cells("infogan.png", 0, 0, 10, 9)
    joined([asked, joined([translated, colors], down=True), codes]).save(GALLERY / "readme.png", optimize=True)
    viz.image_grid(digits[:10], columns=10).save(GALLERY / "small_cdcgan.png", optimize=True)
    Image.open(GALLERY / "mnist_gan.png").crop((42, 291, 342, 320)).save(GALLERY / "small_mlp.png", optimize=True)
    Image.open(GALLERY / "cifar10_cats.png").crop((568, 0, 842, 70)).save(GALLERY / "small_cats.png", optimize=True)

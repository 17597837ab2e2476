"""Draw digits: a data set that needs no download."""

import math
import random
from functools import cache

from PIL import Image, ImageDraw, ImageFont
from torch.utils.data import Dataset

from ganlib._checks import check_count, check_seed, check_sizes
from ganlib._shown import described
from ganlib.data._fixed import without_transform
from ganlib.data._item_index import item_index

__all__ = ["RenderedDigits"]

_SUPERSAMPLING = 4
_font = cache(ImageFont.load_default)


@without_transform
class RenderedDigits(Dataset[tuple[Image.Image, int]]):
    """Draw labeled digits with Pillow, white on black like MNIST, each with a random affine transform.

    Item i shows the digit ``i % 10``. Its stroke width, size, slant, rotation and position depend only on the seed and
    i.

    Args:
        size: height and width in pixels, at least 8.
        length: number of digits, at least 1.
        seed: seed of the random transforms.

    Attributes:
        classes: the names of the ten labels.
        targets: the labels of all items.

    Raises:
        ArgumentValueError: if an argument is out of its range.

    Example:
        >>> image, label = RenderedDigits(size=28, length=100)[42]
        >>> image.size, image.mode, label
        ((28, 28), 'L', 2)
    """

    def __init__(self, size: int = 28, length: int = 20_000, seed: int = 0) -> None:
        check_count("size", size, least=8)
        check_sizes(length=length)
        check_seed("seed", seed)
        self.size = size
        self.length = length
        self.seed = seed
        self.classes: list[str] = [str(digit) for digit in range(10)]
        self.targets: list[int] = [index % 10 for index in range(length)]

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "size", "length", "seed")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Draw one digit.

        Args:
            index: the index of the item; negative indices count from the end.

        Returns:
            A grayscale image of size x size pixels, and its label.

        Raises:
            IndexError: if the index is out of range.
            ArgumentTypeError: if the index is not a whole number.
        """
        index = item_index(index, self.length)
        label = index % 10
        draw = random.Random(f"{self.seed}/{index}")
        extent = self.size * _SUPERSAMPLING
        upright = Image.new("L", (extent, extent))
        ImageDraw.Draw(upright).text(
            (extent / 2, extent / 2),
            str(label),
            fill=255,
            font=_font(int(extent * 0.9)),
            anchor="mm",
            stroke_width=draw.randint(0, extent // 40),
            stroke_fill=255,
        )
        bent = upright.transform(
            (extent, extent), Image.Transform.AFFINE, _warp(draw, extent), resample=Image.Resampling.BILINEAR
        )
        # BOX averages pixels, which keeps the edges smooth.
        return bent.resize((self.size, self.size), Image.Resampling.BOX), label


def _warp(draw: random.Random, extent: int) -> tuple[float, float, float, float, float, float]:
    """Return Pillow's six numbers (output to input) of a random rotation, slant, stretch and shift about the center."""
    turn = math.radians(draw.uniform(-15, 15))
    slant = draw.uniform(-0.25, 0.25)
    wide, high = 1 / draw.uniform(0.8, 1.15), 1 / draw.uniform(0.8, 1.1)
    cosine, sine = math.cos(turn), math.sin(turn)
    a, b = wide * (cosine + slant * sine), wide * (-sine + slant * cosine)
    d, e = high * sine, high * cosine
    middle = extent / 2
    x, y = middle * (1 + draw.uniform(-0.12, 0.12)), middle * (1 + draw.uniform(-0.08, 0.08))
    return a, b, middle - a * x - b * y, d, e, middle - d * x - e * y

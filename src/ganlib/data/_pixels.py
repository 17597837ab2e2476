"""Convert Pillow images to pixels, for the files of a folder and for the items of a data set."""

import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor

__all__ = ["eight_bit", "grey_range", "pixels"]

_GREYS = {"L;2": 85, "L;4": 17}  # Pillow multiplies grayscale values of 2 and 4 bits by these factors
_SAVE_IT = "save it with 8 or 16 bits, without a sign"


def eight_bit(image: Image.Image, *, alpha: bool = False) -> Image.Image:
    """Return an image in mode L or RGB on black; with ``alpha``, an image that has an alpha channel becomes LA or RGBA.

    If the image is the opened file, its EXIF orientation is applied, and its transparent color becomes transparent. An
    image that a program has created is not changed in this way.

    Raises:
        ValueError: if black and white are unknown, or there are no pixels.

    Example:
        >>> eight_bit(Image.new("I;16", (1, 1), 257 * 90)).getpixel((0, 0))
        90
    """
    if 0 in image.size:
        raise ValueError(f"it has {image.width} x {image.height} pixels")
    limits = grey_range(image)
    if image.format is not None:
        _scale_transparency(image)
        image = ImageOps.exif_transpose(image)
    elif image.mode != "P" and "transparency" in image.info:  # Pillow keeps it when the colors have changed
        image = image.copy()
        del image.info["transparency"]
    if limits:
        image = _scaled(image, *limits)
    grey = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    transparent = image.has_transparency_data
    mode = grey + "A" if transparent else grey
    if image.mode != mode and (alpha or image.mode not in ("La", "RGBa")):
        image = image.convert(mode)
    if transparent and not alpha:
        *multiplied_by_alpha, _ = image.convert(grey + "a").split()
        image = Image.merge(grey, multiplied_by_alpha)
    return image


def grey_range(image: Image.Image) -> tuple[int, int] | None:
    """Return black and white of a grayscale image of more than 8 bits, else None; this decodes no pixels.

    Raises:
        ValueError: if black and white are unknown.

    Example:
        >>> grey_range(Image.new("I;16", (1, 1)))
        (0, 65535)
    """
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "F":
        raise ValueError(f"its pixels are floats, so the values of black and white are unknown; {_SAVE_IT}")
    if 2 in tags.get(339, ()):
        raise ValueError(
            f"its pixels are integers with a sign, so the values of black and white are unknown; {_SAVE_IT}"
        )
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # these have at most 16 bits
        raise ValueError(f"its pixels are 32-bit integers, so the value of white is unknown; {_SAVE_IT}")
    if not image.mode.startswith("I"):
        return None
    white = (1 << tags.get(258, (16,))[0]) - 1
    return (white, 0) if tags.get(262) == 0 else (0, white)


def pixels(image: Image.Image) -> Tensor:
    """Return the pixels of an 8-bit image, uint8 (H, W, C).

    Example:
        >>> pixels(Image.new("RGB", (1, 1), (10, 120, 30))).tolist()
        [[[10, 120, 30]]]
    """
    return torch.from_numpy(numpy.array(image)).view(image.height, image.width, -1)


def _scale_transparency(image: Image.Image) -> None:
    """Scale the transparent color of a PNG like its pixels; Pillow scales only the pixels."""
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    if key is None or not tiles:
        return
    raw_mode = tiles[0][3]
    if raw_mode in _GREYS:
        image.info["transparency"] = key * _GREYS[raw_mode]
    elif raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _scaled(image: Image.Image, black: int, white: int) -> Image.Image:
    values = numpy.asarray(image.convert("I"))
    span = abs(white - black)
    grey = Image.fromarray(((510 * abs(values - black) + span) // (2 * span)).astype(numpy.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(numpy.where(values == key, 0, 255).astype(numpy.uint8)))
    return grey

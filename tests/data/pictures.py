"""Small images on disk, for the tests of folders of them."""

import zlib

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

__all__ = ["noise", "put"]


def noise(*size, mode="RGB", seed=0):
    """An image of random pixels, width x height."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = torch.randint(256, (channels, size[1], size[0]), generator=torch.Generator().manual_seed(seed))
    return to_pil_image(pixels.to(torch.uint8), mode)


def put(root, name, image=None, **options):
    """Write an image, noise unless one is given; returns its path."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (noise(8, 8, seed=zlib.crc32(name.encode())) if image is None else image).save(path, **options)
    return path

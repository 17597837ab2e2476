"""Every reader gives the same pixels of every image, those of a slow reader in numpy, or an error of ganlib's.

The readers are ImageFolder in memory, ImageFolder that reads as it is accessed, and TensorLoader of Pillow images.
"""

import colorsys
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from torch.utils.data import Dataset

from ganlib.data import ImageFolder, TensorLoader
from ganlib.errors import ArgumentValueError, DataError
from tests.data.pictures import put

_NUMBERS = np.random.default_rng(0)
_H, _W = 6, 4
_GREY = _NUMBERS.integers(0, 256, (_H, _W), np.uint8)
_WIDE = _NUMBERS.integers(0, 2**16, (_H, _W), np.uint16)
_COLOR = _NUMBERS.integers(0, 256, (_H, _W, 3), np.uint8)
_ALPHA = _NUMBERS.choice(np.array([0, 1, 51, 128, 254, 255], np.uint8), (_H, _W))


# The slow reader: what is expected is computed from the numbers that were saved, as (H, W, 4) from 0 to 255.


def _rgba(color, alpha=255):
    color = np.asarray(color, np.float64)
    color = color[..., None].repeat(3, 2) if color.ndim == 2 else color
    return np.dstack([color, np.broadcast_to(np.asarray(alpha, np.float64), color.shape[:2])])


def _on_black(rgba):
    return rgba[..., :3] * rgba[..., 3:] / 255


def _luma(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114])


def _saved(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _tiff(values, *, bits, order="<", sample_format=1, white_is_zero=False):
    """A grey TIFF; Pillow cannot write all of these."""
    kind = {(8, 1): "B", (8, 2): "b", (16, 1): "H", (16, 2): "h", (32, 1): "I", (32, 2): "i", (32, 3): "f"}
    tags = [(256, values.shape[1]), (257, values.shape[0]), (258, bits), (259, 1), (262, 0 if white_is_zero else 1)]
    tags += [(273, 8), (277, 1), (278, values.shape[0]), (279, values.size * bits // 8), (339, sample_format)]
    pixels = struct.pack(f"{order}{values.size}{kind[bits, sample_format]}", *values.ravel().tolist())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    return head + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def _png(rows, *, bits, kind=0, transparent):
    """A PNG with one transparent colour; Pillow cannot write all of these."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", _W, _H, bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = chunk(b"IHDR", head) + chunk(b"tRNS", transparent) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _two_bits():
    values = _GREY >> 6
    rows = [struct.pack("B", int("".join(f"{value:02b}" for value in row), 2)) for row in values]
    return _png(rows, bits=2, transparent=struct.pack(">H", 2)), _rgba(values * 85.0, np.where(values == 2, 0, 255))


def _sixteen_bits_with_a_transparent_one():
    key = int(_WIDE[2, 1])
    rows = [row.astype(">u2").tobytes() for row in _WIDE]
    return _png(rows, bits=16, transparent=struct.pack(">H", key)), _rgba(_WIDE / 257, np.where(key == _WIDE, 0, 255))


def _colors_of_16_bits_with_a_transparent_one():
    wide = _COLOR.astype(np.uint16) * 257
    rows = [row.astype(">u2").tobytes() for row in wide]
    alpha = np.where((_COLOR[2, 1] == _COLOR).all(2), 0, 255)
    return _png(rows, bits=16, kind=2, transparent=struct.pack(">3H", *wide[2, 1].tolist())), _rgba(_COLOR, alpha)


def _palette(transparency=None):
    indices = (_GREY % 5).astype(np.uint8)
    colors = _COLOR.reshape(-1, 3)[:5]
    image = Image.fromarray(indices)
    image.putpalette(colors.ravel().tolist())
    alpha = np.full(5, 255)
    if isinstance(transparency, int):
        alpha[transparency] = 0
    elif transparency is not None:
        alpha[: len(transparency)] = list(transparency)
    options = {} if transparency is None else {"transparency": transparency}
    return _saved(image, **options), _rgba(colors[indices], alpha[indices])


def _hsv():
    hsv = np.dstack([_GREY, np.full_like(_GREY, 200), np.full_like(_GREY, 220)])
    rgb = [[colorsys.hsv_to_rgb(*(value / 255 for value in pixel)) for pixel in row] for row in hsv.tolist()]
    return Image.merge("HSV", [Image.fromarray(band) for band in np.moveaxis(hsv, 2, 0)]), _rgba(255 * np.array(rgb))


def _ycbcr():
    y, cb, cr = (np.clip(each, 90, 160).astype(np.float64) for each in np.moveaxis(_COLOR, 2, 0))
    rgb = np.dstack([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)])
    bands = [Image.fromarray(each.astype(np.uint8)) for each in (y, cb, cr)]
    return Image.merge("YCbCr", bands), _rgba(rgb.clip(0, 255))


def _cmyk():
    black = _GREY.astype(np.float64)
    image = Image.merge("CMYK", [Image.fromarray(band) for band in (*np.moveaxis(_COLOR, 2, 0), _GREY)])
    return image, _rgba((255 - _COLOR) * (255 - black[..., None]) / 255)


def _lab():
    color = np.clip(_COLOR, 100, 160)  # within what either can show
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return transform.apply(Image.fromarray(color)), _rgba(color)


def _palette_and_alpha():
    image = Image.fromarray(_GREY).convert("P")
    image.putalpha(Image.fromarray(_ALPHA))
    return image, _rgba(_GREY, _ALPHA)


def _turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {
        1: lambda x: x,
        3: lambda x: x[::-1, ::-1],
        6: lambda x: np.rot90(x, -1),
        8: np.rot90,
        2: lambda x: x[:, ::-1],
    }
    # An image that is shown as the first one is saved turned the other way.
    back = {1: turn[1], 2: turn[2], 3: turn[3], 6: turn[8], 8: turn[6]}[orientation]
    return _saved(Image.fromarray(np.ascontiguousarray(back(_COLOR))), exif=exif), _rgba(_COLOR)


def _profiled():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _saved(Image.fromarray(_COLOR), icc_profile=profile), _rgba(_COLOR)


def _cmyk_jpeg():
    image = Image.new("CMYK", (_W, _H), (0, 200, 250, 20))
    return _saved(image, "JPEG", quality=100), _rgba(
        np.broadcast_to([235.0, 235 * 55 / 255, 235 * 5 / 255], (_H, _W, 3))
    )


# By name: the file and what it shows.
FILES = {
    "grey": (_saved(Image.fromarray(_GREY)), _rgba(_GREY)),
    "two-level": (_saved(Image.fromarray(_GREY > 99)), _rgba((_GREY > 99) * 255)),
    "grey with alpha": (_saved(Image.fromarray(np.dstack([_GREY, _ALPHA]))), _rgba(_GREY, _ALPHA)),
    "colour": (_saved(Image.fromarray(_COLOR)), _rgba(_COLOR)),
    "colour with alpha": (_saved(Image.fromarray(np.dstack([_COLOR, _ALPHA]))), _rgba(_COLOR, _ALPHA)),
    "colour with alpha, TIFF": (_saved(Image.fromarray(np.dstack([_COLOR, _ALPHA])), "TIFF"), _rgba(_COLOR, _ALPHA)),
    "colour, BMP": (_saved(Image.fromarray(_COLOR), "BMP"), _rgba(_COLOR)),
    "colour, WebP": (_saved(Image.fromarray(_COLOR), "WEBP", lossless=True), _rgba(_COLOR)),
    "colour with a profile": _profiled(),
    "one transparent colour": (
        _saved(Image.fromarray(_COLOR), transparency=tuple(_COLOR[1, 1].tolist())),
        _rgba(_COLOR, np.where((_COLOR[1, 1] == _COLOR).all(2), 0, 255)),
    ),
    "one transparent grey": (
        _saved(Image.fromarray(_GREY), transparency=int(_GREY[1, 1])),
        _rgba(_GREY, np.where(_GREY[1, 1] == _GREY, 0, 255)),
    ),
    "2 bits, one transparent": _two_bits(),
    "16 bits, one transparent": _sixteen_bits_with_a_transparent_one(),
    "colours of 16 bits, one transparent": _colors_of_16_bits_with_a_transparent_one(),
    "palette": _palette(),
    "palette, one transparent": _palette(3),
    "palette with alphas": _palette(bytes([255, 0, 100, 30])),
    "16 bits": (_saved(Image.fromarray(_WIDE)), _rgba(_WIDE / 257)),
    "16 bits, PGM": (b"P5 %d %d 65535\n" % (_W, _H) + _WIDE.astype(">u2").tobytes(), _rgba(_WIDE / 257)),
    "10 bits, PGM": (
        b"P5 %d %d 1023\n" % (_W, _H) + (_WIDE >> 6).astype(">u2").tobytes(),
        _rgba((_WIDE >> 6) / 1023 * 255),
    ),
    "16 bits, TIFF": (_tiff(_WIDE, bits=16), _rgba(_WIDE / 257)),
    "16 bits, big-endian TIFF": (_tiff(_WIDE, bits=16, order=">"), _rgba(_WIDE / 257)),
    "16 bits, white is zero": (_tiff(_WIDE, bits=16, white_is_zero=True), _rgba(255 - _WIDE / 257)),
    "8 bits, white is zero": (_tiff(_GREY, bits=8, white_is_zero=True), _rgba(255.0 - _GREY)),
    "CMYK, TIFF": (_saved(_cmyk()[0], "TIFF"), _cmyk()[1]),
    "CMYK, JPEG": _cmyk_jpeg(),
    "LAB, TIFF": (_saved(_lab()[0], "TIFF"), _lab()[1]),
    **{f"orientation {number}": _turned(number) for number in (1, 2, 3, 6, 8)},
}
INACCURATE = {"CMYK, JPEG": 4, "LAB, TIFF": 4, "LAB": 4, "HSV": 2, "YCbCr": 1.5}  # by so much

# What no file is, but an item of a data set may be.
ITEMS = {
    "YCbCr": _ycbcr(),
    "HSV": _hsv(),
    "LAB": _lab(),
    "CMYK": _cmyk(),
    "La": (
        Image.merge("LA", [Image.fromarray(_GREY), Image.fromarray(_ALPHA)]).convert("La"),
        _rgba(_GREY, _ALPHA),
    ),
    "RGBa": (Image.fromarray(np.dstack([_COLOR, _ALPHA])).convert("RGBa"), _rgba(_COLOR, _ALPHA)),
    "PA": _palette_and_alpha(),
    "RGBX": (Image.fromarray(_COLOR).convert("RGBX"), _rgba(_COLOR)),
    "I;16": (Image.fromarray(_WIDE), _rgba(_WIDE / 257)),
    "I;16B": (Image.frombytes("I;16B", (_W, _H), _WIDE.astype(">u2").tobytes()), _rgba(_WIDE / 257)),
}

UNKNOWN = {
    "floats": (_saved(Image.fromarray(_GREY.astype(np.float32)), "TIFF"), "floats"),
    "32 bits": (_tiff(_GREY.astype(np.uint32), bits=32), "32-bit integers"),
    "32 bits with a sign": (_tiff(_GREY.astype(np.int32) - 9, bits=32, sample_format=2), "integers with a sign"),
    "16 bits with a sign": (_tiff(_GREY.astype(np.int16) - 9, bits=16, sample_format=2), "integers with a sign"),
    "8 bits with a sign": (_tiff(_GREY.astype(np.int16) // 2, bits=8, sample_format=2), "integers with a sign"),
    "big-endian floats": (_tiff(_GREY.astype(np.float32), bits=32, order=">", sample_format=3), "floats"),
}
UNKNOWN_ITEMS = {
    "I": (Image.fromarray(_GREY.astype(np.int32)), "32-bit integers"),
    "F": (Image.fromarray(_GREY.astype(np.float32)), "floats"),
    "nothing": (Image.new("L", (0, 3)), "0 x 3"),
}


class _Listed(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def _folder(tmp_path, content):
    put(tmp_path, "a/2.png", Image.new("RGB", (_W, _H)))
    put(tmp_path, "a/3.png", Image.new("RGB", (_W, _H)))
    (tmp_path / "a" / "1.tif").write_bytes(content)  # whatever it is: the ending does not say
    return tmp_path


def _by_item(image):
    sample = TensorLoader(_Listed([image]), 1).samples[0]
    return (sample if len(sample) == 3 else sample.repeat(3, 1, 1)).permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("name", FILES)
def test_a_folder_gives_the_pixels_of_every_file(name, mode, in_memory, tmp_path):
    """On black or with its alpha channel, in colour or grey, an image is what was saved, up to rounding."""
    content, rgba = FILES[name]
    dataset = ImageFolder(_folder(tmp_path, content), (_H, _W), mode, in_memory=in_memory)
    actual = dataset[0][0].permute(1, 2, 0).double().numpy()
    color = rgba[..., :3] if mode.endswith("A") else _on_black(rgba)
    color = _luma(color)[..., None] if mode.startswith("L") else color
    expected = np.dstack([color, rgba[..., 3]]) if mode.endswith("A") else color
    assert len(dataset) == 3
    assert np.abs(actual - expected).max() <= INACCURATE.get(name, 1)


@pytest.mark.parametrize("name", FILES)
def test_an_opened_file_is_read_by_a_loader_as_by_a_folder(name, tmp_path):
    """TensorLoader of Pillow's images has the very pixels that ImageFolder has: one channel of grey, or three."""
    content, rgba = FILES[name]
    folder = _folder(tmp_path, content)
    with Image.open(folder / "a" / "1.tif") as image:
        by_item = _by_item(image)
    assert np.array_equal(by_item, ImageFolder(folder, (_H, _W))[0][0].permute(1, 2, 0).double().numpy())
    assert np.abs(by_item - _on_black(rgba)).max() <= INACCURATE.get(name, 1)


@pytest.mark.parametrize("name", ITEMS)
def test_an_image_of_any_mode_is_read(name):
    """What a program made is read as what it shows, on black."""
    image, rgba = ITEMS[name]
    assert image.mode == name
    assert np.abs(_by_item(image) - _on_black(rgba)).max() <= INACCURATE.get(name, 1)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_can_scale_is_refused_by_all(name, tmp_path):
    """Floats, and integers of 32 bits or with a sign, are refused with the item and the reason, and not clipped."""
    content, reason = UNKNOWN[name]
    folder = _folder(tmp_path, content)
    for in_memory in (True, False):
        with pytest.warns(UserWarning, match=f"a/1.tif .*{reason}"):
            assert len(ImageFolder(folder, 8, in_memory=in_memory)) == 2
    (folder / "a" / "2.png").unlink()
    for in_memory in (True, False):
        with pytest.raises(DataError, match=f"a/1.tif .*{reason}"):
            ImageFolder(folder, 8, in_memory=in_memory)
    with (
        Image.open(folder / "a" / "1.tif") as image,
        pytest.raises(ArgumentValueError, match=rf"dataset\[0\].*{reason}"),
    ):
        TensorLoader(_Listed([image]), 1)


@pytest.mark.parametrize("name", UNKNOWN_ITEMS)
def test_what_nobody_can_scale_is_refused_as_an_item(name):
    """An integer image of 32 bits is not taken for one of 16, even where its values are small."""
    image, reason = UNKNOWN_ITEMS[name]
    with pytest.raises(ArgumentValueError, match=rf"dataset\[1\].*{reason}"):
        TensorLoader(_Listed([Image.fromarray(_GREY), image]), 1)


def test_an_image_that_is_cut_is_named(tmp_path):
    """Pillow's error of a damaged item becomes one of ganlib's, with the index."""
    path = put(tmp_path, "x.png", Image.fromarray(_NUMBERS.integers(0, 256, (64, 64, 3), np.uint8)))
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(ArgumentValueError, match=r"dataset\[0\].*cannot be read \(OSError"):
        TensorLoader(_Listed([image]), 1)


def test_what_a_program_has_made_of_a_turned_photograph_is_not_turned(tmp_path):
    """EXIF data of the file, which Pillow keeps, no longer say how an image stands that was changed."""
    content, _ = FILES["orientation 6"]
    image = Image.open(io.BytesIO(content))
    upright = image.rotate(-90, expand=True)
    assert upright.getexif()[0x0112] == 6
    assert np.array_equal(_by_item(upright), _COLOR)


def test_reading_an_item_does_not_change_it():
    """The data set's own image is what it was, and is read again as it was the first time."""
    with Image.open(io.BytesIO(FILES["2 bits, one transparent"][0])) as image:
        first, info = _by_item(image), dict(image.info)
        assert (image.mode, image.info) == ("L", info)
    with Image.open(io.BytesIO(FILES["palette with alphas"][0])) as image:
        assert np.array_equal(_by_item(image), _by_item(image))
    assert torch.from_numpy(first).any()


@pytest.mark.parametrize("change", [ImageOps.invert, lambda image: image.convert("RGB"), lambda image: image.copy()])
@pytest.mark.parametrize("name", ["palette, one transparent", "one transparent grey", "one transparent colour"])
def test_what_a_program_has_made_of_a_transparent_colour_is_not_transparent(name, change):
    """Pillow keeps the key of a file's transparent colour; the pixels of a changed image are taken as they are."""
    changed = change(Image.open(io.BytesIO(FILES[name][0])).convert("RGB"))
    assert "transparency" in changed.info or name.startswith("palette")
    changed.info["transparency"] = changed.getpixel((0, 0))
    assert np.array_equal(_by_item(changed), np.asarray(changed))
    assert "transparency" in changed.info

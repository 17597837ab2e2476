"""Tests of the images of a folder."""

import pickle
import struct

import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from ganlib.data import ImageFolder, TensorLoader, only_class
from tests.data.pictures import noise, put


def _one(root, image, name="x.png", size=None, mode="RGB", **options):
    """What becomes of one image, which lies next to a second one."""
    put(root, f"a/{name}", image, **options)
    put(root, "a/z.png")
    return ImageFolder(root, size or min(image.size), mode)[0][0]


@pytest.mark.parametrize(("mode", "shape"), [("RGB", (6, 8, 8, 3)), ("L", (6, 8, 8))])
def test_the_whole_is_what_the_files_hold(root, mode, shape):
    """Classes and files come by name; data, targets and items are the files' pixels and classes."""
    dataset = ImageFolder(root, 8, mode)
    paths = [root / name / f"{number}.png" for name in ("cat", "dog") for number in (1, 2, 3)]
    expected = torch.stack([pil_to_tensor(Image.open(path).convert(mode)) for path in paths])
    assert dataset.classes == ["cat", "dog"]
    assert dataset.targets == [0, 0, 0, 1, 1, 1] == [label for _, label in dataset]
    assert (tuple(dataset.data.shape), dataset.data.dtype, len(dataset)) == (shape, torch.uint8, 6)
    assert torch.equal(torch.stack([image for image, _ in dataset]), expected)
    assert torch.equal(dataset.data.view(6, 8, 8, -1).permute(0, 3, 1, 2), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("size", "scaled", "box"),
    [
        ((60, 20), (30, 10), (10, 0, 20, 10)),
        ((18, 42), (12, 28), (0, 8, 12, 20)),
        ((9, 15), (12, 20), (0, 4, 12, 16)),
    ],
)
def test_an_image_is_scaled_and_cropped_to_the_middle(tmp_path, size, scaled, box, mode):
    """Up to rounding it is converted, resized and cropped as by hand, be it wide or high, made smaller or larger."""
    image = noise(3, 4).resize(size, Image.Resampling.BICUBIC)
    expected = pil_to_tensor(image.convert(mode).resize(scaled, Image.Resampling.LANCZOS).crop(box))
    actual = _one(tmp_path, image, size=min(scaled), mode=mode)
    assert (actual.int() - expected.int()).abs().max() <= 1


def test_a_square_image_is_scaled_as_by_hand(tmp_path):
    """Where nothing is cropped, every pixel of what is kept is Pillow's LANCZOS."""
    image = noise(30, 30)
    assert torch.equal(_one(tmp_path, image, size=11), pil_to_tensor(image.resize((11, 11), Image.Resampling.LANCZOS)))


def test_an_image_of_that_size_is_kept_pixel_for_pixel(tmp_path):
    """Where the shorter side is the size, nothing is smoothed: the middle is cut out."""
    image = noise(13, 8)
    assert torch.equal(_one(tmp_path, image, size=8), pil_to_tensor(image)[:, :, 2:10])


def test_scaling_is_antialiased(tmp_path):
    """A chessboard of single black and white pixels becomes an even grey, with nothing of it left over."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    actual = _one(tmp_path, to_pil_image(board.to(torch.uint8)[None], "L"), size=8, mode="L")
    assert (actual.int() - 128).abs().max() <= 8


@pytest.mark.parametrize("size", [(1_000_000, 1), (1, 1_000_000)])
def test_a_strip_of_a_million_pixels_takes_no_more_memory(tmp_path, size):
    """Of one a million times as long as it is wide no more than the middle is scaled (all of it would be 65 GB)."""
    assert _one(tmp_path, Image.new("L", size, 77), size=256, mode="L").unique().tolist() == [77]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (4, 4), 90), (90, 90, 90)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("LA", (4, 4), (200, 51)), (40, 40, 40)),
        (Image.new("RGBA", (4, 4), (250, 100, 50, 51)), (50, 20, 10)),
        (Image.new("RGBA", (4, 4), (250, 100, 50, 0)), (0, 0, 0)),
        (Image.new("RGB", (4, 4), (10, 120, 30)).quantize(4), (10, 120, 30)),
        (Image.new("I;16", (4, 4), 65535), (255, 255, 255)),
        (Image.new("I;16", (4, 4), 257 * 90 + 100), (90, 90, 90)),
        (Image.new("I;16", (4, 4), 257 * 90 - 100), (90, 90, 90)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_mode_is_converted(tmp_path, image, expected, mode):
    """Grey, two-level, transparent (on black), palette and 16-bit images have the colour that they show."""
    wanted = Image.new("RGB", (4, 4), expected).convert(mode)
    assert torch.equal(_one(tmp_path, image, mode=mode), pil_to_tensor(wanted))


@pytest.mark.parametrize(
    ("image", "transparency"),
    [
        (Image.new("RGB", (4, 4), (10, 120, 30)), (10, 120, 30)),
        (Image.new("L", (4, 4), 90), 90),
        (Image.new("RGB", (4, 4), (10, 120, 30)).quantize(4), bytes(4)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_a_transparent_colour_is_black(tmp_path, image, transparency):
    """A PNG without an alpha channel may call one colour, or entries of its palette, transparent: black is below."""
    actual = _one(tmp_path, image, transparency=transparency)
    assert torch.equal(actual, torch.zeros(3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_cmyk_is_converted(tmp_path, name):
    """Printers' colours become those of the screen, near enough for JPEG."""
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    expected = torch.tensor([255, 0, 0]).view(3, 1, 1)
    assert (_one(tmp_path, image, name, size=8).int() - expected).abs().max() <= 3


@pytest.mark.parametrize(("name", "order"), [("x.tif", ">"), ("x.tif", "<"), ("x.pgm", ">")])
def test_16_bits_in_either_order_of_bytes(tmp_path, name, order):
    """TIFFs and PGMs of 16 bits are scaled like PNGs."""
    values = [257 * value for value in (0, 1, 100, 255)]
    if name == "x.pgm":
        content = b"P5 2 2 65535\n" + struct.pack(">4H", *values)
    else:
        tags = [(256, 2), (257, 2), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 8)]
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
        head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", 16)
        content = head + struct.pack(f"{order}4HH", *values, len(tags)) + entries + bytes(4)
    put(tmp_path, "a/z.png")
    (tmp_path / "a" / name).write_bytes(content)
    assert ImageFolder(tmp_path, 2, "L")[0][0].tolist() == [[[0, 1], [100, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_stands_upright(tmp_path, orientation):
    """Each of the eight orientations of EXIF is undone before anything else."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = noise(8, 12)
    path = put(tmp_path, "a/x.png", image, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    assert (expected.size == image.size) == (orientation < 5)
    assert torch.equal(_one(tmp_path, image, size=8, exif=exif), pil_to_tensor(ImageOps.fit(expected, (8, 8))))


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "Png", "ppm", "bmp", "pgm", "tif", "TIFF", "webp"])
def test_every_ending_in_either_case_is_read(tmp_path, ending):
    """The formats of photographs and of scanners are read, whatever case their endings are in."""
    image = Image.new("L", (8, 8), 100)
    assert (_one(tmp_path, image, f"x.{ending}", mode="L").int() - 100).abs().max() <= 2


def test_a_wrong_ending_of_the_right_kind_is_read(tmp_path):
    """A PNG that is called .jpg is the image that it is."""
    image = noise(8, 8)
    assert torch.equal(_one(tmp_path, image, "x.jpg", format="PNG"), pil_to_tensor(image))


def test_which_files_are_images_and_in_what_order(tmp_path):
    """Subfolders belong to their class; hidden files, others and those next to the classes do not; order is by name."""
    names = ["B/2.png", "B/10.png", "B/sub/9.png", "B/sub/deep/1.PNG", "a/1.png", "a/2.png", "B/z.png", "B/Z.png"]
    for index, name in enumerate(names):
        put(tmp_path, name, Image.new("L", (2, 2), index))
    others = ["B/.3.png", "B/.thumbs/3.png", ".git/3.png", "cover.png", "B/notes.txt", "B/3.gif", "B/png", "readme.md"]
    for name in others:
        put(tmp_path, name, Image.new("L", (2, 2), 99), format="PNG")
    dataset = ImageFolder(tmp_path, 2, "L")
    shown = [names[image[0, 0, 0]] for image, _ in dataset]
    assert shown == sorted(names)
    assert dataset.classes == ["B", "a"]
    assert dataset.targets == [0] * 6 + [1] * 2


def test_links_are_followed_but_not_in_circles(tmp_path):
    """A class, a subfolder or a file may be a link; one that leads back up ends there."""
    put(tmp_path, "elsewhere/1.png")
    put(tmp_path, "elsewhere/sub/2.png")
    (tmp_path / "root").mkdir()
    try:
        (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    (tmp_path / "elsewhere" / "sub" / "up").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "3.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    assert len(ImageFolder(tmp_path / "root", 4)) == 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_loader_takes_it(root, mode):
    """TensorLoader gives out the samples and labels of the items."""
    dataset = ImageFolder(root, 8, mode)
    loader = TensorLoader(dataset, batch_size=2)
    assert torch.equal(loader.samples, torch.stack([image for image, _ in dataset]))
    assert loader.conditions.tolist() == dataset.targets
    assert next(iter(loader)).sample.shape == (2, 1 if mode == "L" else 3, 8, 8)


def test_one_class_can_be_taken(root):
    """only_class knows its classes, and a loader takes what it gives."""
    dataset = ImageFolder(root, 8)
    loader = TensorLoader(only_class(dataset, "dog"), batch_size=3)
    assert torch.equal(loader.samples, dataset.data[3:].permute(0, 3, 1, 2))
    assert loader.conditions.tolist() == [1, 1, 1]


def test_it_is_a_data_set_like_any_other(root):
    """torch's DataLoader batches its items, and it can be pickled for one's workers."""
    dataset = pickle.loads(pickle.dumps(ImageFolder(root, 8)))
    samples, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert torch.equal(samples, dataset.data.permute(0, 3, 1, 2))
    assert labels.tolist() == dataset.targets


def test_an_item_is_one_s_own(root):
    """Writing into an item changes nothing in the data set."""
    dataset = ImageFolder(root, 8, "L")
    before = dataset.data.clone()
    dataset[0][0].zero_()
    assert torch.equal(dataset.data, before)


def test_indices_are_those_of_a_sequence(root):
    """Item -1 is the last one, and past either end there is an IndexError that quotes the index."""
    dataset = ImageFolder(root, 8)
    assert torch.equal(dataset[-1][0], dataset[5][0])
    for index in (6, -7):
        with pytest.raises(IndexError, match=rf"index \(={index}\)"):
            dataset[index]

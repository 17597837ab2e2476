"""Tests of the crops of a folder of images, and of reading it as it is accessed."""

import multiprocessing
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

from ganlib.data import ImageFolder, TensorLoader
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError
from tests.data.pictures import noise, put

MODES = ["RGB", "L", "RGBA", "LA"]
CROPS = ["center", "random", "stretch", "pad"]


@pytest.fixture
def mixed(tmp_path):
    """Images of several sizes and modes, wide and high."""
    for number, (size, mode) in enumerate([((9, 5), "RGB"), ((5, 12), "RGBA"), ((7, 7), "L"), ((4, 30), "LA")]):
        put(tmp_path, f"a/{number}.png", noise(*size, mode=mode, seed=number))
        put(tmp_path, f"b/{number}.png", noise(*size[::-1], mode=mode, seed=9 + number))
    return tmp_path


def _one(root, image, size, mode="RGB", **options):
    """What becomes of one image, which lies next to a second one."""
    put(root, "a/1.png", image)
    put(root, "a/2.png", image)
    return ImageFolder(root, size, mode, **options)[0][0]


@pytest.mark.parametrize("size", [6, (4, 7)])
@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("mode", MODES)
def test_items_are_the_same_in_memory_or_not(mixed, mode, crop, size):
    """What is read as it is accessed has the pixels, labels and shape of what was read at once."""
    in_memory, lazy = (ImageFolder(mixed, size, mode, crop=crop, in_memory=kept) for kept in (True, False))
    assert lazy.data is None
    assert (lazy.classes, lazy.targets, lazy.paths) == (in_memory.classes, in_memory.targets, in_memory.paths)
    height, width = (size, size) if isinstance(size, int) else size
    for index in range(-1, 8):
        torch.manual_seed(index)
        image, label = in_memory[index]
        torch.manual_seed(index)
        again, same_label = lazy[index]
        assert image.shape == (len(mode), height, width)
        assert torch.equal(image, again)
        assert label == same_label == lazy.targets[index]


@pytest.mark.parametrize("size", [6, (4, 7)])
@pytest.mark.parametrize("crop", ["center", "stretch", "pad"])
@pytest.mark.parametrize("mode", MODES)
def test_a_loader_has_the_items(mixed, mode, crop, size):
    """TensorLoader of a folder, which it need not read item by item, has exactly its items, in memory or not."""
    for in_memory in (True, False):
        dataset = ImageFolder(mixed, size, mode, crop=crop, in_memory=in_memory)
        loader = TensorLoader(dataset, 2)
        assert torch.equal(loader.samples, torch.stack([image for image, _ in dataset]))
        assert loader.conditions.tolist() == dataset.targets


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_loader_warns_of_random_crops(mixed, in_memory):
    """TensorLoader reads each item once, so that a random crop is one for all epochs: it says so."""
    dataset = ImageFolder(mixed, 4, crop="random", in_memory=in_memory)
    with pytest.warns(UserWarning, match="change when they are read again.*DataLoader") as warned:
        TensorLoader(dataset, 2)
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize(
    ("size", "box"),
    [((4, 8), (1, 0, 9, 4)), ((4, 4), (3, 0, 7, 4)), ((2, 10), (0, 1, 10, 3)), ((4, 10), (0, 0, 10, 4))],
)
def test_the_largest_central_part_of_the_aspect_ratio(tmp_path, size, box):
    """Where a part of the image has the size, it is cut out and not resized."""
    image = noise(10, 4)
    assert torch.equal(_one(tmp_path, image, size), pil_to_tensor(image.crop(box)))


def test_the_whole_is_stretched(tmp_path):
    """Nothing is cut off, and nothing added: Pillow's LANCZOS to the size."""
    image = noise(10, 4)
    expected = pil_to_tensor(image.resize((5, 7), Image.Resampling.LANCZOS))
    assert torch.equal(_one(tmp_path, image, (7, 5), crop="stretch"), expected)


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_is_padded(tmp_path, mode):
    """The image is in the middle, as large as it can be, between black or transparent bars."""
    image = noise(10, 4)
    expected = torch.zeros(len(mode), 10, 10, dtype=torch.uint8)
    expected[:, 3:7] = pil_to_tensor(image.convert(mode))
    assert torch.equal(_one(tmp_path, image, 10, mode, crop="pad"), expected)
    half = pil_to_tensor(image.convert(mode).resize((5, 2), Image.Resampling.LANCZOS))
    assert torch.equal(_one(tmp_path, image, (4, 5), mode, crop="pad"), torch.nn.functional.pad(half, (0, 0, 1, 1)))


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000)])
def test_a_line_is_padded(tmp_path, size):
    """Of an image that would become thinner than a pixel one row or column is there."""
    padded = _one(tmp_path, Image.new("L", size, 200), 8, "L", crop="pad")
    assert padded.eq(200).sum() == 8


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_random_crop_is_any_part(tmp_path, in_memory):
    """Each part of the image comes, at about the same rate, by torch's random numbers, and no other."""
    image = noise(7, 4)
    put(tmp_path, "a/1.png", image)
    put(tmp_path, "a/2.png", image)
    dataset = ImageFolder(tmp_path, 4, crop="random", in_memory=in_memory)
    parts = pil_to_tensor(image).unfold(2, 4, 1).permute(2, 0, 1, 3)
    torch.manual_seed(0)
    drawn = [dataset[0][0] for _ in range(200)]
    counts = [sum(torch.equal(part, each) for each in drawn) for part in parts]
    assert sum(counts) == 200
    assert min(counts) > 25
    torch.manual_seed(0)
    assert all(torch.equal(dataset[0][0], each) for each in drawn[:20])


def test_a_random_crop_of_another_size_is_of_the_resized_image(tmp_path):
    """The shorter side becomes the size, and the other keeps the aspect ratio."""
    image = noise(21, 12)
    resized = pil_to_tensor(image.resize((7, 4), Image.Resampling.LANCZOS))
    drawn = _one(tmp_path, image, 4, crop="random")
    assert any(torch.equal(drawn, resized[:, :, left : left + 4]) for left in range(4))


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000)])
def test_of_a_strip_no_more_than_its_middle_is_kept(tmp_path, size):
    """For random crops too, a strip of 200,000 pixels needs no memory for 200,000 x 64 x 64 of them."""
    put(tmp_path, "a/1.png", Image.new("L", size, 77))
    put(tmp_path, "a/2.png", Image.new("L", size, 77))
    dataset = ImageFolder(tmp_path, 64, "L", crop="random")
    assert max(image.nbytes for image in dataset.data) == 16 * 64 * 64
    assert dataset[0][0].unique().tolist() == [77]


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("mode", MODES)
def test_no_hidden_colour_bleeds(tmp_path, mode, crop):
    """Red under full transparency never shows in what is resized: neither in the visible green, nor on black."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[...] = (255, 0, 0, 0)
    pixels[:, :7] = (0, 200, 0, 255)
    resized = _one(tmp_path, Image.fromarray(pixels), 5, mode, crop=crop).int()
    if mode == "RGBA":
        assert resized[0].max() == 0
    elif mode == "LA":
        assert (resized[0][resized[1] > 20] - round(0.587 * 200)).abs().max() <= 3
    elif mode == "RGB":
        assert resized[0].max() == 0
    else:
        assert resized[0, :, 3:].max() <= 3  # the grey of the red is 76


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_files(mixed, method):
    """A pickled data set reads in the processes of torch's DataLoader."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no such processes")
    dataset = ImageFolder(mixed, 4, in_memory=False)
    assert len(pickle.dumps(dataset)) < 3000
    loader = DataLoader(dataset, 4, num_workers=1, multiprocessing_context=method)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # there may be threads
        samples, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(samples, torch.stack([image for image, _ in dataset]))
    assert labels.tolist() == dataset.targets


def test_a_file_that_turns_out_to_be_damaged_is_named_at_its_access(mixed):
    """Only the header is read at first; a cut file, or one that is gone, is an error of ganlib's with its name."""
    path = put(mixed, "a/9.png", noise(64, 64))
    path.write_bytes(path.read_bytes()[:3000])
    dataset = ImageFolder(mixed, 4, in_memory=False)
    index = dataset.paths.index(path)
    with pytest.raises(DataError, match=r"9.png cannot be read \(OSError.*\); remove it\. ImageFolder\(root, size=1\)"):
        dataset[index]
    path.unlink()
    with pytest.raises(DataError, match=r"9.png cannot be read \(OSError"):
        dataset[index]
    assert dataset[0][0].shape == (3, 4, 4)


def test_indices_may_be_of_numpy_or_torch(mixed):
    """An index of any whole-number type is that index."""
    dataset = ImageFolder(mixed, 4, in_memory=False)
    for index in (np.int64(3), torch.tensor(3)):
        assert torch.equal(dataset[index][0], dataset[3][0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (4, 0)}, ArgumentValueError, r"size \(=\(4, 0\)\)"),
        ({"size": (4,)}, ArgumentValueError, r"size \(=\(4,\)\).*\(height, width\)"),
        ({"size": (1, 2, 3)}, ArgumentValueError, r"size \(=\(1, 2, 3\)\)"),
        ({"size": (4, 4.0)}, ArgumentValueError, r"size \(=\(4, 4.0\)\)"),
        ({"size": True}, ArgumentValueError, r"size \(=True\)"),
        ({"size": 4, "crop": "centre"}, ArgumentValueError, r"crop \(='centre'\) must be 'center', 'random'"),
        ({"size": 4, "mode": "P"}, ArgumentValueError, r"mode \(='P'\) must be 'RGB', 'L', 'RGBA' or 'LA'"),
        ({"size": 4, "in_memory": 0}, ArgumentTypeError, r"in_memory \(=0\)"),
        ({"size": 10_000_000}, DataError, r"size \(=10000000\) do not fit in memory; use in_memory=False"),
    ],
)
def test_bad_arguments_are_named(mixed, arguments, error, message):
    """What is wrong is an error of ours that quotes the value."""
    with pytest.raises(error, match=message):
        ImageFolder(mixed, **arguments)

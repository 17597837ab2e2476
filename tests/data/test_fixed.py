"""Tests of attributes that are used only when an object is created."""

import copy
import pickle

import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from ganlib.data import ImageFolder, RenderedDigits, StackedMNIST, TensorLoader, map_loader


@pytest.fixture
def root(tmp_path):
    """A folder of two images."""
    for name in ("a/1.png", "a/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / name)
    return tmp_path


def _loader():
    return TensorLoader(TensorDataset(torch.randn(8, 2)), batch_size=4)


MADE = {
    "TensorLoader": (lambda root: _loader(), {"transform": torch.sin, "joint_transform": torch.sin, "device": "meta"}),
    "ImageFolder": (
        lambda root: ImageFolder(root, size=8),
        {"size": 4, "mode": "L", "crop": "pad", "root": "x", "in_memory": False, "transform": torch.sin},
    ),
    "in workers": (lambda root: ImageFolder(root, size=8, in_memory=False), {"in_memory": True, "transform": abs}),
    "StackedMNIST": (
        lambda root: StackedMNIST(RenderedDigits(length=20), length=5),
        {"channels": 2, "seed": 1, "num_classes": 11, "target_transform": abs},
    ),
    "RenderedDigits": (lambda root: RenderedDigits(length=20), {"transform": torch.sin}),
    "map_loader": (lambda root: map_loader(_loader(), len), {"function": abs, "loaders": ()}),
}


@pytest.mark.parametrize("name", MADE)
def test_an_assignment_without_an_effect_is_an_error(root, name):
    """It is Python's AttributeError, and the value stays."""
    make, values = MADE[name]
    made = make(root)
    for attribute, value in values.items():
        before = getattr(made, attribute, None)
        with pytest.raises(AttributeError, match=rf"{attribute}.* would have no effect"):
            setattr(made, attribute, value)
        assert getattr(made, attribute, None) is before


def test_an_assignment_with_an_effect_is_not(root):
    """Sizes of batches, lengths, targets, and what a folder that is not in memory reads can change."""
    loader = _loader()
    loader.batch_size, loader.shuffle, loader.seed = 2, False, 7
    assert next(iter(loader)).sample.equal(loader.samples[:2])
    digits = RenderedDigits(size=28, length=20)
    digits.size = 32
    assert digits[0][0].size == (32, 32)
    folder = ImageFolder(root, size=8, in_memory=False)
    folder.size, folder.mode = 4, "L"
    assert folder[0][0].shape == (1, 4, 4)
    folder.targets = [1, 0]
    assert folder[0][1] == 1


def test_a_subclass_may_use_the_names(root):
    """A subclass that applies a transform itself, as torchvision's data sets do, sets it whenever it wants."""

    class Mine(ImageFolder):
        def __init__(self, root, transform):
            super().__init__(root, size=8)
            self.transform = transform
            self.mode = "train"

        def __getitem__(self, index):
            return self.transform(super().__getitem__(index)[0])

    mine = Mine(root, torch.zeros_like)
    mine.transform = torch.ones_like
    assert (mine[0] == 1).all()


def test_copies_are_the_same(root):
    """Copying and pickling restore the attributes."""
    for made in (ImageFolder(root, size=8), _loader(), StackedMNIST(RenderedDigits(length=20), length=5)):
        for other in (copy.deepcopy(made), copy.copy(made), pickle.loads(pickle.dumps(made))):
            assert repr(other) == repr(made)

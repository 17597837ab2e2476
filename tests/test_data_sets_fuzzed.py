"""2,000 random data sets: each trains on exactly the right pixels and labels, or ends in an error of ganlib's.

What is right is said by a slow reader that knows nothing of ganlib: one item at a time, in numpy and float64.
"""

import random
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from ganlib import data, latents, losses, training
from ganlib.errors import GanlibError

_CHUNKS, _EACH = 20, 100


class _Items(Dataset[Any]):
    """Items from a list, with whatever attributes torchvision's data sets have."""

    def __init__(self, items: list[Any], attributes: dict[str, Any]) -> None:
        self.items = items
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class _Network(nn.Module):
    """Either player for samples of any shape; it remembers what it was trained on."""

    def __init__(self, features: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(features, int(np.prod(shape)))
        self.shape = shape
        self.seen: list[tuple[Tensor, Any]] = []

    def forward(self, x: Tensor, condition: Any = None) -> Tensor:
        if self.training:
            self.seen.append((x.detach().clone(), condition))
        return self.layer(x.flatten(1)).view(-1, *self.shape)


# The slow reader.


def _slow_image(image: Image.Image) -> np.ndarray | None:
    """The pixels (C, H, W) from 0 to 255, or None where black and white are not known."""
    mode = image.mode
    if mode in ("F", "I"):
        return None
    if mode in ("I;16", "I;16B"):
        wide = np.frombuffer(image.tobytes(), ">u2" if mode == "I;16B" else "<u2").reshape(image.height, image.width)
        return np.floor(wide / 257 + 0.5)[None]
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"), np.float64)[None]
    key = "transparency" in image.info and (image.format is not None or mode == "P")  # it is of the file's colours
    if mode in ("LA", "RGBA", "PA") or key:
        rgba = np.asarray(image.convert("RGBA"), np.float64)
        pixels = rgba[..., :3] * rgba[..., 3:] / 255
        return (pixels[..., :1] if mode == "LA" else pixels).transpose(2, 0, 1)
    return np.asarray(image.convert("RGB"), np.float64).transpose(2, 0, 1)


def _slow_sample(sample: Any) -> np.ndarray | None:
    """A sample as it is trained on, or None where nobody can say what it is."""
    if isinstance(sample, Image.Image):
        pixels = _slow_image(sample)
        return None if pixels is None else pixels / 127.5 - 1
    if isinstance(sample, Tensor) and sample.ndim > 0:
        if sample.dtype == torch.uint8:
            return sample.numpy().astype(np.float64) / 127.5 - 1
        if sample.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64) and bool(
            sample.isfinite().all()
        ):
            return sample.double().numpy()
    return None


def _slow_label(label: Any) -> list[float] | None:
    """A label as a list of numbers, or None where it is not a number, or numbers."""
    try:
        values = np.asarray(label.float() if isinstance(label, Tensor) else label, np.float64)
    except (TypeError, ValueError):
        return None
    return values.ravel().tolist()


def _slow(dataset: Any) -> list[tuple[np.ndarray | None, Any]]:
    items = []
    for index in range(len(dataset)):
        item = dataset[index]
        parts = item if isinstance(item, tuple | list) else (item,)
        items.append((_slow_sample(parts[0]), _slow_label(parts[1]) if len(parts) > 1 else []))
    return items


# Random data sets.

_MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F")
_SUFFIXES = {"1": "png", "CMYK": "tiff", "YCbCr": "jpg", "F": "tiff"}


def _image(draw: random.Random, mode: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    numbers = np.random.default_rng(draw.getrandbits(32))
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        top = draw.choice((1, 255, 65535, 2**31 - 1))
        return Image.fromarray(
            (numbers.random((height, width)) * min(top, 65535 if mode == "I;16" else top)).astype(dtype)
        )
    rgba = numbers.integers(0, 256, (height, width, 4), np.uint8)
    rgba[..., 3] = numbers.choice((0, 255), (height, width))
    image = Image.fromarray(rgba, "RGBA")
    if mode == "P":
        image = image.convert("RGB").quantize(8)
        if draw.random() < 0.5:
            image.info["transparency"] = 0
        return image
    if mode == "RGB":
        image = image.convert("RGB")
        if draw.random() < 0.5:
            image.info["transparency"] = image.getpixel((0, 0))
        return image
    return image if mode == "RGBA" else image.convert("RGB").convert(mode) if mode != "LA" else image.convert("LA")


def _images(draw: random.Random, length: int) -> list[Any]:
    modes = [draw.choice(_MODES)] * length if draw.random() < 0.8 else [draw.choice(_MODES) for _ in range(length)]
    size = draw.randint(1, 5), draw.randint(1, 5)
    return [_image(draw, mode, size if draw.random() < 0.98 else (6, 6)) for mode in modes]


def _tensors(draw: random.Random, length: int) -> list[Any]:
    dtypes = (torch.uint8, torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool)
    dtype = draw.choice((torch.uint8, torch.float32, *dtypes))
    shape = [draw.randint(1, 4) for _ in range(draw.choice((0, 1, 2, 3, 3, 3, 4)))]
    whole = torch.rand(length, *shape, generator=torch.Generator().manual_seed(draw.getrandbits(32))) * 2 - 1
    whole = (whole.abs() * 255).to(dtype) if dtype == torch.uint8 else whole.to(dtype)
    if dtype.is_floating_point and shape and draw.random() < 0.05:
        whole[-1].view(-1)[0] = draw.choice((float("nan"), float("inf")))
    samples = list(whole)
    if draw.random() < 0.03:
        samples[-1] = samples[-1].double()
    return samples


def _labels(draw: random.Random, length: int) -> tuple[list[Any] | None, int]:
    classes = draw.randint(1, 4)
    whole = [draw.randrange(classes) for _ in range(length)]
    kinds: dict[str, Any] = {
        "none": None,
        "int": whole,
        "numpy": [np.int64(label) for label in whole],
        "small": [np.uint8(label) for label in whole],
        "0-d": [torch.tensor(label) for label in whole],
        "int32": [torch.tensor(label, dtype=torch.int32) for label in whole],
        "column": [torch.tensor([label]) for label in whole],
        "one-hot": [nn.functional.one_hot(torch.tensor(label), classes) for label in whole],
        "tags": [nn.functional.one_hot(torch.tensor(label), classes).float() for label in whole],
        "vector": [torch.tensor([label / 7, label]) for label in whole],
        "half": [torch.tensor([label / 8, label]).half() for label in whole],
        "maps": [torch.full((2, 3, 3), float(label)) for label in whole],
        "names": [f"class {label}" for label in whole],
        "bool": [label > 0 for label in whole],
        "float": [float(label) for label in whole],
        "negative": [label - 1 for label in whole],
        "nan": [float("nan")] * length,
        "lists": [[label, label] for label in whole],
        "dicts": [{"label": label} for label in whole],
        "missing": [label if label else None for label in whole],
        "sizes": [torch.zeros(1 + index % 2) for index in range(length)],
    }
    weights = [6 if name in ("none", "int", "0-d") else 1 for name in kinds]
    return draw.choices(list(kinds.values()), weights)[0], classes


def _data_set(draw: random.Random, folder: Path) -> Any:
    """A data set of any kind, or an error of ganlib's where one is a folder of images that it refuses."""
    length = draw.randint(1, 7)
    kind = draw.choice(("items", "items", "items", "tensors", "in memory", "folder"))
    labels, classes = _labels(draw, length)
    if kind == "folder":
        return _folder(draw, folder)
    if kind == "in memory":
        return _in_memory(draw, length)
    samples = draw.choice((_images, _tensors))(draw, length)
    if kind == "tensors" and isinstance(samples[0], Tensor) and len({one.dtype for one in samples}) == 1:
        parts = [torch.stack(samples)]
        if labels is not None and isinstance(labels[0], Tensor) and len({one.shape for one in labels}) == 1:
            parts.append(torch.stack(labels))
        return TensorDataset(*parts)
    items = samples if labels is None else list(zip(samples, labels, strict=True))
    if labels is None and draw.random() < 0.5:
        items = [(sample,) for sample in samples]
    attributes: dict[str, Any] = {}
    if draw.random() < 0.3:
        attributes["classes"] = [str(label) for label in range(classes)]
    if draw.random() < 0.3:  # what a fast path would take instead of the items
        attributes["data"] = torch.zeros(length, 4, 4, dtype=torch.uint8)
        attributes["targets"] = [0] * length
    dataset: Dataset[Any] = _Items(items, attributes)
    if draw.random() < 0.3:
        dataset = Subset(dataset, draw.sample(range(length), draw.randint(1, length)))
    return dataset


class _InMemory(Dataset[Any]):
    """What torchvision's MNIST is inside, with a change that a fast path would not see."""

    def __init__(self, draw: random.Random, length: int) -> None:
        numbers = torch.Generator().manual_seed(draw.getrandbits(32))
        self.data = torch.randint(0, 256, (length, 4, 3), dtype=torch.uint8, generator=numbers)
        self.targets = torch.arange(length) % 3
        self.changed = draw.choice((None, "label", "pixels", "length"))
        self.first = draw.randrange(length)

    def __len__(self) -> int:
        return len(self.data) if self.changed != "length" else max(1, self.first)

    def __getitem__(self, index: int) -> Any:
        image, label = Image.fromarray(self.data[index].numpy()), int(self.targets[index])
        if self.changed == "label" and index >= self.first:
            label = 2 - label
        if self.changed == "pixels" and index >= self.first:
            image = image.point(lambda value: 255 - value)
        return image, label


def _in_memory(draw: random.Random, length: int) -> Any:
    dataset = _InMemory(draw, length)
    return dataset if draw.random() < 0.7 else Subset(dataset, list(range(len(dataset)))[::-1])


class _Files(Dataset[Any]):
    """The files of a folder by the slow reader: uint8 tensors, and the index of their class."""

    def __init__(self, items: list[tuple[Image.Image, int]], mode: str) -> None:
        self.items, self.mode = items, mode

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        image, label = self.items[index]
        pixels = _slow_image(image)
        assert pixels is not None
        if self.mode == "RGB":
            pixels = pixels if len(pixels) == 3 else pixels.repeat(3, axis=0)
        return torch.from_numpy(np.round(pixels)).to(torch.uint8), label


def _folder(draw: random.Random, folder: Path) -> tuple[Any, Any]:
    """An ImageFolder, and what it must be: images of the size that is asked, so that none is resized."""
    height, width = draw.randint(1, 5), draw.randint(1, 5)
    expected, mode = [], "RGB"
    modes = draw.choices([mode for mode in _MODES if mode not in ("F", "I", "YCbCr")], k=3)
    if all(each in ("1", "L", "I;16") for each in modes):
        mode = draw.choice(("L", "RGB"))
    for label in range(draw.randint(1, 2)):
        (folder / str(label)).mkdir(parents=True)
        for number in range(draw.randint(2, 3)):
            image = _image(draw, draw.choice(modes), (width, height))
            path = folder / str(label) / f"{number}.{_SUFFIXES.get(image.mode, 'png')}"
            image.save(path)
            expected.append((Image.open(path), label))
    options: dict[str, Any] = {"crop": draw.choice(("center", "stretch", "pad")), "in_memory": draw.random() < 0.5}
    return data.ImageFolder(folder, (height, width), mode, **options), _Files(expected, mode)


def _matches(sample: Tensor, label: Any, items: list[tuple[np.ndarray | None, Any]]) -> list[int]:
    """The indices of the items that a sample and its label can be."""
    found = []
    for index, (expected, its_label) in enumerate(items):
        if expected is None or its_label is None or expected.shape != tuple(sample.shape):
            continue
        tolerance = 0.51 / 127.5 if np.abs(expected).max(initial=0) <= 1 else 1e-3  # a transparent pixel is rounded
        same = np.allclose(sample.double().numpy(), expected, atol=tolerance, rtol=1e-2 * (tolerance == 1e-3))
        if same and np.allclose(np.asarray(label, np.float64).ravel(), its_label, rtol=1e-3):
            found.append(index)
    return found


def _train(seed: int, folder: Path) -> str:
    """Train on one data set; return what came of it."""
    draw = random.Random(seed)
    shuffle, drop_last = draw.random() < 0.5, draw.random() < 0.7
    try:
        dataset = _data_set(draw, folder)
        dataset, right = dataset if isinstance(dataset, tuple) else (dataset, dataset)
        items = _slow(right)
        batch_size = draw.randint(1, max(1, len(items)))
        loader = data.TensorLoader(dataset, batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
        shape = tuple(loader.samples.shape[1:])
        discriminator = _Network(int(np.prod(shape)), (1,))
        generator = _Network(3, shape)
        trainer = training.AdversarialTrainer(
            generator,
            discriminator,
            torch.optim.SGD(generator.parameters(), lr=0.01),
            torch.optim.SGD(discriminator.parameters(), lr=0.01),
            loss=losses.NonSaturatingLoss(),
            latent=latents.Gaussian(3),
        )
        training.fit(trainer, loader, iterations=2)
    except GanlibError as error:
        return type(error).__name__
    order = []
    for sample, label in discriminator.seen[::3]:  # then come the fakes, once for each player
        given = [[]] * len(sample) if label is None else [one.double().numpy() for one in label]
        for one, its_label in zip(sample, given, strict=True):
            possible = _matches(one, its_label, items)
            assert possible, f"seed {seed}: trained on {one} with {its_label}, which is not in the data set"
            order.append(possible)
    first = order[: len(discriminator.seen[0][0])]
    if shuffle:
        assert len(first) <= len(items)
        distinct = Counter(min(possible) for possible in first if len(possible) == 1)
        assert max(distinct.values(), default=1) == 1, f"seed {seed}: an item came twice in one batch"
    else:
        assert all(index in possible for index, possible in enumerate(first)), f"seed {seed}: the order is wrong"
    return "trained"


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_a_random_data_set_is_trained_on_as_it_is_or_refused(chunk: int, tmp_path: Path) -> None:
    """No raw error, no other pixels, no other labels; and most data sets that make sense are not refused."""
    outcomes: Counter[str] = Counter()
    for seed in range(chunk * _EACH, (chunk + 1) * _EACH):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is suspicious is warned of; here the pixels count
            outcomes[_train(seed, tmp_path / str(seed))] += 1
    assert outcomes["trained"] > _EACH / 3, outcomes

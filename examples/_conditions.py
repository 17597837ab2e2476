"""Make the conditions of cgan.py from tags and descriptions: one row of numbers for each class."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganlib.errors import ArgumentValueError, DataError

_DIGIT_TAGS = [
    ["loop", "curve"],
    ["straight stroke"],
    ["curve", "level stroke", "open to the left"],
    ["curve", "open to the left"],
    ["straight stroke", "level stroke", "open above"],
    ["curve", "level stroke", "open to the right"],
    ["loop", "curve", "open to the right"],
    ["straight stroke", "level stroke"],
    ["loop", "second loop", "curve"],
    ["loop", "straight stroke", "open to the left"],
]
TAGS = {
    "digits": _DIGIT_TAGS,
    "mnist": _DIGIT_TAGS,
    "fashion-mnist": [
        ["upper body", "short sleeves"],
        ["legs"],
        ["upper body", "long sleeves"],
        ["upper body", "legs"],
        ["upper body", "long sleeves", "opens in front"],
        ["feet", "open"],
        ["upper body", "long sleeves", "collar"],
        ["feet", "closed"],
        ["carried", "closed"],
        ["feet", "closed", "high"],
    ],
    "cifar10": [
        ["vehicle", "flies"],
        ["vehicle", "wheels", "carries people"],
        ["animal", "flies"],
        ["animal", "four legs", "whiskers"],
        ["animal", "four legs", "hooves", "antlers"],
        ["animal", "four legs", "barks"],
        ["animal", "four legs", "jumps"],
        ["animal", "four legs", "hooves"],
        ["vehicle", "swims"],
        ["vehicle", "wheels", "carries goods"],
    ],
}
_DIGIT_TEXTS = [
    "a single round ring with nothing inside",
    "one upright stroke",
    "an arch that falls into a long line along the ground",
    "two arches one above the other, both open to the left",
    "two strokes that meet an upright stroke, open at the top",
    "a flat roof, a short neck and a belly open to the left",
    "a curved neck that ends in a ring at the bottom",
    "a flat roof and one leaning stroke",
    "a ring on top of another ring",
    "a ring at the top of an upright stroke",
]
DESCRIPTIONS = {
    "digits": _DIGIT_TEXTS,
    "mnist": _DIGIT_TEXTS,
    "fashion-mnist": [
        "a shirt with short sleeves and no buttons",
        "long garment for both legs",
        "a warm knitted garment with long sleeves",
        "a long garment from the shoulders over the legs",
        "a warm garment with long sleeves, open in front, worn outside",
        "an open shoe with straps",
        "a shirt with long sleeves, a collar and buttons",
        "a low shoe for running",
        "a thing with a handle to carry other things",
        "a high shoe that covers the ankle",
    ],
}


def tag_table(data: str, classes: Sequence[str], file: Path | None) -> tuple[list[str], Tensor]:
    """Return the names of all tags and a multi-hot row for each class. A CSV file has rows ``class,tag,tag``."""
    if file is not None:
        rows = {row[0]: row[1:] for row in csv.reader(_lines(file)) if row}
        missing = [name for name in classes if name not in rows]
        if missing:
            raise DataError(f"--tags (={file}) has no row for {', '.join(missing)}; a row is a class and its tags")
        tags = [[tag.strip() for tag in rows[name] if tag.strip()] for name in classes]
    elif data in TAGS:
        tags = TAGS[data]
    else:
        raise ArgumentValueError(f"--data {data} has no tags of its own: pass --tags FILE, with a row class,tag,...")
    names = list(dict.fromkeys(tag for row in tags for tag in row))
    return names, multi_hot(tags, names)


def multi_hot(tags: Sequence[Sequence[str]], names: Sequence[str]) -> Tensor:
    """Return rows with 1 for each tag of the row, and 0 elsewhere."""
    unknown = [tag for row in tags for tag in row if tag not in names]
    if unknown:
        raise ArgumentValueError(f"the tag {unknown[0]!r} is not one of {', '.join(names)}")
    return torch.tensor([[float(name in row) for name in names] for row in tags])


def text_table(data: str, classes: Sequence[str], file: Path | None) -> tuple[list[str], Tensor]:
    """Return the vocabulary and a row for each class: its description's bag of words, or the vectors of a file."""
    if file is not None:
        return [], _vectors(file, len(classes))
    texts = DESCRIPTIONS.get(data, classes)
    vocabulary = sorted({word for text in texts for word in _words(text)})
    return vocabulary, bags_of_words(texts, vocabulary)


def bags_of_words(texts: Sequence[str], vocabulary: Sequence[str]) -> Tensor:
    """Count each word of the vocabulary in each text, and scale the counts to length 1. Ignore other words."""
    counts = [Counter(_words(text)) for text in texts]
    for text, count in zip(texts, counts, strict=True):
        if not any(word in count for word in vocabulary):
            raise ArgumentValueError(f"the text {text!r} has none of the words {', '.join(vocabulary)}")
    return F.normalize(torch.tensor([[float(count[word]) for word in vocabulary] for count in counts]), dim=1)


def print_unknown(text: str, vocabulary: Sequence[str]) -> None:
    """Print the words of a text that are not in the vocabulary."""
    unknown = [word for word in _words(text) if word not in vocabulary]
    if unknown:
        print(f"without effect, as no description has them: {', '.join(unknown)}")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _vectors(file: Path, classes: int) -> Tensor:
    try:
        table = np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.loadtxt(file, delimiter=",", ndmin=2)
        vectors = torch.as_tensor(table, dtype=torch.float32)
    except OSError as error:
        raise DataError(f"--vectors (={file}) cannot be read: {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"--vectors (={file}) is not a table of numbers, .npy or .csv: {error}") from error
    if vectors.ndim != 2 or len(vectors) != classes:
        raise DataError(
            f"--vectors (={file}) must hold a row of numbers for each of the {classes} classes, in their order; it "
            f"holds {tuple(vectors.shape)}"
        )
    if not vectors.isfinite().all():
        raise DataError(f"--vectors (={file}) holds numbers that are not finite")
    return vectors


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--tags (={file}) cannot be read: {error}") from error

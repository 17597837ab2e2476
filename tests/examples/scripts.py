"""The example scripts, called as a user calls them, and what they leave."""

import os
import runpy
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import data, training

ROOT = Path(__file__).parents[2]


def load_script(name: str) -> dict[str, Any]:
    """The names of a script, which is not run as one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        return runpy.run_path(str(ROOT / f"examples/{name}.py"))


def run_script(name: str, *words: object, fails: bool = False, threads: int = 1) -> str:
    """Run a script from the command line; returns what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def call(script: dict[str, Any], *words: object) -> None:
    """Call a script's ``main`` with words, in this process."""
    script["main"]([str(word) for word in words])


class Given(Exception):  # noqa: N818  # it is no error
    """Ends a script where it makes its trainer, whose keywords it holds."""

    def __init__(self, keywords: dict[str, Any]) -> None:
        super().__init__()
        self.keywords = keywords


def taken(*_: Any, **keywords: Any) -> None:
    """Stand in for a trainer."""
    raise Given(keywords)


def shapes_in_checkpoint(run: Path, player: str) -> list[tuple[int, ...]]:
    """The shapes of a player's parameters, from the newest checkpoint; buffers of batch norm are none."""
    state = training.Checkpoint(run).newest()
    assert state is not None
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    weights = state["trainer"]["modules"][player]
    return [tuple(weight.shape) for name, weight in weights.items() if not name.endswith(buffers)]


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture."""
    with Image.open(path) as image:
        return image.size


def frames(path: Path) -> int:
    """How many frames an animation has."""
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


def write_images(folder: Path, classes: list[str], count: int, size: int = 32, mode: str = "RGB") -> Path:
    """A folder of noise, one subfolder a class; returns the folder."""
    generator = torch.Generator().manual_seed(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = torch.randint(256, (size, size, len(mode)), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.squeeze(2).numpy(), mode).save(folder / name / f"{number:03d}.png")
    return folder


def write_mnist(folder: Path, count: int, draw: Any = data.RenderedDigits) -> Path:
    """Rendered digits in the files of MNIST, so many for training and for tests, each of its own; returns the root."""
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    for seed, part in enumerate(("train", "t10k")):
        items = list(draw(28, count, seed))
        images = b"".join(np.asarray(image, dtype=np.uint8).tobytes() for image, _ in items)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + images)
        labels = bytes(label for _, label in items)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
    return folder

"""The README's code: a reader who pastes a block gets what it says."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ganlib import data, training

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
fit = training.fit


def briefly(*words: Any, minutes: float | None = None, **options: Any) -> None:
    """Fit for two iterations instead of minutes."""
    assert minutes is not None
    fit(*words, iterations=2, **options)


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all blocks have run, with a folder of images in it."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("cats", "dogs"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            Image.effect_noise((60, 40 + number), 64).save(folder / "pictures" / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.chdir(folder)
        patch.setattr(training, "fit", briefly)
        patch.setattr(data.RenderedDigits.__init__, "__defaults__", (28, 128, 0))
        for block in BLOCKS:
            exec(compile(block, str(README), "exec"), {})
    return folder


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("digits.png", (302, 242)),
        ("samples.png", (138, 138)),
        ("runs/pictures/samples/00000001.png", (274, 70)),
    ],
)
def test_images_are_drawn(pasted: Path, name: str, size: tuple[int, int]) -> None:
    """The images that the text tells of are there, with as many cells as it says."""
    with Image.open(pasted / name) as image:
        assert image.size == size


def test_the_run_can_be_gone_on_with(pasted: Path) -> None:
    """The run of the reader's own images has a checkpoint, metrics and its generator."""
    run = pasted / "runs/pictures"
    assert {path.name for path in run.iterdir()} == {"checkpoints", "generator.safetensors", "metrics.csv", "samples"}


def test_each_line_can_be_read_without_scrolling() -> None:
    """The lines of code fit the column of a code host."""
    assert max(len(line) for block in BLOCKS for line in block.splitlines()) <= 100


LINK = re.compile(
    r"https://(?:ganlib\.github\.io/ganlib|(?:raw\.githubusercontent|github)\.com/ganlib/ganlib(?:/(?:blob|tree))?/main)/([^)#\s]*)"
)


def test_links_lead_to_files_that_exist():
    """Each page of the site and each file that the README links to is in the repository."""
    found = set(LINK.findall(README.read_text(encoding="utf-8")))
    assert len(found) > 20
    for path in found:
        source = f"docs/{path.removesuffix('.html')}.rst" if path.endswith(".html") else path
        assert (README.parent / source).exists(), source

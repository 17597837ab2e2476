"""The notebooks run in an empty folder with ganlib and Jupyter alone, and are kept with outputs that can be seen."""

import ast
import base64
import csv
import importlib
import io
import itertools
import re
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401  # a kernel that is the first to look for fonts would say so
import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image, ImageSequence

import ganlib
from ganlib import data, models, training
from tests.notebooks.execute import METADATA, execute, read

NAMES = {"draw": 5, "train": 5, "first_gan": 8}  # and how many images each shows
WIDE = 600  # pixels of an image that one can see
SMALL = {"rendered": 200, "iterations": 20, "batch_size": 10, "width": 4, "latent_dim": 7, "device": "cpu"}
OTHER = {
    **SMALL,
    "data_set": "mnist",
    "data_folder": "here",
    "conditioning": "auxiliary",
    "loss": "losses.HingeLoss()",
    "r1": 0,
    "seed": 1,
    "run_folder": "second",
}


def code(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def run(name: str, folder: Path, /, **settings: Any) -> NotebookNode:
    """Execute a notebook with other settings; a warning that a reader would see is an error at the end."""
    notebook = read(name)
    for setting, value in settings.items():
        lines = 0
        written = value if setting == "loss" else repr(value)
        for cell in code(notebook):
            cell.source, found = re.subn(rf"(?m)^{setting} = .*$", f"{setting} = {written}", cell.source)
            lines += found
        assert lines == 1, f"{name}.ipynb sets {setting} in {lines} lines, not in one"
    # Not an error, which a library might catch; nor on stderr, which the training clears.
    first, *_, last = code(notebook)
    first.source = (
        f"import warnings\nwarned = []\nwarnings.showwarning = lambda *a, **k: warned.append(a)\n{first.source}"
    )
    last.source += "\nassert not warned, warned"
    execute(notebook, folder)
    return notebook


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """The outputs of all cells, in order."""
    return [output for cell in code(notebook) for output in cell.outputs]


def text(notebook: NotebookNode) -> str:
    """What was printed, and the values at the end of cells."""
    printed = [output.text for output in outputs(notebook) if output.output_type == "stream"]
    return "".join(printed) + "\n".join(output.data["text/plain"] for output in outputs(notebook) if "data" in output)


def images(notebook: NotebookNode) -> list[Image.Image]:
    """The images that are shown, in order."""
    data = [output.data for output in outputs(notebook) if "data" in output]
    return [Image.open(io.BytesIO(base64.b64decode(each["image/png"]))) for each in data if "image/png" in each]


def grey(image: Image.Image) -> np.ndarray:
    """The pixels, from 0 to 255."""
    return np.asarray(image.convert("L"), dtype=float)


def write_mnist(root: Path, count: int) -> None:
    """Noise in the files of MNIST, so that nothing is downloaded."""
    raw = root / "MNIST/raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(256, size=(count, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">4i", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes(index % 10 for index in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, in which the notebooks below are executed one after the other."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def drawn(folder: Path) -> NotebookNode:
    """``draw.ipynb``, with another number."""
    return run("draw", folder, number="2027")


@pytest.fixture(scope="module")
def large(folder: Path) -> NotebookNode:
    """``draw.ipynb`` with the other generator, another seed and a long number."""
    return run("draw", folder, name="mnist_cdcgan64", seed=1, number="9830976450")


@pytest.fixture(scope="module")
def trained(folder: Path) -> NotebookNode:
    """``train.ipynb``, for a few iterations of small networks."""
    return run("train", folder, **SMALL, run_folder="first")


@pytest.fixture(scope="module")
def continued(folder: Path, trained: NotebookNode) -> NotebookNode:
    """A copy of that run, for longer."""
    shutil.copytree(folder / "first", folder / "longer")
    return run("train", folder, **{**SMALL, "iterations": 30}, run_folder="longer")


@pytest.fixture(scope="module")
def other(folder: Path) -> NotebookNode:
    """``train.ipynb`` on MNIST's files, with another loss, no penalty, and a discriminator that reads the label."""
    write_mnist(folder / "here", 100)
    return run("train", folder, **OTHER)


@pytest.fixture(scope="module")
def repeated(folder: Path, other: NotebookNode) -> NotebookNode:
    """The same, once more in the same folder."""
    return run("train", folder, **OTHER)


EXECUTED = ["drawn", "large", "trained", "continued", "other", "repeated"]


@pytest.mark.parametrize("which", EXECUTED)
def test_a_run_shows_what_can_be_seen_and_no_warning(which: str, request: pytest.FixtureRequest) -> None:
    """Nothing is written to stderr; each image is at least 600 pixels wide, and not of one colour."""
    notebook = request.getfixturevalue(which)
    kinds = {(output.output_type, output.get("name")) for output in outputs(notebook)}
    assert kinds <= {("stream", "stdout"), ("display_data", None), ("execute_result", None)}
    assert len(images(notebook)) == 5
    for image in images(notebook):
        assert image.width >= WIDE
        low, high = image.convert("L").getextrema()
        assert high - low > 100


def test_a_run_writes_only_where_it_says(folder: Path, request: pytest.FixtureRequest) -> None:
    """Drawing leaves no file; a training leaves the folder of its run."""
    for which in EXECUTED:
        request.getfixturevalue(which)
    assert {path.name for path in folder.iterdir()} == {"first", "longer", "second", "here"}


def test_another_number_changes_its_digits_alone(drawn: NotebookNode) -> None:
    """2027 differs from the 2026 that is kept, in its last digit; all else is as it is kept.

    If all of it differs, the weights of the generator are newer than the outputs: execute.py says how to renew these.
    """
    kept, actual = ([grey(image) for image in images(notebook)] for notebook in (read("draw"), drawn))
    last = kept[1].shape[1] * 3 // 4
    differences = [np.abs(one - two) for one, two in zip(kept[:4], actual[:4], strict=True)]
    assert differences[1][:, last + 10 :].mean() > 10
    assert differences[1][:, : last - 10].mean() < 1
    for position in (0, 2, 3):
        assert differences[position].mean() < 1
    assert text(drawn) == text(read("draw"))


def test_the_number_has_all_of_its_digits(drawn: NotebookNode, large: NotebookNode) -> None:
    """Each digit of the number has its part of the image: black strokes on white."""
    for notebook, count in ((drawn, 4), (large, 10)):
        number = images(notebook)[1]
        assert number.width == number.height * count
        for part in np.split(grey(number), count, axis=1):
            assert 0.02 < (part < 128).mean() < 0.5
            assert part.min() < 50


def test_the_other_generator_has_larger_images(drawn: NotebookNode, large: NotebookNode) -> None:
    """A grid of ten times ten images of 64 pixels, which says of itself what it is."""
    assert images(drawn)[0].width % (10 * 30 + 2) == 0
    assert images(large)[0].width % (10 * 66 + 2) == 0
    assert text(large) != text(drawn)


@pytest.mark.parametrize("which", ["drawn", "large"])
def test_rows_are_digits_and_columns_are_latents(which: str, request: pytest.FixtureRequest) -> None:
    """In the interpolation each row has its own digit, which differs more from other rows' than from its neighbours."""
    grid = grey(images(request.getfixturevalue(which))[3])
    side = len(grid) // 10
    tiles = grid[: 10 * side, : 10 * side].reshape(10, side, 10, side)
    along = np.abs(np.diff(tiles, axis=2)).mean()
    across = np.abs(np.diff(tiles, axis=0)).mean()
    assert 0 < along < across / 2


@pytest.mark.parametrize("notebook", ["kept", "drawn", "large"])
def test_the_animation_goes_there_and_back_forever(notebook: str, request: pytest.FixtureRequest) -> None:
    """Consecutive frames differ, the second half is the first one reversed without its ends, and it loops."""
    animation = images(read("draw") if notebook == "kept" else request.getfixturevalue(notebook))[4]
    frames = [grey(frame) for frame in ImageSequence.Iterator(animation)]
    assert (animation.format, animation.info["loop"]) == ("GIF", 0)
    assert len(frames) == 22
    for one, two in itertools.pairwise(frames):
        assert np.abs(one - two).max() > 50
    for there, back in zip(frames[1:11], frames[:11:-1], strict=True):
        assert np.abs(there - back).max() <= 32  # the greys are 16 of each frame's own


def test_a_training_has_its_settings(folder: Path, trained: NotebookNode, other: NotebookNode) -> None:
    """Iterations, size of the latent, width, penalty, conditioning and data are those that were set."""
    columns = list[set[str]]()
    for run_folder, data_set in (("first", "digits"), ("second", "mnist")):
        generator: Any = models.load_generator(folder / run_folder / "generator.safetensors")
        classes = [str(digit) for digit in range(10)]  # by which python -m ganlib sample knows what it draws
        assert generator.info == {"latent_dim": 7, "classes": classes, "data": data_set, "iterations": 20}
        shapes = [tuple(weight.shape) for weight in generator.parameters() if weight.ndim == 4]
        assert shapes == [(7 + 10, 8, 7, 7), (8, 4, 4, 4), (4, 1, 4, 4)]
        with open(folder / run_folder / "metrics.csv", newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        assert row["iteration"] == "20"
        columns.append(set(row))
    assert columns[0] - columns[1] == {"r1"}
    assert columns[1] - columns[0] == {"auxiliary_classifier"}


def test_a_longer_training_goes_on(folder: Path, trained: NotebookNode, continued: NotebookNode) -> None:
    """The run goes on at its last checkpoint, and says nothing of another one."""
    assert "finished" not in text(trained) + text(continued)
    assert [path.name for path in training.Checkpoint(folder / "longer").paths()] == ["00000020.pt", "00000030.pt"]


def test_a_finished_training_says_so(other: NotebookNode, repeated: NotebookNode) -> None:
    """Run again, the notebook shows the same images, and says that nothing was trained."""
    assert "second was finished before" in text(repeated)
    assert "finished" not in text(other)
    for one, two in zip(images(other), images(repeated), strict=True):
        assert np.array_equal(grey(one), grey(two))


@pytest.mark.parametrize(
    ("setting", "value", "answer"),
    [
        ("width", 8, "width 4 (now 8)"),
        ("r1", 0, "r1 0.02 (now 0)"),
        ("data_set", "mnist", "data_set digits (now mnist)"),
    ],
)
def test_other_settings_need_another_folder(
    folder: Path, trained: NotebookNode, setting: str, value: Any, answer: str
) -> None:
    """Run again with another setting in the same folder, it says which, and what to do, and changes no file."""
    before = {path: path.stat().st_mtime_ns for path in (folder / "first").rglob("*")}
    with pytest.raises(CellExecutionError) as caught:
        run("train", folder, **{**SMALL, setting: value}, run_folder="first")
    assert f"first holds a training with {answer}: set it back, or choose another run_folder" in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in (folder / "first").rglob("*")} == before


def test_each_setting_of_the_training_is_used() -> None:
    """Each name that the settings of train.ipynb assign is read in a later cell."""
    settings, *later = (ast.parse(cell.source) for cell in code(read("train")))
    assigned = {target.id for node in settings.body if isinstance(node, ast.Assign) for target in node.targets}
    loaded = {
        node.id
        for tree in later
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert assigned
    assert assigned <= loaded


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_as_it_was_executed(name: str) -> None:
    """All cells were executed in order; outputs hold images that can be seen, no errors and no warnings."""
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert notebook.metadata == METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert {output.get("name", "stdout") for output in outputs(notebook)} == {"stdout"}
    assert "error" not in {output.output_type for output in outputs(notebook)}
    assert len(images(notebook)) == NAMES[name]
    assert min(image.width for image in images(notebook)) >= WIDE


@pytest.mark.parametrize("position", [2, 4])
def test_the_training_that_is_kept_draws_what_was_asked_for(position: int) -> None:
    """The mean of each row of a grid is nearest to the mean of those rendered digits that the row asks for."""
    grid = grey(images(read("train"))[position].resize((302, 302)))  # a pixel for each that was drawn
    drawn = grid[2:, 2:].reshape(10, 30, 10, 30)[:, :28, :, :28].mean(axis=2)
    digits = data.RenderedDigits(length=500)
    means = np.stack([np.mean([grey(digits[i][0]) for i in range(label, 500, 10)], axis=0) for label in range(10)])
    distances = ((drawn[:, None] - means) ** 2).mean(axis=(2, 3))
    assert distances.argmin(axis=1).tolist() == list(range(10))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_names_no_place_of_this_machine(name: str) -> None:
    """Neither code nor prose nor printed text holds an absolute path."""
    notebook = read(name)
    for written in (*(cell.source for cell in notebook.cells), text(notebook)):
        assert not re.search(r"(?:^|[\s\"'(=:])(?:~?/|[A-Za-z]:\\)\w", written)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_needs_public_names_alone(name: str) -> None:
    """Imports are those of ganlib, of its dependencies, and of Jupyter; names of ganlib are public."""
    tree = ast.parse("\n".join(cell.source for cell in code(read(name))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            sources = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for source in sources:
                top = str(source).partition(".")[0]
                assert top in {"ganlib", "torch", "torchvision", "PIL", "IPython"} or top in sys.stdlib_module_names
        if isinstance(node, ast.ImportFrom) and node.module == "ganlib":
            assert {alias.name for alias in node.names} <= set(ganlib.__all__)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__init__"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ganlib.__all__:
            assert node.attr in importlib.import_module(f"ganlib.{node.value.id}").__all__

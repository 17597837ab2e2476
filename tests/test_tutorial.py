"""The tutorial works when its blocks are pasted, and as a script, and as a notebook; all say what the page says."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import ganlib
from ganlib import data
from tests.notebooks.from_tutorial import NOTEBOOK, PAGE, cells, parts

PARTS = parts(PAGE.read_text(encoding="utf-8"))
BLOCKS = [content for kind, content in PARTS if kind == "python"]
PRINTED = "".join(f"{content}\n" for kind, content in PARTS if kind == "text")
FIGURES = [content for kind, content in PARTS if kind == "figure"]
SHORTER = {"iterations=2000": "iterations=201", "iterations=500": "iterations=5"}
ERRORS = re.compile(r"Traceback|\w+Error\b|\w*Warning\b")
LONGEST = 90  # characters in a line that does not make the page scroll


def python(*options: str, given: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python on what it is given, in a folder, and return what it wrote."""
    source = str(Path(ganlib.__file__).parents[1])
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONSTARTUP", "PYTHONINSPECT")}
    return subprocess.run(
        [sys.executable, *options],
        input=given,
        cwd=folder,
        env={**kept, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def paste(blocks: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Paste blocks into an interactive session, each followed by one press of Enter."""
    return python("-i", "-q", given="".join(f"{block}\n" for block in blocks), folder=folder)


def short(block: str) -> str:
    """Train for fewer iterations."""
    for long, few in SHORTER.items():
        block = block.replace(long, few)
    return block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def pasted(folder: Path) -> subprocess.CompletedProcess[str]:
    """All blocks, pasted one after the other in that folder."""
    return paste([short(block) for block in BLOCKS], folder)


def test_blocks_print_what_the_page_says_when_pasted(pasted: subprocess.CompletedProcess[str]) -> None:
    """Standard output is that of the page and nothing else; there is no error and no warning."""
    assert not ERRORS.search(pasted.stderr), pasted.stderr
    assert pasted.stdout == PRINTED


def test_each_figure_is_a_file_that_the_code_has_written(
    pasted: subprocess.CompletedProcess[str], folder: Path
) -> None:
    """The page shows files where the reader finds them, as large as there; the data are the same images."""
    assert [short(block) for block in BLOCKS] != BLOCKS
    for name in FIGURES:
        with Image.open(PAGE.parent / name) as shown, Image.open(folder / name) as made:
            assert shown.size == made.size
            if name.endswith("real.png"):
                assert np.abs(np.asarray(shown, dtype=float) - np.asarray(made, dtype=float)).mean() < 5
    kept = {path.relative_to(PAGE.parent).as_posix() for path in PAGE.parent.rglob("*.png")}
    assert kept == set(FIGURES)


def test_the_page_works_as_a_script_in_a_folder_that_is_full(
    pasted: subprocess.CompletedProcess[str], folder: Path
) -> None:
    """All blocks as one script print the same, also where the files of an earlier training are."""
    ran = python("-", given="\n\n".join(map(short, BLOCKS)), folder=folder)
    assert not ERRORS.search(ran.stderr), ran.stderr
    assert ran.returncode == 0
    assert ran.stdout == PRINTED


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        (
            ["class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n\nA()"],
            "IndentationError",
        ),
        (["for i in range(2):\n    print(i)", "x = 1"], "SyntaxError"),
        (["print(missing)"], "Traceback"),
    ],
)
def test_blocks_that_break_when_pasted_are_found(blocks: list[str], error: str, tmp_path: Path) -> None:
    """A blank line in a class, a block that ends within a loop, and any exception are seen."""
    found = ERRORS.search(paste(blocks, tmp_path).stderr)
    assert found is not None
    assert error in paste(blocks, tmp_path).stderr


def test_lines_fit_the_page() -> None:
    """No line of code or output makes the page scroll sideways."""
    lines = [line for kind, content in PARTS if kind in ("python", "text", "none") for line in content.splitlines()]
    assert [line for line in lines if len(line) > LONGEST] == []


def test_each_section_says_what_the_reader_sees() -> None:
    """From the first section with code to the last one there is one such sentence in each."""
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"\n(?=[^\n]+\n-{3,}\n)", page)
    for section in sections:
        assert section.count("**What you see now:**") == (".. code-block:: python" in section), section[:80]


def test_the_notebook_is_the_page() -> None:
    """Its cells are those that the page makes, executed in order; it printed and shows what the page does."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    renew = "python -m tests.notebooks.from_tutorial makes the notebook again"
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == cells(PAGE.read_text(encoding="utf-8")), renew
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert "".join(output.text for output in outputs if output.output_type == "stream") == PRINTED
    shown = [base64.b64decode(output.data["image/png"]) for output in outputs if output.output_type != "stream"]
    assert shown == [(PAGE.parent / name).read_bytes() for name in FIGURES], renew


@pytest.mark.parametrize("name", ["digits.png", "own.png"])
def test_the_digits_of_the_page_are_those_that_the_rows_ask_for(name: str) -> None:
    """The mean of each row is nearest to the mean of those rendered digits that the row asks for."""
    with Image.open(PAGE.parent / "first_gan" / name) as image:
        grid = np.asarray(image.convert("L").resize((182, 182), Image.Resampling.NEAREST), dtype=float)
    drawn = grid[2:, 2:].reshape(10, 18, 10, 18)[:, :16, :, :16].mean(axis=2)
    digits = data.RenderedDigits(size=16, length=500)
    means = np.stack(
        [np.mean([np.asarray(digits[i][0]) for i in range(label, 500, 10)], axis=0) for label in range(10)]
    )
    distances = ((drawn[:, None] - means) ** 2).mean(axis=(2, 3))
    assert distances.argmin(axis=1).tolist() == list(range(10))

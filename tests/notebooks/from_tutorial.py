"""Make ``notebooks/first_gan.ipynb`` from the tutorial, execute it, and update the images of the tutorial.

python -m tests.notebooks.from_tutorial           # from the root of the checkout; about a minute
python -m tests.notebooks.from_tutorial --prose   # after changes of the prose alone: images and outputs stay
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from tests.notebooks.execute import METADATA, NOTEBOOKS, execute

PAGE = Path(__file__).parents[2] / "docs/tutorial/first_gan.rst"
NOTEBOOK = NOTEBOOKS / "first_gan.ipynb"
SITE = "https://ganlib.github.io/ganlib"
_INTRODUCTION = f"""Run the cells in order. They need ganlib and Jupyter only, and use about one minute of CPU time.
This notebook has the text and the code of the [tutorial]({SITE}/tutorial/first_gan.html)."""
_DIRECTIVE = re.compile(r"\.\. (code-block|figure|only):: (\S+)")
_MARKDOWN = (  # from, to
    (r":doc:`([^<`]+?)\s*</([^>]+)>`", rf"[\1]({SITE}/\2.html)"),
    (r":(?:class|func|mod):`([^`]+)`", r"`\1`"),
    (r"`([^`]+)`_(?!_)", r"\1"),
    (r"``([^`]+)``", r"`\1`"),
    (r"(arXiv:)(\d{4}\.\d{4,5})", r"[\1\2](https://arxiv.org/abs/\2)"),
)


class Part(NamedTuple):
    """A part of the page; its kind is ``prose``, ``python``, ``text``, ``none``, ``figure`` or ``only``."""

    kind: str
    content: str


def parts(page: str) -> list[Part]:
    """Split a page into its prose, code, printed text and figures, in order."""
    found, prose = list[Part](), list[str]()
    blocks = re.split(r"\n{2,}(?=\S)", page.strip())  # a directive includes the indented lines below it
    for block in blocks:
        directive = _DIRECTIVE.match(block)
        if directive is None:
            prose.append(block)
            continue
        found += [Part("prose", "\n\n".join(prose))] if prose else []
        prose.clear()
        name, argument = directive.groups()
        body = re.sub(r"(?m)^   ", "", block[directive.end() :]).strip("\n")
        found.append(Part(argument, body) if name == "code-block" else Part(name, argument))
    return [*found, Part("prose", "\n\n".join(prose))]


def markdown(prose: str) -> str:
    """Translate the little reStructuredText that the tutorial uses."""
    for underline, level in (("=", "#"), ("-", "##")):
        prose = re.sub(rf"(?m)^(\S.*)\n{underline}{{3,}}$", rf"{level} \1", prose)
    for pattern, replacement in _MARKDOWN:
        prose = re.sub(pattern, replacement, prose)
    return prose


def cells(page: str) -> list[tuple[str, str]]:
    """Return (type, source) for each cell: code is copied, and a figure becomes a cell that shows the file."""
    made, shown = list[tuple[str, str]](), 0
    for kind, content in parts(page):
        if kind == "prose":
            made.append(("markdown", markdown(content)))
        elif kind == "python":
            made.append(("code", content))
        elif kind == "figure":
            importing = "" if shown else "from IPython.display import Image\n\n"
            made.append(("code", f'{importing}Image("{content}")'))
            shown += 1
    first, *others = made
    return [(first[0], f"{first[1]}\n\n{_INTRODUCTION}"), *others]


def make(page: str) -> NotebookNode:
    """Make the notebook, without outputs."""
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    contents = [new[kind](source, id=f"cell-{number}") for number, (kind, source) in enumerate(cells(page))]
    return nbformat.v4.new_notebook(cells=contents, metadata=nbformat.from_dict(METADATA))


def main() -> None:
    """Write the notebook and the images."""
    page = PAGE.read_text(encoding="utf-8")
    notebook = make(page)
    if "--prose" in sys.argv[1:]:
        kept = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
        made = [cell for cell in notebook.cells if cell.cell_type == "code"]
        if [cell.source for cell in kept] != [cell.source for cell in made]:
            sys.exit("the code of the page has changed: run without --prose")
        for new, old in zip(made, kept, strict=True):
            new.outputs, new.execution_count = old.outputs, old.execution_count
    else:
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
            for kind, name in parts(page):
                if kind == "figure":
                    (PAGE.parent / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(Path(folder, name), PAGE.parent / name)
    for cell in notebook.cells:  # the progress bars show how busy this machine was
        if cell.cell_type == "code":
            cell.metadata = {}
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()

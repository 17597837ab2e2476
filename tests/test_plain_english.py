"""Public text keeps to plain words, and docstrings start with a verb."""

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import ganlib

ROOT = Path(__file__).parent.parent
FORBIDDEN = re.compile(
    r"(?i:\b(?:films?|rooms?|houses?|drawers?|judg(?:e|es|ed|ing)|anew|lest|shall|likewise|beside|rehearsals?)\b)"
    r"|\b(?:is|are) none\b"
)
CODE = re.compile(r"``.+?``|`[^`\n]+`|FiLM\w*|\S*_film\S*", re.DOTALL)  # a literal, a role's target, a class
NOT_A_VERB = {
    *("A", "An", "The", "This", "These", "That", "What", "Whether", "How", "Where", "When", "Which", "Who", "Why"),
    *(
        "All",
        "Both",
        "Each",
        "Every",
        "Everything",
        "Something",
        "Anything",
        "One",
        "Two",
        "Some",
        "No",
        "Not",
        "Always",
    ),
    *("In", "On", "At", "For", "From", "Of", "With", "As", "If", "It", "Its", "Left", "Context", "Feature-wise"),
}
VERBS_WITH_S = {"Pass", "Process", "Compress", "Express", "Access", "Discuss", "Press", "Guess", "Suppress", "Focus"}


def tracked(*patterns: str) -> list[Path]:
    """The files of the checkout that match, without what builds and runs leave."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return [
        path for path in found if not {"_build", "generated", "runs", "data"} & set(path.relative_to(ROOT).parts[:-1])
    ]


def package(*patterns: str) -> list[Path]:
    """The files below src, examples and benchmarks; the reference loops are a copy of another text."""
    found = [path for pattern in patterns for path in ROOT.glob(pattern) if "__pycache__" not in path.parts]
    return [path for path in found if path.name != "reference_loops.py"]


PAGES = tracked(
    "*.md",
    "*.cff",
    ".github/**/*.*",
    "docs/*.rst",
    "docs/*/*.rst",
    "benchmarks/results/*.md",
    "benchmarks/*.sh",
    "Makefile",
)
MODULES = package("src/**/*.py", "examples/**/*.py", "benchmarks/**/*.py", "docs/conf.py")
NOTEBOOKS = tracked("notebooks/*.ipynb")


def words_of_page(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page; what stands between backquotes is code."""
    text = CODE.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    yield from enumerate(text.splitlines(), 1)


def words_of_module(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and the strings of a module: docstrings, errors, warnings and help texts."""
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], CODE.sub("", token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for offset, line in enumerate(CODE.sub("", node.value).splitlines()):
                yield node.lineno + offset, line


def words_of_notebook(path: Path) -> Iterator[tuple[int, str]]:
    """The cells of a notebook, by their number: prose, code and comments."""
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        yield number, CODE.sub("", cell.source)


READERS = [(words_of_page, PAGES), (words_of_module, MODULES), (words_of_notebook, NOTEBOOKS)]
FILES = [pytest.param(read, path, id=path.relative_to(ROOT).as_posix()) for read, paths in READERS for path in paths]


@pytest.mark.parametrize(("read", "path"), FILES)
def test_no_forbidden_word(read, path):
    """No page, docstring, comment, error or help text has a word that readers stumble over."""
    found = [f"{path.name}:{line}: {text.strip()}" for line, text in read(path) if FORBIDDEN.search(text)]
    assert not found, "\n".join(found)


def test_all_kinds_of_files_are_read():
    """A folder that is renamed does not empty the test above."""
    names = {path.relative_to(ROOT).as_posix() for paths in (PAGES, MODULES, NOTEBOOKS) for path in paths}
    assert {"README.md", "CHANGELOG.md", "docs/tutorial/first_gan.rst", "notebooks/draw.ipynb"} <= names
    assert {"src/ganlib/losses/_hinge.py", "examples/mnist_cdcgan.py", "benchmarks/run_quality.py"} <= names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Runs leave a film.", True),
        ("Films and drawers", True),
        ("the loss is none of these", True),
        ("Lest it fail", True),
        ("the loss is None", False),
        ("a `FiLM` layer, and FiLM itself", False),
        ("``room`` is an argument", False),
        ("mushrooms in bedrooms, filmed", False),
    ],
)
def test_what_is_forbidden(tmp_path, text, found):
    """Whole words in any case are found, in a page, a comment, a string and a notebook; code is not."""
    page, module, notebook = tmp_path / "page.rst", tmp_path / "module.py", tmp_path / "notebook.ipynb"
    page.write_text(text)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), notebook)
    module.write_text(f"x = 1  # {text}\n")
    for read, path in ((words_of_page, page), (words_of_module, module), (words_of_notebook, notebook)):
        assert any(FORBIDDEN.search(line) for _, line in read(path)) == found
    module.write_text(f"print(f'{{1}} {text}')\n")
    assert any(FORBIDDEN.search(line) for _, line in words_of_module(module)) == found


def public_objects() -> Iterator[tuple[str, object]]:
    """All public classes and functions, and the methods that ganlib defines for them."""
    for part in ganlib.__all__:
        module = importlib.import_module(f"ganlib.{part}")
        for name in module.__all__:
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            yield f"{part}.{name}", value
            for method, function in vars(value).items() if inspect.isclass(value) else ():
                if inspect.isfunction(function) and not method.startswith("_") and function.__doc__:
                    yield f"{part}.{name}.{method}", function


def starts_with_a_verb(docstring: str) -> bool:
    """Whether the first word can be an imperative; a rule of thumb that needs no dictionary."""
    first = re.sub(r"\W+$", "", docstring.split()[0])
    return (
        first.isalpha()
        and first[0].isupper()
        and first not in NOT_A_VERB
        and (first[-1] != "s" or first in VERBS_WITH_S)
    )


def test_docstrings_start_with_a_verb():
    """Help begins with what the thing does: compute, train, draw."""
    wrong = {name: inspect.getdoc(value) for name, value in public_objects()}
    wrong = {name: text.splitlines()[0] for name, text in wrong.items() if text and not starts_with_a_verb(text)}
    assert not wrong, "\n".join(f"{name}: {line}" for name, line in wrong.items())


@pytest.mark.parametrize(
    "text", ["The hinge loss.", "Trains two networks.", "``f(x)`` is it.", "What it is.", "A loss."]
)
def test_what_is_not_a_verb(text):
    """An article, a verb in the third person and code do not start a docstring."""
    assert not starts_with_a_verb(text)
    assert starts_with_a_verb("Compute the hinge loss.")

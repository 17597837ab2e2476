"""The documentation leaves nothing out: every public name is described, every page can be found."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import ganlib

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What Sphinx knows once it has read all the pages, in a process of its own: it changes what it reads."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "dummy", "-d", folder, DOCS, folder]
    subprocess.run(command, check=True, capture_output=True)
    return pickle.loads((folder / "environment.pickle").read_bytes())


@pytest.mark.parametrize("package", ganlib.__all__)
def test_every_public_name_is_on_the_page_of_its_package(environment, package):
    """Each name in a package's ``__all__`` is described on the package's page in the reference."""
    expected = {f"ganlib.{package}.{name}" for name in importlib.import_module(f"ganlib.{package}").__all__}
    described = environment.domaindata["py"]["objects"].items()
    actual = {name for name, entry in described if entry.docname == f"reference/{package}"}
    assert expected <= actual, sorted(expected - actual)


def test_every_page_is_reachable(environment):
    """Toctrees lead from the front page to every page that there is."""
    reached, waiting = set(), ["index"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting += [found for found in environment.toctree_includes.get(page, []) if found not in reached]
    expected = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.rst")}
    assert expected == reached

"""The documentation leaves nothing out: every public name has a page, and every page can be found."""

import importlib
import pickle
import re
import textwrap

import pytest
import torch

import ganlib
from ganlib import data, protocols
from tests.site.build import DOCS, site

TYPES = {"ganlib.stacks.Activation", "ganlib.stacks.Norm"}  # short enough for the page of their package


@pytest.fixture(scope="module")
def environment():
    """What Sphinx knows once it has read all the pages."""
    return pickle.loads((site() / ".doctrees" / "environment.pickle").read_bytes())


def public_names(package):
    """Each public name of a package, and the name that has a page: contracts have theirs in ``protocols``."""
    for name in importlib.import_module(f"ganlib.{package}").__all__:
        contract = package != "protocols" and name in protocols.__all__
        yield name, f"ganlib.{'protocols' if contract else package}.{name}"


@pytest.mark.parametrize("package", ganlib.__all__)
def test_every_public_name_has_a_page(environment, package):
    """The page describes the name, and no other page does."""
    described = environment.domaindata["py"]["objects"]
    for _, full in public_names(package):
        assert described[full].docname == (f"reference/{package}" if full in TYPES else f"reference/generated/{full}")


@pytest.mark.parametrize("package", ganlib.__all__)
def test_every_public_name_is_in_the_summary_of_its_package(environment, package):
    """The tables at the top of a package's page link to the page of each name."""
    html = (site() / "reference" / f"{package}.html").read_text("utf-8")
    missing = [
        full for _, full in public_names(package) if full not in TYPES and f'href="generated/{full}.html#' not in html
    ]
    assert not missing


def test_every_page_is_reachable(environment):
    """Toctrees lead from the front page to every page that there is."""
    reached, waiting = set(), ["index"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting += [found for found in environment.toctree_includes.get(page, []) if found not in reached]
    expected = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.rst")}
    assert expected == reached


def test_the_ten_lines_of_the_front_page_run(tmp_path, monkeypatch):
    """The code of the front page writes the image that it names."""
    (code,) = re.findall(
        r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", (DOCS / "index.rst").read_text("utf-8"), re.MULTILINE
    )
    assert code.count("minutes=1") == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data.RenderedDigits.__init__, "__defaults__", (28, 128, 0))
    with torch.random.fork_rng():
        exec(textwrap.dedent(code).replace("minutes=1", "iterations=2"), {})
    assert (tmp_path / "digits.png").is_file()

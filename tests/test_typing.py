"""Tests of the types that a user's checker and editor see: mypy and pyright, both in strict mode."""

import importlib.metadata
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import ganlib

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).with_name("typing_programs")


def _run(*arguments: str, folder: Path) -> str:
    """What a checker of this environment says; it finds mistakes, or nothing."""
    name = arguments[0]
    pytest.importorskip(name)
    # pyright --verifytypes takes the first python on the path.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _lines_of_mypy(folder: Path) -> Mapping[str, set[int]]:
    # A cache that is kept: torch takes half a minute.
    said = _run("mypy", "--strict", f"--cache-dir={ROOT / '.mypy_cache' / PROGRAMS.name}", ".", folder=folder)
    found = re.findall(r"^(\w+\.py):(\d+): error: ", said, re.MULTILINE)
    return {name: {int(line) for each, line in found if each == name} for name in os.listdir(folder)}


def _lines_of_pyright(folder: Path) -> Mapping[str, set[int]]:
    # That a line does nothing is not the mistake that is meant.
    settings = {"typeCheckingMode": "strict", "reportUnusedExpression": False, "reportUnusedImport": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    said = json.loads(_run("pyright", "--outputjson", "--pythonpath", sys.executable, ".", folder=folder))
    found = [(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in said["generalDiagnostics"]]
    return {name: {line for each, line in found if each == name} for name in os.listdir(folder)}


@pytest.fixture(scope="module")
def installed():
    """As a user has it: what is on PYTHONPATH alone is found by no checker."""
    try:
        importlib.metadata.version("ganlib")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ganlib is not installed")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("checker", [_lines_of_mypy, _lines_of_pyright])
def test_every_planted_mistake_is_found_and_nothing_else(tmp_path, checker):
    """Each of the 200 wrong lines is an error, and no other line is, nor one of the right programs."""
    for path in PROGRAMS.glob("*.py"):
        shutil.copy(path, tmp_path)
    found = checker(tmp_path)
    source = (PROGRAMS / "wrong.py").read_text().splitlines()
    wrong = {line for line, text in enumerate(source, 1) if text.endswith("# wrong")}
    assert len(wrong) > 200
    assert [source[line - 1] for line in sorted(wrong - found["wrong.py"])] == []
    assert [source[line - 1] for line in sorted(found["wrong.py"] - wrong)] == []
    assert found["right.py"] == set()


def test_the_right_programs_run():
    """What the checkers find nothing in works."""
    runpy.run_path(str(PROGRAMS / "right.py"))["main"]()


@pytest.mark.usefixtures("installed")
def test_every_public_type_is_known(tmp_path):
    """``pyright --verifytypes`` is at 100 %, but for what torch and torchmetrics leave without a type."""
    said = json.loads(_run("pyright", "--outputjson", "--ignoreexternal", "--verifytypes", "ganlib", folder=tmp_path))
    report = said["typeCompleteness"]
    assert {module["name"] for module in report["modules"]} >= {f"ganlib.{package}" for package in ganlib.__all__}
    assert [symbol["name"] for symbol in report["symbols"] if not symbol["isTypeKnown"]] == []
    assert report["completenessScore"] == 1

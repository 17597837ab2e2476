"""What someone meets before the code: pyproject.toml, the files of a code host, install commands, links, versions."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = PROJECT["name"]
HOST = "https://github.com/ganlib/ganlib"
LINK = re.compile(
    r"https://(?:github\.com/ganlib/ganlib/(?:blob|tree|raw)|raw\.githubusercontent\.com/ganlib/ganlib)/main/([\w./-]+)"
)
# The command without a code host, a path or an extra. Extras are for those who have ganlib already.
BARE = re.compile(r"""pip install (?:-\S+ )*["'`]?ganlib(?![\w\[/\\-])""")
PAGE = re.compile(r"https://ganlib\.github\.io/ganlib/([\w./-]+)\.html")


def _texts() -> dict[str, str]:
    """The text files of the project, by their names: those of git, or all of an sdist."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        folders = [ROOT / name for name in ("src", "tests", "docs", "examples", "benchmarks", "notebooks", ".github")]
        paths = [*ROOT.glob("*"), *(path for folder in folders for path in folder.rglob("*"))]
        names = [path.relative_to(ROOT).as_posix() for path in paths if "_build" not in path.parts]
    suffixes = {".md", ".rst", ".py", ".ipynb", ".toml", ".yml", ".cff", ".sh", ""}
    paths = [ROOT / name for name in names if name and Path(name).suffix in suffixes and (ROOT / name).is_file()]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


TEXTS = _texts()


def _workflow(name: str) -> dict[str, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    return loaded


def _jobs(name: str) -> dict[str, Any]:
    jobs: dict[str, Any] = _workflow(name)["jobs"]
    return jobs


def _matrix(job: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = _jobs("tests")[job]["strategy"]["matrix"]["include"]
    return rows


def _pythons() -> list[str]:
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def test_the_classifiers_are_the_versions_that_are_allowed_and_tested() -> None:
    """The lowest Python is that of ``requires-python``, none is left out, and a workflow runs each."""
    pythons = _pythons()
    minors = [int(version.removeprefix("3.")) for version in pythons]
    assert minors == [*range(minors[0], minors[-1] + 1)]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(6, minors[-1] + 1) if allowed.contains(f"3.{minor}.0")] == pythons
    assert {row["python"] for job in ("suite", "parts") for row in _matrix(job)} == {*pythons}


def test_the_oldest_packages_are_tested() -> None:
    """A workflow installs the lower bounds, with the torch and the Python that pyproject.toml names."""
    bounds = {(need := Requirement(line)).name.lower(): need.specifier for line in PROJECT["dependencies"]}
    (oldest,) = (row for row in _matrix("suite") if row["packages"] == "oldest")
    assert bounds["torch"] == SpecifierSet(f">={oldest['torch'].removesuffix('.0')}")
    assert oldest["python"] == _pythons()[0]
    assert "lowest-direct" in oldest["install"]
    assert all(len(specifier) == 1 and str(specifier).startswith(">=") for specifier in bounds.values())


def test_every_extra_is_tested() -> None:
    """``test`` has all extras for users, and ``dev`` has everything."""
    extras = PROJECT["optional-dependencies"]
    own = {name: [need for line in extras[name] if (need := Requirement(line)).name == "ganlib"] for name in extras}
    assert {extra for need in own["test"] for extra in need.extras} == extras.keys() - {"test", "docs", "dev"}
    assert {extra for need in own["dev"] for extra in need.extras} == {"docs", "test"}


def test_a_release_takes_its_version_from_the_tag() -> None:
    """Pushing a tag starts it; it sees all tags; nothing is published before the tests; no password is needed."""
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert backend["tool"]["hatch"]["version"]["source"] == "vcs"
    assert "version" in PROJECT["dynamic"]
    workflow, jobs = _workflow("release"), _jobs("release")
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads "on" as true
    checkout = next(step for step in jobs["build"]["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"]["fetch-depth"] == 0
    assert any("${GITHUB_REF_NAME#v}" in step.get("run", "") for step in jobs["build"]["steps"])
    publish = jobs["publish"]
    assert {"tests", "build"} <= {*publish["needs"]}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "pypi"
    assert not any("password" in step.get("with", {}) for step in publish["steps"])


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.name)
def test_files_of_the_code_host_can_be_read(path: Path) -> None:
    """All are YAML; a workflow may only read, unless a job says otherwise; a form has what the host asks for."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    if path.parent.name == "workflows":
        assert loaded["permissions"] == {"contents": "read"}
        assert all("timeout-minutes" in job or "uses" in job for job in loaded["jobs"].values())
    elif path.parent.name == "ISSUE_TEMPLATE" and path.name != "config.yml":
        assert {"name", "description", "body"} <= loaded.keys()
        assert len({field["id"] for field in loaded["body"]}) == len(loaded["body"])


def test_the_citation_agrees() -> None:
    """``CITATION.cff`` says what pyproject.toml says, and no version, which would soon be an old one."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] == f"{PROJECT['name']}: {PROJECT['description'][0].lower()}{PROJECT['description'][1:]}"
    assert citation["abstract"] == PROJECT["description"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"] == HOST
    assert citation["url"] == PROJECT["urls"]["Documentation"]
    assert "version" not in citation


@pytest.mark.parametrize("name", sorted(name for name, text in TEXTS.items() if LINK.search(text) or PAGE.search(text)))
def test_links_into_the_project_lead_somewhere(name: str) -> None:
    """A link to a file of the repository names one that is there; a link to a page, one that is built."""
    text = TEXTS[name]
    missing = [path for path in LINK.findall(text) if not (ROOT / path.rstrip(".")).exists()]
    pages = [page for page in PAGE.findall(text) if "genindex" not in page]
    assert missing + [page for page in pages if not (ROOT / "docs" / f"{page}.rst").exists()] == []


def test_the_package_page_has_no_relative_link() -> None:
    """The README is shown elsewhere too, where a relative link or picture leads nowhere."""
    readme = TEXTS["README.md"]
    targets = re.findall(r"\]\(([^)\s]+)", readme) + re.findall(r"(?:src|href)=\"([^\"]+)\"", readme)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_install_commands_work_before_it_is_published() -> None:
    """No file tells a user to install ganlib by its bare name."""
    assert {name: found for name, text in TEXTS.items() if (found := BARE.findall(text))} == {}


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (f"$ pip install {NAME}", True),
        (f"`pip install '{NAME}'`", True),
        (f"pip install -U {NAME}.", True),
        ('pip install "ganlib[metrics]"', False),
        (f"pip install git+{HOST}", False),
        ("pip install .", False),
    ],
)
def test_a_bare_install_is_found(text: str, bare: bool) -> None:
    """What the test above looks for."""
    assert bool(BARE.search(text)) is bare


def test_no_file_cites_a_page_that_readers_do_not_have() -> None:
    """The notes of the developers are not in the repository."""
    cited = "DESIGN" + ".md"
    assert [name for name, text in TEXTS.items() if cited in text] == []

"""The wheel, built from this checkout: what it holds, and that every command works with nothing else of ganlib."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganlib import models

ROOT = Path(__file__).parents[1]
# Where the wheel has what is elsewhere in the checkout.
PLACES = {"src/ganlib/": "ganlib/", "examples/": "ganlib/_cli/examples/", "notebooks/": "ganlib/_cli/notebooks/"}


def _checkout() -> list[str]:
    """The files that a clone would have once all is committed; of what is not a clone, those that are not caches."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        folders = ("src", "examples", "notebooks", "tests")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
        listed = [path.relative_to(ROOT).as_posix() for path in paths] + ["pyproject.toml", "README.md", "LICENSE"]
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy in which scripts and notebooks were run and tests have left their caches."""
    copy, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in _checkout():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for folder in ("src/ganlib", "src/ganlib/models", "examples", "examples/games"):
        (copy / folder / "__pycache__").mkdir()
        (copy / folder / "__pycache__/x.cpython-311.pyc").write_bytes(b"x")
    for name in ("examples/runs/x.py", "examples/games/x.png", "examples/x.png", "notebooks/runs/x.safetensors"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"x")
    (copy / "notebooks/.ipynb_checkpoints").mkdir()
    (copy / "notebooks/.ipynb_checkpoints/draw-checkpoint.ipynb").write_text("{}")
    words = [
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([sys.executable, "-m", *words, "--wheel-dir", out, copy], check=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel does."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def python(installed: Path, tmp_path: Path) -> Any:
    """Runs ``python`` with words, in an empty folder, with the wheel's ganlib; returns what it printed."""

    def run(*words: object) -> str:
        # This comes before an installed ganlib, also an editable one.
        own = {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_it_holds(wheel: Path) -> None:
    """The package, scripts and notebooks as they are here, and nothing else: no tests, no caches."""
    expected = dict[str, Path]()
    for name in _checkout():
        for place, there in PLACES.items():
            if name.startswith(place):
                expected[there + name.removeprefix(place)] = ROOT / name
    about = f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info/"
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        assert sorted(name for name in names if not name.startswith(about)) == sorted(expected)
        assert [name for name, path in expected.items() if archive.read(name) != path.read_bytes()] == []
        metadata = message_from_bytes(archive.read(f"{about}METADATA"))
    assert wheel.name == f"ganlib-{metadata['Version']}-py3-none-any.whl"
    for name in (
        "ganlib/py.typed",
        "ganlib/__main__.py",
        "ganlib/models/pretrained/mnist_cdcgan.safetensors",
        "ganlib/models/pretrained/mnist_cdcgan64.safetensors",
        "ganlib/metrics/pretrained/digit_classifier.safetensors",
        "ganlib/_cli/examples/mnist_cdcgan.py",
        "ganlib/_cli/examples/games/pix2pix.py",
        "ganlib/_cli/notebooks/draw.ipynb",
        "ganlib/_cli/notebooks/train.ipynb",
        f"{about}licenses/LICENSE",
    ):
        assert name in names
    needed = {line.split(">=")[0].lower() for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert needed == {
        "torch",
        "torchvision",
        "safetensors",
        "pillow",
        "matplotlib",
        "tqdm",
        "numpy",
    }


def test_it_is_the_wheels_package_that_runs(python: Any, wheel: Path, installed: Path, tmp_path: Path) -> None:
    """``ganlib`` is imported from the wheel, here and in the tests below; it draws with the weights that it holds."""
    assert python("-m", "ganlib", "--version") == f"ganlib {wheel.name.split('-')[1]}\n"
    where = python("-c", "import ganlib, ganlib._cli; print(ganlib.__file__, ganlib._cli.__file__, sep='\\n')")
    assert where.split() == [str(installed / "ganlib/__init__.py"), str(installed / "ganlib/_cli/__init__.py")]
    python("-m", "ganlib", "draw", "2026", "--out", "number.png")
    python("-m", "ganlib", "sample", "--labels", 3, 1, "--count", 4)
    assert _size(tmp_path / "number.png") == (700, 196)
    assert _size(tmp_path / "samples.png") == (122 * 7, 62 * 7)


def test_it_trains(python: Any, tmp_path: Path) -> None:
    """``train`` leaves a run, and the package that is here reads its generator."""
    python("-m", "ganlib", "train", "--iterations", 2, "--batch-size", 8, "--out", "run")
    generator: Any = models.load_generator(tmp_path / "run/generator.safetensors")
    assert (generator.info["data"], generator.info["iteration"]) == ("digits", 2)


def test_it_evaluates(python: Any, tmp_path: Path) -> None:
    """``evaluate`` reads what the scripts share, and leaves the values and an image."""
    python("-m", "ganlib", "evaluate", "mnist_cdcgan", "--data", "digits", "--n", 20, "--metrics", "accuracy")
    assert json.loads((tmp_path / "evaluation.json").read_text())["metrics"]["label_accuracy"] > 0.8
    assert (tmp_path / "evaluation.png").exists()


def test_the_demo(python: Any, tmp_path: Path) -> None:
    """``demo`` trains on digits that it renders, and draws with the result."""
    python("-m", "ganlib", "demo", "--minutes", 0.0001)
    assert (tmp_path / "runs/demo/generator.safetensors").exists()
    assert _size(tmp_path / "runs/demo/digits.png") == (604, 604)


def test_the_examples(python: Any, installed: Path, tmp_path: Path) -> None:
    """``examples`` copies what was shipped, without what running and opening it has left there; the copies run."""
    for name in ("examples/__pycache__/_data.cpython-311.pyc", "notebooks/.ipynb_checkpoints/draw-checkpoint.ipynb"):
        (installed / "ganlib/_cli" / name).parent.mkdir(exist_ok=True)
        (installed / "ganlib/_cli" / name).write_bytes(b"x")
    for path in (installed / "ganlib/_cli/examples").rglob("*"):
        path.chmod(0o555)  # some systems install read-only
    assert "mine" in python("-m", "ganlib", "examples", "mine")
    assert all(path.stat().st_mode & stat.S_IWUSR for path in (tmp_path / "mine").rglob("*"))
    shipped = [name for name in _checkout() if name.startswith(("examples/", "notebooks/"))]
    copied = [
        path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*.*") if path.is_file()
    ]
    assert sorted(copied) == sorted(shipped)
    assert "interpolate" in python("mine/examples/mnist_cdcgan.py", "--help")


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size

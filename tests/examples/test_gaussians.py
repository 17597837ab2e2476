"""The example of Gaussians in the plane: its data and its verdict as a module, its commands as a user runs them."""

import csv
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ganlib.errors import GanlibError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """The names of the script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        return runpy.run_path(str(ROOT / "examples/gaussians.py"))


@pytest.fixture
def run(example: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call the script's ``main`` with words; returns what it printed."""

    def call(*words: object) -> str:
        example["main"]([str(word) for word in words])
        return capsys.readouterr().out

    return call


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> list[dict[str, str]]:
    """The table of a run."""
    return rows(folder / "results.csv")


@pytest.mark.parametrize(("name", "modes", "apart", "sigma"), [
    ("ring", 8, 2 * 2 * math.sin(math.pi / 8), 0.02),
    ("grid", 25, 2.0, 0.05),
])  # fmt: skip
def test_the_data_are_those_of_the_literature(
    example: dict[str, Any], name: str, modes: int, apart: float, sigma: float
) -> None:
    """Ring and grid have their number of equally likely modes, at their distance, with their sigma."""
    mixture = example[name]()
    samples = mixture.draw(50_000, torch.Generator().manual_seed(0))
    assert (mixture.centres.shape, samples.shape) == ((modes, 2), (50_000, 2))
    assert torch.pdist(mixture.centres).min().item() == pytest.approx(apart, abs=1e-5)
    nearest = torch.cdist(samples, mixture.centres).argmin(dim=1)
    off = samples - mixture.centres[nearest]
    assert off.std().item() == pytest.approx(sigma, rel=0.02)
    counts = nearest.bincount(minlength=modes) * modes / len(samples)
    assert counts.tolist() == pytest.approx([1.0] * modes, abs=0.1)
    for mode in range(modes):
        assert off[nearest == mode].mean(0).abs().max() < 5 * sigma / math.sqrt(50_000 / modes)
    assert mixture.spread == pytest.approx(samples.std().item(), rel=0.02)


def test_the_ring_has_radius_2(example: dict[str, Any]) -> None:
    """Every centre of the ring is 2 from the middle."""
    assert example["ring"]().centres.norm(dim=1).tolist() == pytest.approx([2.0] * 8)


def test_batches_begin_anew_and_have_a_seed(example: dict[str, Any]) -> None:
    """Iterated twice, the loader gives the same fresh batches; another seed gives others; all have a spread of 1."""
    batches = example["Batches"](example["grid"](), 500, seed=3)
    once, again = list(islice(batches, 3)), list(islice(batches, 3))
    other = next(iter(example["Batches"](example["grid"](), 500, seed=4)))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], once[1])
    assert not torch.equal(once[0], other)
    assert torch.cat(once).std().item() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_real_samples_find_every_mode(example: dict[str, Any], name: str) -> None:
    """Real samples find all modes, and 1 - exp(-9/2) of them lie within 3 sigma, but for chance."""
    mixture = example[name]()
    verdict = example["judge"](mixture.draw(100_000, torch.Generator().manual_seed(0)), mixture)
    assert verdict.modes == verdict.of == len(mixture.centres)
    assert verdict.share == pytest.approx(1 - math.exp(-4.5), abs=0.001)
    assert example["REAL_SHARE"] == pytest.approx(1 - math.exp(-4.5))


def test_one_mode_counts_as_one(example: dict[str, Any]) -> None:
    """A generator that has collapsed to one mode found 1, however sharp it is; one that is off found none."""
    mixture = example["grid"]()
    collapsed = mixture.centres[7].expand(10_000, 2)
    verdict = example["judge"](collapsed, mixture)
    assert (verdict.modes, verdict.share) == (1, 1.0)
    verdict = example["judge"](collapsed + 1.0, mixture)
    assert (verdict.modes, verdict.share) == (0, 0.0)
    verdict = example["judge"](torch.full((10_000, 2), math.nan), mixture)
    assert (verdict.modes, verdict.share) == (0, 0.0)


def test_a_tenth_of_the_fair_share_makes_a_mode(example: dict[str, Any]) -> None:
    """Of 10,000 samples a mode of the grid needs 40 within 3 sigma; one with 39, or with more just outside, is lost."""
    mixture = example["grid"]()
    first, second, third = mixture.centres[:3]
    outside = second + torch.tensor([0.0, 3.01 * mixture.sigma])
    for counts, modes in (((9_920, 40, 40), 3), ((9_921, 40, 39), 2)):
        parts = zip((first, second, third), counts, strict=True)
        samples = torch.cat([centre.expand(count, 2) for centre, count in parts])
        assert example["judge"](samples, mixture).modes == modes
    samples = torch.cat([first.expand(5_000, 2), outside.expand(5_000, 2)])
    verdict = example["judge"](samples, mixture)
    assert (verdict.modes, verdict.of, verdict.share) == (1, 25, 0.5)


def test_train_prints_and_leaves_what_it_promises(tmp_path: Path) -> None:
    """From the command line: a row a seed, printed and in a CSV file, the sum of them, and a picture."""
    words = ["train", "--data", "ring", "--iterations", "3", "--batch-size", "32", "--seeds", "0", "1", "--out"]
    done = subprocess.run(
        [sys.executable, "examples/gaussians.py", *words, tmp_path],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in ("modes", "all modes found: 0 of 2 seeds", "real samples: 98.9%", f"{tmp_path}: samples.png"):
        assert text in done.stdout
    table = [(row["loss"], row["penalty"], row["seed"], row["of"], row["iterations"]) for row in results(tmp_path)]
    assert table == [("relativistic", "r1,r2", "0", "8", "3"), ("relativistic", "r1,r2", "1", "8", "3")]
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 1.5 * picture.height


def test_a_seed_gives_the_same_samples_again(example: dict[str, Any]) -> None:
    """Two trainings of one seed and one number of iterations agree bit for bit; another seed's samples differ."""
    one, again, other = (
        example["learn"](example["grid"](), "hinge", "wgan-gp", seed, 32, 4e-3, iterations=5).samples
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_minutes_limit_a_training(run: Callable[..., str], tmp_path: Path) -> None:
    """Given minutes, a training takes about that long and says how many iterations that were."""
    run("train", "--minutes", 0.01, "--batch-size", 16, "--out", tmp_path)
    (row,) = results(tmp_path)
    assert 0.6 <= float(row["seconds"]) < 10
    assert int(row["iterations"]) > 0


def test_compare_draws_every_combination(run: Callable[..., str], tmp_path: Path) -> None:
    """All losses with all penalties, as a row each of the table and as one picture."""
    printed = run("compare", "--data", "grid", "--iterations", 2, "--batch-size", 16, "--out", tmp_path / "all.png")
    assert f"the image is {tmp_path / 'all.png'}" in printed
    table = rows(tmp_path / "all.csv")
    cells = {(row["loss"], row["penalty"]) for row in table}
    assert len(table) == len(cells) == 7 * 7
    assert {loss for loss, _ in cells} == {
        "minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic", "relativistic-average"
    }  # fmt: skip
    assert {penalty for _, penalty in cells} == {"none", "r1", "r2", "r1,r2", "wgan-gp", "dragan", "lecam"}
    assert {(row["iterations"], row["of"], row["seed"]) for row in table} == {("2", "25", "0")}
    with Image.open(tmp_path / "all.png") as picture:
        assert min(picture.size) > 1000


def test_a_training_that_diverges_is_a_result(run: Callable[..., str], tmp_path: Path) -> None:
    """At an absurd learning rate the logits overflow: that is said, and counts as no mode found."""
    words = ["--loss", "least-squares", "--penalty", "none", "--lr", "1e12", "--iterations", 60]
    assert "least-squares with none: training diverged" in run("train", *words, "--out", tmp_path)
    assert [(row["modes"], row["share_within_3_sigma"]) for row in results(tmp_path)] == [("0", "0.0000")]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("train --loss hing", "--loss (=hing) must be one of minimax, non-saturating"),
        ("train --penalty r3", "--penalty (=r3) must be none, or some of r1, r2"),
        ("train --penalty r1,r1", "--penalty (=r1,r1)"),
        ("compare --penalties r1 nothing", "--penalty (=nothing)"),
        ("compare --losses hinge gan", "--loss (=gan)"),
    ],
)
def test_a_wrong_word_is_answered(run: Callable[..., str], words: str, answer: str, tmp_path: Path) -> None:
    """What is wrong, and what there is, as an error of ganlib's, which the script shows without a traceback."""
    with pytest.raises(GanlibError) as error:
        run(*words.split(), "--out", tmp_path / "x.png")
    assert answer in str(error.value)
    assert not list(tmp_path.iterdir()), "a wrong word leaves nothing behind"


@pytest.mark.parametrize("name", ["x.xyz", "plot", "x.psd"])
def test_an_image_that_cannot_be_written_is_answered_before_the_trainings(
    run: Callable[..., str], name: str, tmp_path: Path
) -> None:
    """Not after all of them."""
    with pytest.raises(GanlibError, match=r"--out \(=.*\) must end in \.png"):
        run("compare", "--iterations", 1, "--losses", "hinge", "--penalties", "none", "--out", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_data_set_is_answered(run: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    """The names that there are stand in the answer."""
    with pytest.raises(SystemExit):
        run("train", "--data", "spiral")
    answer = capsys.readouterr().err
    assert all(name in answer for name in ("spiral", "ring", "grid"))

"""Tests of the trainings that fail, on rendered digits and for a few iterations."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import failures
from ganlib import losses, metrics

OPTIONS = ["--data", "digits", "--device", "cpu", "--iterations", "2", "--samples", "20"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with four cases; one of them diverges, and the third fails at once."""
    folder = tmp_path_factory.mktemp("failures")
    broken = replace(failures.CASES["working"], loss=lambda: 1 / 0)
    diverging = replace(failures.CASES["few_images"], images=70, lr=(math.inf, math.inf), longer=1)
    cases = {**failures.CASES, "broken": broken, "diverging": diverging, "few": replace(diverging, lr=(1e-3, 1e-3))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "RENDERED", (200, 70))
        patch.setattr(failures, "CASES", cases)
        failures.main([*OPTIONS, "--out", str(folder), "--cases", "working", "broken", "diverging", "few"])
    return folder


def rows(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the summary, by case."""
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_a_case_that_fails_is_recorded_and_the_others_are_trained(results: Path) -> None:
    """The error is in its row; the case after it has all measures."""
    found = rows(results)
    assert list(found) == ["real", "working", "broken", "diverging", "few"]
    assert "ZeroDivisionError" in found["broken"]["error"]
    assert not found["diverging"]["spread"]  # its samples are not finite
    assert found["working"]["error"] == found["few"]["error"] == ""
    for case in ("working", "few"):
        assert found[case]["iterations"] == "2"
        assert float(found[case]["spread"]) > 0
    assert found["few"]["memorization"]
    assert float(found["real"]["coverage"]) > float(found["working"]["coverage"])


def test_a_figure_is_drawn_from_the_results(results: Path, tmp_path: Path) -> None:
    """Samples, nearest neighbors and curves are read from the folder of a case."""
    runs = {name: results / f"{name}-0" for name in ("working", "few")}
    failures.draw_figure(failures.Figure(dict.fromkeys(runs, "title")), runs, tmp_path / "x.png")
    failures.draw_figure(failures.Figure({"few": "title"}, (), nearest=True), {"few": runs["few"]}, tmp_path / "y.png")
    failures.draw_figure(failures.Figure({"few@2": "title"}, ()), {"few@2": runs["few"]}, tmp_path / "z.png")
    assert min(path.stat().st_size for path in tmp_path.glob("*.png")) > 2000


def test_all_cases_make_a_trainer() -> None:
    """Networks, optimizers and losses of each case fit together."""
    for case in failures.CASES.values():
        failures.make_trainer(case, case.networks())


def test_the_figures_name_cases_that_exist() -> None:
    """No figure waits for a case that is not trained."""
    assert {
        case.partition("@")[0] for figure in failures.FIGURES.values() for case in figure.cases
    } <= failures.CASES.keys()


def test_checkerboard_and_spread_have_closed_forms() -> None:
    """A board of -1 and 1 has a checkerboard of 2; a smooth ramp has 0, and equal samples have no spread."""
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    board = 1 - 2 * ((rows + columns) % 2)
    assert failures.checkerboard(board.expand(3, 1, 28, 28)) == pytest.approx(2)
    assert failures.checkerboard((rows + columns).expand(3, 1, 28, 28)) == pytest.approx(0)
    measure = failures.Measure(metrics.DigitClassifier.pretrained(), torch.rand(20, 1, 28, 28) * 2 - 1)
    assert measure.quick(board.expand(20, 1, 28, 28))["spread"] == 0


def test_fixed_latents_are_the_same_in_each_call() -> None:
    """That is the mistake: a trainer accepts them as a distribution."""
    first, second = (failures.fixed_latents(4, device=torch.device("cpu")) for _ in range(2))
    assert first.equal(second)
    assert failures.fixed_latents(4).equal(first)
    assert first.shape == (4, failures.LATENT.dim)


def test_real_data_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """MNIST is not downloaded."""
    with pytest.raises(SystemExit):
        failures.main(["--out", "x"])
    assert "--root" in capsys.readouterr().err


def test_the_list_says_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each case."""
    failures.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(failures.CASES)
    assert all(": " in line for line in lines)


def test_each_mistake_is_a_change_of_the_working_case() -> None:
    """All cases but the working one differ from it, each in its own way."""
    changes: dict[str, Any] = {name: case.change for name, case in failures.CASES.items()}
    assert len(set(changes.values())) == len(changes)
    assert isinstance(failures.CASES["working"].loss(), losses.NonSaturatingLoss)

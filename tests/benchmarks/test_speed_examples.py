"""The example scripts, timed while they run."""

import csv
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed import __main__ as speed
from benchmarks.speed import parts
from benchmarks.speed.example_runs import EXAMPLES, examples


def bench(device: str, rounds: int, seconds: float, iterations: int | None) -> parts.Bench:
    """The stopwatch of both tests."""
    return parts.Bench(torch.device(device), rounds, seconds, iterations)


@pytest.fixture(autouse=True)
def no_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peaks of the machine, which take seconds, are in no row here."""
    monkeypatch.setattr(parts, "peak", lambda *_, **__: 1.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gaussians", []),
        ("mnist_mlp_gan", []),
        ("cifar10_dcgan", ["--width", "4"]),
        *(
            pytest.param(name, options, marks=pytest.mark.slow)
            for name, options in (
                ("mnist_cdcgan", ["--width", "4"]),
                ("deceptive64", ["--width", "4", "--batch-size", "4"]),
                ("cgan", []),
                ("modern", ["--width", "4"]),
                ("pix2pix", ["--batch-size", "2"]),
                ("cyclegan", ["--batch-size", "2"]),
            )
        ),
    ],
)
def test_a_script_is_timed_while_it_runs(name: str, options: list[str]) -> None:
    """Images per second are those between two iterations; its own step, and the fast one of its workload, are there."""
    (row,) = examples(bench("cpu", 1, 0.0, 1), [name], 1, 3, options)
    assert row["example"] == name
    assert row["images/s"] == pytest.approx(row["batch"] / row["ms"] * 1e3)
    assert row["of bare"] == pytest.approx(row["bare ms"] / row["ms"])
    if EXAMPLES[name].workload is None:
        assert row["of fast"] == ""
    else:
        assert row["of fast"] == pytest.approx(row["fast ms"] / row["ms"])
    assert row["warnings"] == ""


def test_a_script_that_fails_says_why() -> None:
    """What a script ends with is not swallowed."""
    with pytest.raises(SystemExit, match=r"--loss \(=nothing\)"):
        list(examples(bench("cpu", 1, 0.0, 1), ["gaussians"], 1, 2, ["--loss", "nothing"]))


def test_the_command_writes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m benchmarks.speed examples`` writes a row for each example that was asked for."""
    words = ["examples", "--examples", "gaussians", "--between", 1, 2, "--rounds", 1, "--iterations", 1]
    monkeypatch.setattr(sys, "argv", ["speed", *map(str, words), "--device", "cpu", "--out", str(tmp_path)])
    speed.main()
    with (tmp_path / "examples.csv").open() as file:
        assert [row["example"] for row in csv.DictReader(file)] == ["gaussians"]


@pytest.mark.parametrize("between", [("0", "5"), ("5", "5")])
def test_two_iterations_in_order_are_asked_for(
    between: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock starts after an iteration and stops after a later one."""
    monkeypatch.setattr(sys, "argv", ["speed", "examples", "--between", *between])
    with pytest.raises(SystemExit):
        speed.main()
    assert f"--between (={' '.join(between)})" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("name", EXAMPLES)
def test_on_cuda_an_example_by_default_is_as_fast_as_the_benchmark(name: str) -> None:
    """With loader, callbacks and progress bar it reaches 0.9 of the fast step; where there is none, of its own step."""
    (row,) = examples(bench("cuda", 5, 0.5, None), [name], 200, 1200)
    assert row["warnings"] == ""  # such as why a step was not recorded
    assert row["of bare" if row["of fast"] == "" else "of fast"] >= 0.9

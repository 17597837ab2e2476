"""The stopwatches of the speed benchmark."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.speed import __main__ as speed
from benchmarks.speed import parts
from benchmarks.speed.timing import Timed, flops, in_turns, peak, warm_up

CPU = torch.device("cpu")


def test_medians_spreads_and_ratios() -> None:
    """The median of the turns, half of their quartiles' distance, and ratios turn by turn."""
    own, other = Timed([2.0, 4.0, 6.0, 8.0, 30.0]), Timed([1.0, 2.0, 3.0, 4.0, 10.0])
    assert (own.seconds, own.spread) == (6.0, pytest.approx(2 / 6))
    assert own.over(other) == (2.0, 0.0)


def test_runs_take_turns() -> None:
    """Every round each run takes its iterations once, and neither is always the first."""
    seen: list[tuple[str, int]] = []
    runs = {name: lambda n, name=name: seen.append((name, n)) for name in "ab"}  # type: ignore[misc]
    timed = in_turns(runs, CPU, iterations=3, rounds=2)
    assert seen == [("a", 3), ("b", 3), ("b", 3), ("a", 3)]
    assert {name: len(one.turns) for name, one in timed.items()} == {"a": 2, "b": 2}
    assert warm_up(lambda n: None, CPU) >= 0


def test_operations_are_counted() -> None:
    """A layer of 3 times 5 weights takes 2 * 3 * 5 operations a sample, and twice as many again backwards."""
    layer = nn.Linear(3, 5)
    x = torch.zeros(7, 3, requires_grad=True)
    assert flops(lambda n: layer(x).sum().backward()) == 3 * 7 * 2 * 3 * 5


def test_the_peak_is_that_of_a_machine() -> None:
    """More than a hundred million operations a second, and nothing is left changed."""
    before = torch.get_float32_matmul_precision()
    assert peak(CPU, torch.float32, tf32=True) > 1e8
    assert torch.get_float32_matmul_precision() == before


def test_the_command_writes_a_table_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``python -m benchmarks.speed`` prints what it times, and writes loops.csv with all five columns of loops."""
    words = ["loops", "--workloads", "system2", "--device", "cpu", "--iterations", 2, "--rounds", 2, "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["speed", *map(str, words)])
    speed.main()
    with (tmp_path / "loops.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["original", "by hand", "by hand again", "ganlib", "ganlib fast"]
    assert all(float(row["images/s"]) > 0 and 0 < float(row["of peak"]) < 1 for row in rows)
    assert "GFLOP/s" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cdcgan28", "system3", "system4"])
def test_on_cuda_the_trainer_costs_nothing_and_its_fast_settings_much_less(name: str) -> None:
    """ganlib is within 3 % of the step by hand, beyond that step's own spread, and fast at least 5 x the original."""
    bench = parts.Bench(torch.device("cuda"), rounds=9, seconds=1.0, iterations=None)
    rows = {row["run"]: row for row in parts.loops(bench, [name])}
    again = rows["by hand again"]
    assert rows["ganlib"]["time / by hand"] <= 1.03 + abs(again["time / by hand"] - 1) + again["±"]
    if name != "cdcgan28":
        assert rows["ganlib fast"]["x original"] >= 5

"""What bounds a step: bytes that it moves, kernels that it launches."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.speed import __main__ as speed
from benchmarks.speed import parts
from benchmarks.speed.kernels import Kernel, kernels, table
from benchmarks.speed.timing import bandwidth, moved

CPU = torch.device("cpu")
X, Y = torch.zeros(10, 10), torch.zeros(10, 10)
SIZE = X.nbytes


def repeated(function: Any) -> Any:
    """A training of so many calls."""

    def run(iterations: int) -> None:
        for _ in range(iterations):
            function()

    return run


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda: X + Y, 3),
        (lambda: X.add_(Y), 3),
        (lambda: X.copy_(Y), 2),
        (lambda: X.zero_(), 1),
        (lambda: X.t().reshape(5, 20), 2),  # which copies
        (lambda: X.view(5, 20)[1:].detach(), 0),
        (lambda: torch.empty(100, 100), 0),
        (lambda: torch.ones(10, 1).expand(10, 10) + X, 2.2),  # made, read, and a sum
        (lambda: torch.add(X, Y, out=Y), 3),
    ],
)
def test_what_an_operation_reads_and_writes_is_counted(function: Any, tensors: float) -> None:
    """Inputs and outputs count once, what is changed in place twice, what is overwritten once, views nothing."""
    assert moved(repeated(function)) == pytest.approx(tensors * SIZE)


def test_backward_passes_and_fused_optimizers_are_counted() -> None:
    """A scalar weight times 100 numbers, and its update by a fused Adam, which reads five tensors and writes four."""
    weight = nn.Parameter(torch.zeros(100))
    optimizer = torch.optim.Adam([weight], fused=True)
    weight.grad = torch.zeros(100)
    optimizer.step()
    step = 4
    one = moved(repeated(optimizer.step))
    assert one == 7 * weight.nbytes + 3 * step  # the step's count is read, and added to in a call of its own


def test_only_what_an_iteration_adds_is_counted() -> None:
    """What a call does once, such as the checks of ``fit``, is not of an iteration."""

    def run(iterations: int) -> None:
        X.add_(Y).add_(Y)
        for _ in range(iterations):
            X.add_(Y)

    assert moved(run) == 3 * SIZE


def test_the_bandwidth_is_that_of_a_machine() -> None:
    """More than a hundred million bytes a second."""
    assert bandwidth(CPU) > 1e8


def test_kernels_are_listed_by_their_cost() -> None:
    """The costliest first, with the calls of an iteration; the table has so many lines, and shares of all."""
    big = torch.zeros(300, 300)

    def step() -> Tensor:
        return big @ big + torch.ones(1)

    found = kernels(repeated(step), CPU, 4)
    assert found[0].name == "aten::mm"
    assert found[0].calls == 1
    assert [kernel.seconds for kernel in found] == sorted((kernel.seconds for kernel in found), reverse=True)
    lines = table([Kernel("a", 3e-6, 2), Kernel("b", 1e-6, 1)], count=1).splitlines()
    assert [line.split() for line in lines] == [["75.0%", "3.0", "us", "2.0", "x", "a"]]
    assert table([]) == ""


def test_the_command_writes_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m benchmarks.speed bounds``: workloads at their own size, then wide ones, and their kernels."""
    words = ["bounds", "--workloads", "system2", "--bound-widths", 4, "--bound-batches", 4, 8, "--no-compile"]
    words += ["--rounds", 1, "--iterations", 1, "--device", "cpu", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["speed", *map(str, words)])
    monkeypatch.setattr(parts, "peak", lambda *_, **__: 1e11)
    speed.main()
    with (tmp_path / "bounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    cases = [(row["workload"], row["width"], row["batch"], row["run"]) for row in rows]
    assert cases == [
        ("system2", "32", "20", "single launches"),
        ("cdcgan28", "4", "4", "single launches"),
        ("cdcgan28", "4", "8", "single launches"),
    ]
    assert all(float(row["of peak"]) > 0 and float(row["of bandwidth"]) > 0 for row in rows)
    assert "cdcgan28, width 4, batch 8, single launches\n" in (tmp_path / "kernels.txt").read_text()


@pytest.mark.gpu
def test_on_cuda_a_graph_and_its_kernels_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of launching are timed, and the share of the time in which a kernel runs is above 0."""
    words = ["bounds", "--workloads", "system2", "--bound-widths", "--no-compile", "--rounds", 3, "--seconds", 0.2]
    monkeypatch.setattr(sys, "argv", ["speed", *map(str, words), "--device", "cuda", "--out", str(tmp_path)])
    speed.main()
    with (tmp_path / "bounds.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert 0 < float(rows["single launches"]["busy"]) < float(rows["graph"]["busy"]) <= 1.1

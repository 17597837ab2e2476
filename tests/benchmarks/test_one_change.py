"""Tests of the way from DCGAN to today, on a few stacked digits."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import frontier, one_change
from tests.examples.scripts import write_mnist


@pytest.mark.parametrize("task", frontier.TASKS)
def test_all_steps_make_networks_for_all_tasks(task: str) -> None:
    """Before hours of training: the last step fails for no size."""
    shape = torch.Size((1 if task == "mnist" else 3, frontier.TASKS[task].size, frontier.TASKS[task].size))
    for step in one_change.steps().values():
        generator, discriminator = one_change.make_networks(step, shape)
        assert discriminator(generator(torch.randn(2, one_change.LATENT_DIM))).shape == (2, 1)


def test_each_step_keeps_the_changes_before_it() -> None:
    """No two steps are the same, and no change is taken back: what a step sets differs from the first step on."""
    steps = [*one_change.steps().values()]
    first, changed = vars(steps[0]), set[str]()
    for before, step in itertools.pairwise(steps):
        now = {name for name, value in vars(step).items() if value != first[name]}
        assert changed <= now
        assert step != before
        changed = now


def test_steps_are_trained_measured_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first and the last step but one, for half a second."""
    root = write_mnist(tmp_path / "data", 80)
    monkeypatch.syspath_prepend(frontier.EXAMPLES)
    monkeypatch.setitem(frontier.TASKS, "stacked-mnist", frontier.Task("stacked-mnist", 28, ("modes", "fid"), 30, ()))
    names = ["DCGAN", "schedules of the penalties and of beta2"]
    words = ["--root", root, "--minutes", "0.01", "--out", tmp_path, "--steps", *names]
    monkeypatch.setattr(sys, "argv", ["one_change", *map(str, words)])
    one_change.main()
    rows = frontier.read(tmp_path / "stacked-mnist.csv")
    assert list(rows) == names
    for runs in rows.values():
        ((row,),) = runs.values()
        assert row["iteration"] >= 1
        assert row["modes_found"] >= 1
    capsys.readouterr()
    one_change.main()
    assert frontier.read(tmp_path / "stacked-mnist.csv") == rows
    assert not capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--minutes", "0.02"])
    with pytest.raises(SystemExit, match=r"--minutes \(=0.02\) differs from 0.01"):
        one_change.main()

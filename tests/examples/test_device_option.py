"""``--device`` of the examples, the games and the command line: the default is what is there, and no other is taken."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.examples.scripts import ROOT, load_script

SCRIPTS = ("example", "gaussians", "games", "python -m ganlib evaluate")


def parsed(name: str, *words: str) -> str:
    """The device that a command line names."""
    if name == "games":
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(ROOT / "examples/games")
            patch.setattr(sys, "argv", ["game", *words])
            flags = load_script("games/_flags")["parse_flags"]("A game.", iterations=1, batch_size=1, out="run")
        return str(flags.device)
    parser = argparse.ArgumentParser()
    if name == "example":
        load_script("_command_line")["add_train_options"](parser, out="run", data="digits")
    elif name == "gaussians":
        load_script("gaussians")["add_common_options"](parser, iterations=1)
    else:
        load_script("_command_line")["add_device"](parser)
    return str(parser.parse_args(words).device)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None, int], None]:
    """Pretend that torch finds an accelerator, so many times, or none."""

    def pretend(kind: str | None, count: int) -> None:
        device: Any = None if kind is None else torch.device(kind)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: device)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)

    return pretend


every_script = pytest.mark.parametrize("name", SCRIPTS)


@every_script
def test_the_default_is_the_accelerator_that_is_there(name: str, machine: Callable[[str | None, int], None]) -> None:
    """CUDA, MPS or XPU, else the CPU; also where torch was built for CUDA, and there is no such device."""
    for kind, count, expected in (("cuda", 2, "cuda"), ("mps", 1, "mps"), ("xpu", 1, "xpu"), (None, 0, "cpu")):
        machine(kind, count)
        assert parsed(name) == expected
    machine("cuda", 0)
    assert parsed(name) == "cpu"


@every_script
def test_what_is_there_is_taken(name: str, machine: Callable[[str | None, int], None]) -> None:
    """By its kind or its index, and the CPU always."""
    machine("cuda", 2)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert parsed(name, "--device", device) == device
    machine("mps", 1)
    for device in ("cpu", "mps", "mps:0"):
        assert parsed(name, "--device", device) == device


@every_script
@pytest.mark.parametrize(
    ("kind", "count", "device", "error"),
    [
        ("cuda", 2, "cuda:2", "'cuda:2' is not there: torch finds cpu, cuda:0, cuda:1"),
        ("cuda", 1, "mps", "'mps' is not there: torch finds cpu, cuda:0"),
        ("mps", 1, "cuda", "'cuda' is not there: torch finds cpu, mps:0"),
        ("cuda", 0, "cuda", "'cuda' is not there: torch finds cpu"),
        (None, 0, "xpu", "'xpu' is not there: torch finds cpu"),
        (None, 0, "meta", "'meta' is not there: torch finds cpu"),
        (None, 0, "gpu", "'gpu' is not a device such as cpu, cuda, cuda:1, mps or xpu"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    name: str,
    kind: str | None,
    count: int,
    device: str,
    error: str,
    machine: Callable[[str | None, int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At once, in one line."""
    machine(kind, count)
    with pytest.raises(SystemExit):
        parsed(name, "--device", device)
    assert capsys.readouterr().err.rstrip().endswith(error)


@every_script
def test_the_help_names_the_devices(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that ganlib is written for."""
    with pytest.raises(SystemExit):
        parsed(name, "--help")
    assert "cpu, cuda, cuda:1, mps or xpu" in " ".join(capsys.readouterr().out.split())

"""Every number that a script takes is refused where it cannot be, in one line, before anything is read or written."""

import argparse
import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ganlib._cli import main as ganlib_main
from tests.examples.scripts import ROOT, load_script

GAMES = sorted(path.stem for path in (ROOT / "examples/games").glob("[!_]*.py"))
SCRIPTS = sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))

# By the name of the reader: what it refuses, and what it takes.
FRACTIONS = ["-1", "nan", "inf", "-inf", "x", "", "1,5"]
WHOLES = ["-1", "1.5", "1e3", "nan", "x", "", "+1", "1_0", "٣", str(2**70)]
READERS = {
    "whole": (["0", *WHOLES], "7"),
    "label": (WHOLES, "0"),
    "seed": ([*WHOLES, str(2**64)], str(2**64 - 1)),
    "above_zero": (["0", "-0.0", *FRACTIONS], "0.5"),
    "from_zero": (FRACTIONS, "0"),
    "weight": (FRACTIONS, "0"),
}


class Parser(NamedTuple):
    """A command line, and the words without which it says that one is missing."""

    name: str
    parser: argparse.ArgumentParser
    words: list[str]


class Made(Exception):  # noqa: N818  # it is no error
    """Ends a script where it has made its parser."""


def parser_of(run: Any) -> argparse.ArgumentParser:
    """The parser with which a script would read the command line."""
    made = list[argparse.ArgumentParser]()

    def take(parser: argparse.ArgumentParser, *_: Any) -> None:
        made.append(parser)
        raise Made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", take)
        with pytest.raises(Made):
            run()
    return made[0]


def parsers() -> list[Parser]:
    """All command lines of the examples, the games and ``python -m ganlib``."""
    found = []
    for name in SCRIPTS:
        found += commands(name, parser_of(partial(load_script(name)["main"], [])))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples/games")
        for name in GAMES:
            found.append(Parser(name, parser_of(load_script(f"games/{name}")["main"]), []))
    found += commands("ganlib", parser_of(partial(ganlib_main, [])))
    found.append(Parser("ganlib evaluate", parser_of(partial(ganlib_main, ["evaluate"])), ["RUN"]))
    return found


def commands(name: str, parser: argparse.ArgumentParser) -> list[Parser]:
    """The command lines of the subcommands."""
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    needed = {"digits": ["--number", "1"], "draw": ["1"]}
    return [Parser(f"{name} {command}", choices[command], needed.get(command, [])) for command in choices]


PARSERS = parsers()
every_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


def reader(action: argparse.Action) -> str | None:
    """The name of the function that reads a number."""
    function = action.type.func if isinstance(action.type, partial) else action.type
    name = getattr(function, "__name__", "")
    return name if name in READERS else None


def test_all_scripts_are_here() -> None:
    """The games and the scripts are many, and most command lines take numbers."""
    assert len(GAMES) >= 8
    assert len(SCRIPTS) >= 5
    assert sum(any(reader(action) for action in parser.parser._actions) for parser in PARSERS) >= 20


@every_parser
def test_each_number_is_refused_where_it_cannot_be(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    """The option and the value are named in the last line, above which is the usage, and the status is 2."""
    for action in parser.parser._actions:
        assert action.type not in (int, float), f"{parser.name} {action.dest} takes any number"
        name = reader(action)
        if name is None:
            continue
        refused, taken = READERS[name]
        for option in action.option_strings:
            parser.parser.parse_args([*parser.words, option, taken])
            for value in refused:
                # With nargs="+" a value that begins with a dash would be another option if one looked like a number.
                words = [option, value] if action.nargs else [f"{option}={value}"]
                with pytest.raises(SystemExit) as caught:
                    parser.parser.parse_args([*parser.words, *words])
                assert caught.value.code == 2
                *usage, line = capsys.readouterr().err.splitlines()
                assert usage[0].startswith("usage: ")
                assert f"argument {'/'.join(action.option_strings)}: {value} must be a" in line


@every_parser
def test_a_default_is_a_number_that_is_taken(parser: Parser) -> None:
    """What the help calls the default can be written on the command line."""
    for action in parser.parser._actions:
        if reader(action) and action.default is not None:
            default = action.default if isinstance(action.default, list) else [action.default]
            parser.parser.parse_args([*parser.words, action.option_strings[0], *map(str, default)])


def call(name: str, *words: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a script that must fail with status 2; returns the one line that it shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        patch.syspath_prepend(ROOT / "examples/games")
        script = load_script(name)
        with pytest.raises(SystemExit) as caught:
            script["run" if "/" in name else "run_main"](script["main"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


SAMPLERS = [parser.name.split() for parser in PARSERS if any(a.dest == "run" for a in parser.parser._actions)]
SAMPLERS = [words for words in SAMPLERS if words[0] in SCRIPTS]


@pytest.mark.parametrize(("name", "command"), SAMPLERS)
@pytest.mark.parametrize("kind", ["nothing", "a file", "an empty folder"])
def test_a_run_that_is_not_there(
    name: str, command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder that is missing, or a file, or holds no generator, the line says so and what to give."""
    run = tmp_path / "run"
    if kind != "nothing":
        (Path.touch if kind == "a file" else Path.mkdir)(run)
    needed = ["--number", "1"] if command == "digits" else []
    line = call(name, command, "--run", run, *needed, "--out", tmp_path / "x.png", capsys=capsys)
    words = {"nothing": "is not there", "a file": "is a file", "an empty folder": "holds no generator.safetensors"}
    assert f"--run (={run}) {words[kind]}" in line
    assert not (tmp_path / "x.png").exists()


def test_a_batch_too_small_for_a_game(capsys: pytest.CaptureFixture[str]) -> None:
    """Batch norm after a linear layer needs two samples; the other games train with one."""
    (infogan,) = [parser.parser for parser in PARSERS if parser.name == "infogan"]
    with pytest.raises(SystemExit, match="2"):
        infogan.parse_args(["--batch-size", "1"])
    assert "--batch-size: 1 must be a whole number of at least 2" in capsys.readouterr().err


def test_an_error_of_a_game_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More samples in a batch than there are end with status 2, without a traceback."""
    words = ("--batch-size", 10**6, "--device", "cpu", "--out", tmp_path / "run")
    line = call("games/waveforms", *words, capsys=capsys)
    assert line.startswith("waveforms.py: ")
    assert "1000000" in line


def test_each_script_ends_with_the_runner_that_shows_errors() -> None:
    """A game calls ``run(main)`` and a script ``run_main(main)``."""
    for name in [*SCRIPTS, *(f"games/{name}" for name in GAMES)]:
        source = inspect.cleandoc((ROOT / f"examples/{name}.py").read_text())
        assert source.endswith("run(main)" if "/" in name else "run_main(main)")

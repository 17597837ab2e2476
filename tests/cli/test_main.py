"""Tests of the commands and their options."""

import sys
from pathlib import Path

import pytest

import ganlib
from ganlib._cli import main
from tests.cli.commands import call, files, refused

COMMANDS = ("draw", "demo", "train", "sample", "evaluate", "examples")


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, the help says what there is, with a command to copy for each, and nothing fails."""
    call()
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m ganlib")
    for command in COMMANDS:
        assert f"\n  python -m ganlib {command}" in printed
        assert f"\n    {command} " in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` of a command names its options and ends with status 0."""
    options = {
        "draw": ("NUMBER", "--run", "--seed", "--out", "mnist_cdcgan64"),
        "demo": ("--minutes", "--out"),
        "train": ("--data", "--iterations", "--resume", "--preset"),
        "sample": ("--run", "--labels", "--count", "--seed", "--out", "mnist_cdcgan64"),
        "evaluate": ("RUN", "--data", "--root", "--metrics", "--features", "--weights", "--n", "--seed", "--out"),
        "examples": ("DIR",),
    }[command]
    with pytest.raises(SystemExit) as caught:
        call(command, "--help")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert [option for option in options if option not in printed] == []


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` is that of the package."""
    with pytest.raises(SystemExit, match="0"):
        call("--version")
    assert capsys.readouterr().out == f"ganlib {ganlib.__version__}\n"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["paint"], "'paint'"),
        (["draw"], "NUMBER"),
        (["draw", "1", "--seed", "x"], "argument --seed: x must be a whole number"),
        (["draw", "1", "2"], "unrecognized arguments: 2"),
        (["demo", "--minutes", "few"], "argument --minutes: few must be a number above 0"),
        (["sample", "--labels"], "argument --labels"),
        (["sample", "--labels", "three"], "argument --labels: three must be a whole number"),
        (["sample", "--count", "1.5"], "argument --count: 1.5 must be a whole number of at least 1"),
        (["evaluate"], "RUN"),
        (["evaluate", "run", "--metrics", "ssim"], "argument --metrics: invalid choice: 'ssim'"),
        (["evaluate", "run", "--data", "mnst"], "argument --data: invalid choice: 'mnst'"),
        (["evaluate", "run", "--n", "0"], "argument --n: 0 must be a whole number of at least 1"),
        (["train", "--data", "mnst"], "--dataset: invalid choice: 'mnst'"),
        (["train", "--lr", "-1"], "argument --lr: -1 must be a number above 0"),
    ],
)
def test_a_wrong_word_ends_with_status_2(
    words: list[str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command line cannot be is told on stderr by the name of the option, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        call(*words)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert (printed.out, files(tmp_path)) == ("", [])
    assert answer in printed.err


def test_the_words_are_those_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without options, ``main`` reads ``sys.argv``, and leaves it as it was."""
    words = ["ganlib", "draw", "1", "--out", str(tmp_path / "one.png")]
    monkeypatch.setattr(sys, "argv", words)
    main()
    assert files(tmp_path) == ["one.png"]
    assert sys.argv is words


@pytest.mark.parametrize("words", [["draw", "1"], ["sample"]])
def test_an_error_of_the_system_is_a_line(words: list[str], tmp_path: Path) -> None:
    """An image that cannot be written, since a file is in the way of its folder, is told with its path."""
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in refused(*words, "--out", tmp_path / "file/x.png", status=1)
    assert files(tmp_path) == ["file"]

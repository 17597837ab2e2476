"""A training that is killed with SIGKILL again and again."""

import re

import pytest

from benchmarks import kill_and_resume


def killed(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the benchmark says at the end; it raises where a run is lost or ends otherwise."""
    kill_and_resume.main(["--kills", "4", "--iterations", "1000", "--span", "0.5", "--seed", "1", *words])
    return capsys.readouterr().out


def test_a_run_that_is_killed_ends_as_one_that_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Killed at random moments and resumed each time, no run is lost, and the end is the same, bit for bit."""
    assert re.search(r"4 kills up to iteration \d+ of 1000: 0 runs lost; .* bit for bit", killed(capsys=capsys))


@pytest.mark.gpu
def test_so_does_one_on_cuda_with_deterministic_algorithms(capsys: pytest.CaptureFixture[str]) -> None:
    """The same on CUDA, where torch is told to be deterministic."""
    assert "0 runs lost" in killed("--device", "cuda", capsys=capsys)

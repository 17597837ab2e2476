"""The games: each runs as a user runs it, learns, and ends the same where it was killed in the middle."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib import training
from tests.examples.scripts import ROOT, picture_size, run_script

GAMES = {"pix2pix": 3, "cyclegan": 6}  # and how many rows of 16 images its picture has
# The script, and how many iterations last long enough to be killed in.
SCRIPTS = {
    "pix2pix": ("examples/games/pix2pix.py", 30),
    "cyclegan": ("examples/games/cyclegan.py", 30),
    "plain": ("tests/examples/plain_gan.py", 300),
}

slow = pytest.mark.skipif(not os.environ.get("GANLIB_SLOW"), reason="takes minutes; GANLIB_SLOW=1 runs it")

# Runs a script in this process, which kills itself with SIGKILL once a checkpoint of some iteration is there.
KILLED = """
import os, runpy, signal, sys, threading, time
from pathlib import Path

checkpoint = Path(sys.argv[1])
sys.argv = sys.argv[2:]

def kill():
    while not checkpoint.exists():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)

sys.path[0] = str(Path(sys.argv[0]).parent)  # as if it had been started itself
threading.Thread(target=kill, daemon=True).start()
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def torchrun(*words: object) -> tuple[int, str]:
    """Run a script in two processes; returns its status, and what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    return done.returncode, done.stdout


def hashed(state: Any) -> Any:
    """The same nest with a hash of the bits of each tensor, so that equal means bit for bit."""
    if isinstance(state, torch.Tensor):
        bits = state.cpu().flatten().view(torch.uint8).numpy().tobytes()
        return f"{state.dtype} {tuple(state.shape)} {hashlib.sha256(bits).hexdigest()}"
    if isinstance(state, dict):
        return {name: hashed(value) for name, value in state.items()}
    return [hashed(value) for value in state] if isinstance(state, list | tuple) else state


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_one_short_file(game: str) -> None:
    """A reader sees the whole game on at most 100 lines; of other scripts it uses the command line alone."""
    source = (ROOT / f"examples/games/{game}.py").read_text()

    assert len(source.splitlines()) <= 100
    assert re.findall(r"^(?:from|import) (_\w+)", source, re.MULTILINE) == ["_flags"]


@pytest.mark.parametrize("game", GAMES)
def test_it_runs_and_leaves_a_picture(game: str, tmp_path: Path) -> None:
    """Three iterations from the command line leave a picture of translations, a table and a checkpoint."""
    run_script(f"games/{game}", "--iterations", 3, "--batch-size", 4, "--device", "cpu", "--out", tmp_path)

    assert picture_size(tmp_path / "translations.png") == (16 * 30 + 2, GAMES[game] * 30 + 2)
    assert (tmp_path / "metrics.csv").exists()
    assert training.Checkpoint(tmp_path).furthest() == 3


@slow
@pytest.mark.parametrize("game", SCRIPTS)
def test_killed_in_the_middle_it_ends_bit_for_bit_the_same(game: str, tmp_path: Path) -> None:
    """In two processes, in bf16, with accumulation: after SIGKILL and a resume the end is that of a whole run."""
    script, iterations = SCRIPTS[game]
    whole, killed, wrapper = tmp_path / "whole", tmp_path / "killed", tmp_path / "killed.py"
    wrapper.write_text(KILLED)
    every = iterations // 5
    words = ["--iterations", iterations, "--batch-size", 2, "--precision", "bf16", "--accumulate", 2]
    words += ["--checkpoint-every", every, *([] if game == "plain" else ["--device", "cpu"]), "--out"]

    status, printed = torchrun(script, *words, whole)
    assert status == 0, printed
    status, printed = torchrun(wrapper, killed / f"checkpoints/{every:08d}.pt", script, *words, killed)
    assert status != 0, printed
    assert every <= training.Checkpoint(killed).furthest() < iterations, printed
    status, printed = torchrun(script, *words, killed, "--resume")
    assert status == 0, printed

    states = [training.Checkpoint(folder).newest() for folder in (whole, killed)]
    expected, actual = (hashed(state["trainer"]) for state in states)
    assert len(expected["modules"]) >= 2
    assert expected == actual  # networks, pools, optimizers, metrics
    for file in ["metrics.csv"] if game == "plain" else ["metrics.csv", "translations.png"]:
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file


@slow
@pytest.mark.parametrize(("game", "iterations"), [("pix2pix", 1000), ("cyclegan", 1500)])
def test_it_learns(game: str, iterations: int, tmp_path: Path) -> None:
    """Translated outlines are less than half as far from their digits as the mean image is; CycleGAN sees no pair."""
    printed = run_script(f"games/{game}", "--iterations", iterations, "--device", "cpu", "--out", tmp_path)

    found = re.search(r"L1 .*: ([\d.]+) \(the mean image: ([\d.]+)\)", printed)
    assert found, printed
    assert float(found[1]) < float(found[2]) / 2

"""The games: each is a page, runs as a user runs it, learns, and keeps what the trainer promises for any game."""

import copy
import functools
import hashlib
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from benchmarks import translated_digits
from benchmarks.plain_game import PlainGame
from ganlib import data, models, training
from ganlib.data import RenderedDigits
from ganlib.errors import ArgumentValueError
from tests.examples.scripts import ROOT, Given, load_script, picture_size, run_script, taken
from tests.training.graph_on_cpu import capturable_on_cpu, stand_in


class Game(NamedTuple):
    """A row of the table.

    Args:
        picture: what it draws.
        size: of the picture, width and height; None where matplotlib draws it.
        saved: the shape of an input of each network that it saves.
        own: whether that is of a class of the game, so that only its code can rebuild it.
        iterations: enough to be killed in.
        period: after so many iterations all players have played.
    """

    picture: str
    size: tuple[int, int] | None
    saved: dict[str, tuple[int, ...]]
    own: bool = False
    iterations: int = 30
    period: int = 1


def grid(columns: int, rows: int, size: int = 28, scale: int = 2) -> tuple[int, int]:
    """The size of a grid of images, with its borders; an image has 56 pixels or more a side."""
    return (columns * (size + 2) + 2) * scale, (rows * (size + 2) + 2) * scale


DIGIT = (1, 28, 28)
GAMES = {
    "bigan": Game("bigan.png", grid(16, 8), {"encoder": DIGIT, "generator": (16,)}, period=8),
    "cyclegan": Game("translations.png", grid(16, 6), {"to_a": DIGIT, "to_b": DIGIT}),
    "infogan": Game("traversals.png", grid(10, 15), {"generator": (74,)}),
    "path_length": Game("path_length.png", grid(16, 8, 16, 4), {"generator": (16,)}, own=True, period=16),
    "pix2pix": Game("translations.png", grid(16, 3), {"generator": DIGIT}),
    "table": Game("table.png", None, {"generator": (64,)}),
    "vqgan": Game("reconstructions.png", grid(16, 3), {"autoencoder": DIGIT}, own=True),
    "waveforms": Game("waveforms.png", None, {"generator": (64,)}),
}

GAME_RUN = "tests/examples/game_run.py"

every_game = pytest.mark.parametrize("name", GAMES)


def test_every_game_is_in_the_table() -> None:
    """What is a file among the games is a row, so that a new one must keep all of this."""
    assert {path.stem for path in (ROOT / "examples/games").glob("[!_]*.py")} == GAMES.keys()


@every_game
def test_a_game_is_one_short_file(name: str) -> None:
    """A reader sees the whole game on at most 100 lines; of other scripts it uses the command line alone."""
    source = (ROOT / f"examples/games/{name}.py").read_text()

    assert len(source.splitlines()) <= 100
    assert re.findall(r"^(?:from|import) (_\w+)", source, re.MULTILINE) == ["_flags"]
    assert f"python examples/games/{name}.py" in source.split('"""')[1]


class Played(NamedTuple):
    """What a run in this process leaves: its trainer, and its newest checkpoint."""

    trainer: Any
    state: dict[str, Any]


@functools.cache
def drawn(size: int, index: int) -> tuple[Any, int]:
    """A digit."""
    return RenderedDigits(size, length=200)[index]


class FewDigits(RenderedDigits):
    """The first 200 again and again, since to draw digits takes longest."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Give one."""
        return drawn(self.size, index % 200)


def play(patch: pytest.MonkeyPatch, name: str, out: Path, *words: object, trainer: Any = None) -> Played:
    """Run a game in this process, on few digits, 2 of them a batch; perhaps with another trainer."""
    fit, made = training.fit, list[Any]()
    with patch.context() as inner:
        inner.setattr(data, "RenderedDigits", FewDigits)
        if trainer is not None:
            inner.setattr(training, "GameTrainer", trainer)
        inner.setattr(
            training, "fit", lambda trainer, *args, **words: (made.append(trainer), fit(trainer, *args, **words))
        )
        shared = ("--batch-size", 2, "--device", "cpu", "--out", out)
        inner.setattr(sys, "argv", [name, *map(str, (*shared, *words))])
        inner.syspath_prepend(ROOT / "examples/games")
        load_script(f"games/{name}")["main"]()
    state = training.Checkpoint(out).newest()
    assert state is not None
    return Played(made[0], state)


@every_game
def test_its_trainer_has_what_the_flags_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision, accumulation, and whether iterations are recorded: by default where that is fast."""
    monkeypatch.setattr(training, "fast_settings", lambda *_: {"precision": "tf32", "cuda_graph": "auto"})
    words = ("--precision", "bf16", "--accumulate", 3)
    for more, recorded in (((), "auto"), (("--cuda-graph", "no"), False)):
        with pytest.raises(Given) as given:
            play(monkeypatch, name, tmp_path, *words, *more, trainer=taken)
        wanted = {"precision": "bf16", "accumulate_grad_batches": 3, "cuda_graph": recorded}
        assert wanted.items() <= given.value.keywords.items()


@every_game
def test_it_runs_and_leaves_a_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three iterations leave a picture, a table of metrics and a checkpoint."""
    played = play(monkeypatch, name, tmp_path, "--iterations", 3)

    game = GAMES[name]
    assert picture_size(tmp_path / game.picture) == game.size or game.size is None
    assert (tmp_path / "metrics.csv").exists()
    assert played.state["trainer"]["iteration"] == 3


@every_game
def test_it_saves_what_it_learned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each network loads, by itself if it is of ganlib's parts, and gives the same; where it is, is printed at last."""
    saved, save = dict[str, nn.Module](), models.save_generator
    monkeypatch.setattr(
        models, "save_generator", lambda path, network: (saved.update({path.stem: network}), save(path, network))
    )
    play(monkeypatch, name, tmp_path, "--iterations", 3)

    game = GAMES[name]
    files = sorted([game.picture, "checkpoints", "metrics.csv", *(f"{part}.safetensors" for part in game.saved)])
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path} holds {', '.join(files)}"
    assert saved.keys() == game.saved.keys()
    for part, shape in game.saved.items():
        path, network, module = tmp_path / f"{part}.safetensors", saved[part].eval(), None
        if game.own:
            with pytest.raises(ArgumentValueError, match="module"):
                models.load_generator(path)
            module = copy.deepcopy(network)
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
        inputs = [torch.randn(4, *shape), *([torch.arange(4) % 3] if name == "table" else [])]
        with torch.no_grad():
            torch.testing.assert_close(models.load_generator(path, module)(*inputs), network(*inputs), rtol=0, atol=0)


@pytest.mark.slow
@every_game
def test_its_trainer_does_what_a_plain_loop_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three iterations all networks are those of a loop with ``backward`` and ``step``, within rounding."""
    words = ("--iterations", 3)
    ours = play(monkeypatch, name, tmp_path / "ours", *words).state["trainer"]["modules"]
    plain = play(monkeypatch, name, tmp_path / "plain", *words, trainer=PlainGame).state["trainer"]["modules"]

    torch.testing.assert_close(ours, {name: plain[name] for name in ours}, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@every_game
def test_its_iterations_can_be_recorded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA graphs, with the stand-in that replays kernels: most iterations of each kind are, and lose the same.

    Each recording is compared with an ordinary iteration by the trainer itself. What follows from it is compared here.
    """
    # With fewer samples batch norm at the top of a network would make much of rounding.
    words, period = ("--batch-size", 16, "--iterations"), GAMES[name].period
    ordinary = play(monkeypatch, name, tmp_path / "ordinary", *words, 8)
    with monkeypatch.context() as patch:
        stand_in(patch)
        capturable_on_cpu(patch)
        for check in ("_classes.check_classes", "_vectors.check_floats"):  # they read values on the CPU alone
            patch.setattr(f"ganlib.conditioning.{check}", lambda *_, **__: None)
        recorded = play(monkeypatch, name, tmp_path / "recorded", *words, 8, "--cuda-graph", "yes")
        if period > 1:  # three ordinary iterations of each kind, and then the recorded ones
            longer = play(monkeypatch, name, tmp_path / "longer", *words, 5 * period, "--cuda-graph", "yes")
            assert longer.trainer.recorded_iterations >= 2 * period

    assert recorded.trainer.recorded_iterations >= 3
    # Not the weights: a bias before a batch norm has a gradient of nothing but rounding, which Adam makes a step of.
    metrics = (played.state["trainer"]["metrics"] for played in (recorded, ordinary))
    torch.testing.assert_close(*metrics, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@every_game
def test_on_cuda_it_is_recorded_by_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, in float32 and in bf16."""
    for precision in ("fp32", "bf16"):
        words = ("--iterations", 6 * GAMES[name].period, "--precision", precision, "--device", "cuda")
        played = play(monkeypatch, name, tmp_path / precision, *words)
        assert played.trainer.recorded_iterations >= 2 * GAMES[name].period


def torchrun(*words: object) -> tuple[int, str]:
    """Run a script in two processes; returns its status, and what it printed, errors included."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}/src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    return done.returncode, done.stdout


def hashed(state: Any) -> Any:
    """The same nest with a hash of the bits of each tensor, so that equal means bit for bit."""
    if isinstance(state, Tensor):
        bits = state.cpu().flatten().view(torch.uint8).numpy().tobytes()
        return f"{state.dtype} {tuple(state.shape)} {hashlib.sha256(bits).hexdigest()}"
    if isinstance(state, dict):
        return {name: hashed(value) for name, value in state.items()}
    return [hashed(value) for value in state] if isinstance(state, list | tuple) else state


@pytest.mark.slow
@every_game
def test_killed_in_the_middle_it_ends_bit_for_bit_the_same(name: str, tmp_path: Path) -> None:
    """Two processes, bf16, accumulation, averages, schedules: after SIGKILL and a resume all is as if it had not been.

    Networks, pools, codebooks, running means, optimizers, metrics, averages, and the order of batches are compared.
    """
    game = GAMES[name]
    every = game.iterations // 5
    words = [
        f"examples/games/{name}.py",
        "--iterations",
        game.iterations,
        "--batch-size",
        2,
        "--precision",
        "bf16",
        "--accumulate",
        2,
    ]
    words += ["--checkpoint-every", every, "--device", "cpu", "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = killed / f"checkpoints/{every:08d}.pt"

    status, printed = torchrun(GAME_RUN, "-", *words, whole)
    assert status == 0, printed
    status, printed = torchrun(GAME_RUN, first, *words, killed)
    assert status != 0, printed
    assert every <= training.Checkpoint(killed).furthest() < game.iterations, printed
    status, printed = torchrun(GAME_RUN, "-", *words, killed, "--resume")
    assert status == 0, printed

    states = [hashed(training.Checkpoint(folder).newest()) for folder in (whole, killed)]
    for rank in (rank for state in states for rank in state["ranks"]):
        rank["random"] = rank["random"]["torch"]  # no game draws from Python's and NumPy's, which nothing seeds
    assert len(states[0]["callbacks"]) >= 2  # averages
    assert states[0] == states[1]
    for file in ("metrics.csv", game.picture):
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file


def train(name: str, out: Path, iterations: int, *words: object) -> list[float]:
    """Run a game as a user does; returns the numbers of what it prints at its end."""
    printed = run_script(f"games/{name}", "--iterations", iterations, "--device", "cpu", "--out", out, *words)
    verdict = " ".join(line for line in printed.splitlines() if " (" in line and "iteration" not in line)
    return [float(number) for number in re.findall(r"\d+\.\d+", verdict)]


def medians(name: str, out: Path, iterations: int, *words: object) -> list[float]:
    """The numbers that a game prints, each the median of three seeds: one seed is another training on each CPU."""
    rows = [train(name, out / str(seed), iterations, "--seed", seed, *words) for seed in range(3)]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


# The bounds lie between what a plain loop reached and what an untrained or a collapsed network has: see the page
# "Beyond the plain GAN".


@pytest.fixture(scope="module")
def reader() -> nn.Module:
    """A classifier of the built-in digits."""
    return translated_digits.built_in_reader()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "generator", "iterations"), [("pix2pix", "generator", 500), ("cyclegan", "to_a", 1500)]
)
def test_outlines_become_the_digits_that_they_are_of(
    name: str, generator: str, iterations: int, reader: nn.Module, tmp_path: Path
) -> None:
    """They are less than half as far from them as the mean image is, and 80 % are read right. CycleGAN sees no pair."""
    l1, l1_of_mean = train(name, tmp_path, iterations)
    assert l1 < l1_of_mean / 2

    _, outlines, labels = translated_digits.held_out()
    network = translated_digits.load(ROOT / f"examples/games/{name}.py", tmp_path, generator)
    with torch.no_grad():
        assert translated_digits.share_read(reader, network(outlines), labels) >= 0.8


@pytest.mark.slow
def test_codes_come_to_mean_class_and_shape(tmp_path: Path) -> None:
    """InfoGAN's classes are purer than those of k-means of pixels; a code changes the height, noise does not."""
    purity, _, *_, height, by_noise = medians("infogan", tmp_path, 1500)

    assert purity > 0.75  # k-means: 0.57 to 0.67
    assert height > max(1.0, 2 * by_noise)


@pytest.mark.slow
def test_bigan_inverts_its_generator(tmp_path: Path) -> None:
    """Nine of ten reconstructions are nearer to their own digit than to 999 others, and samples differ as digits do."""
    share, _, spread, truth = train("bigan", tmp_path, 2000)

    assert share > 0.9
    assert spread > 0.8 * truth


@pytest.mark.slow
def test_a_discriminator_makes_a_tokenizers_decoder_sharp(tmp_path: Path) -> None:
    """Its fine energy is near that of the digits, and no noise; without the discriminator most is lost."""
    sharp, control, l1, control_l1, _ = train("vqgan", tmp_path, 600)

    assert abs(sharp - 1) < 0.25
    assert control < 0.65
    assert l1 < 1.25 * control_l1


@pytest.mark.slow
def test_the_jacobians_spread_falls(tmp_path: Path) -> None:
    """With path length regularization it is much smaller than without, and samples differ as much from each other."""
    spread, pixels, truth = medians("path_length", tmp_path / "with", 2000)
    spread_without, pixels_without, _ = medians("path_length", tmp_path / "without", 2000, "--path-weight", 0)

    assert spread < 0.75 * spread_without
    assert min(pixels, pixels_without) > 0.6 * truth


@pytest.mark.slow
def test_generated_rows_teach_what_real_ones_do(tmp_path: Path) -> None:
    """The class of a real row follows from the nearest generated one; correlations and columns within a class agree."""
    nearest, of_real, correlation, _, column, _ = train("table", tmp_path, 1500)

    assert nearest > of_real - 0.06  # the most frequent class: 0.50
    assert correlation < 0.35  # independent columns: 0.61
    assert column < 0.35  # normal columns: 0.73


@pytest.mark.slow
def test_generated_waveforms_are_notes_of_the_chord(tmp_path: Path) -> None:
    """One note explains most of the energy of each, and all notes are played about as often as in the data."""
    energy, _, of_noise, spread, held_out, _, variation, *_ = train("waveforms", tmp_path, 1000)

    assert energy > 0.8 > 4 * of_noise
    assert 0.5 < spread / held_out < 1.5  # one waveform for each note: 0
    assert variation < 0.3  # one note alone: 0.86

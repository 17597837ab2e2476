"""Evaluations of several processes: each has its share, the results are those of all, and none waits for ever."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ganlib import data, latents, metrics, models, training
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentValueError, GanlibRuntimeError
from tests.ranks import Ranks
from tests.training.callbacks.test_evaluate import Sides
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights

REAL = points(48)


def identity(samples: Tensor) -> Tensor:
    """Features that are the samples themselves."""
    return samples


class Keeps:
    """Keeps the samples of this process."""

    def __init__(self) -> None:
        self.real: list[Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Keep the last samples, for the test, and begin again with the next."""
        self.begun = False

    def update(self, samples: Tensor, real: bool) -> None:
        """Keep them."""
        if not self.begun:
            self.real, self.fake, self.begun = [], [], True
        (self.real if real else self.fake).append(samples)

    def compute(self) -> int:
        """Nothing."""
        return 0


def chosen() -> list[Any]:
    """Metrics of several sorts."""
    return [
        metrics.FrechetDistance(identity),
        metrics.KernelDistance(identity),
        metrics.PrecisionRecall(identity),
        Sides(reset_real_features=False),
    ]


def normal(n: int) -> list[Tensor]:
    """Points, in batches of 7."""
    return list(torch.randn(n, 2).split(7))


def make_loader(kind: str) -> Any:
    """A loader of 48 points, which has been read before."""
    dataset, own = TensorDataset(REAL), torch.Generator().manual_seed(rank())
    loader: Any
    match kind:
        case "TensorLoader":
            loader = data.TensorLoader(dataset, 8, drop_last=False)
        case "DataLoader":
            loader = DataLoader(dataset, 8, shuffle=True)
        case "DataLoader with a generator":
            loader = DataLoader(dataset, 8, shuffle=True, generator=own)
        case "DataLoader with a DistributedSampler":
            loader = DataLoader(dataset, 8, sampler=DistributedSampler(dataset))
            loader.sampler.set_epoch(3)
        case _:
            loader = list(REAL.split(9))
    next(iter(loader))
    return loader


def evaluate(kind: str) -> tuple[list[dict[str, float]], Tensor, Tensor, Any]:
    """Evaluate twice: the results, the samples and real samples of this process, and where the loader is then."""
    keeps, loader = Keeps(), make_loader(kind)
    evaluation = training.Evaluate([*chosen(), keeps], normal, real=loader, n=33)
    results = [evaluation.measure() for _ in range(2)]
    torch.rand(rank() + 1)
    epoch = getattr(getattr(loader, "sampler", None), "epoch", None)
    return results, torch.cat(keeps.fake), torch.cat(keeps.real), epoch


@pytest.mark.parametrize(
    "kind",
    ["TensorLoader", "DataLoader", "DataLoader with a generator", "DataLoader with a DistributedSampler", "list"],
)
def test_results_are_those_of_the_samples_of_all(kind: str, two_ranks: Ranks) -> None:
    """Each process draws and reads its share, none twice; all have the results of one process with all samples."""
    (mine, my_fakes, my_real, epoch), (theirs, their_fakes, their_real, _) = two_ranks(evaluate, kind)
    assert mine == theirs
    assert mine[0] == mine[1]
    assert (len(my_fakes), len(their_fakes)) == (17, 16)
    assert len(torch.cat([my_fakes, their_fakes]).unique(dim=0)) == 33
    real = torch.cat([my_real, their_real])
    assert len(my_real) > 15 < len(their_real)
    assert sorted(real.tolist()) == sorted(REAL.tolist())
    fakes = [my_fakes, their_fakes]
    alone = training.Evaluate([*chosen(), Keeps()], lambda n: fakes, real=[real], n=33).measure()
    assert mine[0] == pytest.approx(alone, rel=1e-9)
    assert epoch == (3 if "Distributed" in kind else None)


def draw(seed: int | None) -> Tensor:
    """The samples of this process, of models.sample."""
    keeps = Keeps()
    generator, _ = make_players()
    sampler = partial(models.sample, generator, latents.Gaussian(3), seed=seed)
    training.Evaluate(keeps, sampler, n=9).measure()
    return torch.cat(keeps.fake)


@pytest.mark.parametrize("seed", [None, 0])
def test_samples_of_different_processes_differ(seed: int | None, two_ranks: Ranks) -> None:
    """Also where the sampler has a seed of its own."""
    mine, theirs = two_ranks(draw, seed)
    assert (len(mine), len(theirs)) == (5, 4)
    assert len(torch.cat([mine, theirs]).unique(dim=0)) == 9


def come_alone() -> tuple[str, float, dict[str, float], dict[str, float]]:
    """Let the first process evaluate alone, and then both."""
    evaluation = training.Evaluate(chosen(), normal, real=[REAL[:24], REAL[24:]], n=33, timeout=1)
    message, began = "", time.monotonic()
    if rank() == 0:
        with pytest.raises(GanlibRuntimeError) as caught:
            evaluation.measure()
        message = str(caught.value)
    distributed.barrier()
    return message, time.monotonic() - began, evaluation.measure(), plain()


def plain() -> dict[str, float]:
    """What an evaluation that nothing has disturbed gives."""
    return training.Evaluate(chosen(), normal, real=[REAL[:24], REAL[24:]], n=33).measure()


def test_who_comes_alone_is_told(two_ranks: Ranks) -> None:
    """After the timeout there is an error that names who is missing; the processes can evaluate together then."""
    (message, seconds, mine, expected), (_, _, theirs, _) = two_ranks(come_alone)
    assert "Evaluate waited 1 s for ranks [1]" in message
    assert 1 <= seconds < 30
    assert mine == theirs == expected


SCRIPT = """
import sys, torch
from torch import distributed
from ganlib import metrics, training
from tests.training.players import MyTrainer, points

rank = int(sys.argv[2])
distributed.init_process_group("gloo", init_method=sys.argv[1], rank=rank, world_size=2)
evaluate = training.Evaluate(
    metrics.FrechetDistance(lambda samples: samples), lambda n: [torch.randn(n, 2)], real=[points()] * 2, n=9,
    every=3, timeout=2)
training.fit(MyTrainer(), [points()], iterations=9, callbacks=[evaluate] if rank == 0 else [])
"""


def test_a_callback_of_one_process_alone_ends_all(tmp_path: Path) -> None:
    """A script whose first process alone evaluates ends with an error that names the other, and does not hang."""
    words = [sys.executable, "-c", SCRIPT, f"file://{tmp_path}/store"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([*words, str(rank)], env=alone, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        said = [process.communicate(timeout=90)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert all(process.returncode for process in ranks)
    assert "Evaluate waited 2 s for ranks [1]" in said[0]


class Failing:
    """Batches, and then an error; it says at once if it can be read."""

    def __init__(self, batches: list[Tensor], error: Exception) -> None:
        self.batches, self.error = batches, error

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.batches
        raise self.error


class Broken:
    """A user's metric that cannot be computed."""

    def reset(self) -> None:
        """Do nothing."""

    def update(self, samples: Tensor) -> None:
        """Do nothing."""

    def compute(self) -> float:
        """Fail."""
        raise ZeroDivisionError("the second process is broken")


def fail(what: str) -> tuple[str, str, float, dict[str, float], dict[str, float]]:
    """Let the second process fail, then repair it: the error and its seconds, and the results then."""
    evaluation = training.Evaluate(chosen(), normal, real=[REAL[:24], REAL[24:]], n=33)
    good = evaluation.sampler, evaluation.real, evaluation.metrics
    if what == "NaN and another":
        evaluation.sampler = lambda n: [torch.full((n, 2), torch.nan)]
    if rank() == 1:
        match what:
            case "sampler":
                evaluation.sampler = lambda n: Failing(normal(7), OSError("the second process is broken"))
            case "sampler, at once":
                evaluation.sampler = None  # type: ignore[assignment]
            case "too few" | "NaN and another":
                evaluation.sampler = lambda n: normal(n - 1)
            case "NaN":
                evaluation.sampler = lambda n: [torch.full((n, 2), torch.nan)]
            case "real":
                evaluation.real = Failing([REAL[:24], REAL[24:]], OSError("the second process is broken"))
            case "no real":
                evaluation.real = None
            case "a metric":
                evaluation.metrics = {**evaluation.metrics, "broken": Broken()}
                evaluation._arguments["broken"] = ""
    began = time.monotonic()
    try:
        evaluation.measure()
    except Exception as error:
        name, message = type(error).__name__, str(error)
    seconds = time.monotonic() - began
    evaluation.sampler, evaluation.real, evaluation.metrics = good
    return name, message, seconds, evaluation.measure(), plain()


ELSEWHERE = ("GanlibRuntimeError", "failed in another process")
DIVERGED = ("TrainingDivergedError", "not finite")


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        ("sampler", ELSEWHERE, ("OSError", "the second process is broken")),
        ("sampler, at once", ELSEWHERE, ("TypeError", "not callable")),
        ("too few", ELSEWHERE, ("ArgumentValueError", "15 samples, not n (=16)")),
        ("NaN", DIVERGED, DIVERGED),
        ("NaN and another", ELSEWHERE, ("ArgumentValueError", "15 samples, not n (=16)")),
        ("real", ELSEWHERE, ("OSError", "the second process is broken")),
        ("no real", *[("ArgumentValueError", "0 real and 33 generated samples")] * 2),
        ("a metric", ELSEWHERE, ("ZeroDivisionError", "the second process is broken")),
    ],
)
def test_where_one_fails_all_do(what: str, first: tuple[str, str], second: tuple[str, str], two_ranks: Ranks) -> None:
    """At once, the first process too; the next evaluation is as if nothing had happened."""
    results = two_ranks(fail, what)
    for (name, message, seconds, measured, expected), (kind, part) in zip(results, (first, second), strict=True):
        assert name == kind
        assert part in message
        assert seconds < 30  # and not the timeout of 60 s
        assert measured == expected


def share_nothing(kind: str) -> list[str]:
    """Evaluate where there are no real samples, or where those are in one process alone."""
    distance = metrics.FrechetDistance(identity)
    real: Any = [] if kind == "none" else [REAL]
    if kind == "statistics of the first" and rank() == 0:
        distance.update(REAL, real=True)
    try:
        return [repr(training.Evaluate(distance, normal, real=real, n=33).measure())]
    except ArgumentValueError as error:
        return [str(error)]


def test_real_samples_of_one_process_are_enough(two_ranks: Ranks) -> None:
    """One batch is of one of two processes; one that has real samples already counts for all; none is an error."""
    assert all("gave no samples" in said for (said,) in two_ranks(share_nothing, "none"))
    (one,), (other,) = two_ranks(share_nothing, "one batch")
    assert one == other == two_ranks(share_nothing, "statistics of the first")[0][0]


def train(evaluates: bool) -> tuple[list[Tensor], float, dict[str, float]]:
    """Train on the share of this process, with evaluations or without."""
    trainer = make_trainer()
    batches = data.TensorLoader(TensorDataset(REAL), 8)
    sampler = partial(models.sample, trainer.generator, latents.Gaussian(3))
    evaluation = training.Evaluate(metrics.FrechetDistance(identity), sampler, real=batches, every=2, n=33)
    logged: list[Any] = []

    class Logs:
        reads_metrics = True

        def on_end(self, run: training.Run) -> None:
            logged.append({name: float(value) for name, value in run.logged.items()})

    training.fit(trainer, batches, iterations=7, callbacks=[*[evaluation] * evaluates, Logs()])
    return [*weights(trainer).values()], torch.rand(()).item(), logged[0]


def test_a_training_of_two_processes_is_not_changed(two_ranks: Ranks) -> None:
    """Weights and random numbers are those of one without evaluations, on both; both log the same."""
    without, measured = two_ranks(train, False), two_ranks(train, True)
    for (expected, number, _), (actual, same, _) in zip(without, measured, strict=True):
        assert all(map(torch.equal, expected, actual))
        assert number == same
    assert measured[0][2] == measured[1][2] != {}


def go_back(folder: Path) -> tuple[list[int], str]:
    """A training whose samples are not finite once, in the second process."""
    trainer, at = MyTrainer(), list[int]()

    def sampler(n: int) -> list[Tensor]:
        at.append(trainer.iteration)
        return [torch.full((n, 2), torch.nan) if at == [0, 2, 4] and rank() == 1 else torch.randn(n, 2)]

    evaluation = training.Evaluate(metrics.FrechetDistance(identity), sampler, real=[REAL] * world_size(), every=2, n=9)
    with pytest.warns(UserWarning, match="not finite; goes back to iteration 3") as caught:
        training.fit(trainer, [points(2)], iterations=6, rollbacks=1,
                     callbacks=[evaluation, training.Checkpoint(folder, every=3)])  # fmt: skip
    return at, str(caught[0].message)


def test_all_go_back_together(two_ranks: Ranks, tmp_path: Path) -> None:
    """Samples of one process that are not finite send the training of all back to the checkpoint."""
    (mine, said), (theirs, others) = two_ranks(go_back, tmp_path)
    assert mine == theirs == [0, 2, 4, 4, 6]
    assert "of another process" in said
    assert "of another process" not in others

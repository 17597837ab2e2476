"""Training with evaluations: it trains as it would without them, and what they give is logged, kept and resumed."""

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.kill_and_resume import assert_same_files
from ganlib import data, latents, losses, metrics, models, training
from ganlib._files import load_plain, save_plain
from ganlib._table import read_table
from ganlib.errors import ArgumentValueError, TrainingDivergedError
from tests.training.callbacks.measured import StopAt
from tests.training.callbacks.test_best_checkpoint import in_a_fork
from tests.training.graph_on_cpu import capturable_on_cpu, stand_in
from tests.training.loop.test_resume import LOADERS, Wandering, make_loader
from tests.training.players import MyTrainer, Tripping, make_players, make_trainer, points

LATENT = latents.Gaussian(3)
LAST = 11


def identity(samples: Tensor) -> Tensor:
    """Features that are the samples themselves."""
    return samples


def make_gan(seed: int) -> tuple[nn.Module, nn.Module]:
    """A generator with batch norm and dropout, and a discriminator with dropout."""
    generator, discriminator = make_players(seed=seed)
    return nn.Sequential(*generator[:3], nn.Dropout(0.3), generator[3]), discriminator


def restless(generator: nn.Module, n: int) -> Iterator[Tensor]:
    """A sampler that uses random numbers of every kind."""
    for batch in models.sample(generator, LATENT, n, batch_size=9):
        yield batch.sample + random.random() * np.random.rand()


def make_evaluate(generator: nn.Module, real: Any, **options: Any) -> training.Evaluate:
    """One with two distances, every three iterations."""
    chosen = [metrics.FrechetDistance(identity), metrics.KernelDistance(identity, subset_size=10, subsets=3)]
    return training.Evaluate(chosen, partial(restless, generator), real=real, **({"every": 3, "n": 20} | options))


def seed_all(seed: int) -> None:
    """Begin all random numbers."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def next_numbers() -> Tensor:
    """The next random number of each kind."""
    return torch.tensor([torch.rand(()).item(), random.random(), np.random.rand()])


def train(
    batches: Any, *extra: Any, seed: int = 0, real: Any = None, folder: Path | None = None, **options: Any
) -> dict[str, Tensor]:
    """Train a GAN whose average is evaluated on ``real``, if that is given: everything that it leaves behind."""
    seed_all(seed)
    trainer = make_trainer(*make_gan(seed), discriminator_steps=2, **options)
    ema = training.EMA(trainer.generator, decay=0.9)
    callbacks = [ema, *([make_evaluate(ema.module, real)] if real is not None else []), *extra]
    callbacks += [training.Checkpoint(folder, every=4)] if folder else []
    training.fit(trainer, batches, iterations=LAST, callbacks=callbacks, resume=folder is not None)
    state = {f"ema.{name}": value for name, value in ema.state_dict().items()}
    for name, player in (("generator", trainer.generator), ("discriminator", trainer.discriminator)):
        state |= {f"{name}.{key}": value for key, value in player.state_dict().items()}
    return state | {"random numbers": next_numbers()}


def assert_same(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        assert torch.equal(value, actual[name]), name


BOTH = [kind for kind in LOADERS if kind != "StatefulDataLoader"]


@pytest.mark.parametrize("kind", LOADERS)
def test_an_evaluation_changes_no_training(kind: str, tmp_path: Path) -> None:
    """Weights, averages, buffers and random numbers are those of a training without: the same loader is ``real`` too.

    That also goes for a run that was stopped within an epoch, at an iteration that is no multiple, and resumed.
    """
    expected = train(make_loader(kind))
    own = kind in BOTH
    batches = make_loader(kind)
    assert_same(expected, train(batches, real=batches if own else make_loader(kind)))
    for stop in (4, 7):
        for seed, extra in ((0, [StopAt(stop)]), (99, [])):
            batches = make_loader(kind)
            real = batches if own else make_loader(kind)
            actual = train(batches, *extra, seed=seed, real=real, folder=tmp_path / str(stop))
        assert_same(expected, actual)


@pytest.mark.parametrize("shared", [True, False])
def test_nor_does_one_with_workers(shared: bool) -> None:
    """Real samples may come from workers, also of the training's loader."""

    def make(dataset: Any) -> DataLoader[Any]:
        return DataLoader(dataset, 8, shuffle=True, num_workers=1)

    dataset = Wandering(points(16))
    batches = make(dataset)
    assert_same(train(make(dataset)), train(batches, real=batches if shared else make(dataset)))


class Labeled(nn.Module):
    """Adds something of a class to what a network gives."""

    def __init__(self, network: nn.Module, features: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Embedding(2, features)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Their sum."""
        return self.network(x) + self.embedding(labels)


def test_nor_does_one_with_random_labels() -> None:
    """Conditions may be drawn too, and LabelAccuracy gets them."""

    def run(*, evaluates: bool) -> list[Tensor]:
        seed_all(0)
        generator, discriminator = make_gan(0)
        trainer = make_trainer(Labeled(generator, 2), Labeled(discriminator, 1))
        sampler = partial(models.sample, trainer.generator, LATENT, condition=lambda n: torch.randint(2, (n,)))
        chosen = {"right": metrics.LabelAccuracy(identity), "wrong": metrics.LabelAccuracy(torch.neg)}
        evaluate = training.Evaluate(chosen, sampler, every=2, n=50)
        labels = torch.arange(32) % 2
        dataset = TensorDataset(points() + 3 * labels[:, None], labels)
        training.fit(trainer, data.TensorLoader(dataset, 8), iterations=9, callbacks=[evaluate] * evaluates)
        if evaluates:
            assert sum(evaluate.measure().values()) == 1
        return [*trainer.generator.state_dict().values(), *trainer.discriminator.state_dict().values(), next_numbers()]

    assert all(map(torch.equal, run(evaluates=False), run(evaluates=True)))


def test_nor_does_one_of_a_game() -> None:
    """The same of a GameTrainer, with two players."""

    def run(*, evaluates: bool) -> list[Tensor]:
        seed_all(0)
        generator, discriminator = make_gan(0)
        loss = losses.NonSaturatingLoss()

        def prepare(batch: Any) -> Any:
            return batch[0], generator(LATENT(len(batch[0])))

        def discriminator_objective(batch: Any) -> Tensor:
            return loss.discriminator(discriminator(batch[0]), discriminator(batch[1].detach()))

        def generator_objective(batch: Any) -> Tensor:
            return loss.generator(discriminator(batch[1]))

        trainer = training.GameTrainer(
            {"generator": generator, "discriminator": discriminator},
            [
                training.Player("discriminator", torch.optim.Adam(discriminator.parameters()), discriminator_objective),
                training.Player("generator", torch.optim.Adam(generator.parameters()), generator_objective),
            ],
            prepare=prepare,
        )
        batches = make_loader("TensorLoader")
        callbacks = [make_evaluate(generator, batches)] * evaluates
        training.fit(trainer, batches, iterations=LAST, callbacks=callbacks)
        return [*generator.state_dict().values(), *discriminator.state_dict().values(), next_numbers()]

    assert all(map(torch.equal, run(evaluates=False), run(evaluates=True)))


def test_nor_does_one_of_a_users_trainer() -> None:
    """A Trainer that draws random numbers in each step, and a sampler that draws some too."""
    totals = []
    for evaluates in (False, True):
        seed_all(0)
        trainer = MyTrainer()
        evaluate = training.Evaluate(metrics.FrechetDistance(identity), normal, real=[points()], every=2, n=9)
        training.fit(trainer, [points()], iterations=9, callbacks=[evaluate] * evaluates)
        totals.append((trainer.total.item(), next_numbers().tolist()))
    assert totals[0] == totals[1]


def normal(n: int) -> list[Tensor]:
    """Points."""
    return [torch.randn(n, 2)]


def recorded(device: str, **options: Any) -> tuple[int, list[Tensor]]:
    """Train with recorded steps, with and without evaluations; how many were replayed, and the end."""
    ends = []
    for evaluates in (False, True):
        seed_all(0)
        generator, discriminator = (network.to(device) for network in make_gan(0))
        chosen = options or training.fast_settings(generator, discriminator) | {"cuda_graph": True}
        optimizers = {
            f"{name}_optimizer": torch.optim.Adam(network.parameters(), lr=1e-2, capturable=True)
            for name, network in (("generator", generator), ("discriminator", discriminator))
        }
        trainer = make_trainer(generator, discriminator, **optimizers, **chosen)
        ema = training.EMA(generator, decay=0.9)
        batches = data.TensorLoader(TensorDataset(points(40)), 8, device=device)
        evaluate = make_evaluate(ema.module, batches, every=4)
        training.fit(trainer, batches, iterations=30, callbacks=[ema, evaluate] if evaluates else [ema])
        state = [*ema.state_dict().values(), *generator.state_dict().values(), *discriminator.state_dict().values()]
        ends.append((trainer.recorded_iterations, [*state, next_numbers(), torch.rand(1, device=device)]))
    (expected, tensors), (actual, others) = ends
    assert actual == expected
    assert all(map(torch.equal, tensors, others))
    return actual, tensors


def test_nor_does_one_of_recorded_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are recorded, by what stands in for CUDA graphs, are replayed as often, and give the same bits."""
    stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)
    count, _ = recorded("cpu", cuda_graph=True)
    assert count == 27


@pytest.mark.gpu
def test_nor_does_one_on_cuda() -> None:
    """The same with CUDA graphs and the settings that are fastest there."""
    count, _ = recorded("cuda")
    assert count == 27


class Calls:
    """A sampler that notes at which iteration it is called."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.at: list[int] = []

    def __call__(self, n: int) -> list[Tensor]:
        """Samples whose mean is the iteration."""
        self.at.append(self.trainer.iteration)
        return [torch.full((n, 1), float(self.trainer.iteration))]


class Value:
    """The mean of the samples."""

    def reset(self) -> None:
        """Forget."""
        self.samples: list[Tensor] = []

    def update(self, samples: Tensor) -> None:
        """Add."""
        self.samples.append(samples)

    def compute(self) -> Tensor:
        """The mean."""
        return torch.cat(self.samples).mean()


@pytest.mark.parametrize(
    ("iterations", "stop", "expected"),
    [(6, 0, [3, 6]), (7, 0, [3, 6, 7]), (9, 4, [3, 4]), (2, 0, [2]), (0, 0, [])],
)
def test_it_measures_every_so_often_and_at_the_end(iterations: int, stop: int, expected: list[int]) -> None:
    """The end, whatever brings it, is measured once; a run that has not begun is not measured."""
    trainer = MyTrainer()
    calls = Calls(trainer)
    callbacks = [training.Evaluate(Value(), calls, every=3, n=4), StopAt(stop)]
    training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks)
    assert calls.at == [0] * (iterations > 0) + expected  # the first one is the trial


def test_a_signal_is_not_kept_waiting(tmp_path: Path) -> None:
    """A run that a signal ends is not measured at its end; when it goes on, it is; when it is over, not again."""

    class Signal:
        """Sends one."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 4:
                os.kill(os.getpid(), signal.SIGUSR1)

    at = []
    for iterations, sent in ((9, True), (4, False), (4, False), (8, False), (8, False)):
        trainer = MyTrainer()
        calls = Calls(trainer)
        callbacks = [training.Evaluate(Value(), calls, every=3, n=4), *[Signal()] * sent]
        with pytest.raises(SystemExit) if sent else nullcontext():
            training.fit(trainer, [points()], iterations=iterations, resume=True,
                         callbacks=[*callbacks, training.Checkpoint(tmp_path)])  # fmt: skip
        at.append(calls.at)
    assert at == [[0, 3], [4], [], [4, 6, 8], []]  # with the trials at the start


def test_a_limit_in_minutes_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a minute with steps of 10 s takes six, however long evaluations last."""
    now = 0.0

    def sampler(n: int) -> list[Tensor]:
        nonlocal now
        now += 1000
        return normal(n)

    class Steady(MyTrainer):
        """Takes its time."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            nonlocal now
            now += 10
            return super().train_step(batches)

    monkeypatch.setattr("time.monotonic", lambda: now)
    trainer = Steady()
    callbacks = [training.Evaluate(Value(), sampler, every=2)]
    training.fit(trainer, [points()], minutes=1, callbacks=callbacks)
    assert trainer.iteration == 6


ORDERS: list[Callable[..., list[Any]]] = [lambda *each: [*each], lambda *each: [*each[::-1]]]


@pytest.mark.parametrize("order", ORDERS)
def test_everything_that_reads_metrics_sees_the_results(
    order: Callable[..., list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table, the bar, the best checkpoint and early stopping, wherever they are in the list."""
    trainer = MyTrainer()

    def sampler(n: int) -> list[Tensor]:  # best at iteration 4
        return [torch.full((n, 1), float(abs(trainer.iteration - 4)))]

    stopping = training.EarlyStopping("value", patience=2)
    callbacks = order(
        training.Evaluate(Value(), sampler, every=2, n=4),
        training.CSVLogger(tmp_path / "metrics.csv", every=5),
        training.ProgressBar(seconds=0),
        stopping,
        training.Checkpoint(tmp_path, monitor="value"),
    )
    training.fit(trainer, [points()], iterations=100, callbacks=callbacks)
    assert trainer.iteration == stopping.stopped_at == 8
    rows = read_table(tmp_path / "metrics.csv")
    assert [(row["iteration"], row["value"]) for row in rows] == [
        *(("2", "2.0"), ("4", "0.0"), ("5", ""), ("6", "2.0"), ("8", "4.0"))
    ]
    assert training.Checkpoint.load(tmp_path / "checkpoints/best.pt")["iteration"] == 4
    assert "value 4" in capsys.readouterr().err


def train_in_a_folder(folder: Path, kind: str, seed: int, kill: int = 0) -> None:
    """A run with a table and checkpoints, from the newest one there is; it may be killed after an iteration."""

    class Kill:
        """Ends the process at once."""

        reads_metrics = True

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == kill:
                os.kill(os.getpid(), signal.SIGKILL)

    seed_all(seed)
    trainer = make_trainer(*make_gan(seed))
    batches = make_loader(kind)
    training.fit(
        trainer,
        batches,
        iterations=LAST,
        resume=True,
        callbacks=[
            make_evaluate(trainer.generator, batches, every=2),
            training.CSVLogger(folder / "metrics.csv", every=5),
            training.Checkpoint(folder, every=3, monitor="frechet_distance"),
            Kill(),
        ],
    )


KINDS = ("TensorLoader", "DataLoader", "DataLoader with a generator")
KILLS = (3, 6, LAST)


def kill_and_resume(folder: Path) -> None:
    """In forked processes, train; and train, killed after an iteration, and resume."""
    torch.set_num_threads(1)
    for kind in KINDS:
        assert in_a_fork(train_in_a_folder, folder / kind / "whole", kind, 0) == 0
        for kill in KILLS:
            assert in_a_fork(train_in_a_folder, folder / kind / str(kill), kind, 0, kill) == signal.SIGKILL
            assert in_a_fork(train_in_a_folder, folder / kind / str(kill), kind, 99) == 0


def test_a_run_that_is_killed_keeps_its_history(tmp_path: Path) -> None:
    """Killed after an iteration and resumed, it ends with the bytes of the table and the best checkpoint of another.

    Real samples are read again then, from a loader that is somewhere else in its epoch.
    """
    module = "tests.training.callbacks.test_evaluate_in_training"
    code = f"import pathlib, {module} as tests; tests.kill_and_resume(pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    for kind, name in itertools.product(KINDS, ("whole", *map(str, KILLS))):
        folder = tmp_path / kind / name
        (folder / "end").mkdir()
        (folder / "end/metrics.csv").write_bytes((folder / "metrics.csv").read_bytes())
        save_plain(folder / "end/best.pt", load_plain(folder / "checkpoints/best.pt"))
        assert_same_files(tmp_path / kind / "whole/end", folder / "end")


def test_samples_that_are_not_finite_are_a_training_that_diverged(tmp_path: Path) -> None:
    """``fit`` goes back, as often as it may, and evaluates again."""
    trainer = MyTrainer()
    at: list[int] = []

    def sampler(n: int, times: int) -> list[Tensor]:
        at.append(trainer.iteration)
        return [torch.full((n, 1), float("nan" if at.count(6) in range(1, times + 1) else trainer.iteration))]

    for times, rollbacks in ((1, 1), (2, 1)):
        at.clear()
        trainer = MyTrainer()
        evaluate = training.Evaluate(Value(), partial(sampler, times=times), every=2, n=4)
        callbacks = [evaluate, training.Checkpoint(tmp_path / str(times), every=5)]
        with (
            pytest.raises(TrainingDivergedError, match="not finite.*went back") if times > 1 else nullcontext(),
            pytest.warns(UserWarning, match="samples.*not finite; goes back to iteration 5"),
        ):
            training.fit(trainer, [points()], iterations=8, callbacks=callbacks, rollbacks=rollbacks)
        assert at == ([0, 2, 4, 6, 6, 8] if times == 1 else [0, 2, 4, 6, 6])


def test_it_goes_back_with_a_training_that_diverged(tmp_path: Path) -> None:
    """What is undone is measured again, and the table is that of the iterations that count."""
    trainer = Tripping(7)
    calls = Calls(trainer)
    callbacks = [
        training.Evaluate(Value(), calls, every=2, n=4),
        training.CSVLogger(tmp_path / "metrics.csv", every=100),
        training.Checkpoint(tmp_path, every=3),
    ]
    with pytest.warns(UserWarning, match="goes back to iteration 6"):
        training.fit(trainer, [points(2)], iterations=8, callbacks=callbacks, rollbacks=1)
    assert calls.at == [0, 2, 4, 6, 8, 8]
    rows = read_table(tmp_path / "metrics.csv")
    assert [(row["iteration"], row["value"]) for row in rows] == [(str(n), f"{n}.0") for n in (2, 4, 6, 8)]


def test_a_metric_of_the_trainer_keeps_its_name() -> None:
    """A result with the name of one is an error."""
    callbacks = [training.Evaluate({"total": Value()}, Calls(MyTrainer()), n=4)]
    with pytest.raises(ArgumentValueError, match="metric 'total' was given by train_step"):
        training.fit(MyTrainer(), [points()], iterations=2, callbacks=callbacks)


class Fails:
    """Ends the run by an error before anything is measured at the end."""

    def on_end(self, run: training.Run) -> None:
        """Fail."""
        raise RuntimeError("out of memory")


def test_each_evaluation_knows_what_it_has_measured_itself(tmp_path: Path) -> None:
    """After a resume at the end, the one that has not measured there does, although another one has."""

    def run(*extra: Any) -> None:
        generator, discriminator = make_players()
        often, rarely = (
            training.Evaluate(
                metric(identity), partial(models.sample, generator, LATENT), real=[points()], every=k, n=20
            )
            for metric, k in ((metrics.KernelDistance, 2), (metrics.FrechetDistance, 4))
        )
        checkpoint = training.Checkpoint(tmp_path, every=5, monitor="frechet_distance", mode="max")
        training.fit(
            make_trainer(generator, discriminator), [points()], iterations=10, resume=True,
            callbacks=[*extra, often, rarely, checkpoint],
        )  # fmt: skip

    with pytest.raises(RuntimeError, match="out of memory"):
        run(Fails())
    run()
    assert "frechet_distance" in training.Checkpoint.load(tmp_path / "checkpoints/00000010.pt")["metrics"]

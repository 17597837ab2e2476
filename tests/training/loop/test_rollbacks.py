"""A run that has diverged goes back to its newest checkpoint, as often as it may."""

import contextlib
import csv
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ganlib import data, losses, training
from ganlib._files import load_plain
from ganlib.errors import ArgumentValueError, TrainingDivergedError
from tests.training.players import Tripping, make_trainer, points, weights

NAN = float("nan")


class TrippingLoss(losses.NonSaturatingLoss):
    """The non-saturating loss, which once is NaN."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.calls_left = call

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss."""
        self.calls_left -= 1
        return super().discriminator(real_logits, fake_logits) * (NAN if self.calls_left == 0 else 1.0)


class Stop:
    """Stops the run at an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_iteration(self, run: training.Run) -> None:
        """Stop, where it is time."""
        if run.iteration == self.iteration:
            run.stop()


def rows(path: Path) -> list[tuple[int, float]]:
    """The iteration and the last metric of each row."""
    with path.open(newline="") as file:
        return [(int(row[0]), float(row[-1])) for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize(
    ("k", "iterations", "back_to"),
    [(11, 30, 10), (20, 30, 10), (29, 30, 20), (30, 30, 20), (25, 200, 20), (199, 200, 190)],
)
def test_bad_luck_is_undone(tmp_path: Path, k: int, iterations: int, back_to: int) -> None:
    """A metric that is NaN once costs the way back to the newest checkpoint; the table has each iteration once."""
    trainer, checkpoint = Tripping(k), training.Checkpoint(tmp_path, every=10)
    callbacks = [checkpoint, training.CSVLogger(tmp_path / "m.csv", every=1)]
    words = rf"in iteration {k} total was nan; goes back to iteration {back_to}$"
    with pytest.warns(UserWarning, match=words) as caught:
        training.fit(trainer, [points(2), points(3)], iterations=iterations, callbacks=callbacks, rollbacks=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert trainer.iteration == iterations
    assert rows(tmp_path / "m.csv") == [(i, float(i)) for i in range(1, iterations + 1)]
    assert [load_plain(path)["iteration"] for path in checkpoint.paths()][-1] == iterations
    last_visit = [iteration for iteration, *_ in trainer.met][-(iterations - back_to) :]
    assert last_visit == list(range(back_to + 1, iterations + 1))


def quiet_trainer(loss: Any) -> training.AdversarialTrainer:
    """A GAN with batch norm that draws no random number, with Adam."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return make_trainer(
        generator,
        discriminator,
        loss=loss,
        latent=lambda n, *, device=None, generator=None: torch.linspace(-1, 1, 3 * n).view(n, 3),
    )


@pytest.mark.parametrize("k", [8, 14, 60, 74, 75])
def test_everything_goes_back(tmp_path: Path, k: int) -> None:
    """Where nothing is random a run that went back has the bits of one that did not: players, Adam, EMA, table."""
    states, tables = [], []
    for name, loss in (("fell", TrippingLoss(k)), ("whole", losses.NonSaturatingLoss())):
        trainer = quiet_trainer(loss)
        ema = training.EMA(trainer.generator, decay=0.9)
        callbacks = [
            training.LearningRateSchedule(trainer.generator_optimizer, training.cosine_decay()),
            ema,
            training.CSVLogger(tmp_path / name / "m.csv", every=1),
            training.Checkpoint(tmp_path / name, every=7),
        ]
        batches = [points(8, seed=seed) for seed in range(5)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            training.fit(trainer, batches, iterations=75, callbacks=callbacks, rollbacks=3)
        assert len(caught) == (name == "fell")
        adam = trainer.generator_optimizer.state_dict()
        states.append([*weights(trainer).values(), *ema.state_dict().values(), *adam["state"][0].values()])
        assert adam["param_groups"][0]["lr"] == pytest.approx(0.0)
        tables.append((tmp_path / name / "m.csv").read_text())
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
    assert tables[0] == tables[1]


LOADERS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(points(40).split(8)),
    "TensorLoader": lambda: data.TensorLoader(TensorDataset(points(40)), 8),
    "DataLoader": lambda: DataLoader(TensorDataset(points(40)), 8, shuffle=True),
    "DataLoader with a generator": lambda: DataLoader(
        TensorDataset(points(40)), 8, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("k", [8, 9, 10, 13])
def test_the_same_samples_meet_other_random_numbers(tmp_path: Path, kind: str, k: int) -> None:
    """The second time the rest of the epoch has the same samples and other random numbers; every epoch is whole."""
    torch.manual_seed(0)
    trainer = Tripping(k)
    callbacks = [training.Checkpoint(tmp_path, every=7), training.CSVLogger(tmp_path / "m.csv", every=1)]
    with pytest.warns(UserWarning, match="goes back to iteration 7"):
        training.fit(trainer, LOADERS[kind](), epochs=6, callbacks=callbacks, rollbacks=1)
    undone = trainer.met[7 : len(trainer.met) - 23]
    final = trainer.met[:7] + trainer.met[-23:]
    assert [iteration for iteration, *_ in final] == list(range(1, 31))
    assert [iteration for iteration, *_ in undone][: k - 7] == list(range(8, k + 1))
    for (iteration, first, draw), (_, second, other) in zip(undone, final[7:], strict=False):
        assert draw != other
        if iteration <= 10 or kind in ("list", "TensorLoader"):  # another loader may shuffle its next epoch otherwise
            assert first == second
    epochs = [
        sorted(number for _, batch, _ in final[start : start + 5] for number in batch) for start in range(0, 30, 5)
    ]
    assert epochs == [sorted(points(40).flatten().tolist())] * 6


@pytest.mark.parametrize("rollbacks", [0, 1, 3])
def test_after_so_many_it_is_an_error(tmp_path: Path, rollbacks: int) -> None:
    """What always diverges is tried 1 + rollbacks times, with other random numbers each time, and then raised."""
    trainer, checkpoint = Tripping(15, times=100), training.Checkpoint(tmp_path, every=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TrainingDivergedError, match="in iteration 15 total was nan"):
            training.fit(trainer, [points(2)], iterations=17, callbacks=[checkpoint], rollbacks=rollbacks)
    assert ["goes back to iteration 10" in str(warning.message) for warning in caught] == [True] * rollbacks
    visits = [draw for iteration, _, draw in trainer.met if iteration == 15]
    assert len({*visits}) == len(visits) == 1 + rollbacks
    assert [path.stem for path in checkpoint.paths()] == ["00000010"]


def test_each_divergence_costs_one(tmp_path: Path) -> None:
    """Two rollbacks are enough to go back twice, to different checkpoints."""

    class Twice(Tripping):
        """Trips at 15, and later at 35."""

        def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
            metrics = super().train_step(batches)
            if not self.times and self.at == 15:
                self.at, self.times = 35, 1
            return metrics

    options: dict[str, Any] = {"iterations": 60, "callbacks": [training.Checkpoint(tmp_path / "two", every=10)]}
    trainer = Twice(15)
    with pytest.warns(UserWarning, match="goes back") as caught:
        training.fit(trainer, [points(2)], **options, rollbacks=2)
    assert trainer.iteration == 60
    assert [str(warning.message).rsplit(" ", 1)[1] for warning in caught] == ["10", "30"]
    options["callbacks"] = [training.Checkpoint(tmp_path / "one", every=10)]
    with (
        pytest.warns(UserWarning, match="iteration 10$"),
        pytest.raises(TrainingDivergedError, match="in iteration 35 .*; it went back 1 of 1 times already$"),
    ):
        training.fit(Twice(15), [points(2)], **options, rollbacks=1)


@pytest.mark.parametrize("rollbacks", [-1, 1.5, "2", None])
def test_a_number_of_rollbacks_that_is_not_one_is_refused(tmp_path: Path, rollbacks: Any) -> None:
    """Rollbacks must be a whole number of at least 0; the value is quoted, and nothing is trained."""
    trainer = Tripping()
    with pytest.raises(ArgumentValueError, match=rf"rollbacks \(={re.escape(repr(rollbacks))}\)"):
        training.fit(trainer, [points(2)], iterations=1, callbacks=[training.Checkpoint(tmp_path)], rollbacks=rollbacks)
    assert (trainer.met, [*tmp_path.iterdir()]) == ([], [])


@pytest.mark.parametrize("same", [True, False], ids=["same objects", "fresh objects"])
def test_a_run_that_was_given_up_can_be_resumed(tmp_path: Path, same: bool) -> None:
    """After the error resume=True goes on from the good checkpoint, and the run ends as if nothing had been."""
    trainer = quiet_trainer(TrippingLoss(15))
    with pytest.raises(TrainingDivergedError, match="in iteration 15 discriminator_loss"):
        training.fit(trainer, [points()], iterations=40, callbacks=[training.Checkpoint(tmp_path, every=10)])
    assert not all(value.isfinite().all() for value in weights(trainer).values())
    resumed = trainer if same else quiet_trainer(losses.NonSaturatingLoss())
    with contextlib.nullcontext() if same else pytest.warns(UserWarning, match="loss was TrippingLoss"):
        training.fit(
            resumed, [points()], iterations=40, callbacks=[training.Checkpoint(tmp_path, every=10)], resume=True
        )
    whole = quiet_trainer(losses.NonSaturatingLoss())
    training.fit(whole, [points()], iterations=40)
    assert resumed.iteration == 40
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def test_the_samples_of_an_epoch_are_the_same_from_its_beginning(tmp_path: Path) -> None:
    """A run that goes back to where a shuffled epoch began meets the same batches of it as the first time."""
    trainer = Tripping(at=7)
    loader = DataLoader(TensorDataset(points(10)), 2, shuffle=True)
    callbacks = [training.Checkpoint(tmp_path, every=5)]
    with pytest.warns(UserWarning, match="goes back to iteration 5"):
        training.fit(trainer, loader, iterations=10, callbacks=callbacks, rollbacks=1)
    met = [(iteration, batch) for iteration, batch, _ in trainer.met]
    assert [iteration for iteration, _ in met] == [*range(1, 11), *range(6, 11)]
    assert met[5:10] == met[10:]


def test_a_resumed_run_can_go_back(tmp_path: Path) -> None:
    """In a resumed run rollbacks work as in a first one."""
    training.fit(Tripping(), [points(2)], iterations=10, callbacks=[training.Checkpoint(tmp_path, every=10)])
    trainer = Tripping(14)
    with pytest.warns(UserWarning, match="goes back to iteration 10"):
        training.fit(
            trainer,
            [points(2)],
            iterations=20,
            callbacks=[training.Checkpoint(tmp_path, every=10)],
            resume=True,
            rollbacks=1,
        )
    assert trainer.iteration == 20


def test_what_was_undone_is_not_logged_at_the_end(tmp_path: Path) -> None:
    """A run that was asked to stop as it diverged ends at the good checkpoint, with the metrics of that."""
    callbacks = [Stop(15), training.CSVLogger(tmp_path / "m.csv", every=7), training.ProgressBar()]
    checkpoint, trainer = training.Checkpoint(tmp_path, every=10), Tripping(15)
    with pytest.warns(UserWarning, match="goes back to iteration 10"):
        training.fit(trainer, [points(2)], iterations=30, callbacks=[*callbacks, checkpoint], rollbacks=1)
    assert trainer.iteration == 10
    assert rows(tmp_path / "m.csv") == [(7, 7.0), (10, 10.0)]
    assert [path.stem for path in checkpoint.paths()] == ["00000010"]

"""What a checkpoint could not hold is refused before anything is trained, and what it can is converted."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ganlib import data, training
from ganlib.errors import ArgumentTypeError, GanlibError
from tests.ranks import Ranks
from tests.training.loop.test_resume import LOADERS, make_loader
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights


class Remembers:
    """A callback with a state of a user's."""

    def __init__(self, value: Any, later: Any = None) -> None:
        self.value, self.later = value, later

    def on_iteration(self, run: training.Run) -> None:
        """Change the state."""
        self.value = self.value if self.later is None else self.later

    def state_dict(self) -> dict[str, Any]:
        """The value."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.value = state["value"]


class Loads:
    """A loader with a state of a user's."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __iter__(self) -> Iterator[Tensor]:
        return iter([points()])

    def state_dict(self) -> dict[str, Any]:
        """The value."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.value = state["value"]


class OddLoss(nn.Module):
    """A loss of a user's, with something in its state."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        return (fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return -fake.mean()

    def get_extra_state(self) -> Any:
        """The value."""
        return self.value

    def set_extra_state(self, state: Any) -> None:
        """Take it."""
        self.value = state


def in_callback(value: Any) -> tuple[Any, Any, list[Any]]:
    """In the state of a callback."""
    return make_trainer(), [points()], [Remembers(value)]


def in_loader(value: Any) -> tuple[Any, Any, list[Any]]:
    """In the state of a loader."""
    return make_trainer(), Loads(value), []


def in_loss(value: Any) -> tuple[Any, Any, list[Any]]:
    """In the state of a loss."""
    return make_trainer(loss=OddLoss(value)), [points()], []


def in_optimizer(value: Any) -> tuple[Any, Any, list[Any]]:
    """Among the settings of an optimizer."""
    trainer = make_trainer()
    trainer.generator_optimizer.param_groups[0]["note"] = value
    return trainer, [points()], []


PLACES = pytest.mark.parametrize(
    ("place", "name"),
    [
        (in_callback, "callbacks/Remembers/value"),
        (in_loader, "batches/loader/value"),
        (in_loss, "trainer/modules/loss/_extra_state"),
        (in_optimizer, "trainer/optimizers/generator_optimizer/param_groups/0/note"),
    ],
)


@PLACES
@pytest.mark.parametrize("value", [print, deque([1]), Path("x"), range(3)], ids=lambda value: type(value).__name__)
def test_what_cannot_be_saved_is_named_before_the_first_iteration(
    place: Callable[[Any], Any], name: str, value: Any, tmp_path: Path
) -> None:
    """Wherever it is: nothing has been trained, and no file is there."""
    trainer, batches, callbacks = place(value)
    before = weights(trainer)
    with pytest.raises(ArgumentTypeError, match=rf"run could not be saved: run/{name} .*{type(value).__name__}"):
        training.fit(trainer, batches, iterations=9, callbacks=[*callbacks, training.Checkpoint(tmp_path, every=5)])
    assert trainer.iteration == 0
    assert all(torch.equal(value, before[key]) for key, value in weights(trainer).items())
    assert not [*tmp_path.rglob("*.pt")]


@PLACES
@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(3), np.True_, {np.str_("a"): np.float32(1)}])
def test_what_is_of_numpy_is_converted(place: Callable[[Any], Any], name: str, value: Any, tmp_path: Path) -> None:
    """Wherever it is: the run is saved, and resumed."""
    for iterations in (3, 6):
        trainer, batches, callbacks = place(value)
        checkpoint = training.Checkpoint(tmp_path, every=2)
        training.fit(trainer, batches, iterations=iterations, callbacks=[*callbacks, checkpoint], resume=True)
        assert trainer.iteration == iterations


def test_a_state_that_becomes_odd_in_the_first_iteration_ends_the_second(tmp_path: Path) -> None:
    """Optimizers and callbacks may have a state only then; one iteration is lost, and not ``every``."""
    trainer = make_trainer()
    callbacks = [Remembers(None, later=deque()), training.Checkpoint(tmp_path, every=900)]
    with pytest.raises(ArgumentTypeError, match="callbacks/Remembers/value"):
        training.fit(trainer, [points()], iterations=1000, callbacks=callbacks)
    assert trainer.iteration == 1


class Late:
    """A callback whose state is what an iteration makes."""

    seen: float

    def on_iteration(self, run: training.Run) -> None:
        """Keep a metric."""
        self.seen = float(run.iteration)

    def state_dict(self) -> dict[str, Any]:
        """What was kept."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.seen = state["seen"]


class LateTrainer(MyTrainer):
    """A trainer whose state is what its first step makes."""

    made: int

    def train_step(self, batches: Any) -> Any:
        """A step, and something that it makes."""
        self.made = 1
        return super().train_step(batches)

    def state_dict(self) -> dict[str, Any]:
        """With what was made."""
        return {**super().state_dict(), "made": self.made}


@pytest.mark.parametrize(("trainer", "callbacks"), [(LateTrainer, []), (make_trainer, [Late()])])
def test_a_state_may_need_the_first_iteration(trainer: Any, callbacks: list[Any], tmp_path: Path) -> None:
    """Whatever a user's state_dict raises before it."""
    one = trainer()
    training.fit(one, [points()], iterations=3, callbacks=[*callbacks, training.Checkpoint(tmp_path, every=2)])
    assert one.iteration == 3
    assert [path.name for path in training.Checkpoint(tmp_path).paths()] == ["00000002.pt", "00000003.pt"]


def test_what_a_state_raises_later_is_the_users_error(tmp_path: Path) -> None:
    """With its own type and message, before the second iteration."""

    class Broken(Late):
        """Never has a state."""

        def state_dict(self) -> dict[str, Any]:
            """Fail."""
            raise ArgumentTypeError("mine")

    trainer = make_trainer()
    with pytest.raises(ArgumentTypeError, match="^mine$"):
        training.fit(trainer, [points()], iterations=9, callbacks=[Broken(), training.Checkpoint(tmp_path, every=5)])
    assert trainer.iteration == 1


def test_nothing_is_tried_without_a_checkpoint() -> None:
    """A run that is not saved may have any state."""
    trainer = make_trainer()
    training.fit(trainer, [points()], iterations=2, callbacks=[Remembers(print)])
    assert trainer.iteration == 2


@pytest.mark.parametrize("kind", LOADERS)
def test_the_trial_leaves_no_trace(kind: str, tmp_path: Path) -> None:
    """Weights, random numbers and batches are those of a run without a checkpoint, whatever the loader."""

    def train(*callbacks: Any) -> tuple[dict[str, Tensor], list[float]]:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        trainer = make_trainer()
        training.fit(trainer, make_loader(kind), iterations=7, callbacks=callbacks)
        return weights(trainer), [torch.rand(()).item(), random.random(), np.random.rand()]

    (expected, numbers), (found, same) = train(), train(training.Checkpoint(tmp_path, every=100))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    if isinstance(make_loader(kind), data.TensorLoader | DataLoader):
        assert numbers == same


def test_lazy_networks_are_tried(tmp_path: Path) -> None:
    """A parameter has its shape only after the first iteration, in time for every checkpoint."""
    _, discriminator = make_players()
    generator = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    trainer = make_trainer(generator, discriminator)
    training.fit(trainer, [points()], iterations=3, callbacks=[training.Checkpoint(tmp_path, every=1)])
    assert [path.name for path in training.Checkpoint(tmp_path).paths()] == [f"0000000{i}.pt" for i in (1, 2, 3)]


def odd_on_one_rank(folder: Path) -> tuple[str, int]:
    """A state that cannot be saved in the second process alone."""
    from ganlib.distributed import rank

    trainer = MyTrainer()
    try:
        training.fit(
            trainer, Loads(print if rank() == 1 else 1), iterations=3, callbacks=[training.Checkpoint(folder, every=2)]
        )
    except GanlibError as error:
        return str(error), trainer.iteration
    return "", trainer.iteration


def test_all_processes_stop_together(two_ranks: Ranks, tmp_path: Path) -> None:
    """The one with the odd state says what it is, and the other that there is one."""
    (first, done), (second, done_there) = two_ranks(odd_on_one_rank, tmp_path)
    assert "another process" in first
    assert "batches/loader/value" in second
    assert done == done_there == 0

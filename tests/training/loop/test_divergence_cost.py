"""To watch for divergence costs no wait and no memory between two looks, and changes no bit."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from ganlib import training
from tests.training.players import Going, MyTrainer, make_players, make_trainer, points


class Read(Tensor):
    """A tensor that notes when its value is brought to Python."""

    reads: list[int]
    now: training.Trainer

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, and note it where it reads."""
        if func.__name__ in {
            "item",
            "tolist",
            "numpy",
            "cpu",
            "__bool__",
            "__float__",
            "__int__",
            "__array__",
            "__format__",
        }:
            cls.reads.append(cls.now.iteration)
        return super().__torch_function__(func, types, args, kwargs or {})


class Wrapped:
    """A user's trainer around another one, whose metrics note when they are read."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    @property
    def iteration(self) -> int:
        """That of the trainer inside."""
        return self.trainer.iteration

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Step, and watch the metrics."""
        return {name: value.as_subclass(Read) for name, value in self.trainer.train_step(batches).items()}

    def state_dict(self) -> dict[str, Any]:
        """That of the trainer inside."""
        return self.trainer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.trainer.load_state_dict(state)


@pytest.mark.parametrize("make", [lambda: Going(lambda i: 0.0), make_trainer], ids=["own trainer", "GAN"])
def test_metrics_are_read_once_in_50_iterations(make: Callable[[], Any]) -> None:
    """Metrics are read at iterations 50 and 100 and at the end only, each time all of them at once."""
    trainer = Wrapped(make())
    Read.reads, Read.now = [], trainer
    training.fit(trainer, [points()], iterations=149)
    assert Read.reads == [50, 100, 149]


@pytest.mark.gpu
def test_fit_waits_for_the_device_nowhere_between_two_looks(sync_debug_mode: Callable[[str], None]) -> None:
    """On CUDA nothing in iterations 51 to 99 of a run synchronizes, the keeping of metrics included."""
    generator, discriminator = (network.cuda() for network in make_players())
    trainer = make_trainer(generator, discriminator)

    class Strict:
        """Makes every synchronization an error for a while."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration in (50, 99):
                sync_debug_mode("error" if run.iteration == 50 else "default")

    training.fit(trainer, [points().cuda()], iterations=101, callbacks=[Strict()])
    assert trainer.iteration == 101


class Graph(torch.autograd.Function):
    """An identity whose graph can be seen to live."""

    living: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Give x back."""
        Graph.living.add(ctx)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Give the gradient back."""
        return gradient


def test_metrics_kept_hold_no_graph() -> None:
    """A user's metrics that still have a graph are kept without it, so that memory does not grow."""
    living = []

    class Attached(MyTrainer):
        """Gives metrics that are not detached, and counts the graphs that live."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            super().train_step(batches)
            living.append(len(Graph.living))
            return {"loss": Graph.apply(torch.ones((), requires_grad=True))}

    training.fit(Attached(), [points()], iterations=40)
    assert (living[0], max(living)) == (0, 1)  # that of the run's own metrics, the last iteration's


def test_looking_changes_nothing() -> None:
    """A run that is looked at 3 times ends with the bits of one that took single steps by hand."""
    ends = []
    for by_hand in (True, False):
        torch.manual_seed(0)
        trainer = make_trainer()
        if by_hand:
            for _ in range(120):
                trainer.train_step(iter([points()]))
        else:
            training.fit(trainer, [points()], iterations=120)
        ends.append([*trainer.generator.state_dict().values(), torch.rand(1)])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))

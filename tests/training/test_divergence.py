"""A training that has diverged says so soon, names what and when, and leaves no file that holds it."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganlib import losses, training
from ganlib.errors import GanlibError, TrainingDivergedError
from tests.training.players import MyTrainer, make_players, make_trainer, points

NAN, INF = float("nan"), float("inf")


class Going(MyTrainer):
    """A user's trainer whose second metric is what a function of the iteration says."""

    def __init__(self, loss: Callable[[int], Any], **networks: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        vars(self).update(networks)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Count, and say."""
        super().train_step(batches)
        value = self.loss(self.iteration)
        return {"steady": torch.zeros(()), "loss": value if isinstance(value, Tensor) else torch.tensor(value)}


class LossFrom(losses.NonSaturatingLoss):
    """The non-saturating loss, whose one player's is multiplied by a number in an iteration."""

    def __init__(self, player: str, iteration: int, factor: float) -> None:
        super().__init__()
        self.player, self.at, self.factor = player, iteration, factor
        self.calls = {"discriminator": 0, "generator": 0}

    def _spoiled(self, player: str, value: Tensor) -> Tensor:
        self.calls[player] += 1
        return value * self.factor if player == self.player and self.calls[player] == self.at else value

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss."""
        return self._spoiled("discriminator", super().discriminator(real_logits, fake_logits))

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return self._spoiled("generator", super().generator(fake_logits))


class Spoil:
    """Sets a weight to a value after an iteration."""

    def __init__(self, weight: Tensor, iteration: int, value: float) -> None:
        self.weight, self.iteration, self.value = weight, iteration, value

    def on_iteration(self, run: training.Run) -> None:
        """Do it, where it is time."""
        if run.iteration == self.iteration:
            with torch.no_grad():
                self.weight.view(-1)[0] = self.value


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for member in state.values() if isinstance(state, dict) else state:
            yield from tensors(member)


def assert_good(checkpoint: training.Checkpoint, before: int) -> None:
    """All files are of earlier iterations and hold finite numbers, and there is one for each that was due."""
    read = [training.load_plain(path) for path in checkpoint.paths()]
    assert [file["iteration"] for file in read] == list(range(checkpoint.every, before, checkpoint.every))
    for file in read:
        found = [tensor for tensor in tensors(file) if tensor.is_floating_point()]
        assert found
        assert all(tensor.isfinite().all() for tensor in found)


@given(st.integers(1, 130), st.integers(0, 110), st.sampled_from([NAN, INF, -INF]), st.booleans())
def test_a_users_trainer_that_diverges_is_stopped(k: int, more: int, value: float, recovers: bool) -> None:
    """Whenever a metric is not finite, once or from then on, fit raises within 100 iterations, naming it and when."""
    trainer = Going(lambda i: value if i == k or (i > k and not recovers) else 0.0)
    with pytest.raises(TrainingDivergedError) as caught:
        training.fit(trainer, [points(2)], iterations=k + more)
    assert str(caught.value) == f"training diverged: in iteration {k} loss was {value}"
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, RuntimeError)
    assert k <= trainer.iteration <= min(k + more, k + 100)


@pytest.mark.parametrize("k", [1, 2, 49, 50, 51, 99])
@pytest.mark.parametrize(("player", "factor"), [("discriminator", NAN), ("generator", NAN), ("discriminator", INF)])
def test_a_gan_that_diverges_is_stopped(tmp_path: Path, k: int, player: str, factor: float) -> None:
    """The loss and the iteration are named, weights as well, and every checkpoint is finite."""
    trainer = make_trainer(loss=LossFrom(player, k, factor))
    checkpoint = training.Checkpoint(tmp_path, every=7, keep=100)
    with pytest.raises(TrainingDivergedError, match=rf"in iteration {k} {player}_loss was {factor}") as caught:
        training.fit(trainer, [points()], iterations=1000, callbacks=[checkpoint])
    assert k <= trainer.iteration <= k + 7
    assert "; by iteration" in str(caught.value)
    assert "generator.0.weight, generator.0.bias" in str(caught.value)
    assert_good(checkpoint, k)


@pytest.mark.parametrize("k", [1, 7, 8, 48, 49, 50, 51, 56, 100, 120])
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_weight_is_noticed_while_metrics_are_finite(tmp_path: Path, k: int, value: float) -> None:
    """A weight that a callback spoils, in whatever iteration, is named, and no checkpoint holds it."""
    network = nn.Linear(2, 3)
    trainer, checkpoint = Going(lambda i: 0.0, network=network), training.Checkpoint(tmp_path, every=7, keep=100)
    callbacks = [Spoil(network.bias, k, value), checkpoint]
    with pytest.raises(TrainingDivergedError, match=r"by iteration \d+ network.bias held values") as caught:
        training.fit(trainer, [points()], iterations=120, callbacks=callbacks)
    assert "network.weight" not in str(caught.value)
    assert k <= trainer.iteration <= k + 7
    assert_good(checkpoint, k)


@pytest.mark.parametrize("k", [1, 30, 49, 50, 51, 100, 130])
def test_a_weight_is_noticed_without_a_checkpoint(k: int) -> None:
    """Without one it is noticed within 100 iterations, or at the end of the run; a statistic too."""
    trainer = make_trainer()
    spoil = Spoil(trainer.generator[1].running_var, k, INF)  # not used in training mode
    with pytest.raises(
        TrainingDivergedError, match=r"training diverged: by iteration \d+ generator.1.running_var held"
    ):
        training.fit(trainer, [points()], iterations=130, callbacks=[spoil])
    assert k <= trainer.iteration <= min(k + 100, 130)


@pytest.mark.parametrize("iterations", [1, 3, 49, 50, 51])
def test_a_short_run_is_looked_at_before_it_ends(tmp_path: Path, iterations: int) -> None:
    """A run whose last iteration spoils it raises too, before any on_end, and leaves no checkpoint of it."""
    ended = []

    class Ending:
        """Notes that the run has ended."""

        def on_end(self, run: training.Run) -> None:
            ended.append(run.iteration)

    checkpoint, gan = training.Checkpoint(tmp_path), make_trainer()
    for trainer, callbacks in (
        (Going(lambda i: NAN if i == iterations else 0.0), []),
        (gan, [Spoil(gan.discriminator[0].weight, iterations, INF)]),
    ):
        with pytest.raises(TrainingDivergedError, match=f"iteration {iterations} "):
            training.fit(trainer, [points()], iterations=iterations, callbacks=[*callbacks, Ending(), checkpoint])
    assert (ended, checkpoint.paths()) == ([], [])


def test_all_that_was_bad_first_is_named() -> None:
    """All metrics that were not finite in the first such iteration are named, and none of a later one."""

    class Three(MyTrainer):
        """Gives three metrics."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            super().train_step(batches)
            bad = self.iteration >= 5
            return {
                "late": torch.tensor(NAN if self.iteration >= 6 else 1.0),
                "one": torch.tensor(NAN if bad else 1.0),
                "two": torch.tensor([0.0, -INF if bad else 1.0]).sum(),
            }

    with pytest.raises(TrainingDivergedError) as caught:
        training.fit(Three(), [points()], iterations=20)
    assert str(caught.value) == "training diverged: in iteration 5 one was nan and two was -inf"


def test_at_most_three_weights_are_named() -> None:
    """Of many weights the first three are named, and the others counted."""
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(4)))
    trainer = Going(lambda i: 0.0, network=network)
    spoils = [Spoil(parameter, 2, NAN) for parameter in network.parameters()]
    words = "network.0.weight, network.0.bias, network.1.weight and 5 more held values that are not finite"
    with pytest.raises(TrainingDivergedError, match=words):
        training.fit(trainer, [points()], iterations=3, callbacks=spoils)


class Refilling(Going):
    """Gives out the same dict in every iteration, filled anew."""

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Fill it."""
        self.metrics = getattr(self, "metrics", {})
        self.metrics.update(super().train_step(batches))
        return self.metrics


class AModule(nn.Module):
    """A trainer that is a module itself, as in Lightning."""

    def __init__(self, loss: Callable[[int], float]) -> None:
        super().__init__()
        self.iteration, self.network = 0, nn.Linear(2, 2)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Count."""
        next(batches)
        self.iteration += 1
        return {"loss": torch.zeros(())}


class Slots:
    """A trainer without a dict of attributes."""

    __slots__ = ("iteration", "loss")

    def __init__(self, loss: Callable[[int], float]) -> None:
        self.iteration, self.loss = 0, loss

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Count."""
        next(batches)
        self.iteration += 1
        return {"loss": torch.tensor(self.loss(self.iteration))}

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.iteration = state["iteration"]


@pytest.mark.parametrize("make", [Going, Refilling, Slots])
def test_any_trainer_is_watched(make: Callable[..., training.Trainer]) -> None:
    """The very iteration is named also where one dict is filled again and again, and for a trainer with slots."""
    with pytest.raises(TrainingDivergedError, match="in iteration 33 loss was nan"):
        training.fit(make(lambda i: NAN if i >= 33 else 0.0), [points()], iterations=60)
    training.fit(make(lambda i: float(i)), [points()], iterations=120)


def test_a_trainer_that_is_a_module_is_watched() -> None:
    """The networks of a trainer that is an nn.Module itself are looked at by their names."""
    trainer = AModule(lambda i: 0.0)
    training.fit(trainer, [points()], iterations=60)
    with pytest.raises(TrainingDivergedError, match=r"by iteration \d+ network.weight held"):
        training.fit(trainer, [points()], iterations=120, callbacks=[Spoil(trainer.network.weight, 61, NAN)])


class Masked(nn.Module):
    """An attention's mask, which holds -inf for good, beside a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mask", torch.full((3, 3), -INF).triu(1))


class WithExtraState(nn.Linear):
    """A module whose state holds more than tensors."""

    def get_extra_state(self) -> dict[str, int]:
        """Plain values."""
        return {"a": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    "network",
    [
        Masked(),
        WithExtraState(1, 1),
        nn.LazyLinear(3),
        nn.BatchNorm1d(2),
        nn.Sequential(nn.Linear(2, 2).double(), nn.Linear(2, 2), nn.Linear(2, 2).bfloat16()),
        nn.Sequential(),
    ],
    ids=["mask", "extra state", "lazy", "counts", "several dtypes", "empty"],
)
def test_unusual_networks_are_no_false_alarm(network: nn.Module) -> None:
    """A mask of -inf, a state with more than tensors, lazy weights and counts do not stop a training."""
    trainer = Going(lambda i: 0.0, network=network)
    training.fit(trainer, [points()], iterations=110)
    assert trainer.iteration == 110


def test_a_mask_does_not_hide_a_weight() -> None:
    """Beside a buffer that was never finite a weight that diverges is noticed, and it alone is named."""
    network = Masked()
    trainer = Going(lambda i: 0.0, network=network)
    with pytest.raises(TrainingDivergedError, match="60 network.linear.weight held") as caught:
        training.fit(trainer, [points()], iterations=60, callbacks=[Spoil(network.linear.weight, 55, INF)])
    assert "mask" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        3e38,
        torch.tensor(1e300, dtype=torch.float64),
        torch.tensor(7),
        torch.tensor(True),
        torch.tensor(6e4).half(),
        0.5,
    ],
    ids=["large", "float64", "integer", "boolean", "half", "a number"],
)
def test_finite_metrics_are_no_false_alarm(value: Any) -> None:
    """A metric that is finite in its own dtype is let be; so is a plain number."""
    trainer = Going(lambda i: value)
    training.fit(trainer, [points()], iterations=110)
    assert trainer.iteration == 110


def test_metrics_may_come_and_go() -> None:
    """Metrics that are there in some iterations only, or in none, are read where they are."""

    class Lazy(MyTrainer):
        """Gives a metric in every third iteration."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            super().train_step(batches)
            return {"lazy": torch.tensor(NAN if self.iteration >= 64 else 0.0)} if self.iteration % 3 == 0 else {}

    with pytest.raises(TrainingDivergedError, match="in iteration 66 lazy was nan"):
        training.fit(Lazy(), [points()], iterations=200)


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


@pytest.mark.parametrize("make", [lambda: Going(lambda i: 0.0), make_trainer], ids=["own trainer", "GAN"])
def test_metrics_are_read_once_in_50_iterations(make: Callable[[], Any]) -> None:
    """No metric is read but at iterations 50 and 100 and at the end, each time all of them at once."""
    trainer = make()
    Read.reads, Read.now = [], trainer
    step = trainer.train_step
    trainer.train_step = lambda batches: {name: value.as_subclass(Read) for name, value in step(batches).items()}
    training.fit(trainer, [points()], iterations=149)
    assert Read.reads == [50, 100, 149]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fit_waits_for_the_device_nowhere_between_two_looks() -> None:
    """On CUDA nothing in iterations 51 to 99 of a run synchronises, the keeping of metrics included."""
    generator, discriminator = (network.cuda() for network in make_players())
    trainer = make_trainer(generator, discriminator)

    class Strict:
        """Makes every synchronisation an error for a while."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration in (50, 99):
                torch.cuda.set_sync_debug_mode("error" if run.iteration == 50 else "default")

    try:
        training.fit(trainer, [points().cuda()], iterations=101, callbacks=[Strict()])
    finally:
        torch.cuda.set_sync_debug_mode("default")
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

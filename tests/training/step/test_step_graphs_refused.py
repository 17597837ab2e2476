"""A step whose recording would not do what the step does: an error or a warning names what it keeps."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import training
from ganlib.errors import ArgumentTypeError, GanlibRuntimeError
from tests.training.graph_on_cpu import NOISE, GraphOnCPU, capturable_on_cpu, make_noisy
from tests.training.graph_trainings import (
    RATE,
    LossOf,
    adam,
    assert_same,
    assert_trains_alike,
    everything,
    images,
    of_images,
    of_points,
    sgd,
    train,
)
from tests.training.players import points

# What a recording would keep, although the step changes it


class Lie(NamedTuple):
    """A factor of a loss that is another one at each step, and what of it can be seen from outside."""

    factor: Callable[[Tensor], Any]
    look: Callable[[], Any] = lambda: None


class Growing:
    """Counts in an attribute."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, value: Tensor) -> Any:
        """Another factor."""
        self.count += 1
        return 1 + self.count / 64


class Outer:
    """Has one that counts."""

    def __init__(self) -> None:
        self.inner = Growing()

    def __call__(self, value: Tensor) -> Any:
        """Another factor."""
        return self.inner(value)


class Slotted:
    """Counts in a slot."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, value: Tensor) -> Any:
        """Another factor."""
        self.count += 1
        return 1 + self.count / 64


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Counts although it is frozen."""

    count: int = 0

    def __call__(self, value: Tensor) -> Any:
        """Another factor."""
        object.__setattr__(self, "count", self.count + 1)
        return 1 + self.count / 64


class Running(nn.Module):
    """Replaces its buffer, or an attribute."""

    mean: Tensor

    def __init__(self, *, buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("mean", torch.zeros(()))
        else:
            self.mean = torch.zeros(())

    def forward(self, value: Tensor) -> Tensor:
        """The running mean."""
        self.mean = 0.5 * self.mean + 0.5 * value.detach()
        return 1 + self.mean


COUNT = 0
LONG = [0] * 100  # too long to be looked through
PRIVATE = random.Random(0)


def by_nonlocal() -> Lie:
    """Counts in a variable of the function around it."""
    count = 0

    def factor(value: Tensor) -> Any:
        nonlocal count
        count += 1
        return 1 + count / 64

    return Lie(factor, lambda: count)


def by_global() -> Lie:
    """Counts in a variable of this file."""
    global COUNT
    COUNT = 0

    def factor(value: Tensor) -> Any:
        global COUNT
        COUNT += 1
        return 1 + COUNT / 64

    return Lie(factor, lambda: COUNT)


def in_a_list(numbers: list[int]) -> Lie:
    """Counts in a list."""
    numbers[0] = 0

    def factor(value: Tensor) -> Any:
        numbers[0] += 1
        return 1 + numbers[0] / 64

    return Lie(factor, lambda: numbers[0])


def of(kind: Callable[[], Any], look: str) -> Callable[[], Lie]:
    """An object, and one of its attributes."""

    def make() -> Lie:
        made = kind()
        return Lie(made, lambda: getattr(getattr(made, "inner", made), look))

    return make


def seeded(factor: Callable[[Tensor], Any]) -> Callable[[], Lie]:
    """Random numbers."""

    def make() -> Lie:
        random.seed(0)
        np.random.seed(0)
        return Lie(factor, lambda: (random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]))

    return make


def draw_privately() -> Lie:
    """Random numbers that nobody else knows of."""
    PRIVATE.seed(0)
    return Lie(lambda value: 1 + PRIVATE.random(), PRIVATE.getstate)


def draw_rarely() -> Lie:
    """A branch that is seldom taken: an ordinary step and a recording of it mostly agree."""
    PRIVATE.seed(1)
    return Lie(lambda value: -1.0 if PRIVATE.random() < 0.01 else 1.0, PRIVATE.getstate)


def draw_privately_by_numpy() -> Lie:
    """Random numbers of NumPy's that nobody else knows of."""
    numbers = np.random.default_rng(0)
    return Lie(lambda value: 1 + numbers.random(), lambda: numbers.bit_generator.state)


def log() -> Lie:
    """A list that grows, and changes nothing."""
    seen: list[Tensor] = []

    def factor(value: Tensor) -> float:
        seen.append(value.detach())
        return 1.0

    return Lie(factor, lambda: len(seen))


def draw_from_a_generator() -> Lie:
    """The same, of torch's."""
    numbers = torch.Generator().manual_seed(0)
    return Lie(lambda value: 1 + torch.rand((), generator=numbers))


LIES: dict[str, tuple[Callable[[], Lie], str]] = {
    "an attribute": (of(Growing, "count"), r"factor\.count was \d, and is \d"),
    "an attribute of an attribute": (of(Outer, "count"), r"factor\.inner\.count was \d, and is \d"),
    "a slot": (of(Slotted, "count"), r"factor\.count was \d, and is \d"),
    "a frozen dataclass": (of(Frozen, "count"), r"factor\.count was \d, and is \d"),
    "a variable of a function": (by_nonlocal, r"count was \d, and is \d"),
    "a variable of a file": (by_global, r"COUNT was \d, and is \d"),
    "a short list": (lambda: in_a_list([0]), r"numbers\[0\] was \d, and is \d"),
    "a buffer": (of(lambda: Running(buffer=True), "mean"), r"factor\.mean was replaced by another tensor"),
    "a tensor": (of(lambda: Running(buffer=False), "mean"), r"does not do what the step does; it differs in"),
    "random": (seeded(lambda value: 1 + random.random()), r"random numbers were drawn by Python's random"),
    "numpy": (seeded(lambda value: 1 + float(np.random.rand())), r"random numbers were drawn by NumPy"),
    "random numbers of one's own": (draw_privately, "random numbers were drawn from PRIVATE"),
    "numpy's of one's own": (draw_privately_by_numpy, "random numbers were drawn from numbers"),
    "a rare branch": (draw_rarely, "random numbers were drawn from PRIVATE"),
    "a log": (log, r"seen had \d entries, and has \d"),
    "item": (seeded(lambda value: 1 + value.item()), "nothing in it may wait for the device"),
    "float": (seeded(lambda value: 1 + float(value.detach())), "nothing in it may wait for the device"),
    "a branch": (
        seeded(lambda value: 2 if value > 0 else 1),
        "nothing in it may wait for the device",
    ),
    "numbers of the host": (
        seeded(lambda value: torch.tensor([1.0, 2.0], device=value.device).sum()),
        "or copy from the host",
    ),
}
HIDDEN: dict[str, tuple[Callable[[], Lie], str]] = {
    "a long list": (lambda: in_a_list(LONG), "does not do what the step does; it differs in"),
    "a generator of one's own": (draw_from_a_generator, "a random generator that no graph knows of"),
}


def lying_game(lie: Lie, cuda_graph: Any, *, optimizer: Any = sgd) -> training.GameTrainer:
    """A game whose objective multiplies by the factor."""
    torch.manual_seed(0)
    module, factor = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Dropout(0.25), nn.Linear(4, 1)), lie.factor

    def objective(batch: Tensor) -> Tensor:
        value = (module(batch) - 1).square().mean()
        return value * factor(value)

    return training.GameTrainer(
        {"module": module},
        [training.Player("player", optimizer(module.parameters()), objective)],
        cuda_graph=cuda_graph,
    )


@pytest.mark.parametrize("name", [*LIES, *HIDDEN])
def test_what_a_recording_would_keep_is_an_error(name: str, recorder: GraphOnCPU) -> None:
    """The error has the argument's name, and names what changes; nothing wrong was trained before it."""
    make, message = (LIES | HIDDEN)[name]
    one = lying_game(make(), True)
    with pytest.raises(GanlibRuntimeError, match=rf"^cuda_graph \(=True\): .*{message}"):
        train(one)
    assert one.iteration == 3
    other = lying_game(make(), False)
    train(other, 3)
    assert_same(everything(one), everything(other))


@pytest.mark.parametrize("name", LIES)
def test_auto_warns_once_of_it_and_trains_as_without_a_graph(name: str, recorder: GraphOnCPU) -> None:
    """Weights, metrics, Python's counts and all random states are those of a training that never tried to record."""
    make, message = LIES[name]
    lie = make()
    one = lying_game(lie, "auto")
    with pytest.warns(UserWarning, match=rf"^cuda_graph \(='auto'\): .*{message}.*by single launches") as caught:
        ours = train(one, 10)
    assert len(caught) == 1
    seen, state = lie.look(), torch.get_rng_state()
    lie = make()
    other = lying_game(lie, False)
    assert_same(ours, train(other, 10))
    assert_same(everything(one), everything(other))
    assert torch.equal(state, torch.get_rng_state())
    assert seen == lie.look()


@pytest.mark.parametrize("name", HIDDEN)
def test_auto_warns_of_what_it_finds_by_comparing(name: str, recorder: GraphOnCPU) -> None:
    """What is found only because two steps differ is warned of once too, and the training goes on."""
    make, message = HIDDEN[name]
    one = lying_game(make(), "auto")
    with pytest.warns(UserWarning, match=f"{message}.*by single launches") as caught:
        train(one, 10)
    assert len(caught) == 1
    assert one.iteration == 10


def by_numpy(n: int, **_: Any) -> Tensor:
    """Latents that are drawn on the host."""
    return torch.tensor(np.random.randn(n, 3), dtype=torch.float32)


class CountingPenalty(nn.Module):
    """A penalty that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, discriminator: Any, real: Tensor, fake: Tensor, *_: Any) -> Tensor:
        """Penalize."""
        self.count += 1
        return self.count * discriminator(real).square().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: {"loss": LossOf(Growing())}, r"loss\.factor\.count was 4, and is 5"),
        (lambda: {"loss": LossOf(Running(buffer=True))}, r"loss\.factor\.mean was replaced"),
        (lambda: {"loss": LossOf(lambda value: value.item())}, r"may wait for the device"),
        (lambda: {"penalties": [CountingPenalty()]}, r"penalties\.counting_penalty\.count was 4, and is 5"),
        (lambda: random.seed(0) or {"augment": lambda x: x * (1 + random.random())}, "drawn by Python's random"),
        (lambda: np.random.seed(0) or {"latent": by_numpy}, "or copy from the host"),
    ],
)
def test_parts_of_a_gan_that_a_recording_would_keep_are_named(
    options: Callable[[], dict[str, Any]], message: str, recorder: GraphOnCPU
) -> None:
    """A user's loss, penalty, augmentation and latents are looked through, and named as the trainer names them."""
    with pytest.raises(GanlibRuntimeError, match=message):
        train(of_points(cuda_graph=True, **options()))
    with pytest.warns(UserWarning, match=message) as caught:
        assert_trains_alike(lambda setting: of_points(cuda_graph=setting, **options()), setting="auto")
    assert len(caught) == 1


class CountingSGD(torch.optim.SGD):
    """Counts its steps in a Python number of its state, by which it steps."""

    def step(self, closure: Any = None) -> None:
        """Step less and less."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["count"] = state.get("count", 0) + 1
                parameter.data.add_(parameter.grad, alpha=-group["lr"] / state["count"])


class GroupCountingSGD(torch.optim.SGD):
    """Counts its steps in a setting of its groups, by which it steps."""

    def step(self, closure: Any = None) -> None:
        """Step less and less."""
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + 1
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad, alpha=-group["lr"] / group["count"])


class DecayingSGD(torch.optim.SGD):
    """Changes a setting of its own."""

    def step(self, closure: Any = None) -> None:
        """Step less and less."""
        for group in self.param_groups:
            group["lr"] *= 0.5
            for parameter in group["params"]:
                parameter.data.add_(parameter.grad, alpha=-group["lr"])


class ForgettingSGD(torch.optim.SGD):
    """Replaces the tensors of its state."""

    def step(self, closure: Any = None) -> None:
        """Step along a running mean."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["mean"] = 0.5 * state.get("mean", torch.zeros_like(parameter)) + parameter.grad
                parameter.data.add_(state["mean"], alpha=-group["lr"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (CountingSGD, r"discriminator_optimizer.*count was 4, and is 5"),
        (GroupCountingSGD, r"_optimizer\.param_groups\[0\]\['count'\] was \d, and is \d"),
        (DecayingSGD, r"_optimizer\.param_groups\[0\]\['lr'\] was \S+, and is \S+"),
        (ForgettingSGD, r"optimizer.*mean was replaced by another tensor|does not do what the step does"),
    ],
)
def test_an_optimizer_that_a_recording_would_keep_is_named(kind: Any, message: str, recorder: GraphOnCPU) -> None:
    """A user's optimizer may count steps in Python, change its settings or replace its state; it trains singly."""

    def make(cuda_graph: Any) -> Any:
        return of_points(cuda_graph=cuda_graph, optimizer=lambda parameters: kind(parameters, lr=0.25))

    with pytest.raises(GanlibRuntimeError, match=message):
        train(make(True))
    with pytest.warns(UserWarning, match=message) as caught:
        assert_trains_alike(make, setting="auto")
    assert len(caught) == 1


@pytest.mark.parametrize("setting", [True, "auto"])
def test_a_number_in_a_batch_is_named(setting: Any, recorder: GraphOnCPU) -> None:
    """A recording cannot read another number than the first."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        module = nn.Linear(2, 1)
        one = training.Player(
            "player", sgd(module.parameters()), lambda batch: (module(batch["x"]) * batch["weight"]).square().mean()
        )
        return training.GameTrainer({"module": module}, [one], cuda_graph=cuda_graph)

    def batch(seed: int) -> Any:
        return {"x": points(seed=seed), "weight": 1 / (1 + seed)}

    message = "needs batches of tensors alone, but one holds 1.0"
    if setting is True:
        with pytest.raises(ArgumentTypeError, match=rf"cuda_graph \(=True\) {message}"):
            train(make(True), batch=batch)
        return
    with pytest.warns(UserWarning, match=rf"cuda_graph \(='auto'\) {message}") as caught:
        assert_trains_alike(make, setting="auto", batch=batch)
    assert len(caught) == 1


def test_an_error_of_the_step_itself_is_raised_as_it_is(recorder: GraphOnCPU) -> None:
    """What fails without a graph fails with the same error under "auto", at whatever step."""
    module, calls = nn.Linear(2, 1), [0]

    def objective(batch: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] >= 2:
            raise KeyError("mine")
        return module(batch).sum()

    trainer = training.GameTrainer(
        {"module": module}, [training.Player("player", sgd(module.parameters()), objective)], cuda_graph="auto"
    )
    with pytest.raises(KeyError, match="mine"):
        train(trainer)


# Steps that make much of rounding


class Steady(GraphOnCPU):
    """Records kernels that add up in an order of their own, which is the same in each replay."""

    def record(self, step: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], Callable[[], None]]:
        """Record without running."""
        metrics, replay = super().record(step)

        def run() -> None:
            before = NOISE.get_state()
            NOISE.manual_seed(100)
            replay()
            NOISE.set_state(before)

        return metrics, run


@pytest.mark.parametrize(
    ("kind", "scale"), [(Steady, 2**-20), (Steady, 1e-5), *[(GraphOnCPU, 10**-n) for n in (5, 4, 3)]]
)
@pytest.mark.parametrize(
    ("make", "batch", "options"),
    [(of_points, points, {}), (of_points, points, {"optimizer": adam}), (of_images, images, {"precision": "bf16"})],
)
def test_rounding_is_no_difference(
    make: Any, batch: Any, options: dict[str, Any], kind: Any, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step with gradients that differ a little each time is recorded: a bias before batch norm has nothing else."""
    capturable_on_cpu(monkeypatch)
    for seed in range(3):
        NOISE.manual_seed(seed)
        recorder = kind()
        monkeypatch.setattr("ganlib.training._game_trainer.CudaRecorder", lambda recorder=recorder: recorder)
        trainer = make(cuda_graph=True, **options)
        make_noisy(trainer.generator, trainer.discriminator, scale=scale)
        train(trainer, 6, batch=batch)
        assert trainer.recorded_iterations == 3


class HiddenRateSGD(torch.optim.SGD):
    """Has its learning rate from where nobody looks."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Step less each time, by 2 %."""
        LONG[0] += 1
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(parameter.grad, alpha=-RATE * (1 - LONG[0] / 50))


def growing(value: Tensor) -> Any:
    """A factor, by 2 % another one each time."""
    LONG[0] += 1
    return 1 + LONG[0] / 50


def growing_weight(value: Tensor) -> Any:
    """A factor that is 1, and weighs the gradient more each time: metrics do not show it."""
    LONG[0] += 1
    return 1 + (value - value.detach()) * LONG[0] / 2


@pytest.mark.parametrize("scale", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize(
    ("factor", "optimizer"),
    [
        (lambda value: 1, lambda p: HiddenRateSGD(p, lr=RATE)),
        *[(factor, kind) for factor in (growing, growing_weight) for kind in (sgd, adam)],
        (Running(buffer=False), sgd),
    ],
)
def test_what_is_wrong_is_seen_through_rounding(
    factor: Any, optimizer: Any, scale: float, recorder: GraphOnCPU
) -> None:
    """A learning rate, a number, a weight of a loss and an address that a recording keeps are still an error."""
    LONG[0] = 0
    NOISE.manual_seed(0)
    trainer = lying_game(Lie(factor), True, optimizer=optimizer)
    make_noisy(trainer.modules["module"], scale=scale)
    with pytest.raises(GanlibRuntimeError, match="does not do what the step does; it differs in"):
        train(trainer)


# On CUDA


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*LIES, "a long list"])  # the other hidden one is of the host
def test_on_cuda_what_a_recording_would_keep_is_an_error(name: str) -> None:
    """As it is with the stand-in; and random numbers can be drawn on the device after it."""
    make, message = (LIES | HIDDEN)[name]
    lie = make()
    module, factor = nn.Linear(2, 1).cuda(), lie.factor
    if isinstance(factor, nn.Module):
        factor.cuda()

    def objective(batch: Tensor) -> Tensor:
        value = (module(batch) - 1).square().mean()
        return value * factor(value)

    for setting in (True, "auto"):
        player = training.Player("player", torch.optim.Adam(module.parameters()), objective)
        trainer = training.GameTrainer({"module": module}, [player], cuda_graph=setting)
        caught: Any = pytest.raises(GanlibRuntimeError, match=message)
        with caught if setting is True else pytest.warns(UserWarning, match=message):
            train(trainer, batch=lambda seed: points(seed=seed).cuda())
        assert torch.rand(3, device="cuda").isfinite().all()

"""A step that is recorded once and run again: what it gives is what the step would give, or an error says why not."""

import collections
import copy
import dataclasses
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import augment, conditioning, latents, losses, penalties, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError
from ganlib.training._step._memory import Memory
from ganlib.training._step._step_graphs import StepGraphs
from tests.ranks import Ranks
from tests.training.graph_on_cpu import NOISE, GraphOnCPU, capturable_on_cpu, make_noisy, stand_in
from tests.training.players import MyHinge, make_players, make_trainer, points, weights

CPU = torch.device("cpu")
RATE = 2**-7  # a float32 holds it


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphOnCPU]:
    """What trainers with ``cuda_graph=True`` are recorded by; each test draws the same random numbers."""
    recorder = stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield recorder


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """An optimizer whose recorded steps are its ordinary ones, bit for bit."""
    return torch.optim.SGD(parameters, lr=RATE, momentum=0.5, fused=True)


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Another one."""
    return torch.optim.Adam(parameters, lr=RATE, betas=(0.5, 0.875), capturable=True, foreach=True)


def of_points(*, cuda_graph: Any, optimizer: Any = sgd, **options: Any) -> training.AdversarialTrainer:
    """A trainer of points."""
    generator, discriminator = make_players()
    own = {"generator_optimizer": optimizer(generator.parameters())} | {
        "discriminator_optimizer": optimizer(discriminator.parameters())
    }
    return make_trainer(generator, discriminator, cuda_graph=cuda_graph, **(own | options))


def of_images(*, cuda_graph: Any, optimizer: Any = adam, **options: Any) -> training.AdversarialTrainer:
    """A trainer of images of 8 by 8."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(3, 64),
        nn.Unflatten(1, (4, 4, 4)),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 2, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Dropout2d(0.25),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(16, 1),
    )
    return make_trainer(
        generator,
        discriminator,
        generator_optimizer=optimizer(generator.parameters()),
        discriminator_optimizer=optimizer(discriminator.parameters()),
        cuda_graph=cuda_graph,
        **options,
    )


def images(seed: int, n: int = 6) -> Tensor:
    """Samples for it."""
    return torch.rand(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


Before = Callable[[Any, int], object]


def train(trainer: Any, iterations: int = 8, *, batch: Any = points, before: Before | None = None) -> list[float]:
    """All metrics of a training whose batches and random numbers belong to the iterations."""
    metrics = []
    for iteration in range(trainer.iteration, trainer.iteration + iterations):
        if before is not None:
            before(trainer, iteration)
        torch.manual_seed(iteration)
        drawn = iter([batch(seed=7 * iteration + part) for part in range(trainer.batches_per_iteration)])
        metrics += [value.item() for value in trainer.train_step(drawn).values()]
    return metrics


def everything(trainer: Any) -> list[Tensor]:
    """All tensors of the state: weights, buffers, and those of optimizers."""
    found = []

    def look(nest: Any) -> None:
        if isinstance(nest, Tensor):
            found.append(nest.detach().clone())
        elif isinstance(nest, dict | list | tuple):
            for part in nest.values() if isinstance(nest, dict) else nest:
                look(part)

    look(trainer.state_dict())
    return found


def assert_same(one: Any, other: Any) -> None:
    """Both are the same, bit for bit."""
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def assert_trains_alike(make: Callable[[Any], Any], *, setting: Any = True, **options: Any) -> None:
    """A training with a graph is one without, bit for bit."""
    one = make(setting)
    ours = train(one, **options)
    other = make(False)  # only now: what is made may write variables that both read
    assert_same(ours, train(other, **options))
    assert_same(everything(one), everything(other))


def steps(trainer: Any, *batches: Any) -> list[dict[str, Tensor]]:
    """The metrics of a step for each batch."""
    stream = iter(batches)
    return [trainer.train_step(stream) for _ in range(len(batches) // trainer.batches_per_iteration)]


# What is trained


class Features(nn.Module):
    """A discriminator with features."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Any:
        """Score."""
        features = self.body(x).tanh()
        return training.protocols.DiscriminatorOutput(self.head(features), features=(features,))


OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": dict,
    "discriminator_steps": lambda: {"discriminator_steps": 2},
    "accumulation": lambda: {"accumulate_grad_batches": 2},
    "reuse_fakes": lambda: {"reuse_fakes": True},
    "reuse_fakes, accumulation": lambda: {"reuse_fakes": True, "accumulate_grad_batches": 2, "discriminator_steps": 2},
    "clipping": lambda: {"max_grad_norm": 0.125},
    "joint_pass": lambda: {"joint_pass": True},
    "bf16": lambda: {"precision": "bf16", "max_grad_norm": 1.0},
    "fp16": lambda: {"precision": "fp16", "optimizer": lambda p: torch.optim.Adam(p, lr=RATE, fused=True)},
    "channels_last": lambda: {"channels_last": True, "precision": "bf16"},
    "R1, lazy": lambda: {"penalties": [penalties.R1(1.0, every=3)]},
    "R2": lambda: {"penalties": [penalties.R2(1.0)]},
    "reuse_logits": lambda: {"penalties": [penalties.R1(1.0), penalties.R2(1.0)], "reuse_logits": True},
    "penalties under autocast": lambda: {"penalties": [penalties.R1(1.0, precision="autocast")], "precision": "bf16"},
    "GradientPenalty": lambda: {"penalties": [penalties.GradientPenalty(1.0)], "loss": losses.WassersteinLoss()},
    "DRAGAN": lambda: {"penalties": [penalties.DRAGAN(1.0)]},
    "LeCam": lambda: {"penalties": [penalties.LeCam(0.5, decay=0.5)], "loss": losses.HingeLoss()},
    "Consistency": lambda: {"penalties": [penalties.Consistency(augment.RandomHorizontalFlip())]},
    "a weight that is a tensor": lambda: {"penalties": [penalties.R1(torch.tensor(0.5))]},
    "DiffAugment": lambda: {"augment": augment.DiffAugment()},
    "AdaptiveAugment": lambda: {"augment": augment.AdaptiveAugment(p=0.5, images=256, every=2)},
    "flips and rotations": lambda: {
        "augment": nn.Sequential(augment.RandomHorizontalFlip(), augment.RandomRotation(15.0))
    },
    "label smoothing": lambda: {
        "loss": losses.NonSaturatingLoss(losses.LabelSmoothing(real=0.9, jitter=0.125, flip=0.125))
    },
    "a relativistic loss": lambda: {"loss": losses.RelativisticAverageLoss()},
    "a weighted sum": lambda: {
        "loss": losses.WeightedSum([losses.HingeLoss(), losses.WassersteinLoss()], [torch.tensor(1.0), 0.5])
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_recorded_training_is_the_ordinary_one(name: str, recorder: GraphOnCPU) -> None:
    """Metrics, weights, buffers and optimizers are equal, and each kind of step is recorded once."""
    options = OPTIONS[name]
    iterations = 14 if "lazy" in name else 8
    assert_trains_alike(
        lambda cuda_graph: of_images(cuda_graph=cuda_graph, **options()), iterations=iterations, batch=images
    )
    assert recorder.recorded == (2 if "lazy" in name else 1)
    assert recorder.freed == 0  # on CUDA it would be others' by now


@pytest.mark.parametrize(
    "name", ["nothing", "reuse_fakes", "R1, lazy", "LeCam", "DiffAugment", "AdaptiveAugment", "bf16"]
)
def test_a_resumed_training_is_the_uninterrupted_one(name: str, recorder: GraphOnCPU) -> None:
    """A state that was loaded in the middle goes on bit for bit, in another trainer and in its own."""
    one, other = (of_images(cuda_graph=True, **OPTIONS[name]()) for _ in range(2))
    train(one, 6, batch=images)
    state = copy.deepcopy(one.state_dict())
    metrics = train(one, 8, batch=images)
    final = everything(one)
    for trainer in (other, one):
        trainer.load_state_dict(copy.deepcopy(state))
        assert_same(train(trainer, 8, batch=images), metrics)
        assert_same(everything(trainer), final)


class PoolGame(NamedTuple):
    """A game with a pool of images, an EMA, and a weight that a schedule changes."""

    trainer: training.GameTrainer
    callbacks: list[Any]
    ema: training.EMA


def pool_game(cuda_graph: Any) -> PoolGame:
    """Make it."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    pool, weight, hinge = training.ImagePool((2,), 16), torch.zeros(()), losses.HingeLoss()

    def fakes(batch: Tensor) -> tuple[Tensor, Tensor]:
        return batch, generator(torch.randn_like(batch))

    def discriminator_objective(batch: Any) -> Tensor:
        real, fake = batch
        return hinge.discriminator(discriminator(real), discriminator(pool(fake)))

    def generator_objective(batch: Any) -> Any:
        real, fake = batch
        distance = (fake - real).square().mean()
        return hinge.generator(discriminator(fake)) + weight * distance, {"distance": distance}

    optimizers = adam(discriminator.parameters()), adam(generator.parameters())
    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator, "pool": pool},
        [
            training.Player("discriminator", optimizers[0], discriminator_objective),
            training.Player("generator", optimizers[1], generator_objective),
        ],
        prepare=fakes,
        cuda_graph=cuda_graph,
    )
    ema = training.EMA(generator, decay=0.5)
    schedules = [
        training.LearningRateSchedule(optimizers[0], training.cosine_decay()),
        training.Schedule(weight, lambda progress: 4 * progress),
    ]
    return PoolGame(trainer, [ema, *schedules], ema)


def test_pool_average_and_schedules_go_with_a_recording(recorder: GraphOnCPU) -> None:
    """In ``fit``, with an image pool, an EMA, a scheduled weight and learning rate, a graph changes nothing."""
    results = []
    for cuda_graph in (True, False):
        game = pool_game(cuda_graph)
        torch.manual_seed(1)
        batches = [points(6, seed=seed) for seed in range(12)]
        training.fit(game.trainer, batches, iterations=24, callbacks=game.callbacks)
        results.append([*everything(game.trainer), *game.ema.state_dict().values()])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
    assert recorder.recorded == 1


def test_a_rollback_goes_on_as_it_does_without_a_graph(tmp_path: Any, recorder: GraphOnCPU) -> None:
    """``fit`` goes back to a checkpoint when a weight is spoilt, and the recorded training after it is the same."""
    results = []
    for cuda_graph in (True, False):
        game = pool_game(cuda_graph)
        trips = [7]

        class Trip:
            """Spoils a weight once."""

            def on_iteration(self, run: training.Run) -> None:
                """Do it."""
                if trips and run.iteration == trips[0]:  # noqa: B023
                    trips.clear()  # noqa: B023
                    with torch.no_grad():
                        game.trainer.modules["generator"].weight.fill_(float("nan"))  # noqa: B023

        torch.manual_seed(1)
        checkpoint = training.Checkpoint(tmp_path / str(cuda_graph), every=5)
        with pytest.warns(UserWarning, match="goes back to iteration 5"):
            training.fit(
                game.trainer,
                [points(6, seed=seed) for seed in range(6)],
                iterations=16,
                callbacks=[*game.callbacks, Trip(), checkpoint],
                rollbacks=1,
            )
        results.append([*everything(game.trainer), *game.ema.state_dict().values()])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
    assert recorder.recorded == 2


class OldSpectralNorm(nn.Module):
    """A discriminator with torch's first spectral norm, which binds its weight to another tensor at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.utils.spectral_norm(nn.Linear(128, 4)), nn.Tanh(), nn.utils.spectral_norm(nn.Linear(4, 1))
        )
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Score, and keep the features to be looked at."""
        self.last = self.layers[:3](x)
        return self.layers[3](self.last)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated")
def test_attributes_that_each_call_binds_are_no_trouble(recorder: GraphOnCPU) -> None:
    """What a module computes anew, and keeps in an attribute, is no state."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(3, 128), nn.Unflatten(1, (2, 8, 8)), nn.Tanh())
        discriminator = OldSpectralNorm()
        optimizers = adam(generator.parameters()), adam(discriminator.parameters())
        return make_trainer(
            generator,
            discriminator,
            generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
            cuda_graph=cuda_graph,
        )

    assert_trains_alike(make, batch=images)
    assert recorder.recorded == 1


class Reaching(NamedTuple):
    """An objective that reaches what the host counts in."""

    modules: dict[str, nn.Module]
    objective: Callable[[Tensor], Any]
    count: Callable[[], object]


def reach_an_average() -> Reaching:
    """A mean teacher: an EMA, which counts its updates."""
    module = nn.Linear(2, 1)
    ema = training.EMA(module, decay=0.5)
    return Reaching(
        {"module": module, "ema": ema}, lambda batch: (ema.module(batch) - module(batch)).square().mean(), ema.update
    )


def reach_the_trainer() -> Reaching:
    """The trainer, which counts iterations and keeps metrics."""
    module, trainers = nn.Linear(2, 1), list[Any]()

    def objective(batch: Tensor) -> Tensor:
        (trainer,) = trainers
        return (trainer.modules["module"](batch) - 1).square().mean()

    return Reaching({"module": module, "trainers": Keeping(trainers)}, objective, lambda: None)


class Keeping(nn.Module):
    """Holds a list."""

    def __init__(self, kept: list[Any]) -> None:
        super().__init__()
        self.kept = kept


@pytest.mark.parametrize("reach", [reach_an_average, reach_the_trainer])
def test_what_only_the_host_counts_is_no_change(reach: Callable[[], Reaching], recorder: GraphOnCPU) -> None:
    """An objective may reach an EMA, or the trainer itself; that those count on the host changes no step."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        reaching = reach()
        player = training.Player("player", sgd(reaching.modules["module"].parameters()), reaching.objective)
        trainer = training.GameTrainer(reaching.modules, [player], cuda_graph=cuda_graph)
        if "trainers" in reaching.modules:
            reaching.modules["trainers"].kept.append(trainer)
        count[id(trainer)] = reaching.count
        return trainer

    count: dict[int, Any] = {}
    assert_trains_alike(make, iterations=14, before=lambda trainer, _: count[id(trainer)]())
    assert recorder.recorded == 1


def test_each_kind_of_step_has_its_recording(recorder: GraphOnCPU) -> None:
    """Another batch size, an iteration with a lazy penalty, and another mode are recorded apart, each once."""
    trainer = of_points(penalties=[penalties.R1(1.0, every=2)], cuda_graph=True)
    steps(trainer, *[points(32)] * 12)
    assert recorder.recorded == 2
    steps(trainer, *[points(16)] * 12)
    assert recorder.recorded == 4
    trainer.generator.eval()
    steps(trainer, *[points(32)] * 12)
    assert recorder.recorded == 6
    trainer.generator.train()
    steps(trainer, *[points(32)] * 12, *[points(16)] * 12)
    assert recorder.recorded == 6


@pytest.mark.parametrize("nested", [False, True])
def test_conditions_of_the_fakes_are_asked_for_in_every_step(nested: bool, recorder: GraphOnCPU) -> None:
    """What ``fake_conditions`` draws on the host reaches a recorded step: each update has its own."""

    class Shifted(nn.Module):
        """Adds the condition."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor, condition: Any) -> Tensor:
            """Generate."""
            return self.layer(x) + (condition["shift"] if nested else condition).unsqueeze(1)

    def make(cuda_graph: bool) -> Any:
        torch.manual_seed(0)
        numbers = torch.Generator().manual_seed(0)

        def draw(n: int) -> Any:
            drawn = torch.rand(n, generator=numbers)
            return {"shift": drawn} if nested else drawn

        generator, discriminator = Shifted(), conditioning.Unconditional(nn.Linear(2, 1))
        return make_trainer(
            generator,
            discriminator,
            loss=MyHinge(),
            fake_conditions=draw,
            generator_optimizer=sgd(generator.parameters()),
            discriminator_optimizer=sgd(discriminator.parameters()),
            cuda_graph=cuda_graph,
        )

    condition = {"shift": torch.zeros(4)} if nested else torch.zeros(4)
    assert_trains_alike(make, batch=lambda seed: (points(4, seed=seed), condition))
    assert recorder.replayed > 0


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


class LossOf:
    """A loss of a user's with a factor."""

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        value = MyHinge().discriminator(real, fake)
        return value * self.factor(value)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return MyHinge().generator(fake)


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


# What changes between steps


SCALE = 1.0


class Scaled:
    """A loss whose scale is a variable of this file, an attribute, or that of an object."""

    def __init__(self) -> None:
        self.own = 1.0
        self.smoothing = losses.LabelSmoothing(real=1.0)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        return SCALE * self.own * self.smoothing.real * MyHinge().discriminator(real, fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return self.own * MyHinge().generator(fake)


def set_scale(trainer: Any) -> None:
    """Change a variable of this file."""
    global SCALE
    SCALE = 0.5


def replace_data(trainer: Any) -> None:
    """Let parameters lie elsewhere, with other values."""
    for parameter in trainer.generator.parameters():
        parameter.data = parameter.data * 0.5


def replace_buffer(trainer: Any) -> None:
    """Give batch norm another buffer."""
    trainer.generator[1].running_mean = torch.ones(8)


def replace_state(trainer: Any) -> None:
    """Forget what the optimizer has gathered."""
    for state in trainer.generator_optimizer.state.values():
        state["momentum_buffer"] = torch.zeros_like(state["momentum_buffer"])


def move_average(trainer: Any) -> None:
    """Write weights in place."""
    with torch.no_grad():
        for parameter in trainer.generator.parameters():
            parameter.mul_(0.5)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a penalty's weight": lambda t: setattr(t.modules["penalties.0"], "weight", 4.0),
    "an attribute of the loss": lambda t: setattr(vars(LOSS)["inner"], "own", 0.5),
    "an object of the loss": lambda t: setattr(vars(LOSS)["inner"], "smoothing", losses.LabelSmoothing(real=0.5)),
    "a variable of the file": set_scale,
    "a submodule": lambda t: t.discriminator.__setitem__(1, nn.Tanh()),
    "the first submodule": lambda t: t.discriminator.__setitem__(
        0, copy.deepcopy(t.discriminator[0]).requires_grad_(False)
    ),
    "a layer more": lambda t: t.discriminator.append(nn.Tanh()),
    "a layer fewer": lambda t: t.discriminator.__delitem__(2),
    "the probability of dropout": lambda t: setattr(t.discriminator[2], "p", 0.5),
    "a slope": lambda t: setattr(t.discriminator[1], "negative_slope", 0.5),
    "the momentum of batch norm": lambda t: setattr(t.generator[1], "momentum", 0.5),
    "layers are frozen": lambda t: t.generator[0].requires_grad_(False),
    "weights, elsewhere": replace_data,
    "weights, in place": move_average,
    "a buffer": replace_buffer,
    "the state of an optimizer": replace_state,
    "a setting of an optimizer": lambda t: t.generator_optimizer.param_groups[0].update(momentum=0.25),
    "the learning rate": lambda t: t.generator_optimizer.param_groups[0].update(lr=RATE / 2),
    "a mode": lambda t: t.generator.eval(),
    "a hook": lambda t: t.discriminator[1].register_forward_hook(lambda _, __, output: 0.5 * output),
}
LOSS: Any = MyHinge()


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_between_steps_is_followed(
    name: str, optimizer: Any, recorder: GraphOnCPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it, a recorded step is what an ordinary one is."""
    if optimizer is adam and name in ("the state of an optimizer", "a setting of an optimizer"):
        pytest.skip("it is SGD's")

    def make(cuda_graph: Any) -> Any:
        monkeypatch.setattr(f"{__name__}.SCALE", 1.0)
        loss = Scaled()
        LOSS.inner = loss
        return of_points(cuda_graph=cuda_graph, optimizer=optimizer, loss=loss, penalties=[penalties.R1(1.0)])

    def before(trainer: Any, iteration: int) -> None:
        if iteration == 5:
            CHANGES[name](trainer)

    assert_trains_alike(make, before=before, iterations=12)
    assert recorder.recorded >= 1


class Part:
    """Any part of a trainer, whose value depends on a number that is changed between steps."""

    def __init__(self) -> None:
        self.weight = 1.0
        self.own = 1.0

    def discriminator(self, *arguments: Any) -> Any:
        """A loss, or an auxiliary loss, for the discriminator."""
        if len(arguments) == 2:
            return self.own * MyHinge().discriminator(*arguments)
        return self.own * arguments[0].fake_output.logits.square().mean()

    def generator(self, *arguments: Any) -> Any:
        """The same for the generator."""
        if isinstance(arguments[0], Tensor):
            return self.own * MyHinge().generator(arguments[0])
        return self.own * arguments[0].fake.square().mean()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """A penalty, a latent, an augmentation, or conditions."""
        if options:
            return self.own * torch.randn(arguments[0], 4)
        if len(arguments) > 1:
            return self.own * arguments[0](arguments[1]).square().mean()
        return self.own * arguments[0] if isinstance(arguments[0], Tensor) else torch.full((arguments[0], 1), self.own)


class Told(nn.Module):
    """A network of a sample or a latent and a condition."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute."""
        return self.layer(x * (1 + condition.to(x.dtype)))


def with_part(part: Part, role: str, cuda_graph: Any, reuse_fakes: bool) -> training.AdversarialTrainer:
    """A trainer that has the part in one role."""
    torch.manual_seed(0)
    roles: dict[str, Any] = {
        "loss": {"loss": part},
        "latent": {"latent": part},
        "an auxiliary loss": {"auxiliary_losses": [part]},
        "a penalty": {"penalties": [part]},
        "augment": {"augment": part},
        "fake_conditions": {"fake_conditions": part},
    }
    generator, discriminator = Told(2, 4), Told(1, 2)
    if role != "fake_conditions":
        generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)  # type: ignore[assignment]
    options: dict[str, Any] = {"loss": MyHinge(), "latent": latents.Gaussian(4), **roles[role]}
    return training.AdversarialTrainer(
        generator,
        discriminator,
        sgd(generator.parameters()),
        sgd(discriminator.parameters()),
        reuse_fakes=reuse_fakes,
        cuda_graph=cuda_graph,
        **options,
    )


@pytest.mark.parametrize("reuse_fakes", [False, True])
@pytest.mark.parametrize(
    ("role", "attribute"),
    [
        ("loss", "own"),
        ("latent", "own"),
        ("an auxiliary loss", "own"),
        ("an auxiliary loss", "weight"),
        ("a penalty", "own"),
        ("augment", "own"),
        ("fake_conditions", "own"),
    ],
)
def test_a_number_of_any_part_that_changes_is_followed(
    role: str, attribute: str, reuse_fakes: bool, recorder: GraphOnCPU
) -> None:
    """A part without a state, whatever its role: a recorded training is an ordinary one after a change too."""
    results = []
    for cuda_graph in (False, True):
        part = Part()
        trainer = with_part(part, role, cuda_graph, reuse_fakes)
        samples = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
        batch = (samples, torch.zeros(8, 1)) if role == "fake_conditions" else samples
        for iteration in range(12):
            if iteration == 6:
                setattr(part, attribute, 3.0)
            trainer.train_step(batch)
        results.append([*trainer.generator.parameters(), *trainer.discriminator.parameters()])
    assert trainer.recorded_iterations > 0
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def sgd_as_it_comes(parameters: Any) -> torch.optim.Optimizer:
    """With momentum, in the form that torch chooses."""
    return torch.optim.SGD(parameters, lr=RATE, momentum=0.5)


@pytest.mark.parametrize("setting", [True, "auto"])
@pytest.mark.parametrize("optimizer", [sgd_as_it_comes, adam])
def test_layers_that_are_unfrozen_are_trained(optimizer: Any, setting: Any, recorder: GraphOnCPU) -> None:
    """A layer that was frozen at first has no state in the optimizer; from its first step on it gathers one."""

    def before(trainer: Any, iteration: int) -> None:
        trainer.discriminator[0].requires_grad_(iteration >= 6)

    results = []
    for cuda_graph in (setting, False):
        trainer = of_points(cuda_graph=cuda_graph, optimizer=optimizer)
        train(trainer, 14, before=before)
        results.append([*weights(trainer).values()])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_a_new_submodule_has_its_own_mode(recorder: GraphOnCPU) -> None:
    """A submodule that comes in evaluation mode, and later goes to training mode, is followed in both."""

    def before(trainer: Any, iteration: int) -> None:
        if iteration == 5:
            trainer.discriminator[2] = nn.Dropout(0.5).eval()
        if iteration == 12:
            trainer.discriminator[2].train()

    assert_trains_alike(lambda cuda_graph: of_points(cuda_graph=cuda_graph), before=before, iterations=18)


def test_the_mode_of_a_network_that_an_objective_reaches_is_followed(recorder: GraphOnCPU) -> None:
    """A network without a state need not be named in ``modules``."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        module, dropout = nn.Linear(2, 1), nn.Dropout(0.5)
        player = training.Player(
            "player", sgd(module.parameters()), lambda batch: (dropout(module(batch)) - 1).square().mean()
        )
        dropouts.append(dropout)
        return training.GameTrainer({"module": module}, [player], cuda_graph=cuda_graph)

    def before(_: Any, iteration: int) -> None:
        dropouts[-1].train(iteration < 6)

    dropouts: list[nn.Module] = []
    assert_trains_alike(make, before=before, iterations=14)


def test_the_iterations_that_were_launched_as_a_graph_are_counted(recorder: GraphOnCPU) -> None:
    """Of each kind all but the first three; none without a graph, and none after "auto" has given up."""
    trainer = of_points(penalties=[penalties.R1(1.0, every=4)], cuda_graph=True)
    steps(trainer, *[points()] * 20)
    assert trainer.recorded_iterations == 20 - 2 * 3
    plain = of_points(cuda_graph=False)
    steps(plain, *[points()] * 5)
    assert plain.recorded_iterations == 0
    fallen = of_points(loss=LossOf(lambda value: value.item()), cuda_graph="auto")
    with pytest.warns(UserWarning, match="by single launches"):
        steps(fallen, *[points()] * 8)
    assert fallen.recorded_iterations == 0


class Config:
    """Settings as attributes of a class."""

    weight = 1.0


class Base:
    """What objectives as methods share."""

    epoch = 0

    def __init__(self) -> None:
        self.net, self.scale, self.seen = nn.Linear(2, 1), 1.0, 0

    @property
    def weight(self) -> float:
        """A number that depends on another one."""
        return 1.0 if self.epoch < 1 else 0.25

    def loss(self, batch: Tensor) -> Tensor:
        """What the number weighs."""
        return self.scale * (self.net(batch) - 1).square().mean()


class System(Base):
    """A class of a user's, whose methods are objectives."""

    def by_property(self, batch: Tensor) -> Tensor:
        """Read a property."""
        return self.weight * self.loss(batch)

    def by_super(self, batch: Tensor) -> Tensor:
        """Read an attribute by a method of the class above."""
        return super().loss(batch)


class Lightning(nn.Module):
    """A module whose method is an objective."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.noise = nn.Linear(2, 1), nn.Dropout(0.0)
        self.register_buffer("mean", torch.zeros(()))

    def objective(self, batch: Tensor) -> Tensor:
        """Use children and buffers."""
        value = (self.noise(self.net(batch)) - self.mean).square().mean()
        with torch.no_grad():
            self.mean.lerp_(batch.mean(), 0.25)
        return value


class Reached(NamedTuple):
    """An objective, its network, what is compared in the end, and what a user changes."""

    objective: Callable[[Tensor], Any]
    net: nn.Module
    change: Callable[[], object]
    state: Callable[[], Any] = lambda: None


def method(name: str, change: Callable[[System], object]) -> Callable[[], Reached]:
    """A method of a user's class."""

    def make() -> Reached:
        system = System()
        return Reached(getattr(system, name), system.net, lambda: change(system))

    return make


def of_lightning(change: Callable[[Lightning], object]) -> Callable[[], Reached]:
    """A method of a module."""

    def make() -> Reached:
        system = Lightning()
        return Reached(system.objective, system.net, lambda: change(system), lambda: system.mean)

    return make


def simple(wrap: Callable[[nn.Module], tuple[Callable[[Tensor], Any], Callable[[], object]]]) -> Callable[[], Reached]:
    """A function, and what changes what it reads."""

    def make() -> Reached:
        net = nn.Linear(2, 1)
        objective, change = wrap(net)
        return Reached(objective, net, change)

    return make


def base(net: nn.Module, batch: Tensor) -> Tensor:
    """A loss."""
    return (net(batch) - 1).square().mean()


def by_default(net: nn.Module) -> Any:
    """An argument with a default."""
    config = {"weight": 1.0}
    return lambda batch, config=config, net=net: config["weight"] * base(net, batch), lambda: config.update(weight=0.25)


def by_class(net: nn.Module) -> Any:
    """A class that is bound to a variable."""
    config = type("Own", (Config,), {"__module__": __name__})

    def change() -> None:
        config.weight = 0.25

    return lambda batch: config.weight * base(net, batch), change


def by_getattr(net: nn.Module) -> Any:
    """A name as a word."""
    system = System()
    return lambda batch: getattr(system, "scale") * base(net, batch), lambda: setattr(system, "scale", 0.25)  # noqa: B009


def by_deque(net: nn.Module) -> Any:
    """The last of a few."""
    weights = collections.deque([1.0], maxlen=1)
    return lambda batch: weights[-1] * base(net, batch), lambda: weights.append(0.25)


def by_set(net: nn.Module) -> Any:
    """Whether it is there."""
    on: set[str] = set()
    return lambda batch: (0.25 if "low" in on else 1.0) * base(net, batch), lambda: on.add("low")


def by_array(net: nn.Module) -> Any:
    """A number in an array of NumPy's."""
    weights = np.ones(2)
    return lambda batch: float(weights[0]) * base(net, batch), lambda: weights.__setitem__(0, 0.25)


def by_hook_that_reads(net: Any) -> Any:
    """A hook of a weight, which reads a number."""
    system = System()
    net.weight.register_hook(lambda gradient: gradient * system.scale)
    return lambda batch: base(net, batch), lambda: setattr(system, "scale", 0.25)


def by_hook(net: nn.Module) -> Any:
    """A hook of a module, which reads a number."""
    system = System()
    net.register_forward_pre_hook(lambda module, given: (given[0] * system.scale,))
    return lambda batch: base(net, batch), lambda: setattr(system, "scale", 0.25)


def by_hook_of_a_weight(net: Any) -> Any:
    """A hook of a weight, which comes later."""
    return lambda batch: base(net, batch), lambda: net.weight.register_hook(lambda gradient: gradient * 0.25)


REACHED: dict[str, Callable[[], Reached]] = {
    "a property": method("by_property", lambda system: setattr(system, "epoch", 1)),
    "super": method("by_super", lambda system: setattr(system, "scale", 0.25)),
    "a child of a module": of_lightning(lambda system: setattr(system.noise, "p", 0.5)),
    "a default": simple(by_default),
    "a class": simple(by_class),
    "getattr": simple(by_getattr),
    "a deque": simple(by_deque),
    "a set": simple(by_set),
    "a hook": simple(by_hook),
    "a hook of a weight": simple(by_hook_of_a_weight),
    "a hook of a weight, which reads": simple(by_hook_that_reads),
    "an array": simple(by_array),
}


@pytest.mark.parametrize("name", REACHED)
def test_what_an_objective_reaches_in_any_way_is_followed(name: str, recorder: GraphOnCPU) -> None:
    """A number that a user changes between steps is used from then on, wherever the objective has it from."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        reached = REACHED[name]()
        player = training.Player("player", sgd(reached.net.parameters()), reached.objective)
        changes.append(reached)
        return training.GameTrainer({"net": reached.net}, [player], cuda_graph=cuda_graph)

    def before(_: Any, iteration: int) -> None:
        if iteration == 7:
            changes[-1].change()

    changes: list[Reached] = []
    assert_trains_alike(make, before=before, iterations=14)
    assert_same(*(reached.state() for reached in changes))
    assert recorder.recorded == 2


def test_a_counter_that_no_objective_names_is_no_change(recorder: GraphOnCPU) -> None:
    """What a user's class counts beside its objectives does not cost a recording."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        system = System()
        systems.append(system)
        player = training.Player("player", sgd(system.net.parameters()), system.by_super)
        return training.GameTrainer({"net": system.net}, [player], cuda_graph=cuda_graph)

    systems: list[System] = []
    assert_trains_alike(make, before=lambda *_: setattr(systems[-1], "seen", systems[-1].seen + 1), iterations=12)
    assert recorder.recorded == 1


class Lookahead(torch.optim.Optimizer):
    """An optimizer around another one, which counts."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner, self.count = inner, 0
        super().__init__(inner.param_groups, {})
        self.slow = [parameter.detach().clone() for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Step, and go half of the way back at every fifth."""
        self.inner.step()
        self.count += 1
        if self.count % 5 == 0:
            fast = [parameter for group in self.param_groups for parameter in group["params"]]
            for slow, parameter in zip(self.slow, fast, strict=True):
                parameter.copy_(slow.lerp_(parameter, 0.5))


class Wrapper(torch.optim.Optimizer):
    """An optimizer around another one, without more."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure: Any = None) -> None:
        """Step."""
        self.inner.step()


def test_an_optimizer_around_another_one_is_looked_through(recorder: GraphOnCPU) -> None:
    """One that counts is an error that names the count, or falls back; what the inner one keeps is put back."""

    def make(kind: Any) -> Any:
        def trainer(cuda_graph: Any) -> Any:
            torch.manual_seed(0)
            net = nn.Linear(2, 1)
            optimizer = kind(torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5))
            player = training.Player("player", optimizer, lambda batch: base(net, batch))
            return training.GameTrainer({"net": net}, [player], cuda_graph=cuda_graph)

        return trainer

    with pytest.raises(GanlibRuntimeError, match=r"player_optimizer\.count was 4, and is 5"):
        train(make(Lookahead)(True))
    one, other = make(Lookahead)("auto"), make(Lookahead)(False)
    with pytest.warns(UserWarning, match=r"player_optimizer\.count was 4, and is 5"):
        train(one, 12)
    train(other, 12)
    assert_same([*one.modules["net"].parameters()], [*other.modules["net"].parameters()])
    one, other = make(Wrapper)(True), make(Wrapper)(False)
    train(one, 12)
    train(other, 12)
    assert_same([*one.modules["net"].parameters()], [*other.modules["net"].parameters()])


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_objective_may_reach_its_optimizer(wrapped: bool, recorder: GraphOnCPU) -> None:
    """A learning rate that changes needs no other recording, though a part holds the optimizer, or one around it."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        net = nn.Linear(2, 1)
        inner = torch.optim.SGD(net.parameters(), lr=0.05, fused=True)
        optimizer: Any = Wrapper(inner) if wrapped else inner
        player = training.Player("player", optimizer, lambda batch: base(net, batch) + 0 * len(optimizer.param_groups))
        return training.GameTrainer({"net": net}, [player], cuda_graph=cuda_graph)

    def before(trainer: Any, iteration: int) -> None:
        trainer.players[0].optimizer.param_groups[0]["lr"] = 0.05 / (1 + iteration)

    results = []
    for cuda_graph in (True, False):
        trainer = make(cuda_graph)
        train(trainer, 12, before=before)
        results.append([*trainer.modules["net"].parameters()])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
    assert recorder.recorded == 1


def test_what_counts_on_the_host_within_a_step_is_named(recorder: GraphOnCPU) -> None:
    """An EMA that ``prepare`` updates, and a scheduler in a hook of an optimizer, would stand still."""
    net = nn.Linear(2, 1)
    ema = training.EMA(net)
    optimizer = sgd(net.parameters())
    player = training.Player("player", optimizer, lambda batch: base(net, batch))
    trainer = training.GameTrainer(
        {"net": net, "ema": ema}, [player], prepare=lambda batch: ema.update() or batch, cuda_graph=True
    )
    with pytest.raises(GanlibRuntimeError, match=r"ema\.updates was 4, and is 5"):
        train(trainer)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.register_step_post_hook(lambda *_: scheduler.step())
    trainer = training.GameTrainer({"net": net}, [player], cuda_graph=True)
    with pytest.raises(GanlibRuntimeError, match="within one step"):
        train(trainer)


def test_a_step_may_change_its_batch(recorder: GraphOnCPU) -> None:
    """A batch that is scaled in place is scaled once, also where the recording is compared."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        net = nn.Linear(2, 1)
        player = training.Player("player", sgd(net.parameters()), lambda batch: base(net, batch.mul_(2).sub_(1)))
        return training.GameTrainer({"net": net}, [player], cuda_graph=cuda_graph)

    results = []
    for cuda_graph in (True, False):
        trainer = make(cuda_graph)
        for seed in range(10):
            trainer.train_step(points(seed=seed))
        results.append([*trainer.modules["net"].parameters()])
    assert_same(*results)
    assert recorder.recorded == 1


def test_gradients_are_those_of_the_last_iteration(recorder: GraphOnCPU) -> None:
    """Of two kinds of iterations, each recorded, a callback sees the gradients of the one that was last."""

    def gradients(cuda_graph: Any) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Linear(2, 1)
        optimizer = sgd(net.parameters())
        players = [
            training.Player("one", optimizer, lambda batch: base(net, batch)),
            training.Player("two", optimizer, lambda batch: 5 * base(net, batch), every=2),
        ]
        trainer, seen = training.GameTrainer({"net": net}, players, cuda_graph=cuda_graph), []
        for seed in range(14):
            trainer.train_step(points(seed=seed))
            seen.append(net.weight.grad.clone())
        return seen

    assert_same(gradients(True), gradients(False))
    assert recorder.recorded == 2


def test_gradients_after_an_ordinary_iteration_are_those_of_the_next_recorded_one(recorder: GraphOnCPU) -> None:
    """A batch of another size between two recorded iterations leaves no gradients of its own behind."""

    def gradients(cuda_graph: Any) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Linear(2, 1)
        player = training.Player("player", sgd(net.parameters()), lambda batch: base(net, batch))
        trainer, seen = training.GameTrainer({"net": net}, [player], cuda_graph=cuda_graph), []
        for seed in range(12):
            trainer.train_step(points(5 if seed in (6, 9) else 8, seed=seed))
            seen.append(net.weight.grad.clone())
        return seen

    assert_same(gradients(True), gradients(False))
    assert recorder.recorded == 1


def test_without_memory_to_compare_auto_goes_back(recorder: GraphOnCPU, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out in the middle, the iteration is taken once, singly, with one warning."""
    contents, calls = Memory.contents, [0]

    def scarce(memory: Memory) -> dict[str, Tensor]:
        calls[0] += 1
        if calls[0] == 3:  # after the first run of the recording
            raise torch.OutOfMemoryError("out of memory")
        return contents(memory)

    monkeypatch.setattr(Memory, "contents", scarce)
    with pytest.warns(UserWarning, match="there is no memory to record the step.*by single launches"):
        assert_trains_alike(lambda setting: of_points(cuda_graph=setting), setting="auto", iterations=8)


def test_what_is_in_no_modules_is_changed_once_in_each_step(recorder: GraphOnCPU) -> None:
    """Running means that an objective only reaches: comparing a recording leaves no trace in them."""

    def make(cuda_graph: Any) -> Any:
        torch.manual_seed(0)
        module, lecam, mean = nn.Linear(2, 1), penalties.LeCam(0.5, decay=0.5), torch.zeros(())

        def objective(batch: Tensor) -> Tensor:
            logits = module(batch)
            mean.lerp_(logits.detach().mean(), 0.25)
            return lecam.of(logits, -logits) + (logits - mean).square().mean()

        reached.append((lecam, mean))
        player = training.Player("player", sgd(module.parameters()), objective)
        return training.GameTrainer({"module": module}, [player], cuda_graph=cuda_graph)

    reached: list[tuple[penalties.LeCam, Tensor]] = []
    assert_trains_alike(make, iterations=10)
    (one, mean), (other, other_mean) = reached
    assert recorder.recorded == 1
    assert_same([*one.buffers(), mean], [*other.buffers(), other_mean])


@pytest.mark.parametrize("setting", [True, "auto"])
def test_a_number_that_changes_at_every_step_is_warned_of(setting: Any, recorder: GraphOnCPU) -> None:
    """After eight recordings that were soon of no use there is one warning; "auto" launches singly from then on."""

    def before(trainer: Any, iteration: int) -> None:
        trainer.modules["penalties.0"].weight = 1 / (1 + iteration)

    def make(cuda_graph: Any) -> Any:
        return of_points(cuda_graph=cuda_graph, penalties=[penalties.R1(1.0)])

    with pytest.warns(
        UserWarning, match=r"recorded again 8 times.*penalties\.r1\.weight was .*training.Schedule"
    ) as caught:
        assert_trains_alike(make, setting=setting, before=before, iterations=30)
    assert len(caught) == 1
    assert (recorder.recorded < 10) == (setting == "auto")


def test_a_number_that_seldom_changes_is_not_warned_of() -> None:
    """A number that is another one every hundred steps may be Python's, as often as that happens."""
    numbers, recorder = {"weight": 1.0}, GraphOnCPU()

    def step(batches: Tensor) -> dict[str, Tensor]:
        return {"sum": numbers["weight"] * batches.sum()}

    graphs = of_step(step, recorder, parts=lambda: {"step": step})
    for change in range(12):
        numbers["weight"] = 1.0 + change
        assert take(graphs, torch.ones(2), 105) == [2.0 * (1 + change)] * 105
    assert recorder.recorded == 12


# What cannot be recorded


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (adam, {"precision": "fp16"}, r"discriminator_optimizer \(=Adam\) with precision \(='fp16'\).*fused=True"),
        (torch.optim.LBFGS, {}, r"discriminator_optimizer \(=LBFGS\).*closure"),
        (lambda p: torch.optim.Adagrad(p, lr_decay=0.5), {}, r"discriminator_optimizer \(=Adagrad\).*lr_decay=0"),
    ],
)
def test_optimizers_that_cannot_be_recorded_are_refused(
    optimizer: Any, options: dict[str, Any], message: str, recorder: GraphOnCPU
) -> None:
    """At once, by name; "auto" warns once, and launches singly."""
    with pytest.raises(ArgumentValueError, match=rf"cuda_graph \(=True\) cannot record {message}"):
        of_points(cuda_graph=True, optimizer=optimizer, **options)
    with pytest.warns(UserWarning, match=rf"cuda_graph \(='auto'\) cannot record {message}.*single launches") as caught:
        trainer = of_points(cuda_graph="auto", optimizer=optimizer, **options)
    assert len(caught) == 1
    if optimizer is not torch.optim.LBFGS:
        train(trainer, 5)
    assert recorder.recorded == 0


def sums(batches: Any) -> dict[str, Tensor]:
    """A step that changes nothing."""
    return {"sum": batches.sum()}


def of_step(step: Any, recorder: Any, **options: Any) -> StepGraphs:
    """The graphs of a step without parts."""
    given = {"optimizers": {}, "parts": dict, "device": CPU}
    return StepGraphs(step, recorder, **(given | options))


@pytest.mark.parametrize("setting", [True, "auto"])
def test_there_is_a_limit_to_the_kinds_of_steps(setting: Any) -> None:
    """Recordings take memory: of batches of ever other sizes the 33rd and later ones are ordinary, with one warning."""
    recorder = GraphOnCPU()
    graphs = of_step(sums, recorder, setting=setting)

    def run(sizes: range) -> None:
        for size in sizes:
            assert take(graphs, torch.ones(size)) == [size] * 5

    run(range(1, 33))
    with pytest.warns(UserWarning, match="there are more than 32 kinds of steps.*drop_last=True") as caught:
        run(range(33, 40))
    assert len(caught) == 1
    replayed = recorder.replayed
    run(range(1, 3))
    assert recorder.replayed == replayed + 10


def take(graphs: StepGraphs, batches: Any, times: int = 5) -> list[float]:
    """The sums that so many steps give."""
    return [graphs(batches, kind=())["sum"].item() for _ in range(times)]


def test_any_nest_of_tensors_is_read_where_it_was_recorded() -> None:
    """Dicts, tuples, None and a tensor that is there twice reach a recorded step; its metrics stay what they were."""

    def step(batches: Any) -> dict[str, Tensor]:
        assert batches[1][2] is None
        return {"sum": batches[0]["a"].sum() + 10 * batches[1][0].sum() + 100 * batches[1][1].sum()}

    recorder, kept = GraphOnCPU(), []
    graphs = of_step(step, recorder)
    for value in range(8):
        shared = torch.full((2,), float(value))
        kept.append(graphs([{"a": shared}, (shared, torch.ones(1), None)], kind=())["sum"])
    assert [value.item() for value in kept] == [22.0 * value + 100 for value in range(8)]
    assert recorder.recorded == 1


class Rows(list):  # type: ignore[type-arg]
    """A list of a user's."""


@pytest.mark.parametrize("kind", [Rows, list, tuple, lambda parts: dict(enumerate(parts))])
def test_every_kind_of_nest_is_read_anew(kind: Callable[[Any], Any]) -> None:
    """A user's own kind of list is one as well."""
    module = nn.Linear(1, 1)

    def objective(batch: Any) -> Any:
        return module.weight.square().sum(), {"sum": batch[0].sum() + batch[1].sum()}

    one = training.Player("player", sgd(module.parameters()), objective)
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        trainer = training.GameTrainer({"module": module}, [one], cuda_graph=True)
    for value in range(8):
        batch = kind([torch.full((2,), float(value)), torch.ones(1)])
        assert trainer.train_step(iter([batch]))["sum"] == 2 * value + 1


def test_another_structure_is_another_kind() -> None:
    """A batch with other keys, another number of parts, or one tensor in place of two is recorded apart."""
    recorder = GraphOnCPU()
    graphs = of_step(lambda batches: {"sum": sum(value.sum() for value in batches.values())}, recorder)
    one, other = torch.ones(2), torch.ones(2)
    for batches in ({"a": one, "b": other}, {"a": one, "b": one}, {"a": one}, {"c": one}):
        assert take(graphs, batches) == [2.0 * len(batches)] * 5
    assert recorder.recorded == 4


def test_metrics_of_other_dtypes_are_given_as_they_are() -> None:
    """Metrics of several dtypes come back by their names, each in its own."""
    graphs = of_step(lambda x: {"a": x.sum(), "b": x.double().mean(), "c": x.square().sum()}, GraphOnCPU())
    for value in range(6):
        metrics = graphs(torch.full((2,), float(value)), kind=())
        assert {name: one.item() for name, one in metrics.items()} == {"a": 2 * value, "b": value, "c": 2 * value**2}
        assert metrics["b"].dtype == torch.float64


@pytest.mark.parametrize("leaf", ["a name", 3, 0.5])
def test_what_is_not_a_tensor_is_refused(leaf: Any) -> None:
    """A recording could not read another string or number than the first, so such a leaf is named, and not used."""
    graphs = of_step(sums, GraphOnCPU())
    with pytest.raises(ArgumentTypeError, match=rf"cuda_graph \(=True\) needs batches of tensors alone.*{leaf!r}"):
        take(graphs, [(torch.ones(2), {"leaf": leaf})])


def step_on_a_rank() -> str:
    """What a step says here."""
    try:
        take(of_step(sums, GraphOnCPU()), torch.ones(2))
    except ArgumentValueError as error:
        return str(error)
    return "nothing"


def test_several_processes_are_refused(two_ranks: Ranks) -> None:
    """A graph is for one process; more are refused with the argument's name."""
    assert two_ranks(step_on_a_rank) == ["cuda_graph (=True) is for one process, but there are 2"] * 2


def train_on_a_rank(setting: Any) -> tuple[list[str], list[float]]:
    """The warnings and the weights of a training."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stand_in(patch)
        trainer = of_points(cuda_graph=setting)
        train(trainer, 5)
    return [str(one.message) for one in caught], torch.cat([*map(torch.flatten, weights(trainer).values())]).tolist()


def test_in_several_processes_auto_warns_once_and_trains(two_ranks: Ranks) -> None:
    """Each process trains as it does without a graph."""
    plain = two_ranks(train_on_a_rank, False)
    for (said, values), (_, expected) in zip(two_ranks(train_on_a_rank, "auto"), plain, strict=True):
        (one,) = [message for message in said if "cuda_graph" in message]
        assert "cuda_graph (='auto') is for one process, but there are 2. The training goes on" in one
        assert values == expected


def test_a_device_that_has_no_graphs_is_refused() -> None:
    """On the CPU the argument is refused at once, and "auto" trains without a word."""
    with pytest.raises(
        ArgumentValueError, match=r"cuda_graph \(=True\) needs a CUDA device, but the modules are on cpu"
    ):
        make_trainer(cuda_graph=True)
    assert_trains_alike(lambda setting: make_trainer(cuda_graph=setting), setting="auto")


@pytest.mark.parametrize("setting", [1, "yes", None])
def test_a_setting_that_is_none_of_the_three_is_refused(setting: Any) -> None:
    """It is quoted."""
    with pytest.raises(ArgumentTypeError, match=r"cuda_graph \(=.*\) must be True, False or 'auto'"):
        make_trainer(cuda_graph=setting)


# On CUDA


def _on_cuda(cuda_graph: Any, **options: Any) -> training.AdversarialTrainer:
    generator, discriminator = (network.cuda() for network in make_players())
    generator[1] = nn.Identity()  # a bias before batch norm has rounding noise for a gradient, which Adam amplifies
    discriminator[2] = nn.Identity()  # whose random numbers a graph draws otherwise
    given: dict[str, Any] = {"loss": MyHinge(), "latent": latents.Gaussian(3)} | options
    optimizer = given.pop("optimizer", lambda parameters: torch.optim.Adam(parameters, lr=1e-2))
    return training.AdversarialTrainer(
        generator,
        discriminator,
        optimizer(generator.parameters()),
        optimizer(discriminator.parameters()),
        cuda_graph=cuda_graph,
        **given,
    )


def fused(parameters: Any) -> torch.optim.Optimizer:
    """What steps with fp16."""
    return torch.optim.Adam(parameters, lr=1e-2, fused=True)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "fp16", "optimizer": fused},
        {"penalties": [penalties.R1(1.0, every=2)], "max_grad_norm": 1.0},
        {"reuse_fakes": True},
        {"optimizer": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.5)},
        {"optimizer": lambda p: torch.optim.RMSprop(p, lr=1e-3)},
        {"optimizer": lambda p: torch.optim.AdamW(p, lr=1e-2)},
        {"optimizer": lambda p: torch.optim.Adagrad(p, lr=1e-2)},
        {"optimizer": lambda p: torch.optim.NAdam(p, lr=1e-2)},
        {"optimizer": lambda p: torch.optim.RAdam(p, lr=1e-2)},
        {"optimizer": lambda p: torch.optim.Adamax(p, lr=1e-2)},
        {"optimizer": torch.optim.Adadelta},
        {"optimizer": torch.optim.ASGD},
        {"optimizer": torch.optim.Rprop},
    ],
)
def test_a_graph_trains_as_single_launches_do(options: dict[str, Any]) -> None:
    """On CUDA, with latents from a table, a graph's metrics and weights equal those of ordinary steps."""
    table = torch.randn(32, 3, device="cuda")
    results = []
    for cuda_graph in (False, True):
        given = copy.deepcopy({name: value for name, value in options.items() if name == "penalties"})
        trainer = _on_cuda(cuda_graph, latent=lambda n, **_: table[:n].clone(), **(options | given))
        metrics = []
        for iteration in range(12):
            for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer):
                optimizer.param_groups[0]["lr"] *= 1 - iteration / 64
            metrics += steps(trainer, points(seed=iteration).cuda())
        results.append([*weights(trainer).values(), *(value for step in metrics for value in step.values())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_no_step_waits_for_the_device(cuda_graph: bool, sync_debug_mode: Callable[[str], None]) -> None:
    """Neither single launches nor a graph's synchronise with the host."""
    trainer = _on_cuda(cuda_graph, optimizer=fused)
    batches = [points(seed=seed).cuda() for seed in range(12)]
    steps(trainer, *batches[:6])
    sync_debug_mode("error")
    steps(trainer, *batches[6:])
    sync_debug_mode("default")


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


@pytest.mark.gpu
@pytest.mark.parametrize("side", [False, True])
def test_on_cuda_an_output_that_somebody_keeps_is_no_riddle(side: bool) -> None:
    """With the graph of an output of before, made on any stream, it is recorded, or one warning says what to do."""
    trainer = _on_cuda("auto")
    with torch.cuda.stream(torch.cuda.Stream() if side else torch.cuda.current_stream()):
        kept = trainer.generator(torch.randn(8, 3, device="cuda"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(trainer, batch=lambda seed: points(seed=seed).cuda())
    assert kept.isfinite().all()
    if not trainer.recorded_iterations:
        (message,) = [str(one.message) for one in caught if "cuda_graph" in str(one.message)]
        assert "kept with its graph (detach it)" in message


@pytest.mark.gpu
def test_a_resumed_graph_is_the_uninterrupted_one() -> None:
    """On CUDA within rounding; each trainer records for itself."""
    one, other = _on_cuda(True), _on_cuda(True)
    train(one, 7, batch=lambda seed: points(seed=seed).cuda())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for trainer in (one, other):
        train(trainer, 8, batch=lambda seed: points(seed=seed).cuda())
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-4)

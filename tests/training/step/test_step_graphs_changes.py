"""What changes between the steps of a recorded training is followed, or a warning names it."""

import collections
import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import latents, losses, penalties, training
from ganlib.errors import GanlibRuntimeError
from ganlib.training._step._memory import Memory
from tests.training.graph_on_cpu import GraphOnCPU
from tests.training.graph_trainings import (
    RATE,
    LossOf,
    adam,
    assert_same,
    assert_trains_alike,
    of_points,
    of_step,
    sgd,
    steps,
    take,
    train,
)
from tests.training.players import MyHinge, points, weights

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
    """A number that a user's class counts, and its objectives do not use, does not cost a recording."""

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

"""Optimizers as users make them, stepped so that a recording can repeat it; they stay what the user knows."""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import training
from ganlib.errors import ArgumentValueError
from ganlib.training._step._recordable import RecordableOptimizer, load_portable_state, portable_state
from tests.training.graph_on_cpu import GraphOnCPU, capturable_on_cpu, stand_in
from tests.training.players import make_trainer, points

Make = Callable[..., torch.optim.Optimizer]

RATE = 2**-7  # a float32 holds it, and its multiples, so that every form of an optimizer computes with the same number
F64 = torch.float64

OPTIMIZERS: dict[str, Make] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.875)),
    "Adam, amsgrad": lambda p: torch.optim.Adam(p, lr=RATE, amsgrad=True, weight_decay=0.125),
    "Adam, one by one": lambda p: torch.optim.Adam(p, lr=RATE, foreach=False),
    "Adam, foreach": lambda p: torch.optim.Adam(p, lr=RATE, foreach=True),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=RATE, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=0.125),
    "AdamW, fused": lambda p: torch.optim.AdamW(p, lr=RATE, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=RATE),
    "SGD, momentum": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.5, nesterov=True, weight_decay=0.125),
    "SGD, foreach": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.5, foreach=True),
    "SGD, fused": lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.5, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=RATE),
    "RMSprop, momentum": lambda p: torch.optim.RMSprop(p, lr=RATE, momentum=0.5, centered=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=RATE),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=RATE),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=RATE),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=RATE),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=RATE),
}
# Where a number and a tensor as the learning rate are rounded otherwise, by torch.
ROUNDING = {"Adam, one by one": 1e-7}


@pytest.fixture(autouse=True)
def recorder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphOnCPU]:
    """What trainers with ``cuda_graph=True`` are recorded by, but on CUDA; each test draws the same random numbers."""
    if request.node.get_closest_marker("gpu"):
        yield GraphOnCPU()
        return
    recorder = stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)
    with torch.random.fork_rng():
        yield recorder


def make(
    optimizer: Make, *, dtype: torch.dtype = F64, device: str = "cpu", **options: Any
) -> training.AdversarialTrainer:
    """A trainer of two smooth networks, whose gradients are far from rounding noise."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).to(device, dtype)
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1)).to(device, dtype)
    return make_trainer(
        generator,
        discriminator,
        generator_optimizer=optimizer(generator.parameters()),
        discriminator_optimizer=optimizer(discriminator.parameters()),
        **options,
    )


Before = Callable[[training.AdversarialTrainer, int], None]


def train(
    trainer: training.AdversarialTrainer, iterations: int = 8, *, before: Before = lambda *_: None
) -> list[float]:
    """Train, on batches that differ; what is called before each iteration is given its number. All metrics."""
    weight, metrics = next(trainer.generator.parameters()), []
    for iteration in range(trainer.iteration, trainer.iteration + iterations):
        before(trainer, iteration)
        torch.manual_seed(iteration)
        metrics += [value.item() for value in trainer.train_step(points(seed=iteration).to(weight)).values()]
    return metrics


def optimizers_of(trainer: training.AdversarialTrainer) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Both."""
    return trainer.generator_optimizer, trainer.discriminator_optimizer


def weights(trainer: training.AdversarialTrainer) -> Tensor:
    """All weights, as one vector."""
    return torch.cat(
        [p.detach().flatten() for net in (trainer.generator, trainer.discriminator) for p in net.parameters()]
    )


def assert_same_training(one: Any, other: Any, *, tolerance: float = 0.0, **options: Any) -> None:
    """Two trainers train alike."""
    ours, theirs = train(one, **options), train(other, **options)
    torch.testing.assert_close(weights(one), weights(other), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=tolerance, atol=tolerance)


def by_hand(optimizer: Make) -> Make:
    """The same optimizer, made by hand so that it could be recorded: capturable, and foreach where that is free."""

    def prepared(parameters: Any) -> torch.optim.Optimizer:
        made = optimizer(parameters)
        for group in made.param_groups:
            if group.get("foreach") is None and not group.get("fused"):
                group["foreach"] = True
            if "capturable" in group:
                group["capturable"] = True
        return made

    return prepared


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_recorded_training_is_the_ordinary_one(name: str, recorder: GraphOnCPU) -> None:
    """As a user makes them, all of torch's optimizers train by a recording as they train without one."""
    optimizer = OPTIMIZERS[name]
    trainer = make(optimizer, cuda_graph=True)
    assert_same_training(trainer, make(by_hand(optimizer)), tolerance=ROUNDING.get(name, 1e-13))
    assert recorder.recorded == 1
    assert recorder.replayed > 0
    assert recorder.freed == 0  # on CUDA it would be others' by now
    # Plain forms round their coefficients otherwise: torch computes them in float32 on the device.
    other = make(optimizer)
    train(other)
    torch.testing.assert_close(weights(trainer), weights(other), rtol=0, atol=2e-3 * RATE if name == "RAdam" else 1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_between_steps_groups_hold_what_the_user_gave(name: str) -> None:
    """Whatever happens within a step, no setting has another value or type after it."""
    trainer = make(OPTIMIZERS[name], cuda_graph=True)
    kept = [[dict(group) for group in optimizer.param_groups] for optimizer in optimizers_of(trainer)]

    def look(*_: object) -> None:
        for groups, optimizer in zip(kept, optimizers_of(trainer), strict=True):
            for before, group in zip(groups, optimizer.param_groups, strict=True):
                assert before == group
                assert [*map(type, before.values())] == [*map(type, group.values())]
            assert "step" not in vars(optimizer)

    train(trainer, 6, before=look)
    look()


def change_rates(trainer: training.AdversarialTrainer, iteration: int) -> None:
    """Another learning rate for each iteration and player."""
    for factor, optimizer in zip((1, 2), optimizers_of(trainer), strict=True):
        optimizer.param_groups[0]["lr"] = factor * RATE * (1 - iteration / 64)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"Rprop"}))  # which has a size of step for each weight
def test_learning_rates_of_every_iteration_are_followed(name: str, recorder: GraphOnCPU) -> None:
    """One recording reads them all; where the user has chosen a form that cannot, each has one, with a warning."""
    trainer, other = make(OPTIMIZERS[name], cuda_graph=True), make(by_hand(OPTIMIZERS[name]))
    warns = name == "SGD, foreach"
    said = r"recorded again 8 times.*_optimizer\.param_groups\[0\]\['lr'\] was 0\.\d+, and is 0\.\d+"
    with pytest.warns(UserWarning, match=said) if warns else contextlib.nullcontext():
        assert_same_training(
            trainer, other, iterations=30 if warns else 12, before=change_rates, tolerance=ROUNDING.get(name, 1e-13)
        )
    assert warns or recorder.recorded == 1


Schedule = Callable[[torch.optim.Optimizer], Any]
of_torch = torch.optim.lr_scheduler

SCHEDULERS: dict[str, Schedule] = {
    "LambdaLR": lambda o: of_torch.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "MultiplicativeLR": lambda o: of_torch.MultiplicativeLR(o, lambda epoch: 0.75),
    "StepLR": lambda o: of_torch.StepLR(o, 2, gamma=0.5),
    "MultiStepLR": lambda o: of_torch.MultiStepLR(o, [1, 5, 6], gamma=0.5),
    "ConstantLR": lambda o: of_torch.ConstantLR(o, 0.25, total_iters=5),
    "LinearLR": lambda o: of_torch.LinearLR(o, 0.25, total_iters=6),
    "ExponentialLR": lambda o: of_torch.ExponentialLR(o, 0.75),
    "PolynomialLR": lambda o: of_torch.PolynomialLR(o, 20),
    "CosineAnnealingLR": lambda o: of_torch.CosineAnnealingLR(o, 12),
    "CosineAnnealingWarmRestarts": lambda o: of_torch.CosineAnnealingWarmRestarts(o, 4),
    "CyclicLR": lambda o: of_torch.CyclicLR(o, RATE / 4, RATE, step_size_up=3, cycle_momentum=False),
    "OneCycleLR": lambda o: of_torch.OneCycleLR(o, RATE, total_steps=20, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: of_torch.ReduceLROnPlateau(o, patience=0, factor=0.5),
    "SequentialLR": lambda o: of_torch.SequentialLR(
        o, [of_torch.LinearLR(o, 0.25, total_iters=4), of_torch.ExponentialLR(o, 0.5)], [4]
    ),
    "ChainedScheduler": lambda o: of_torch.ChainedScheduler(
        [of_torch.ConstantLR(o, 0.5, total_iters=5), of_torch.ExponentialLR(o, 0.75)]
    ),
}
CYCLES: dict[str, Schedule] = {
    "OneCycleLR": lambda o: of_torch.OneCycleLR(o, RATE, total_steps=20),
    "CyclicLR": lambda o: of_torch.CyclicLR(o, RATE / 4, RATE, step_size_up=3, base_momentum=0.5, max_momentum=0.75),
}


def scheduled(trainer: training.AdversarialTrainer, schedule: Schedule) -> Before:
    """What a training loop with a scheduler for each optimizer does after each iteration."""
    schedulers = [schedule(optimizer) for optimizer in optimizers_of(trainer)]

    def before(_: training.AdversarialTrainer, iteration: int) -> None:
        if iteration:
            for scheduler in schedulers:
                given = [1.0] if isinstance(scheduler, of_torch.ReduceLROnPlateau) else []  # it stays: a plateau
                scheduler.step(*given)

    return before


def rates(trainer: training.AdversarialTrainer) -> list[list[float]]:
    """The learning rates."""
    return [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in optimizers_of(trainer)]


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # of SequentialLR on torch 2.6
@pytest.mark.parametrize("name", ["Adam", "SGD, momentum"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_of_torch_are_followed(scheduler: str, name: str, recorder: GraphOnCPU) -> None:
    """Each changes the learning rate of the one recording as it changes that of ordinary steps, without a warning."""
    one, other = make(OPTIMIZERS[name], cuda_graph=True), make(by_hand(OPTIMIZERS[name]))
    before = [scheduled(trainer, SCHEDULERS[scheduler]) for trainer in (one, other)]
    first = rates(one)
    train(one, before=before[0])
    train(other, before=before[1])
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=1e-6 * RATE)
    assert rates(one) == rates(other)
    assert rates(one) != first
    assert recorder.recorded == 1


@pytest.mark.parametrize("name", ["Adam", "Adam, amsgrad", "AdamW", "Adam, one by one", "Adam, fused"])
@pytest.mark.parametrize("scheduler", CYCLES)
def test_cycles_of_betas_are_followed(scheduler: str, name: str, recorder: GraphOnCPU) -> None:
    """A scheduler that changes an Adam's betas at every step is followed by one more recording at most."""
    one, other = make(OPTIMIZERS[name], cuda_graph=True), make(OPTIMIZERS[name])
    before = [scheduled(trainer, CYCLES[scheduler]) for trainer in (one, other)]
    train(one, before=before[0])
    train(other, before=before[1])
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-5, atol=1e-7)
    assert recorder.recorded <= 2


def change_betas(trainer: training.AdversarialTrainer, iteration: int) -> None:
    """From the seventh iteration on, other betas in each."""
    for optimizer in optimizers_of(trainer):
        if iteration >= 6:
            optimizer.param_groups[0]["betas"] = (0.5 - iteration / 64, 0.875 + iteration / 256)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adam, fused", "Adam, one by one", "Adam, amsgrad"])
def test_betas_that_change_are_recorded_once_more(name: str, recorder: GraphOnCPU) -> None:
    """They are numbers until they first change, and lie on the device from then on."""
    one, other = make(OPTIMIZERS[name], cuda_graph=True), make(OPTIMIZERS[name])
    assert_same_training(one, other, iterations=18, before=change_betas, tolerance=1e-6)
    assert recorder.recorded == 2
    assert one.generator_optimizer.param_groups[0]["betas"] == (0.5 - 17 / 64, 0.875 + 17 / 256)


@pytest.mark.parametrize("setting", ["eps", "weight_decay", "betas"])
def test_other_settings_are_recorded_again(setting: str, recorder: GraphOnCPU) -> None:
    """A setting that a recording keeps as a number takes effect at once."""

    def change(trainer: training.AdversarialTrainer, iteration: int) -> None:
        if iteration == 6:
            group = trainer.generator_optimizer.param_groups[0]
            group[setting] = (0.0, 0.5) if setting == "betas" else 0.25

    assert_same_training(
        make(OPTIMIZERS["NAdam"], cuda_graph=True), make(by_hand(OPTIMIZERS["NAdam"])), before=change, tolerance=1e-13
    )
    assert recorder.recorded == 2


def fill(trainer: training.AdversarialTrainer, iteration: int) -> None:
    """Write another learning rate into the user's tensor."""
    for optimizer in optimizers_of(trainer):
        optimizer.param_groups[0]["lr"].fill_(RATE * (1 - iteration / 64))


def replace(trainer: training.AdversarialTrainer, iteration: int) -> None:
    """Give another tensor, or a number, as old versions of ReduceLROnPlateau do."""
    for optimizer in optimizers_of(trainer):
        number = RATE * (1 - iteration / 64)
        optimizer.param_groups[0]["lr"] = number if iteration % 3 == 2 else torch.tensor(number, dtype=F64)


@pytest.mark.parametrize("change", [fill, replace])
@pytest.mark.parametrize("capturable", [False, True])
def test_a_tensor_for_a_learning_rate_is_followed(change: Before, capturable: bool, recorder: GraphOnCPU) -> None:
    """A user's own tensor stays in the group, and what it holds in each iteration is what is used."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=torch.tensor(RATE, dtype=F64), capturable=capturable, foreach=capturable)

    trainer = make(optimizer, cuda_graph=True)
    tensor = trainer.generator_optimizer.param_groups[0]["lr"]
    assert_same_training(trainer, make(optimizer), before=change, tolerance=1e-13 if capturable else 1e-6)
    assert recorder.recorded == 1
    assert change is replace or trainer.generator_optimizer.param_groups[0]["lr"] is tensor


def return_to_a_number(trainer: training.AdversarialTrainer, iteration: int) -> None:
    """The first number again, after a tensor."""
    for optimizer in optimizers_of(trainer):
        optimizer.param_groups[0]["lr"] = torch.tensor(RATE / 2, dtype=F64) if 4 <= iteration < 6 else RATE


def test_a_number_that_comes_back_is_followed() -> None:
    """A tensor that takes the place of a number for a while is forgotten after it."""
    one, other = (make(by_hand(OPTIMIZERS["Adam"]), cuda_graph=cuda_graph) for cuda_graph in (True, False))
    assert_same_training(one, other, before=return_to_a_number, tolerance=1e-13)


HOST_TENSORS: dict[str, Make] = {
    "SGD, one by one": lambda p: torch.optim.SGD(p, lr=torch.tensor(RATE), foreach=False),
    "SGD, foreach": lambda p: torch.optim.SGD(p, lr=torch.tensor(RATE), foreach=True),
    "RMSprop, one by one": lambda p: torch.optim.RMSprop(p, lr=torch.tensor(RATE), foreach=False),
}


@pytest.mark.parametrize("name", HOST_TENSORS)
def test_a_tensor_that_is_read_on_the_host_is_followed(name: str) -> None:
    """A form that takes a learning rate as a number has another setting once a tensor on the host holds another."""
    optimizer = HOST_TENSORS[name]([nn.Parameter(torch.ones(2))])
    one = own(optimizer)
    one.refresh()
    before = one.settings()
    assert before == one.settings()
    optimizer.param_groups[0]["lr"].fill_(RATE / 2)
    assert before != one.settings()


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:cuda_graph .* recorded again 8 times")
@pytest.mark.parametrize("name", HOST_TENSORS)
def test_on_cuda_a_tensor_on_the_host_is_followed(name: str) -> None:
    """What it holds is used, in any form of the optimizer."""
    one, other = (make(HOST_TENSORS[name], cuda_graph=cuda_graph, device="cuda") for cuda_graph in (True, False))
    assert_same_training(one, other, before=fill, tolerance=1e-6)


def betas_of(first: float, second: float) -> tuple[Tensor, Tensor]:
    """Betas as tensors."""
    return torch.tensor(first, dtype=F64), torch.tensor(second, dtype=F64)


def with_tensors(parameters: Any) -> torch.optim.Optimizer:
    """An Adam whose betas are tensors."""
    return torch.optim.Adam(parameters, lr=RATE, betas=betas_of(0.5, 0.875), foreach=False, capturable=True)


@pytest.mark.parametrize("replaced", [False, True])
def test_tensors_for_betas_are_followed(replaced: bool, recorder: GraphOnCPU) -> None:
    """What a user's tensors hold in each iteration is used, and so is another tensor in their place."""

    def change(trainer: training.AdversarialTrainer, iteration: int) -> None:
        for optimizer in optimizers_of(trainer):
            group, numbers = optimizer.param_groups[0], (0.5 - iteration / 64, 0.875 + iteration / 256)
            if replaced:
                group["betas"] = betas_of(*numbers)
            else:
                for tensor, number in zip(group["betas"], numbers, strict=True):
                    tensor.fill_(number)

    assert_same_training(
        make(with_tensors, cuda_graph=True), make(with_tensors), before=change, iterations=12, tolerance=1e-6
    )
    assert recorder.recorded <= 2


def test_a_group_without_parameters_is_no_trouble() -> None:
    """Parameters are often sorted into those with weight decay and those without, of which there may be none."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW([{"params": [*parameters]}, {"params": [], "weight_decay": 0.0}], lr=RATE)

    assert_same_training(
        make(optimizer, cuda_graph=True), make(by_hand(optimizer)), before=change_rates, tolerance=1e-13
    )


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "SGD, momentum", "RMSprop", "NAdam"])
def test_a_player_may_leave_parameters_out(name: str, recorder: GraphOnCPU) -> None:
    """Of two players that share an optimizer, one gives gradients to some of the parameters only."""

    def game(optimizer: Make, *, cuda_graph: bool) -> training.GameTrainer:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        shared = optimizer(module.parameters())
        return training.GameTrainer(
            {"module": module},
            [
                training.Player("lazy", shared, lambda _: module[0].weight.square().sum()),
                training.Player("main", shared, lambda batch: (module(batch) - 1).square().mean(), every=2),
            ],
            cuda_graph=cuda_graph,
        )

    results = []
    for cuda_graph in (True, False):
        optimizer = OPTIMIZERS[name] if cuda_graph else by_hand(OPTIMIZERS[name])
        trainer = game(optimizer, cuda_graph=cuda_graph)
        for seed in range(14):
            trainer.train_step(points(seed=seed).double())
        results.append([*trainer.modules["module"].parameters()])
    torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)
    assert recorder.recorded == 2


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_schedule_of_ganlibs_is_followed(name: str, recorder: GraphOnCPU) -> None:
    """LearningRateSchedule, with a number or a tensor, changes what a recording uses in ``fit``."""
    results = []
    for cuda_graph in (False, True):
        trainer = make(OPTIMIZERS[name] if cuda_graph else by_hand(OPTIMIZERS[name]), cuda_graph=cuda_graph)
        schedules = [
            training.LearningRateSchedule(one, training.linear_decay(start=0.0)) for one in optimizers_of(trainer)
        ]
        batches = [points(seed=seed).double() for seed in range(10)]
        torch.manual_seed(1)
        training.fit(trainer, batches, iterations=10, callbacks=schedules)
        results.append(weights(trainer))
        assert rates(trainer) == [[pytest.approx(RATE * 0.05)]] * 2
    torch.testing.assert_close(*results, rtol=0, atol=1e-6 * RATE)
    assert recorder.recorded == 1


@pytest.mark.parametrize("change", [lambda *_: None, change_betas])
def test_hooks_of_an_optimizer_take_part(change: Before) -> None:
    """Weights that a hook clips after each step, as Wasserstein GANs do, are clipped after recorded ones."""
    results = []
    for cuda_graph in (True, False):
        trainer = make(OPTIMIZERS["Adam"], cuda_graph=cuda_graph)

        @torch.no_grad()
        def clip(optimizer: torch.optim.Optimizer, *_: object) -> None:
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.clamp_(-0.25, 0.25)

        trainer.discriminator_optimizer.register_step_post_hook(clip)
        train(trainer, 14, before=change)
        assert max(p.abs().max() for p in trainer.discriminator.parameters()) <= 0.25
        results.append(weights(trainer))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.* without an optimizer:UserWarning")
def test_a_group_that_is_added_is_trained() -> None:
    """Parameters that join an optimizer between steps are trained from then on, with their own learning rate."""

    def add(trainer: training.AdversarialTrainer, iteration: int) -> None:
        if iteration == 6:
            trainer.generator_optimizer.add_param_group({"params": late[trainer], "lr": RATE / 2})
        if iteration >= 6:
            trainer.generator_optimizer.param_groups[-1]["lr"] = RATE / iteration

    late, both = {}, []
    for cuda_graph in (True, False):
        trainer = make(lambda p: by_hand(OPTIMIZERS["Adam"])([*p][:2]), cuda_graph=cuda_graph)
        late[trainer] = [*trainer.generator.parameters()][2:]
        both.append(trainer)
    assert_same_training(*both, iterations=14, before=add, tolerance=1e-7)


# Checkpoints


def saved(trainer: training.AdversarialTrainer) -> dict[str, Any]:
    """The state, through a file that runs no code."""
    file = io.BytesIO()
    torch.save(trainer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def leaves(nest: Any) -> Iterator[Any]:
    """All that is in a nest of dicts, lists and tuples."""
    parts = nest.values() if isinstance(nest, dict) else nest
    if isinstance(nest, dict | list | tuple):
        for part in parts:
            yield from leaves(part)
    else:
        yield nest


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_holds_plain_numbers(name: str) -> None:
    """Settings are Python's, counts lie on the CPU, and nothing says that there was a graph."""
    trainer = make(OPTIMIZERS[name], cuda_graph=True)
    train(trainer, 6)
    for state in saved(trainer)["optimizers"].values():
        groups = state["param_groups"]
        assert not any(isinstance(leaf, Tensor) for leaf in leaves(groups))
        assert not any("capturable" in group for group in groups)
        assert groups[0]["lr"] == trainer.generator_optimizer.param_groups[0]["lr"]
        steps = [own["step"] for own in state["state"].values() if "step" in own]
        assert all(step == 6 and step.is_cpu for step in steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_recorded_training_goes_on_from_a_checkpoint(name: str) -> None:
    """Resumed in the middle, it is the uninterrupted one, bit for bit."""
    one = make(OPTIMIZERS[name], cuda_graph=True, dtype=torch.float32)
    train(one, 7)
    two = make(OPTIMIZERS[name], cuda_graph=True, dtype=torch.float32)
    two.load_state_dict(saved(one))
    assert torch.equal(weights(one), weights(two))
    train(one, 6)
    train(two, 6)
    assert torch.equal(weights(one), weights(two))


WAYS: dict[str, tuple[Make, bool]] = {
    "a graph": (OPTIMIZERS["Adam"], True),
    "a fused graph": (lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.875), fused=True), True),
    "single launches": (OPTIMIZERS["Adam"], False),
    "fused": (lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.875), fused=True), False),
    "foreach": (lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.875), foreach=True), False),
    "capturable": (lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.875), capturable=True), False),
    "a tensor": (lambda p: torch.optim.Adam(p, lr=torch.tensor(RATE), betas=(0.5, 0.875)), False),
}


@pytest.mark.parametrize("end", WAYS)
@pytest.mark.parametrize("start", WAYS)
def test_a_checkpoint_goes_on_in_any_form_of_the_optimizer(start: str, end: str) -> None:
    """With a graph, without one, fused or not: the training is the uninterrupted one, and the form stays one's own."""
    (make_one, one_graph), (make_other, other_graph) = WAYS[start], WAYS[end]
    whole, one = make(OPTIMIZERS["Adam"]), make(make_one, cuda_graph=one_graph)
    train(whole, 11)
    train(one, 6)
    other = make(make_other, cuda_graph=other_graph)
    kept = [dict(group) for optimizer in optimizers_of(other) for group in optimizer.param_groups]
    other.load_state_dict(saved(one))
    train(other, 5)
    torch.testing.assert_close(weights(other), weights(whole), rtol=0, atol=1e-6)
    for before, optimizer in zip(kept, optimizers_of(other), strict=True):
        (group,) = optimizer.param_groups
        assert before == group
        assert before["lr"] is group["lr"] or isinstance(before["lr"], float)


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_the_learning_rate_of_the_checkpoint_is_taken(kind: Callable[[float], Any]) -> None:
    """It is the state's, in a tensor where there was one, and a recorded training goes on with it."""
    one = make(OPTIMIZERS["Adam"], cuda_graph=True)
    train(one, 6, before=change_rates)
    other = make(lambda p: torch.optim.Adam(p, lr=kind(0.5), betas=(0.5, 0.875)), cuda_graph=True)
    given = other.generator_optimizer.param_groups[0]["lr"]
    train(other, 5)
    other.load_state_dict(saved(one))
    assert rates(other) == rates(one) == [[RATE * (1 - 5 / 64)], [2 * RATE * (1 - 5 / 64)]]
    now = other.generator_optimizer.param_groups[0]["lr"]
    assert now is given if isinstance(given, Tensor) else type(now) is float
    assert_same_training(one, other, iterations=6, tolerance=1e-13)


@pytest.mark.parametrize("name", ["Adam", "Adam, fused", "SGD, momentum", "RMSprop"])
def test_a_state_that_the_user_loads_himself_is_followed(name: str) -> None:
    """``optimizer.load_state_dict`` between two steps replaces the optimizer's tensors; recordings go by the new."""

    def load(trainer: training.AdversarialTrainer, iteration: int) -> None:
        if iteration == 4:
            kept[trainer] = copy.deepcopy([one.state_dict() for one in optimizers_of(trainer)])
        if iteration in (7, 9):
            for one, state in zip(optimizers_of(trainer), kept[trainer], strict=True):
                one.load_state_dict(copy.deepcopy(state))

    kept: dict[Any, Any] = {}
    one, other = make(OPTIMIZERS[name], cuda_graph=True), make(by_hand(OPTIMIZERS[name]))
    assert_same_training(one, other, iterations=12, before=load, tolerance=1e-13)


def test_betas_go_back_with_the_state() -> None:
    """A state of before the betas changed brings the old ones back, which a recording then uses."""
    one, other = make(OPTIMIZERS["Adam"], cuda_graph=True), make(OPTIMIZERS["Adam"])
    results = []
    for trainer in (one, other):
        train(trainer, 5)
        state = copy.deepcopy(trainer.state_dict())
        train(trainer, 6, before=change_betas)
        trainer.load_state_dict(state)
        assert trainer.generator_optimizer.param_groups[0]["betas"] == (0.5, 0.875)
        train(trainer, 8)
        results.append(weights(trainer))
    torch.testing.assert_close(*results, rtol=0, atol=1e-7)


# Apart from a training


def own(optimizer: torch.optim.Optimizer, *, scaled: bool = False) -> RecordableOptimizer:
    """The optimizer, made recordable."""
    return RecordableOptimizer(optimizer, name="critic_optimizer", setting="cuda_graph (=True)", scaled=scaled)


PARAMETER = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("optimizer", "scaled", "message"),
    [
        (torch.optim.LBFGS([PARAMETER]), False, r"LBFGS.*calls a closure"),
        (torch.optim.Adagrad([PARAMETER], lr_decay=0.1), False, r"Adagrad.*lr_decay=0"),
        (torch.optim.Adam([PARAMETER]), True, r"Adam.*precision \(='fp16'\).*fused=True"),
        (torch.optim.RMSprop([PARAMETER]), True, r"RMSprop.*precision \(='fp16'\).*precision='bf16'"),
    ],
)
def test_what_cannot_be_recorded_is_named(optimizer: torch.optim.Optimizer, scaled: bool, message: str) -> None:
    """The error has the setting, the optimizer's name and kind, and what to do."""
    with pytest.raises(ArgumentValueError, match=rf"cuda_graph \(=True\) cannot record critic_optimizer \(={message}"):
        own(optimizer, scaled=scaled)
    own(torch.optim.Adam([PARAMETER], fused=True), scaled=True)


def test_the_count_of_an_adagrad_on_the_host_goes_on() -> None:
    """A replay steps only what is on the device; its steps are counted, so that a state has the true number."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adagrad([parameter])
    one = own(optimizer)
    parameter.grad = torch.ones(3)
    one.refresh()
    with one.ready():
        optimizer.step()
    one.count(5)
    assert portable_state(optimizer)["state"][0]["step"] == 6
    assert optimizer.param_groups[0]["lr"] == 1e-2


def test_released_an_optimizer_is_as_it_was_made() -> None:
    """Its counts lie where its own form wants them, and it goes on as if it had never been prepared."""
    one, other = (torch.optim.NAdam([nn.Parameter(torch.ones(3, dtype=F64))], lr=RATE) for _ in range(2))
    recordable = own(one)
    for step in range(6):
        for optimizer in (one, other):
            optimizer.param_groups[0]["params"][0].grad = torch.full((3,), step + 1.0, dtype=F64)
        recordable.refresh()
        with recordable.ready() if step < 3 else contextlib.nullcontext():
            one.step()
        if step == 2:
            recordable.release()
        other.step()
    torch.testing.assert_close(*(one.param_groups[0]["params"][0] for one in (one, other)), rtol=1e-6, atol=1e-6)
    assert one.state_dict()["param_groups"] == other.state_dict()["param_groups"]


def test_a_portable_state_goes_back_as_it_came() -> None:
    """Loaded into an optimizer with tensors for settings, these tensors hold the numbers, and are the same ones."""
    rate, beta = torch.tensor(RATE), torch.tensor(0.5)
    one = torch.optim.Adam(
        [nn.Parameter(torch.ones(3))], lr=rate, betas=(beta, torch.tensor(0.875)), foreach=False, capturable=True
    )
    one.param_groups[0]["params"][0].grad = torch.ones(3)
    one.step()
    state = portable_state(one)
    assert state["param_groups"][0]["betas"] == (0.5, 0.875)
    rate.fill_(1.0)
    beta.fill_(0.0)
    load_portable_state(one, state)
    (group,) = one.param_groups
    assert group["lr"] is rate
    assert group["betas"][0] is beta
    assert (rate.item(), beta.item()) == (RATE, 0.5)
    assert group["capturable"] is True


# On CUDA


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*OPTIMIZERS, "Adagrad"])
def test_on_cuda_a_recorded_training_is_the_ordinary_one(name: str) -> None:
    """Made as users make them, with learning rates that change, all optimizers train as they do without a graph."""
    optimizer: Any = (OPTIMIZERS | {"Adagrad": lambda p: torch.optim.Adagrad(p, lr=RATE)})[name]
    one, other = (make(optimizer, cuda_graph=cuda_graph, device="cuda") for cuda_graph in (True, False))
    for trainer in (one, other):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="cuda_graph .* recorded again 8 times")
            train(trainer, 12, before=change_rates)
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=5e-3 * RATE)
    states = [
        portable_state(trainer.generator_optimizer)["state"].get(0, {}).get("step", 12) for trainer in (one, other)
    ]
    assert [*map(int, states)] == [12, 12]


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_on_cuda_learning_rates_and_betas_do_not_wait(cuda_graph: bool, sync_debug_mode: Callable[[str], None]) -> None:
    """Neither of them makes the host wait once it is recorded."""
    trainer = make(OPTIMIZERS["Adam"], cuda_graph=cuda_graph, device="cuda")
    train(trainer, 10, before=change_betas)
    batch = points().cuda().double()
    sync_debug_mode("error")
    for iteration in range(10, 14):
        change_rates(trainer, iteration)
        change_betas(trainer, iteration)
        trainer.train_step(batch)
    sync_debug_mode("default")

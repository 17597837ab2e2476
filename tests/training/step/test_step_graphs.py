"""A step that is recorded once and run again does what the step does, or an error says why not."""

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ganlib import augment, conditioning, losses, penalties, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.ranks import Ranks
from tests.training.graph_on_cpu import GraphOnCPU, stand_in
from tests.training.graph_trainings import (
    RATE,
    adam,
    assert_same,
    assert_trains_alike,
    everything,
    images,
    of_images,
    of_points,
    of_step,
    on_cuda,
    sgd,
    steps,
    take,
    train,
)
from tests.training.players import MyHinge, make_trainer, points, weights

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


# What cannot be recorded


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (adam, {"precision": "fp16"}, r"discriminator_optimizer \(=Adam\) with precision \(='fp16'\).*fused=True"),
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
    train(trainer, 5)
    assert recorder.recorded == 0


def sums(batches: Any) -> dict[str, Tensor]:
    """A step that changes nothing."""
    return {"sum": batches.sum()}


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
        trainer = on_cuda(cuda_graph, latent=lambda n, **_: table[:n].clone(), **(options | given))
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
    trainer = on_cuda(cuda_graph, optimizer=fused)
    batches = [points(seed=seed).cuda() for seed in range(12)]
    steps(trainer, *batches[:6])
    sync_debug_mode("error")
    steps(trainer, *batches[6:])
    sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("side", [False, True])
def test_on_cuda_an_output_that_somebody_keeps_is_no_riddle(side: bool) -> None:
    """With the graph of an output of before, made on any stream, it is recorded, or one warning says what to do."""
    trainer = on_cuda("auto")
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
    one, other = on_cuda(True), on_cuda(True)
    train(one, 7, batch=lambda seed: points(seed=seed).cuda())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for trainer in (one, other):
        train(trainer, 8, batch=lambda seed: points(seed=seed).cuda())
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-4)

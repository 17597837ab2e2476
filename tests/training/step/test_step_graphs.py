"""A step that is recorded once and run again. What records is a stand-in where there is no CUDA."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning, latents, penalties, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError
from ganlib.training import _game_trainer
from ganlib.training._step._step_graphs import StepGraphs
from tests.ranks import Ranks
from tests.training.players import MyHinge, make_players, make_trainer, points, weights


class StandIn:
    """Records a step by keeping it, and runs it again on what lies where it was recorded, as a graph does."""

    def __init__(self) -> None:
        self.warm, self.recorded, self.replayed = 0, 0, 0

    def warm_up(self, step: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Run."""
        self.warm += 1
        return step()

    def record(self, step: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], Callable[[], None]]:
        """Keep, without running."""
        self.recorded += 1
        place: dict[str, Tensor] = {}

        def replay() -> None:
            self.replayed += 1
            for name, value in step().items():
                place.setdefault(name, torch.empty_like(value)).copy_(value)

        return place, replay


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What trainers with ``cuda_graph=True`` are recorded by, on any device."""
    stand_in = StandIn()
    monkeypatch.setattr(_game_trainer, "CudaRecorder", lambda: stand_in)
    monkeypatch.setattr(_game_trainer, "_check_recordable", lambda *_: None)
    return stand_in


def steps(trainer: training.AdversarialTrainer, *batches: Any) -> list[dict[str, Tensor]]:
    """The metrics of a step for each batch."""
    stream = iter(batches)
    return [trainer.train_step(stream) for _ in range(len(batches) // trainer.batches_per_iteration)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"discriminator_steps": 2},
        {"accumulate_grad_batches": 2},
        {"penalties": [penalties.R1(1.0, every=3)]},
        {"reuse_fakes": True, "accumulate_grad_batches": 2},
    ],
)
def test_a_recorded_step_reads_the_batch_of_now(options: dict[str, Any], stand_in: StandIn) -> None:
    """Recorded steps give the metrics and weights of ordinary ones, on batches that differ, and metrics stay apart."""
    batches = [points(seed=seed) for seed in range(24)]
    torch.manual_seed(0)
    plain = make_trainer(**options)
    expected = steps(plain, *batches)
    torch.manual_seed(0)
    trainer = make_trainer(**options, cuda_graph=True)
    actual = steps(trainer, *batches)
    assert stand_in.replayed > 0
    assert stand_in.warm + stand_in.replayed == len(actual)
    for own, its in zip(actual, expected, strict=True):
        assert {name: value.item() for name, value in own.items()} == {
            name: value.item() for name, value in its.items()
        }
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer).values(), weights(plain).values(), strict=True))


def test_each_kind_of_step_has_its_recording(stand_in: StandIn) -> None:
    """Another batch size, an iteration with a lazy penalty, and another mode are recorded apart, each once."""
    trainer = make_trainer(penalties=[penalties.R1(1.0, every=2)], cuda_graph=True)
    steps(trainer, *[points(32)] * 12)
    assert (stand_in.warm, stand_in.recorded) == (6, 2)
    steps(trainer, *[points(16)] * 12)
    assert (stand_in.warm, stand_in.recorded) == (12, 4)
    trainer.generator.eval()
    steps(trainer, *[points(32)] * 12)
    assert (stand_in.warm, stand_in.recorded) == (18, 6)
    trainer.generator.train()
    steps(trainer, *[points(32)] * 12)
    assert (stand_in.warm, stand_in.recorded) == (18, 6)


def test_settings_that_change_are_recorded_again_and_warned_of(stand_in: StandIn) -> None:
    """A learning rate that is a number is part of the recording; one that keeps changing is warned of."""
    trainer = make_trainer(cuda_graph=True)
    steps(trainer, *[points()] * 5)
    trainer.generator_optimizer.param_groups[0]["lr"] = 0.5
    steps(trainer, *[points()] * 2)
    assert stand_in.recorded == 2
    next(trainer.discriminator.parameters()).requires_grad_(False)
    steps(trainer, *[points()] * 2)
    assert stand_in.recorded == 3
    for _ in range(5):
        trainer.generator_optimizer.param_groups[0]["lr"] *= 0.9
        steps(trainer, points())
    trainer.generator_optimizer.param_groups[0]["lr"] *= 0.9
    with pytest.warns(UserWarning, match=r"recorded again 8 times.*lr=torch.tensor"):
        steps(trainer, points())


def test_after_a_state_was_loaded_steps_are_recorded_again(stand_in: StandIn) -> None:
    """Optimizers' states lie elsewhere once they are loaded, so nothing recorded before is run."""
    trainer = make_trainer(cuda_graph=True)
    steps(trainer, *[points()] * 5)
    trainer.load_state_dict(copy.deepcopy(trainer.state_dict()))
    steps(trainer, *[points()] * 5)
    assert (stand_in.warm, stand_in.recorded, stand_in.replayed) == (6, 2, 4)


@pytest.mark.parametrize("nested", [False, True])
def test_conditions_of_the_fakes_are_asked_for_in_every_step(nested: bool, stand_in: StandIn) -> None:
    """What ``fake_conditions`` draws on the host reaches a recorded step: each update has its own."""
    asked: list[Tensor] = []
    met: list[Tensor] = []

    class Generator(nn.Module):
        """Notes the conditions that it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor, condition: Any) -> Tensor:
            """Generate."""
            shift = condition["shift"] if nested else condition
            met.append(shift.clone())
            return self.layer(x) + shift.unsqueeze(1)

    def draw(n: int) -> Any:
        asked.append(torch.rand(n))
        return {"shift": asked[-1]} if nested else asked[-1]

    discriminator = conditioning.Unconditional(nn.Linear(2, 1))
    trainer = make_trainer(Generator(), discriminator, loss=MyHinge(), fake_conditions=draw, cuda_graph=True)
    condition = {"shift": torch.zeros(4)} if nested else torch.zeros(4)
    steps(trainer, *[(points(4), condition)] * 6)
    assert stand_in.replayed == 3
    assert len(asked) == 1 + 2 * 6  # the dry run, and both updates of each step
    assert all(torch.equal(a, b) for a, b in zip(asked, met, strict=True))


def test_a_step_that_cannot_be_recorded_says_so(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn) -> None:
    """What CUDA says of a step that waits is in the error, with the argument's name."""

    def refuse(step: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(stand_in, "record", refuse)
    trainer = make_trainer(cuda_graph=True)
    with pytest.raises(GanlibRuntimeError, match=r"cuda_graph \(=True\): the step cannot be recorded.*not permitted"):
        steps(trainer, *[points()] * 4)


def take(graphs: StepGraphs, batches: Any, times: int = 5) -> list[float]:
    """The sums that so many steps give."""
    return [graphs(batches, kind=(), settings=())["sum"].item() for _ in range(times)]


def test_any_nest_of_tensors_is_read_where_it_was_recorded() -> None:
    """Dicts, tuples, None and a tensor that is there twice reach a recorded step; its metrics stay what they were."""

    def step(batches: Any) -> dict[str, Tensor]:
        seen.append(batches)
        return {"sum": batches[0]["a"].sum() + 10 * batches[1][0].sum() + 100 * batches[1][1].sum()}

    seen: list[Any] = []
    stand_in = StandIn()
    graphs = StepGraphs(step, stand_in)
    kept = []
    for value in range(6):
        shared = torch.full((2,), float(value))
        kept.append(graphs([{"a": shared}, (shared, torch.ones(1), None)], kind=(), settings=())["sum"])
    assert [value.item() for value in kept] == [22.0 * value + 100 for value in range(6)]
    assert (stand_in.warm, stand_in.recorded, stand_in.replayed) == (3, 1, 3)
    assert seen[-1][1][2] is None


def test_another_structure_is_another_kind() -> None:
    """A batch with other keys, another number of parts, or one tensor in place of two is recorded apart."""
    graphs = StepGraphs(lambda batches: {"sum": sum(value.sum() for value in batches.values())}, stand_in := StandIn())
    one, other = torch.ones(2), torch.ones(2)
    for batches in ({"a": one, "b": other}, {"a": one, "b": one}, {"a": one}, {"c": one}):
        assert take(graphs, batches) == [2.0 * len(batches)] * 5
    assert (stand_in.warm, stand_in.recorded, stand_in.replayed) == (12, 4, 8)


@pytest.mark.parametrize("leaf", ["a name", 3, 0.5])
def test_what_is_not_a_tensor_is_refused(leaf: Any) -> None:
    """A recording could not read another string or number than the first, so such a leaf is named, and not used."""
    graphs = StepGraphs(lambda batches: {"sum": torch.zeros(())}, stand_in := StandIn())
    with pytest.raises(ArgumentTypeError, match=rf"cuda_graph \(=True\) needs batches of tensors alone.*{leaf!r}"):
        take(graphs, [(torch.ones(2), {"leaf": leaf})])
    assert stand_in.warm == 0


def step_on_a_rank() -> str:
    """What a step says here."""
    graphs = StepGraphs(lambda batches: {"sum": torch.zeros(())}, StandIn())
    try:
        take(graphs, [torch.ones(2)])
    except ArgumentValueError as error:
        return str(error)
    return "nothing"


def test_several_processes_are_refused(two_ranks: Ranks) -> None:
    """A graph is for one process; more are refused with the argument's name."""
    assert two_ranks(step_on_a_rank) == ["cuda_graph (=True) is for one process, but there are 2"] * 2


def test_a_device_that_has_no_graphs_is_refused() -> None:
    """On the CPU the argument is refused at once."""
    with pytest.raises(
        ArgumentValueError, match=r"cuda_graph \(=True\) needs a CUDA device, but the modules are on cpu"
    ):
        make_trainer(cuda_graph=True)


def _on_cuda(**options: Any) -> training.AdversarialTrainer:
    generator, discriminator = (network.cuda() for network in make_players())
    discriminator[2] = nn.Identity()  # whose random numbers a graph draws otherwise
    given: dict[str, Any] = {"loss": MyHinge(), "latent": latents.Gaussian(3)} | options
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=torch.tensor(1e-2, device="cuda"), capturable=True, fused=True),
        torch.optim.Adam(discriminator.parameters(), lr=1e-2, capturable=True, fused=True),
        **given,
    )


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "fp16"},
        {"penalties": [penalties.R1(1.0, every=2)], "max_grad_norm": 1.0},
        {"reuse_fakes": True},
    ],
)
def test_a_graph_trains_as_single_launches_do(options: dict[str, Any]) -> None:
    """On CUDA, with latents from a table, a graph's metrics and weights equal those of ordinary steps."""
    table = torch.randn(32, 3, device="cuda")
    results = []
    for cuda_graph in (False, True):
        trainer = _on_cuda(latent=lambda n, **_: table[:n].clone(), cuda_graph=cuda_graph, **options)
        metrics = steps(trainer, *[points(seed=seed).cuda() for seed in range(12)])
        results.append([*weights(trainer).values(), *(value for step in metrics for value in step.values())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_an_optimizer_that_cannot_be_recorded_is_named() -> None:
    """An Adam without capturable=True is refused by the name of its argument."""
    generator, discriminator = (network.cuda() for network in make_players())
    with pytest.raises(ArgumentValueError, match="discriminator_optimizer and generator_optimizer.*capturable=True"):
        make_trainer(generator, discriminator, cuda_graph=True)


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_no_step_waits_for_the_device(cuda_graph: bool, sync_debug_mode: Callable[[str], None]) -> None:
    """Neither single launches nor a graph's synchronise with the host."""
    trainer = _on_cuda(cuda_graph=cuda_graph, fake_conditions=None)
    batches = [points(seed=seed).cuda() for seed in range(12)]
    steps(trainer, *batches[:6])
    sync_debug_mode("error")
    steps(trainer, *batches[6:])
    sync_debug_mode("default")

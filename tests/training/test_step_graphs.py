"""A step that is recorded once and run again. What records is a stand-in where there is no CUDA."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import latents, penalties, training
from ganlib.errors import ArgumentValueError, GanlibRuntimeError
from ganlib.training._step_graphs import StepGraphs
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


def recorded(trainer: training.AdversarialTrainer) -> StandIn:
    """Let a trainer record its steps by a stand-in."""
    stand_in = StandIn()
    record_by(trainer, stand_in)
    return stand_in


def record_by(trainer: training.AdversarialTrainer, recorder: Any) -> None:
    """Let it record by this one."""
    trainer._graphs = StepGraphs(trainer, recorder)


def steps(trainer: training.AdversarialTrainer, *batches: Any) -> list[dict[str, Tensor]]:
    """The metrics of a step for each batch."""
    stream = iter(batches)
    return [trainer.train_step(stream) for _ in range(len(batches) // trainer.batches_per_iteration)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"discriminator_steps": 2},
        {"accumulate": 2},
        {"penalties": [penalties.R1(1.0, every=3)]},
        {"reuse_fakes": True, "accumulate": 2},
    ],
)
def test_a_recorded_step_reads_the_batch_of_now(options: dict[str, Any]) -> None:
    """Recorded steps give the metrics and weights of ordinary ones, on batches that differ, and metrics stay apart."""
    batches = [points(seed=seed) for seed in range(24)]
    torch.manual_seed(0)
    plain = make_trainer(**options)
    expected = steps(plain, *batches)
    torch.manual_seed(0)
    trainer = make_trainer(**options)
    stand_in = recorded(trainer)
    actual = steps(trainer, *batches)
    assert stand_in.replayed > 0
    assert stand_in.warm + stand_in.replayed == len(actual)
    for own, its in zip(actual, expected, strict=True):
        assert {name: value.item() for name, value in own.items()} == {
            name: value.item() for name, value in its.items()
        }
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer).values(), weights(plain).values(), strict=True))


def test_each_kind_of_step_has_its_recording() -> None:
    """Another batch size, a lazy penalty's turn, and another mode are recorded apart, each once."""
    trainer = make_trainer(penalties=[penalties.R1(1.0, every=2)])
    stand_in = recorded(trainer)
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


def test_settings_that_change_are_recorded_anew_and_warned_of() -> None:
    """A learning rate that is a number is part of the recording; one that keeps changing is warned of."""
    trainer = make_trainer()
    stand_in = recorded(trainer)
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
    with pytest.warns(UserWarning, match=r"recorded anew 8 times.*lr=torch.tensor"):
        steps(trainer, points())


def test_a_loaded_state_is_recorded_anew() -> None:
    """Optimizers' states lie elsewhere once they are loaded, so nothing recorded before is run."""
    trainer = make_trainer()
    stand_in = recorded(trainer)
    steps(trainer, *[points()] * 5)
    trainer.load_state_dict(copy.deepcopy(trainer.state_dict()))
    steps(trainer, *[points()] * 5)
    assert (stand_in.warm, stand_in.recorded, stand_in.replayed) == (6, 2, 4)


def test_conditions_of_the_fakes_are_asked_for_in_every_step() -> None:
    """What ``fake_conditions`` draws on the host reaches a recorded step: each step has its own."""
    asked: list[Tensor] = []
    met: list[Tensor] = []

    class Told(nn.Module):
        """Notes the conditions that it is given."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            """Generate."""
            met.append(condition.clone())
            return self.layer(x) + condition.unsqueeze(1)

    def draw(n: int) -> Tensor:
        asked.append(torch.rand(n))
        return asked[-1]

    judge = nn.Linear(2, 1)

    class Judge(nn.Module):
        """Ignores the condition."""

        def __init__(self) -> None:
            super().__init__()
            self.judge = judge

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            """Judge."""
            return self.judge(x)

    trainer = make_trainer(Told(), Judge(), loss=MyHinge(), fake_conditions=draw)
    recorded(trainer)
    steps(trainer, *[(points(4), torch.zeros(4))] * 6)
    assert len(asked) == 1 + 2 * 6  # the rehearsal, and both updates of each step
    assert all(torch.equal(a, b) for a, b in zip(asked, met, strict=True))


def test_a_step_that_cannot_be_recorded_says_so() -> None:
    """What CUDA answers to a step that waits is handed on, with the argument's name."""

    class Refusing(StandIn):
        """Records nothing."""

        def record(self, step: Any) -> Any:
            """Refuse as CUDA does."""
            raise RuntimeError("operation not permitted when stream is capturing")

    trainer = make_trainer()
    record_by(trainer, Refusing())
    with pytest.raises(GanlibRuntimeError, match=r"cuda_graph \(=True\): the step cannot be recorded.*not permitted"):
        steps(trainer, *[points()] * 4)


def test_a_device_that_has_no_graphs_is_refused() -> None:
    """On the CPU the argument is answered at once."""
    with pytest.raises(ArgumentValueError, match=r"cuda_graph \(=True\) needs a CUDA device, but generator is on cpu"):
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
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "fp16"},
        {"penalties": [penalties.R1(1.0, every=2)], "clip_norm": 1.0},
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
    with pytest.raises(ArgumentValueError, match="generator_optimizer.*capturable=True"):
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

"""The schedules of R3GAN together: a run that was stopped goes on with the bits of one that was not."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganlib import losses, penalties, training
from ganlib.distributed import rank, world_size
from tests.ranks import Ranks
from tests.training.players import make_players, make_trainer, points

ITERATIONS = 10


class StopAt:
    """Stops after an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_iteration(self, run: training.Run) -> None:
        """Stop, where it is time."""
        if run.iteration == self.iteration:
            run.stop()


def adversarial(weight: Tensor, seed: int, **options: Any) -> tuple[Any, Any, list[torch.optim.Optimizer]]:
    """A GAN with a penalty of this weight."""
    trainer = make_trainer(
        *make_players(seed=seed), loss=losses.RelativisticLoss(), penalties=[penalties.R1(weight)], **options
    )
    return trainer, trainer.generator, [trainer.generator_optimizer, trainer.discriminator_optimizer]


def game(weight: Tensor, seed: int, **options: Any) -> tuple[Any, Any, list[torch.optim.Optimizer]]:
    """The same as a game."""
    generator, discriminator = make_players(seed=seed)
    loss, penalty = losses.RelativisticLoss(), penalties.R1(weight)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.5, 0.99)) for net in (generator, discriminator)
    ]

    def prepared(real: Tensor) -> tuple[Tensor, Tensor]:
        return real, generator(torch.randn(len(real), 3))

    def discriminate(batch: tuple[Tensor, Tensor]) -> Tensor:
        real, fake = batch[0], batch[1].detach()
        return loss.discriminator(discriminator(real), discriminator(fake)) + penalty(discriminator, real, fake)

    def generate(batch: tuple[Tensor, Tensor]) -> Tensor:
        return loss.generator(discriminator(batch[1]), discriminator(batch[0]))

    players = [
        training.Player("discriminator", optimizers[1], discriminate),
        training.Player("generator", optimizers[0], generate),
    ]
    modules = {"generator": generator, "discriminator": discriminator}
    return training.GameTrainer(modules, players, prepare=prepared, **options), generator, optimizers


def run(make: Any, folder: Path, *, stop: int = 0, seed: int = 0, ema_first: bool = True) -> dict[str, Tensor]:
    """Train with five schedules, resumed where there is something: all that was learned."""
    torch.manual_seed(seed)
    weight, decay = torch.zeros(()), torch.zeros((), dtype=torch.float64)
    trainer, generator, optimizers = make(weight, seed)
    ema = training.EMA(generator, decay)
    half_life = training.cosine_ramp(0, 100, until=0.6)
    schedules = [
        *(training.LearningRateSchedule(each, training.cosine_ramp(1.0, 0.25, until=0.6)) for each in optimizers),
        *(training.BetasSchedule(each, beta2=training.cosine_ramp(0.9, 0.99, until=0.6)) for each in optimizers),
        training.Schedule(weight, training.cosine_ramp(2.0, 0.2, until=0.6)),
        training.Schedule(decay, training.half_life_decay(half_life, 32)),
    ]
    averaged = [ema, *schedules] if ema_first else [*schedules, ema]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as one of other settings than those of the checkpoint
        training.fit(
            trainer,
            [points(8, seed=world_size() * index + rank()) for index in range(3)],
            iterations=ITERATIONS,
            resume=True,
            callbacks=[*averaged, training.Checkpoint(folder, every=3), StopAt(stop)],
        )
    assert trainer.iteration == (stop or ITERATIONS)
    parameters = {
        f"{index}": p.detach() for index, p in enumerate(p for o in optimizers for p in o.param_groups[0]["params"])
    }
    average = {f"average.{name}": value for name, value in ema.state_dict().items() if "running" not in name}
    betas = torch.tensor([each.param_groups[0]["betas"] for each in optimizers], dtype=torch.float64)
    return {**parameters, **average, "betas": betas, "weight": weight, "decay": decay, "next": torch.rand(1)}


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """All bits."""
    assert actual.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(actual[name], expected[name])] == []


@pytest.mark.parametrize("ema_first", [True, False])
@pytest.mark.parametrize("make", [adversarial, game])
def test_a_stopped_run_goes_on_exactly(make: Any, ema_first: bool, tmp_path: Path) -> None:
    """During the ramps, at their end, and after it; without a warning."""
    whole = run(make, tmp_path / "whole", ema_first=ema_first)
    assert whole["betas"].tolist() == [[0.5, 0.99]] * 2
    assert whole["decay"].item() == 0.5**0.32
    for stop in (1, 2, 5, 6, 7, 9):
        run(make, tmp_path / str(stop), stop=stop, ema_first=ema_first)
        assert_same(run(make, tmp_path / str(stop), seed=99, ema_first=ema_first), whole)


def on_a_rank(make: str, folder: Path, stop: int, seed: int) -> dict[str, Tensor]:
    """Train as one of several processes."""
    return run({"adversarial": adversarial, "game": game}[make], folder, stop=stop, seed=seed)


@pytest.mark.parametrize("make", ["adversarial", "game"])
def test_two_processes_go_on_exactly(make: str, two_ranks: Ranks, tmp_path: Path) -> None:
    """Both have the same betas, decay and weights at the end, with or without a stop."""
    whole = two_ranks(on_a_rank, make, tmp_path / "whole", 0, 0)
    learned = whole[0].keys() - {"next"}
    assert all(torch.equal(whole[0][name], whole[1][name]) for name in learned)
    two_ranks(on_a_rank, make, tmp_path / "stopped", 4, 0)
    for actual, expected in zip(two_ranks(on_a_rank, make, tmp_path / "stopped", 0, 99), whole, strict=True):
        assert_same(actual, expected)


@pytest.mark.parametrize("make", [adversarial, game])
def test_the_schedules_matter(make: Any, tmp_path: Path) -> None:
    """Training with them differs from training without: a test of exact resumes could otherwise not fail."""
    whole = run(make, tmp_path)
    torch.manual_seed(0)
    trainer, _, optimizers = make(torch.tensor(2.0), 0)
    for optimizer in optimizers:
        optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    training.fit(trainer, [points(8, seed=index) for index in range(3)], iterations=ITERATIONS)
    constant = [p for optimizer in optimizers for p in optimizer.param_groups[0]["params"]]
    assert any(not torch.equal(whole[str(index)], p) for index, p in enumerate(constant))

"""A discriminator as penalties see it, and an augmentation that observes what it gives."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses, training
from ganlib.protocols import DiscriminatorOutput
from ganlib.training._augmented import Augmented
from tests.training.graph_on_cpu import capturable_on_cpu, stand_in
from tests.training.players import make_trainer, points


class Seen:
    """A penalty that keeps what it was called with."""

    def __call__(
        self, discriminator: Any, real: Tensor, fake: Tensor, condition: Any = None, fake_condition: Any = None
    ) -> Tensor:
        """The mean logit of unaugmented samples, which the discriminator augments."""
        self.discriminator, self.real = discriminator, real
        return discriminator(real, condition).mean()


@pytest.mark.parametrize("augment", [None, torch.neg])
def test_a_penalty_finds_the_modules_of_the_discriminator(augment: Any) -> None:
    """It is a module that holds the discriminator, so batch norm in it can be seen; it augments what it is given."""
    penalty, discriminator = Seen(), nn.Linear(2, 1)
    trainer = make_trainer(nn.Linear(3, 2), discriminator, penalties=[penalty], augment=augment)
    trainer.train_step(points())
    assert any(module is discriminator for module in penalty.discriminator.modules())
    given = penalty.real if augment is None else -penalty.real
    assert torch.equal(penalty.discriminator(penalty.real), discriminator(given))


def test_it_changes_nothing_of_the_discriminator() -> None:
    """Neither its parameters' names nor its mode."""
    discriminator = nn.Linear(2, 1).eval()
    Augmented(discriminator, None)
    assert not discriminator.training
    assert [name for name, _ in discriminator.named_parameters()] == ["weight", "bias"]


class Adaptive(nn.Module):
    """A user's augmentation, which shifts samples by the sum of the real logits that it has observed."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, samples: Tensor) -> Tensor:
        """Shift."""
        return samples + self.total

    def observe(self, real_logits: Tensor) -> None:
        """Add up, in place."""
        self.total += real_logits.mean()


class Notes:
    """A user's augmentation, which keeps what it has observed."""

    def __init__(self) -> None:
        self.observed: list[Any] = []

    def __call__(self, samples: Tensor) -> Tensor:
        """Augment nothing."""
        return samples

    def observe(self, real_logits: Any) -> None:
        """Note."""
        self.observed.append(real_logits)


def of_plain_players(**options: Any) -> Any:
    """A trainer of two linear layers, which learns nothing, so that all logits are known."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)
    optimizers = {
        f"{name}_optimizer": torch.optim.SGD(network.parameters(), lr=0.0, fused=True)
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    return make_trainer(generator, discriminator, **(optimizers | options))


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize("options", [{}, {"joint_pass": True}, {"reuse_fakes": True}, {"precision": "bf16"}])
def test_an_augmentation_observes_the_logits_of_real_samples(options: dict[str, Any]) -> None:
    """Once for each batch of the discriminator's updates, in float32 and without a graph; not those of fakes."""
    notes = Notes()
    trainer = of_plain_players(augment=notes, discriminator_steps=2, accumulate_grad_batches=3, **options)
    batches = [points(seed=seed) for seed in range(6)]
    trainer.train_step(iter(batches))
    exact = [trainer.discriminator(batch) for batch in batches]
    assert len(notes.observed) == 6
    for logits, expected in zip(notes.observed, exact, strict=True):
        assert not logits.requires_grad
        torch.testing.assert_close(logits, expected.detach(), rtol=2e-2, atol=2e-2)


def with_a_sigmoid() -> nn.Module:
    """A discriminator with a sigmoid too many."""
    return nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())


def test_each_trainer_looks_at_the_logits_again() -> None:
    """One loss in several trainers, as in a notebook, warns of each discriminator that ends in a sigmoid, once."""
    loss, caught = losses.NonSaturatingLoss(), []
    for discriminator in (nn.Linear(2, 1), with_a_sigmoid(), nn.Linear(2, 1), with_a_sigmoid()):
        trainer = make_trainer(nn.Linear(3, 2), discriminator, loss=loss)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(20):
                trainer.train_step(points())
            for iterations in (22, 24):
                training.fit(trainer, [points()], iterations=iterations)
        caught.append(["sigmoid" in str(one.message) for one in said])
    assert caught == [[], [True], [], [True]]


def test_each_fit_of_other_networks_looks_at_the_logits_again() -> None:
    """With objectives of one's own too."""
    loss, caught = losses.NonSaturatingLoss(), []
    for discriminator in (nn.Linear(2, 1), with_a_sigmoid(), nn.Linear(2, 1), with_a_sigmoid()):

        def objective(real: Tensor, discriminator: nn.Module = discriminator) -> Tensor:
            return loss.discriminator(discriminator(real), discriminator(-real))

        player = training.Player("critic", torch.optim.Adam(discriminator.parameters()), objective)
        trainer = training.GameTrainer({"critic": discriminator}, [player])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for iterations in (20, 22, 24):
                training.fit(trainer, [points()], iterations=iterations)
        caught.append(["sigmoid" in str(one.message) for one in said])
    assert caught == [[], [True], [], [True]]


def test_it_observes_all_scales() -> None:
    """Of several scales it gets a tuple, without graphs."""

    class Scales(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return DiscriminatorOutput((super().forward(x), 2 * super().forward(x)))

    notes = Notes()
    make_trainer(nn.Linear(3, 2), Scales(2, 1), augment=notes).train_step(points())
    ((one, other),) = notes.observed
    assert torch.equal(2 * one, other)
    assert not any(scale.requires_grad for scale in (one, other))


@pytest.mark.parametrize("steps", [1, 2])
def test_its_state_follows_the_updates_alone(steps: int) -> None:
    """Neither the dry run, nor a trial of the smallest batch, nor the generator's update leaves a trace in it."""
    adaptive = Adaptive()
    trainer = of_plain_players(augment=adaptive, discriminator_steps=steps)
    trainer.expect_batches(32, 5)
    batches = [points(seed=seed) for seed in range(3 * steps)]
    stream = iter(batches)
    for _ in range(3):
        trainer.train_step(stream)
    expected = torch.zeros(())
    for batch in batches:
        expected += trainer.discriminator(batch + expected).detach().mean()
    torch.testing.assert_close(adaptive.total, expected)


def test_a_graph_and_a_resumed_run_go_on_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded, and resumed from a state, the training is the ordinary one bit for bit."""
    stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)

    def train(trainer: Any, iterations: range) -> list[float]:
        metrics = []
        for iteration in iterations:
            torch.manual_seed(iteration)
            metrics += [value.item() for value in trainer.train_step(points(seed=iteration)).values()]
        return metrics

    def make(**options: Any) -> Any:
        return of_plain_players(augment=Adaptive(), **options)

    ordinary = train(make(), range(12))
    recorded = make(cuda_graph=True)
    first = train(recorded, range(8))
    state = copy.deepcopy(recorded.state_dict())
    assert first + train(recorded, range(8, 12)) == ordinary
    assert recorded.recorded_iterations
    resumed = make()
    resumed.load_state_dict(state)
    assert train(resumed, range(8, 12)) == ordinary[-len(ordinary) // 3 :]

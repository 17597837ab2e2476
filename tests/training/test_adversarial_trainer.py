"""AdversarialTrainer is Algorithm 1: the same numbers as the loop that one writes by hand."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib import latents, losses, penalties, training
from ganlib.errors import BatchesExhaustedError
from ganlib.protocols import Batch, DiscriminatorOutput
from tests.training.players import MyHinge, make_players, make_trainer, points, weights


def by_hand(generator: nn.Module, discriminator: nn.Module, batches: list[Tensor], *, steps: int = 1) -> list[Tensor]:
    """Algorithm 1, written out, with torch's own cross-entropy."""
    d_adam = torch.optim.Adam(discriminator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    g_adam = torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    seen, batches = [], list(batches)
    while batches:
        for _ in range(steps):
            real = batches.pop(0)
            fake = generator(torch.randn(len(real), 3, dtype=torch.get_default_dtype())).detach()
            real_logits, fake_logits = discriminator(real), discriminator(fake)
            loss = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
            loss = loss + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
            d_adam.zero_grad()
            loss.backward()
            d_adam.step()
        seen.append(loss.detach())
        fake_logits = discriminator(generator(torch.randn(len(real), 3, dtype=torch.get_default_dtype())))
        loss = F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
        g_adam.zero_grad()
        loss.backward()
        g_adam.step()
        seen.append(loss.detach())
    return seen


@pytest.fixture
def float64() -> Any:
    """Everything in float64, for as long as the test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("steps", [1, 3])
def test_equals_the_loop_written_by_hand(float64: None, steps: int) -> None:
    """Losses of twelve iterations equal those of a plain loop, fed the same batches and random numbers."""
    generator, discriminator = make_players()
    batches = [points(seed=seed).double() for seed in range(12 * steps)]
    trainer = make_trainer(copy.deepcopy(generator), copy.deepcopy(discriminator), discriminator_steps=steps)
    torch.manual_seed(1)
    expected = by_hand(generator, discriminator, batches, steps=steps)
    torch.manual_seed(1)
    stream, actual = iter(batches), []
    for _ in range(12):
        metrics = trainer.train_step(stream)
        actual += [metrics["discriminator_loss"], metrics["generator_loss"]]
    torch.testing.assert_close(torch.stack(actual), torch.stack(expected), rtol=0, atol=1e-12)


def test_two_points_are_learned_with_a_loss_of_ones_own() -> None:
    """A user's own loss and two plain nn.Sequentials learn a Gaussian, in a loop of the user's."""
    torch.manual_seed(0)
    trainer = make_trainer(loss=MyHinge())
    for seed in range(400):
        trainer.train_step(iter([points(seed=seed)]))
    drawn = trainer.generator.eval()(torch.randn(500, 3))
    # The players circle about the middle; at first the points are two away from it.
    assert (drawn.mean(0) - torch.tensor([2.0, -1.0])).norm() < 0.6
    assert trainer.iteration == 400


def test_the_generators_update_touches_nothing_of_the_discriminator() -> None:
    """After a step the discriminator's gradients are those of its own update alone."""
    torch.manual_seed(0)
    trainer = make_trainer()
    of_discriminator = []
    trainer.discriminator_optimizer.register_step_post_hook(
        lambda *_: of_discriminator.extend(p.grad.clone() for p in trainer.discriminator.parameters())
    )
    trainer.train_step(iter([points()]))
    for before, parameter in zip(of_discriminator, trainer.discriminator.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)


def test_the_discriminators_update_leaves_no_gradient_in_the_generator() -> None:
    """The discriminator's update computes no gradient of the generator's parameters."""
    trainer = make_trainer()
    seen = []
    trainer.discriminator_optimizer.register_step_post_hook(
        lambda *_: seen.extend(p.grad for p in trainer.generator.parameters())
    )
    trainer.train_step(iter([points()]))
    assert seen == [None] * len(seen)
    assert seen


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_what_the_user_froze_stays_frozen(player: str) -> None:
    """A frozen parameter keeps its value, gets no gradient, and stays frozen."""
    trainer = make_trainer()
    frozen = next(getattr(trainer, player).parameters()).requires_grad_(False)
    before = frozen.clone()
    for _ in range(3):
        trainer.train_step(iter([points()]))
    assert torch.equal(frozen, before)
    assert frozen.grad is None
    assert not frozen.requires_grad
    assert all(p.requires_grad for p in list(getattr(trainer, player).parameters())[1:])


@pytest.mark.parametrize("batch", [points(), (points(),), [points(), None], Batch(points())])
def test_batches_come_in_any_of_their_forms(batch: Any) -> None:
    """A tensor, a tuple, a list and a Batch train alike."""
    torch.manual_seed(0)
    expected = make_trainer()
    expected.train_step(iter([points()]))
    torch.manual_seed(0)
    trainer = make_trainer()
    trainer.train_step(iter([batch]))
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer).values(), weights(expected).values(), strict=True))


def test_accumulation_equals_one_large_batch(float64: None) -> None:
    """Four accumulated batches give the update of the one batch that they make together."""
    generator = nn.Linear(3, 2)
    discriminator = nn.Linear(2, 1)
    drawn = torch.randn(64, 3)

    class Given:
        """Latents from a table."""

        def __init__(self) -> None:
            self.at = 0

        def __call__(self, n: int, *, device: Any = None, generator: Any = None) -> Tensor:
            if generator is not None:  # a rehearsal
                return drawn[:n]
            self.at, first = self.at + n, self.at
            return drawn[first : first + n]

    whole = points(32).double()
    results = []
    for batches, accumulate in (([whole], 1), (list(whole.split(8)), 4)):
        trainer = make_trainer(
            copy.deepcopy(generator), copy.deepcopy(discriminator), latent=Given(), accumulate=accumulate
        )
        metrics = trainer.train_step(iter(batches))
        results.append([*weights(trainer).values(), *(metrics[name] for name in sorted(metrics))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_clipping_bounds_the_norm() -> None:
    """With clip_norm the gradient that is stepped along has at most that norm."""
    trainer = make_trainer(clip_norm=1e-3)
    trainer.train_step(iter([points()]))
    for network in (trainer.generator, trainer.discriminator):
        norm = torch.stack([p.grad.norm() for p in network.parameters()]).norm()
        assert norm <= 1e-3 * (1 + 1e-4)


def test_lazy_penalties_come_every_k_iterations_times_k() -> None:
    """A penalty with every=3 is applied at iterations 0, 3, 6, scaled by 3, and named in the metrics."""
    parameter_gradients = []

    class Constant(nn.Module):
        """The discriminator's first bias, so that its gradient is known."""

        every = 3

        def forward(self, discriminator: Any, real: Tensor, fake: Tensor, *conditions: Any) -> Tensor:
            return trainer.discriminator[3].bias.sum()

    generator, discriminator = make_players()
    trainer = make_trainer(generator, discriminator, penalties=[Constant()], loss=MyHinge())
    plain = make_trainer(*copy.deepcopy((generator, discriminator)), loss=MyHinge())
    for one in (trainer, plain):
        one.discriminator_optimizer.register_step_pre_hook(
            lambda *_, one=one: parameter_gradients.append(one.discriminator[3].bias.grad.item())
        )
    names: list[float] = []
    for iteration in range(7):
        # The same weights on both sides, so that only the penalty differs.
        plain.discriminator.load_state_dict(trainer.discriminator.state_dict())
        plain.generator.load_state_dict(trainer.generator.state_dict())
        for one in (trainer, plain):
            torch.manual_seed(iteration)
            metrics = one.train_step(iter([points()]))
            if one is trainer:
                names.append(metrics["constant"].item())
    difference = [
        round(with_it - without, 5) for with_it, without in zip(*[iter(parameter_gradients)] * 2, strict=True)
    ]
    assert difference == [3.0, 0.0, 0.0, 3.0, 0.0, 0.0, 3.0]
    # At the iterations between, the metric is the value that was last computed.
    assert names == [names[0]] * 3 + [names[3]] * 3 + [names[6]]
    assert len(set(names)) == 3


def test_penalties_see_each_sides_own_condition() -> None:
    """With fake_conditions the penalty is given the batch's conditions for real, and the drawn ones for fake."""
    seen = []

    def spy(discriminator: Any, real: Tensor, fake: Tensor, condition: Tensor, fake_condition: Tensor) -> Tensor:
        seen.append((condition, fake_condition))
        return discriminator(real, condition).sum() * 0

    class Conditional(nn.Module):
        """Adds the condition to a linear layer."""

        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            return self.layer(x) + condition.unsqueeze(1)

    trainer = make_trainer(
        Conditional(nn.Linear(3, 2)),
        Conditional(nn.Linear(2, 1)),
        penalties=[spy],
        fake_conditions=lambda n: torch.full((n,), 7),
    )
    metrics = trainer.train_step(iter([(points(4), torch.tensor([0, 1, 2, 3]))]))
    assert [part.tolist() for part in seen[0]] == [[0, 1, 2, 3], [7, 7, 7, 7]]
    assert metrics["spy"] == 0


def test_bf16_keeps_losses_and_penalties_in_float32() -> None:
    """Under bf16 the networks answer in bf16, while loss, penalty and fakes for the penalty are float32."""
    dtypes: dict[str, torch.dtype] = {}
    note: list[torch.dtype] = []

    class Spy(losses.NonSaturatingLoss):
        """Notes the dtype of what it is given."""

        def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
            dtypes["logits"] = real_logits.dtype
            return super().discriminator(real_logits, fake_logits)

    generator, discriminator = make_players()
    trainer = make_trainer(generator, discriminator, loss=Spy(), penalties=[penalties.R2(1.0)], precision="bf16")
    discriminator[0].register_forward_hook(lambda _, __, output: note.append(output.dtype))
    metrics = trainer.train_step(iter([points()]))
    assert dtypes == {"logits": torch.float32}
    # The rehearsal, then real and fake in the discriminator's update, the penalty, and the generator's update.
    assert note == [torch.bfloat16] * 3 + [torch.float32, torch.bfloat16]
    assert {value.dtype for name, value in metrics.items() if "loss" in name or name == "r2"} == {torch.float32}


def test_channels_last_changes_the_layout_and_not_the_result() -> None:
    """channels_last lays out weights and samples, and trains to the same weights."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.ConvTranspose2d(3, 4, 4), nn.Conv2d(4, 2, 1))
    discriminator = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 2), nn.Flatten())
    results = []
    for channels_last in (False, True):
        trainer = make_trainer(*copy.deepcopy((generator, discriminator)), channels_last=channels_last)
        torch.manual_seed(0)
        for _ in range(3):
            trainer.train_step(iter([torch.rand(8, 2, 4, 4)]))
        results.append(weights(trainer))
    assert trainer.generator[1].weight.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(*(result.values() for result in results), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_several_scales_are_summed() -> None:
    """A discriminator with two scales, as a DiscriminatorOutput, has the sum of their losses."""

    class TwoScales(nn.Module):
        """The same logits twice."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> DiscriminatorOutput:
            return DiscriminatorOutput((self.layer(x), self.layer(x)))

    generator, two = nn.Linear(3, 2), TwoScales()
    one = copy.deepcopy(two.layer)
    single, double = make_trainer(copy.deepcopy(generator), one), make_trainer(generator, two)
    torch.manual_seed(0)
    expected = single.train_step(iter([points()]))
    torch.manual_seed(0)
    actual = double.train_step(iter([points()]))
    torch.testing.assert_close(actual["discriminator_loss"], 2 * expected["discriminator_loss"])
    torch.testing.assert_close(actual["real_score"], expected["real_score"])


def test_too_few_batches_are_answered() -> None:
    """An iterator that ends within an iteration is a clear error, and not a StopIteration."""
    trainer = make_trainer(discriminator_steps=2)
    with pytest.raises(BatchesExhaustedError, match=r"discriminator_steps \(=2\)"):
        trainer.train_step(iter([points()]))


def test_metrics_are_detached_scalars() -> None:
    """Every metric is a scalar tensor without a graph."""
    metrics = make_trainer().train_step(iter([points()]))
    assert {name: (value.shape, value.requires_grad) for name, value in metrics.items()} == {
        name: (torch.Size([]), False) for name in ("discriminator_loss", "generator_loss", "real_score", "fake_score")
    }


@pytest.mark.filterwarnings("default")  # the compiler warns of its own doings, and takes a raised warning for a crash
def test_compiling_changes_neither_names_nor_numbers() -> None:
    """compile=True compiles in place: the state's names stay, and so do the numbers, a penalty included."""
    torch.compiler.reset()
    names, results = [], []
    for compiled in (False, True):
        generator, discriminator = make_players()
        discriminator[2] = nn.Identity()  # compiled dropout draws other numbers
        trainer = make_trainer(generator, discriminator, compile=compiled, penalties=[penalties.R1(1.0)])
        torch.manual_seed(0)
        metrics = [trainer.train_step(iter([points(seed=seed)])) for seed in range(3)]
        names.append(list(trainer.state_dict()["generator"]))
        results.append(torch.stack([value for step in metrics for value in step.values()]))
    assert names[0] == names[1]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_waits_for_the_device_nowhere() -> None:
    """No operation of a step on CUDA synchronises, penalties, clipping and accumulation included."""
    generator, discriminator = (network.cuda() for network in make_players())
    trainer = make_trainer(
        generator, discriminator, penalties=[penalties.R1(1.0)], clip_norm=1.0, accumulate=2, precision="bf16"
    )
    batches = [points().cuda() for _ in range(8)]
    trainer.train_step(iter(batches))  # the first batch of a kind is looked at
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_step(iter(batches))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_state_dict_round_trip() -> None:
    """A second trainer that is given the first one's state goes on exactly as it does."""
    first = make_trainer()
    torch.manual_seed(0)
    for seed in range(3):
        first.train_step(iter([points(seed=seed)]))
    second = make_trainer(*make_players(seed=1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        torch.manual_seed(5)
        trainer.train_step(iter([points(seed=9)]))
    assert second.iteration == 4
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_the_documented_signature() -> None:
    """The names and defaults of DESIGN.md's section 2 are there."""
    import inspect

    parameters = inspect.signature(training.AdversarialTrainer).parameters
    assert {name: p.default for name, p in parameters.items() if p.default is not p.empty} == {
        "penalties": (),
        "terms": (),
        "fake_conditions": None,
        "augment": None,
        "discriminator_steps": 1,
        "accumulate": 1,
        "clip_norm": None,
        "precision": "fp32",
        "channels_last": False,
        "compile": False,
    }
    assert list(parameters)[:4] == ["generator", "discriminator", "generator_optimizer", "discriminator_optimizer"]
    assert latents.Gaussian(3)(2).shape == (2, 3)

"""AdversarialTrainer's options: clipping, penalties, auxiliary losses, layout, scales, compilation."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning, losses, penalties
from ganlib.protocols import DiscriminatorOutput, Step
from tests.training.players import MyHinge, make_players, make_trainer, points, weights


def test_clipping_bounds_the_norm() -> None:
    """With max_grad_norm the gradient that is stepped along has at most that norm."""
    trainer = make_trainer(max_grad_norm=1e-3)
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


def test_the_score_is_the_mean_of_the_scales_means() -> None:
    """Scales of other sizes count equally: logits of 0, and of 100 at 16 positions, have a score of 0.75."""

    class Fixed(nn.Module):
        """Gives the same logits for whatever it sees."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            small = 0 * self.layer(x)
            return small, 100 + small.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    metrics = make_trainer(nn.Linear(3, 2), Fixed()).train_step(points())
    assert (metrics["real_score"], metrics["fake_score"]) == (0.75, 0.75)


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
        names.append(list(trainer.state_dict()["modules"]["generator"]))
        results.append(torch.stack([value for step in metrics for value in step.values()]))
    assert names[0] == names[1]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
def test_a_step_waits_for_the_device_nowhere(sync_debug_mode: Callable[[str], None]) -> None:
    """No operation of a step on CUDA synchronizes, penalties, clipping and accumulation included."""
    generator, discriminator = (network.cuda() for network in make_players())
    trainer = make_trainer(
        generator,
        discriminator,
        penalties=[penalties.R1(1.0)],
        max_grad_norm=1.0,
        accumulate_grad_batches=2,
        precision="bf16",
    )
    batches = [points().cuda() for _ in range(8)]
    trainer.train_step(iter(batches))  # the first batch of a kind is looked at
    sync_debug_mode("error")
    trainer.train_step(iter(batches))
    sync_debug_mode("default")


@pytest.mark.parametrize("needs_real", [False, True])
def test_auxiliary_losses_are_added_with_their_weight(needs_real: bool) -> None:
    """One adds weight times its value to both losses, is their sum as a metric, and sees real where it needs to."""
    seen: list[bool] = []

    class Bias:
        """The discriminator's last bias, and the generator's, so that the gradients are known."""

        weight = 3.0

        def __init__(self) -> None:
            self.needs_real = needs_real

        def discriminator(self, step: Step) -> Tensor:
            """Of the discriminator's update."""
            assert isinstance(step.real_output, DiscriminatorOutput)
            return discriminator[3].bias.sum()

        def generator(self, step: Step) -> Tensor:
            """Of the generator's update."""
            seen.append(isinstance(step.real_output, DiscriminatorOutput))
            return generator[3].bias.sum()

    generator, discriminator = make_players()
    plain_players = copy.deepcopy((generator, discriminator))
    gradients = []
    for players, auxiliary in (((generator, discriminator), [Bias()]), (plain_players, [])):
        trainer = make_trainer(*players, auxiliary_losses=auxiliary, loss=MyHinge())
        for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = 0.0  # so that both sides' generators meet the same discriminator
        torch.manual_seed(0)
        both = (discriminator[3].bias.sum() + generator[3].bias.sum()).item()
        metrics = trainer.train_step(iter([points()]))
        assert (metrics["bias"].item() if auxiliary else None) == (pytest.approx(both) if auxiliary else None)
        gradients.append(torch.cat([player[3].bias.grad for player in players]))
    torch.testing.assert_close(gradients[0], gradients[1] + 3)
    assert seen == [needs_real]


def test_each_player_descends_the_sum_of_its_losses() -> None:
    """A step of gradient descent is down the loss, the auxiliary loss times its weight, and the penalty times k."""
    latent = torch.randn(32, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    networks = make_players()
    networks[1][2] = nn.Identity()
    generator, discriminator = (network.double() for network in networks)
    own_generator, own_discriminator = copy.deepcopy((generator, discriminator))
    rate, real, loss, r1 = 0.1, points().double(), losses.NonSaturatingLoss(), penalties.R1(2.0, every=4)

    class Distance:
        """The distance of the means of fakes and reals, and of their logits."""

        weight = 0.5

        def discriminator(self, step: Step) -> Tensor:
            """In the discriminator's update, between logits."""
            return (step.real_output.logits.mean() - step.fake_output.logits.mean()).square()

        def generator(self, step: Step) -> Tensor:
            """In the generator's update, between samples."""
            return (step.real.mean(0) - step.fake.mean(0)).square().sum()

    trainer = make_trainer(
        generator,
        discriminator,
        generator_optimizer=torch.optim.SGD(generator.parameters(), lr=rate),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), lr=rate),
        loss=loss,
        latent=lambda n, **_: latent[:n],
        penalties=[r1],
        auxiliary_losses=[Distance()],
    )
    metrics = trainer.train_step(real)

    def descend(network: nn.Module, total: Tensor) -> None:
        gradients = torch.autograd.grad(total, [*network.parameters()])
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= rate * gradient

    fake = own_generator(latent).detach()
    real_logits, fake_logits = own_discriminator(real), own_discriminator(fake)
    of_discriminator = loss.discriminator(real_logits, fake_logits)
    distance = (real_logits.mean() - fake_logits.mean()).square()
    penalty = r1(own_discriminator, real, fake)
    descend(own_discriminator, of_discriminator + 0.5 * distance + 4 * penalty)
    fake = own_generator(latent)
    of_generator = loss.generator(own_discriminator(fake))
    other_distance = (real.mean(0) - fake.mean(0)).square().sum()
    descend(own_generator, of_generator + 0.5 * other_distance)
    for network, own in ((generator, own_generator), (discriminator, own_discriminator)):
        for value, expected in zip(network.parameters(), own.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    expected_metrics = {
        "discriminator_loss": of_discriminator,
        "generator_loss": of_generator,
        "distance": distance + other_distance,
        "r1": penalty,
        "real_score": real_logits.sigmoid().mean(),
        "fake_score": fake_logits.sigmoid().mean(),
    }
    assert metrics.keys() == expected_metrics.keys()
    for name, value in expected_metrics.items():
        torch.testing.assert_close(metrics[name], value.detach(), rtol=1e-10, atol=1e-12, msg=name)


def test_penalties_are_due_at_iterations_divisible_by_their_interval() -> None:
    """Of one that is due at every iteration and one at every third, the latter comes at 0, 3, 6."""

    class Noted:
        """Notes the iterations that it is called in."""

        def __init__(self, every: int) -> None:
            self.every = every
            self.iterations: list[int] = []

        def __call__(self, discriminator: Any, real: Tensor, fake: Tensor, *conditions: Any) -> Tensor:
            self.iterations.append(trainer.iteration)
            return discriminator(real).sum() * 0

    always, seldom = Noted(1), Noted(3)
    trainer = make_trainer(penalties=[always, seldom])
    for _ in range(7):
        trainer.train_step(points())
    assert always.iterations == [0, 1, 2, 3, 4, 5, 6]
    assert seldom.iterations == [0, 3, 6]


@pytest.mark.parametrize("reuse_fakes", [False, True])
def test_an_auxiliary_loss_sees_the_whole_step(reuse_fakes: bool) -> None:
    """Each update gives it samples, outputs, both conditions and the latents that made the fakes."""
    steps: dict[str, Step] = {}

    class Notes:
        """Keeps what it is given."""

        weight = 1.0

        def discriminator(self, step: Step) -> Tensor:
            """Of the discriminator's update."""
            steps["discriminator"] = step
            return torch.zeros(())

        def generator(self, step: Step) -> Tensor:
            """Of the generator's update."""
            steps["generator"] = step
            torch.testing.assert_close(generator(step.latent, step.fake_condition), step.fake)
            return torch.zeros(())

    generator = conditioning.ConcatLatent(nn.Linear(3 + 3, 2), conditioning.OneHot(3))
    discriminator = conditioning.Unconditional(nn.Linear(2, 1))
    trainer = make_trainer(
        generator,
        discriminator,
        auxiliary_losses=[Notes()],
        fake_conditions=lambda n: torch.arange(n) % 2,
        reuse_fakes=reuse_fakes,
    )
    real, condition = points(), torch.full((32,), 2)
    trainer.train_step((real, condition))
    for player, step in steps.items():
        assert torch.equal(step.real, real)
        assert torch.equal(step.condition, condition)
        assert torch.equal(step.fake_condition, torch.arange(32) % 2)
        assert step.latent.shape == (32, 3)
        assert step.fake_output.logits.shape == (32, 1)
        assert step.fake.requires_grad is (player == "generator")
    assert steps["discriminator"].real_output.logits.shape == (32, 1)
    assert steps["generator"].real_output is None
    shared = torch.equal(steps["discriminator"].latent, steps["generator"].latent)
    assert shared is torch.equal(steps["discriminator"].fake, steps["generator"].fake) is reuse_fakes


def test_an_adversarial_loss_that_compares_sees_real_logits_without_a_graph() -> None:
    """Where a loss needs them, the generator's update runs the discriminator on real samples, without gradients."""
    seen: list[bool] = []

    class Compares(MyHinge):
        """The distance between the mean logits."""

        needs_real_logits = True

        def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
            """Compare."""
            assert real is not None
            seen.append(real.requires_grad)
            return (fake.mean() - real.mean()).square()

    assert make_trainer(loss=Compares()).train_step(points())["generator_loss"].isfinite()
    assert seen == [False]


def test_a_player_that_an_auxiliary_loss_does_not_concern_may_get_a_plain_0() -> None:
    """Returning 0 trains as returning a tensor of 0 does, and the metric is the other player's value."""
    results = []
    for nothing in (0, 0.0, torch.zeros(())):

        class Reconstruction:
            """An L1 loss of the generator."""

            weight = 3.0

            def discriminator(self, step: Any, nothing: Any = nothing) -> Any:
                """Nothing."""
                return nothing

            def generator(self, step: Any) -> Tensor:
                """The distance."""
                return (step.fake - step.real).abs().mean()

        torch.manual_seed(0)
        trainer = make_trainer(auxiliary_losses=[Reconstruction()])
        metrics = trainer.train_step(points())
        assert metrics["reconstruction"] > 0
        results.append([*weights(trainer).values(), metrics["reconstruction"]])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))

"""AdversarialTrainer's options: clipping, penalties, precision, layout, scales, compilation."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses, penalties
from ganlib.protocols import DiscriminatorOutput
from tests.training.players import MyHinge, make_players, make_trainer, points, weights


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


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
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
def test_a_step_waits_for_the_device_nowhere(sync_debug_mode: Callable[[str], None]) -> None:
    """No operation of a step on CUDA synchronises, penalties, clipping and accumulation included."""
    generator, discriminator = (network.cuda() for network in make_players())
    trainer = make_trainer(
        generator, discriminator, penalties=[penalties.R1(1.0)], clip_norm=1.0, accumulate=2, precision="bf16"
    )
    batches = [points().cuda() for _ in range(8)]
    trainer.train_step(iter(batches))  # the first batch of a kind is looked at
    sync_debug_mode("error")
    trainer.train_step(iter(batches))
    sync_debug_mode("default")


@pytest.mark.parametrize("needs_real", [False, True])
def test_terms_are_added_with_their_weight(needs_real: bool) -> None:
    """A term adds weight times its value to both losses, is their sum as a metric, and sees real where it needs to."""
    seen: list[bool] = []

    class Bias:
        """The discriminator's last bias, and the generator's, so that the gradients are known."""

        weight = 3.0

        def __init__(self) -> None:
            self.needs_real = needs_real

        def discriminator(self, real: Any, fake: Any, condition: Any, fake_condition: Any) -> Tensor:
            """Of the discriminator's update."""
            assert isinstance(real, DiscriminatorOutput)
            return discriminator[3].bias.sum()

        def generator(self, fake: Any, real: Any, fake_condition: Any, condition: Any) -> Tensor:
            """Of the generator's update."""
            seen.append(isinstance(real, DiscriminatorOutput))
            return generator[3].bias.sum()

    generator, discriminator = make_players()
    plain_players = copy.deepcopy((generator, discriminator))
    gradients = []
    for players, terms in (((generator, discriminator), [Bias()]), (plain_players, [])):
        trainer = make_trainer(*players, terms=terms, loss=MyHinge())
        for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = 0.0  # so that both sides' generators meet the same discriminator
        torch.manual_seed(0)
        both = (discriminator[3].bias.sum() + generator[3].bias.sum()).item()
        metrics = trainer.train_step(iter([points()]))
        assert (metrics["bias"].item() if terms else None) == (pytest.approx(both) if terms else None)
        gradients.append(torch.cat([player[3].bias.grad for player in players]))
    torch.testing.assert_close(gradients[0], gradients[1] + 3)
    assert seen == [needs_real]

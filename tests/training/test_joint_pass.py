"""Judging real and fake samples in one pass, where that makes no difference or is asked for."""

import copy
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlib import augment, conditioning, losses, penalties, stacks
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.training._joint_pass import judge_together, makes_no_difference
from ganlib.training._networks import Minibatch
from tests.training.players import make_trainer, weights


class Coupled(nn.Module):
    """Adds the batch's mean, which no module of torch's says, before a head that gives 0 for everything."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Couple."""
        return self.head(x + x.mean(0))


class Noisy(nn.Module):
    """Draws random numbers that no module of torch's says."""

    def forward(self, x: Tensor) -> Tensor:
        """Add noise."""
        return x + torch.rand_like(x)


def conv(norm: Any, **options: Any) -> nn.Module:
    """A small discriminator of 8 x 8 images."""
    plan = stacks.StackPlan((2, 8, 8), [stacks.Stage(4), stacks.Stage(8), stacks.Stage(4)])
    return nn.Sequential(stacks.ConvStack(plan, top_channels=1, norm=norm, **options), nn.Flatten())


def verdict(discriminator: nn.Module, *, shape: tuple[int, ...] = (6, 2, 8, 8)) -> bool:
    """Whether one pass makes no difference to it."""
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return makes_no_difference(discriminator, Minibatch(sample))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("none", True), ("group", True), ("instance", True), ("pixel", True), ("batch", False)],
)
def test_norms(name: str, expected: bool) -> None:
    """Norms of single samples are not in the way; batch norm is, until it is in evaluation mode."""
    discriminator = conv(name)
    assert verdict(discriminator) is expected
    assert verdict(discriminator.eval()) is True


@pytest.mark.parametrize(
    ("discriminator", "expected"),
    [
        (conv("none", dropout=0.3), False),
        (conv("none", dropout=0.3).eval(), True),
        (conv("none", spectral_norm=True), False),
        (conv("none", spectral_norm=True).eval(), True),
        (nn.Sequential(spectral_norm(nn.Linear(8, 1))), False),  # which has converged, at first
        (nn.Sequential(stacks.MinibatchStdDev(), nn.Conv2d(3, 1, 8)), False),
        (nn.Sequential(stacks.SelfAttention(2), nn.Conv2d(2, 1, 8)), True),
        (stacks.MultiScaleDiscriminator([nn.Conv2d(2, 1, 4), nn.Conv2d(2, 1, 4)]), True),
        (nn.Sequential(Noisy(), nn.Conv2d(2, 1, 8)), False),
    ],
)
def test_parts(discriminator: nn.Module, expected: bool) -> None:
    """Dropout, spectral norm's iteration, statistics of the batch and noise are in the way; attention is not."""
    assert verdict(discriminator) is expected


def test_what_a_network_of_ones_own_couples_is_found() -> None:
    """A dependence between samples that nothing declares is found, though all of its answers are 0."""
    assert verdict(Coupled(), shape=(6, 2)) is False
    assert verdict(Coupled().head, shape=(6, 2)) is True


def test_answers_that_are_not_one_a_sample_are_in_the_way() -> None:
    """Means, swallowed and refused NaNs are in the way; logits (N,) are not."""

    class Critic(nn.Module):
        """Answers in a way of one's own."""

        def __init__(self, answer: Any) -> None:
            super().__init__()
            self.answer = answer

        def forward(self, x: Tensor) -> Tensor:
            """Answer."""
            return self.answer(x)

    def refuse(x: Tensor) -> Tensor:
        random.random()
        assert x.isfinite().all()
        return x

    assert verdict(Critic(lambda x: x.mean()), shape=(4, 2)) is False
    assert verdict(Critic(lambda x: x.nan_to_num()), shape=(4, 2)) is False
    numbers = random.getstate()
    assert verdict(Critic(refuse), shape=(4, 2)) is False
    assert random.getstate() == numbers
    assert verdict(Critic(lambda x: x.sum(1)), shape=(4, 2)) is True


def test_conditions_of_one_side_alone_are_in_the_way() -> None:
    """Conditions on one side only, or of other kinds, cannot be put together."""
    layer = nn.Linear(2, 1)
    for condition, other in ((torch.zeros(4), None), (torch.zeros(4), torch.zeros(4, 3))):
        minibatch = Minibatch(torch.ones(4, 2), condition, other)
        assert makes_no_difference(layer, minibatch) is False
        with pytest.raises(ArgumentValueError, match=r"joint_pass \(=True\) needs conditions of one kind"):
            judge_together(lambda x, _: layer(x), minibatch, torch.ones(4, 2))


def test_looking_leaves_no_trace() -> None:
    """Buffers, what a module keeps besides, and random state are what they were, also where they were in the way."""

    class Keeping(nn.Module):
        """Keeps a mean that is no buffer, which a NaN would spoil for good."""

        mean = torch.zeros(2)

        def forward(self, x: Tensor) -> Tensor:
            """Keep."""
            self.mean = x.mean(0)
            return x

    discriminator = nn.Sequential(Noisy(), Keeping(), spectral_norm(nn.Linear(2, 1)))
    before, state = copy.deepcopy(discriminator.state_dict()), torch.get_rng_state()
    assert verdict(discriminator, shape=(6, 2)) is False
    assert torch.equal(discriminator[1].mean, torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


def test_all_of_an_output_is_parted() -> None:
    """Logits of several scales, class logits and features come apart into those of real and of fake samples."""

    def answer(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        assert condition is not None
        return DiscriminatorOutput((x, 2 * x), x + condition.unsqueeze(1), (3 * x, 4 * x))

    real, fake = torch.ones(3, 2), torch.zeros(3, 2)
    minibatch = Minibatch(real, torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]))
    for side, sample, condition in zip(
        judge_together(answer, minibatch, fake),
        (real, fake),
        (minibatch.condition, minibatch.fake_condition),
        strict=True,
    ):
        expected = answer(sample, condition)
        assert all(torch.equal(a, b) for a, b in zip(side.logits, expected.logits, strict=True))
        assert torch.equal(side.class_logits, expected.class_logits)
        assert all(torch.equal(a, b) for a, b in zip(side.features, expected.features, strict=True))


def test_an_answer_that_cannot_be_parted_is_refused() -> None:
    """Where one pass is asked for, a critic that answers with a mean is told so."""
    with pytest.raises(ShapeError, match=r"joint_pass \(=True\) needs one answer a sample.*\(1,\) for 4"):
        judge_together(lambda x, _: x.mean().view(1), Minibatch(torch.ones(2, 2)), torch.ones(2, 2))


def train(players: tuple[nn.Module, nn.Module], joint_pass: bool | None, **options: Any) -> Any:
    """The weights and metrics after four iterations, and the trainer."""
    trainer = make_trainer(*copy.deepcopy(players), joint_pass=joint_pass, **options)
    torch.manual_seed(0)
    for _ in range(4):
        metrics = trainer.train_step(iter([(torch.rand(6, 2, 8, 8), torch.arange(6) % 3)]))
    return weights(trainer), metrics, trainer


def players(norm: str = "none") -> tuple[nn.Module, nn.Module]:
    """A conditional generator and discriminator of small images, in float64."""
    torch.manual_seed(1)
    generator = conditioning.ConcatLatent(
        nn.Sequential(nn.Linear(3 + 3, 128), nn.Tanh(), nn.Unflatten(1, (2, 8, 8))), conditioning.OneHot(3)
    )
    discriminator = conditioning.ConcatFeatures(conv(norm), conditioning.OneHot(3), nn.Linear(1 + 3, 1))
    return generator.double(), discriminator.double()


@pytest.mark.parametrize("fake_conditions", [None, lambda n: torch.arange(n) % 2])
def test_one_pass_trains_as_two_do(fake_conditions: Any) -> None:
    """Without batch norm both train to the same weights and metrics, with penalties and pairs of logits too."""
    options = {"penalties": [penalties.R1(1.0)], "loss": losses.RelativisticLoss(), "fake_conditions": fake_conditions}
    torch.set_default_dtype(torch.float64)
    try:
        expected, metrics, _ = train(players(), False, **options)
        for wanted in (True, None):
            actual, own, trainer = train(players(), wanted, **options)
            assert trainer.judges_jointly is True
            for name, value in (expected | metrics).items():
                torch.testing.assert_close((actual | own)[name], value, rtol=1e-7, atol=1e-9)
    finally:
        torch.set_default_dtype(torch.float32)


def test_batch_norm_takes_its_statistics_together_only_where_asked() -> None:
    """By default a discriminator with batch norm judges in two passes; with True it makes one, of both sides."""
    torch.set_default_dtype(torch.float64)
    try:
        separate, default, joint = (train(players("batch"), wanted) for wanted in (False, None, True))
    finally:
        torch.set_default_dtype(torch.float32)
    counts = {name for name in separate[0] if name.startswith("discriminator") and "num_batches" in name}
    # Real and fake, and the fakes of the generator's update; in four iterations.
    assert [{int(one[0][name]) for name in counts} for one in (separate, default, joint)] == [{12}, {12}, {8}]
    assert all(torch.equal(default[0][name], separate[0][name]) for name in separate[0])


def test_a_change_of_mode_is_noticed() -> None:
    """A discriminator that is put into evaluation mode, and back, is looked at again."""
    trainer = make_trainer(*(player.float() for player in players("batch")))
    seen = []
    for mode in (True, False, True):
        trainer.discriminator.train(mode)
        trainer.train_step(iter([(torch.rand(6, 2, 8, 8), torch.arange(6) % 3)]))
        seen.append(trainer.judges_jointly)
    assert seen == [False, True, False]


def test_a_random_augmentation_keeps_two_passes() -> None:
    """An augmentation that draws random numbers would draw others in one pass; it can be asked for."""
    found = []
    for wanted in (None, True):
        generator, discriminator = players()
        pair = generator.float(), discriminator.float()
        found.append(train(pair, wanted, augment=augment.RandomHorizontalFlip())[2].judges_jointly)
    assert found == [False, True]


@pytest.mark.parametrize("value", ["yes", 1])
def test_another_value_is_refused(value: Any) -> None:
    """What is neither True, False nor None is named."""
    with pytest.raises(ArgumentTypeError, match=rf"joint_pass \(={value!r}\) must be True, False or None"):
        make_trainer(joint_pass=value)

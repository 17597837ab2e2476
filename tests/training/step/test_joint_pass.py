"""Discriminating real and fake samples in one forward pass, where that is asked for."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import augment, conditioning, losses, penalties, stacks
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.training._step._joint_pass import discriminate_together, warn_of_joint_statistics
from tests.training.players import make_trainer, weights

REAL, FAKE = torch.ones(3, 2), torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("condition", "other"),
    [
        (torch.zeros(3), None),
        (torch.zeros(3), torch.zeros(3, 3)),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
        ({"class": torch.zeros(3)}, {"angle": torch.zeros(3)}),
        ((torch.zeros(3),), (torch.zeros(3), torch.zeros(3))),
        ((torch.zeros(3), None), (torch.zeros(3), torch.zeros(3))),
    ],
)
def test_conditions_of_two_kinds_are_refused(condition: Any, other: Any) -> None:
    """Conditions on one side only, of another structure, shape or dtype, cannot be put together."""
    layer = nn.Linear(2, 1)
    for one, two in ((condition, other), (other, condition)):
        with pytest.raises(ArgumentValueError, match=r"joint_pass \(=True\) needs conditions of one kind"):
            discriminate_together(lambda x, _: DiscriminatorOutput(layer(x)), REAL, FAKE, one, two)


NESTS: dict[str, Any] = {
    "a tensor": lambda condition: condition,
    "a dict": lambda condition: {"class": condition, "angle": 2 * condition},
    "a tuple": lambda condition: (condition, {"map": condition.view(3, 1, 1), "none": None}),
}


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_all_of_an_output_is_split(nest: Any) -> None:
    """Logits of several scales, class logits and features are split into those of real and of fake samples."""

    def added(condition: Any) -> Any:
        if condition is None or isinstance(condition, Tensor):
            return 0 if condition is None else condition.flatten()
        members = condition.values() if isinstance(condition, dict) else condition
        return sum(added(member) for member in members)

    def discriminate(x: Tensor, condition: Any) -> DiscriminatorOutput:
        return DiscriminatorOutput((x, 2 * x), x + added(condition).unsqueeze(1), (3 * x, 4 * x))

    condition, fake_condition = nest(torch.tensor([1, 2, 3])), nest(torch.tensor([4, 5, 6]))
    outputs = discriminate_together(discriminate, REAL, FAKE, condition, fake_condition)
    sides = ((REAL, condition), (FAKE, fake_condition))
    for actual, (sample, given) in zip(outputs, sides, strict=True):
        expected = discriminate(sample, given)
        assert all(torch.equal(a, b) for a, b in zip(actual.logits, expected.logits, strict=True))
        assert torch.equal(actual.class_logits, expected.class_logits)
        assert all(torch.equal(a, b) for a, b in zip(actual.features, expected.features, strict=True))


@pytest.mark.parametrize("output", [lambda x: x.mean(), lambda x: x.mean().view(1), lambda x: x[:3]])
def test_an_output_that_cannot_be_split_is_refused(output: Any) -> None:
    """A discriminator that gives a mean, also as a feature, is told what one pass needs."""
    words = r"joint_pass \(=True\) needs an output for each sample, but discriminator gave \(.*\) for 6"
    with pytest.raises(ShapeError, match=words):
        discriminate_together(lambda x, _: DiscriminatorOutput(output(x)), REAL, FAKE, None, None)
    with pytest.raises(ShapeError, match=words):
        discriminate_together(lambda x, _: DiscriminatorOutput(x, features=(output(x),)), REAL, FAKE, None, None)


def players(norm: str = "none") -> tuple[nn.Module, nn.Module]:
    """A conditional generator and discriminator of small images, in float64."""
    torch.manual_seed(1)
    generator = conditioning.ConcatLatent(
        nn.Sequential(nn.Linear(3 + 3, 128), nn.Tanh(), nn.Unflatten(1, (2, 8, 8))), conditioning.OneHot(3)
    )
    plan = stacks.StackPlan((2, 8, 8), [stacks.Stage(4), stacks.Stage(8), stacks.Stage(4)])
    stack = nn.Sequential(stacks.ConvStack(plan, top_channels=1, norm=norm), nn.Flatten())
    discriminator = conditioning.ConcatFeatures(stack, conditioning.OneHot(3), nn.Linear(1 + 3, 1))
    return generator.double(), discriminator.double()


def train(players: tuple[nn.Module, nn.Module], **options: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and metrics after four iterations."""
    trainer = make_trainer(*copy.deepcopy(players), **options)
    torch.manual_seed(0)
    for _ in range(4):
        metrics = trainer.train_step(iter([(2 * torch.rand(6, 2, 8, 8) - 1, torch.arange(6) % 3)]))
    return weights(trainer), metrics


@pytest.fixture
def float64() -> Any:
    """Everything in float64, for as long as the test runs."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("fake_conditions", [None, lambda n: torch.arange(n) % 2])
def test_one_pass_trains_as_two_do(fake_conditions: Any, float64: None) -> None:
    """Without batch norm both train to the same weights and metrics, with penalties and pairs of logits too."""
    options = {"penalties": [penalties.R1(1.0)], "loss": losses.RelativisticLoss(), "fake_conditions": fake_conditions}
    expected, metrics = train(players(), **options)
    actual, own = train(players(), joint_pass=True, **options)
    for name, value in (expected | metrics).items():
        torch.testing.assert_close((actual | own)[name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore:joint_pass")
def test_batch_norm_takes_its_statistics_together_only_where_asked(float64: None) -> None:
    """By default a discriminator with batch norm runs on each side apart; with True it runs once, on both."""
    separate, default, joint = (
        train(players("batch"), **options)[0] for options in ({"joint_pass": False}, {}, {"joint_pass": True})
    )
    counts = {name for name in separate if name.startswith("discriminator") and "num_batches" in name}
    # Real and fake, and the fakes of the generator's update; in four iterations.
    assert [{int(one[name]) for name in counts} for one in (separate, default, joint)] == [{12}, {12}, {8}]
    assert all(torch.equal(default[name], separate[name]) for name in separate)


def test_statistics_of_both_sides_are_warned_of() -> None:
    """A batch norm with the statistics of the batch is named; one with running statistics is not warned of."""
    norm = nn.BatchNorm1d(4)
    discriminator = nn.Sequential(nn.Linear(2, 4), norm, nn.Linear(4, 1))
    with pytest.warns(UserWarning, match=r"joint_pass \(=True\) runs 1 \(BatchNorm1d\)"):
        warn_of_joint_statistics(discriminator)
    discriminator.eval()
    warn_of_joint_statistics(discriminator)  # a warning would be an error
    discriminator[1] = nn.BatchNorm1d(4, track_running_stats=False).eval()
    with pytest.warns(UserWarning, match="joint_pass"):
        warn_of_joint_statistics(discriminator)
    for other in (nn.InstanceNorm1d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4)):
        discriminator[1] = other
        warn_of_joint_statistics(discriminator)


def test_a_random_augmentation_may_go_with_one_pass(float64: None) -> None:
    """An augmentation that draws random numbers is applied to both sides at once."""
    before = weights(make_trainer(*players()))
    after, metrics = train(players(), joint_pass=True, augment=augment.RandomHorizontalFlip())
    assert all(value.isfinite() for value in metrics.values())
    assert all(not torch.equal(value, before[name]) for name, value in after.items() if "weight" in name)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_another_value_is_refused(value: Any) -> None:
    """What is neither True nor False is named."""
    with pytest.raises(ArgumentTypeError, match=rf"joint_pass \(={value!r}\) must be True or False"):
        make_trainer(joint_pass=value)

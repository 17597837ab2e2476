"""Penalties from the logits of the discriminator's update, where that is asked for."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning, losses, penalties, stacks
from ganlib.errors import ArgumentValueError
from ganlib.protocols import DiscriminatorOutput, Step
from tests.training.players import make_trainer, points, weights

F64 = torch.float64


class MyR1:
    """A user's penalty on the squares of logits' slopes at a side, from a forward pass of its own or from logits."""

    every = 2

    def __init__(self, side: str) -> None:
        self.side = side

    def __call__(
        self, discriminator: Any, real: Tensor, fake: Tensor, condition: Any = None, fake_condition: Any = None
    ) -> Tensor:
        """The penalty, from a pass of its own."""
        given = {"real": (real, condition), "fake": (fake, fake_condition)}[self.side]
        samples = given[0].detach().requires_grad_()
        output = discriminator(samples, given[1])
        return self.of(samples, getattr(output, "logits", output))

    def of(self, samples: Tensor, logits: Any) -> Tensor:
        """The penalty, from logits."""
        total = torch.stack([scale.square().sum() for scale in (logits if isinstance(logits, tuple) else (logits,))])
        (slope,) = torch.autograd.grad(total.sum(), samples, create_graph=True)
        return slope.square().mean()


class Scales(nn.Module):
    """A discriminator of two scales, with features."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, *given: Any) -> DiscriminatorOutput:
        """Score twice."""
        logits = self.body(*given)
        return DiscriminatorOutput((logits, logits.sin()), features=(logits.cos(),))


def players(dtype: torch.dtype = F64) -> tuple[nn.Module, nn.Module]:
    """A conditional generator and discriminator of small images, without dropout and batch norm."""
    torch.manual_seed(1)
    plan = stacks.StackPlan((2, 8, 8), [stacks.Stage(4), stacks.Stage(6)])
    body = nn.Sequential(nn.Unflatten(1, (6, 2, 2)), stacks.ConvTransposeStack(plan, norm="none"))
    generator = conditioning.ConcatLatent(nn.Sequential(nn.Linear(6, 24), body), conditioning.OneHot(3))
    stack = nn.Sequential(stacks.ConvStack(plan, top_channels=1, norm="none"), nn.Flatten(), nn.Tanh())
    discriminator = conditioning.ConcatFeatures(stack, conditioning.OneHot(3), nn.Linear(4 + 3, 1))
    return generator.to(dtype), Scales(discriminator.to(dtype))


def train(
    given: tuple[nn.Module, nn.Module], *, sgd: bool = False, **options: Any
) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The weights after four iterations, and the metrics of each."""
    generator, discriminator = copy.deepcopy(given)
    if sgd:
        options["generator_optimizer"] = torch.optim.SGD(generator.parameters(), lr=0.1)
        options["discriminator_optimizer"] = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    trainer = make_trainer(generator, discriminator, **options)
    dtype = next(given[0].parameters()).dtype
    torch.manual_seed(0)
    metrics = []
    for _ in range(4):
        batches = [
            (2 * torch.rand(6, 2, 8, 8, dtype=dtype) - 1, torch.arange(6) % 3)
            for _ in range(trainer.batches_per_iteration)
        ]
        metrics.append(trainer.train_step(iter(batches)))
    return weights(trainer), metrics


def assert_near(one: Any, other: Any, tolerance: float) -> None:
    """Weights and all metrics agree."""
    for name in one[0]:
        torch.testing.assert_close(one[0][name], other[0][name], rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(one[1], other[1], strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=tolerance, atol=tolerance)


@pytest.fixture
def float64() -> Any:
    """Everything in float64, for as long as the test runs."""
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(torch.float32)


def both() -> list[Any]:
    """R1 and R2."""
    return [penalties.R1(0.7), penalties.R2(0.3)]


OPTIONS: dict[str, Any] = {
    "R1 and R2": dict,
    "R1 alone": lambda: {"penalties": [penalties.R1(0.7)]},
    "R2 alone": lambda: {"penalties": [penalties.R2(0.7)]},
    "lazy": lambda: {"penalties": [penalties.R1(0.7, every=3), penalties.R2(0.3, every=2)]},
    "a user's": lambda: {"penalties": [MyR1("fake"), penalties.R1(0.7), MyR1("real")]},
    "others": lambda: {
        "penalties": [penalties.DRAGAN(0.1), penalties.R1(0.7), penalties.LeCam(0.1, num_scales=2).double()]
    },
    "auxiliary losses": lambda: {
        "auxiliary_losses": [losses.FeatureMatching(2.0), penalties.LeCam(0.1, num_scales=2).double()]
    },
    "a relativistic loss": lambda: {"loss": losses.RelativisticLoss()},
    "fake conditions": lambda: {"fake_conditions": lambda n: torch.arange(n) % 2},
    "reuse_fakes": lambda: {"reuse_fakes": True},
    "two steps, clipped, accumulated": lambda: {
        "discriminator_steps": 2,
        "accumulate_grad_batches": 2,
        "max_grad_norm": 0.1,
    },
    "an augmentation": lambda: {"augment": lambda x: (2 * x).sin()},
    "channels_last": lambda: {"channels_last": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_trains_as_passes_of_their_own_do(name: str, float64: None) -> None:
    """In float64 losses, penalties and all weights of both players are within 1e-12 after four iterations."""
    expected = train(players(), **({"penalties": both()} | OPTIONS[name]()))
    actual = train(players(), **({"penalties": both()} | OPTIONS[name]()), reuse_logits=True)
    assert_near(actual, expected, 1e-12)


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_it_trains_so_in_lower_precision(precision: Any, tolerance: float) -> None:
    """In float32, and in bfloat16 with penalties under autocast, both ways differ by rounding alone.

    SGD does not amplify the rounding of small gradients, as Adam does.
    """
    own: Any = "autocast" if precision == "bf16" else "fp32"
    options = {"precision": precision, "penalties": [make(0.7, precision=own) for make in (penalties.R1, penalties.R2)]}
    expected = train(players(torch.float32), sgd=True, **options)
    actual = train(players(torch.float32), sgd=True, **options, reuse_logits=True)
    assert_near(actual, expected, tolerance)


class Counted(nn.Linear):
    """A discriminator that counts its calls, and how many of them had samples that require a gradient."""

    calls = 0
    graphs = 0

    def forward(self, x: Tensor) -> Tensor:
        """Count, and score."""
        self.calls += 1
        self.graphs += x.requires_grad
        return super().forward(x)


def test_it_saves_a_forward_pass_for_each_penalty() -> None:
    """With R1 and R2 an iteration calls the discriminator three times, not five; without a due one nothing changes."""
    calls = []
    for reuse in (False, True):
        discriminator = Counted(2, 1)
        options = {"penalties": [penalties.R1(every=2), penalties.R2(every=2)], "reuse_logits": reuse}
        trainer = make_trainer(nn.Linear(3, 2), discriminator, **options)
        for _ in range(2):
            discriminator.calls = discriminator.graphs = 0
            trainer.train_step(points())
            calls.append((discriminator.calls, discriminator.graphs))
        discriminator.calls = 0
    before, lazy_before, now, lazy_now = calls
    assert (before[0] - now[0], now[1]) == (2, 3)  # real, fake, and the fakes of the generator
    assert lazy_now == lazy_before == (3, 1)


def test_parts_get_samples_without_a_gradient() -> None:
    """Auxiliary losses and other penalties see the samples as they are without it."""
    seen: list[bool] = []

    class Spy:
        weight = 1.0

        def discriminator(self, step: Step) -> float:
            """Look."""
            seen.extend((step.real.requires_grad, step.fake.requires_grad))
            return 0.0

        def generator(self, step: Step) -> float:
            """Nothing."""
            return 0.0

    def spy(discriminator: Any, real: Tensor, fake: Tensor, *conditions: Any) -> Tensor:
        seen.extend((real.requires_grad, fake.requires_grad))
        return 0 * discriminator(fake).sum()

    batch = points()
    options = {"auxiliary_losses": [Spy()], "penalties": [*both(), spy]}
    make_trainer(**options, reuse_logits=True).train_step(batch)
    assert seen
    assert not any(seen)
    assert not batch.requires_grad


@pytest.mark.filterwarnings("default")  # the compiler warns of its own doings, and takes a raised warning for a crash
def test_a_compiled_discriminator_is_not_run_compiled() -> None:
    """Compiled, which would refuse a second derivative, it trains as the plain one does."""
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        generator, discriminator = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        if compiled:
            discriminator.compile(backend="aot_eager")
        trainer = make_trainer(generator, discriminator, penalties=both(), reuse_logits=True)
        for seed in range(2):
            trainer.train_step(points(seed=seed))
        results.append(list(weights(trainer).values()))
    torch.compiler.reset()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


class Elsewhere(MyR1):
    """A penalty on a side that does not exist."""

    def __init__(self) -> None:
        super().__init__("middle")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"reuse_logits \(=True\) needs a penalty with a method of.*such as R1"),
        ({"penalties": [penalties.GradientPenalty(), penalties.LeCam()]}, "needs a penalty with a method of"),
        ({"penalties": [Elsewhere()]}, r"side \(='middle'\) of .*Elsewhere.* must be 'real' or 'fake'"),
        ({"penalties": both(), "joint_pass": True}, r"reuse_logits \(=True\) and joint_pass \(=True\) exclude"),
        (
            {"penalties": both(), "precision": "bf16"},
            r"reuse_logits \(=True\) with precision \(='bf16'\) would compute R1\(.*'autocast' for the penalty",
        ),
        ({"penalties": [MyR1("real")], "precision": "bf16"}, r"would compute .*MyR1"),
        ({"penalties": both(), "precision": "fp16"}, r"with precision \(='fp16'\) .*use precision 'bf16'"),
    ],
)
def test_what_would_train_otherwise_is_refused(options: dict[str, Any], words: str) -> None:
    """At construction, with what to do; without ``reuse_logits`` each of them trains."""
    with pytest.raises(ArgumentValueError, match=words):
        make_trainer(**options, reuse_logits=True)
    make_trainer(**options)

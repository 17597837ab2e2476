"""One contract that every penalty of the room keeps."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

import ganlib.penalties
from ganlib import latents, losses, training
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties import DRAGAN, R1, R2, Consistency, GradientPenalty, LeCam, Penalty
from ganlib.protocols import DiscriminatorOutput
from tests import strategies

F64 = torch.float64
SHAPE = (1, 2, 3)
FACTORS = torch.arange(1.0, 7.0, dtype=F64).view(1, *SHAPE)


class Critic(NamedTuple):
    """A critic whose gradient one can write down.

    Args:
        judge: samples (N, 1, 2, 3) -> logits.
        slope: samples -> the gradient of the sum of each sample's logits.
        num_scales: how many logits it gives.
    """

    judge: Callable[[Tensor], Any]
    slope: Callable[[Tensor], Tensor]
    num_scales: int = 1


def inner_product(x):
    """<factors, x>, (N,)."""
    return (FACTORS * x).flatten(1).sum(1)


CRITICS = {
    "linear": Critic(inner_product, lambda x: FACTORS.expand_as(x)),
    "quadratic": Critic(lambda x: x.square().flatten(1).sum(1, keepdim=True) / 2, lambda x: x),
    "patches": Critic(lambda x: FACTORS * x.square() / 2, lambda x: FACTORS * x),
    "scales": Critic(
        lambda x: (3 * x.flatten(1)[:, :1], FACTORS * x.square() / 2, inner_product(x)),
        lambda x: FACTORS * x + FACTORS + 3 * (torch.arange(6).view(1, *SHAPE) == 0),
        num_scales=3,
    ),
}


def norms(x):
    """The norm of each sample."""
    return x.flatten(1).square().sum(1).sqrt()


def doubled(critic, samples):
    """The mean over samples of the squares of all their logits' changes where samples are doubled."""
    pairs = zip(scales(critic.judge(samples)), scales(critic.judge(2 * samples)), strict=True)
    return sum((one - other).square().sum() for one, other in pairs) / len(samples)


def scales(logits):
    """A tuple of logits, of one scale too."""
    return logits if isinstance(logits, tuple) else (logits,)


def apart(critic, real, fake):
    """The mean squared distances of logits from the other side's mean, summed over scales."""
    pairs = zip(scales(critic.judge(real)), scales(critic.judge(fake)), strict=True)
    return sum(((r - f.mean()) ** 2).mean() + ((f - r.mean()) ** 2).mean() for r, f in pairs)


class Case(NamedTuple):
    """A penalty, and what it must be.

    Args:
        make: (weight, every=..., num_scales=...) -> the penalty, in a form without random numbers where it has one.
        value: (critic, real, fake) -> the penalty of weight 1.
        sees: for each call of the discriminator, which side's samples and conditions it is given.
        metric: what the trainer calls it.
        mixes: whether it mixes real and fake: fakes that equal the real ones leave only those.
        tolerance: of the closed form.
    """

    make: Callable[..., Penalty]
    value: Callable[[Critic, Tensor, Tensor], Tensor]
    sees: tuple[str, ...]
    metric: str
    mixes: bool = False
    tolerance: float = 1e-12


def make_lecam(*weight, num_scales=1, **options):
    """LeCam for as many scales as the critic has."""
    return LeCam(*weight, num_scales=num_scales, **options)


def without_scales(make):
    """A maker of penalties to whom the number of scales is nothing."""
    return lambda *weight, num_scales=1, **options: make(*weight, **options)


def make_consistency(weight=10.0, **options):
    """Consistency on both sides, with twice the weight on fakes."""
    return Consistency(lambda x: 2 * x, weight, fake_weight=2 * abs(weight), **options)


CASES = {
    "R1": Case(
        without_scales(R1), lambda critic, real, _: norms(critic.slope(real)).square().mean() / 2, ("real",), "r1"
    ),
    "R2": Case(
        without_scales(R2), lambda critic, _, fake: norms(critic.slope(fake)).square().mean() / 2, ("fake",), "r2"
    ),
    "GradientPenalty": Case(
        without_scales(GradientPenalty),
        lambda critic, real, _: (norms(critic.slope(real)) - 1).square().mean(),
        ("mixed",),
        "gradient_penalty",
        mixes=True,
    ),
    "DRAGAN": Case(
        without_scales(lambda *weight, **options: DRAGAN(*weight, noise=0.0, **options)),
        lambda critic, real, _: (norms(critic.slope(real)) - 1).square().mean(),
        ("real",),
        "dragan",
    ),
    "Consistency": Case(
        without_scales(make_consistency),
        lambda critic, real, fake: doubled(critic, real) + 2 * doubled(critic, fake),
        ("real", "real", "fake", "fake"),
        "consistency",
    ),
    "LeCam": Case(make_lecam, apart, ("real", "fake"), "le_cam", tolerance=1e-5),  # its means are float32
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
few = settings(max_examples=15)
samples = strategies.normals((4, *SHAPE), F64)


def seeded(penalty, *arguments):
    """The penalty with the random numbers of seed 0."""
    torch.manual_seed(0)
    return penalty(*arguments)


def settled(penalty, *arguments):
    """The penalty as a function of its arguments alone: LeCam's running means stay as the first batch left them."""
    penalty(*arguments)
    return penalty.eval()


def network(outputs=1, dtype=torch.float32):
    """A smooth critic of samples (N, 3) with parameters, its second derivatives other than 0."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs)).to(dtype)


def test_the_table_holds_every_penalty():
    """Every public penalty of the room is in the table under its name; a new one has to be entered."""
    assert {*ganlib.penalties.__all__} - {"Penalty"} == CASES.keys()
    assert [*CASES] == [type(case.make()).__name__ for case in CASES.values()]


@every_case
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())
@few
@given(real=samples, fake=samples, weight=st.floats(0, 100))
def test_it_is_its_formula(case, critic, real, fake, weight):
    """On linear and quadratic critics, with one logit, patches and scales, it is weight times its formula."""
    fake = real if case.mixes else fake

    actual = case.make(weight, num_scales=critic.num_scales)(critic.judge, real, fake)

    assert actual.shape == ()
    expected = weight * case.value(critic, real, fake)
    assert torch.allclose(expected, actual, rtol=case.tolerance, atol=case.tolerance)


@every_case
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())
def test_of_a_whole_output_the_logits_count(case, critic):
    """A DiscriminatorOutput counts as its logits; class logits and features have no part in it."""
    real, fake = torch.randn(3, *SHAPE, dtype=F64), torch.randn(3, *SHAPE, dtype=F64)

    def whole(x):
        return DiscriminatorOutput(critic.judge(x), class_logits=100 * x, features=(100 * x,))

    expected = seeded(case.make(num_scales=critic.num_scales), critic.judge, real, fake)
    actual = seeded(case.make(num_scales=critic.num_scales), whole, real, fake)

    assert expected > 0
    assert torch.equal(expected, actual)


@every_case
def test_a_tuple_of_one_scale_is_that_scale(case):
    """Logits in a tuple of one are the logits."""
    critic, real, fake = network(), torch.randn(3, 3), torch.randn(3, 3)

    expected = seeded(case.make(), critic, real, fake)

    assert torch.equal(expected, seeded(case.make(), lambda x: (critic(x),), real, fake))


@every_case
@few
@given(real=strategies.normals((1, 3), F64), fake=strategies.normals((1, 3), F64), n=st.integers(1, 6))
def test_copies_of_a_sample_cost_what_one_costs(case, real, fake, n):
    """The value does not grow with the batch: n copies of a sample have the value of one."""
    critic, fake = network(dtype=F64), real if case.mixes else fake

    expected = case.make()(critic, real, fake)

    assert torch.allclose(expected, case.make()(critic, real.expand(n, -1), fake.expand(n, -1)), rtol=1e-5, atol=1e-6)


@every_case
@few
@given(real=strategies.normals((5, 3), F64), fake=strategies.normals((5, 3), F64))
def test_a_batchs_value_is_the_mean_of_its_samples_values(case, real, fake):
    """Samples do not see each other: the value is the mean of what they have one at a time.

    LeCam's samples meet in the running means, so this holds for it only while these stand still (evaluation mode).
    """
    critic, fake = network(dtype=F64), real if case.mixes else fake
    penalty = settled(case.make(), critic, real, fake)

    alone = [penalty(critic, r[None], f[None]) for r, f in zip(real, fake, strict=True)]

    assert torch.allclose(torch.stack(alone).mean(), penalty(critic, real, fake), rtol=1e-10)


@every_case
def test_its_gradient_is_that_of_finite_differences(case):
    """Differentiated once more, by the critic's parameters, it has the gradient of finite differences in float64."""
    critic, real, fake = network(dtype=F64), torch.randn(4, 3, dtype=F64), torch.randn(4, 3, dtype=F64)
    names, parameters = zip(*critic.named_parameters(), strict=True)
    penalty = settled(case.make(), critic, real, fake)

    def value(*parameters):
        named = dict(zip(names, parameters, strict=True))
        return seeded(penalty, lambda x: functional_call(critic, named, (x,)), real, fake)

    assert torch.autograd.gradcheck(value, parameters)


@every_case
def test_only_the_critics_parameters_get_a_gradient(case):
    """The critic's weights get a finite gradient that is not 0; the samples get none."""
    critic = network()
    real, fake = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)

    case.make()(critic, real, fake).backward()

    assert real.grad is None
    assert fake.grad is None
    assert critic[0].weight.grad.isfinite().all()
    assert critic[0].weight.grad.abs().max() > 0


class Sided(nn.Module):
    """A critic that keeps the side and the condition of what it is given: real samples are 0, fakes are not."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, *condition):
        """Record, and judge."""
        self.seen.append(("real" if x.detach().abs().max() == 0 else "fake", *condition))
        return x.flatten(1).sum(1, keepdim=True)


def seen_by_critic(case, *conditions, mixes=False):
    """What the critic is given, call by call."""
    critic, real = Sided(), torch.zeros(2, 3)
    case.make()(critic, real, real if mixes else torch.ones(2, 3), *conditions)
    return critic.seen


CONDITION, FAKE_CONDITION = torch.tensor([0, 1]), torch.tensor([2, 3])


@every_case
def test_each_side_has_its_own_condition(case):
    """Real samples go with the real condition and fakes with theirs; where sides are mixed, two are refused."""
    if case.mixes:
        with pytest.raises(ArgumentValueError, match="fake_condition must equal condition"):
            seen_by_critic(case, CONDITION, FAKE_CONDITION)
        return
    own = {"real": CONDITION, "fake": FAKE_CONDITION}

    seen = seen_by_critic(case, CONDITION, FAKE_CONDITION)

    assert [side for side, _ in seen] == list(case.sees)
    assert all(condition is own[side] for side, condition in seen)


@every_case
@pytest.mark.parametrize("fake_conditions", [(), (None,)])
def test_fakes_have_the_condition_where_there_is_no_other(case, fake_conditions):
    """Without a fake condition both sides go with the condition."""
    seen = seen_by_critic(case, CONDITION, *fake_conditions)

    assert len(seen) == len(case.sees)
    assert all(condition is CONDITION for _, condition in seen)


@every_case
def test_without_conditions_the_critic_has_one_argument(case):
    """Where the condition is None the critic is called with the samples alone."""
    assert [len(call) for call in seen_by_critic(case)] == [1] * len(case.sees)


@every_case
@pytest.mark.parametrize("outputs", [1, 2])
def test_under_bf16_autocast_it_is_exactly_float32(case, outputs):
    """Under autocast the value and its gradient are bit for bit those without it."""
    critic, real, fake = network(outputs), torch.randn(6, 3), torch.randn(6, 3)
    expected = seeded(case.make(), critic, real, fake)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = seeded(case.make(), critic, real, fake)

    assert torch.float32 == actual.dtype
    assert torch.equal(expected, actual)
    parameters = list(critic.parameters())[:-1]  # the last is a bias, which slopes do not know
    for one, other in zip(
        torch.autograd.grad(expected, parameters), torch.autograd.grad(actual, parameters), strict=True
    ):
        assert torch.equal(one, other)


@every_case
def test_half_precision_samples_are_widened(case):
    """Samples in bfloat16 cost what the same samples in float32 cost."""
    critic, real, fake = network(), torch.randn(6, 3).bfloat16(), torch.randn(6, 3).bfloat16()
    expected = seeded(case.make(), critic, real.float(), fake.float())

    actual = seeded(case.make(), critic, real, fake)

    assert torch.float32 == actual.dtype
    assert torch.allclose(expected, actual, rtol=0.02 if case.metric in ("dragan", "gradient_penalty") else 1e-6)


@every_case
def test_the_interval_is_kept_for_the_trainer(case):
    """`every` is an attribute and does not change the value: the trainer does the scaling."""
    critic, real, fake = network(), torch.randn(4, 3), torch.randn(4, 3)
    lazy, eager = case.make(2.0, every=16), case.make(2.0)

    assert (lazy.weight, lazy.every, eager.every) == (2.0, 16, 1)
    assert torch.equal(seeded(eager, critic, real, fake), seeded(lazy, critic, real, fake))
    assert "every=16" in repr(lazy)


@every_case
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_weight_is_refused(case, weight):
    """A weight that is negative or not finite raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"^weight \(={weight}\)") as caught:
        case.make(weight)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@every_case
@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_bad_interval_is_refused(case, every):
    """An interval that is no whole number of at least 1 raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"^every \(={every}\)"):
        case.make(every=every)


def make_trainer(case, discriminator, **options):
    """A trainer with the penalty."""
    torch.manual_seed(0)
    generator = nn.Linear(2, 3)
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.01),
        torch.optim.SGD(discriminator.parameters(), lr=0.01),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(2),
        **options,
    )


@every_case
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains(case, precision):
    """AdversarialTrainer applies it at the iterations that its interval divides, scaled by it, and reports it."""
    batches = [torch.randn(6, 3) for _ in range(3)]
    players, metrics = {}, {}
    for name, penalties in [("without", []), ("lazy", [case.make(0.1, every=2)]), ("eager", [case.make(0.2)])]:
        trainer = make_trainer(case, network(), penalties=penalties, precision=precision)
        torch.manual_seed(2)
        metrics[name] = [trainer.train_step(iter([batches[0]]))]
        players[name] = [p.detach().clone() for p in trainer.discriminator.parameters()]
        metrics[name] += [trainer.train_step(iter([batch])) for batch in batches[1:]]

    assert metrics["lazy"][0].keys() - metrics["without"][0].keys() == {case.metric}
    assert all(value.isfinite() for metric in metrics["lazy"] for value in metric.values())
    first, second, third = (metric[case.metric] for metric in metrics["lazy"])
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert torch.allclose(2 * first, metrics["eager"][0][case.metric])
    # The first step of half the weight, at every second iteration, is that of the whole weight at each.
    for lazy, eager in zip(players["lazy"], players["eager"], strict=True):
        assert torch.allclose(lazy, eager, atol=1e-6)
    assert not all(torch.equal(one, other) for one, other in zip(players["without"], players["lazy"], strict=True))


class Conditional(nn.Module):
    """A critic of samples with classes, which refuses conditions of another kind."""

    def __init__(self):
        super().__init__()
        self.body = network(3)

    def forward(self, x, condition):
        """The logit of the class."""
        return self.body(x).gather(1, condition[:, None])


@every_case
def test_it_trains_a_conditional_critic(case):
    """AdversarialTrainer hands it the batch's conditions, and others for the fakes where it does not mix."""

    class Generator(nn.Linear):
        def forward(self, latent, condition):
            return super().forward(latent)

    torch.manual_seed(0)
    generator, discriminator = Generator(2, 3), Conditional()
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.01),
        torch.optim.SGD(discriminator.parameters(), lr=0.01),
        loss=losses.HingeLoss(),
        latent=latents.Gaussian(2),
        penalties=[case.make()],
        fake_conditions=None if case.mixes else lambda n: torch.zeros(n, dtype=torch.int64),
    )

    metrics = trainer.train_step(iter([(torch.randn(6, 3), torch.arange(6) % 3)]))

    assert metrics[case.metric] > 0
    assert metrics[case.metric].isfinite()


@every_case
def test_it_is_a_penalty(case):
    """It is a Penalty."""
    assert isinstance(case.make(), Penalty)

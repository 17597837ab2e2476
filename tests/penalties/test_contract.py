"""One contract that every penalty keeps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import ganlib.penalties
from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.penalties import Penalty
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import PixelNorm
from tests import strategies
from tests.penalties.cases import CASES, CRITICS, F64, SHAPE, every_case, network

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


def test_the_table_holds_every_penalty():
    """Every public penalty is in the table under its name; a new one must be entered."""
    assert {*ganlib.penalties.__all__} - {"Penalty", "PathLength"} == CASES.keys()  # the last is of a generator
    assert [*CASES] == [type(case.make()).__name__ for case in CASES.values()]


@every_case
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())
@few
@given(real=samples, fake=samples, weight=st.floats(0, 100))
def test_it_is_its_formula(case, critic, real, fake, weight):
    """On linear and quadratic critics, with one logit, patches and scales, it is weight times its formula."""
    fake = real if case.mixes else fake

    actual = case.make(weight, num_scales=critic.num_scales)(critic.logits, real, fake)

    assert actual.shape == ()
    expected = weight * case.value(critic, real, fake)
    assert torch.allclose(expected, actual, rtol=case.tolerance, atol=case.tolerance)


@every_case
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())
def test_of_a_whole_output_the_logits_count(case, critic):
    """A DiscriminatorOutput counts as its logits; class logits and features have no part in it."""
    real, fake = torch.randn(3, *SHAPE, dtype=F64), torch.randn(3, *SHAPE, dtype=F64)

    def whole(x):
        return DiscriminatorOutput(critic.logits(x), class_logits=100 * x, features=(100 * x,))

    expected = seeded(case.make(num_scales=critic.num_scales), critic.logits, real, fake)
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
        """Record, and discriminate."""
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
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wrap", [lambda critic: critic, lambda critic: lambda x: (critic(x),)])
def test_a_compiled_discriminator_under_autocast_costs_what_a_plain_one_costs(case, dtype, wrap):
    """Compiled, under autocast, bare or in a lambda, value and gradients are those of the plain call in float32.

    A compiled module by itself refuses a second derivative.
    """
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    expected = seeded(case.make(), critic, real, fake)
    gradients = torch.autograd.grad(expected, list(critic.parameters())[:-1])
    critic.compile(backend="aot_eager")
    with torch.autocast("cpu", dtype=dtype):
        critic(real)  # it is compiled already
        actual = seeded(case.make(), wrap(critic), real, fake)

    assert torch.allclose(expected, actual)
    for one, other in zip(gradients, torch.autograd.grad(actual, list(critic.parameters())[:-1]), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Dynamo looks at it
@every_case
def test_it_can_be_compiled_itself(case):
    """Where a penalty is part of a compiled function, its value is that of the plain call."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    penalty = settled(case.make(), critic, real, fake)
    expected = seeded(penalty, critic, real, fake)

    actual = seeded(torch.compile(penalty, backend="eager"), critic, real, fake)

    assert torch.allclose(expected, actual)
    torch.compiler.reset()


@every_case
def test_without_gradients_its_value_is_the_same(case):
    """Under no_grad it has its value, without a graph."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    expected = seeded(case.make(), critic, real, fake)
    with torch.no_grad():
        actual = seeded(case.make(), critic, real, fake)

    assert torch.equal(expected, actual)
    assert not actual.requires_grad


@every_case
def test_it_takes_nested_conditions(case):
    """A condition that is a dict or a tuple of tensors reaches the discriminator as it is."""
    for condition in ({"class": CONDITION, "angles": (torch.zeros(2),)}, (CONDITION, torch.zeros(2, 3))):
        assert all(given is condition for _, given in seen_by_critic(case, condition, condition, mixes=case.mixes))


@every_case
def test_half_precision_samples_are_widened(case):
    """Samples in bfloat16 cost what the same samples in float32 cost."""
    critic, real, fake = network(), torch.randn(6, 3).bfloat16(), torch.randn(6, 3).bfloat16()
    expected = seeded(case.make(), critic, real.float(), fake.float())

    actual = seeded(case.make(), critic, real, fake)

    assert torch.float32 == actual.dtype
    assert torch.allclose(expected, actual, rtol=1e-6)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS.keys())
def test_of_samples_in_half_precision_it_is_that_of_float64(case, dtype, scale, critic):
    """Samples in half precision cost what the same numbers in float64 cost, also where squares leave its range."""
    real, fake = ((scale * torch.randn(4, *SHAPE)).to(dtype) for _ in range(2))
    fake = real if case.mixes else fake

    actual = case.make(num_scales=critic.num_scales)(critic.logits, real, fake)
    expected = case.make(num_scales=critic.num_scales)(critic.logits, real.double(), fake.double())

    assert actual.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-6)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("call", [lambda critic: critic, lambda critic: critic.forward])
def test_a_critic_in_half_precision_is_called_in_it(case, dtype, call):
    """A module whose weights are in half precision gets samples in it; the norms are float32."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    expected = seeded(case.make(), critic, real, fake)

    actual = seeded(case.make(), call(critic.to(dtype)), real.to(dtype), fake.to(dtype))

    assert torch.float32 == actual.dtype
    torch.testing.assert_close(actual, expected, rtol=0.1, atol=0.1)


@every_case
def test_half_does_not_round_what_it_keeps(case):
    """Made half precision with a network, a penalty keeps its means in float32."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    penalties = case.make(), nn.ModuleDict({"penalty": case.make()}).half()["penalty"]

    first, second = (seeded(penalty, critic, real, fake) + seeded(penalty, critic, fake, real) for penalty in penalties)

    assert all(buffer.dtype == torch.float32 for buffer in penalties[1].buffers())
    assert torch.equal(first, second)


WRONG = {
    "none": None,
    "a list": [1.0],
    "an array": np.zeros((4, 3)),
    "whole numbers": torch.ones(4, 3, dtype=torch.uint8),
    "no samples": torch.zeros(0, 3),
    "no numbers": torch.zeros(4, 0),
    "no dimensions": torch.tensor(1.0),
    "complex": torch.zeros(4, 3, dtype=torch.complex64),
}


@every_case
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_are_no_samples_is_refused(case, wrong):
    """On each side that it reads, anything but float samples raises an error of ganlib that names the argument."""
    sides = {"mixed": ("real", "fake")}
    for side in {side for seen in case.sees for side in sides.get(seen, (seen,))}:
        given = {"real": torch.randn(4, 3), "fake": torch.randn(4, 3)} | {side: wrong}
        with pytest.raises(GanlibError, match=f"^{side} "):
            case.make()(network(), given["real"], given["fake"])


@every_case
@pytest.mark.parametrize("wrong", [None, "discriminator", 3])
def test_what_cannot_be_called_is_refused(case, wrong):
    """A discriminator that cannot be called raises an error that quotes it."""
    with pytest.raises(ArgumentTypeError, match=rf"discriminator \(={wrong!r}\) must be callable"):
        case.make()(wrong, torch.randn(4, 3), torch.randn(4, 3))


OF_NORMS = ["GradientPenalty", "DRAGAN"]
of_norms = pytest.mark.parametrize("case", [CASES[name] for name in OF_NORMS], ids=OF_NORMS)
MESSAGE = "the discriminator has a batch norm in training mode, which mixes the samples"


def normalized(*norm):
    """A critic of images with a norm."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), *norm, nn.LeakyReLU(), nn.Flatten(), nn.LazyLinear(1))


class Inner(nn.Module):
    """A critic inside another."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic

    def scores(self, x):
        """What the critic gives."""
        return self.critic(x)

    def forward(self, x):
        """The same, as a whole output."""
        return DiscriminatorOutput((self.scores(x),))


WAYS = {
    "a module": lambda critic: critic,
    "a module in a module": Inner,
    "a method": lambda critic: Inner(critic).scores,
    "a function": lambda critic: lambda x: critic(2 * x),
    "compiled": lambda critic: torch.compile(critic, backend="eager"),
}


@of_norms
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), ConditionalBatchNorm(4, OneHot(2)).norm])
def test_batch_norm_is_warned_of_once(case, way, norm):
    """However the discriminator is given, a batch norm in training mode is warned of at the first call."""
    critic, real = normalized(norm), torch.randn(4, 1, 5, 5)
    critic(real)
    penalty = case.make()
    with pytest.warns(UserWarning, match=MESSAGE) as caught:
        penalty(WAYS[way](critic), real, real)
    assert [one.filename for one in caught] == [__file__]
    penalty(WAYS[way](critic), real, real)  # a second warning would be an error
    torch.compiler.reset()


@of_norms
def test_batch_norm_of_a_second_critic_is_warned_of(case):
    """A penalty that has seen a critic without batch norm still looks at the next one."""
    good, bad, real = normalized(), normalized(nn.BatchNorm2d(4)), torch.randn(4, 1, 5, 5)
    good(real), bad(real)
    penalty = case.make()
    penalty(good, real, real)
    with pytest.warns(UserWarning, match=MESSAGE):
        penalty(bad, real, real)


@of_norms
@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4).eval(),
        nn.InstanceNorm2d(4),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 3, 3]),
        PixelNorm(),
    ],
)
def test_other_norms_are_not_warned_of(case, norm):
    """Norms of each sample by itself, and batch norm in evaluation mode, are no mistake."""
    critic, real = normalized(norm), torch.randn(4, 1, 5, 5)
    critic(real)
    case.make()(critic, real, real)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_NORMS])
def test_batch_norm_is_no_business_of_the_others(name):
    """Penalties on logits see no gradient; R1 and R2 of a small weight train well with it, as the examples show."""
    critic, real = normalized(nn.BatchNorm2d(4)), torch.randn(4, 1, 5, 5)
    critic(real)
    CASES[name].make()(critic, real, real)


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


WEIGHT = 0.75  # the same in all dtypes


def scale_weights_(penalty, factor):
    """Change in place all weights of a penalty that are tensors; Consistency has two."""
    for value in vars(penalty).values():
        if isinstance(value, torch.Tensor):
            value.mul_(factor)


@every_case
@pytest.mark.parametrize("weight_dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_weight_may_be_a_tensor(case, weight_dtype, dtype):
    """Of a 0-dim tensor of any floating dtype, value, gradients and their dtype are those of the number."""
    critic, real, fake = network(dtype=dtype), torch.randn(4, 3, dtype=dtype), torch.randn(4, 3, dtype=dtype)
    parameters = list(critic.parameters())[:-1]
    expected = seeded(case.make(WEIGHT), critic, real, fake)

    actual = seeded(case.make(torch.tensor(WEIGHT, dtype=weight_dtype)), critic, real, fake)

    assert actual.shape == ()
    assert expected.dtype == actual.dtype
    assert torch.equal(expected, actual)
    for one, other in zip(
        torch.autograd.grad(expected, parameters), torch.autograd.grad(actual, parameters), strict=True
    ):
        assert torch.equal(one, other)


@every_case
def test_the_next_call_follows_a_weight_that_changes(case):
    """The weight is the user's own tensor: once it is filled with another number, the next call has that weight."""
    critic, real, fake = network(), torch.randn(4, 3), torch.randn(4, 3)
    weight = torch.tensor(WEIGHT)
    penalty = case.make(weight)
    seeded(penalty, critic, real, fake)

    scale_weights_(penalty, 4)

    assert penalty.weight is weight
    assert weight.item() == 4 * WEIGHT
    other = case.make(4 * WEIGHT)
    seeded(other, critic, real, fake)
    assert torch.equal(seeded(other, critic, real, fake), seeded(penalty, critic, real, fake))


@every_case
def test_a_weight_that_is_a_tensor_stays_the_users(case):
    """It is neither moved nor saved with the penalty, and shows as a number."""
    weight = torch.tensor(0.3)
    penalty = case.make(weight).double()

    assert penalty.weight is weight
    assert penalty.state_dict().keys() == case.make().state_dict().keys()
    assert "weight=0.3," in repr(penalty)


@every_case
def test_a_weight_on_a_device_is_not_read(case):
    """Of a tensor on a device neither the check nor `repr` reads the number; the meta device has none."""
    penalty = case.make(torch.tensor(-1.0, device="meta"))

    assert "weight=<on meta>," in repr(penalty)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Dynamo looks at it
@every_case
def test_compiled_it_follows_a_weight_that_changes(case):
    """A compiled function does not keep the number that was in the weight when it was compiled."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    penalty = settled(case.make(torch.tensor(WEIGHT)), critic, real, fake)
    compiled = torch.compile(penalty, backend="eager")
    seeded(compiled, critic, real, fake)

    scale_weights_(penalty, 4)

    assert torch.allclose(seeded(penalty, critic, real, fake), seeded(compiled, critic, real, fake))
    torch.compiler.reset()


@every_case
@pytest.mark.parametrize(
    "weight",
    [
        torch.tensor([1.0]),
        torch.tensor(1),
        torch.tensor(1.0, requires_grad=True),
        nn.Parameter(torch.tensor(1.0), requires_grad=False),
        torch.tensor(1.0, dtype=torch.complex64),
    ],
)
def test_a_bad_tensor_is_refused(case, weight):
    """A weight that is not a plain floating-point scalar without gradients raises an error that names and quotes it."""
    with pytest.raises(ArgumentValueError) as caught:
        case.make(weight)
    assert str(caught.value).startswith(f"weight (={weight!r}) must be a number, or a plain floating-point tensor")


@every_case
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_number_in_a_tensor_is_refused(case, weight):
    """On the CPU a tensor's number is checked like any other."""
    with pytest.raises(ArgumentValueError, match=rf"^weight \(={weight}\) must be a finite number of at least 0"):
        case.make(torch.tensor(weight))


@every_case
@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_bad_interval_is_refused(case, every):
    """An interval that is not a whole number of at least 1 raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"^every \(={every}\)"):
        case.make(every=every)


@every_case
def test_it_is_a_penalty(case):
    """It is a Penalty."""
    assert isinstance(case.make(), Penalty)

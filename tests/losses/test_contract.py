"""One contract that every adversarial loss of the package keeps, and the numbers that others publish."""

import contextlib
import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganlib.losses
from ganlib import models, stacks
from ganlib._logits import as_output
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.losses import (
    AdversarialLoss,
    HingeLoss,
    LabelSmoothing,
    LeastSquaresLoss,
    MinimaxLoss,
    NonSaturatingLoss,
    WassersteinLoss,
)
from ganlib.protocols import DiscriminatorOutput
from tests.losses.cases import CASES, every_case, generator_loss, logit_pairs

REAL = torch.tensor([-5.0, 1.4, 12.5, 2.7])
FAKE = torch.tensor([10.0, 4.4, -5.5, 3.6])

ELSEWHERE = {
    "AdversarialLoss",
    "AuxiliaryClassifier",
    "AuxiliaryLoss",
    "FeatureMatching",
    "LabelSmoothing",
    "adaptive_weight",
}
"""Public names that are protocols, smoothing, auxiliary losses or a weight."""


def gradients(case, real, fake):
    """Both losses, and the gradients of the discriminator's by real and fake, of the generator's by fake."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    discriminator, generator = case.loss.discriminator(real, fake), generator_loss(case, fake, real.detach())
    by_logits = torch.autograd.grad(discriminator, (real, fake))
    return (discriminator, generator), (*by_logits, *torch.autograd.grad(generator, fake))


def test_the_table_holds_every_loss():
    """Every public loss is in the table; a new one must be entered."""
    assert {*ganlib.losses.__all__} - ELSEWHERE == {type(case.loss).__name__ for case in CASES.values()}


@every_case
@settings(max_examples=20)
@given(data=st.data())
def test_both_losses_are_their_formulas(case, data):
    """For logits of any shape both losses are, in float64, the formulas as one would write them down."""
    real, fake = data.draw(logit_pairs(case))

    discriminator, generator = case.loss.discriminator(real, fake), generator_loss(case, fake, real)

    assert () == discriminator.shape == generator.shape
    assert torch.allclose(case.discriminator(real, fake), discriminator, rtol=1e-6, atol=1e-6)
    assert torch.allclose(case.generator(fake, real), generator, rtol=1e-6, atol=1e-6)


@every_case
@settings(max_examples=20)
@given(data=st.data())
def test_the_players_pull_the_logits_their_ways(case, data):
    """The discriminator raises real and lowers fake logits, the generator raises fake ones; nobody ever the reverse."""
    _, (by_real, by_fake, by_own) = gradients(case, *data.draw(logit_pairs(case, *case.monotone)))

    assert by_real.max() <= 0
    assert by_fake.min() >= 0
    assert by_own.max() <= 0


@every_case
@settings(max_examples=20)
@given(data=st.data())
def test_the_players_do_pull(case, data):
    """Between 0.1 and 0.8, where no loss is saturated or at a target, no gradient is 0."""
    _, (by_real, by_fake, by_own) = gradients(case, *data.draw(logit_pairs(case, 0.125, 0.75)))

    assert by_real.max() < 0
    assert by_fake.min() > 0
    assert by_own.max() < 0


@every_case
@settings(max_examples=20)
@given(data=st.data())
def test_extreme_logits_give_the_gradients_of_float64(case, data):
    """Up to 1e4 values and gradients in float32 are finite, and the gradients are those of float64."""
    real, fake = data.draw(logit_pairs(case, -1e4, 1e4, torch.float32))

    values, actual = gradients(case, real, fake)
    _, expected = gradients(case, real.double(), fake.double())

    assert all(value.isfinite() for value in values)
    for one, other in zip(expected, actual, strict=True):
        assert other.isfinite().all()
        assert torch.allclose(one.float(), other, rtol=1e-4, atol=1e-3)


@every_case
@pytest.mark.parametrize("real", [-1e4, 1e4])
@pytest.mark.parametrize("fake", [-1e4, 1e4])
def test_values_and_gradients_are_finite_at_the_extremes(case, real, fake):
    """At logits of ±1e4 on either side nothing overflows and nothing is NaN."""
    values, by_logits = gradients(case, torch.full((2, 1), real), torch.full((2, 1), fake))

    assert all(number.isfinite().all() for number in (*values, *by_logits))


@every_case
def test_gradients_are_those_of_finite_differences(case):
    """Away from the hinge's kinks the derivatives are those of finite differences in float64."""
    real = torch.tensor([[-2.5, -0.4], [0.3, 1.7]], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([[2.2, -1.6], [0.6, -0.3]], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(case.loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(lambda fake, real: generator_loss(case, fake, real), (fake, real.detach()))


@every_case
@pytest.mark.parametrize("shape", [(12,), (12, 1), (3, 1, 2, 2), (2, 1, 6), (1, 12)])
def test_a_map_of_logits_counts_as_that_many(case, shape):
    """Places of a map count as samples do: the losses are means over all of them, whatever the shape."""
    real, fake = torch.linspace(-3, 4, 12), torch.linspace(2, -5, 12).square()

    expected = case.loss.discriminator(real, fake), generator_loss(case, fake, real)
    actual = (
        case.loss.discriminator(real.view(shape), fake.view(shape)),
        generator_loss(case, fake.view(shape), real.view(shape)),
    )

    assert torch.allclose(torch.stack(expected), torch.stack(actual))


@every_case
def test_several_scales_are_summed(case):
    """The loss of a tuple of scales, of different shapes, is the sum of their losses."""
    real = torch.randn(3, 1, 2, 2), torch.randn(3, 1), torch.randn(3)
    fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1), torch.randn(3)
    scales = list(zip(real, fake, strict=True))

    assert torch.allclose(sum(case.loss.discriminator(r, f) for r, f in scales), case.loss.discriminator(real, fake))
    assert torch.allclose(sum(generator_loss(case, f, r) for r, f in scales), generator_loss(case, fake, real))


@every_case
def test_under_bf16_autocast_losses_are_float32(case):
    """Logits that autocast made bf16 give the very losses that the same logits in float32 give."""
    layer = nn.Linear(3, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        real, fake = layer(torch.randn(5, 3)), layer(torch.randn(5, 3))
        discriminator, generator = case.loss.discriminator(real, fake), generator_loss(case, fake, real)

    assert torch.bfloat16 == real.dtype == fake.dtype
    assert torch.float32 == discriminator.dtype == generator.dtype
    assert torch.equal(case.loss.discriminator(real.float(), fake.float()), discriminator)
    assert torch.equal(generator_loss(case, fake.float(), real.float()), generator)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 6e4])
def test_of_logits_in_half_precision_it_is_that_of_float64(case, dtype, scale):
    """Logits in half precision, up to the end of its range, give what the same numbers give in float64."""
    real, fake = (scale * REAL / REAL.abs().max()).to(dtype), (scale * FAKE / FAKE.abs().max()).to(dtype)

    (actual, _), (expected, _) = gradients(case, real, fake), gradients(case, real.double(), fake.double())

    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-6, atol=1e-6)


@every_case
def test_it_is_an_adversarial_loss_that_says_what_it_needs(case):
    """It is an AdversarialLoss, and asks for real logits in the generator's update if and only if it pairs."""
    assert isinstance(case.loss, AdversarialLoss)
    assert case.pairs == getattr(case.loss, "needs_real_logits", False)


alone = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items() if not case.pairs])
paired = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items() if case.pairs])


@alone
def test_a_loss_that_pairs_nothing_ignores_real_logits(case):
    """Real logits do not change the generator's loss, and no gradient flows to them."""
    real = REAL.clone().requires_grad_()

    assert torch.equal(case.loss.generator(FAKE), case.loss.generator(FAKE, real))
    assert not case.loss.generator(FAKE, real).requires_grad


@paired
def test_a_loss_that_pairs_needs_real_logits(case):
    """Without real logits the generator's loss raises an error that names them."""
    with pytest.raises(ArgumentValueError, match=r"real_logits \(=None\)") as caught:
        case.loss.generator(FAKE)
    assert isinstance(caught.value, GanlibError)


@paired
@pytest.mark.parametrize("shape", [(3,), (4, 1), (1,)])
def test_a_loss_that_pairs_refuses_two_shapes(case, shape):
    """Shapes that differ, also those that would broadcast, raise an error that quotes both."""
    message = rf"real_logits \(4,\) and fake_logits \({', '.join(map(str, shape))},?\)"
    with pytest.raises(ShapeError, match=message) as caught:
        case.loss.discriminator(REAL, torch.zeros(shape))
    with pytest.raises(ShapeError, match=message):
        case.loss.generator(torch.zeros(shape), REAL)
    assert isinstance(caught.value, GanlibError)


def wrong_logits(case, wrong):
    """Each way of giving wrong logits: the name that they have, and the call."""
    yield "real_logits", lambda: case.loss.discriminator(wrong, FAKE)
    yield "fake_logits", lambda: case.loss.discriminator(REAL, wrong)
    yield "fake_logits", lambda: generator_loss(case, wrong, REAL)
    if case.pairs:
        yield "real_logits", lambda: case.loss.generator(FAKE, wrong)


@every_case
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_logits_that_are_not_floating_point_are_refused(case, dtype):
    """Logits of another kind raise an error that says which they were, and their dtype."""
    for name, call in wrong_logits(case, torch.zeros(4, dtype=dtype)):
        with pytest.raises(DTypeError, match=rf"{name} .*{dtype}"):
            call()


@every_case
@pytest.mark.parametrize("shape", [(0,), (0, 1), (4, 0)])
def test_logits_that_hold_nothing_are_refused(case, shape):
    """Of no logits the mean would be NaN: an error quotes their shape."""
    for dtype in (torch.float32, torch.float16):
        for name, call in wrong_logits(case, torch.zeros(shape, dtype=dtype)):
            with pytest.raises(ShapeError, match=rf"^{name} \({shape[0]},.*\) must hold at least one number"):
                call()


@every_case
@pytest.mark.parametrize("wrong", [1.0, [1.0], np.zeros(4), ((torch.zeros(4),),), torch.zeros(4).to_sparse(), (), "x"])
def test_what_is_no_logits_is_refused(case, wrong):
    """Anything else than dense tensors raises an error of ganlib that names the argument."""
    for name, call in wrong_logits(case, wrong):
        with pytest.raises(GanlibError, match=f"^{name} "):
            call()


@every_case
def test_a_discriminators_whole_output_is_refused(case):
    """A DiscriminatorOutput, which is a tuple too, is not taken for scales: an error says to give its logits."""
    for name, call in wrong_logits(case, DiscriminatorOutput(torch.zeros(4))):
        with pytest.raises(ArgumentTypeError, match=f"{name} is a DiscriminatorOutput; give its logits"):
            call()


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator"),
    [
        (MinimaxLoss(), 5.83387, -4.51082),
        (NonSaturatingLoss(), 5.83387, 1.38582),
        (LeastSquaresLoss(), 41.73375, 17.69625),
        (HingeLoss(), 6.75, -3.125),
        (WassersteinLoss(), 0.225, -3.125),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_known_numbers(loss, discriminator, generator):
    """On eight fixed logits the losses are the numbers computed by hand, which are TF-GAN's but for minimax."""
    assert pytest.approx(discriminator, abs=1e-5) == loss.discriminator(REAL, FAKE).item()
    assert pytest.approx(generator, abs=1e-5) == loss.generator(FAKE).item()


def test_tf_gans_minimax_numbers_are_those_of_its_defaults():
    """TF-GAN's 6.19637 smooths real targets to 0.875, and its -4.82408 is ours less the constant log(1 + 1/e)."""
    real = sum(math.log1p(math.exp(-x)) for x in REAL.tolist()) / 4
    fake = sum(math.log1p(math.exp(x)) for x in FAKE.tolist()) / 4

    assert pytest.approx(real + fake) == MinimaxLoss().discriminator(REAL, FAKE).item()
    assert pytest.approx(-fake) == MinimaxLoss().generator(FAKE).item()
    assert pytest.approx(6.19637, abs=1e-5) == MinimaxLoss(LabelSmoothing(real=0.875)).discriminator(REAL, FAKE).item()
    assert pytest.approx(-4.82408, abs=1e-5) == MinimaxLoss().generator(FAKE).item() - math.log1p(1 / math.e)


ENDINGS = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": nn.Hardsigmoid(),
    "softmax": lambda x: x.softmax(1),
    "clamp": lambda x: x.clamp(0, 1),
}
RESHAPED = [lambda x: x, lambda x: x.flatten().unsqueeze(0), lambda x: x.half(), lambda x: (x, x)]


def new(case):
    """A copy of a loss, which has warned of nothing."""
    return copy.deepcopy(case.loss)


@every_case
@pytest.mark.parametrize("reshape", RESHAPED)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_sigmoid_at_the_end_is_warned_of_once(case, ending, reshape):
    """Whatever reshapes its values, each loss warns once that its logits end in one, in either player's update."""
    raw = torch.tensor([[-2.0, 0.5], [3.0, 0.25]], requires_grad=True)
    probabilities = reshape(ENDINGS[ending](raw))
    for update in ("discriminator", "generator"):
        loss = new(case)
        with pytest.warns(
            UserWarning, match=f"the discriminator ends in a {ending}, .*: remove the {ending}"
        ) as caught:
            getattr(loss, update)(probabilities, probabilities)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        loss.discriminator(probabilities, probabilities)  # a second warning would be an error
        pickle.loads(pickle.dumps(loss)).discriminator(REAL, REAL)


@every_case
def test_a_tanh_at_the_end_is_warned_of_where_it_bounds_probabilities(case):
    """A loss that makes probabilities of logits warns of a tanh; to others it is a bounded critic."""
    logits = torch.tensor([[-2.0], [3.0]], requires_grad=True).tanh()
    with (
        pytest.warns(UserWarning, match="ends in a tanh")
        if getattr(case.loss, "needs_unbounded_logits", False)
        else contextlib.nullcontext()
    ):
        new(case).discriminator(logits, logits)


@every_case
@pytest.mark.parametrize("ending", ["relu", "softplus", "relu6", "clamp"])
def test_an_end_without_negative_logits_is_warned_of_where_they_are_needed(case, ending):
    """Probabilities below 1/2, or a margin at -1, cannot be reached, and a relu has no gradient at 0."""
    raw = torch.tensor([[-2.0], [3.0]], requires_grad=True)
    logits = raw.clamp(min=0) if ending == "clamp" else getattr(F, ending)(raw)
    needed = any(getattr(case.loss, f"needs_{kind}_logits", False) for kind in ("unbounded", "negative"))
    with pytest.warns(UserWarning, match=f"ends in a {ending}") if needed else contextlib.nullcontext():
        new(case).discriminator(logits, logits)


@every_case
def test_a_sigmoid_that_is_written_out_is_warned_of(case):
    """It is 1 / (1 + exp(-x))."""
    probabilities = 1 / (1 + torch.exp(-torch.tensor([[-2.0], [3.0]], requires_grad=True)))
    with pytest.warns(UserWarning, match="ends in a sigmoid"):
        new(case).discriminator(probabilities, probabilities)


@every_case
def test_healthy_logits_are_not_warned_of(case):
    """Neither logits that all lie in [0, 1], nor clamped, scaled or detached ones, nor those of a compiled loss."""
    raw = torch.rand(6, 1, requires_grad=True)
    with torch.no_grad():
        detached = raw.sigmoid()
    bounded = raw.clamp(-10, 10), F.hardtanh(raw, -10, 10), 4 * raw.sigmoid() - 2, torch.cat([raw, raw.sigmoid()])
    for logits in (raw, 0.5 * raw, *bounded, F.leaky_relu(raw), detached, 1 / (1 + raw.square())):
        loss = new(case)
        loss.discriminator(logits, logits)
        generator_loss(case._replace(loss=loss), logits, logits)
    loss = new(case)
    torch.compile(lambda x: loss.discriminator(x.sigmoid(), x.sigmoid()), backend="eager", fullgraph=True)(raw)
    torch.compiler.reset()


def discriminators():
    """One of each network of ganlib's that discriminates, and its samples."""
    plan = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(6)])
    yield models.dcgan(plan, 5)[1], torch.randn(4, 1, 8, 8), None
    yield models.mlp_gan((1, 8, 8), 5, [6])[1], torch.randn(4, 1, 8, 8), None
    for conditioning in ("projection", "channels", "features", "auxiliary", "projection+auxiliary"):
        network = models.conditional_dcgan(plan, 5, 3, conditioning=conditioning)[1]
        yield network, torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    yield stacks.PatchDiscriminator(1), torch.randn(4, 1, 32, 32), None
    members = [stacks.PatchDiscriminator(1, channels=8, layers=2) for _ in range(2)]
    yield stacks.MultiScaleDiscriminator(members), torch.randn(4, 1, 64, 64), None


@pytest.mark.filterwarnings("error")
def test_ganlibs_discriminators_are_not_warned_of():
    """None of the networks that discriminate ends in what a loss warns of."""
    for network, samples, *condition in discriminators():
        logits = as_output(network(samples, *[c for c in condition if c is not None])).logits
        for case in CASES.values():
            new(case).discriminator(logits, logits)

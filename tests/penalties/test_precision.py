"""Penalties whose derivative autocast computes, while norms and sums stay float32."""

import copy

import pytest
import torch
from torch import nn

from ganlib import losses, training
from ganlib.errors import ArgumentValueError
from ganlib.penalties import DRAGAN, R1, R2, GradientPenalty, PathLength
from tests.penalties.cases import network
from tests.training.players import make_trainer, points

F64 = torch.float64


def exact_dragan(weight=1.0, **options):
    """DRAGAN without noise, since float64 draws other numbers."""
    return DRAGAN(weight, noise=0.0, **options)


PENALTIES = {"R1": R1, "R2": R2, "GradientPenalty": GradientPenalty, "DRAGAN": exact_dragan}
every_penalty = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES.keys())


def convolutions(norm=None, act=lambda: nn.LeakyReLU(0.2), wrap=lambda layer: layer):
    """A discriminator of images of 16 pixels, whose gradient norms lie far above 1."""
    layers = []
    for inputs, outputs in ((1, 8), (8, 16)):
        layers += [wrap(nn.Conv2d(inputs, outputs, 4, 2, 1))]
        layers += [norm(outputs)] if norm else []
        layers += [act()]
    last = nn.Linear(16 * 4 * 4, 1)
    with torch.no_grad():
        last.weight.mul_(100)
    return nn.Sequential(*layers, nn.Flatten(), last)


NETWORKS = {
    "leaky": convolutions,
    "smooth": lambda: convolutions(act=nn.SiLU),
    "group norm": lambda: convolutions(norm=lambda channels: nn.GroupNorm(4, channels)),
    "spectral norm": lambda: convolutions(wrap=nn.utils.parametrizations.spectral_norm),
    "perceptron": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(256, 64), nn.Softplus(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1, bias=False)
    ),
}


def value_and_gradient(penalty, critic, real, fake):
    """A penalty with the random numbers of seed 0, and its gradient for all parameters in one vector of float64."""
    torch.manual_seed(0)
    value = penalty(critic, real, fake)
    parameters = list(critic.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return value, torch.cat([gradient.flatten().to(F64) for gradient in gradients])


@every_penalty
@pytest.mark.parametrize("architecture", NETWORKS.values(), ids=NETWORKS.keys())
def test_in_bf16_it_is_near_that_in_float64(make, architecture):
    """The value is float32 and within 2 % of that in float64, and the gradient of the parameters within 5 %."""
    torch.manual_seed(1)
    critic, real, fake = architecture().eval(), torch.randn(16, 1, 16, 16) / 2, torch.rand(16, 1, 16, 16) - 0.5
    if isinstance(critic[1], nn.Linear):
        with torch.no_grad():
            critic[-1].weight.mul_(100)
    expected, slope = value_and_gradient(make(1.0), copy.deepcopy(critic).to(F64), real.to(F64), fake.to(F64))

    with torch.autocast("cpu", torch.bfloat16):
        actual, own_slope = value_and_gradient(make(1.0, precision="autocast"), critic, real, fake)
        exact, _ = value_and_gradient(make(1.0), critic, real, fake)

    assert actual.dtype is torch.float32
    assert not torch.equal(actual, exact)  # it is computed in another precision
    assert abs(actual.item() / expected.item() - 1) < 0.02
    assert (own_slope - slope).norm() / slope.norm() < 0.05


@pytest.mark.parametrize("make", [R1, R2])
def test_its_norm_is_float32(make):
    """Of a linear critic whose weights bfloat16 holds, the gradient is exact, and so is the sum of its squares.

    bfloat16 holds neither the squares nor their sum.
    """
    weights = 1 + torch.arange(1000).remainder(128) / 128
    with torch.autocast("cpu", torch.bfloat16):
        actual = make(2.0, precision="autocast")(
            lambda x: nn.functional.linear(x, weights[None]), *torch.rand(2, 4, 1000)
        )
    torch.testing.assert_close(actual.to(F64), weights.to(F64).square().sum(), rtol=1e-6, atol=0)


@every_penalty
def test_without_autocast_it_is_the_default(make):
    """Value and gradient are to the bit those of ``precision="fp32"``."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    value, gradient = value_and_gradient(make(), critic, real, fake)
    own, own_gradient = value_and_gradient(make(precision="autocast"), critic, real, fake)
    assert torch.equal(value, own)
    assert torch.equal(gradient, own_gradient)


@every_penalty
def test_a_compiled_discriminator_is_not_run_compiled(make):
    """Compiled, it has the value and the gradient of the plain one under the same autocast."""
    critic, real, fake = network(), torch.randn(6, 3), torch.randn(6, 3)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(make(precision="autocast"), critic, real, fake)
        critic.compile(backend="aot_eager")
        critic(real)
        own, own_gradient = value_and_gradient(make(precision="autocast"), critic, real, fake)
    torch.compiler.reset()
    assert torch.equal(value, own)
    assert torch.equal(gradient, own_gradient)


@every_penalty
def test_float16_is_refused(make):
    """It would round small derivatives to 0; the message says what to take."""
    critic, x = network(), torch.randn(6, 3)
    with torch.autocast("cpu", torch.float16), pytest.raises(ArgumentValueError, match=r"'autocast'.*take 'fp32'"):
        make(precision="autocast")(critic, x, x)
    with pytest.raises(ArgumentValueError, match=r"penalties holds .*precision \(='fp16'\).*take precision='bf16'"):
        make_trainer(penalties=[make(precision="autocast")], precision="fp16")


def test_float16_would_lose_a_derivative():
    """Why it is refused: a derivative of 1e-8 is 0 in float16, and has its value in bfloat16 and float32."""
    weight, x = torch.full((1, 4), 1e-8), torch.rand(2, 4)
    exact = R1(2e16)(lambda x: nn.functional.linear(x, weight), x, x)
    torch.testing.assert_close(exact, torch.tensor(4.0))
    with torch.autocast("cpu", torch.bfloat16):
        half = R1(2e16, precision="autocast")(lambda x: nn.functional.linear(x, weight), x, x)
    torch.testing.assert_close(half, exact, rtol=2e-2, atol=0)
    with torch.autocast("cpu", torch.float16):
        samples = x.clone().requires_grad_()
        lost = R1(2e16).of(samples, nn.functional.linear(samples, weight))
    assert lost == 0


@pytest.mark.parametrize("make", [*PENALTIES.values(), PathLength])
@pytest.mark.parametrize("precision", ["bf16", None, "fp64"])
def test_another_precision_is_refused(make, precision):
    """The message names the argument, quotes it, and lists the options."""
    with pytest.raises(ArgumentValueError, match=rf"^precision \(={precision!r}\) must be 'fp32' or 'autocast'"):
        make(precision=precision)


@pytest.mark.parametrize("make", [*PENALTIES.values(), PathLength])
def test_the_repr_shows_another_precision_than_the_default(make):
    """A checkpoint of a run with another precision is warned of by it."""
    assert "precision" not in repr(make())
    assert repr(make(precision="autocast")).endswith(", precision='autocast')")


def of_known_weights(**options):
    """A trainer that learns nothing, so that its penalties are those of the first weights."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 64), nn.Softplus())
    discriminator.append(nn.Linear(64, 1))
    optimizers = {
        f"{name}_optimizer": torch.optim.SGD(player.parameters(), lr=0.0)
        for name, player in (("generator", generator), ("discriminator", discriminator))
    }
    return make_trainer(generator, discriminator, **(optimizers | options))


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_adversarial_trainer_the_autocast_is_that_of_the_trainer(precision):
    """The metric is that of a call under the trainer's autocast; the losses stay outside of it."""
    trainer = of_known_weights(penalties=[R1(precision="autocast"), R1(), Asking(), Plain()], precision=precision)
    metrics = trainer.train_step(points())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = R1(precision="autocast")(trainer.discriminator, points(), points())
    assert torch.equal(metrics["r1"], expected)
    assert torch.equal(metrics["r1_2"], R1()(trainer.discriminator, points(), points()))
    assert torch.equal(metrics["r1"], metrics["r1_2"]) == (precision == "fp32")
    assert metrics["asking"] == (precision == "bf16")
    assert metrics["plain"] == 0


class Plain:
    """A user's penalty: whether it runs under autocast."""

    def __call__(self, discriminator, real, fake, condition=None, fake_condition=None):
        """Say so."""
        return discriminator(real).sum() * 0 + float(torch.is_autocast_enabled("cpu"))


class Asking(Plain):
    """One that asks for autocast."""

    precision = "autocast"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_an_objective_the_autocast_is_that_of_the_game(precision):
    """In an objective of GameTrainer it has the value of a call under the same autocast."""
    critic, x = network(), torch.randn(6, 3)
    loss, r1 = losses.NonSaturatingLoss(), R1(precision="autocast")
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = r1(critic, x, x)

    def objective(batch):
        value = r1(critic, batch, batch)
        return loss.discriminator(critic(batch), critic(-batch)) + value, {"r1": value}

    trainer = training.GameTrainer(
        {"critic": critic},
        [training.Player("critic", torch.optim.SGD(critic.parameters(), lr=0.1), objective)],
        precision=precision,
    )
    assert torch.equal(trainer.train_step(x)["r1"], expected)


def test_path_lengths_in_bf16_are_near_those_in_float64():
    """Lengths within 2 %, and the gradient of their mean square within 5 %; without autocast, bit for bit the same."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.Unflatten(1, (4, 4, 4)))
    generator.append(nn.ConvTranspose2d(4, 1, 4, 2, 1))
    latent = torch.randn(64, 8)

    def lengths(precision, dtype=torch.float32):
        torch.manual_seed(1)
        drawn = torch.randn(64, 1, 8, 8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", lambda x: drawn.to(x.dtype))
            used = generator if dtype is torch.float32 else copy.deepcopy(generator).to(dtype)
            values = PathLength(precision=precision).lengths(used, latent.to(dtype))
        slopes = torch.autograd.grad(
            values.square().mean(), list(used.parameters()), allow_unused=True, materialize_grads=True
        )
        return values, torch.cat([slope.flatten().to(F64) for slope in slopes])

    (expected, slope), (exact, _) = lengths("fp32", F64), lengths("fp32")
    with torch.autocast("cpu", torch.bfloat16):
        actual, own_slope = lengths("autocast")
        assert torch.equal(lengths("fp32")[0], exact)
        assert not torch.equal(actual, exact)
    assert actual.dtype is torch.float32
    assert ((actual - expected).abs() / expected).max() < 0.02
    assert (own_slope - slope).norm() / slope.norm() < 0.05
    assert torch.equal(lengths("autocast")[0], exact)

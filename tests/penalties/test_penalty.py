"""Tests of what penalties share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import penalties
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties._penalty import (
    LazyPenalty,
    call_exactly,
    gradient_norms,
    squared_gradient_norms,
    squared_gradient_norms_of,
)
from ganlib.protocols import DiscriminatorOutput
from tests import strategies


class Custom(LazyPenalty):
    """A user's own, with one argument that it does not keep and one that is not a number."""

    def __init__(self, kept, lost, function, weight=2.0, *, every=1):
        super().__init__(weight, every=every)
        self.kept = kept
        self.function = function


def test_the_numbers_show_in_the_repr():
    """In the order of the arguments; what is not kept, or is not a number, is left out."""
    assert repr(Custom(3, 4, len)) == "Custom(kept=3, weight=2.0, every=1)"


def test_the_condition_is_given_only_where_there_is_one():
    """The discriminator is called with (samples), or with (samples, condition), and its output is returned."""
    critic, samples, condition = strategies.Recorder(), torch.zeros(2, 3), torch.tensor([0, 1])

    assert call_exactly(critic, samples, None) is samples
    assert call_exactly(critic, samples, condition) is samples
    assert [len(call) for call in critic.calls] == [1, 2]
    assert critic.calls[1][1] is condition


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_called_in_float32(dtype):
    """Half-precision samples arrive in float32, and autocast is off for the call and on again after it."""
    layer = nn.Linear(3, 1)
    with torch.autocast("cpu", dtype=dtype):
        assert call_exactly(layer, torch.zeros(2, 3, dtype=dtype), None).dtype == torch.float32
        assert layer(torch.zeros(2, 3)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_conditions_arrive_in_float32_too(dtype):
    """A latent or a map that was computed under autocast meets weights in float32; classes stay whole numbers."""
    condition = {"latent": torch.zeros(2, 3, dtype=dtype), "parts": (torch.zeros(2, 1), torch.tensor([0, 1]))}
    critic = strategies.Recorder()

    call_exactly(critic, torch.zeros(2, 3), condition)

    arrived = critic.calls[0][1]
    assert arrived["latent"].dtype == torch.float32
    assert [part.dtype for part in arrived["parts"]] == [torch.float32, torch.int64]


def test_a_compiled_module_has_a_second_derivative():
    """A compiled module is run in eager mode, whose output can be differentiated twice; after it, it is compiled."""
    torch.compiler.reset()  # what other tests have compiled changes torch's error
    compiled = torch.compile(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), backend="aot_eager")
    x = torch.randn(2, 3, requires_grad=True)

    for call in (compiled, lambda x: call_exactly(compiled, x, None)):
        (slope,) = torch.autograd.grad(call(x).sum(), x, create_graph=True)
        if call is compiled:
            with pytest.raises(RuntimeError, match="double backward"):
                slope.square().sum().backward()
        else:
            slope.square().sum().backward()
    torch.compiler.reset()


@given(strategies.shapes, strategies.seeds)
def test_a_linear_critic_has_the_norm_of_its_weights(shape, seed):
    """For D(x) = <w, x> every sample's squared norm is |w|^2, for samples of any shape."""
    w = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    samples = torch.zeros(3, *shape)

    actual = squared_gradient_norms(lambda x: (w * x).flatten(1).sum(1, keepdim=True), samples, None)

    assert torch.allclose(w.square().sum().expand(3), actual)


@given(strategies.normals((4, 5)))
def test_norms_are_taken_per_sample(samples):
    """For D(x) = |x|^2 / 2 a sample's squared norm is its own |x|^2."""
    actual = squared_gradient_norms(lambda x: x.square().sum(1, keepdim=True) / 2, samples, None)

    assert torch.allclose(samples.square().sum(1), actual)


def test_it_can_be_differentiated_again():
    """For D(x) = a x the squared norm is a^2 and its derivative 2a; the samples get no gradient."""
    a, samples = torch.tensor(3.0, requires_grad=True), torch.randn(4, 1, requires_grad=True)

    squared_gradient_norms(lambda x: a * x, samples, None).mean().backward()

    assert torch.allclose(torch.tensor(6.0), a.grad)
    assert samples.grad is None


def test_it_works_where_gradients_are_off():
    """Under no_grad the norms are those with gradients on, and what is computed from them has no graph."""
    a = torch.tensor(3.0, requires_grad=True)
    with torch.no_grad():
        actual = squared_gradient_norms(lambda x: a * x, torch.zeros(2, 1), None)
        assert not actual.mean().requires_grad

    assert actual.tolist() == [9.0, 9.0]


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_samples_are_widened_to_float32(given_dtype, expected):
    """The discriminator is given half-precision samples in float32, and float64 ones in float64."""
    assert expected == squared_gradient_norms(lambda x: 3 * x, torch.zeros(2, 1, dtype=given_dtype), None).dtype


@given(strategies.normals((4, 5), torch.float64))
def test_norms_are_roots_of_the_squared_ones(samples):
    """For D(x) = |x|^2 / 2 a sample's norm is its own |x|."""
    actual = gradient_norms(lambda x: x.square().sum(1, keepdim=True) / 2, samples, None)

    assert torch.allclose(samples.norm(dim=1), actual)


def test_the_norm_of_a_gradient_of_zero_has_a_finite_slope():
    """For D(x) = a x at a = 0 the norm is 0 within rounding, and its derivative 0 and not NaN."""
    a = torch.tensor(0.0, requires_grad=True)
    norm = gradient_norms(lambda x: a * x, torch.ones(2, 1), None)
    norm.sum().backward()

    assert norm.max() <= 1e-12
    assert torch.tensor(0.0) == a.grad


@given(st.floats(1e-6, 1e6))
def test_the_slope_of_the_norm_is_right_for_small_and_large_gradients(a):
    """For D(x) = a x, a > 0, the norm is a and its derivative 1."""
    a = torch.tensor(a, requires_grad=True)
    norm = gradient_norms(lambda x: a * x, torch.ones(1, 1), None)
    norm.sum().backward()

    assert torch.allclose(a.detach(), norm.detach())
    assert torch.allclose(torch.tensor(1.0), a.grad)


class Blind(nn.Module):
    """A critic with a parameter, which does not look at its samples."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """The same for all."""
        return self.bias.expand(len(x), 1)


@pytest.mark.parametrize("norms", [squared_gradient_norms, gradient_norms])
@pytest.mark.parametrize("critic", [Blind(), lambda x: torch.zeros(len(x), 1), lambda x: (x.detach(), x.detach())])
def test_a_critic_that_ignores_its_samples_is_refused(norms, critic):
    """Logits that do not depend on the samples raise an error that says so, and not one of autograd's."""
    with pytest.raises(ArgumentValueError, match="discriminator gave logits that do not depend") as caught:
        norms(critic, torch.zeros(2, 3), None)
    assert isinstance(caught.value, GanlibError)


def test_a_critic_may_ignore_samples_in_one_of_its_scales():
    """One scale that depends on the samples is enough; the other has no slope."""
    actual = squared_gradient_norms(lambda x: (torch.ones(len(x), 1), 3 * x), torch.zeros(2, 1), None)

    assert actual.tolist() == [9.0, 9.0]


def test_of_logits_that_are_there_the_norms_are_the_same():
    """From logits of samples that require a gradient, the norms are those of another forward pass; the graph stays."""
    samples = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    logits = samples.square().sum(1, keepdim=True) / 2

    actual = squared_gradient_norms_of(samples, (logits, 3 * logits))

    assert torch.allclose(16 * samples.square().sum(1), actual)
    assert torch.autograd.grad(logits.sum(), samples)[0].equal(samples)


def test_of_half_precision_samples_the_squares_are_summed_in_float32():
    """300^2 is beyond float16, and not beyond float32."""
    samples = torch.ones(2, 1, dtype=torch.float16, requires_grad=True)

    assert squared_gradient_norms_of(samples, 300 * samples).tolist() == [90_000.0, 90_000.0]


MAKERS = {
    "GradientPenalty": penalties.GradientPenalty,
    "DRAGAN": penalties.DRAGAN,
    "R1": penalties.R1,
    "R2": penalties.R2,
}
MEANS = {
    "a mean": lambda logits: logits.mean(),
    "a mean over the batch": lambda logits: logits.mean(0).view(1),
    "a sum over n": lambda logits: logits.sum() / len(logits),
    "one of two scales": lambda logits: (logits, logits.mean()),
    "an output": lambda logits: DiscriminatorOutput(logits.mean()),
}


@pytest.mark.parametrize("way", MEANS)
@pytest.mark.parametrize("name", MAKERS)
def test_a_mean_over_the_batch_is_warned_of_once(name, way):
    """The gradient of a mean is smaller than that of each sample, by a factor of N."""
    critic, real, penalty = nn.Linear(2, 1), torch.randn(8, 2), MAKERS[name]()
    with pytest.warns(UserWarning, match=r"for 8 samples, so it probably averages.*" + name) as caught:
        penalty(lambda x: MEANS[way](critic(x)), real, real)
    assert [one.filename for one in caught] == [__file__]
    penalty(lambda x: MEANS[way](critic(x)), real, real)  # a second warning would be an error


def test_a_mean_over_the_batch_is_warned_of_where_logits_are_given():
    """R1.of and R2.of know the number of samples too."""
    for penalty in (penalties.R1(), penalties.R2()):
        samples = torch.randn(8, 2, requires_grad=True)
        with pytest.warns(UserWarning, match="for 8 samples"):
            penalty.of(samples, nn.Linear(2, 1)(samples).mean())


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("n", "critic"),
    [
        (1, lambda layer, x: layer(x).mean()),
        (8, lambda layer, x: layer(x)),
        (8, lambda layer, x: layer(x)[:, 0]),
        (8, lambda layer, x: layer(x).sum()),  # its gradient is that of each sample
        (8, lambda layer, x: layer(x.view(-1, 2, 2).sum(1))),  # packs of two samples
        (8, lambda layer, x: (layer(x), layer(x).view(-1, 1, 1, 1))),
    ],
)
def test_right_logits_are_not_warned_of(name, n, critic):
    """One sample, one logit for each sample, several scales, a sum, and packs of samples."""
    layer, real = nn.Linear(2, 1), torch.randn(n, 2)
    MAKERS[name]()(lambda x: critic(layer, x), real, real)


@pytest.mark.parametrize("name", MAKERS)
def test_a_critic_that_changes_its_input_in_place_is_refused(name):
    """There is no derivative at an input that is lost; the input itself, or a view of it."""
    real = torch.randn(8, 2)
    for first in (nn.Identity(), nn.Unflatten(1, (1, 2))):
        critic = nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True), nn.Linear(2, 1))
        with pytest.raises(ArgumentValueError, match="in place.*inplace=False"):
            MAKERS[name]()(critic, real, real)
    with pytest.raises(ArgumentValueError, match="in place"):
        penalties.PathLength()(critic, real)

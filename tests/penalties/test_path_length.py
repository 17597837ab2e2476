"""Tests of path length regularization: the lengths, the running mean, and what a trainer makes of it."""

import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from ganlib import distributed, latents, losses, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.penalties import PathLength
from tests import strategies
from tests.ranks import Ranks

F64 = torch.float64


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A smooth generator of 2 x 2 images from latents (N, 3)."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Unflatten(1, (1, 2, 2))).to(dtype)


def seeded(call: Any, *arguments: Any, seed: int = 0) -> Tensor:
    """What a call gives with the random numbers of a seed."""
    torch.manual_seed(seed)
    return call(*arguments)


class Scaled(nn.Module):
    """A generator (N, 3) -> (N, 3) whose paths have the length of the noise times a factor of its latent."""

    def forward(self, latent: Tensor) -> Tensor:
        """Multiply."""
        return latent * torch.tensor([1.0, 2.0, 3.0]).to(latent)


@settings(max_examples=25)
@given(seed=strategies.seeds, spatial=st.lists(st.integers(1, 4), max_size=3), features=st.integers(1, 4))
def test_lengths_of_a_linear_generator_have_a_closed_form(seed: int, spatial: list[int], features: int) -> None:
    """Its Jacobian is its matrix A: the lengths are |A^T y| / sqrt(positions), for samples of any shape."""
    torch.manual_seed(seed)
    shape = (2, *spatial)
    matrix = torch.randn(math.prod(shape), features, dtype=F64)
    latent = torch.randn(5, features, dtype=F64)

    actual = seeded(PathLength().lengths, lambda w: (w @ matrix.T).view(-1, *shape), latent)

    torch.manual_seed(0)
    noise = torch.randn(5, *shape, dtype=F64).flatten(1) / math.prod(spatial) ** 0.5
    assert torch.allclose((noise @ matrix).square().sum(1).sqrt(), actual, rtol=1e-10)


def test_mean_squares_are_those_of_the_jacobian() -> None:
    """Over many y the squared length is the squared Frobenius norm of the Jacobian, divided by the positions."""
    generator, w = network(F64), torch.randn(1, 3, dtype=F64)
    jacobian = torch.autograd.functional.jacobian(generator, w).view(4, 3)

    lengths = seeded(PathLength().lengths, generator, w.expand(40_000, -1))

    assert pytest.approx((jacobian.square().sum() / 4).item(), rel=0.03) == lengths.square().mean().item()


def test_squares_are_averaged_over_layers() -> None:
    """Where each layer has a latent of its own, as in the authors' code: the mean over layers."""
    weight = torch.randn(4, 3, dtype=F64)
    w = torch.randn(6, 4, 3, dtype=F64)

    actual = seeded(PathLength().lengths, lambda w: (w * weight).sum(2), w)

    torch.manual_seed(0)
    noise = torch.randn(6, 4, dtype=F64)
    expected = (noise[:, :, None] * weight).square().sum(2).mean(1).sqrt()
    assert torch.allclose(expected, actual, rtol=1e-10)


@settings(max_examples=20)
@given(seed=strategies.seeds, weight=st.floats(0, 10), decay=st.floats(0, 1, exclude_max=True))
def test_the_penalty_is_that_of_a_plain_loop(seed: int, weight: float, decay: float) -> None:
    """Over ten batches values and running mean are those of a loop that begins with the first batch's mean."""
    generator, path_length = network(F64), PathLength(weight, decay=decay).double()
    mean = None
    for batch in range(10):
        torch.manual_seed(seed + batch)
        latent = torch.randn(4, 3, dtype=F64)
        lengths = seeded(PathLength().lengths, generator, latent, seed=batch).detach()
        mean = lengths.mean() if mean is None else decay * mean + (1 - decay) * lengths.mean()

        actual = seeded(path_length, generator, latent, seed=batch)

        assert torch.allclose(weight * (lengths - mean).square().mean(), actual, rtol=1e-8, atol=1e-12)
        assert torch.allclose(mean, path_length.mean, rtol=1e-8)


def test_its_gradient_is_that_of_finite_differences_with_the_mean_held() -> None:
    """By the generator's parameters, in float64; the running mean is a constant."""
    generator, latent, path_length = network(F64), torch.randn(6, 3, dtype=F64), PathLength().double()
    seeded(path_length, generator, latent, seed=1)
    path_length.eval()
    names, parameters = zip(*generator.named_parameters(), strict=True)

    def value(*parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return seeded(path_length, lambda w: functional_call(generator, named, (w,)), latent)

    assert torch.autograd.gradcheck(value, parameters)


def test_no_gradient_goes_through_the_update_of_the_mean() -> None:
    """Also in training mode, where the mean has a part of the batch's lengths, it is a constant."""
    scale = torch.tensor(2.0, dtype=F64, requires_grad=True)
    path_length = PathLength(1.0, decay=0.5).double()
    seeded(path_length, lambda w: w, torch.ones(1, 3, dtype=F64))  # a mean other than that of the next batch

    value = seeded(path_length, lambda w: scale * w, torch.ones(1, 3, dtype=F64), seed=3)
    (slope,) = torch.autograd.grad(value, scale)

    length = seeded(PathLength().lengths, lambda w: 2 * w, torch.ones(1, 3, dtype=F64), seed=3)
    assert torch.allclose(2 * (length - path_length.mean) * length / 2, slope)


def test_descending_it_makes_all_paths_equally_long() -> None:
    """The spread of the Jacobian's norm over latents, as a share of its mean, falls to less than half."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 32), nn.Softplus(), nn.Linear(32, 16))
    with torch.no_grad():
        generator[0].weight.mul_(5)
    path_length = PathLength(1.0)
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    grid = torch.randn(500, 2)

    def norms() -> Tensor:
        jacobian = torch.func.vmap(torch.func.jacrev(generator))(grid)
        return jacobian.square().sum((1, 2)).sqrt()

    before = norms()
    for _ in range(300):
        optimizer.zero_grad()
        path_length(generator, torch.randn(64, 2)).backward()
        optimizer.step()
    after = norms()

    assert after.std() / after.mean() < 0.5 * before.std() / before.mean()


def test_a_mapping_network_is_regularized_too() -> None:
    """Where the latent was computed with gradients they reach what computed it, and a plain latent gets none."""
    mapping, generator = nn.Linear(3, 3), network()
    plain = torch.randn(4, 3, requires_grad=False)

    seeded(PathLength(), generator, mapping(plain).tanh()).backward()

    assert mapping.weight.grad is not None
    assert mapping.weight.grad.abs().sum() > 0
    assert plain.grad is None
    assert not plain.requires_grad


def test_evaluation_mode_does_not_move_the_mean() -> None:
    """The mean is used, and stays; so it does under no_grad, where the value has no graph."""
    path_length = PathLength()
    path_length(Scaled(), torch.randn(4, 3))
    before = path_length.mean.clone()

    path_length.eval()(Scaled(), 100 * torch.randn(4, 3))
    assert torch.equal(before, path_length.mean)
    with torch.no_grad():
        path_length.train()
        assert path_length(Scaled(), torch.randn(4, 3)).shape == ()
    assert not torch.equal(before, path_length.mean)


def test_its_state_brings_back_the_next_value() -> None:
    """Another one that is given its state goes on with the same values, also from before the first batch."""
    for calls in (0, 1, 5):
        one, other = PathLength(decay=0.9), PathLength(decay=0.9)
        for call in range(calls):
            seeded(one, network(), torch.randn(4, 3), seed=call)
        other(Scaled(), torch.randn(4, 3))
        other.load_state_dict(one.state_dict())
        latent = torch.randn(4, 3)

        assert torch.equal(seeded(one, Scaled(), latent), seeded(other, Scaled(), latent))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_computed_in_float32(dtype: torch.dtype) -> None:
    """Under autocast, and from a latent in half precision, the value is that of float32."""
    generator, latent = network(), torch.randn(4, 3).to(dtype)
    expected = seeded(PathLength().lengths, generator, latent.float())

    with torch.autocast("cpu", dtype):
        actual = seeded(PathLength().lengths, generator, latent)

    assert actual.dtype == torch.float32
    assert torch.equal(expected, actual)


def test_a_compiled_generator_is_run_in_eager_mode() -> None:
    """Its second derivative is there."""
    generator = network()
    compiled = torch.compile(generator, backend="aot_eager")
    latent = torch.randn(4, 3)
    compiled(latent)

    seeded(PathLength(), compiled, latent).backward()

    assert all(parameter.grad is not None for parameter in [*generator.parameters()][:3])
    torch.compiler.reset()


def test_a_condition_is_passed_on() -> None:
    """The generator is called with (latent, condition) where there is one."""
    factors = torch.tensor([1.0, 10.0])

    lengths = seeded(
        PathLength().lengths, lambda w: w * 1.0, torch.ones(2, 3)
    ), seeded(
        lambda: PathLength().lengths(
            lambda w, y: w * factors[y][:, None], torch.ones(2, 3), condition=torch.tensor([1, 0])
        )
    )  # fmt: skip

    assert torch.allclose(lengths[0] * torch.tensor([10.0, 1.0]), lengths[1])


def test_a_generator_that_stands_still_has_a_finite_gradient() -> None:
    """Paths of length 0: the slope of the square root does not become NaN."""
    layer = nn.Linear(3, 4, bias=False)
    nn.init.zeros_(layer.weight)

    PathLength()(layer, torch.randn(4, 3)).backward()

    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()


def mean_on_ranks() -> Tensor:
    """The running mean after two batches; each rank and each batch has a steepness of its own."""
    torch.manual_seed(0)
    path_length = PathLength(decay=0.5)
    for steepness in (1.0, 2.0):
        factor = steepness * (1 + distributed.rank())
        path_length(lambda w, factor=factor: factor * w, torch.ones(3, 2))
    return path_length.mean


def test_over_several_processes_the_mean_is_that_of_all(two_ranks: Ranks) -> None:
    """With the same noise on both, the second has twice the lengths of the first; both have the mean of both."""
    torch.manual_seed(0)
    first, second = (PathLength().lengths(lambda w: w, torch.ones(3, 2)).mean() for _ in range(2))

    for mean in two_ranks(mean_on_ranks):
        assert torch.allclose(1.5 * (0.5 * first + 0.5 * 2 * second), mean)


def test_a_gan_trainer_refuses_it_among_its_penalties() -> None:
    """Those are called with a discriminator; the error names it."""
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)
    adams = [torch.optim.Adam(net.parameters()) for net in (generator, discriminator)]
    with pytest.raises(ArgumentTypeError, match=r"penalties holds PathLength\(weight=2.0, decay=0.99\)"):
        training.AdversarialTrainer(
            generator,
            discriminator,
            *adams,
            loss=losses.HingeLoss(),
            latent=latents.Gaussian(3),
            penalties=[PathLength()],  # type: ignore[list-item]
        )


def test_as_a_player_it_descends_the_generators_parameters_alone() -> None:
    """It shares the generator's optimizer, and plays in every third iteration."""
    generator = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    path_length = PathLength()
    trainer = training.GameTrainer(
        {"generator": generator, "path_length": path_length},
        [
            training.Player("generator", optimizer, lambda w: generator(w).sum() * 0.0),
            training.Player("path", optimizer, lambda w: 3 * path_length(generator, w), every=3),
        ],
    )
    moved = []
    for _ in range(6):
        before = generator.weight.detach().clone()
        trainer.train_step(torch.randn(8, 3))
        moved.append(not torch.equal(before, generator.weight))

    assert moved == [True, False, False, True, False, False]


@pytest.mark.parametrize("words", [{"weight": -1.0}, {"weight": math.inf}, {"decay": 1.0}, {"decay": -0.1}])
def test_a_wrong_argument_is_refused_by_name(words: dict[str, float]) -> None:
    """The error names it, and quotes its value."""
    ((name, value),) = words.items()
    with pytest.raises(ArgumentValueError, match=re.escape(f"{name} (={value!r})")) as error:
        PathLength(**words)
    assert isinstance(error.value, GanlibError)


def test_what_has_no_paths_is_refused() -> None:
    """A latent that is not a tensor or not flat, samples that are not a tensor, or do not depend on the latent."""
    with pytest.raises(ArgumentTypeError, match="latent"):
        PathLength()(Scaled(), [1.0])
    with pytest.raises(ShapeError, match=re.escape("(3,)")):
        PathLength()(Scaled(), torch.zeros(3))
    for shape in [(0, 3), (4, 0), (4, 0, 3)]:
        with pytest.raises(ShapeError, match=re.escape(str(shape))):
            PathLength()(Scaled(), torch.zeros(shape))
    for reduced in (lambda w: w[:1], lambda w: w.sum(), lambda w: w.T):
        with pytest.raises(ShapeError, match="one sample for each latent"):
            PathLength()(reduced, torch.ones(2, 3))
    with pytest.raises(ArgumentTypeError, match="tuple"):
        PathLength()(lambda w: (w,), torch.zeros(2, 3))
    with pytest.raises(ArgumentValueError, match="do not depend on latent"):
        PathLength()(lambda w: torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(ArgumentValueError, match="do not depend on latent"):
        PathLength()(lambda w: torch.zeros(2, 4, requires_grad=True) + w.detach().sum(), torch.zeros(2, 3))


def test_batch_norm_in_the_generator_is_warned_of():
    """The lengths of a batch with batch norm are not of each sample alone; in evaluation mode they are."""
    generator, latent = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(6, 3)
    with pytest.warns(UserWarning, match="the generator has a batch norm in training mode"):
        PathLength()(generator, latent)
    PathLength()(generator.eval(), latent)


def test_half_does_not_round_its_mean():
    """Made half precision with a network, it keeps its mean in float32."""
    path_length = PathLength().half()
    assert path_length(nn.Linear(3, 4), torch.randn(6, 3)).dtype == path_length.mean.dtype == torch.float32

"""Tests of the adaptive weight: it is its formula, and leaves both graphs as they are."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganlib import distributed, losses
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from tests import strategies
from tests.ranks import Ranks


def make(seed: int) -> tuple[nn.Sequential, nn.Linear, Tensor, Tensor]:
    """A small decoder, a linear discriminator, codes and their samples, in float64."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    return decoder, nn.Linear(4, 1).double(), torch.randn(6, 3).double(), torch.randn(6, 4).double()


def both_losses(decoder: nn.Module, discriminator: nn.Module, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The squared error, and Wasserstein's loss of a generator."""
    made = decoder(z)
    return (made - x).square().mean(), -discriminator(made).mean()


@given(strategies.seeds, st.floats(1e-6, 1.0), st.floats(1e-3, 1e3), st.floats(1e-2, 1e4))
def test_it_is_the_ratio_of_the_gradients(seed: int, epsilon: float, scale: float, maximum: float) -> None:
    """It is |2/NM (Wh + b - x) h^T| / (|1/N v sum(h)^T| + epsilon), at most the maximum, by hand in float64."""
    decoder, discriminator, z, x = make(seed)
    reconstruction, adversarial = both_losses(decoder, discriminator, z, x)
    with torch.no_grad():
        h = decoder[:2](z)
        of_reconstruction = 2 / x.numel() * (decoder(z) - x).T @ h
        of_adversarial = -discriminator.weight.T @ h.sum(0, keepdim=True) / len(x)
    ratio = of_reconstruction.square().sum().sqrt() / (scale * of_adversarial.square().sum().sqrt() + epsilon)
    actual = losses.adaptive_weight(
        reconstruction, scale * adversarial, decoder[2].weight, epsilon=epsilon, maximum=maximum
    )
    torch.testing.assert_close(actual, ratio.clamp(max=maximum))
    assert (actual.shape, actual.requires_grad) == ((), False)


def test_the_defaults_are_the_papers() -> None:
    """Epsilon is 1e-4 (a discriminator that is flat gets all of 1 / epsilon), the maximum 1e4."""
    layer = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert losses.adaptive_weight(layer[0], 0 * layer.sum(), layer).item() == pytest.approx(1e4)
    assert losses.adaptive_weight(layer[0] / 2, 0 * layer.sum(), layer).item() == pytest.approx(5e3)
    assert losses.adaptive_weight(9 * layer[0], 0 * layer.sum(), layer).item() == 1e4


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.5), (0.0, 0.0)])
def test_without_an_adversarial_gradient_it_is_finite(scale: float, expected: float) -> None:
    """Where the adversarial gradient is 0 it is |grad rec| / epsilon, and 0 where both are."""
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    actual = losses.adaptive_weight(scale * layer[0], 0 * layer.sum(), layer, epsilon=2.0)
    assert actual.item() == pytest.approx(expected)


@given(strategies.seeds)
def test_both_gradients_are_then_as_large(seed: int) -> None:
    """Weighted, the adversarial gradient at the last layer is as long as the reconstruction's, at any scale."""
    decoder, discriminator, z, x = make(seed)
    last = decoder[2].weight
    weight = losses.adaptive_weight(*both_losses(decoder, discriminator, z, x), last, epsilon=1e-12)
    reconstruction, adversarial = both_losses(decoder, discriminator, z, x)
    (one,) = torch.autograd.grad(reconstruction, last, retain_graph=True)
    (other,) = torch.autograd.grad(weight * adversarial, last)
    torch.testing.assert_close(one.norm(), other.norm())


def test_both_graphs_stay() -> None:
    """A backward of the sum can follow, its gradients are those of the sum alone, and none is left before it."""
    decoder, discriminator, z, x = make(0)
    reconstruction, adversarial = both_losses(decoder, discriminator, z, x)
    parameters = [*decoder.parameters(), *discriminator.parameters()]
    weight = losses.adaptive_weight(reconstruction, adversarial, decoder[2].weight)
    assert all(parameter.grad is None for parameter in parameters)
    assert 0 < weight < 1e4
    (reconstruction + weight * adversarial).backward()
    again = both_losses(decoder, discriminator, z, x)
    expected = torch.autograd.grad(again[0] + weight.item() * again[1], parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def balanced_share(world_size: int) -> tuple[Tensor, list[Tensor]]:
    """The weight of a process with its share of a batch, and the decoder's gradients that all have."""
    decoder, discriminator, z, x = make(0)
    drifting = torch.linspace(0, 3, len(x)).double().view(-1, 1)
    z, x = ((part + drifting).chunk(world_size)[distributed.rank()] for part in (z, x))
    joined = DistributedDataParallel(decoder) if world_size > 1 else decoder  # its hooks last as long as it does
    reconstruction, adversarial = both_losses(joined, discriminator, z, x)
    weight = losses.adaptive_weight(reconstruction, adversarial, decoder[2].weight)
    (reconstruction + weight * adversarial).backward()
    return weight, [parameter.grad for parameter in decoder.parameters() if parameter.grad is not None]


def test_over_several_processes_it_is_that_of_the_whole_batch(two_ranks: Ranks, three_ranks: Ranks) -> None:
    """Shares of a batch on two and on three processes give all of them the weight and the gradients of one process."""
    expected = balanced_share(1)
    assert len(expected[1]) == 4
    for ranks in (two_ranks, three_ranks):
        for actual in ranks(balanced_share, ranks.size):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


LAYER = torch.tensor([1.0, 2.0], requires_grad=True)
ELSEWHERE = torch.tensor(1.0, requires_grad=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epsilon": 0}, r"epsilon \(=0\) must be above 0"),
        ({"epsilon": -1e-4}, r"epsilon \(=-0.0001\)"),
        ({"epsilon": float("nan")}, r"epsilon \(=nan\)"),
        ({"maximum": 0.0}, r"maximum \(=0.0\) must be above 0"),
        ({"reconstruction": LAYER * 2}, r"reconstruction \(2,\) must be a scalar"),
        ({"reconstruction": LAYER[:1] * 2}, r"reconstruction \(1,\) must be a scalar"),
        ({"adversarial": LAYER[None]}, r"adversarial \(1, 2\) must be a scalar"),
        ({"reconstruction": ELSEWHERE * 2}, "reconstruction does not depend on last_layer"),
        ({"adversarial": ELSEWHERE * 2}, "adversarial does not depend on last_layer"),
        ({"adversarial": LAYER.detach().sum()}, "adversarial does not depend on last_layer"),
        ({"last_layer": LAYER.detach()}, "last_layer must require a gradient"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    """A value that is not a scalar, does not depend on the layer or is out of its range is named."""
    given = {"reconstruction": LAYER.sum(), "adversarial": LAYER.prod(), "last_layer": LAYER} | arguments
    with pytest.raises(ArgumentValueError, match=words) as caught:
        losses.adaptive_weight(**given)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


def test_a_layer_instead_of_its_weight_is_refused() -> None:
    """The last layer is a tensor; a module, or a loss that is only a number, is refused by name."""
    layer = nn.Linear(2, 2)
    loss = layer(torch.ones(1, 2)).sum()
    with pytest.raises(ArgumentTypeError, match=r"last_layer \(=Linear.* its weight"):
        losses.adaptive_weight(loss, loss, layer)
    with pytest.raises(ArgumentTypeError, match=r"adversarial \(=0.5\)"):
        losses.adaptive_weight(loss, 0.5, layer.weight)

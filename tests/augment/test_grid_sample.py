"""Tests of the grid sample with derivatives of any order."""

import pytest
import torch
import torch.nn.functional as F

from ganlib.augment._grid_sample import grid_sample


@pytest.fixture
def deterministic():
    """Deterministic algorithms, for one test."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


modes = pytest.mark.parametrize("mode", ["bilinear", "nearest"])


def draw(dtype=torch.float64):
    """Two images of three channels, and places in and around them."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 4, 5, generator=random, dtype=dtype)
    return images, 2.4 * torch.rand(2, 4, 5, 2, generator=random, dtype=dtype) - 1.2


@modes
@pytest.mark.parametrize("needs_gradient", [True, False])
def test_it_is_torchs_grid_sample(mode, needs_gradient):
    """It gives the very values of grid_sample, with a graph or without."""
    images, places = draw(torch.float32)
    expected = F.grid_sample(images, places, mode=mode, align_corners=False)
    assert torch.equal(grid_sample(images.requires_grad_(needs_gradient), places, mode), expected)


@modes
def test_its_first_derivative_is_torchs(mode):
    """The gradient is that of grid_sample to the bit, for a gradient that is one value spread out as well."""
    images, places = draw(torch.float32)
    for weight in (torch.randn(2, 3, 4, 5), torch.tensor(2.0).expand(2, 3, 4, 5)):
        (expected,) = torch.autograd.grad(
            F.grid_sample(images.requires_grad_(), places, mode=mode, align_corners=False), images, weight
        )
        (actual,) = torch.autograd.grad(grid_sample(images, places, mode), images, weight)
        assert torch.equal(actual, expected)


@modes
def test_derivatives_of_the_first_and_the_second_order(mode):
    """Gradcheck and gradgradcheck in float64."""
    images, places = draw()
    assert torch.autograd.gradcheck(lambda x: grid_sample(x, places, mode), images.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, places, mode), images)


@modes
def test_the_third_derivative_is_that_of_a_cube(mode):
    """Of sum(y^3), y = A x: differentiated three times along v it is 6 sum((A v)^3)."""
    images, places = draw()
    along = torch.randn(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = grid_sample(images.requires_grad_(), places, mode).pow(3).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, images, create_graph=True)
        value = (gradient * along).sum()
    torch.testing.assert_close(value.detach(), 6 * grid_sample(along, places, mode).pow(3).sum())


def test_it_does_not_lean_on_torchs_second_derivative():
    """A gradient's graph leads back through our own step, as torch 2.6 has none for grid_sample."""
    images, places = draw()
    value = grid_sample(images.requires_grad_(), places, "bilinear").square().sum()
    (gradient,) = torch.autograd.grad(value, images, create_graph=True)
    seen, waiting = set(), [gradient.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    names = {node.name() for node in seen}
    assert {"_ReadBackward", "_WriteBackward"} <= names
    assert not [name for name in names if "GridSampler" in name]


def _gradients(mode, device="cpu"):
    """Gradients of a cube of what is read, of the first and the second order."""
    images, places = (tensor.to(device) for tensor in draw())
    value = grid_sample(images.requires_grad_(), places, mode).pow(3).sum()
    (first,) = torch.autograd.grad(value, images, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), images)
    return first.detach(), second


@modes
def test_the_deterministic_derivatives_are_the_same(mode, request):
    """Where determinism is asked for, the gradient is that of grid_sample to rounding, to the second order."""
    expected = _gradients(mode)
    request.getfixturevalue("deterministic")
    for actual, other in zip(_gradients(mode), expected, strict=True):
        torch.testing.assert_close(actual, other, atol=1e-12, rtol=1e-12)


@modes
@pytest.mark.gpu
def test_there_is_a_deterministic_derivative_on_cuda(mode, deterministic):
    """Torch's own backward refuses to be deterministic there; ours gives the same twice, and what the CPU gives."""
    once, again = _gradients(mode, "cuda"), _gradients(mode, "cuda")
    for one, other, expected in zip(once, again, _gradients(mode), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one.cpu(), expected, atol=1e-10, rtol=1e-10)

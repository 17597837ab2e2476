"""Adam's step with coefficients on the device: what torch's own Adam does with the same numbers."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib.training._step._adam import adam_step

Make = Callable[..., torch.optim.Optimizer]


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    """A matrix, a vector and a number."""
    numbers = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=numbers, dtype=dtype)) for shape in ((3, 2), (4,), ())]


def set_gradients(trained: list[nn.Parameter], seed: int) -> None:
    """Random gradients."""
    numbers = torch.Generator().manual_seed(seed)
    for parameter in trained:
        parameter.grad = torch.randn(parameter.shape, generator=numbers, dtype=parameter.dtype)


def own_step(optimizer: torch.optim.Optimizer) -> None:
    """The step that is tested, with the coefficients of the groups as tensors of the parameters' dtype."""
    for group in optimizer.param_groups:
        numbers = [torch.tensor(x, dtype=group["params"][0].dtype) for x in (group["lr"], *group["betas"])]
        adam_step(optimizer, group, *numbers)


def contents(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters, and the states of all of them."""
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = [optimizer.state[parameter] for parameter in trained if parameter.grad is not None]
    return [*map(torch.detach, trained), *(state[name] for state in states for name in sorted(state))]


def assert_equal(one: torch.optim.Optimizer, other: torch.optim.Optimizer) -> None:
    """Parameters and states are equal, up to the rounding of a few operations."""
    for own, its in zip(contents(one), contents(other), strict=True):
        tolerance = 1e-11 if own.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(own, its, rtol=tolerance, atol=tolerance)


OPTIONS = [
    dict(zip(("amsgrad", "weight_decay", "maximize"), values, strict=True))
    for values in itertools.product((False, True), (0.0, 0.1), (False, True))
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_twenty_steps_are_those_of_torch(make: Make, options: dict[str, Any], dtype: torch.dtype) -> None:
    """With a learning rate and betas that change at every step, parameters and states stay those of torch."""
    one, other = (make(parameters(dtype), lr=1e-2, betas=(0.0, 0.9), **options) for _ in range(2))
    for step in range(20):
        for optimizer in (one, other):
            group = optimizer.param_groups[0]
            group["lr"], group["betas"] = 1e-2 / (step + 1), (0.5 - 0.01 * step, 0.9 + 0.005 * step)
            set_gradients(group["params"], step)
        own_step(one)
        other.step()
    assert_equal(one, other)


@pytest.mark.parametrize("way", ["foreach", "fused"])
def test_it_goes_on_from_what_torch_has_made(way: str) -> None:
    """Steps of torch's before and after, of whatever way, make one training with steps of ours."""
    one, other = (torch.optim.Adam(parameters(torch.float64), lr=2**-7, **{way: True}) for _ in range(2))
    for step in range(9):
        for optimizer in (one, other):
            set_gradients(optimizer.param_groups[0]["params"], step)
        (own_step if 3 <= step < 6 else torch.optim.Adam.step)(one)
        other.step()
    assert_equal(one, other)


def test_what_has_no_gradient_stays() -> None:
    """A parameter without a gradient is left alone, without a state; a group of such parameters too."""
    one, other = (
        torch.optim.Adam([{"params": trained[:2]}, {"params": trained[2:], "lr": 0.5}], lr=0.1)
        for trained in (parameters(torch.float64), parameters(torch.float64))
    )
    for step in range(3):
        for optimizer in (one, other):
            set_gradients(optimizer.param_groups[0]["params"][:1], step)
        own_step(one)
        other.step()
    assert_equal(one, other)
    assert len(one.state) == 1


@pytest.mark.skipif(
    "decoupled_weight_decay" not in inspect.signature(torch.optim.Adam).parameters, reason="this torch has no such Adam"
)
def test_decoupled_weight_decay_of_a_plain_adam() -> None:
    """An Adam with ``decoupled_weight_decay`` is an AdamW."""
    options: Any = {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}
    one, other = (torch.optim.Adam(parameters(torch.float64), **options) for _ in range(2))
    for step in range(5):
        for optimizer in (one, other):
            set_gradients(optimizer.param_groups[0]["params"], step)
        own_step(one)
        other.step()
    assert_equal(one, other)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_first_step_is_the_learning_rate_along_the_sign(beta: float) -> None:
    """From a state of zeros, bias correction makes the first step lr * g / (|g| + eps), whatever the betas."""
    (parameter,) = trained = [nn.Parameter(torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64))]
    optimizer = torch.optim.Adam(trained, lr=0.25, betas=(beta, 0.875))
    parameter.grad = torch.tensor([1e-3, -20.0, 4.0], dtype=torch.float64)
    own_step(optimizer)
    expected = torch.tensor([3 - 0.25 / (1 + 1e-5), -1 + 0.25, 0.5 - 0.25], dtype=torch.float64)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.gpu
def test_it_does_not_wait_for_the_device(sync_debug_mode: Callable[[str], None]) -> None:
    """On CUDA all of it stays on the device."""
    trained = [nn.Parameter(parameter.detach().cuda()) for parameter in parameters(torch.float32)]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, amsgrad=True)
    numbers = [torch.tensor(x, device="cuda") for x in (1e-2, 0.5, 0.9)]
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    sync_debug_mode("error")
    for _ in range(2):
        adam_step(optimizer, optimizer.param_groups[0], *numbers)
    sync_debug_mode("default")

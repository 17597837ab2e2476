"""All that a step changes is put back to the bit, and two outcomes of it are compared as rounding allows."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.training._step._memory import Memory, difference, distances


def draw() -> list[float]:
    """A number from each source of random numbers."""
    return [random.random(), float(np.random.rand()), torch.rand(()).item()]


def test_tensors_and_random_states_are_put_back() -> None:
    """What was changed in place is what it was, in the same memory, as often as one likes; draws are repeated."""
    leaf = torch.arange(4.0).requires_grad_()
    tensors = {"leaf": leaf, "count": torch.tensor(3), "view": torch.arange(6.0).view(2, 3).t(), "none": torch.zeros(0)}
    addresses = [tensor.data_ptr() for tensor in tensors.values()]
    expected = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    memory = Memory(tensors, [])
    drawn = []
    for _ in range(3):
        with torch.no_grad():
            for tensor in tensors.values():
                tensor.add_(1)
        drawn.append(draw())
        memory.put_back()
        assert leaf.requires_grad
        assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    assert drawn[0] == drawn[1] == drawn[2] == draw()
    assert [tensor.data_ptr() for tensor in tensors.values()] == addresses


def test_contents_are_copies() -> None:
    """They are what the tensors hold now, and stay so."""
    tensor = torch.zeros(2)
    memory = Memory({"x": tensor}, [])
    tensor.fill_(1)
    kept = memory.contents()
    tensor.fill_(2)
    assert kept["x"].tolist() == [1, 1]


def test_gradient_scalers_are_put_back() -> None:
    """A step that overflows halves the scale, which is what it was once it is put back."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer, scaler = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(weight.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    memory = Memory({"weight": weight}, [scaler])
    before = scaler.state_dict()
    scaler.scale(weight.sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4
    memory.put_back()
    assert scaler.get_scale() == 8
    assert scaler.state_dict() == before


@pytest.mark.parametrize("size", [0.0, 1e-8, 1.0, 1e4])
def test_what_is_trained_is_nudged(size: float) -> None:
    """By about 1e-5 of itself, which contents do not show; others, and draws, are as they were."""
    weight, other = torch.nn.Parameter(torch.full((1000,), size)), torch.ones(3)
    memory = Memory({"weight": weight, "other": other, "the same": weight}, [])
    first = draw()
    other.zero_()
    memory.put_back(nudged=True)
    assert 0.5e-5 * size <= (weight.detach() - size).abs().mean().item() <= 2.5e-5 * size
    assert torch.equal(other, torch.ones(3))
    assert draw() == first
    with torch.no_grad():
        weight.add_(0.5 * size)
    for name in ("weight", "the same"):
        torch.testing.assert_close(memory.contents()[name], torch.full((1000,), 1.5 * size), rtol=1e-6, atol=0)
    memory.put_back()
    assert torch.equal(weight, torch.full((1000,), size))
    assert torch.equal(memory.contents()["weight"], torch.full((1000,), size))


def said(before: Tensor | None, expected: Tensor, actual: Tensor, noise: float = 0.0) -> str | None:
    """What is said of one value; a metric has nothing before the step."""
    return difference({} if before is None else {"x": before}, {"x": expected}, {"x": actual}, {"x": noise})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([0.0], [0.0]),
        ([1000.0], [1000.05]),  # a metric by 1e-4 of itself
        ([NAN, INF, -INF, 1.0], [NAN, INF, -INF, 1.0]),
        ([0.0], [1e-7]),
        ([], []),
    ],
)
def test_what_agrees(expected: list[float], actual: list[float]) -> None:
    """Values that differ by rounding, or not at all, whatever they are."""
    assert said(None, torch.tensor(expected), torch.tensor(actual)) is None
    if actual != [1e-7]:
        assert said(torch.zeros(len(expected)), torch.tensor(expected), torch.tensor(actual)) is None


@pytest.mark.parametrize("metric", [False, True])
@pytest.mark.parametrize(
    ("expected", "actual", "distance"),
    [
        ([1.0], [1.004], "by 0.004"),
        ([1000.0, 0.0], [1000.0, 8.0], "by 4"),
        ([1.0], [NAN], "by nan"),
        ([NAN], [1.0], "by nan"),
        ([INF], [-INF], "by inf"),
        ([0.0], [1e-3], "by 0.001"),
    ],
)
def test_what_differs(expected: list[float], actual: list[float], distance: str, metric: bool) -> None:
    """It is named, with the mean distance."""
    before = None if metric else torch.zeros(len(expected))
    found = said(before, torch.tensor(expected), torch.tensor(actual)) or ""
    assert found.startswith(f"x ({distance}, where it is" if metric else f"x ({distance} on average, where the step")


def test_a_count_that_differs_by_one_differs() -> None:
    """Whole numbers, a number of many steps, and truth values are compared too."""
    for count in (torch.tensor(5), torch.tensor(10**9), torch.tensor(1e6)):
        assert said(count - 1, count, count + 1) is not None
    assert said(torch.tensor(False), torch.tensor(True), torch.tensor(False)) is not None
    both = torch.tensor([True, False])
    assert said(both, both, both) is None


def test_a_tensor_is_measured_by_what_the_step_changes() -> None:
    """Weights that would agree to four places differ, if the step has changed them as little; rounding does not."""
    before = torch.ones(100)
    assert said(before, before + 1e-4, before + 1.01e-4) is not None
    assert said(before, before + 1e-4, before + 1.001e-4) is None
    assert said(before, before + 1e-7, before) is None


def test_one_element_of_many_may_differ() -> None:
    """An element without a gradient but rounding may go the other way under Adam; half of them may not."""
    before, step = torch.zeros(2000), torch.full((2000,), 1e-3)
    for turned, agrees in ((1, True), (1000, False)):
        other = step.clone()
        other[:turned] *= -1
        assert (said(before, before + step, before + other) is None) == agrees


@pytest.mark.parametrize(("metric", "times"), [(False, 5), (True, 1.5)])
def test_some_times_the_noise_is_allowed(metric: bool, times: float) -> None:
    """Of a metric a hundredth at most: if it differs by more, something was not put back."""
    before = None if metric else torch.tensor(0.0)
    expected, actual = torch.tensor(1.0), torch.tensor(1.009)
    assert said(before, expected, actual, noise=0.009 / times) is None
    assert said(before, expected, actual, noise=0.005 / times) is not None
    assert (said(before, expected, torch.tensor(1.02), noise=0.05 / times) is None) != metric


def test_distances_are_means() -> None:
    """What is not a number in both is equal."""
    one, other = {"x": torch.tensor([1.0, NAN, INF, 3.0])}, {"x": torch.tensor([2.0, NAN, INF, 0.0])}
    assert distances(one, other) == {"x": 1.0}
    assert distances({"none": torch.zeros(0)}, {"none": torch.zeros(0)}) == {"none": 0.0}


def test_the_worst_is_named() -> None:
    """Of several values, the one that differs most by its own measure."""
    expected = {"a": torch.tensor(1.0), "b": torch.tensor(1000.0), "c": torch.tensor(0.0)}
    actual = {"a": torch.tensor(1.5), "b": torch.tensor(1010.0), "c": torch.tensor(0.0)}
    assert difference({}, expected, actual, dict.fromkeys(expected, 0.0)) == "a (by 0.5, where it is 1)"

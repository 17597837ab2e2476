"""All that a step changes is put back to the bit, and two outcomes of it are compared as rounding allows."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.training._step._memory import Memory, difference


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


def said(expected: Tensor, actual: Tensor, again: Tensor | None = None) -> str | None:
    """What is said of one value."""
    return difference({"x": expected}, {"x": actual}, {"x": actual if again is None else again})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([0.0], [0.0]),
        ([1000.0, 1e-3], [1000.0, 0.05]),  # by 1e-4 of the largest
        ([NAN, INF, -INF, 1.0], [NAN, INF, -INF, 1.0]),
        ([0.0], [1e-7]),
        ([], []),
    ],
)
def test_what_agrees(expected: list[float], actual: list[float]) -> None:
    """Values that differ by rounding, or not at all, whatever they are."""
    assert said(torch.tensor(expected), torch.tensor(actual)) is None


@pytest.mark.parametrize(
    ("expected", "actual", "distance"),
    [
        ([1.0], [1.001], "by 0.001, where the largest is 1"),
        ([1000.0, 0.0], [1000.0, 1.0], "by 1, where the largest is 1e+03"),
        ([1.0], [NAN], "by nan"),
        ([NAN], [1.0], "by nan"),
        ([INF], [-INF], "by inf"),
        ([0.0], [1e-3], "by 0.001, where the largest is 0"),
    ],
)
def test_what_differs(expected: list[float], actual: list[float], distance: str) -> None:
    """It is named, with the distance."""
    assert (said(torch.tensor(expected), torch.tensor(actual)) or "").startswith(f"x ({distance}")


def test_a_count_that_differs_by_one_differs() -> None:
    """Whole numbers and truth values are compared too."""
    assert said(torch.tensor(5), torch.tensor(6)) is not None
    assert said(torch.tensor(True), torch.tensor(False)) is not None
    assert said(torch.tensor([True, False]), torch.tensor([True, False])) is None


def test_a_recording_that_differs_from_itself_is_allowed_ten_times_that() -> None:
    """Some kernels add up in another order each time."""
    expected, actual = torch.tensor([1.0]), torch.tensor([1.01])
    assert said(expected, actual, again=torch.tensor([1.008])) is None
    assert said(expected, actual, again=torch.tensor([1.0099])) is not None


def test_the_worst_is_named() -> None:
    """Of several values, the one that differs most by its own measure."""
    expected = {"a": torch.tensor(1.0), "b": torch.tensor(1000.0), "c": torch.tensor(0.0)}
    actual = {"a": torch.tensor(1.5), "b": torch.tensor(1010.0), "c": torch.tensor(0.0)}
    assert difference(expected, actual, actual) == "a (by 0.5, where the largest is 1)"

"""Tests of the nearest neighbors."""

import numpy as np
import pytest
import torch

from ganlib.errors import ArgumentTypeError, GanlibError
from ganlib.metrics import nearest_neighbors
from tests.metrics.cases import distances, normal


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_they_are_the_smallest_distances(k, dtype):
    """Distances are those of a double loop in float64, in order, and indices are theirs."""
    queries, references = normal(7, 5, dtype=dtype), normal(20, 5, seed=1, dtype=dtype)
    found, indices = nearest_neighbors(queries, references, k)
    expected = distances(queries.double().numpy(), references.double().numpy())
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :k], rtol=1e-12)
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert found.dtype == torch.float64
    assert found.shape == indices.shape == (7, k)


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("n", [1, 300])
def test_a_copy_is_at_distance_zero(shift, n):
    """Exactly 0, however large the values are; and itself the nearest."""
    references = normal(300, 64, dtype=torch.float64) + shift
    found, indices = nearest_neighbors(references[:n], references)
    assert torch.equal(found, torch.zeros(n, 1, dtype=torch.float64))
    assert torch.equal(indices[:, 0], torch.arange(n))


def test_blocks_of_rows(monkeypatch):
    """In blocks of one row it is what it is in one block; there may be no queries."""
    queries, references = normal(30, 4), normal(50, 4, seed=1)
    whole = nearest_neighbors(queries, references, 3)
    monkeypatch.setattr("ganlib.metrics._neighbors._ENTRIES", 10)
    torch.testing.assert_close(nearest_neighbors(queries, references, 3), whole, rtol=0, atol=0)
    assert nearest_neighbors(queries[:0], references, 3)[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("queries", "references", "k", "message"),
    [
        (torch.zeros(3), torch.zeros(4, 3), 1, r"queries \(3,\) and references \(4, 3\)"),
        (torch.zeros(2, 3), torch.zeros(4, 2), 1, r"queries \(2, 3\) and references \(4, 2\)"),
        (torch.zeros(2, 3), torch.zeros(4, 3), 0, r"k \(=0\)"),
        (torch.zeros(2, 3), torch.zeros(4, 3), 5, r"k \(=5\) .* 4"),
        (torch.zeros(2, 3), torch.zeros(0, 3), 1, r"k \(=1\) .* 0"),
        (torch.zeros(2, 3) / 0, torch.zeros(4, 3), 1, "queries hold values that are not finite"),
        (torch.zeros(2, 3), torch.ones(4, 3) / 0, 1, "references hold values that are not finite"),
    ],
)
def test_bad_arguments_are_named(queries, references, k, message):
    """Other shapes, a k out of range and values that are not finite are ValueErrors of ours."""
    with pytest.raises(ValueError, match=message) as caught:
        nearest_neighbors(queries, references, k)
    assert isinstance(caught.value, GanlibError)


def test_points_are_tensors():
    """A list is refused by the name of its argument."""
    points = torch.zeros(2, 2)
    for name, pair in (("queries", ([1, 2], points)), ("references", (points, np.zeros((2, 2))))):
        with pytest.raises(ArgumentTypeError, match=rf"{name} \(=.*\) must be a tensor"):
            nearest_neighbors(*pair)

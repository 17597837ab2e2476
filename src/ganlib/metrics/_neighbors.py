"""Compute exact distances between features in float64, in blocks that limit the memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlib._checks import check_count
from ganlib._devices import in_float64
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["closer_than", "nearest_neighbors", "nearest_squared", "squared_distances"]

_ENTRIES = 2**21  # entries of a block; 16 MiB in float64


def nearest_neighbors(queries: Tensor, references: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest references of each query, by the Euclidean distance in float64.

    The distance to a copy is exactly 0.

    Args:
        queries: (N, F) float.
        references: (M, F) float.
        k: number of neighbors, from 1 to M.

    Returns:
        Distances (N, k) float64 and indices (N, k) int64 into the references, with the nearest first. Both are on the
        CPU if the device has no float64 (MPS).

    Raises:
        ArgumentTypeError: if queries or references are not a tensor.
        ShapeError: if queries and references are not (N, F) and (M, F).
        ArgumentValueError: if k is below 1 or above M, or values are not finite.

    Example:
        >>> distances, indices = nearest_neighbors(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [4.5], [9.0]]))
        >>> distances.tolist(), indices.tolist()
        ([[1.0], [0.5]], [[0], [1]])
    """
    for name, points in (("queries", queries), ("references", references)):
        if not isinstance(points, Tensor):
            raise ArgumentTypeError(f"{name} (={shown(points)}) must be a tensor (N, F)")
    if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1]:
        raise ShapeError(
            f"queries {tuple(queries.shape)} and references {tuple(references.shape)} must be (N, F) and (M, F)"
        )
    for name, points in (("queries", queries), ("references", references)):
        if not points.isfinite().all():
            raise ArgumentValueError(f"{name} hold values that are not finite")
    check_count("k", k, least=1)
    if k > len(references):
        raise ArgumentValueError(f"k (={k}) must be at most the number of references, which is {len(references)}")
    squared, indices = nearest_squared(in_float64(queries), in_float64(references), k)
    return squared.sqrt(), indices


def nearest_squared(queries: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find neighbors of float64 inputs with squared distances, since a root could make equal distances differ."""
    squared = torch.empty(len(queries), k, dtype=torch.float64, device=queries.device)
    indices = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    for rows, block, _ in squared_distances(queries, references):
        candidates = block.topk(k, largest=False).indices
        exact = torch.stack([_exact(queries[rows], references[column]) for column in candidates.T], dim=1)
        squared[rows], order = exact.sort(dim=1, stable=True)
        indices[rows] = candidates.gather(1, order)
    return squared, indices


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    r"""Compute the matrix :math:`\lVert x_i \rVert^2 + \lVert y_j \rVert^2 - 2 x_i^\top y_j`, block by block.

    Args:
        x: (N, F) float64.
        y: (M, F) float64.

    Yields:
        A slice of rows, the block of these rows (rows, M), and a bound on its rounding errors (rows, 1).
    """
    center = y.median(0).values  # less rounding error if the mean is large; unlike the mean, robust to outliers
    x, y = x - center, y - center
    x_squares, y_squares = x.square().sum(1, keepdim=True), y.square().sum(1)
    rounding = 4 * x.shape[1] * torch.finfo(x.dtype).eps * (x_squares + y_squares.amax())
    size = max(1, _ENTRIES // len(y))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield rows, torch.addmm(y_squares, x[rows], y.T, alpha=-2).add_(x_squares[rows]), rounding[rows]


def closer_than(squared_radii: Tensor, block: Tensor, rounding: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return which pairs of a block of squared distances are closer than a radius; equal distances are not closer.

    If rounding errors hide the result for a pair, its distance is computed from the difference, so that equal distances
    are recognized.

    Args:
        squared_radii: (n, 1) or (1, m) float64, from :func:`nearest_squared`.
        block: (n, m), from :func:`squared_distances`.
        rounding: (n, 1), bound on the rounding errors.
        x: (n, F) float64, the rows.
        y: (m, F) float64, the columns.

    Returns:
        (n, m) bool.
    """
    closer = block < squared_radii - rounding
    unsure = (block <= squared_radii + rounding).logical_xor_(closer)
    unsure &= squared_radii > 0  # nothing is closer than 0
    if unsure.any():
        for pairs in unsure.nonzero().split(max(1, _ENTRIES // x.shape[1])):
            i, j = pairs.unbind(1)
            closer[i, j] = _exact(x[i], y[j]) < squared_radii.expand_as(block)[i, j]
    return closer


def _exact(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(1)

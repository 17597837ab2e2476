"""Draw the image of an evaluation: samples next to real images, and the values during training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib._files import write_atomically
from ganlib._table import read_table
from ganlib.errors import CheckpointError, MissingExtraError
from ganlib.viz import image_grid

try:  # only evaluate imports this file, so the error comes before it measures
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError(
        "matplotlib is not installed, which evaluate needs for its image: pip install matplotlib"
    ) from error

__all__ = ["Neighbors", "draw_evaluation"]

_PADDING = 2
# Metrics that share axes; those of _SHARES are from 0 to about 1.
_SHARES = ["precision", "recall", "density", "coverage", "label_accuracy"]
_TOGETHER = [["frechet_distance"], ["kernel_distance"], _SHARES]


class Neighbors(NamedTuple):
    """Store samples with their nearest real images."""

    samples: Tensor  # (N, C, size, size)
    nearest: Tensor  # (N, K, C, size, size)
    names: Sequence[str] | None  # of the samples' classes


def draw_evaluation(path: Path, title: str, neighbors: Neighbors, table: Path) -> None:
    """Write the image of an evaluation.

    Args:
        path: the PNG file.
        title: the title.
        neighbors: the samples in the upper half.
        table: the ``metrics.csv`` of the run. If it has values of evaluations, they are the lower half.
    """
    try:
        rows = read_table(table)
    except CheckpointError as error:
        print(f"the image has no curves: {error}")
        rows = []
    columns = {*rows[0]} if rows else set[str]()
    below = [own for names in _TOGETHER if (own := [name for name in names if name in columns])]
    figure = Figure(figsize=(9, 7.5 + 3 * bool(below)), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    grid = figure.add_gridspec(2 if below else 1, 6, height_ratios=[7, 3] if below else None)
    for column in range(min(2, len(neighbors.samples))):  # two samples side by side: they may have the same class
        _draw_neighbors(figure.add_subplot(grid[0, 3 * column : 3 * column + 3]), neighbors, column)
    width = 6 // max(1, len(below))
    for index, names in enumerate(below):
        axes = figure.add_subplot(grid[1, index * width : (index + 1) * width])
        for name in names:
            _draw_curve(axes, rows, name)
        if names[0] in _SHARES:
            axes.set_ylim(-0.03, max(1.03, axes.get_ylim()[1]))
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _draw_neighbors(axes: Any, neighbors: Neighbors, column: int) -> None:
    """Draw every second sample, with the nearest real images to its right."""
    samples, nearest = neighbors.samples[column::2], neighbors.nearest[column::2]
    count, columns = len(samples), nearest.shape[1] + 1
    together = torch.cat([samples.unsqueeze(1), nearest], dim=1)
    image = image_grid(together.flatten(0, 1), columns=columns, padding=_PADDING)
    axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
    cell = samples.shape[-1] + _PADDING
    centers = _PADDING + (cell - _PADDING) / 2 + cell * np.arange(max(count, columns)) - 0.5
    axes.axvline(cell + _PADDING / 2 - 0.5, color="tab:orange", linewidth=3)
    axes.xaxis.tick_top()
    axes.set_xticks([centers[0], centers[1:columns].mean()], ["sample", "nearest real images"])
    names = [""] * count if neighbors.names is None else [name[:14] for name in neighbors.names[column::2]]
    axes.set_yticks(centers[:count], names, fontsize="small")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_curve(axes: Any, rows: Sequence[dict[str, str]], name: str) -> None:
    """Draw a metric, with its standard deviation if there is one."""
    measured = [row for row in rows if row[name]]
    deviations = [float(row.get(f"{name}_std") or "nan") for row in measured]
    axes.errorbar(
        [int(row["iteration"]) for row in measured],
        [float(row[name]) for row in measured],
        deviations if f"{name}_std" in rows[0] else None,
        marker=".",
        linewidth=1,
        label=name.replace("_", " "),
    )

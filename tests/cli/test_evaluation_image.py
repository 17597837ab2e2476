"""Tests of the image of an evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib._cli._evaluation_image import Neighbors, draw_evaluation

WHITE, BLACK, RED = (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), (1.0, -1.0, -1.0)
TABLE = "iteration,epoch,generator_loss,frechet_distance,kernel_distance,kernel_distance_std,recall\n"


def image_of(colour: tuple[float, float, float], *sizes: int) -> torch.Tensor:
    """Images of 8x8 pixels in one colour, so many in each dimension."""
    return torch.tensor(colour).view(3, 1, 1).expand(*sizes, 3, 8, 8)


def drawn(path: Path, neighbors: Neighbors) -> np.ndarray:
    """The pixels of the image, next to a table that may be there."""
    draw_evaluation(path / "x.png", "a title", neighbors, path / "metrics.csv")
    with Image.open(path / "x.png") as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def columns_of(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The columns in which there are many pixels of a colour."""
    return np.flatnonzero((pixels == colour).all(axis=2).sum(axis=0) > 100)


@pytest.mark.parametrize("names", [["a"] * 20, None])
def test_samples_are_at_the_left_of_real_images(names: Any, tmp_path: Path) -> None:
    """In both halves, red samples come first, and are a fifth as wide as the five green images that are nearest."""
    green = (-1.0, 1.0, -1.0)
    pixels = drawn(tmp_path, Neighbors(image_of(RED, 20), image_of(green, 20, 5), names))
    red, other = columns_of(pixels, (255, 0, 0)), columns_of(pixels, (0, 255, 0))
    assert len(other) / len(red) == pytest.approx(5, rel=0.15)
    middle = pixels.shape[1] // 2
    for half in (red < middle, other < middle), (red >= middle, other >= middle):
        assert 0 < red[half[0]].max() < other[half[1]].min()


@pytest.mark.parametrize(("samples", "nearest"), [(1, 1), (2, 2), (3, 5), (7, 1)])
def test_fewer_images(samples: int, nearest: int, tmp_path: Path) -> None:
    """Few samples, or few real images, give an image too; all samples are there."""
    pixels = drawn(tmp_path, Neighbors(image_of(RED, samples), image_of(WHITE, samples, nearest), None))
    assert (pixels == (255, 0, 0)).all(axis=2).any()


def test_the_values_over_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The image is higher where the run's table has values of an evaluation; a file of something else is told."""
    neighbors = Neighbors(image_of(RED, 4), image_of(BLACK, 4, 5), None)
    plain = drawn(tmp_path, neighbors).shape
    table = tmp_path / "metrics.csv"
    table.write_text("iteration,epoch,generator_loss\n5,0,1.5\n")
    assert drawn(tmp_path, neighbors).shape == plain
    heights = set()
    for rows in ("", "5,0,1.5,7.0,3.0,0.5,0.5\n6,0,1.4,,,,\n", "5,0,1.5,inf,3.0,,0.5\n"):
        table.write_text(TABLE + rows)
        heights.add(drawn(tmp_path, neighbors).shape[0])
    assert heights == {plain[0], max(heights)}
    assert max(heights) > plain[0]
    assert capsys.readouterr().out == ""
    table.write_text("hello\nworld\n")
    assert drawn(tmp_path, neighbors).shape == plain
    assert f"the image has no curves: {table} is not a table of metrics" in capsys.readouterr().out

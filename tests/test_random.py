"""All random numbers go on as they would have."""

import random
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from ganlib._files import load_plain, save_plain
from ganlib._random import load_random_state, random_state


def test_every_source_goes_on(tmp_path: Path) -> None:
    """Python's, NumPy's, torch's and a loader's own numbers are the same after going back, through a file too."""
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader([0], generator=generator)

    def draw() -> list[float]:
        return [
            random.random(),
            random.gauss(0, 1),
            float(np.random.normal()),
            torch.rand(1).item(),
            torch.rand(1, generator=generator).item(),
        ]

    draw()  # gauss and normal keep a second number back
    save_plain(tmp_path / "state.pt", random_state(loader))
    expected = draw()
    draw()
    load_random_state(load_plain(tmp_path / "state.pt"), loader)
    assert draw() == expected

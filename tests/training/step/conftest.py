"""What the tests of a step share."""

from collections.abc import Iterator

import pytest
import torch

from tests.training.graph_on_cpu import GraphOnCPU, capturable_on_cpu, stand_in


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphOnCPU]:
    """What trainers with ``cuda_graph=True`` are recorded by; each test draws the same random numbers."""
    recorder = stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield recorder

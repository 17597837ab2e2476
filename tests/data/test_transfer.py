"""Batches from the host, sent ahead."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from ganlib.data import TensorLoader
from ganlib.data._transfer import Transfer
from ganlib.errors import ArgumentValueError


def _loader(storage: str, device: str = "cpu", **arguments: Any) -> TensorLoader:
    numbers = torch.arange(50)
    images = (numbers % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    given = {"batch_size": 8, "drop_last": False, "transform": _noisy, "storage": storage, "device": device}
    return TensorLoader(TensorDataset(images, numbers), **given | arguments)


def _noisy(samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return samples + torch.rand(samples.shape, device=samples.device, generator=generator)


def test_rows_come_in_order_and_one_ahead() -> None:
    """Each batch holds the rows that were asked for, and the next one is on its way when a batch is given out."""
    asked: list[int] = []

    def rows() -> Any:
        for start in range(0, 6, 2):
            asked.append(start)
            yield torch.tensor([start, start + 1])

    seen = []
    for (batch,) in Transfer([torch.arange(6) * 10], torch.device("cpu"))(rows()):
        seen.append((batch.tolist(), len(asked)))
    assert seen == [([0, 10], 2), ([20, 30], 3), ([40, 50], 3)]


@pytest.mark.parametrize("taken", [0, 3, 7, 9])
def test_where_the_data_lie_makes_no_difference(taken: int) -> None:
    """A loader that keeps its data on the host gives the batches of one that does not, and goes on from its states."""

    def endless(loader: TensorLoader) -> Any:
        while True:
            yield from loader

    one, other = _loader("device"), _loader("host")
    streams = endless(one), endless(other)
    for _ in range(taken):
        next(streams[0])
        next(streams[1])
    assert one.state_dict() == other.state_dict()
    third = _loader("host", seed=9)
    with pytest.warns(UserWarning, match="seed"):
        third.load_state_dict(other.state_dict())
    for expected, actual, resumed, _ in zip(*streams, endless(third), range(9), strict=False):
        for part, own, its in zip(expected, actual, resumed, strict=True):
            assert torch.equal(part, own)
            assert torch.equal(part, its)


def test_another_storage_or_device_is_refused() -> None:
    """A word that is none is named."""
    with pytest.raises(ArgumentValueError, match=r"storage \(='disk'\)"):
        _loader("disk")
    with pytest.raises(ArgumentValueError, match=r"device \(='gpu'\) is invalid"):
        _loader("auto", "gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("storage", ["device", "host"])
def test_on_cuda_a_pass_is_the_hosts(storage: str) -> None:
    """The order and the samples are those of the CPU, without the transform, whose numbers are the device's own."""
    expected, actual = list(_loader("device", transform=None)), list(_loader(storage, "cuda", transform=None))
    for its, own in zip(expected, actual, strict=True):
        torch.testing.assert_close(own.sample.cpu(), its.sample, rtol=0, atol=1e-6)
        assert own.condition is not None
        assert its.condition is not None
        assert torch.equal(own.condition.cpu(), its.condition)


@pytest.mark.gpu
def test_drawing_from_the_host_waits_for_nothing(sync_debug_mode: Callable[[str], None]) -> None:
    """Within a pass no batch that comes from the host synchronises with the device."""
    stream = iter(_loader("host", "cuda", transform=None))
    next(stream)
    sync_debug_mode("error")
    for _ in range(4):
        next(stream)
    sync_debug_mode("default")

"""What records kernels on CUDA. On the CPU ``tests/training/graph_on_cpu.py`` stands in for it."""

import gc
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from ganlib.training._step._cuda_recorder import CudaRecorder

pytestmark = pytest.mark.gpu


def test_a_recording_reads_and_writes_where_it_was_made() -> None:
    """To record changes nothing; each replay reads what lies there now."""
    x, total = torch.ones(3, device="cuda"), torch.zeros((), device="cuda")

    def step() -> dict[str, Tensor]:
        total.add_(x.sum())
        return {"total": total * 2}

    recorder = CudaRecorder()
    assert recorder.warm_up(step)["total"].item() == 6
    metrics, replay = recorder.record(step)
    assert total.item() == 3
    x.fill_(2)
    replay()
    assert (total.item(), metrics["total"].item()) == (9, 18)


def test_after_a_recording_that_failed_all_goes_on() -> None:
    """The error is the step's own, random numbers can be drawn, and the next recording works."""
    recorder, x = CudaRecorder(), torch.ones(3, device="cuda")

    def waiting() -> dict[str, Tensor]:
        return {"x": torch.rand(3, device="cuda") * x.sum().item()}

    with pytest.raises(RuntimeError, match="capturing"):
        recorder.record(waiting)
    torch.manual_seed(0)
    first = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3, device="cuda"), first)
    metrics, replay = recorder.record(lambda: {"x": torch.rand(3, device="cuda")})
    torch.manual_seed(0)
    replay()
    assert torch.equal(metrics["x"], first)


def test_the_recording_of_an_earlier_trainer_is_not_freed_meanwhile() -> None:
    """A graph in a cycle that nobody holds any more would spoil a recording, if it were freed in the middle of it."""
    recorder, x = CudaRecorder(), torch.ones(3, device="cuda")
    cycle: list[Any] = [recorder.record(lambda: {"x": x * 2})[1]]
    cycle.append(cycle)
    held = [cycle]
    del cycle

    def step() -> dict[str, Tensor]:
        held.clear()
        made = [[number] for number in range(100_000)]  # Python looks for cycles after some hundreds of these
        return {"x": x * len(made)}

    metrics, replay = recorder.record(step)
    assert gc.isenabled()
    replay()
    assert metrics["x"].tolist() == [100_000.0] * 3


def test_waiting_is_an_error_without_a_warning() -> None:
    """Inside the context alone, and torch's remark about its debug mode is kept from the user."""
    x, recorder = torch.ones((), device="cuda"), CudaRecorder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with recorder.without_waiting(), pytest.raises(RuntimeError, match="synchronizing"):
            x.item()
        assert x.item() == 1


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two devices")
def test_a_second_device_is_recorded_there() -> None:
    """Whichever device is current, kernels of its own stream are recorded."""
    with torch.cuda.device(1):
        x = torch.ones(3, device="cuda:1")
        metrics, replay = CudaRecorder().record(lambda: {"sum": x.sum()})
        x.fill_(2)
        replay()
    assert metrics["sum"].item() == 6

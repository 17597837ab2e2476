"""Means of metrics over the iterations that had them."""

from typing import Any

import pytest
import torch

from ganlib._files import load_plain, save_plain
from ganlib.training._callbacks._means import RunningMeans


def test_the_mean_of_the_iterations_that_had_a_metric() -> None:
    """Over 10,001 values of a third the mean is that third, to the last bits of float64, in the order of coming."""
    means, third = RunningMeans(), torch.tensor(1 / 3)
    for iteration in range(10_001):
        means.add(iteration, {"b": third} | ({"a": torch.tensor(2.0)} if iteration == 5 else {}))
    assert means.read() == {"b": pytest.approx(third.item(), rel=1e-13), "a": 2.0}
    assert list(means.read()) == ["b", "a"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_any_dtype_is_summed_in_float64(dtype: torch.dtype) -> None:
    """1,024 and 1 are 512.5 in the mean, which bfloat16 does not have; what a trainer overwrites stays as it was."""
    means, value = RunningMeans(), torch.tensor(1024, dtype=dtype)
    means.add(1, {"x": value})
    value.fill_(1)
    means.add(2, {"x": value})
    value.fill_(7)
    assert means.read() == {"x": 512.5}


def test_without_an_iteration_there_is_no_mean() -> None:
    """Nothing has been added, or all has been cleared."""
    means = RunningMeans()
    assert means.read() == {}
    means.add(1, {"x": torch.tensor(1.0)})
    means.clear()
    assert means.read() == {}


@pytest.mark.parametrize("saved", range(8))
def test_saving_alters_nothing(saved: int, tmp_path: Any) -> None:
    """Saved after any addition and loaded through a file of plain values, the sums go on with the same bits."""
    values = torch.rand(8, generator=torch.Generator().manual_seed(0))
    whole, first, second = RunningMeans(), RunningMeans(), RunningMeans()
    for i, value in enumerate(values):
        whole.add(i, {"x": value})
        (first if i <= saved else second).add(i, {"x": value})
        if i == saved:
            save_plain(tmp_path / "s.pt", first.state_dict())
            second.load_state_dict(load_plain(tmp_path / "s.pt"))
    assert second.read() == whole.read()
    assert str(first.state_dict()) == str(load_plain(tmp_path / "s.pt"))


def test_sums_of_another_place_are_forgotten() -> None:
    """A run that begins where the sums end goes on with them; one that begins elsewhere does not."""
    for iteration, kept in ((3, {"x": 1.0}), (0, {}), (4, {})):
        means = RunningMeans()
        means.add(3, {"x": torch.tensor(1.0)})
        means.start(iteration)
        assert means.read() == kept


@pytest.mark.gpu
def test_adding_does_not_wait_for_the_device(sync_debug_mode: Any) -> None:
    """On CUDA no value is read before the means are, also after the sums were restored on the CPU."""
    means, value = RunningMeans(), torch.ones((), device="cuda")
    means.load_state_dict({"iteration": 1, "sums": {"x": (torch.tensor(3.0, dtype=torch.float64), 1)}})
    sync_debug_mode("error")
    means.add(2, {"x": value, "y": value})
    sync_debug_mode("default")
    assert means.read() == {"x": 2.0, "y": 1.0}

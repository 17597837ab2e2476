"""The mean of what there was, and nothing waits until it is read."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ganlib import training
from ganlib.errors import CheckpointError
from ganlib.training._means import RunningMeans


def test_the_mean_of_what_there_was() -> None:
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
            training.save_plain(tmp_path / "s.pt", first.state_dict())
            second.load_state_dict(training.load_plain(tmp_path / "s.pt"))
    assert second.read() == whole.read()
    assert first.state_dict() == training.load_plain(tmp_path / "s.pt")


def test_sums_of_another_place_are_forgotten() -> None:
    """A run that begins where the sums end goes on with them; one that begins elsewhere does not."""
    for iteration, kept in ((3, {"x": 1.0}), (0, {}), (4, {})):
        means = RunningMeans()
        means.add(3, {"x": torch.tensor(1.0)})
        means.begin(iteration)
        assert means.read() == kept


def test_adding_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No value is brought to the host as it is added, and all of them are at once as they are read."""
    reads = []
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: reads.append(self.shape) or tolist(self))
    for name in ("item", "__float__", "__bool__", "__int__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, lambda *_: pytest.fail("a wait"))
    means = RunningMeans()
    for iteration in range(5):
        means.add(iteration, {"x": torch.ones(()), "y": torch.ones(())})
    assert reads == []
    assert means.read() == {"x": 1.0, "y": 1.0}
    assert reads == [(2,)]


@pytest.mark.parametrize(
    "state",
    [
        {"iteration": 1.0, "sums": {}},
        {"iteration": torch.ones(2), "sums": {}},
        {"iteration": 1, "sums": {"x": [1.0, 0]}},
        {"iteration": 1, "sums": {"x": ["1", 1]}},
        {"iteration": 1, "sums": {2: [1.0, 1]}},
    ],
)
def test_a_state_of_something_else_is_refused(state: dict[str, Any]) -> None:
    """What is no sum and count of a name is an error, and leaves the sums as they were."""
    means = RunningMeans()
    means.add(3, {"x": torch.tensor(1.0)})
    with pytest.raises(CheckpointError, match="sums of metrics"):
        means.load_state_dict(state)
    assert means.read() == {"x": 1.0}

"""What the trainer adds to the best step by hand, in operations: unlike seconds, they are the same each time."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.speed import loops, parts
from benchmarks.speed.workloads import WORKLOADS

SMALL = {"cdcgan28": 4, "system2": 16, "system3": 4, "system4": 4}
# The score of either side's logits, the look at a batch on the host (and at its labels, once in each pass of a
# network), and smoothed targets that are made for any shape.
ADDED = {"cdcgan28": 32, "system2": 16, "system3": 24, "system4": 32}
# Views and the like, which reach no device.
FREE = ("aten.detach", "aten.view", "aten.expand", "aten.promote_types", "aten.unsqueeze", "aten.squeeze", "profiler.")


class Counting(TorchDispatchMode):
    """Counts the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and do it."""
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def counted(name: str, run: str, **settings: Any) -> Counter[str]:
    """The operations of one step: what six take more than two, divided by four."""
    runs = loops.make_runs(WORKLOADS[name].sized(batch_size=6, width=SMALL[name]), "cpu", {"ganlib": settings})
    runs[run](2)
    counts = []
    for steps in (2, 6):
        with Counting() as counting:
            runs[run](steps)
        counts.append(counting.counts)
    assert all((counts[1][op] - counts[0][op]) % 4 == 0 for op in counts[1] if not op.startswith(FREE))
    return Counter({op: (counts[1][op] - counts[0][op]) // 4 for op in counts[1] if not op.startswith(FREE)})


HEAVY = ("aten.convolution", "aten.mm", "aten.addmm", "aten.native_batch_norm", "aten._fused_adam_")


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_product_and_no_norm_is_done_in_vain(name: str) -> None:
    """The trainer's step has the matrix products, convolutions, norms and updates of the step by hand, and no other."""
    by_hand, ours = counted(name, "by hand"), counted(name, "ganlib")
    heavy = {op for op in by_hand | ours if op.startswith(HEAVY)}
    assert heavy
    assert {op: ours[op] for op in heavy} == {op: by_hand[op] for op in heavy}


@pytest.mark.parametrize("name", WORKLOADS)
def test_little_is_added_to_the_step_by_hand(name: str) -> None:
    """Beyond the step by hand there are the scores, the checks and the divergence watch; a handful of small calls."""
    by_hand, ours = counted(name, "by hand"), counted(name, "ganlib")
    assert sum(ours.values()) - sum(by_hand.values()) <= ADDED[name]


def test_one_pass_saves_a_pass() -> None:
    """With ``joint_pass`` each layer of the discriminator runs once where it ran twice."""
    separate, joint = counted("system2", "ganlib"), counted("system2", "ganlib", joint_pass=True)
    layers = 4
    assert separate["aten.addmm.default"] - joint["aten.addmm.default"] == layers


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cdcgan28", "system3", "system4"])
def test_on_cuda_the_trainer_costs_nothing_and_its_fast_settings_much_less(name: str) -> None:
    """ganlib is within 3 % of the step by hand, beyond that step's own spread, and fast at least 5 x the original."""
    bench = parts.Bench(torch.device("cuda"), rounds=9, seconds=1.0, iterations=None)
    rows = {row["run"]: row for row in parts.loops(bench, [name])}
    again = rows["by hand again"]
    assert rows["ganlib"]["time / by hand"] <= 1.03 + abs(again["time / by hand"] - 1) + again["±"]
    if name != "cdcgan28":
        assert rows["ganlib fast"]["x original"] >= 5

"""Tests of objects that are as they were after a trial."""

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib.training._kept import kept


class Remembering(nn.Module):
    """A module with all that people keep in one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("mean", None)
        self.running = torch.zeros(2)
        self.is_new, self.calls, self.pool, self.seen = True, 0, [torch.ones(2)], dict[str, Any]()
        self.numbers, self.generator = random.Random(0), torch.Generator()
        self.draws = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        """Change everything."""
        if self.is_new:
            self.scale.data.copy_(1 / x.std(0))
            self.is_new = False
        self.mean = x.mean(0)
        self.running.mul_(0.9).add_(x.mean(0))
        self.calls += 1
        self.pool[0].add_(1)
        self.pool.append(x)
        self.seen["last"] = x
        self.late = x
        noise = torch.randn(2, generator=self.generator) + self.numbers.random() + self.draws.standard_normal()
        return self.norm(x) * self.scale + noise


def flat(module: nn.Module) -> list[Any]:
    """Its state, as values to compare."""
    rest = [getattr(module, name) for name in ("is_new", "calls", "pool", "seen", "running", "mean")]
    numbers = [module.numbers.getstate(), module.generator.get_state().tolist(), module.draws.bit_generator.state]
    return [*module.state_dict().values(), *rest, *numbers, hasattr(module, "late")]


def test_a_trial_leaves_no_trace_in_a_module() -> None:
    """Not in parameters, buffers, plain tensors, numbers, lists, dicts, or random numbers; tensors stay the same."""
    module = Remembering()
    before, tensors = copy.deepcopy(flat(module)), [module.scale, module.norm.running_mean, module.running]
    with kept(module):
        module(torch.randn(4, 2))
        assert module.calls == 1
    assert repr(flat(module)) == repr(before)
    now = [module.scale, module.norm.running_mean, module.running]
    assert all(one is other for one, other in zip(now, tensors, strict=True))


def test_other_objects_and_errors() -> None:
    """An object that is no module is kept too, also where the trial fails; one without attributes is passed over."""

    class Counting:
        def __init__(self) -> None:
            self.calls, self.state = 0, torch.zeros(1)

    counting = Counting()

    def fail() -> None:
        with kept(counting, 3, len):
            counting.calls += 1
            counting.state += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (counting.calls, counting.state.item()) == (0, 0.0)

"""Callbacks with a state have names in a checkpoint."""

import torch
from torch import nn

from ganlib import training
from ganlib.training._callbacks._stateful import named_states


def test_callbacks_are_named_by_class_and_counted() -> None:
    """The first of a class has its name, the next ones a number; those without a state have no name."""
    first, second, third = (training.EMA(nn.Linear(1, 1)) for _ in range(3))
    stopping = training.EarlyStopping("loss", 1)
    named = named_states([first, training.ProgressBar(), second, stopping, third])
    assert list(named) == ["EMA", "EMA#2", "EarlyStopping", "EMA#3"]
    assert named["EarlyStopping"] is stopping
    for name, ema in (("EMA", first), ("EMA#2", second), ("EMA#3", third)):
        assert torch.equal(named[name].state_dict()["module.weight"], ema.module.weight)
        named[name].load_state_dict({**ema.state_dict(), "module.weight": torch.ones(1, 1)})
        assert ema.module.weight.item() == 1

"""Buffers keep their precision, and stay the same objects."""

import pytest
import torch
from torch import nn

from ganlib._precise_buffers import PreciseBuffers


def make() -> PreciseBuffers:
    """A module with a running mean and a count."""
    module = PreciseBuffers()
    module.register_buffer("mean", torch.tensor(1 / 3))
    module.register_buffer("count", torch.tensor(7))
    return module


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16])
def test_half_precision_leaves_buffers_alone(convert) -> None:
    """No digit is lost, also where the module is part of another one."""
    module = make()
    whole = nn.Sequential(nn.Linear(2, 2), module)
    convert(whole)
    assert whole[0].weight.dtype.itemsize == 2
    assert torch.equal(module.mean, torch.tensor(1 / 3))
    assert torch.equal(module.count, torch.tensor(7))


def test_more_precision_is_taken() -> None:
    """In double precision the buffer is, and half after it does not take that back."""
    assert make().double().mean.dtype == make().double().half().mean.dtype == torch.float64


def test_buffers_stay_the_same_objects() -> None:
    """Whoever holds a buffer writes into that of the module, after conversions too."""
    module = make()
    mean = module.mean
    module.double().half().to("cpu")
    mean.fill_(2.5)
    assert module.mean is mean
    assert module.state_dict()["mean"].item() == 2.5


@pytest.mark.gpu
def test_buffers_stay_the_same_objects_on_another_device() -> None:
    """The tensor itself moves to the device and back."""
    module = make()
    mean = module.mean
    module.cuda()
    assert module.mean is mean
    assert mean.device.type == "cuda"
    module.cpu()
    assert (module.mean is mean, mean.device.type) == (True, "cpu")


def test_a_device_without_data_is_taken_too() -> None:
    """On the meta device the buffers are others, since no tensor of the CPU can become one."""
    assert make().to("meta").mean.is_meta

"""Tests of a file and a module whose weights fit, and whose activations differ."""

import warnings

import pytest
import torch
from torch import nn

from ganlib import models, stacks, training


def _net(*activations):
    layers = [nn.Linear(4, 4), *activations[:1], nn.Linear(4, 2), *activations[1:]]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("activations", "words"),
    [
        ((nn.LeakyReLU(0.9), nn.Tanh()), "LeakyReLU.negative_slope=0.1. there and LeakyReLU.negative_slope=0.9. here"),
        ((nn.LeakyReLU(0.1), nn.Sigmoid()), r"Tanh\(\) there and Sigmoid\(\) here"),
        ((nn.GELU(), nn.Tanh()), r"there and GELU\(\) here"),
    ],
)
def test_another_activation_is_warned_of(tmp_path, activations, words):
    """There is one warning, of the first difference, and the weights are loaded."""
    saved = _net(nn.LeakyReLU(0.1), nn.Tanh())
    models.save_generator(tmp_path / "g", saved)
    module = _net(*activations)
    with pytest.warns(UserWarning, match=f"another activation.*{words}") as caught:
        models.load_generator(tmp_path / "g", module)
    assert [each.filename for each in caught] == [__file__]
    assert torch.equal(module[0].weight, saved[0].weight)


def test_activations_inside_stacks_are_compared(tmp_path):
    """A function that makes activations is compared by what it makes."""
    models.save_generator(tmp_path / "g", stacks.LinearStack((4, 8, 2), activation=lambda: nn.LeakyReLU(0.1)))
    with pytest.warns(UserWarning, match="another activation"):
        models.load_generator(tmp_path / "g", stacks.LinearStack((4, 8, 2), activation=lambda: nn.ReLU()))
    models.load_generator(tmp_path / "g", stacks.LinearStack((4, 8, 2), activation=lambda: nn.LeakyReLU(0.1)))


def test_other_differences_are_quiet(tmp_path):
    """In-place activations, dropout, momentum, wrappers, dtypes and modules without a recipe give the same outputs."""
    models.save_generator(tmp_path / "g", _net(nn.LeakyReLU(0.1), nn.Tanh()))

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            for index, layer in _net(nn.ReLU(), nn.Tanh()).named_children():
                self.add_module(index, layer)

    right = _net(nn.LeakyReLU(0.1, inplace=True), nn.Tanh())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in (right, training.EMA(right), right.double(), Own()):
            models.load_generator(tmp_path / "g", module)
        models.load_generator(tmp_path / "g", _net(nn.ReLU(), nn.Tanh()), partial=True)
        models.save_generator(tmp_path / "b", nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Tanh()))
        models.load_generator(
            tmp_path / "b", nn.Sequential(nn.BatchNorm1d(4, momentum=0.5), nn.Dropout(0.2), nn.Tanh())
        )

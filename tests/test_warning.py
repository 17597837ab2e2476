"""Tests of where warnings point."""

import warnings

import pytest
import torch
from torch import nn

from ganlib import losses, metrics, penalties
from ganlib._warning import warn_user


def test_the_line_is_the_users():
    """A warning that is found inside a module, which torch calls, is of the line that called the module."""

    class Module(nn.Module):
        def forward(self, x):
            warn_user("odd")
            return x

    with pytest.warns(UserWarning, match="odd") as caught:
        Module()(torch.ones(1))
    assert caught[0].filename == __file__


def _loss():
    logits = torch.randn(4, 1, requires_grad=True).sigmoid()
    losses.HingeLoss().discriminator(logits, logits)


def _penalty():
    critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    penalties.GradientPenalty()(critic, torch.randn(4, 2), torch.randn(4, 2))


def _range():
    images = torch.rand(16, 1, 28, 28)
    metrics.LabelAccuracy(metrics.DigitClassifier()).update(images, torch.zeros(16, dtype=torch.int64))


@pytest.mark.parametrize("call", [_loss, _penalty, _range])
def test_what_is_found_deep_inside_points_here(call):
    """Of losses, penalties and metrics it is the line of the call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert [warning.filename for warning in caught] == [__file__]

"""By what operation a tensor was made."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganlib._ending import last_operation

BOUNDED = {
    "sigmoid": [torch.sigmoid, nn.Sigmoid(), lambda x: x.clone().sigmoid_(), torch.special.expit],
    "hardsigmoid": [F.hardsigmoid, nn.Hardsigmoid()],
    "softmax": [lambda x: x.softmax(1), nn.Softmax(dim=1)],
    "clamp": [lambda x: x.clamp(0, 1), lambda x: torch.clip(x, 0.1, 0.9), nn.Hardtanh(0, 1)],
    "logsigmoid": [F.logsigmoid, nn.LogSigmoid()],
    "log_softmax": [lambda x: x.log_softmax(1)],
    "hardtanh": [F.hardtanh, nn.Hardtanh()],
    "tanh": [torch.tanh, nn.Tanh(), F.tanh],
    None: [
        lambda x: x,
        torch.relu,
        lambda x: torch.clip(x, -1, 1),
        lambda x: 2 * x.sigmoid(),
        lambda x: x.tanh() + 1,
        lambda x: x.sigmoid().log(),
    ],
}
KEEPS_RANGE = [
    lambda x: x,
    lambda x: x.view(-1),
    lambda x: x.reshape(3, 2),
    lambda x: x.T.flatten(),
    lambda x: x.unsqueeze(1).squeeze(1).squeeze(),
    lambda x: x.mean(),
    lambda x: x.mean(1, keepdim=True),
    lambda x: x[:, :1],
    lambda x: x[0],
    lambda x: x.split(1)[0],
    lambda x: x.double(),
    lambda x: x.permute(1, 0).contiguous(),
    lambda x: x.unbind()[0],
    lambda x: x[:, [0, 2]],
    lambda x: torch.cat([x, x]),
    lambda x: torch.stack([x, x]),
    lambda x: F.avg_pool1d(x, 2),
    lambda x: F.adaptive_avg_pool2d(x[None], 1),
    lambda x: F.interpolate(x[None], 4),
]


@pytest.mark.parametrize("name", BOUNDED, ids=str)
@pytest.mark.parametrize("keep", KEEPS_RANGE)
def test_the_operation_is_found_behind_all_that_keeps_the_range(name, keep):
    """However it is written, as a module, a function or in place, and whatever reshapes it afterwards."""
    x = torch.randn(2, 3, requires_grad=True)
    assert [last_operation(keep(made(x))) for made in BOUNDED[name]] == [name] * len(BOUNDED[name])


def test_under_autocast_too():
    """The copy to another precision does not hide it."""
    linear = nn.Linear(3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert last_operation(linear(torch.randn(2, 3)).sigmoid().float()) == "sigmoid"


def test_without_a_graph_nothing_is_known():
    """A tensor without a graph could have been made by anything."""
    with torch.no_grad():
        assert last_operation(torch.ones(2, requires_grad=True).sigmoid()) is None


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: 1 - x.sigmoid(), "sigmoid"),
        (lambda x: x.sigmoid().clamp(1e-6, 1 - 1e-6), "sigmoid"),
        (lambda x: 0.9 * x.sigmoid() + 0.05, "sigmoid"),
        (lambda x: (x.tanh() + 1) / 2, "tanh"),
        (lambda x: 4 * x.sigmoid() - 2, None),
        (lambda x: 10 * (x / 10).tanh(), None),
        (lambda x: x.tanh() + 1, None),
        (lambda x: x * x.sigmoid(), None),
        (lambda x: x.sigmoid() * torch.ones(3), None),
        (lambda x: x + 0.5, None),
    ],
)
def test_arithmetic_is_passed_over_where_the_range_stays_that_of_probabilities(make, name):
    """Only if asked for; logits that are bounded in another range are not probabilities."""
    assert last_operation(make(torch.randn(2, 3, requires_grad=True)), arithmetic=True) == name

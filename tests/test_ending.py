"""By what operation a tensor was made."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganlib._ending import flat_operation, last_operation, range_of

BOUNDED = {
    "sigmoid": [torch.sigmoid, nn.Sigmoid(), lambda x: x.clone().sigmoid_(), torch.special.expit],
    "hardsigmoid": [F.hardsigmoid, nn.Hardsigmoid()],
    "softmax": [lambda x: x.softmax(1), nn.Softmax(dim=1)],
    "clamp": [lambda x: x.clamp(0, 1), lambda x: torch.clip(x, 0.1, 0.9), nn.Hardtanh(0, 1), lambda x: x.clamp(-1, 1)],
    "relu": [torch.relu, nn.ReLU(), lambda x: x.clone().relu_()],
    "relu6": [F.relu6, nn.ReLU6()],
    "softplus": [F.softplus, nn.Softplus(2.0)],
    "logsigmoid": [F.logsigmoid, nn.LogSigmoid()],
    "log_softmax": [lambda x: x.log_softmax(1)],
    "hardtanh": [F.hardtanh, nn.Hardtanh()],
    "tanh": [torch.tanh, nn.Tanh(), F.tanh],
    None: [
        lambda x: x,
        nn.LeakyReLU(0.2),
        F.gelu,
        lambda x: x.clamp(torch.tensor(0.0), torch.tensor(1.0)),
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
    lambda x: torch.cat([x[:1].T, torch.stack([x[0], x[1]]).T], 1),
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


@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.cat([x[:, 1:].softmax(1), x[:, :1].tanh()], 1),
        lambda x: torch.cat([x[:, :1].tanh(), x[:, 1:].softmax(1)], 1),
        lambda x: torch.cat([x.sigmoid(), x]),
        lambda x: torch.stack([x.clamp(0, 1), x.clamp(0, 0.5)]),
        lambda x: torch.cat([x.sigmoid(), torch.full((1, 3), 9.0)]),
        lambda x: torch.cat([torch.full((1, 3), 9.0), x.sigmoid()]),
    ],
)
def test_parts_with_different_bounds_have_no_common_ending(make):
    """The samples of a table, for example, whose columns have different activations."""
    joined = make(torch.randn(2, 3, requires_grad=True))
    assert last_operation(joined) is last_operation(joined, arithmetic=True) is range_of(joined) is None


INF = float("inf")


@pytest.mark.parametrize(
    ("make", "bounds"),
    [
        (torch.tanh, (-1, 1)),
        (torch.sigmoid, (0, 1)),
        (torch.relu, (0, INF)),
        (F.softplus, (0, INF)),
        (F.relu6, (0, 6)),
        (F.hardtanh, (-1, 1)),
        (nn.Hardtanh(-3, 2), (-3, 2)),
        (lambda x: x.clamp(-1, 1), (-1, 1)),
        (lambda x: x.clamp(min=0), (0, INF)),
        (lambda x: x.clamp_max(2), (-INF, 2)),
        (F.logsigmoid, (-INF, 0)),
        (lambda x: (x.tanh() + 1) / 2, (0, 1)),
        (lambda x: 127.5 * (1 - x.tanh()), (0, 255)),
        (lambda x: 0.5 - x.sigmoid().view(-1) * 2, (-1.5, 0.5)),
        (lambda x: (2 * x.sigmoid() - 1).clamp(-0.5, 0.5), (-0.5, 0.5)),
        (lambda x: torch.cat([x.tanh(), x.tanh()]).mean(1), (-1, 1)),
    ],
)
def test_the_bounds_are_those_of_the_values(make, bounds):
    """Values of large inputs come as near to the bounds as they can."""
    found = range_of(make(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()))
    assert found.bounds == pytest.approx(bounds, abs=1e-3)
    values = make(torch.tensor([[-100.0, 100.0]] * 3, requires_grad=True)).detach()
    assert values.min() >= bounds[0] - 1e-5
    assert values.max() <= bounds[1] + 1e-5


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.tanh() / 2 + torch.rand(200, 3),  # a residual
        lambda x: x.tanh() * torch.tensor([1.0, 2.0, 3.0]),
        lambda x: x.tanh() + torch.tensor([1.0, 2.0, 3.0]),
        lambda x: x.tanh().T.flatten() / 2 + 1,
        lambda x: (0 * x).tanh() + 1,  # all are equal, so the constant is not known
        lambda x: x.tanh().add_(1),
        lambda x: x.relu() + 1,
        lambda x: x / 2 + 1,
        lambda x: x + x.tanh(),
    ],
)
def test_bounds_that_are_not_sure_are_unknown(make):
    """What is added may depend on the sample, and no constant can be told from others."""
    assert range_of(make(torch.randn(200, 3, requires_grad=True))) is None


def test_under_autocast_too():
    """The copy to another precision does not hide it."""
    torch.manual_seed(0)
    linear = nn.Linear(3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert last_operation(linear(torch.randn(2, 3)).sigmoid().float()) == "sigmoid"
        assert range_of((linear(3 * torch.randn(200, 3)).tanh() + 1) / 2).bounds == (0, 1)  # to the rounding


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
        (lambda x: 1 / (1 + torch.exp(-x)), "sigmoid"),
        (lambda x: 1 - torch.reciprocal(x.exp() + 1), "sigmoid"),
        (lambda x: 4 / (1 + torch.exp(-x)), None),
        (lambda x: 1 / (1 + x.square()), None),
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


class Round(torch.autograd.Function):
    """Round, with the gradient of a straight-through estimator."""

    @staticmethod
    def forward(ctx, x):
        """Round."""
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        """Pass the gradient on unchanged."""
        return gradient


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.round, "round"),
        (lambda x: x.round(decimals=1), "round"),
        (torch.sign, "sign"),
        (torch.floor, "floor"),
        (torch.ceil, "ceil"),
        (torch.trunc, "trunc"),
        (lambda x: x.sigmoid().bernoulli(), "bernoulli"),
        (lambda x: (255 * x).round().clamp(0, 255) / 255, "round"),
        (lambda x: torch.cat([x[:1].round(), x[1:].round()]), "round"),
        (lambda x: x + (x.round() - x).detach(), None),
        (Round.apply, None),
        (lambda x: x - x.floor(), None),
        (lambda x: x * x.sign(), None),
        (lambda x: x * torch.full_like(x, 0.5).bernoulli(), None),
        (lambda x: torch.cat([x[:1].round(), x[1:]]), None),
        (lambda x: F.gumbel_softmax(x, hard=True), None),
        (torch.tanh, None),
    ],
)
def test_an_operation_without_a_gradient_is_found_where_no_path_avoids_it(function, name):
    """It is found exactly where the gradient is 0 for all values."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, requires_grad=True)
    made = function(x)
    assert flat_operation((made * torch.randn(4, 3)).sum(), {id(x)}) == name
    (gradient,) = torch.autograd.grad((made * torch.randn(4, 3)).sum(), x)
    assert bool((gradient == 0).all()) == (name is not None)


def test_an_operation_on_a_path_to_other_leaves_is_not_found():
    """Only the paths to the given leaves count."""
    x, y = torch.randn(2, requires_grad=True), torch.randn(2, requires_grad=True)
    assert flat_operation((x + y.round()).sum(), {id(x)}) is None
    assert flat_operation((x + y.round()).sum(), {id(y)}) == "round"
    assert flat_operation(x.round().sum(), {id(y)}) is None

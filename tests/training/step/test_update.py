"""One step down the gradient of a player's own parameters."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError, ShapeError
from ganlib.training._step._update import Update
from tests.ranks import Ranks


def make_update(objective: Callable[[Any], Any], *parameters: nn.Parameter, **options: Any) -> Update:
    """The update of a player called "walker", by gradient descent with a learning rate of 0.1."""
    given = {
        "context": contextlib.nullcontext,
        "scaler": None,
        "max_grad_norm": None,
        "owners": {},
        "joined": {},
    } | options
    return Update("walker", torch.optim.SGD(parameters, lr=0.1), objective, **given)


def scalar_parameter(value: float = 1.0) -> nn.Parameter:
    """A single weight."""
    return nn.Parameter(torch.tensor(value))


def test_one_step_of_the_mean_gradient() -> None:
    """Two batches give one step along the mean of their gradients, and the mean of their metrics."""
    weight = scalar_parameter()
    update = make_update(lambda batch: ((weight * batch).sum(), {"sample": batch.sum()}), weight)
    metrics = update([torch.tensor([2.0]), torch.tensor([4.0])], retain_graph=False)
    torch.testing.assert_close(weight.detach(), torch.tensor(1.0 - 0.1 * 3.0))
    assert metrics == {"walker_loss": torch.tensor(3.0), "sample": torch.tensor(3.0)}
    assert not any(value.requires_grad for value in metrics.values())


def test_an_optimizers_own_zero_grad_is_called() -> None:
    """An optimizer that does more than torch's when gradients are dropped does so before each update."""
    dropped: list[bool] = []

    class Own(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            dropped.append(set_to_none)
            super().zero_grad(set_to_none)

    weight = scalar_parameter()
    update = Update(
        "walker",
        Own([weight], lr=0.1),
        lambda batch: 2 * weight,
        context=contextlib.nullcontext,
        scaler=None,
        max_grad_norm=None,
        owners={},
        joined={},
    )
    for _ in range(2):
        update([None], retain_graph=False)
    assert dropped == [True, True]
    assert weight.item() == pytest.approx(0.6)  # gradients were not added up


def test_an_objective_may_name_its_loss_itself() -> None:
    """Where the metrics have the player's loss already, that is the one which is given."""
    weight = scalar_parameter()
    update = make_update(lambda batch: (3 * weight, {"walker_loss": torch.tensor(7.0)}), weight)
    assert update([None], retain_graph=False) == {"walker_loss": torch.tensor(7.0)}
    assert weight.item() == pytest.approx(0.7)


def test_a_parameter_outside_the_graph_is_left_alone() -> None:
    """A parameter of the optimizer's that the loss does not use is not an error, and does not move."""
    used, unused = scalar_parameter(), scalar_parameter()
    make_update(lambda batch: used * 2, used, unused)([None], retain_graph=False)
    assert (used.item(), unused.item()) == (pytest.approx(0.8), 1.0)


def test_only_what_the_optimizer_holds_gets_a_gradient() -> None:
    """Other parameters in the graph, and frozen ones of the optimizer's, have no gradient afterwards."""
    own, other, frozen = scalar_parameter(), scalar_parameter(), scalar_parameter().requires_grad_(False)
    make_update(lambda batch: own * other * frozen, own, frozen)([None], retain_graph=False)
    assert own.grad == 1
    assert other.grad is frozen.grad is None
    assert not frozen.requires_grad


def test_two_updates_may_go_through_one_graph() -> None:
    """With ``retain_graph`` a second player can go through what was prepared for both."""
    first, second, shared = scalar_parameter(), scalar_parameter(), scalar_parameter()
    prepared = shared * 3
    make_update(lambda batch: first * batch, first)([prepared], retain_graph=True)
    make_update(lambda batch: second * batch, second, shared)([prepared], retain_graph=False)
    assert (first.grad, second.grad, shared.grad) == (3, 3, 3)


@pytest.mark.parametrize("norm", [1.0, 100.0])
def test_the_mean_gradient_is_clipped(norm: float) -> None:
    """The gradient of all batches together has at most the norm; a smaller one stays."""
    weight = nn.Parameter(torch.zeros(2))
    update = make_update(lambda batch: (weight * batch).sum(), weight, max_grad_norm=norm)
    update([torch.tensor([6.0, 0.0]), torch.tensor([0.0, 8.0])], retain_graph=False)
    expected = torch.tensor([3.0, 4.0]) * min(1.0, norm / 5)
    torch.testing.assert_close(weight.grad, expected)


def test_a_frozen_network_is_refused() -> None:
    """Where no parameter requires a gradient, the player and the optimizer are named."""
    weight = scalar_parameter().requires_grad_(False)
    with pytest.raises(ArgumentValueError, match=r"optimizer of walker \(SGD\).*frozen"):
        make_update(lambda batch: torch.zeros(()), weight)([None], retain_graph=False)


@pytest.mark.parametrize(
    ("objective", "error", "words"),
    [
        (lambda weight: 0.5, ArgumentTypeError, "objective of walker gave 0.5, a float"),
        (lambda weight: weight.expand(4, 1), ShapeError, r"objective of walker gave a tensor \(4, 1\)"),
        (lambda weight: weight.detach(), ArgumentValueError, "does not depend on any parameter"),
        (lambda weight: (weight, [weight]), ArgumentTypeError, "must be a dict of scalars"),
        (lambda weight: (weight, {"psnr": 0.5}), ArgumentTypeError, "metric psnr of walker gave 0.5"),
        (lambda weight: (weight, {"psnr": torch.zeros(2)}), ShapeError, r"metric psnr of walker gave a tensor \(2,\)"),
        (lambda weight: (weight, {"l1": weight}), ArgumentValueError, "'l1', which runner gives already"),
        (
            lambda weight: torch.zeros((), requires_grad=True) * 1,
            ArgumentValueError,
            "does not depend on any of the 1 parameters that its optimizer holds",
        ),
    ],
)
def test_what_cannot_be_descended_is_refused(
    objective: Callable[[Tensor], Any], error: type[Exception], words: str
) -> None:
    """The error names the player and what its objective gave, and the weight has not moved."""
    weight = scalar_parameter()
    update = make_update(lambda batch: objective(weight), weight, owners={"l1": "runner"})
    with pytest.raises(error, match=words):
        update([None], retain_graph=False)
    assert weight == 1


def step_over_ranks(accumulate: int) -> float:
    """Where a weight of 1 is after two steps, whose batches differ by rank and position."""
    weight = scalar_parameter()
    update = make_update(lambda batch: (weight * batch).sum(), weight)
    batches = [torch.tensor([float(rank()), float(position)]) for position in range(accumulate)]
    for _ in range(2):
        update(batches, retain_graph=False)
    return weight.item()


def test_a_batch_norm_that_gets_one_sample_is_explained() -> None:
    """The error names the player, and drop_last; an error of the user's own code is left as it is."""
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    step = make_update(lambda x: network(x).sum(), *network.parameters())
    with pytest.raises(ArgumentValueError, match="objective of walker.*batch of one.*drop_last"):
        step([torch.zeros(1, 2)], retain_graph=False)

    def own(x: Tensor) -> Tensor:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        make_update(own, *network.parameters())([torch.zeros(1, 2)], retain_graph=False)


def test_an_instance_norm_of_single_values_is_explained() -> None:
    """The error names the player and the norm."""
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True))
    step = make_update(lambda x: network(x).sum(), *network.parameters())
    with pytest.raises(ArgumentValueError, match="instance norm in the objective of walker.*one value per channel"):
        step([torch.zeros(5, 2, 3, 3)], retain_graph=False)


def test_a_graph_that_was_changed_in_place_is_explained() -> None:
    """It cannot be differentiated any more; nothing is trained."""
    weight = nn.Parameter(torch.ones(2))

    def objective(x: Tensor) -> Tensor:
        root = (weight * x).exp()
        total = root.sum()
        root.add_(1)
        return total

    with pytest.raises(GanlibRuntimeError, match="objective of walker.*inplace"):
        make_update(objective, weight)([torch.ones(2)], retain_graph=False)
    assert torch.equal(weight, torch.ones(2))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_ranks_step_down_the_mean_of_all_batches(accumulate: int, two_ranks: Ranks) -> None:
    """However many batches are accumulated, both ranks step down the mean gradient of the batches of both."""
    mean = 0.5 + sum(range(accumulate)) / accumulate
    assert two_ranks(step_over_ranks, accumulate) == [pytest.approx(1 - 2 * 0.1 * mean)] * 2


def step_down_other_parts(accumulate: int) -> list[float]:
    """Where two weights are, of which the first is used by the first batch of rank 0 alone."""
    first, second = scalar_parameter(), scalar_parameter()
    update = make_update(lambda batch: first * 4 if batch else second * 2, first, second)
    update([rank() == 0, *[False] * (accumulate - 1)], retain_graph=False)
    return [first.item(), second.item()]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_parameter_that_one_batch_uses_is_averaged_too(accumulate: int, two_ranks: Ranks) -> None:
    """A gradient that only an earlier batch of one rank gave reaches the other rank."""
    parts = 2 * accumulate
    expected = [1 - 0.1 * 4 / parts, 1 - 0.1 * 2 * (parts - 1) / parts]
    assert two_ranks(step_down_other_parts, accumulate) == [pytest.approx(expected)] * 2

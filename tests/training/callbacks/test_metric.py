"""Names, results and states of metrics; test_evaluate.py tests them within an evaluation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import SumMetric
from torchmetrics.image.kid import KernelInceptionDistance

from ganlib import metrics
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.training._callbacks._metric import argument_of, by_name, forget_real, kept_states, results_of


class Gives:
    """A metric with a given result."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def update(self, samples: Tensor) -> None:
        """Take samples."""

    def compute(self) -> Any:
        """Give the result."""
        return self.result

    def reset(self) -> None:
        """Begin again."""


class Features(nn.Module):
    """Features of uint8 images, as torchmetrics asks for."""

    num_features = 3

    def forward(self, images: Tensor) -> Tensor:
        """Average over the pixels."""
        return images.float().mean((2, 3))


@pytest.mark.parametrize(
    ("name", "result", "numbers"),
    [
        ("gives", torch.tensor(2), {"gives": 2.0}),
        ("gives", (1, torch.tensor([3])), {"gives": 1.0, "gives_std": 3.0}),
        ("gives", {"A": {"B": 1, "C": (2, 3)}}, {"a_b": 1.0, "a_c": 2.0, "a_c_std": 3.0}),
        ("test", {"FID2048": 1}, {"test_fid2048": 1.0}),
        ("test_gives", {"x": 1}, {"test_x": 1.0}),
    ],
)
def test_results_are_numbers_by_name(name: str, result: Any, numbers: dict[str, float]) -> None:
    """A pair has a deviation, a dict its own names within each other, with the user's name in front."""
    assert dict(results_of(name, Gives(result))) == numbers


@pytest.mark.parametrize("result", [None, "high", torch.ones(2), (1, 2, 3), {"a": [torch.ones(3), 1]}])
def test_other_results_are_refused(result: Any) -> None:
    """The error is ganlib's, and names the metric."""
    with pytest.raises(ArgumentTypeError, match=r"compute of (gives|a) gave"):
        list(results_of("gives", Gives(result)))


def test_a_name_is_used_once() -> None:
    """Metrics of one class need names; the metric of a name is the one given."""
    one, other = Gives(1), Gives(2)
    assert by_name({"one": one, "other": other}) == {"one": one, "other": other}
    for given in ([one, other], {"Gives": one, "gives": other}):
        with pytest.raises(ArgumentValueError, match="two metrics are called 'gives'"):
            by_name(given)


def test_what_update_takes() -> None:
    """It is found by the names and the number of its arguments."""
    assert argument_of(metrics.FrechetDistance(lambda samples: samples)) == "real"
    assert argument_of(metrics.LabelAccuracy(lambda samples: samples)) == "condition"
    assert argument_of(Gives(0)) == argument_of(SumMetric()) == ""


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
@pytest.mark.parametrize("keeps", [True, False])
def test_real_samples_are_forgotten_and_other_states_kept(keeps: bool) -> None:
    """A trial leaves a metric with the states from before, also one that keeps real samples over ``reset``."""
    images = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = KernelInceptionDistance(Features(), subset_size=4, reset_real_features=keeps)
    ours = metrics.Memorization(lambda samples: samples.flatten(1).float())
    ours.add_training(images)
    for metric in (theirs, ours):
        before = kept_states(metric)
        metric.update(images, real=True)
        forget_real(metric, before)
        after = kept_states(metric)
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert len(value) == len(after[name]) if isinstance(value, list) else torch.equal(value, after[name])

"""Transforms of torchvision that clamp samples in another range to [0, 1]."""

import warnings

import pytest
import torch

from ganlib import data, penalties
from ganlib._clamping import clamping_parts, warn_of_clamping, watching

v1 = pytest.importorskip("torchvision.transforms")
v2 = pytest.importorskip("torchvision.transforms.v2")

SAMPLES = 2 * torch.rand(8, 3, 6, 6) - 1
JITTER = v2.ColorJitter(0.5)


def _found(function, samples=SAMPLES):
    with watching(clamping_parts(function)) as found:
        function(samples)
    return [name for name, _, _ in found]


@pytest.mark.parametrize(
    "function",
    [
        JITTER,
        v1.ColorJitter(0.5),
        v2.RandomAutocontrast(1.0),
        v2.Compose([v2.RandomHorizontalFlip(), v2.RandomApply([JITTER], p=1.0)]),
        v1.Compose([v1.RandomHorizontalFlip(), v1.ColorJitter(0.5)]),
        lambda x: torch.stack([JITTER(each) for each in x]),
        lambda x: JITTER((x, torch.zeros(8)))[0],
    ],
)
def test_a_transform_that_clamps_is_found_where_it_clamps(function):
    """It is found for samples in [-1, 1], and not for those in [0, 1]."""
    assert len(set(_found(function))) == 1
    assert not _found(function, (SAMPLES + 1) / 2)


@pytest.mark.parametrize(
    "function",
    [
        v2.RandomHorizontalFlip(1.0),
        v2.RandomCrop(4),
        v2.GaussianBlur(3),
        v2.GaussianNoise(clip=False),
        v2.RandomErasing(1.0),
        v2.Normalize([0.5], [0.5]),
        lambda x: 2 * JITTER((x + 1) / 2) - 1,
        torch.neg,
    ],
)
def test_others_are_not_found(function):
    """Flips, crops, blurs and erasing keep the range, and a function may scale the samples for a transform."""
    assert not _found(function)


def test_the_warning_names_the_transform_and_the_values():
    """It says what to do, and there is one."""
    with pytest.warns(UserWarning, match=r"augment contains torchvision's ColorJitter.* from -1 to 1: .* / 2\) - 1"):
        warn_of_clamping("augment", [("ColorJitter", -1.0, 1.0), ("ColorJitter", -1.0, 1.0)])


def test_a_mapped_loader_and_a_penalty_warn_once():
    """They look at their first batches, and give the same values as without a warning."""
    loader = data.TensorLoader(torch.utils.data.TensorDataset(SAMPLES), batch_size=2)
    mapped = data.map_loader(loader, JITTER)
    penalty = penalties.Consistency(JITTER)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = [batch.sample for _ in range(2) for batch in mapped]
        for _ in range(2):
            penalty(lambda x: x.flatten(1).sum(1), SAMPLES, SAMPLES)
    assert [str(each.message).split(" contains")[0] for each in caught] == [f"function (={JITTER})", "augment"]
    assert len(made) == 8
    assert min(sample.min() for sample in made) >= 0


def test_a_right_range_is_not_warned_of():
    """Samples in [0, 1] and functions that scale are right."""
    loader = data.TensorLoader(torch.utils.data.TensorDataset((SAMPLES + 1) / 2), batch_size=2)
    assert len([*data.map_loader(loader, JITTER)]) == 4
    penalties.Consistency(lambda x: 2 * JITTER((x + 1) / 2) - 1)(lambda x: x.flatten(1).sum(1), SAMPLES, SAMPLES)

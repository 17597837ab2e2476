"""Tests of the minibatch standard deviation."""

from math import prod, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib import distributed
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import MinibatchStdDev
from tests import strategies
from tests.ranks import Ranks


def _by_loops(x, group, channels):
    """The definition, number by number."""
    n, c = x.shape[:2]
    flat = x.reshape(n, c, -1).tolist()
    share, places = c // channels, prod(x.shape[2:])
    values = torch.zeros(n, channels, dtype=torch.float64)
    for i in range(n):
        members = [j for j in range(n) if j % (n // group) == i % (n // group)]
        for k in range(channels):
            deviations = []
            for f in range(k * share, (k + 1) * share):
                for p in range(places):
                    column = [flat[j][f][p] for j in members]
                    mean = sum(column) / group
                    deviations.append(sqrt(sum((v - mean) ** 2 for v in column) / group + 1e-8))
            values[i, k] = sum(deviations) / len(deviations)
    return values


@given(st.data())
def test_it_is_its_definition(data):
    """It appends what loops over groups, features and places give, and keeps x, in zero to three dimensions."""
    n, share, channels = (data.draw(st.integers(1, limit)) for limit in (8, 3, 3))
    spatial = data.draw(st.lists(st.integers(1, 3), max_size=3))
    x = data.draw(strategies.normals((n, share * channels, *spatial), torch.float64))
    size = data.draw(st.integers(1, 9))
    group = max(g for g in range(1, size + 1) if n % g == 0)

    y = MinibatchStdDev(size, channels)(x)

    expected = _by_loops(x, group, channels).view(n, channels, *[1] * len(spatial)).expand(-1, -1, *spatial)
    assert torch.equal(x, y[:, : share * channels])
    assert torch.allclose(expected, y[:, share * channels :])


def test_equal_samples_are_told_from_different_ones():
    """The appended map is almost 0 where all samples are equal, and 1 where half of them are 1 and half -1."""
    equal, signs = torch.ones(4, 3, 2, 2), torch.tensor([1.0, -1, 1, -1]).view(4, 1, 1, 1).expand(4, 3, 2, 2)

    assert torch.allclose(torch.full((4, 2, 2), 1e-4), MinibatchStdDev()(equal)[:, 3])
    assert torch.allclose(torch.ones(4, 2, 2), MinibatchStdDev()(signs)[:, 3])


@pytest.mark.parametrize(("n", "group"), [(8, 4), (6, 3), (9, 3), (10, 2), (7, 1), (3, 3), (1, 1)])
def test_groups_are_as_large_as_divides_the_batch(n, group):
    """A sample's map depends on just as many samples as the largest divisor of N that is at most group_size."""
    x = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)

    (gradient,) = torch.autograd.grad(MinibatchStdDev(4)(x)[0, -1].sum(), x)

    # A single sample is its own mean, so that nothing moves its deviation of 0.
    assert (group if group > 1 else 0) == int((gradient.abs().flatten(1).sum(1) > 1e-9).sum())


def test_it_is_the_same_in_training_and_in_evaluation():
    """Nothing is random and nothing is remembered."""
    norm, x = MinibatchStdDev(), torch.randn(4, 2, 3, 3)

    assert torch.equal(norm(x), norm.eval()(x))
    assert not norm.state_dict()


def test_derivatives_are_finite_where_all_samples_agree():
    """At deviation 0 the first derivative is 0 and the second finite, so that gradient penalties stay finite."""
    x = torch.ones(4, 2, 3, dtype=torch.float64, requires_grad=True)

    (first,) = torch.autograd.grad(MinibatchStdDev()(x)[:, -1].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[0].sum() + first.square().sum(), x)

    assert torch.equal(torch.zeros_like(first), first)
    assert second.isfinite().all()
    assert second.abs().max() > 1


def test_derivatives_are_right_to_the_second_order():
    """Gradients and their gradients agree with finite differences."""
    torch.manual_seed(0)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(MinibatchStdDev(2, 2), x)
    assert torch.autograd.gradgradcheck(MinibatchStdDev(2, 2), x)


def test_half_precision_does_not_overflow():
    """Numbers whose squares float16 cannot hold have their deviation, and the dtype stays."""
    x = torch.tensor([1000.0, -1000.0], dtype=torch.float16).view(2, 1).expand(2, 3)

    assert torch.equal(torch.full((2,), 1000.0, dtype=torch.float16), MinibatchStdDev()(x)[:, 3])


@pytest.mark.parametrize("name", ["group_size", "channels"])
def test_bad_arguments_are_refused(name):
    """A size below 1 is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        MinibatchStdDev(**{name: 0})
    assert f"{name} (=0) must be a whole number of at least 1" == str(caught.value)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(4, 3, 2), (4,), (4, 0)])
def test_channels_that_cannot_be_split_are_refused(shape):
    """Channels that are not divisible, or missing, are refused with the shape and the argument."""
    with pytest.raises(ShapeError, match=r"C divisible by channels \(=2\)") as caught:
        MinibatchStdDev(channels=2)(torch.zeros(shape))
    assert f"x {shape}" in str(caught.value)


def _share(x, world_size):
    """What a process makes of its part of the batch."""
    return MinibatchStdDev(4)(x.chunk(world_size)[distributed.rank()])


def test_over_several_processes_groups_lie_within_one(two_ranks: Ranks):
    """Each of two processes has what one has with its part alone, which is other than with the whole batch.

    The whole batch's it is where samples are dealt out group by group: sample i of rank r's n is then in group
    i mod (n / G) of the rank's own, and those groups are the whole batch's, one rank's after the other's.
    """
    x = torch.randn(16, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = MinibatchStdDev(4)(x)
    # Of the whole batch, group m is m, m + 4, m + 8, m + 12; rank 0 is dealt groups 0 and 1, rank 1 groups 2 and 3.
    dealt = torch.arange(16).view(4, 2, 2).transpose(0, 1).flatten()

    in_order = torch.cat(two_ranks(_share, x, 2))
    by_group = torch.cat(two_ranks(_share, x[dealt], 2))

    assert torch.equal(torch.cat([MinibatchStdDev(4)(part) for part in x.chunk(2)]), in_order)
    assert (in_order - whole).abs().max() > 0.1
    assert torch.allclose(whole[dealt], by_group, rtol=0, atol=1e-12)

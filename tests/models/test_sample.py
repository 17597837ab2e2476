"""Tests of drawing samples."""

import pytest
import torch
from torch import nn

from ganlib import latents, models, stacks
from ganlib.errors import GanlibError

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])


def _conditional():
    return models.conditional_dcgan(PLAN, 4, 3)[0]


@pytest.mark.parametrize("batch_norm", ["running", "sample"])
def test_latents_and_a_distribution_with_the_same_numbers_draw_alike(batch_norm):
    """A distribution is asked for n latents from the random numbers that are given."""
    generator, labels = _conditional(), torch.tensor([0, 1, 2, 2, 1])
    drawn = latents.Gaussian(4)(5, generator=torch.Generator().manual_seed(1))
    expected = models.sample(generator, drawn, condition=labels, batch_norm=batch_norm)
    random = torch.Generator().manual_seed(1)
    actual = models.sample(
        generator, latents.Gaussian(4), condition=labels, batch_norm=batch_norm, batch_size=2, random=random
    )
    assert expected.shape == (5, 1, 8, 8)
    torch.testing.assert_close(actual, expected)


def test_the_two_ways_differ_and_are_repeatable():
    """Running averages and a sample's own statistics give other samples, each the same twice."""
    generator, drawn = models.dcgan(PLAN, 4)[0], torch.randn(3, 4)
    running, own = (models.sample(generator, drawn, 3, batch_norm=way) for way in ("running", "sample"))
    assert not torch.allclose(running, own, atol=1e-3)
    assert torch.equal(own, models.sample(generator, drawn, batch_norm="sample"))


def test_a_generator_in_half_precision_is_given_its_own_dtype():
    """Latents come as the generator's weights are."""
    assert models.sample(nn.Linear(4, 2).to(torch.bfloat16), latents.Gaussian(4), 2).dtype == torch.bfloat16


@pytest.mark.parametrize("n", [None, 5])
def test_conditions_may_be_nests(n):
    """A dict of tensors is counted, split and reaches the generator as it is, tuples in it included."""

    class Sums(nn.Module):
        def forward(self, latent, condition):
            return latent + condition["a"] + condition["b"][0][:, None]

    drawn, a, b = torch.randn(5, 4), torch.randn(5, 4), torch.arange(5)
    actual = models.sample(Sums(), drawn, n, condition={"a": a, "b": (b,)}, batch_size=2)
    assert torch.equal(actual, drawn + a + b[:, None])


@pytest.mark.parametrize(
    ("arguments", "options", "builtin", "message"),
    [
        ((latents.Gaussian(4),), {}, ValueError, r"n \(=None\)"),
        ((latents.Gaussian(4), 0), {}, ValueError, r"n \(=0\)"),
        ((latents.Gaussian(4), 2), {"batch_size": 0}, ValueError, r"batch_size \(=0\)"),
        ((latents.Gaussian(4), 2), {"batch_norm": "batch"}, ValueError, r"batch_norm \(='batch'\)"),
        ((latents.Gaussian(4), 2), {"condition": torch.tensor([1])}, ValueError, r"condition \(1,\).*n \(=2\)"),
        ((torch.randn(3, 4), 2), {}, ValueError, r"latent \(3, 4\).*n \(=2\)"),
        ((latents.Gaussian(4),), {"condition": [1, 2]}, TypeError, r"condition \(=\[1, 2\]\)"),
        ((latents.Gaussian(4),), {"condition": (torch.ones(2), torch.ones(3))}, ValueError, r"condition \(3,\)"),
        ((latents.Gaussian(4),), {"condition": torch.tensor(1)}, ValueError, r"condition \(\) must have one entry"),
        ((latents.Gaussian, 2), {}, TypeError, r"latent \(=<class"),
        ((100, 2), {}, TypeError, r"latent \(=100\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, builtin, message):
    """Each wrong argument is an error of ours that names it with its value."""
    with pytest.raises(builtin, match=message) as caught:
        models.sample(_conditional(), *arguments, **options)
    assert isinstance(caught.value, GanlibError)


def test_what_is_not_a_module_is_refused():
    """A function in place of a generator is named."""
    with pytest.raises(TypeError, match=r"generator \(=<function") as caught:
        models.sample(lambda z: z, latents.Gaussian(4), 1)
    assert isinstance(caught.value, GanlibError)

"""Tests of drawing samples."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import distributed, latents, models, stacks
from ganlib.errors import GanlibError
from ganlib.protocols import Batch
from tests.ranks import Ranks

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])


class Same(nn.Module):
    """A generator whose samples are its latents, whatever the condition."""

    def forward(self, latent: Tensor, condition: Any = None) -> Tensor:
        """The latent."""
        return latent


def _conditional() -> nn.Module:
    return models.conditional_dcgan(PLAN, 4, 3)[0]


def _labels(n: int) -> Tensor:
    return torch.randint(3, (n,))


def _all(*arguments: Any, **options: Any) -> Any:
    """All batches joined; conditions are one tensor or None."""
    samples, conditions = zip(*models.sample(*arguments, **options), strict=True)
    return Batch(torch.cat(samples), None if conditions[0] is None else torch.cat(conditions))


@pytest.mark.parametrize("batch_norm", ["running", "sample"])
def test_latents_and_a_distribution_with_the_same_numbers_draw_alike(batch_norm: Any) -> None:
    """A seed is that of a generator on the CPU, which a distribution draws n latents from."""
    generator, labels = _conditional(), torch.tensor([0, 1, 2, 2, 1])
    drawn = latents.Gaussian(4)(5, generator=torch.Generator().manual_seed(2**64 - 1))
    expected = _all(generator, drawn, condition=labels, batch_norm=batch_norm)
    actual = _all(generator, latents.Gaussian(4), condition=labels, batch_norm=batch_norm, batch_size=2, seed=2**64 - 1)
    assert expected.sample.shape == (5, 1, 8, 8)
    torch.testing.assert_close(actual.sample, expected.sample)
    assert torch.equal(actual.condition, labels)


def test_a_batch_holds_so_many_samples_with_their_conditions() -> None:
    """Each has ``batch_size`` of them, the last one the rest; without conditions it has None."""
    generator, labels = _conditional(), torch.arange(7) % 3
    batches: list[Any] = list(models.sample(generator, torch.randn(7, 4), condition=labels, batch_size=3))
    assert all(isinstance(batch, Batch) for batch in batches)
    assert [batch.sample.shape for batch in batches] == [(3, 1, 8, 8), (3, 1, 8, 8), (1, 1, 8, 8)]
    assert [batch.condition.tolist() for batch in batches] == [[0, 1, 2], [0, 1, 2], [0]]
    assert [batch.condition for batch in models.sample(Same(), torch.randn(3, 4), batch_size=2)] == [None, None]


def test_no_latents_are_a_batch_of_no_samples() -> None:
    """What joins the batches needs no case of its own for tensors without entries."""
    batch: Any
    (batch,) = models.sample(_conditional(), torch.zeros(0, 4), condition=torch.zeros(0, dtype=torch.int64))
    assert (batch.sample.shape, batch.condition.shape) == ((0, 1, 8, 8), (0,))


def test_the_generator_has_its_own_modes_between_two_batches() -> None:
    """Batches have the weights of their moment; in between, and where the rest is never drawn, it is as it was."""
    generator = models.dcgan(PLAN, 4)[0]
    next(iter(generator.children())).eval()
    modes = [module.training for module in generator.modules()]
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    drawn = torch.randn(1, 4).expand(3, 4)
    batches = models.sample(generator, drawn, batch_size=1)
    assert [module.training for module in generator.modules()] == modes
    first, second = next(batches), next(batches)
    assert [module.training for module in generator.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in generator.state_dict().items())
    assert torch.equal(first.sample, second.sample)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2)
    assert not torch.allclose(first.sample, next(batches).sample)
    del batches
    assert [module.training for module in generator.modules()] == modes


def test_a_seed_gives_the_same_latents_for_every_batch_size() -> None:
    """Bit for bit, and other ones for another seed; conditions that a function draws too."""
    for options in ({}, {"truncation": 0.5}):
        expected = _all(Same(), latents.Gaussian(3), 50, condition=_labels, seed=1, **options)
        for batch_size in (1, 7, 50, 1000):
            torch.manual_seed(batch_size)
            actual = _all(Same(), latents.Gaussian(3), 50, condition=_labels, seed=1, batch_size=batch_size, **options)
            assert torch.equal(actual.sample, expected.sample)
            assert torch.equal(actual.condition, expected.condition)
        other = _all(Same(), latents.Gaussian(3), 50, condition=_labels, seed=2, **options)
        assert not torch.isclose(other.sample, expected.sample).any()
        assert not torch.equal(other.condition, expected.condition)


def test_a_seed_leaves_the_global_random_numbers_alone() -> None:
    """They go on as if nothing had been drawn, also where a function of conditions fails."""

    def fail(n: int) -> Tensor:
        torch.rand(n)
        raise KeyError

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    _all(Same(), latents.Gaussian(3), 5, condition=_labels, seed=1, truncation=1.0)
    with pytest.raises(KeyError):
        models.sample(Same(), latents.Gaussian(3), 5, condition=fail, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_without_a_seed_they_are_torchs_random_numbers() -> None:
    """Two calls differ, and the global seed repeats them."""
    torch.manual_seed(0)
    first, second = (_all(Same(), latents.Gaussian(3), 5, condition=_labels, batch_size=2) for _ in range(2))
    torch.manual_seed(0)
    again = _all(Same(), latents.Gaussian(3), 5, condition=_labels)
    assert not torch.isclose(first.sample, second.sample).any()
    assert torch.equal(first.sample, again.sample)
    assert torch.equal(first.condition, again.condition)


def test_conditions_of_a_function_are_independent_of_the_latents() -> None:
    """With a seed, random numbers that it draws as the distribution does are other ones."""
    batch = _all(Same(), latents.Gaussian(2), 1000, condition=lambda n: torch.randn(n, 2), seed=0)
    both = torch.cat([batch.sample, batch.condition], dim=1)
    correlation = torch.corrcoef(both.T) - torch.eye(4)
    assert correlation.abs().max() < 5 / math.sqrt(1000)


def test_a_function_is_asked_for_as_many_conditions_as_there_are_latents() -> None:
    """A number of samples is given, or is that of the latents; a nest is given to the generator in batches."""

    class Sums(nn.Module):
        def forward(self, latent: Tensor, condition: Any) -> Tensor:
            return latent + condition["a"]

    drawn = torch.randn(5, 2)
    conditions: Any = lambda n: {"a": torch.full((n, 1), n)}  # noqa: E731
    batches: list[Any] = list(models.sample(Sums(), drawn, condition=conditions, batch_size=2))
    torch.testing.assert_close(torch.cat([batch.sample for batch in batches]), drawn + 5)
    assert [batch.condition["a"].shape for batch in batches] == [(2, 1), (2, 1), (1, 1)]
    assert len(_all(_conditional(), latents.Gaussian(4), 6, condition=_labels).sample) == 6


def test_truncation_gives_the_truncated_normal_distribution() -> None:
    r"""Moments are those of TruncatedGaussian: the variance is :math:`1 - 2 t \varphi(t) / (2 \Phi(t) - 1)`."""
    n = 200_000
    for t in (0.1, 0.7, 2.0):
        drawn = _all(Same(), latents.Gaussian(1), n, seed=0, truncation=t, batch_size=n).sample.double()
        inside = math.erf(t / math.sqrt(2))
        density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
        variance = 1 - 2 * t * density / inside
        fourth = 3 - 2 * (t**3 + 3 * t) * density / inside
        assert drawn.abs().max() <= t
        assert abs(drawn.mean().item()) < 5 * math.sqrt(variance / n)
        assert abs(drawn.square().mean().item() - variance) < 5 * math.sqrt((fourth - variance**2) / n)
        other = latents.TruncatedGaussian(1, t)(n, generator=torch.Generator().manual_seed(1)).double()
        levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
        # Five standard deviations of a share, which is at most a half.
        shares = [(x <= other.quantile(levels)).double().mean(0) for x in (drawn, other)]
        assert (shares[0] - shares[1]).abs().max() < 5 * math.sqrt(0.5 / n)


def test_truncation_draws_each_coordinate_from_its_own_distribution() -> None:
    """Values stay in their column, and those that were small enough at first stay as they are."""
    mixture = latents.GaussianMixture([[0.0, 2.0, -2.0]], std=0.5)
    free, held = (_all(Same(), mixture, 500, seed=3, truncation=t).sample for t in (None, 2.0))
    small = free.abs() <= 2
    assert torch.equal(free[small], held[small])
    assert 0 < small.double().mean() < 1
    assert held.abs().max() <= 2
    assert (held[:, 1] > 0).all()
    assert (held[:, 2] < 0).all()


def test_a_truncation_above_all_values_changes_nothing() -> None:
    """The latents are those without it."""
    free, held = (_all(Same(), latents.Uniform(3), 50, seed=3, truncation=t).sample for t in (None, 1))
    assert torch.equal(free, held)


def test_a_truncation_below_all_values_is_named() -> None:
    """It ends, at the call, with an error of ours that names the truncation and the distribution."""
    with pytest.raises(ValueError, match=r"truncation \(=0\.5\) must be larger for latent \(=Uniform\(") as caught:
        models.sample(Same(), latents.Uniform(2, 1.5, 2), 2, truncation=0.5)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.gpu
def test_a_seed_gives_the_same_latents_on_cuda() -> None:
    """Latents and conditions are those of the CPU, bit for bit, on the device; its random numbers are left alone."""
    on_cpu = _all(Same(), latents.Gaussian(3), 5, condition=_labels, seed=1, truncation=1.0)
    before = torch.cuda.get_rng_state_all()
    generator = Same()
    generator.register_buffer("anchor", torch.zeros(1, device="cuda"))
    batch = _all(generator, latents.Gaussian(3), 5, condition=_labels, seed=1, truncation=1.0)
    assert (batch.sample.device.type, batch.condition.device.type) == ("cuda", "cuda")
    assert torch.equal(batch.sample.cpu(), on_cpu.sample)
    assert torch.equal(batch.condition.cpu(), on_cpu.condition)

    def on_cuda(n: int) -> Tensor:
        return torch.randn(n, 2, device="cuda")

    one, two = (_all(generator, latents.Gaussian(3), 5, condition=on_cuda, seed=seed) for seed in (1, 1))
    assert torch.equal(one.condition, two.condition)
    assert all(torch.equal(*pair) for pair in zip(before, torch.cuda.get_rng_state_all(), strict=True))
    assert next(models.sample(generator, latents.Gaussian(3), 5, truncation=1.0)).sample.device.type == "cuda"


def _of_this_rank(seed: int) -> tuple[int, Tensor, Tensor]:
    """The rank, and what it draws."""
    batch = _all(Same(), latents.Gaussian(3), 20, condition=_labels, seed=seed)
    assert isinstance(batch.condition, Tensor)
    return distributed.rank(), batch.sample, batch.condition


def test_each_process_draws_its_own(three_ranks: Ranks) -> None:
    """The first draws what a single process does; no rank draws what another rank does with this or the next seeds."""
    drawn = [result for seed in range(3) for result in three_ranks(_of_this_rank, seed)]
    for one, two in itertools.combinations(drawn, 2):
        assert not torch.isclose(one[1], two[1]).any()
        assert not torch.equal(one[2], two[2])
    for seed in range(3):
        for first, alone in zip(drawn[3 * seed], _of_this_rank(seed), strict=True):
            assert torch.equal(torch.as_tensor(first), torch.as_tensor(alone))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(drawn, three_ranks(_of_this_rank, 0), strict=False))


def test_the_two_ways_differ_and_are_repeatable() -> None:
    """Running averages and a sample's own statistics give other samples, each the same twice."""
    generator, drawn = models.dcgan(PLAN, 4)[0], torch.randn(3, 4)
    ways: list[Any] = ["running", "sample"]
    running, own = (_all(generator, drawn, 3, batch_norm=way).sample for way in ways)
    assert not torch.allclose(running, own, atol=1e-3)
    assert torch.equal(own, _all(generator, drawn, batch_norm="sample", batch_size=2).sample)


def test_a_generator_in_half_precision_is_given_its_own_dtype() -> None:
    """Latents come as the generator's weights are."""
    batch = next(models.sample(nn.Linear(4, 2).to(torch.bfloat16), latents.Gaussian(4), 2))
    assert batch.sample.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_conditions_are_given_in_the_generators_precision(dtype: torch.dtype) -> None:
    """Vectors and maps are, as latents are, and indices stay; the batch has the conditions that were given."""

    class Sums(nn.Linear):
        def forward(self, latent: Tensor, condition: Any = None) -> Tensor:
            assert condition["index"].dtype == torch.int64
            return super().forward(latent) + super().forward(condition["vector"])

    condition: Any = {"vector": torch.randn(3, 4), "index": torch.arange(3)}
    (batch,) = models.sample(Sums(4, 2).to(dtype), torch.randn(3, 4), condition=condition)
    assert batch.sample.dtype == dtype
    given: Any = batch.condition
    assert torch.equal(given["vector"], condition["vector"])


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    """As the number of samples, the size of a batch and the seed."""
    batches = list(models.sample(Same(), latents.Gaussian(3), np.int64(5), batch_size=np.int64(2), seed=np.int64(7)))  # type: ignore[arg-type]
    assert [len(batch.sample) for batch in batches] == [2, 2, 1]
    expected = _all(Same(), latents.Gaussian(3), 5, batch_size=2, seed=7)
    assert torch.equal(torch.cat([batch.sample for batch in batches]), expected.sample)


@pytest.mark.parametrize("n", [None, 5])
def test_conditions_may_be_nests(n: int | None) -> None:
    """A dict of tensors is counted, split and reaches the generator as it is, tuples in it included."""

    class Sums(nn.Module):
        def forward(self, latent: Tensor, condition: Any) -> Tensor:
            return latent + condition["a"] + condition["b"][0][:, None]

    drawn, a, b = torch.randn(5, 4), torch.randn(5, 4), torch.arange(5)
    batches = models.sample(Sums(), drawn, n, condition={"a": a, "b": (b,)}, batch_size=2)
    assert torch.equal(torch.cat([batch.sample for batch in batches]), drawn + a + b[:, None])


def test_with_generator_and_latent_it_is_a_sampler() -> None:
    """``partial(sample, generator, latent)`` takes the number of samples, and draws others at each call."""
    sampler = partial(models.sample, models.dcgan(PLAN, 4)[0], latents.Gaussian(4), batch_size=4)
    first, second = (torch.cat([batch.sample for batch in sampler(6)]) for _ in range(2))
    assert first.shape == (6, 1, 8, 8)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("arguments", "options", "builtin", "message"),
    [
        ((latents.Gaussian(4),), {}, ValueError, r"n \(=None\)"),
        ((latents.Gaussian(4), 0), {}, ValueError, r"n \(=0\)"),
        ((latents.Gaussian(4), 2), {"batch_size": 0}, ValueError, r"batch_size \(=0\)"),
        ((latents.Gaussian(4), 2), {"batch_norm": "batch"}, ValueError, r"batch_norm \(='batch'\)"),
        ((latents.Gaussian(4), 2), {"condition": torch.tensor([1])}, ValueError, r"condition \(1,\).*n \(=2\)"),
        ((torch.randn(3, 4), 2), {}, ValueError, r"latent \(3, 4\).*n \(=2\)"),
        ((torch.randn(3, 4),), {"condition": torch.tensor([1])}, ValueError, r"latent \(3, 4\).*n \(=1\)"),
        ((lambda n, **options: torch.randn(3, 4), 2), {"truncation": 1}, ValueError, r"latent \(3, 4\).*n \(=2\)"),
        ((lambda n, **options: [0.0] * n, 2), {"truncation": 1}, TypeError, r"latent \(=\[0\.0, 0\.0\]\)"),
        ((latents.Gaussian(4),), {"condition": [1, 2]}, TypeError, r"condition \(=\[1, 2\]\)"),
        ((latents.Gaussian(4),), {"condition": (torch.ones(2), torch.ones(3))}, ValueError, r"condition \(3,\)"),
        ((latents.Gaussian(4),), {"condition": torch.tensor(1)}, ValueError, r"condition \(\) must have one entry"),
        ((latents.Gaussian(4),), {"condition": _labels}, ValueError, r"n \(=None\)"),
        ((latents.Gaussian(4), 2), {"condition": lambda n: _labels(3)}, ValueError, r"condition \(3,\).*n \(=2\)"),
        ((latents.Gaussian(4), 2), {"condition": lambda n: None}, TypeError, r"condition \(=None\) must be a tensor"),
        ((latents.Gaussian(4), 2), {"condition": lambda n: [1] * n}, TypeError, r"condition \(=\[1, 1\]\)"),
        ((latents.Gaussian(4), 2), {"condition": dict}, TypeError, r"condition \(=<class 'dict'>\)"),
        ((latents.Gaussian, 2), {}, TypeError, r"latent \(=<class"),
        ((100, 2), {}, TypeError, r"latent \(=100\)"),
        *(
            ((latents.Gaussian(4), 2), {"seed": seed}, ValueError, rf"seed \(={seed}\) must be a whole number from 0")
            for seed in (-1, 2**64, True, 1.0)
        ),
        ((latents.Gaussian(4), 2), {"seed": torch.Generator()}, ValueError, r"seed \(=<torch"),
        *(
            ((latents.Gaussian(4), 2), {"truncation": value}, ValueError, rf"truncation \(={value!r}\)")
            for value in (0, -0.5, math.nan, math.inf, "1")
        ),
        ((torch.randn(2, 4),), {"truncation": 0.5}, ValueError, r"truncation \(=0\.5\) must be None.*latent"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, options: Any, builtin: type[Exception], message: str) -> None:
    """Each wrong argument is, at the call, an error of ours that names it with its value."""
    with pytest.raises(builtin, match=message) as caught:
        models.sample(_conditional(), *arguments, **options)
    assert isinstance(caught.value, GanlibError)


def test_what_is_not_a_module_is_refused() -> None:
    """A function in place of a generator is named."""
    function: Any = lambda z: z  # noqa: E731
    with pytest.raises(TypeError, match=r"generator \(=<function") as caught:
        models.sample(function, latents.Gaussian(4), 1)
    assert isinstance(caught.value, GanlibError)


def test_noise_of_the_generator_is_seeded_too() -> None:
    """A generator that draws random numbers itself gives the same samples for a seed, and moves no random state."""

    class Noisy(nn.Linear):
        def forward(self, latent: Tensor) -> Tensor:
            return super().forward(latent) + torch.randn(len(latent), 2)

    generator = Noisy(3, 2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = (
        [batch.sample for batch in models.sample(generator, latents.Gaussian(3), 7, batch_size=3, seed=1)] for _ in "ab"
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.cat(one), torch.cat(other))
    assert not torch.equal(one[0] - generator.bias, one[1] - generator.bias)

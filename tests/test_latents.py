"""Tests of latent distributions and of the ways between latents."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.latents import Gaussian, Latent, Uniform, lerp, slerp
from tests import strategies

distributions = pytest.mark.parametrize("latent", [Gaussian(7), Uniform(7), Uniform(7, low=2.0, high=5.0)], ids=str)
ways = pytest.mark.parametrize("way", [lerp, slerp])


@distributions
@pytest.mark.parametrize("n", [0, 1, 5])
def test_n_latents_have_dim_numbers_each(latent, n):
    """latent(n) is (n, dim) in float32."""
    assert (n, 7) == latent(n).shape
    assert torch.float32 == latent(n).dtype
    assert isinstance(latent, Latent)


@distributions
def test_a_generator_decides_the_numbers(latent):
    """Equal seeds give equal latents, the next draw others; torch's own random state is left alone."""
    first, second = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    before = torch.get_rng_state()

    drawn = latent(4, generator=first)

    assert torch.equal(drawn, latent(4, generator=second))
    assert not torch.equal(drawn, latent(4, generator=first))
    assert torch.equal(before, torch.get_rng_state())


@distributions
def test_without_a_generator_torchs_seed_decides(latent):
    """manual_seed makes draws repeatable."""
    torch.manual_seed(0)
    drawn = latent(4)
    torch.manual_seed(0)

    assert torch.equal(drawn, latent(4))


@distributions
def test_latents_are_made_on_the_device(latent):
    """The device is where the latents are made."""
    assert latent(4, device=torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("latent", "mean", "deviation"),
    [
        (Gaussian(10), 0.0, 1.0),
        (Uniform(10), 0.0, 2 / math.sqrt(12)),
        (Uniform(10, low=2.0, high=5.0), 3.5, 3 / math.sqrt(12)),
    ],
    ids=str,
)
def test_moments(latent, mean, deviation):
    """Mean and standard deviation are the distribution's."""
    drawn = latent(20_000, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(torch.full((10,), mean), drawn.mean(0), atol=0.05)
    assert torch.allclose(torch.full((10,), deviation), drawn.std(0), atol=0.05)


@given(st.floats(-5, 5), st.floats(0.01, 5))
def test_uniform_latents_stay_in_their_cube(low, width):
    """Every coordinate is in [low, high]."""
    drawn = Uniform(4, low, low + width)(20)

    assert drawn.min() >= low - 1e-6
    assert drawn.max() <= low + width + 1e-6


@pytest.mark.parametrize("kind", [Gaussian, Uniform])
@pytest.mark.parametrize("dim", [0, -1, 2.5, None])
def test_a_bad_dim_is_refused(kind, dim):
    """A dim that is no whole number of at least 1 is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"dim \(={dim}\)") as caught:
        kind(dim)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_an_empty_cube_is_refused(low, high):
    """Uniform wants low below high, and quotes both."""
    with pytest.raises(ArgumentValueError, match=rf"low \(={low}\) must be below high \(={high}\)"):
        Uniform(3, low, high)


@ways
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(2, 6), strategies.seeds)
def test_a_way_leads_from_a_to_b(way, shape, steps, seed):
    """It has as many points as steps, the first is a and the last b."""
    a, b = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    points = way(a, b, steps)

    assert (steps, *shape) == points.shape
    assert torch.allclose(a, points[0])
    assert torch.allclose(b, points[-1])


@given(strategies.normals((2, 3, 4), torch.float64), st.integers(2, 6))
def test_lerp_goes_in_equal_steps_on_a_straight_line(ends, steps):
    """Point i is a + i / (steps - 1) (b - a)."""
    a, b = ends

    expected = torch.stack([a + i / (steps - 1) * (b - a) for i in range(steps)])

    assert torch.allclose(expected, lerp(a, b, steps))


@given(strategies.normals((2, 5, 4), torch.float64), st.integers(2, 6))
def test_slerp_between_unit_vectors_stays_on_the_sphere_in_equal_angles(ends, steps):
    """All points have norm 1, and neighbours the same angle between them."""
    a, b = torch.nn.functional.normalize(ends, dim=-1)

    points = slerp(a, b, steps)
    cosines = (points[1:] * points[:-1]).sum(-1)
    whole = (a * b).sum(-1).acos()

    assert torch.allclose(torch.ones(steps, 5, dtype=torch.float64), points.norm(dim=-1))
    assert torch.allclose((whole / (steps - 1)).cos().expand(steps - 1, 5), cosines, atol=1e-6)


@given(strategies.normals((2, 3, 6), torch.float64))
def test_slerp_is_shoemakes_formula(ends):
    """For vectors of any length it is (sin((1 - t) w) a + sin(t w) b) / sin w, with w the angle between them."""
    a, b = ends
    omega = torch.nn.functional.cosine_similarity(a, b, dim=-1).acos()[:, None]

    expected = torch.stack(
        [(((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin() for t in (0, 0.25, 0.5, 0.75, 1)]
    )

    assert torch.allclose(expected, slerp(a, b, 5), atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.0, 2.0], [3.0, 6.0]),
        ([1.0, 2.0], [-1.0, -2.0]),
        ([0.0, 0.0], [1.0, 2.0]),
        ([1.0, 2.0], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_where_there_is_no_great_circle_slerp_is_lerp(a, b):
    """On one line, or from or to 0, it goes straight and gives no NaN."""
    a, b = torch.tensor(a), torch.tensor(b)

    assert torch.allclose(lerp(a, b, 5), slerp(a, b, 5))


def test_slerp_looks_at_each_vector_by_itself():
    """In a batch one pair may have a great circle and another not."""
    a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])

    middle = slerp(a, b, 3)[1]

    assert torch.allclose(torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [1.5, 0.0]]), middle)


@ways
def test_ends_of_two_shapes_are_refused(way):
    """Ends that differ in shape raise an error with both shapes."""
    with pytest.raises(ShapeError, match=r"a \(2, 3\) and b \(3,\)") as caught:
        way(torch.zeros(2, 3), torch.zeros(3), 4)
    assert isinstance(caught.value, ValueError)


@ways
@pytest.mark.parametrize("steps", [1, 0, -1])
def test_fewer_than_two_steps_are_refused(way, steps):
    """Both ends are included, so that there must be two; the error quotes the number."""
    with pytest.raises(ArgumentValueError, match=rf"steps \(={steps}\)"):
        way(torch.zeros(3), torch.ones(3), steps)

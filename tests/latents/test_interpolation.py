"""Tests of interpolation between latents."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.latents import lerp, slerp
from tests import strategies

ways = pytest.mark.parametrize("way", [lerp, slerp])


@st.composite
def pairs(draw, dtype=torch.float32):
    """Pairs of vectors of which one may be zero, or a multiple of the other or of its opposite, or nearly so."""
    dim = draw(st.integers(1, 5))
    a, other, noise = draw(strategies.normals((3, dim), dtype))
    near = noise * draw(st.sampled_from([0.0, 1e-9, 1e-6, 1e-4, 1e-3]))
    b = draw(st.sampled_from([other, a + near, -a + near, 3 * a + near, -0.5 * a + near, 0 * a]))
    return draw(st.sampled_from([(a, b), (b, a)]))


@ways
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(2, 6), strategies.seeds)
def test_a_way_leads_from_a_to_b(way, shape, steps, seed):
    """It has as many points as steps, the first is a and the last b, to the bit."""
    a, b = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    points = way(a, b, steps)

    assert (steps, *shape) == points.shape
    assert torch.equal(a, points[0])
    assert torch.equal(b, points[-1])


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
        ([1.0, 2.0], [3.0, 6.00001]),
        ([0.0, 0.0], [1.0, 2.0]),
        ([1.0, 2.0], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([2.0], [-1.0]),
        ([2.0], [3.0]),
    ],
)
def test_where_there_is_no_great_circle_slerp_is_lerp(a, b):
    """In one direction, from or to 0, and in one dimension it goes straight and gives no NaN."""
    a, b = torch.tensor(a), torch.tensor(b)

    assert torch.equal(lerp(a, b, 5), slerp(a, b, 5))


@given(st.integers(2, 6), st.floats(0.01, 100), strategies.seeds)
def test_between_opposite_vectors_slerp_goes_half_round_in_equal_angles(dim, ratio, seed):
    """The norm goes evenly from |a| to |b|, each step turns by the same angle, and all of it lies in one plane."""
    a = torch.randn(dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    points = slerp(a, -ratio * a, 7)
    directions = torch.nn.functional.normalize(points, dim=-1)

    assert torch.allclose(points.norm(dim=-1), torch.lerp(a.norm(), ratio * a.norm(), torch.arange(7).double() / 6))
    assert torch.allclose((directions[1:] * directions[:-1]).sum(-1), torch.tensor(math.pi / 6).double().cos())
    assert torch.linalg.matrix_rank(directions, atol=1e-6) == 2


def test_the_half_turn_goes_through_the_axis_least_aligned():
    """From (3, 0, 4) to its opposite the middle is 5 (0, 1, 0); from (2, 2) the first axis leads to 2 (1, -1)."""
    a, b = torch.tensor([3.0, 0.0, 4.0]), torch.tensor([2.0, 2.0])

    assert torch.allclose(slerp(a, -a, 3)[1], torch.tensor([0.0, 5.0, 0.0]), atol=1e-6)
    assert torch.allclose(slerp(b, -b, 3)[1], torch.tensor([2.0, -2.0]), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [1e-9, 1e-7, 1e-5, 1e-4, 3e-4, 1e-3, 0.1])
def test_near_the_opposite_the_norm_does_not_collapse(dtype, angle):
    """Between unit vectors that are almost opposite all points have norm 1, up to the root of the precision."""
    a = torch.tensor([0.6, 0.0, 0.8], dtype=dtype)
    b = -math.cos(angle) * a + math.sin(angle) * torch.tensor([-0.8, 0.0, 0.6], dtype=dtype)

    assert torch.allclose(
        slerp(a, b, 9).norm(dim=-1), torch.ones(9, dtype=dtype), atol=2 * torch.finfo(dtype).eps ** 0.5
    )


@given(pairs(torch.float64), st.integers(2, 6))
def test_the_way_back_is_the_way_there(pair, steps):
    """slerp(b, a) visits the points of slerp(a, b) in the opposite order."""
    a, b = pair

    assert torch.allclose(slerp(a, b, steps), slerp(b, a, steps).flip(0), atol=1e-5)


@given(pairs(), st.integers(2, 6))
def test_values_and_gradients_are_finite_everywhere(pair, steps):
    """Whatever a and b, neither the points nor their gradients have a NaN or an infinity."""
    a, b = (end.clone().requires_grad_() for end in pair)

    points = slerp(a, b, steps)
    points.square().sum().backward()

    assert all(tensor.isfinite().all() for tensor in (points, a.grad, b.grad))


@pytest.mark.parametrize("factor", [-1.0, 1.0, -2.0, 0.0])
def test_gradients_stay_finite_next_to_others(factor):
    """In a batch with a common pair, the gradient of a special one is finite, and that of the common one unchanged."""
    a, b = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[factor, 2 * factor], [1.0, 3.0]])
    a.requires_grad_()

    (both,) = torch.autograd.grad(slerp(a, b, 5).square().sum(), a)
    (alone,) = torch.autograd.grad(slerp(a[1], b[1], 5).square().sum(), a)

    assert both.isfinite().all()
    assert torch.allclose(both[1], alone[1])


@settings(max_examples=5)
@given(strategies.normals((2, 2, 4), torch.float64))
def test_gradients_are_right(ends):
    """Gradcheck, for common pairs and for opposite ones moved along themselves."""
    a, b = ends.unbind()
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda x, y: slerp(x, y, 4), (a.clone().requires_grad_(), b.clone().requires_grad_())
    )
    assert torch.autograd.gradcheck(lambda s: slerp(a, -s * a, 4), scale)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_very_short_and_very_long_vectors_have_a_circle_too(size):
    """Where squares would leave float32's range the middle of a quarter turn is right all the same."""
    middle = slerp(torch.tensor([size, 0.0]), torch.tensor([0.0, size]), 3)[1]
    half = slerp(torch.tensor([size, 0.0]), torch.tensor([-size, 0.0]), 3)[1]

    assert torch.allclose(middle / size, torch.tensor([0.5, 0.5]).sqrt())
    assert torch.allclose(half / size, torch.tensor([0.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Points keep their dtype and are those of float32, rounded; a zero vector gives no NaN."""
    a = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], dtype=dtype)
    b = torch.tensor([[2.0, 0.5], [-1.0, -2.0], [1.0, 2.0]], dtype=dtype)

    assert torch.equal(slerp(a, b, 7), slerp(a.float(), b.float(), 7).to(dtype))


def test_slerp_looks_at_each_vector_by_itself():
    """In a batch one pair may have a great circle, another none, and a third all of them."""
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[0.0, 1.0], [2.0, 0.0], [-1.0, 0.0]])

    middle = slerp(a, b, 3)[1]

    expected = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [1.5, 0.0], [0.0, 1.0]])
    assert torch.allclose(expected, middle, atol=1e-6)


@ways
def test_ends_of_two_shapes_are_refused(way):
    """Ends that differ in shape raise an error with both shapes."""
    with pytest.raises(ShapeError, match=r"a \(2, 3\) and b \(3,\)") as caught:
        way(torch.zeros(2, 3), torch.zeros(3), 4)
    assert isinstance(caught.value, ValueError)


@ways
@pytest.mark.parametrize("dtypes", [(torch.int64, torch.int64), (torch.float32, torch.float64)])
def test_ends_that_are_not_floats_of_one_dtype_are_refused(way, dtypes):
    """Integers, and two dtypes, raise an error with both."""
    with pytest.raises(DTypeError, match=f"{dtypes[0]} and {dtypes[1]}") as caught:
        way(torch.zeros(3, dtype=dtypes[0]), torch.zeros(3, dtype=dtypes[1]), 4)
    assert isinstance(caught.value, TypeError)


@ways
@pytest.mark.parametrize("steps", [1, 0, -1, 2.5, None])
def test_fewer_than_two_steps_are_refused(way, steps):
    """Both ends are included, so that there must be two; the error quotes the number."""
    with pytest.raises(ArgumentValueError, match=rf"steps \(={steps}\)"):
        way(torch.zeros(3), torch.ones(3), steps)


@ways
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 6e4])
def test_in_half_precision_a_way_is_the_rounded_one_of_float64(way, dtype, scale):
    """Points in half precision are, within its rounding, those of float64, also where a difference leaves its range."""
    scale = min(scale, 3e4) if way is slerp else scale  # a circle goes further out than its ends
    a, b = (scale * torch.linspace(-1, 1, 24).view(2, 4, 3).sin()).to(dtype)
    a = -b if way is lerp else a

    points, expected = way(a, b, 7), way(a.double(), b.double(), 7)

    assert points.dtype == dtype
    torch.testing.assert_close(points.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4 * scale)


WRONG = {
    "lists": ([1.0], [2.0]),
    "None": (None, torch.zeros(3)),
    "arrays": (np.zeros(3), np.zeros(3)),
    "no dimensions": (torch.tensor(1.0), torch.tensor(2.0)),
    "no numbers": (torch.zeros(2, 0), torch.zeros(2, 0)),
    "shapes that broadcast": (torch.zeros(2, 3), torch.zeros(1, 3)),
    "whole numbers": (torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)),
    "complex": (torch.zeros(3, dtype=torch.complex64), torch.ones(3, dtype=torch.complex64)),
    "two devices": (torch.zeros(3), torch.zeros(3, device="meta")),
    "eight bits": (torch.zeros(3).to(torch.float8_e4m3fn), torch.ones(3).to(torch.float8_e4m3fn)),
}


@ways
@pytest.mark.parametrize("ends", WRONG.values(), ids=WRONG.keys())
def test_ends_that_are_no_two_points_are_refused(way, ends):
    """Anything but two float tensors of one shape and dtype raises an error of ganlib."""
    with pytest.raises(GanlibError, match=r"^(a|b) "):
        way(*ends, 5)


@ways
@pytest.mark.parametrize("steps", [1, 0, -1, 2.5, True, None, "5", torch.tensor(5)])
def test_steps_that_are_no_number_are_refused(way, steps):
    """Anything but a whole number of at least 2 raises an error that quotes it; NumPy's is one."""
    assert len(way(torch.zeros(3), torch.ones(3), np.int64(4))) == 4
    with pytest.raises(ArgumentValueError, match=r"^steps \(="):
        way(torch.zeros(3), torch.ones(3), steps)

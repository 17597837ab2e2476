"""Tests of turning."""

import pytest
import torch
from torchvision.transforms.functional import InterpolationMode, rotate

from ganlib.augment import RandomRotation
from ganlib.errors import GanlibError


@pytest.fixture
def fixed(monkeypatch):
    """Turns by exactly the angle given: the draw is made to come out at its upper end."""

    def turn(samples, degrees, **arguments):
        monkeypatch.setattr(torch, "rand", lambda n, **options: torch.ones(n, dtype=options["dtype"]))
        turned = RandomRotation(degrees, **arguments)(samples)
        monkeypatch.undo()
        return turned

    return turn


@pytest.mark.parametrize("degrees", [10.0, 37.0, 90.0, 135.0])
@pytest.mark.parametrize("shape", [(21, 21), (20, 20), (16, 30), (31, 18)])
def test_it_is_torchvisions_rotation(fixed, shape, degrees):
    """By a fixed angle it equals torchvision's bilinear rotate on any image, but where its black corners come in."""
    samples = torch.rand(2, 3, *shape, dtype=torch.float64) * 2 - 1
    inside = rotate(torch.ones(1, 1, *shape, dtype=torch.float64), degrees, InterpolationMode.BILINEAR) > 0.999
    expected = rotate(samples, degrees, InterpolationMode.BILINEAR)
    actual = fixed(samples, degrees)
    assert inside.float().mean() > 0.3
    torch.testing.assert_close(actual * inside, expected * inside, atol=1e-6, rtol=0)


@pytest.mark.parametrize("degrees", [7.0, 25.0, 90.0, 160.0])
@pytest.mark.parametrize("shape", [(64, 64), (21, 21), (16, 30)])
def test_nearest_is_torchvisions_default(fixed, shape, degrees):
    """With ``interpolation="nearest"`` it equals torchvision's rotate by default, up to ties between two pixels."""
    samples = torch.rand(2, 3, *shape, dtype=torch.float64) * 2 - 1
    expected = rotate(samples, degrees, fill=[-1.0] * 3)
    actual = fixed(samples, degrees, interpolation="nearest")
    assert ((actual - expected).abs() > 1e-6).double().mean() < 0.005


def test_nearest_makes_no_new_value(fixed):
    """A black and white image stays black and white."""
    samples = torch.randint(0, 2, (3, 1, 28, 28)).float() * 2 - 1
    assert fixed(samples, 25.0, interpolation="nearest").unique().tolist() == [-1.0, 1.0]
    assert len(fixed(samples, 25.0).unique()) > 2


def test_a_positive_angle_is_counter_clockwise(fixed):
    """A quarter turn takes what is at the top to the left, as torch.rot90 does."""
    samples = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(fixed(samples, 90), samples.rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_half_a_turn_of_an_oblong_image(fixed):
    """180 degrees turn an image of any sides upside down and left to right."""
    samples = torch.randn(2, 1, 6, 11)
    torch.testing.assert_close(fixed(samples, 180), samples.flip(2, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12)])
def test_zero_degrees_is_the_identity(shape):
    """Samples turned by U(0, 0) come back as they were, up to rounding."""
    samples = torch.randn(3, 2, *shape)
    torch.testing.assert_close(RandomRotation(0)(samples), samples, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fill", [-1.0, 0.25])
def test_corners_are_filled(fixed, fill):
    """The corners of a white image turned by 45 degrees are the fill, its middle is white."""
    turned = fixed(torch.ones(1, 1, 28, 28), 45, fill=fill)
    torch.testing.assert_close(turned[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]], torch.full((4,), fill))
    torch.testing.assert_close(turned[0, 0, 14, 14], torch.tensor(1.0))


def test_each_sample_has_an_angle_of_its_own_within_the_range():
    """Of 500 copies of a picture no two come back the same, and their angles fill (-30, 30) evenly."""
    beam = torch.zeros(1, 1, 41, 41)
    beam[..., 20, 20:] = 1.0  # to the right, from the middle
    turned = RandomRotation(30, fill=0.0)(beam.expand(500, -1, -1, -1), torch.Generator().manual_seed(0))
    assert len(turned.unique(dim=0)) == 500
    x = torch.linspace(-20, 20, 41)
    angles = torch.atan2((turned[:, 0] * -x[:, None]).sum((1, 2)), (turned[:, 0] * x).sum((1, 2))).rad2deg()
    assert angles.abs().max() < 30.5
    assert (angles.min() < -28, angles.max() > 28) == (True, True)
    assert angles.mean().abs() < 3  # 4 standard deviations of a mean of 500


def test_the_generator_decides_alone():
    """The same generator state gives the same angles, and torch's own random state is not touched."""
    samples, before = torch.randn(4, 1, 8, 8), torch.get_rng_state()
    first, second = (RandomRotation(20)(samples, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_flow_through_the_rotation():
    """The derivative by the samples is the right one (gradcheck in float64), angles held fixed."""
    samples = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: RandomRotation(40)(x, torch.Generator().manual_seed(1)), samples)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_turned_as_exactly_as_float32(dtype):
    """Samples of 16 bits come back as what float32 gives, rounded to 16 bits."""
    samples = torch.randn(4, 1, 64, 64).to(dtype)
    turned, expected = (RandomRotation(30)(x, torch.Generator().manual_seed(0)) for x in (samples, samples.float()))
    assert torch.equal(turned, expected.to(dtype))


def test_autocast_changes_nothing():
    """Under autocast to bfloat16 float32 samples are turned to the very same values."""
    samples = torch.randn(4, 1, 64, 64)
    expected = RandomRotation(30)(samples, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        turned = RandomRotation(30)(samples, torch.Generator().manual_seed(0))
    assert torch.equal(turned, expected)


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), None])
def test_a_fill_that_is_no_finite_number_is_named(fill):
    """NaN, infinity and None are a ValueError of ours with their value."""
    with pytest.raises(ValueError, match=rf"fill \(={fill}\)") as caught:
        RandomRotation(10, fill=fill)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("degrees", [-1, 181, float("nan")])
def test_degrees_out_of_range_are_named(degrees):
    """Degrees outside [0, 180] are a ValueError of ours with their value."""
    with pytest.raises(ValueError, match=rf"degrees \(={degrees}\)") as caught:
        RandomRotation(degrees)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("samples", "builtin", "message"),
    [
        (torch.zeros(4, 28, 28), ValueError, r"samples \(4, 28, 28\)"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), TypeError, "samples.*torch.uint8"),
    ],
)
def test_what_are_no_float_images_is_refused(samples, builtin, message):
    """Another number of dimensions, and integers, are errors of ours that say what was given."""
    with pytest.raises(builtin, match=message) as caught:
        RandomRotation(10)(samples)
    assert isinstance(caught.value, GanlibError)


def test_repr_shows_the_arguments():
    """Repr can be read back."""
    assert repr(RandomRotation(25)) == "RandomRotation(degrees=25, fill=-1.0, interpolation='bilinear')"


def test_another_interpolation_is_named():
    """A word that is not one of the two is a ValueError of ours with its value."""
    with pytest.raises(ValueError, match=r"interpolation \(='bicubic'\)") as caught:
        RandomRotation(10, interpolation="bicubic")
    assert isinstance(caught.value, GanlibError)

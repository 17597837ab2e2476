"""Tests of DiffAugment."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.augment import DiffAugment
from ganlib.errors import GanlibError
from tests import strategies

words = pytest.mark.parametrize("policy", ["color", "translation", "cutout", "color,translation,cutout"])


def seeded(seed=0):
    """A source of random numbers."""
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def fixed(monkeypatch):
    """Colours drawn as the numbers given, in [0, 1], for brightness, saturation and contrast."""

    def change(samples, *drawn):
        def rand(*shape, dtype, **options):
            return torch.tensor(drawn, dtype=dtype).view(3, 1, 1, 1, 1).expand(shape)

        monkeypatch.setattr(torch, "rand", rand)
        changed = DiffAugment("color")(samples)
        monkeypatch.undo()
        return changed

    return change


def shifted(samples, down, right, fill):
    """Every pixel ``down`` rows lower and ``right`` columns further to the right."""
    *_, height, width = samples.shape
    moved = torch.full_like(samples, fill)
    target = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    source = (slice(max(-down, 0), height - max(down, 0)), slice(max(-right, 0), width - max(right, 0)))
    moved[..., target[0], target[1]] = samples[..., source[0], source[1]]
    return moved


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_brightness_is_a_sum(fixed, share):
    """With factors of 1 in the other two share - 0.5 is added to every value."""
    samples = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(fixed(samples, share, 0.5, 0.5), samples + share - 0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_saturation_stretches_about_the_mean_of_the_channels(fixed, share):
    """It is m + 2 share (x - m), with m the mean over the channels at each place; share 0 is grey."""
    samples = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    mean = samples.mean(1, keepdim=True)
    torch.testing.assert_close(fixed(samples, 0.5, share, 0.5), mean + 2 * share * (samples - mean))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_contrast_stretches_about_the_mean_of_the_sample(fixed, share):
    """It is m + (share + 0.5) (x - m), with m the mean of the whole sample."""
    samples = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    mean = samples.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(fixed(samples, 0.5, 0.5, share), mean + (share + 0.5) * (samples - mean))


def test_grey_samples_have_no_saturation(fixed):
    """With one channel the draw of saturation changes not a bit."""
    samples = torch.randn(4, 1, 5, 6)
    assert torch.equal(fixed(samples, 0.2, 0.0, 0.9), fixed(samples, 0.2, 0.8, 0.9))


def test_brightness_and_contrast_are_drawn_evenly():
    """Over 5,000 samples, black with one white pixel, what was added and what multiplied are U(-.5, .5), U(.5, 1.5)."""
    samples = torch.zeros(5000, 1, 2, 2, dtype=torch.float64)
    samples[..., 0, 0] = 1.0
    changed = DiffAugment("color")(samples, seeded())
    brightness = changed.mean((1, 2, 3)) - 0.25
    contrast = changed[:, 0, 0, 0] - changed[:, 0, 1, 1]
    even = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    # The Kolmogorov-Smirnov distance of 5,000 draws exceeds 0.023 once in a hundred times.
    assert (brightness.sort().values + 0.5 - even).abs().max() < 0.023
    assert (contrast.sort().values - 0.5 - even).abs().max() < 0.023


def test_saturation_is_drawn_evenly():
    """Over 5,000 samples the colour's share in the contrast, divided by the grey's, is U(0, 2)."""
    samples = torch.zeros(5000, 2, 1, 2, dtype=torch.float64)
    samples[:, 0, 0, 0], samples[:, 1, 0, 0] = 2.0, 0.0  # a coloured pixel of mean 1 next to a black one
    changed = DiffAugment("color")(samples, seeded())
    contrast = changed[:, :, 0, 0].mean(1) - changed[:, :, 0, 1].mean(1)
    saturation = (changed[:, 0, 0, 0] - changed[:, 1, 0, 0]) / 2 / contrast
    even = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    assert (saturation.sort().values / 2 - even).abs().max() < 0.023


@pytest.mark.parametrize(
    ("shape", "reach"),
    [((8, 8), (1, 1)), ((28, 16), (4, 2)), ((3, 12), (0, 2))],
)
@pytest.mark.parametrize("fill", [0.0, -1.0, 0.3])
def test_translation_moves_whole_pixels(shape, reach, fill):
    """Each of 500 outputs is its input moved, to the bit, by up to an eighth of each size; each move occurs."""
    samples = torch.randn(500, 2, *shape, generator=seeded(1))
    moved = DiffAugment("translation", fill=fill)(samples, seeded())
    counts = {}
    for down, right in product(*[range(-r, r + 1) for r in reach]):
        counts[down, right] = (moved == shifted(samples, down, right, fill)).flatten(1).all(1).sum().item()
    assert sum(counts.values()) == 500
    assert min(counts.values()) > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_translation_in_half_precision_moves_the_same_pixels(dtype):
    """Wide samples of 16 bits are moved as those of float32 are, to the bit."""
    samples = torch.randn(8, 1, 5, 300, generator=seeded(1)).to(dtype)
    augment = DiffAugment("translation")
    assert torch.equal(augment(samples, seeded()).float(), augment(samples.float(), seeded()))


def test_moves_are_drawn_evenly():
    """Of 9,000 samples each of the nine moves by at most one pixel has its ninth, within 4.5 standard deviations."""
    samples = torch.zeros(9000, 1, 8, 8)
    samples[..., 4, 4] = 1.0
    moved = DiffAugment("translation")(samples, seeded())
    counts = moved.sum(0)[0, 3:6, 3:6]
    assert counts.sum() == 9000
    assert (counts - 1000).abs().max() < 4.5 * (9000 * 1 / 9 * 8 / 9) ** 0.5


@pytest.mark.parametrize("shape", [(8, 8), (6, 11), (7, 28), (5, 1), (14, 13)])
@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_cutout_is_a_rectangle_about_any_place(shape, fill):
    """What is cut are the parts inside of rectangles of half the sizes, one sample's each; every place occurs."""
    samples = torch.rand(2000, 2, *shape, generator=seeded(1)) + 1
    cut = DiffAugment("cutout", fill=fill)(samples, seeded())
    gone = cut[:, 0] != samples[:, 0]
    assert torch.equal(cut, torch.where(gone.unsqueeze(1), fill, samples))
    for size, line in zip(shape, (gone.any(2), gone.any(1)), strict=True):
        length = (size + 1) // 2
        starts = range(-(length // 2), size - length % 2 - length // 2 + 1)
        possible = torch.tensor([[start <= i < start + length for i in range(size)] for start in starts])
        assert {tuple(row) for row in line.tolist()} == {tuple(row) for row in possible.tolist()}
    assert torch.equal(gone, gone.any(2, keepdim=True) & gone.any(1, keepdim=True))
    assert gone.sum((1, 2)).max() == (shape[0] + 1) // 2 * ((shape[1] + 1) // 2)


def test_a_cut_inside_is_a_quarter_of_the_image():
    """With even sizes, where the whole rectangle lies inside, exactly a quarter of the pixels is filled."""
    cut = DiffAugment("cutout")(torch.ones(500, 1, 32, 20), seeded())
    gone = cut[:, 0] == 0
    inside = ~(gone[:, 0].any(1) | gone[:, -1].any(1) | gone[:, :, 0].any(1) | gone[:, :, -1].any(1))
    assert inside.sum() > 50
    assert (gone[inside].sum((1, 2)) == 32 * 20 // 4).all()


def test_words_are_applied_in_their_order():
    """Colours first leave the cut at the fill; colours last change the fill too."""
    samples = torch.rand(8, 1, 8, 8, generator=seeded(1)) + 2
    first, last = (DiffAugment(policy)(samples, seeded()) for policy in (("color", "cutout"), ("cutout", "color")))
    assert (first == 0).flatten(1).any(1).all()
    assert not (last == 0).any()


@given(
    st.lists(st.sampled_from(["color", "colour", "translation", "cutout"]), min_size=1, max_size=4),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    strategies.seeds,
)
def test_shape_and_dtype_stay_and_the_writing_of_the_policy_does_not_matter(policy, dtype, shape, seed):
    """A sequence gives what the string gives, and the samples keep their shape and dtype."""
    samples = torch.randn(shape).to(dtype)
    augmented = DiffAugment(policy)(samples, seeded(seed))
    assert (augmented.shape, augmented.dtype) == (samples.shape, dtype)
    assert torch.equal(augmented, DiffAugment(" , ".join(policy))(samples, seeded(seed)))


@words
def test_each_sample_has_draws_of_its_own(policy):
    """Of 64 copies of one picture many different ones come back."""
    samples = torch.randn(1, 3, 64, 64, generator=seeded(1)).expand(64, -1, -1, -1)
    assert len(DiffAugment(policy)(samples, seeded()).unique(dim=0)) > 50


@words
def test_the_generator_decides_alone(policy):
    """The same generator state gives the same samples, another others, and torch's own state is not touched."""
    samples, before = torch.randn(4, 3, 32, 32), torch.get_rng_state()
    first, second, third = (DiffAugment(policy)(samples, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


@words
def test_derivatives_of_the_first_and_the_second_order(policy):
    """Gradcheck and gradgradcheck in float64, the draws held fixed."""
    samples = torch.randn(3, 2, 8, 5, dtype=torch.float64, requires_grad=True)
    augment = DiffAugment(policy, fill=0.7)
    assert torch.autograd.gradcheck(lambda x: augment(x, seeded(1)), samples)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, seeded(1)), samples)


@words
def test_it_is_affine_in_the_samples(policy):
    """For equal draws f(2 x - y) = 2 f(x) - f(y)."""
    x, y = torch.randn(2, 4, 3, 9, 8, dtype=torch.float64)
    augment = DiffAugment(policy, fill=0.7)
    torch.testing.assert_close(
        augment(2 * x - y, seeded(1)), 2 * augment(x, seeded(1)) - augment(y, seeded(1)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("policy", "builtin"),
    [
        ("", ValueError),
        ([], ValueError),
        ("color,blur", ValueError),
        (("cutout", "flip"), ValueError),
        ("color,", ValueError),
        (3, TypeError),
        (None, TypeError),
        (["color", 3], TypeError),
    ],
)
def test_an_unknown_policy_is_refused(policy, builtin):
    """It is quoted, in an error of ours; where it is made of strings the known words are named."""
    with pytest.raises(builtin) as caught:
        DiffAugment(policy)
    assert isinstance(caught.value, GanlibError)
    assert f"policy (={policy!r})" in str(caught.value)
    if builtin is ValueError:
        assert "'color', 'translation', 'cutout'" in str(caught.value)


@pytest.mark.parametrize("fill", [float("nan"), float("inf"), None])
def test_a_fill_that_is_no_finite_number_is_named(fill):
    """NaN, infinity and None are a ValueError of ours with their value."""
    with pytest.raises(ValueError, match=rf"fill \(={fill}\)") as caught:
        DiffAugment(fill=fill)
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
        DiffAugment()(samples)
    assert isinstance(caught.value, GanlibError)


def test_repr_shows_the_arguments():
    """Repr can be read back."""
    assert repr(DiffAugment(["colour", "cutout"])) == "DiffAugment(policy='color,cutout', fill=0.0)"

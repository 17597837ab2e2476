"""What the first batch tells: samples that the generator cannot make, and maps that an augmentation leaves behind."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import augment
from ganlib._ending import Ending
from ganlib.training._samples import warn_of_colors, warn_of_maps, warn_of_samples
from tests.training.players import make_trainer

RANGE = (-1.0, 1.0)


def unit(*shape: int) -> Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


INF = float("inf")
BOUNDS = {
    "tanh": (-1, 1), "sigmoid": (0, 1), "softmax": (0, 1), "clamp": (0, 1), "hardtanh": (-1, 1), "scaled tanh": (0, 1),
    "scaled sigmoid": (-1, 1), "relu": (0, INF), "relu6": (0, 6), "softplus": (0, INF),
}  # fmt: skip


def ending_of(name: str | None) -> Ending | None:
    """The ending with its bounds."""
    return None if name is None else Ending(name, *map(float, BOUNDS[name]))


def from_bytes(low: int, high: int, *shape: int) -> Tensor:
    """Whole numbers from low to high, all of them."""
    return (
        torch.arange(low, high + 1)
        .repeat(torch.Size(shape).numel() // (high - low) + 1)[: torch.Size(shape).numel()]
        .view(shape)
    )


@pytest.mark.parametrize(
    ("samples", "sample_range", "ending", "words"),
    [
        (unit(16, 2), None, "tanh", r"\[0, 1\].*ToTensor.*tanh.*\[-1, 1\]"),
        (unit(4, 1, 8, 8), RANGE, None, r"\[0, 1\].*ToTensor.*sample_range is \[-1, 1\]"),
        (3 * unit(16, 2) - 1.5, None, "tanh", "can never make"),
        (255 * unit(4, 1, 8, 8), None, "tanh", "can never make"),
        (2 * unit(16, 2) - 1, None, "sigmoid", r"\[0, 1\]: it can never make"),
        (2 * unit(16, 2) - 1, None, "softmax", "can never make"),
        ((255 * unit(4, 1, 8, 8)).round(), None, None, "whole numbers.*127.5"),
        ((255 * unit(4, 1, 8, 8)).round(), None, "relu", "whole numbers.*x / 255"),
        (255 * unit(4, 1, 8, 8), None, "hardtanh", "can never make"),
        (unit(4, 1, 8, 8), None, "hardtanh", "ToTensor"),
        (unit(4, 1, 8, 8), None, "scaled sigmoid", "ToTensor"),
        (2 * unit(4, 1, 8, 8) - 1, None, "scaled tanh", r"scaled tanh, so its samples lie in \[0, 1\]: it can never"),
        (2 * unit(16, 2) - 1, None, "relu", r"relu, so its samples lie in \[0, inf\]: it can never make"),
        (2 * unit(16, 2) - 1, None, "softplus", "can never make"),
        (2 * unit(16, 2) - 1, None, "relu6", "can never make"),
        (from_bytes(0, 255, 4, 1, 8, 8) / 255, None, "tanh", "ToTensor"),
        ((from_bytes(0, 255, 4, 1, 8, 8) / 255).half(), None, "tanh", "ToTensor"),
        ((from_bytes(0, 255, 4, 1, 8, 8) / 255).bfloat16(), None, "tanh", "ToTensor"),
        (unit(4, 1, 8, 8).half(), None, "tanh", "ToTensor"),
        (from_bytes(40, 200, 4, 1, 8, 8) / 255, None, "tanh", "ToTensor"),  # bytes of a range of [-1, 1] are odd / 255
        ((unit(4, 1, 8, 8) > 0.8).float(), None, "tanh", "ToTensor"),  # black and white
    ],
)
def test_samples_that_are_surely_a_mistake_are_warned_of(
    samples: Tensor, sample_range: Any, ending: str | None, words: str
) -> None:
    """One warning says what is wrong with them."""
    with pytest.warns(UserWarning, match=words) as caught:
        warn_of_samples(samples, sample_range, ending_of(ending))
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("samples", "sample_range", "ending"),
    [
        (2 * unit(16, 2) - 1, RANGE, None),
        (2 * unit(16, 2) - 1, None, "tanh"),
        (unit(16, 2), None, None),
        (unit(16, 2), None, "sigmoid"),
        (unit(16, 2), (0.0, 1.0), None),
        (unit(16, 2), None, "clamp"),
        (unit(2, 2), None, "tanh"),  # too few numbers to tell
        (unit(16, 2) / 4, None, "tanh"),  # a part of the range, which a tanh can make
        (10 * unit(16, 2), None, None),
        ((255 * unit(16, 2)).round(), None, None),  # points with whole coordinates
        (255 * unit(4, 1, 8, 8), None, None),
        (torch.zeros(8, 2), RANGE, None),  # what a test of one's own may begin with
        (-unit(16, 2), None, "tanh"),
        (from_bytes(140, 255, 4, 1, 8, 8) / 127.5 - 1, None, "tanh"),
        (from_bytes(128, 255, 4, 1, 8, 8) / 127.5 - 1, None, "tanh"),  # from 1 / 255 to 1
        ((from_bytes(128, 255, 4, 1, 8, 8) / 127.5 - 1).half(), None, "tanh"),
        ((from_bytes(128, 255, 4, 1, 8, 8) / 127.5 - 1).bfloat16(), None, "tanh"),
        (0.1 + 0.8 * unit(4, 1, 8, 8), None, "tanh"),
        (torch.arange(1, 6).repeat(8, 1) / 5 - 0.2, None, "tanh"),
        (unit(16, 2), None, "relu"),
        (9 * unit(16, 2), None, "softplus"),
        (unit(16, 2), None, "scaled tanh"),
        (255 * unit(4, 1, 8, 8), None, "relu"),
        (2 * unit(16, 2) - 1, None, "scaled sigmoid"),
    ],
)
def test_samples_that_may_be_meant_are_not_warned_of(samples: Tensor, sample_range: Any, ending: str | None) -> None:
    """A correct program sees nothing."""
    warn_of_samples(samples, sample_range, ending_of(ending))


@pytest.mark.parametrize(
    ("policy", "sample_range", "ending", "wrong"),
    [
        ("color", None, "sigmoid", True),
        ("flip,luma_flip", (0.0, 1.0), None, True),
        ("color", None, "scaled tanh", True),
        ("color", None, "tanh", False),
        ("color", (-1.0, 1.0), None, False),
        ("color", None, None, False),
        ("blit,brightness,hue,saturation", None, "sigmoid", False),
    ],
)
def test_colors_that_assume_another_range(policy: str, sample_range: Any, ending: str | None, wrong: bool) -> None:
    """A flip of the brightness about 0 is warned of where the generator makes samples in [0, 1]."""
    adaptive = augment.AdaptiveAugment(policy)
    with pytest.warns(UserWarning, match="colors") if wrong else contextlib.nullcontext():
        warn_of_colors(adaptive, sample_range, ending_of(ending))
    for other in (None, torch.neg, augment.DiffAugment("color")):
        warn_of_colors(other, sample_range, ending_of(ending))


class Scaled(nn.Module):
    """A tanh whose range is another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, latent: Tensor) -> Tensor:
        """Points in [0, 1]."""
        return torch.tanh(self.layer(latent)) / 2 + 0.5


class Functional(Scaled):
    """A tanh that is no module."""

    def forward(self, latent: Tensor) -> Tensor:
        """Points in [-1, 1]."""
        return torch.tanh(self.layer(latent)).view(-1, 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh()), Functional])
def test_the_generators_own_range_is_found(make: Callable[[], nn.Module], precision: Any) -> None:
    """Whatever way the tanh is written, the trainer warns once, where it was called, and goes on."""
    trainer = make_trainer(make(), nn.Linear(2, 1), precision=precision)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            trainer.train_step(unit(16, 2))
    (said,) = [warning for warning in caught if "ToTensor" in str(warning.message)]
    assert said.filename == __file__
    assert trainer.iteration == 3


def test_a_range_that_a_tanh_is_scaled_to_is_its_own() -> None:
    """A tanh that is scaled to [0, 1] makes samples in [0, 1]."""
    make_trainer(Scaled(), nn.Linear(2, 1)).train_step(unit(16, 2))


IMAGES, MAPS = 2 * unit(4, 3, 8, 8) - 1, 2 * unit(4, 1, 8, 8) - 1


def flip_some(samples: Tensor) -> Tensor:
    """Flip each by chance."""
    return torch.where(torch.rand(len(samples), 1, 1, 1) < 0.5, samples.flip(-1), samples)


MOVING = {
    "translation": augment.DiffAugment("translation"),
    "all": augment.DiffAugment(),
    "own flip": flip_some,
    "upside down": lambda samples: samples.flip(-2),
    "rotation": augment.RandomRotation(10),
    "adaptive": augment.AdaptiveAugment("blit"),
    "adaptive geometric": augment.AdaptiveAugment("geometric"),
    "roll": lambda samples: samples.roll(1, -1),
}
STAYING = {
    "none": None,
    "color": augment.DiffAugment("color"),
    "adaptive color": augment.AdaptiveAugment("color"),
    "cutout": augment.DiffAugment("cutout"),
    "color and cutout": augment.DiffAugment("color,cutout"),
    "noise": lambda samples: samples + 0.1 * torch.randn_like(samples),
    "negative": torch.neg,
    "negative with cutout": lambda samples: augment.DiffAugment("cutout")(-samples),
    "blur": lambda samples: nn.functional.avg_pool2d(samples, 3, 1, 1),
    "channels": lambda samples: samples.flip(1),
}


@pytest.mark.parametrize("name", MOVING)
def test_maps_that_are_left_behind_are_warned_of(name: str) -> None:
    """The augmentation moves pixels of the sample, and not of the map; the random state stays."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="maps.*joint_transform") as caught:
        warn_of_maps(MOVING[name], IMAGES, {"sketch": MAPS, "class": torch.zeros(4)})
    assert len(caught) == 1
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", STAYING)
def test_an_augmentation_in_place_is_not_warned_of(name: str) -> None:
    """Other colors, noise, blur and holes leave every pixel where it is."""
    for seed in range(20):
        torch.manual_seed(seed)
        warn_of_maps(STAYING[name], IMAGES, MAPS)


@pytest.mark.parametrize(
    "condition", [None, torch.zeros(4, dtype=torch.int64), torch.zeros(4, 8), (torch.zeros(4, 1),)]
)
def test_conditions_without_positions_may_be_augmented_with_anything(condition: Any) -> None:
    """Labels and vectors have nothing that could be left behind."""
    warn_of_maps(MOVING["all"], IMAGES, condition)


def test_signals_and_volumes() -> None:
    """In one dimension and in three it is the same."""
    for shape in ((4, 1, 9), (4, 1, 5, 6, 7)):
        with pytest.warns(UserWarning, match="maps"):
            warn_of_maps(lambda samples: samples.flip(-1), torch.zeros(shape), torch.zeros(shape))
    warn_of_maps(lambda samples: samples.flip(-1), torch.zeros(4, 1, 9), torch.zeros(4, 7, 5))  # words, say

"""Outputs of a discriminator that were meant in another way are warned of once, and right ones are not."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning, losses, penalties, stacks
from ganlib.protocols import DiscriminatorOutput, Step
from tests.training.players import make_trainer


class Branches(nn.Module):
    """Combines the outputs of several layers on one input."""

    def __init__(self, combine: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.combine = combine
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        """Call all layers."""
        return self.combine(*(layer(x) for layer in self.layers))


def said(discriminator: nn.Module, sample: Tensor, condition: Any = None, **options: Any) -> list[str]:
    """The warnings of two iterations."""
    generator: nn.Module = nn.Sequential(nn.Linear(3, sample[0].numel()), nn.Unflatten(1, sample.shape[1:]))
    if condition is not None:
        generator = conditioning.Unconditional(generator)
    trainer = make_trainer(generator, discriminator, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trainer.train_step([sample, condition] if condition is not None else sample)
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


POINTS, IMAGES = torch.randn(6, 2), torch.randn(6, 3, 16, 16)
PATCHES, WHOLE = nn.Conv2d(3, 1, 4, 2, 1), nn.Conv2d(3, 1, 16)
MIXED: dict[str, Any] = {
    "class logits": (POINTS, Branches(lambda a, b: (a, b), nn.Linear(2, 1), nn.Linear(2, 10))),
    "class logits next to flat logits": (
        POINTS,
        Branches(lambda a, b: (a.view(-1), b), nn.Linear(2, 1), nn.Linear(2, 3)),
    ),
    "features first": (POINTS, Branches(lambda a, b: (b, a), nn.Linear(2, 1), nn.Linear(2, 64))),
    "feature maps": (IMAGES, Branches(lambda a, b: (a, b, b), PATCHES, nn.Conv2d(3, 8, 3))),
    "flattened feature maps": (IMAGES, Branches(lambda a, b: (a, b.flatten(1)), WHOLE, nn.Conv2d(3, 8, 3))),
}
SCALES: dict[str, Any] = {
    "patches": (IMAGES, Branches(lambda a, b: (a, b), PATCHES, WHOLE)),
    "flattened patches": (IMAGES, Branches(lambda a, b: (a.flatten(1), b.flatten(1)), PATCHES, WHOLE)),
    "a logit and a map": (IMAGES, Branches(lambda a, b: (a.mean((2, 3)), b), PATCHES, PATCHES)),
    "flat logits": (POINTS, Branches(lambda a, b: (a.view(-1), b), nn.Linear(2, 1), nn.Linear(2, 1))),
    "several vectors": (POINTS, Branches(lambda a, b: (a, b), nn.Linear(2, 16), nn.Linear(2, 4))),
    "a multi-scale discriminator": (IMAGES, stacks.MultiScaleDiscriminator([PATCHES, nn.Conv2d(3, 1, 3)])),
    "features where they belong": (
        POINTS,
        Branches(lambda a, b: DiscriminatorOutput(a, features=(b,)), nn.Linear(2, 1), nn.Linear(2, 8)),
    ),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MIXED)
def test_parts_that_are_not_scales_are_warned_of(name: str, precision: str) -> None:
    """The shapes are quoted, and the right way is named."""
    sample, discriminator = MIXED[name]
    messages = [one for one in said(discriminator, sample, precision=precision) if "samples in bfloat16" not in one]
    assert len(messages) == 1
    assert "returns a tuple of (6," in messages[0]
    assert "DiscriminatorOutput(logits, class_logits=" in messages[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SCALES)
def test_scales_are_not_warned_of(name: str, precision: str) -> None:
    """Logits of several scales, of any size, flattened or not."""
    sample, discriminator = SCALES[name]
    assert [one for one in said(discriminator, sample, precision=precision) if "samples in bfloat16" not in one] == []


@pytest.mark.parametrize("mean", [lambda logits: logits.mean(), lambda logits: logits.mean(0).view(1)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"penalties": [penalties.R1(), penalties.GradientPenalty()]},
        {"penalties": [penalties.R1()], "reuse_logits": True},
    ],
)
def test_a_mean_over_the_batch_is_warned_of_once(mean: Any, options: Any) -> None:
    """By the trainer, and not by each of its penalties again."""
    (message,) = said(Branches(mean, nn.Linear(2, 1)), POINTS, **options)
    assert "for 6 samples, so it probably averages over the batch" in message


def test_packs_and_batches_of_one_are_not_warned_of() -> None:
    """PacGAN gives a logit for several samples; a single sample has a single logit."""
    packs = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Flatten(0), nn.Unflatten(0, (3, 8)), nn.Linear(8, 1))
    assert said(packs, POINTS) == []
    assert said(Branches(lambda logits: logits.mean(), nn.Linear(2, 1)), POINTS[:1], penalties=[penalties.R1()]) == []


LABELS = torch.arange(6) % 3
CLASSIFIERS = {
    "a head": lambda: conditioning.AuxiliaryClassifierHead(nn.Linear(2, 8), 8, num_classes=3),
    "a projection": lambda: conditioning.Projection(nn.Linear(2, 8), conditioning.OneHot(3), 8, num_classes=3),
}


class Own:
    """A penalty of the user's own, which may train the classifier."""

    def __call__(self, discriminator: Any, real: Tensor, fake: Tensor, condition: Any, other: Any) -> Tensor:
        """Compute the cross-entropy."""
        return nn.functional.cross_entropy(discriminator(real, condition).class_logits, condition)


class Nothing:
    """An auxiliary loss of the user's own."""

    weight = 1.0

    def discriminator(self, step: Step) -> float:
        """No loss."""
        return 0.0

    generator = discriminator


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_that_nothing_trains_is_warned_of(name: str) -> None:
    """Any auxiliary loss, or a penalty of the user's own, may train it."""
    (message,) = said(CLASSIFIERS[name](), POINTS, LABELS, penalties=[penalties.R1()])
    assert "class_logits, but no loss trains its classifier" in message
    for options in (
        {"auxiliary_losses": [losses.AuxiliaryClassifier()]},
        {"auxiliary_losses": [Nothing()]},
        {"penalties": [Own()]},
    ):
        assert said(CLASSIFIERS[name](), POINTS, LABELS, **options) == []


def test_a_generator_that_returns_a_tuple_in_training_mode_is_refused() -> None:
    """The error is that of one which always does."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, z: Tensor) -> Any:
            x = self.layer(z)
            return (x, z) if self.training else x

    for options in ({}, {"reuse_fakes": True}):
        trainer = make_trainer(Two(), nn.Linear(2, 1), **options)
        with pytest.raises(TypeError, match="generator gave tuple; it must give samples, a tensor"):
            trainer.train_step(POINTS)


def test_an_in_place_operation_is_refused_where_penalties_use_the_logits() -> None:
    """With ``reuse_logits`` the samples need a derivative; the error is one of ganlib's."""
    discriminator = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), nn.Linear(2, 1))
    trainer = make_trainer(nn.Linear(3, 2), discriminator, penalties=[penalties.R1()], reuse_logits=True)
    with pytest.warns(UserWarning, match="in place"), pytest.raises(ValueError, match=r"reuse_logits \(=True\)"):
        trainer.train_step(POINTS)

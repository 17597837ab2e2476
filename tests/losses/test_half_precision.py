"""Auxiliary losses and the adaptive weight of what is in half precision: those of float64."""

import pytest
import torch

from ganlib.errors import ArgumentTypeError, DTypeError, GanlibError, ShapeError
from ganlib.losses import AuxiliaryClassifier, FeatureMatching, adaptive_weight
from ganlib.protocols import DiscriminatorOutput, Step

halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
scales = pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])


def step(real, fake, condition=None):
    """A step whose outputs have these numbers as class logits, and as features."""
    outputs = (DiscriminatorOutput(torch.zeros(6, 1), numbers, (numbers,)) for numbers in (real, fake))
    return Step(torch.zeros(6, 2), torch.zeros(6, 2), *outputs, condition)


@halves
@scales
@pytest.mark.parametrize("condition", [torch.arange(6) % 4, torch.eye(6, 4)], ids=["classes", "tags"])
@pytest.mark.parametrize("loss", [AuxiliaryClassifier(), FeatureMatching(), FeatureMatching(kind="paired")], ids=str)
def test_an_auxiliary_loss_is_that_of_float64(loss, condition, dtype, scale):
    """It is float32, and within its rounding what the same numbers give in float64."""
    real, fake = (scale * torch.randn(2, 6, 4)).to(dtype)
    for player in ("discriminator", "generator"):
        actual = getattr(loss, player)(step(real, fake, condition))
        expected = getattr(loss, player)(step(real.double(), fake.double(), condition))
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-5, atol=1e-7 * scale)


@halves
def test_the_adaptive_weight_is_that_of_float64(dtype):
    """Norms of gradients whose squares leave the range of float16 are finite."""
    layer = torch.ones(64, dtype=dtype, requires_grad=True)
    weight = adaptive_weight(1000 * layer.sum() / 2, 500 * layer.sum() / 4, layer)
    assert (weight.dtype, pytest.approx(4.0, rel=1e-5)) == (torch.float32, weight.item())


@pytest.mark.parametrize("ending", [torch.sigmoid, lambda x: x.softmax(1)])
def test_probabilities_of_classes_are_warned_of_once(ending):
    """A softmax at the end of the classifier would be taken twice."""
    loss, logits = AuxiliaryClassifier(), torch.randn(6, 4, requires_grad=True)
    classes = torch.arange(6) % 4
    loss.generator(step(logits, logits, classes))
    with pytest.warns(UserWarning, match="the discriminator's classifier ends in a") as caught:
        loss.discriminator(step(ending(logits), ending(logits), classes))
    assert len(caught) == 1


@pytest.mark.parametrize("tags", [torch.full((6, 4), 2.0), torch.full((6, 4), -1.0), torch.full((6, 4), torch.nan)])
def test_tags_out_of_range_are_refused(tags):
    """Tags are in [0, 1]."""
    with pytest.raises(GanlibError, match="condition holds tags from"):
        AuxiliaryClassifier().generator(step(torch.zeros(6, 4), torch.zeros(6, 4), tags))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ([1.0], ArgumentTypeError),
        (torch.zeros(6, 4, dtype=torch.int64), DTypeError),
        (torch.zeros(6, 4, dtype=torch.complex64), DTypeError),
        (torch.zeros(0, 4), ShapeError),
        (torch.zeros(6), GanlibError),
    ],
)
def test_class_logits_and_features_of_another_kind_are_refused(wrong, error):
    """An error of ganlib says what they are."""
    with pytest.raises(error):
        AuxiliaryClassifier().generator(step(wrong, wrong, torch.arange(6) % 4))
    if not (isinstance(wrong, torch.Tensor) and wrong.ndim == 1):
        with pytest.raises(error):
            FeatureMatching().generator(step(wrong, wrong))

"""Tests of AC-GAN's auxiliary loss."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn

from ganlib import latents, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.losses import AuxiliaryClassifier, AuxiliaryLoss, HingeLoss
from ganlib.protocols import DiscriminatorOutput, Step
from tests import strategies

REAL, FAKE = torch.tensor([2, 0, 1, 1]), torch.tensor([0, 1, 2, 0])
class_logits = strategies.logits(20, (4, 3), torch.float64)


def output(class_logits):
    """A discriminator's output of these class logits, with logits that must not matter."""
    return DiscriminatorOutput(torch.full((len(class_logits), 1), math.nan), class_logits)


def step(real, fake, condition=None, fake_condition=None):
    """A step with these outputs and conditions, and with samples that must not matter."""
    samples = torch.full((4, 1), math.nan)
    return Step(samples, samples, real, fake, condition, fake_condition)


def of_classes(logits, classes):
    """Minus the mean log of the softmax at the classes."""
    return -logits.softmax(1).log().gather(1, classes[:, None]).mean()


def of_tags(logits, tags):
    """The mean binary cross-entropy over samples and tags."""
    p = logits.sigmoid()
    return -(tags * p.log() + (1 - tags) * (1 - p).log()).mean()


KINDS = {
    "classes": (of_classes, REAL, FAKE),
    "tags": (
        of_tags,
        torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@given(real=class_logits, fake=class_logits)
def test_both_players_losses_are_cross_entropies(kind, real, fake):
    """The discriminator's loss is the cross-entropy of real plus that of fake samples, the generator's the latter."""
    formula, condition, fake_condition = KINDS[kind]
    auxiliary = AuxiliaryClassifier()

    discriminator = auxiliary.discriminator(step(output(real), output(fake), condition, fake_condition))
    generator = auxiliary.generator(step(None, output(fake), None, fake_condition))

    assert () == discriminator.shape == generator.shape
    assert torch.allclose(formula(real, condition) + formula(fake, fake_condition), discriminator, atol=1e-6)
    assert torch.allclose(formula(fake, fake_condition), generator, atol=1e-6)


@every_kind
@given(real=class_logits, fake=class_logits)
def test_the_discriminator_may_learn_from_real_samples_alone(kind, real, fake):
    """Without on_fakes the discriminator's loss is that of real samples, and the generator's is as it was."""
    formula, condition, fake_condition = KINDS[kind]
    auxiliary = AuxiliaryClassifier(on_fakes=False)

    assert torch.allclose(
        formula(real, condition),
        auxiliary.discriminator(step(output(real), output(fake), condition, fake_condition)),
        atol=1e-6,
    )
    assert torch.equal(
        AuxiliaryClassifier().generator(step(None, output(fake), None, fake_condition)),
        auxiliary.generator(step(None, output(fake), None, fake_condition)),
    )


@given(class_logits, class_logits)
def test_fakes_have_the_batchs_conditions_where_there_are_no_others(real, fake):
    """Without fake conditions, fakes are read against the real samples'."""
    auxiliary = AuxiliaryClassifier()

    assert torch.equal(
        auxiliary.discriminator(step(output(real), output(fake), REAL, REAL)),
        auxiliary.discriminator(step(output(real), output(fake), REAL)),
    )


def test_the_weight_is_the_trainers_to_apply():
    """The weight is an attribute and does not change the values."""
    logits = torch.randn(4, 3)

    assert AuxiliaryClassifier(7.0).weight == 7.0
    assert torch.equal(
        AuxiliaryClassifier().generator(step(None, output(logits), None, FAKE)),
        AuxiliaryClassifier(7.0).generator(step(None, output(logits), None, FAKE)),
    )


@every_kind
def test_bf16_class_logits_are_widened(kind):
    """Class logits in bf16 give the values of the same in float32."""
    _, condition, fake_condition = KINDS[kind]
    logits, auxiliary = torch.randn(4, 3).bfloat16(), AuxiliaryClassifier()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = auxiliary.discriminator(step(output(logits), output(-logits), condition, fake_condition))

    expected = auxiliary.discriminator(step(output(logits.float()), output(-logits.float()), condition, fake_condition))
    assert torch.float32 == actual.dtype
    assert torch.equal(expected, actual)


@every_kind
def test_extreme_class_logits_stay_finite(kind):
    """At class logits of ±1e4 values and gradients are finite."""
    _, condition, _ = KINDS[kind]
    logits = (1e4 * torch.tensor([[1.0, -1.0, 1.0]] * 4)).requires_grad_()
    value = AuxiliaryClassifier().generator(step(None, output(logits), None, condition))
    value.backward()

    assert value.isfinite()
    assert logits.grad.isfinite().all()


def calls(auxiliary, *arguments):
    """The loss of the discriminator, and that of the generator."""
    yield lambda: auxiliary.discriminator(step(*arguments))
    yield lambda: auxiliary.generator(step(*arguments))


def test_an_output_without_class_logits_is_refused():
    """A discriminator that gives no class logits raises an error that says on which samples, and what gives them."""
    bare, good = DiscriminatorOutput(torch.zeros(4, 1)), output(torch.zeros(4, 3))
    with pytest.raises(ArgumentValueError, match=r"on real samples .*class_logits.*AuxiliaryClassifierHead"):
        AuxiliaryClassifier().discriminator(step(bare, good, REAL))
    for call in calls(AuxiliaryClassifier(), good, bare, REAL, FAKE):
        with pytest.raises(ArgumentValueError, match="on fake samples .*class_logits"):
            call()


def test_a_missing_condition_is_refused():
    """Without a condition to compare with, an error says whose is missing."""
    good = output(torch.zeros(4, 3))
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) of the real samples") as caught:
        AuxiliaryClassifier().discriminator(step(good, good))
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) of the fake samples"):
        AuxiliaryClassifier().generator(step(None, good))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(("classes", "said"), [([0, 1, 3, 2], "from 0 to 3"), ([0, -1, 2, 1], "from -1 to 2")])
def test_a_class_that_there_is_not_is_refused(classes, said):
    """Classes out of range are refused on the host, with theirs and the range that there is."""
    good = output(torch.zeros(4, 3))
    for call in calls(AuxiliaryClassifier(), good, good, REAL, torch.tensor(classes)):
        with pytest.raises(ArgumentValueError, match=rf"{said}, but class_logits \(4, 3\) know those from 0 to 2"):
            call()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), r"\(4, 3\) must be \(N, K\) for classes \(N,\), but condition is \(3,\)"),
        (torch.zeros(4, 1, dtype=torch.int64), r"but condition is \(4, 1\)"),
        (torch.zeros(4, 2), r"class_logits \(4, 3\) must have the shape of tags \(4, 2\)"),
        (torch.zeros(4), r"class_logits \(4, 3\) must have the shape of tags \(4,\)"),
    ],
)
def test_conditions_of_another_shape_are_refused(condition, message):
    """Classes or tags that do not fit the class logits raise an error that quotes both shapes."""
    good = output(torch.zeros(4, 3))
    with pytest.raises(ShapeError, match=message) as caught:
        AuxiliaryClassifier().generator(step(None, good, None, condition))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("bare", [torch.zeros(2, 1), (torch.zeros(2, 1), torch.zeros(2, 1))])
def test_bare_logits_are_refused(bare):
    """Logits instead of a DiscriminatorOutput raise an error that says what is missing."""
    good = output(torch.zeros(4, 3))
    with pytest.raises(ArgumentTypeError, match="^fake_output is a .* neither class_logits nor features"):
        AuxiliaryClassifier().generator(step(good, bare, REAL))
    with pytest.raises(ArgumentTypeError, match="^real_output is a"):
        AuxiliaryClassifier().discriminator(step(bare, good, REAL))


@pytest.mark.parametrize("condition", [(REAL, REAL), {"class": REAL}])
def test_a_nest_of_conditions_is_refused(condition):
    """A condition of several parts raises an error that says whose it is, and of what type."""
    good = output(torch.zeros(4, 3))
    with pytest.raises(ArgumentTypeError, match=f"condition of the fake samples is a {type(condition).__name__}"):
        AuxiliaryClassifier().generator(step(good, good, condition))


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_weight_is_refused(weight):
    """A weight out of range raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"weight \(={weight}\)"):
        AuxiliaryClassifier(weight)


def test_its_arguments_can_be_read():
    """It is an AuxiliaryLoss that needs no real output for the generator, and its arguments show in the repr."""
    assert isinstance(AuxiliaryClassifier(), AuxiliaryLoss)
    assert not getattr(AuxiliaryClassifier(), "needs_real", False)
    assert repr(AuxiliaryClassifier(0.5, on_fakes=False)) == "AuxiliaryClassifier(weight=0.5, on_fakes=False)"


class Classifier(nn.Module):
    """A discriminator with a head for three classes."""

    def __init__(self):
        super().__init__()
        self.logit, self.classes = nn.Linear(2, 1), nn.Linear(2, 3)

    def forward(self, x, condition):
        """Discriminate and classify."""
        return DiscriminatorOutput(self.logit(x), self.classes(x))


class Generator(nn.Linear):
    """A generator that ignores conditions."""

    def forward(self, latent, condition):
        """Generate."""
        return super().forward(latent)


def test_a_discriminator_learns_to_classify_with_it():
    """Trained on three far points, with it alone changing the head, the discriminator reads their classes."""
    torch.manual_seed(0)
    points, classes = 3 * torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).repeat(8, 1), torch.arange(3).repeat(8)
    generator, discriminator = Generator(3, 2), Classifier()
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-3),
        torch.optim.Adam(discriminator.parameters(), lr=5e-2),
        loss=HingeLoss(),
        latent=latents.Gaussian(3),
        auxiliary_losses=[AuxiliaryClassifier(on_fakes=False)],
    )
    first = trainer.train_step(iter([(points, classes)]))
    for _ in range(60):
        last = trainer.train_step(iter([(points, classes)]))

    assert {"auxiliary_classifier"} == first.keys() - {
        "discriminator_loss",
        "generator_loss",
        "real_score",
        "fake_score",
    }
    assert all(value.isfinite() for value in last.values())
    assert torch.equal(classes, discriminator(points, None).class_logits.argmax(1))


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_classes_of_another_dtype_are_refused(dtype):
    """Classes must be int64, as everywhere; another dtype raises an error that names it."""
    output = DiscriminatorOutput(torch.zeros(2, 1), torch.zeros(2, 3))
    with pytest.raises(DTypeError, match=rf"condition must be int64 classes .* {dtype}"):
        AuxiliaryClassifier().generator(step(None, output, None, torch.zeros(2, dtype=dtype)))

"""Tests of feature matching."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import latents, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.losses import AuxiliaryLoss, FeatureMatching, HingeLoss
from ganlib.protocols import DiscriminatorOutput, Step
from tests import strategies

SHAPES = [(4,), (4, 3), (4, 2, 3, 2)]


def output(*features):
    """A discriminator's output of these features, with logits that must not matter."""
    return DiscriminatorOutput(torch.full((4, 1), math.nan), features=features)


def step(fake, real):
    """A step with these outputs, and with samples that must not matter."""
    return Step(torch.full((4, 1), math.nan), torch.full((4, 1), math.nan), real, fake)


@st.composite
def feature_pairs(draw, dtype=torch.float64):
    """Features of real and of fake samples: one to three tensors of four samples each."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    return tuple([draw(strategies.normals(shape, dtype)) for shape in shapes] for _ in range(2))


@given(feature_pairs())
def test_mean_matching_is_its_formula(pair):
    """It is the sum over layers of the squared distance of the batch means, per number of a sample."""
    real, fake = pair
    expected = sum(((r.sum(0) / 4 - f.sum(0) / 4) ** 2).sum() / r[0].numel() for r, f in zip(real, fake, strict=True))

    actual = FeatureMatching().generator(step(output(*fake), output(*real)))

    assert actual.shape == ()
    assert torch.allclose(expected, actual)


@given(feature_pairs())
def test_paired_matching_is_its_formula(pair):
    """It is the sum over layers of the mean over samples of the absolute distances, per number of a sample."""
    real, fake = pair
    expected = sum(
        sum((r[i] - f[i]).abs().sum() / r[i].numel() for i in range(4)) / 4 for r, f in zip(real, fake, strict=True)
    )

    assert torch.allclose(expected, FeatureMatching(kind="paired").generator(step(output(*fake), output(*real))))


def test_means_take_any_order_and_pairs_one():
    """Fakes in another order have the same means, but are compared with other real samples."""
    real = torch.arange(8.0).view(4, 2)
    same, other = output(real), output(real.flip(0))

    assert FeatureMatching().generator(step(other, same)).item() == 0.0
    assert FeatureMatching(kind="paired").generator(step(same, same)).item() == 0.0
    assert FeatureMatching(kind="paired").generator(step(other, same)).item() == 4.0


def test_the_means_of_batches_of_two_sizes_can_be_matched():
    """Means need no equal numbers of samples: these are 2 and 5."""
    real, fake = output(torch.tensor([[1.0], [2.0], [3.0]])), output(torch.tensor([[5.0]]))

    assert FeatureMatching().generator(step(fake, real)).item() == 9.0


@pytest.mark.parametrize("kind", ["mean", "paired"])
def test_no_gradient_flows_to_real(kind):
    """Fakes move towards real samples and not the other way: only their features have a gradient."""
    real, fake = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    FeatureMatching(kind=kind).generator(step(output(fake), output(real))).backward()

    assert real.grad is None
    assert fake.grad.abs().min() > 0


@pytest.mark.parametrize("kind", ["mean", "paired"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_widened(kind, dtype):
    """Half-precision features, also under autocast, give the value of the same in float32, and no overflow."""
    real, fake = 300 * torch.randn(4, 3).to(dtype), 300 * torch.randn(4, 3).to(dtype)
    matching = FeatureMatching(kind=kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = matching.generator(step(output(fake), output(real)))

    assert torch.float32 == actual.dtype
    assert actual.isfinite()
    assert torch.equal(matching.generator(step(output(fake.float()), output(real.float()))), actual)


@pytest.mark.parametrize("logits", [torch.zeros(4, 1), (torch.zeros(4, 1), torch.zeros(4, 1, 2, 2))])
def test_the_discriminator_has_no_part_in_it(logits):
    """The discriminator's loss is a 0 without a graph, of one scale and of several."""
    real = DiscriminatorOutput(logits, features=(torch.randn(4, 3, requires_grad=True),))

    actual = FeatureMatching().discriminator(step(real, real))

    assert torch.equal(torch.zeros(()), actual)
    assert not actual.requires_grad


@pytest.mark.parametrize(
    ("fake", "real", "said"),
    [
        (output(torch.zeros(4, 3)), output(), "real has 0, fake 1"),
        (output(), output(), "real has 0, fake 0"),
        (output(torch.zeros(4, 3)), output(torch.zeros(4, 3), torch.zeros(4, 3)), "real has 2, fake 1"),
    ],
)
def test_missing_features_are_refused(fake, real, said):
    """Without features, or with another number of them, an error says how many there are and what gives them."""
    with pytest.raises(ArgumentValueError, match=rf"{said} \(stacks.PatchDiscriminator") as caught:
        FeatureMatching().generator(step(fake, real))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("kind", "real", "fake"),
    [("mean", (4, 3), (4, 2)), ("paired", (4, 3), (4, 2)), ("paired", (4, 3), (2, 3)), ("paired", (4, 3), (1, 3))],
)
def test_features_of_two_shapes_are_refused(kind, real, fake):
    """Features that do not match, also where they would broadcast, raise an error that quotes both shapes."""
    with pytest.raises(ShapeError) as caught:
        FeatureMatching(kind=kind).generator(step(output(torch.zeros(fake)), output(torch.zeros(real))))
    assert f"features of real {real} and fake {fake}" in str(caught.value)


@pytest.mark.parametrize("bare", [torch.zeros(2, 1), (torch.zeros(2, 1), torch.zeros(2, 1))])
def test_bare_logits_are_refused(bare):
    """Logits instead of a DiscriminatorOutput raise an error that says what is missing, and so does a None."""
    whole = output(torch.zeros(4, 3))
    with pytest.raises(ArgumentTypeError, match="^fake_output is a .* neither class_logits nor features"):
        FeatureMatching().generator(step(bare, whole))
    with pytest.raises(ArgumentTypeError, match="^real_output is a"):
        FeatureMatching().generator(step(whole, bare))
    with pytest.raises(ArgumentValueError, match=r"real_output \(=None\) is missing"):
        FeatureMatching().generator(step(whole, None))


def test_bad_arguments_are_refused():
    """A weight out of range and another kind raise errors that quote them."""
    with pytest.raises(ArgumentValueError, match=r"weight \(=-1\.0\)"):
        FeatureMatching(-1.0)
    with pytest.raises(ArgumentValueError, match=r"kind \(='median'\) must be 'mean' or 'paired'"):
        FeatureMatching(kind="median")


def test_its_arguments_can_be_read():
    """It is an AuxiliaryLoss that needs the real output; its weight is not applied; its repr shows the arguments."""
    matching = FeatureMatching(0.5, kind="paired")
    real, fake = output(torch.ones(4, 2)), output(torch.zeros(4, 2))

    assert isinstance(matching, AuxiliaryLoss)
    assert matching.needs_real
    assert matching.weight == 0.5
    assert matching.generator(step(fake, real)).item() == 1.0
    assert repr(matching) == "FeatureMatching(weight=0.5, kind='paired')"


class Watcher(nn.Module):
    """A discriminator whose feature is the sample."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Linear(2, 1)

    def forward(self, x):
        """Discriminate."""
        return DiscriminatorOutput(0 * self.logit(x), features=(x,))


def test_a_generator_learns_the_mean_with_it():
    """Where the discriminator says nothing, feature matching alone brings the fakes' mean to the real one."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(3, 2), Watcher()
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.5),
        torch.optim.SGD(discriminator.parameters(), lr=0.0),
        loss=HingeLoss(),
        latent=latents.Gaussian(3),
        auxiliary_losses=[FeatureMatching()],
    )
    real = torch.tensor([[2.0, -1.0]]) + 0.01 * torch.randn(64, 2)
    for _ in range(60):
        metrics = trainer.train_step(iter([real]))

    assert metrics["feature_matching"] < 0.05
    assert (generator.bias.detach() - real[0]).abs().max() < 0.3

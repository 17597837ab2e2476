"""Tests of the conditional DCGAN."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib import losses
from ganlib.conditioning import (
    AuxiliaryClassifierHead,
    ClassEmbedding,
    ConcatLatent,
    Maps,
    OneHot,
    Projection,
    TagEmbedding,
    VectorEmbedding,
)
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.models import conditional_dcgan
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import StackPlan, Stage
from tests.models.cases import CONDITIONS, FLAT, LABELS, TALL, all_plans, make_trainer, noisy

two_plans = pytest.mark.parametrize("plan", [TALL, FLAT], ids=["spatial top", "flat top"])
told = pytest.mark.parametrize("conditioning", ["projection", "channels", "features"])
both_ways = pytest.mark.parametrize("generator_conditioning", ["latent", "batch_norm"])


@all_plans
@both_ways
@pytest.mark.parametrize("conditioning", ["projection", "channels", "features", "auxiliary", "projection+auxiliary"])
def test_conditions_to_images_to_logits(plan, generator_conditioning, conditioning):
    """In one to three dimensions, flat or spatial at the top, come images of the plan's shape, and a logit for each."""
    generator, discriminator = conditional_dcgan(
        plan, 6, 5, conditioning=conditioning, generator_conditioning=generator_conditioning
    )
    images = generator(torch.randn(4, 6), LABELS)
    output = discriminator(images, LABELS)
    assert images.shape == (4, *plan.image_shape)
    assert images.abs().max() <= 1
    if "auxiliary" in conditioning:
        assert isinstance(output, DiscriminatorOutput)
        assert output.class_logits.shape == (4, 5)
        output = output.logits
    assert output.shape == (4, 1)


@two_plans
@told
@both_ways
@pytest.mark.parametrize("condition", CONDITIONS)
def test_any_condition_in_any_way(plan, conditioning, generator_conditioning, condition):
    """Classes, tags and vectors go in in every way, and gradients reach them."""
    encoder, asked = CONDITIONS[condition]
    generator, discriminator = conditional_dcgan(
        plan,
        6,
        encoder=copy.deepcopy(encoder),
        conditioning=conditioning,
        generator_conditioning=generator_conditioning,
    )
    images = noisy(generator)(torch.randn(4, 6), asked)
    logits = discriminator(images, asked)
    assert (images.shape, logits.shape) == ((4, *plan.image_shape), (4, 1))
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in [*generator.parameters(), *discriminator.parameters()])
    learned = [
        parameter for module in generator.modules() if hasattr(module, "check") for parameter in module.parameters()
    ]
    assert all(parameter.grad.abs().sum() > 0 for parameter in learned)


@two_plans
@told
def test_the_condition_matters(plan, conditioning):
    """Another class gives another image from the same latent, and another logit for the same image."""
    generator, discriminator = (
        network.eval() for network in conditional_dcgan(plan, 6, 5, conditioning=conditioning, init=None)
    )
    latent = torch.randn(1, 6)
    images = [generator(latent, torch.tensor([label])) for label in (0, 1)]
    assert not torch.allclose(*images)
    logits = [discriminator(images[0], torch.tensor([label])) for label in (0, 1)]
    assert not torch.allclose(*logits)


def test_num_classes_is_short_for_one_hot_and_an_embedding_of_the_features():
    """The generator is given the class one-hot; the projection embeds it in as many numbers as there are features."""
    generator, discriminator = conditional_dcgan(TALL, 6, 5)
    assert isinstance(generator, ConcatLatent)
    assert (type(generator.encoder), generator.encoder.features) == (OneHot, 5)
    assert isinstance(discriminator, Projection)
    assert (type(discriminator.encoder), discriminator.encoder.features) == (ClassEmbedding, 8 * 3 * 2)


@told
@both_ways
def test_the_players_share_no_parameter(conditioning, generator_conditioning):
    """The discriminator's encoder is a copy: no parameter belongs to both."""
    generator, discriminator = conditional_dcgan(
        TALL,
        6,
        encoder=TagEmbedding(6, 3),
        conditioning=conditioning,
        generator_conditioning=generator_conditioning,
    )
    assert not {*map(id, generator.parameters())} & {*map(id, discriminator.parameters())}


@two_plans
@both_ways
@pytest.mark.parametrize("condition", ["classes", "embedded", "tags"])
@pytest.mark.parametrize("conditioning", ["auxiliary", "projection+auxiliary"])
def test_auxiliary_reads_classes_and_tags(plan, generator_conditioning, condition, conditioning):
    """It gives a score of each class or tag, and trains with AC-GAN's loss; only with a projection is it told."""
    encoder, asked = CONDITIONS[condition]
    generator, discriminator = conditional_dcgan(
        plan,
        6,
        encoder=copy.deepcopy(encoder),
        conditioning=conditioning,
        generator_conditioning=generator_conditioning,
    )
    told = conditioning != "auxiliary"
    assert isinstance(discriminator, Projection if told else AuxiliaryClassifierHead)
    images = 2 * torch.rand(4, *plan.image_shape) - 1
    output = copy.deepcopy(discriminator).eval()(images, asked)
    assert output.class_logits.shape == (4, 6 if condition == "tags" else 5)
    other = copy.deepcopy(discriminator).eval()(images, asked.flip(0))
    assert torch.equal(output.logits, other.logits) != told
    assert torch.equal(output.class_logits, other.class_logits)
    trainer = make_trainer(generator, discriminator, auxiliary_losses=[losses.AuxiliaryClassifier()])
    before = discriminator.classify.weight.detach().clone()
    metrics = [trainer.train_step(iter([(images, asked)])) for _ in range(2)]
    assert all(value.isfinite() for metric in metrics for value in metric.values())
    assert len(metrics[0]) == 5
    assert not torch.equal(before, discriminator.classify.weight)


def test_auxiliary_by_num_classes():
    """With num_classes it scores as many classes."""
    for conditioning in ("auxiliary", "projection+auxiliary"):
        _, discriminator = conditional_dcgan(TALL, 6, 7, conditioning=conditioning)
        assert (discriminator.num_classes, discriminator.features) == (7, 8 * 3 * 2)


@both_ways
@pytest.mark.parametrize("conditioning", ["projection", "auxiliary", "projection+auxiliary"])
def test_labels_out_of_range_never_reach_the_generator(generator_conditioning, conditioning):
    """The trainer finds the encoder, next to the latent or in the norms, and refuses the label before any training."""
    generator, discriminator = conditional_dcgan(
        TALL, 6, 5, generator_conditioning=generator_conditioning, conditioning=conditioning
    )
    trainer = make_trainer(
        generator, discriminator, auxiliary_losses=[losses.AuxiliaryClassifier()] * ("auxiliary" in conditioning)
    )
    with pytest.raises(ArgumentValueError, match="holds the class 5"):
        trainer.check_conditions(torch.tensor([0, 5]))
    trainer.check_conditions(torch.tensor([0, 4]))


@both_ways
def test_keywords_reach_the_parts(generator_conditioning):
    """Activation, dropout, spectral normalisation and init are where they were asked for, conditional norms or not."""
    seen = []
    generator, discriminator = conditional_dcgan(
        TALL,
        6,
        3,
        generator_conditioning=generator_conditioning,
        discriminator_norm="group",
        activation=nn.ELU,
        dropout=0.2,
        spectral_norm=True,
        init=lambda network: seen.append(network) or network,
    )

    def has(network, kind):
        return any(isinstance(module, kind) for module in network.modules())

    assert [has(network, nn.GroupNorm) for network in (generator, discriminator)] == [False, True]
    assert [has(network, nn.BatchNorm2d) for network in (generator, discriminator)] == [True, False]
    assert [has(network, nn.ELU) for network in (generator, discriminator)] == [True, True]
    assert [has(network, nn.ReLU | nn.LeakyReLU) for network in (generator, discriminator)] == [False, False]
    assert [has(network, nn.Dropout | nn.Dropout2d) for network in (generator, discriminator)] == [False, True]
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    assert all(parametrize.is_parametrized(module, "weight") for module in convolutions)
    assert {*seen} == {generator, discriminator}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, r"latent_dim \(=0\)"),
        ({"latent_dim": 2.0}, r"latent_dim \(=2.0\)"),
        ({"norm": "layer"}, r"norm \(='layer'\)"),
        ({"dropout": 1.0}, r"dropout \(=1.0\)"),
        ({"num_classes": None}, r"num_classes \(=None\) or encoder \(=None\)"),
        ({"encoder": OneHot(3)}, r"num_classes \(=5\) or encoder \(=OneHot\(3\)\)"),
        ({"num_classes": 0}, r"num_classes \(=0\)"),
        ({"num_classes": None, "encoder": Maps(3)}, r"encoder \(=Maps\(3\)\) gives maps"),
        ({"conditioning": "concat"}, r"conditioning \(='concat'\) must be .*'auxiliary'"),
        ({"generator_conditioning": "film"}, r"generator_conditioning \(='film'\) must be 'latent' or 'batch_norm'"),
        *(
            ({"generator_conditioning": "batch_norm", "norm": norm}, rf"'batch_norm'\) needs norm \(={norm!r}\)")
            for norm in ("instance", "group", "none")
        ),
        ({"generator_conditioning": "batch_norm", "norm": nn.BatchNorm2d}, r"needs norm \(=<class .*BatchNorm2d"),
        (
            {"generator_conditioning": "batch_norm", "plan": StackPlan((1, 4, 4), [Stage(3, 4, 1, 0)])},
            r"'batch_norm'\) needs a batch norm.*top_shape \(=\(3, 1, 1\)\)",
        ),
        *(
            (
                {"conditioning": conditioning, "num_classes": None, "encoder": VectorEmbedding(7, 3)},
                rf"conditioning \(='{re.escape(conditioning)}'\) reads classes or tags, .*encoder \(=VectorEmbedding",
            )
            for conditioning in ("auxiliary", "projection+auxiliary")
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        conditional_dcgan(**{"plan": TALL, "latent_dim": 6, "num_classes": 5} | arguments)
    assert isinstance(caught.value, GanlibError)


@both_ways
def test_what_is_asked_for_is_checked(generator_conditioning):
    """A label out of range and no condition at all are ValueErrors of ours, on either player."""
    generator, discriminator = conditional_dcgan(TALL, 6, 5, generator_conditioning=generator_conditioning)
    for call in (lambda *c: generator(torch.zeros(2, 6), *c), lambda *c: discriminator(torch.zeros(2, 1, 12, 8), *c)):
        for condition in ((), (torch.tensor([0, 5]),), (torch.tensor([0]),)):
            with pytest.raises(ValueError, match="condition") as caught:
                call(*condition)
            assert isinstance(caught.value, GanlibError)

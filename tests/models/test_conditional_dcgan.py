"""Tests of the conditional DCGAN."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib import latents, losses, training
from ganlib.conditioning import (
    AuxiliaryClassifierHead,
    ClassEmbedding,
    ConcatLatent,
    ConditionalBatchNorm,
    FiLM,
    Maps,
    OneHot,
    Projection,
    TagEmbedding,
    VectorEmbedding,
)
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.models import conditional_dcgan, dcgan, load_generator, save_generator
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import StackPlan, Stage

_TALL = StackPlan((1, 12, 8), [Stage(4), Stage(8)])
_FLAT = StackPlan((1, 8, 8), [Stage(4), Stage(8, kernel_size=4, stride=1, padding=0)])
_PLANS = {
    "spatial top": _TALL,
    "flat top": _FLAT,
    "one dimension": StackPlan((2, 10), [Stage(4), Stage(6)]),
    "one dimension, flat top": StackPlan((1, 8), [Stage(4), Stage(6, kernel_size=4, stride=1, padding=0)]),
    "three dimensions": StackPlan((1, 5, 4, 6), [Stage(4)]),
    "three dimensions, flat top": StackPlan((1, 4, 4, 4), [Stage(3), Stage(4, kernel_size=2, stride=1, padding=0)]),
}
_CONDITIONS = {
    "classes": (OneHot(5), torch.tensor([3, 1, 4, 1])),
    "embedded": (ClassEmbedding(5, 3), torch.tensor([3, 1, 4, 1])),
    "tags": (TagEmbedding(6, 3), torch.eye(4, 6)),
    "vectors": (VectorEmbedding(7, 3), torch.linspace(-1, 1, 28).view(4, 7)),
}
_LABELS = torch.tensor([3, 1, 4, 1])
two_plans = pytest.mark.parametrize("plan", [_TALL, _FLAT], ids=["spatial top", "flat top"])
all_plans = pytest.mark.parametrize("plan", _PLANS.values(), ids=_PLANS)
told = pytest.mark.parametrize("conditioning", ["projection", "channels", "features"])
both_ways = pytest.mark.parametrize("generator_conditioning", ["latent", "batch_norm"])


def _norms(network):
    return [module for module in network.modules() if isinstance(module, FiLM)]


def _noisy(network):
    """The network, with conditional norms that have left their zeros."""
    for film in _norms(network):
        nn.init.normal_(film.gain)
        nn.init.normal_(film.bias)
    return network


def _shared(encoder, **options):
    """A generator whose norms share an encoder, after a little noise."""
    generator, _ = conditional_dcgan(_TALL, 6, encoder=encoder, generator_conditioning="batch_norm", **options)
    return _noisy(generator)


def _trainer(generator, discriminator, **options):
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-2),
        torch.optim.Adam(discriminator.parameters(), lr=1e-2),
        **{"loss": losses.NonSaturatingLoss(), "latent": latents.Gaussian(6)} | options,
    )


@all_plans
@both_ways
@pytest.mark.parametrize("conditioning", ["projection", "channels", "features", "auxiliary"])
def test_conditions_to_images_to_logits(plan, generator_conditioning, conditioning):
    """In one to three dimensions, flat or spatial at the top, come images of the plan's shape, and a logit for each."""
    generator, discriminator = conditional_dcgan(
        plan, 6, 5, conditioning=conditioning, generator_conditioning=generator_conditioning
    )
    images = generator(torch.randn(4, 6), _LABELS)
    output = discriminator(images, _LABELS)
    assert images.shape == (4, *plan.image_shape)
    assert images.abs().max() <= 1
    if conditioning == "auxiliary":
        assert isinstance(output, DiscriminatorOutput)
        assert output.class_logits.shape == (4, 5)
        output = output.logits
    assert output.shape == (4, 1)


@two_plans
@told
@both_ways
@pytest.mark.parametrize("condition", _CONDITIONS)
def test_any_condition_in_any_way(plan, conditioning, generator_conditioning, condition):
    """Classes, tags and vectors go in in every way, and gradients reach them."""
    encoder, asked = _CONDITIONS[condition]
    generator, discriminator = conditional_dcgan(
        plan,
        6,
        encoder=copy.deepcopy(encoder),
        conditioning=conditioning,
        generator_conditioning=generator_conditioning,
    )
    images = _noisy(generator)(torch.randn(4, 6), asked)
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


@all_plans
@pytest.mark.parametrize("condition", _CONDITIONS)
def test_conditional_norms_start_as_batch_norm(plan, condition):
    """With the same convolutions the generator gives what that of dcgan gives, whatever is asked for."""
    encoder, asked = _CONDITIONS[condition]
    conditional, _ = conditional_dcgan(plan, 6, encoder=encoder, generator_conditioning="batch_norm", init=None)
    plain, _ = dcgan(plan, 6, init=None)
    kinds = nn.Linear, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
    mine = [
        module
        for module in conditional.modules()
        if isinstance(module, kinds) and module is not getattr(encoder, "linear", None)
    ]
    its = [module for module in plain.modules() if isinstance(module, kinds)]
    for one, other in zip(mine, its, strict=True):
        other.load_state_dict(one.state_dict())
    latent = torch.randn(4, 6)
    torch.testing.assert_close(conditional(latent, asked), plain(latent))
    torch.testing.assert_close(conditional.eval()(latent, asked), plain.eval()(latent))


@all_plans
def test_conditional_norms_learn_from_one_step(plan):
    """At first another class gives the same image; after a step of the trainer, or a little noise, another one."""
    torch.manual_seed(0)
    generator, discriminator = conditional_dcgan(plan, 6, 5, generator_conditioning="batch_norm")
    latent = torch.randn(1, 6)

    def images(network):
        with torch.no_grad():
            return [copy.deepcopy(network).eval()(latent, torch.tensor([label])) for label in (0, 1)]

    assert torch.equal(*images(generator))
    assert not torch.allclose(*images(_noisy(copy.deepcopy(generator))), atol=1e-4)
    _trainer(generator, discriminator).train_step(iter([(torch.rand(4, *plan.image_shape), _LABELS % 2)]))
    assert not torch.equal(*images(generator))


def test_every_batch_norm_of_the_generator_is_conditional():
    """No batch norm has a gain of its own, and each conditional one has its plan's channels and dimensions."""
    for plan in _PLANS.values():
        generator, _ = conditional_dcgan(plan, 6, 5, generator_conditioning="batch_norm")
        plain = [m for m in generator.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
        conditional = [module for module in generator.modules() if isinstance(module, ConditionalBatchNorm)]
        assert {*map(id, plain)} == {id(module.norm) for module in conditional}
        assert not any(module.affine for module in plain)
        # A linear layer makes a spatial top, and has a norm behind it; the image has none.
        expected = plan.shapes[1 : None if plan.shapes[-1][1:].count(1) < plan.spatial_dims else -1]
        assert sorted(shape[0] for shape in expected) == sorted(module.num_features for module in plain)


_KEEPERS = {
    "itself": lambda generator, path: generator,
    "deepcopy": lambda generator, path: copy.deepcopy(generator),
    "file": lambda generator, path: [save_generator(path, generator), load_generator(path)][1],
    "copy from a file": lambda generator, path: [save_generator(path, generator), copy.deepcopy(load_generator(path))][
        1
    ],
    "EMA": lambda generator, path: training.EMA(generator).generator,
    "file of an EMA": lambda generator, path: [
        save_generator(path, training.EMA(generator).generator),
        load_generator(path),
    ][1],
}


@pytest.mark.parametrize("keep", _KEEPERS.values(), ids=_KEEPERS)
@pytest.mark.parametrize("condition", ["embedded", "tags", "vectors"])
def test_all_norms_share_one_encoder(tmp_path, keep, condition):
    """One encoder serves all norms, counts once among the parameters, and the images are the same, however kept."""
    encoder, asked = _CONDITIONS[condition]
    original = _shared(copy.deepcopy(encoder))
    original(torch.randn(4, 6), asked)  # moves the statistics
    generator = keep(original, tmp_path / "generator.pt")
    norms, latent = _norms(generator), torch.randn(4, 6)
    assert len(norms) == 2
    assert norms[0].encoder is norms[1].encoder
    assert (norms[0].encoder is _norms(original)[0].encoder) == (generator is original)
    for parameter in norms[0].encoder.parameters():
        assert sum(other is parameter for other in generator.parameters()) == 1
    numbers = [sum(parameter.numel() for parameter in network.parameters()) for network in (original, generator)]
    assert numbers[0] == numbers[1]
    assert torch.equal(original.eval()(latent, asked), generator.eval()(latent, asked))


def test_an_average_moves_a_shared_encoder_once():
    """After each step the average of the shared encoder's weight is its recursion by hand, and stays shared."""
    generator, discriminator = conditional_dcgan(
        _TALL, 6, encoder=TagEmbedding(6, 3), generator_conditioning="batch_norm", conditioning="channels"
    )
    _noisy(generator)
    trainer, ema = _trainer(generator, discriminator), training.EMA(generator, decay=0.5)
    live, average = (_norms(network)[0].encoder for network in (generator, ema.generator))
    expected = live.weight.detach().double().clone()
    start, batch = expected.clone(), (torch.rand(4, 1, 12, 8), torch.eye(4, 6))
    for n in range(4):
        training.fit(trainer, [batch], iterations=n + 1, callbacks=[ema])
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * live.weight.detach().double()
    assert not torch.allclose(start, expected, atol=1e-3)
    torch.testing.assert_close(average.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert all(film.encoder is average for film in _norms(ema.generator))


def test_a_shared_encoder_gets_the_gradient_of_all_norms():
    """The encoder's gradient is the sum of what it gets through each of the norms alone."""
    generator, latent, asked = _shared(TagEmbedding(6, 3)), torch.randn(4, 6), torch.eye(4, 6)
    apart, expected = copy.deepcopy(generator), 0
    for film in _norms(apart):
        film.encoder = copy.deepcopy(film.encoder)
    apart(latent, asked).square().sum().backward()
    expected = sum(film.encoder.weight.grad for film in _norms(apart))
    generator(latent, asked).square().sum().backward()
    torch.testing.assert_close(_norms(generator)[0].encoder.weight.grad, expected)


def test_num_classes_is_short_for_one_hot_and_an_embedding_of_the_features():
    """The generator is given the class one-hot; the projection embeds it in as many numbers as there are features."""
    generator, discriminator = conditional_dcgan(_TALL, 6, 5)
    assert isinstance(generator, ConcatLatent)
    assert (type(generator.encoder), generator.encoder.features) == (OneHot, 5)
    assert isinstance(discriminator, Projection)
    assert (type(discriminator.encoder), discriminator.encoder.features) == (ClassEmbedding, 8 * 3 * 2)


@told
@both_ways
def test_the_players_share_no_parameter(conditioning, generator_conditioning):
    """The discriminator's encoder is a copy: no parameter belongs to both."""
    generator, discriminator = conditional_dcgan(
        _TALL,
        6,
        encoder=TagEmbedding(6, 3),
        conditioning=conditioning,
        generator_conditioning=generator_conditioning,
    )
    assert not {*map(id, generator.parameters())} & {*map(id, discriminator.parameters())}


@two_plans
@both_ways
@pytest.mark.parametrize("condition", ["classes", "embedded", "tags"])
def test_auxiliary_reads_classes_and_tags(plan, generator_conditioning, condition):
    """The auxiliary discriminator is not told, gives a score of each class or tag, and trains with AC-GAN's term."""
    encoder, asked = _CONDITIONS[condition]
    generator, discriminator = conditional_dcgan(
        plan,
        6,
        encoder=copy.deepcopy(encoder),
        conditioning="auxiliary",
        generator_conditioning=generator_conditioning,
    )
    assert isinstance(discriminator, AuxiliaryClassifierHead)
    images = torch.rand(4, *plan.image_shape)
    output = copy.deepcopy(discriminator).eval()(images, asked)
    assert output.class_logits.shape == (4, 6 if condition == "tags" else 5)
    assert torch.equal(output.logits, copy.deepcopy(discriminator).eval()(images, asked.flip(0)).logits)
    trainer = _trainer(generator, discriminator, terms=[losses.AuxiliaryClassifier()])
    before = discriminator.classify.weight.detach().clone()
    metrics = [trainer.train_step(iter([(images, asked)])) for _ in range(2)]
    assert all(value.isfinite() for metric in metrics for value in metric.values())
    assert len(metrics[0]) == 5
    assert not torch.equal(before, discriminator.classify.weight)


def test_auxiliary_by_num_classes():
    """With num_classes it scores as many classes."""
    _, discriminator = conditional_dcgan(_TALL, 6, 7, conditioning="auxiliary")
    assert (discriminator.num_classes, discriminator.features) == (7, 8 * 3 * 2)


@both_ways
@pytest.mark.parametrize("conditioning", ["projection", "auxiliary"])
def test_labels_out_of_range_never_reach_the_generator(generator_conditioning, conditioning):
    """The trainer finds the encoder, beside the latent or in the norms, and refuses the label before any training."""
    generator, discriminator = conditional_dcgan(
        _TALL, 6, 5, generator_conditioning=generator_conditioning, conditioning=conditioning
    )
    trainer = _trainer(generator, discriminator, terms=[losses.AuxiliaryClassifier()] * (conditioning == "auxiliary"))
    with pytest.raises(ArgumentValueError, match="holds the class 5"):
        trainer.check_conditions(torch.tensor([0, 5]))
    trainer.check_conditions(torch.tensor([0, 4]))


@both_ways
def test_keywords_reach_the_parts(generator_conditioning):
    """Activation, dropout, spectral normalisation and init are where they were asked for, conditional norms or not."""
    seen = []
    generator, discriminator = conditional_dcgan(
        _TALL,
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
        (
            {"conditioning": "auxiliary", "num_classes": None, "encoder": VectorEmbedding(7, 3)},
            r"conditioning \(='auxiliary'\) reads classes or tags, .*encoder \(=VectorEmbedding",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument is a ValueError of ours naming it and its value."""
    with pytest.raises(ValueError, match=message) as caught:
        conditional_dcgan(**{"plan": _TALL, "latent_dim": 6, "num_classes": 5} | arguments)
    assert isinstance(caught.value, GanlibError)


def test_the_discriminators_norm_is_free_with_conditional_norms():
    """Only the generator's norm must be batch norm: the discriminator's may be any."""
    generator, discriminator = conditional_dcgan(
        _TALL, 6, 5, generator_conditioning="batch_norm", discriminator_norm="none"
    )
    assert _norms(generator)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())


@both_ways
def test_what_is_asked_for_is_checked(generator_conditioning):
    """A label out of range and no condition at all are ValueErrors of ours, on either player."""
    generator, discriminator = conditional_dcgan(_TALL, 6, 5, generator_conditioning=generator_conditioning)
    for call in (lambda *c: generator(torch.zeros(2, 6), *c), lambda *c: discriminator(torch.zeros(2, 1, 12, 8), *c)):
        for condition in ((), (torch.tensor([0, 5]),), (torch.tensor([0]),)):
            with pytest.raises(ValueError, match="condition") as caught:
                call(*condition)
            assert isinstance(caught.value, GanlibError)

"""Tests of the conditional DCGAN whose generator is told in its batch norms, by one shared encoder."""

import copy

import pytest
import torch
from torch import nn

from ganlib import training
from ganlib.conditioning import ConditionalBatchNorm, TagEmbedding
from ganlib.models import conditional_dcgan, dcgan, load_generator, save_generator
from tests.models.cases import CONDITIONS, LABELS, PLANS, TALL, all_plans, conditional_norms, make_trainer, noisy


def _shared(encoder, **options):
    """A generator whose norms share an encoder, after a little noise."""
    generator, _ = conditional_dcgan(TALL, 6, encoder=encoder, generator_conditioning="batch_norm", **options)
    return noisy(generator)


@all_plans
@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditional_norms_start_as_batch_norm(plan, condition):
    """With the same convolutions the generator gives what that of dcgan gives, whatever is asked for."""
    encoder, asked = CONDITIONS[condition]
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
    assert not torch.allclose(*images(noisy(copy.deepcopy(generator))), atol=1e-4)
    make_trainer(generator, discriminator).train_step(iter([(2 * torch.rand(4, *plan.image_shape) - 1, LABELS % 2)]))
    assert not torch.equal(*images(generator))


def test_every_batch_norm_of_the_generator_is_conditional():
    """No batch norm has a gain of its own, and each conditional one has its plan's channels and dimensions."""
    for plan in PLANS.values():
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
    "EMA": lambda generator, path: training.EMA(generator).module,
    "file of an EMA": lambda generator, path: [
        save_generator(path, training.EMA(generator).module),
        load_generator(path),
    ][1],
}


@pytest.mark.parametrize("keep", _KEEPERS.values(), ids=_KEEPERS)
@pytest.mark.parametrize("condition", ["embedded", "tags", "vectors"])
def test_all_norms_share_one_encoder(tmp_path, keep, condition):
    """One encoder serves all norms, counts once among the parameters, and the images are the same, however kept."""
    encoder, asked = CONDITIONS[condition]
    original = _shared(copy.deepcopy(encoder))
    original(torch.randn(4, 6), asked)  # moves the statistics
    generator = keep(original, tmp_path / "generator.pt")
    norms, latent = conditional_norms(generator), torch.randn(4, 6)
    assert len(norms) == 2
    assert norms[0].encoder is norms[1].encoder
    assert (norms[0].encoder is conditional_norms(original)[0].encoder) == (generator is original)
    for parameter in norms[0].encoder.parameters():
        assert sum(other is parameter for other in generator.parameters()) == 1
    numbers = [sum(parameter.numel() for parameter in network.parameters()) for network in (original, generator)]
    assert numbers[0] == numbers[1]
    assert torch.equal(original.eval()(latent, asked), generator.eval()(latent, asked))


def test_an_average_moves_a_shared_encoder_once():
    """After each step the average of the shared encoder's weight is its recursion by hand, and stays shared."""
    generator, discriminator = conditional_dcgan(
        TALL, 6, encoder=TagEmbedding(6, 3), generator_conditioning="batch_norm", conditioning="channels"
    )
    noisy(generator)
    trainer, ema = make_trainer(generator, discriminator), training.EMA(generator, decay=0.5)
    live, average = (conditional_norms(network)[0].encoder for network in (generator, ema.module))
    expected = live.weight.detach().double().clone()
    start, batch = expected.clone(), (2 * torch.rand(4, 1, 12, 8) - 1, torch.eye(4, 6))
    for n in range(4):
        training.fit(trainer, [batch], iterations=n + 1, callbacks=[ema])
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * live.weight.detach().double()
    assert not torch.allclose(start, expected, atol=1e-3)
    torch.testing.assert_close(average.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert all(film.encoder is average for film in conditional_norms(ema.module))


def test_a_shared_encoder_gets_the_gradient_of_all_norms():
    """The encoder's gradient is the sum of what it gets through each of the norms alone."""
    generator, latent, asked = _shared(TagEmbedding(6, 3)), torch.randn(4, 6), torch.eye(4, 6)
    apart, expected = copy.deepcopy(generator), 0
    for film in conditional_norms(apart):
        film.encoder = copy.deepcopy(film.encoder)
    apart(latent, asked).square().sum().backward()
    expected = sum(film.encoder.weight.grad for film in conditional_norms(apart))
    generator(latent, asked).square().sum().backward()
    torch.testing.assert_close(conditional_norms(generator)[0].encoder.weight.grad, expected)


def test_the_discriminators_norm_is_free_with_conditional_norms():
    """Only the generator's norm must be batch norm: the discriminator's may be any."""
    generator, discriminator = conditional_dcgan(
        TALL, 6, 5, generator_conditioning="batch_norm", discriminator_norm="none"
    )
    assert conditional_norms(generator)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())

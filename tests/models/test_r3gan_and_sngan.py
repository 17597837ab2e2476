"""Tests of what R3GAN's and SNGAN's networks have in common."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from ganlib import latents, losses, penalties
from ganlib.conditioning import ClassEmbedding, Maps, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.models import load_generator, r3gan, save_generator, sngan
from ganlib.training import AdversarialTrainer
from tests.models.cases import noisy, opened

LABELS = torch.tensor([3, 1, 4])
IMAGES = [(1, 16, 16), (1, 28, 28), (3, 32, 32), (2, 45, 60), (3, 64, 64)]
SHAPES = [*IMAGES, (4, 9, 30), (4, 7, 30), (1, 1, 20), (1, 7, 9)]
BOTH = pytest.mark.parametrize("make", [r3gan, sngan])


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@BOTH
def test_any_image_shape(make, shape, conditional):
    """Samples have the shape of images, and logits are (N, 1); SNGAN's samples lie in [-1, 1]."""
    if make is sngan and conditional and min(shape[1:]) < 8:
        pytest.skip("too small for a condition: see test_wrong_arguments_are_named of test_sngan.py")
    generator, discriminator = make(shape, 6, 5 if conditional else None, widths=8)
    conditions = (LABELS,) if conditional else ()
    samples = generator(torch.randn(3, 6), *conditions)

    assert samples.shape == (3, *shape)
    assert make is r3gan or samples.abs().max() <= 1
    assert discriminator(samples, *conditions).shape == (3, 1)


@pytest.mark.parametrize(
    ("encoder", "condition"),
    [
        (OneHot(5), LABELS),
        (ClassEmbedding(5, 2), LABELS),
        (TagEmbedding(4, 3), torch.eye(3, 4)),
        (VectorEmbedding(4, 2), torch.randn(3, 4)),
    ],
)
@BOTH
def test_conditions_of_an_encoder_matter(make, encoder, condition):
    """Samples and logits depend on the condition; each network has an encoder of its own."""
    generator, discriminator = make((1, 8, 8), 6, encoder=encoder, widths=8)
    noisy(generator)
    latent = torch.randn(1, 6).expand(3, -1)
    samples = generator(latent, condition)
    own, others = ({id(parameter) for parameter in network.parameters()} for network in (generator, discriminator))

    assert not torch.allclose(samples, samples[:1], atol=1e-4)
    assert discriminator(samples[:1].expand(3, -1, -1, -1), condition).diff(dim=0).abs().min() > 1e-6
    assert not own & others


@BOTH
def test_the_weights_of_an_encoder_are_kept(make):
    """An encoder may be trained already: both networks have its weights."""
    encoder = VectorEmbedding(4, 2)
    before = [parameter.clone() for parameter in encoder.parameters()]
    for network in make((1, 8, 8), 6, encoder=encoder, widths=8):
        (own,) = {id(part): part for part in network.modules() if isinstance(part, VectorEmbedding)}.values()
        assert all(map(torch.equal, before, own.parameters()))


class Training(NamedTuple):
    """How a pair of networks is trained."""

    make: object
    options: dict[str, object]
    loss: object
    penalties: tuple[type, ...]
    beta2: float


TRAININGS = {
    "r3gan": Training(r3gan, {}, losses.RelativisticLoss(), (penalties.R1, penalties.R2), 0.99),
    "sngan": Training(sngan, {"attention": (5,)}, losses.HingeLoss(), (penalties.R1,), 0.9),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", TRAININGS)
def test_it_trains(name, precision, recwarn):
    """Under autocast samples are float32, and steps change every parameter, without a warning."""
    torch.manual_seed(0)
    make, options, loss, kinds, beta2 = TRAININGS[name]
    generator, discriminator = map(opened, make((1, 9, 10), 6, 5, widths=8, **options))
    before = [parameter.clone() for network in (generator, discriminator) for parameter in network.parameters()]
    trainer = AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), 1e-3, (0.0, beta2)),
        torch.optim.Adam(discriminator.parameters(), 1e-3, (0.0, beta2)),
        loss=loss,
        latent=latents.Gaussian(6),
        penalties=[kind(1.0) for kind in kinds],
        precision=precision,
        channels_last=True,
    )
    for _ in range(3):  # the gates of attention and the conditional norms leave 0 first
        metrics = trainer.train_step((2 * torch.rand(8, 1, 9, 10) - 1, torch.randint(5, (8,))))
    after = [parameter for network in (generator, discriminator) for parameter in network.parameters()]

    assert all(torch.as_tensor(value).isfinite() for value in metrics.values())
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(torch.randn(3, 6), LABELS).dtype is torch.float32
    assert not recwarn.list


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image_shape": (28, 28)}, r"image_shape \(=\(28, 28\)\) must be \(C, H, W\)"),
        ({"latent_dim": 0}, r"latent_dim \(=0\) must be a whole number"),
        ({"widths": (16, 8)}, r"widths \(=\(16, 8\)\) must be a whole number of at least 1, or 3 of them.* 7x7, 14x14"),
        ({"num_classes": 5, "encoder": OneHot(5)}, r"pass num_classes \(=5\), or encoder .* and not both"),
        ({"encoder": Maps(3)}, r"encoder \(=Maps\(3\)\) gives maps"),
    ],
)
@BOTH
def test_wrong_arguments_are_named(make, words, message):
    """A wrong argument is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        make(**{"image_shape": (1, 28, 28), "latent_dim": 6, **words})


@BOTH
def test_something_else_than_an_encoder_is_refused(make):
    """Its type is wrong."""
    with pytest.raises(ArgumentTypeError, match="must be an encoder of conditions"):
        make((1, 28, 28), 6, encoder=7)


@BOTH
def test_conditions_that_are_missing_or_too_many_are_refused(make):
    """By name."""
    with pytest.raises(GanlibError, match=r"condition \(=None\) is missing"):
        make((1, 8, 8), 6, 5, widths=8)[0](torch.zeros(3, 6))
    with pytest.raises(GanlibError, match=r"condition \(3,\) was given"):
        make((1, 8, 8), 6, widths=8)[0](torch.zeros(3, 6), LABELS)


@BOTH
@pytest.mark.parametrize(("samples", "labels"), [(4, 1), (1, 4), (2, 3)])
def test_another_number_of_conditions_than_samples_is_refused(make, samples, labels):
    """A single condition is not meant for all samples, nor is a single sample for all conditions."""
    generator, discriminator = make((1, 8, 8), 6, 5, widths=8)
    condition = torch.zeros(labels, dtype=torch.int64)
    with pytest.raises(ShapeError, match=rf"condition has {labels} entries, but sample has {samples}"):
        discriminator(torch.zeros(samples, 1, 8, 8), condition)
    with pytest.raises(ShapeError, match="condition"):
        generator(torch.zeros(samples, 6), condition)


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (r3gan, {"widths": 8, "kernel_size": 3, "group_width": 4, "blocks": 1, "expansion": 2, "embedding_dim": 3}),
        (sngan, {"widths": 8}),
    ],
)
def test_numbers_of_numpy_are_sizes_too(make, sizes, tmp_path):
    """The networks are saved and loaded like those of Python's numbers."""
    sizes = {name: np.int64(size) for name, size in sizes.items()}
    generator, discriminator = make((1, 8, 8), np.int64(6), np.int64(5), **sizes)
    save_generator(tmp_path / "x.safetensors", generator)
    loaded = load_generator(tmp_path / "x.safetensors").eval()
    latent = torch.randn(3, 6)

    assert torch.equal(loaded(latent, LABELS), generator.eval()(latent, LABELS))
    assert discriminator(torch.zeros(3, 1, 8, 8), LABELS).shape == (3, 1)

"""Every augmentation serves as the trainer's, with penalties that differentiate through it."""

import pytest
import torch
from torch import nn

from ganlib import augment, latents, losses, penalties, training

augmentations = pytest.mark.parametrize(
    "augmentation",
    [augment.DiffAugment(), augment.RandomHorizontalFlip(), augment.RandomRotation(25), augment.AdaptiveAugment(p=0.8)],
    ids=lambda augmentation: type(augmentation).__name__,
)


@augmentations
@pytest.mark.parametrize("penalty", [penalties.R1(1.0), penalties.GradientPenalty(1.0)], ids=repr)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_with_a_penalty(augmentation, penalty, precision):
    """One training step changes every weight of both players, and all is finite."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 36), nn.Unflatten(1, (1, 6, 6)), nn.Tanh())
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(36, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
    parameters = [*generator.parameters(), *discriminator.parameters()]
    before = [parameter.detach().clone() for parameter in parameters]
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters()),
        torch.optim.Adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(4),
        augment=augmentation,
        penalties=[penalty],
        precision=precision,
    )
    metrics = trainer.train_step(iter([torch.rand(16, 1, 6, 6) * 2 - 1]))
    assert len(metrics) == 5
    assert all(value.isfinite() for value in metrics.values())
    assert all(parameter.isfinite().all() for parameter in parameters)
    assert not any(torch.equal(old, new) for old, new in zip(before, parameters, strict=True))


@augmentations
def test_r1_of_a_linear_critic_has_a_closed_form(augmentation):
    """With D(x) = <w, T x + c> the penalty is mean |T^t w|^2 / 2, and its gradient by w is the mean of T T^t w."""
    weight = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    real = torch.randn(5, 2, 6, 7, dtype=torch.float64)

    def transform(x):
        return augmentation(x, torch.Generator().manual_seed(3))

    pulled = torch.autograd.functional.vjp(transform, real, weight.detach().expand_as(real))[1]
    linear = transform(pulled) - transform(torch.zeros_like(pulled))
    penalty = penalties.R1(1.0)(lambda x: (weight * transform(x)).flatten(1).sum(1), real, real)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(penalty.detach(), pulled.square().flatten(1).sum(1).mean() / 2)
    torch.testing.assert_close(gradient, linear.mean(0, keepdim=True))


@augmentations
@pytest.mark.gpu
def test_nothing_waits_for_a_gpu(augmentation, sync_debug_mode):
    """Samples on CUDA, their gradient and its gradient are made without waiting."""
    samples = torch.randn(4, 3, 16, 16, device="cuda", requires_grad=True)

    def twice():
        (gradient,) = torch.autograd.grad(augmentation(samples).square().sum(), samples, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), samples)[0]

    twice()
    sync_debug_mode("error")
    second = twice()
    sync_debug_mode("default")
    assert second.isfinite().all()

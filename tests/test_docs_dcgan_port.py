"""The loop of PyTorch's DCGAN tutorial and a trainer that reuses fakes do the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ganlib import init, latents, losses, training

NZ, WIDTH, BATCH, ITERATIONS = 6, 4, 8, 20


def make_generator() -> nn.Sequential:
    """The layers of the tutorial's generator, for images of 16 x 16."""
    return nn.Sequential(
        nn.ConvTranspose2d(NZ, 2 * WIDTH, 4, 1, 0, bias=False),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(True),
        nn.ConvTranspose2d(WIDTH, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def make_discriminator() -> nn.Sequential:
    """The layers of the tutorial's discriminator, with its sigmoid."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * WIDTH),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * WIDTH, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


def adam(module: nn.Module) -> torch.optim.Adam:
    """The tutorial's optimizer."""
    return torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999))


def weights_init(layer: nn.Module) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for gains, as the tutorial draws them."""
    kind = type(layer).__name__
    if "Conv" in kind:
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif "BatchNorm" in kind:
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


def tutorial(
    generator: nn.Module, discriminator: nn.Module, batches: list[Tensor], real_label: float
) -> list[dict[str, float]]:
    """Train as the tutorial does; the generator's target stays 1."""
    criterion, d_adam, g_adam = nn.BCELoss(), adam(discriminator), adam(generator)
    rows = []
    for real in batches:
        discriminator.zero_grad()
        on_real = discriminator(real).view(-1)
        real_loss = criterion(on_real, torch.full_like(on_real, real_label))
        real_loss.backward()
        fake = generator(torch.randn(len(real), NZ, 1, 1).double())
        on_fake = discriminator(fake.detach()).view(-1)
        fake_loss = criterion(on_fake, torch.zeros_like(on_fake))
        fake_loss.backward()
        d_adam.step()
        generator.zero_grad()
        again = discriminator(fake).view(-1)
        generator_loss = criterion(again, torch.ones_like(again))
        generator_loss.backward()
        g_adam.step()
        rows.append(
            {
                "discriminator_loss": (real_loss + fake_loss).item(),
                "generator_loss": generator_loss.item(),
                "real_score": on_real.mean().item(),
                "fake_score": on_fake.mean().item(),
            }
        )
    return rows


@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_the_tutorials_loop_and_the_trainer_do_the_same(real_label: float) -> None:
    """In float64, losses, scores and weights of 20 iterations are equal up to rounding."""
    torch.manual_seed(0)
    generator = init.dcgan_(make_generator(), std=0.2).double()  # gradients that matter, so that much is learned
    discriminator = init.dcgan_(make_discriminator(), std=0.2).double()
    before = copy.deepcopy(generator.state_dict())
    twin = nn.Sequential(nn.Unflatten(1, (NZ, 1, 1)), copy.deepcopy(generator))
    critic = copy.deepcopy(discriminator)[:-1]
    batches = [torch.rand(BATCH, 3, 16, 16).double() * 2 - 1 for _ in range(ITERATIONS)]
    smoothing = None if real_label == 1 else losses.LabelSmoothing(real=real_label)
    trainer = training.AdversarialTrainer(
        twin,
        critic,
        adam(twin),
        adam(critic),
        loss=losses.NonSaturatingLoss(smoothing),
        latent=latents.Gaussian(NZ),
        reuse_fakes=True,
    )
    torch.manual_seed(1)
    expected = tutorial(generator, discriminator, batches, real_label)
    torch.manual_seed(1)
    rows = [{name: value.item() for name, value in trainer.train_step(batch).items()} for batch in batches]
    for row, theirs in zip(rows, expected, strict=True):
        assert row == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    for own, theirs in ((twin[1], generator), (critic, discriminator)):
        for name, value in own.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-9, atol=1e-9, msg=name)
    assert not torch.allclose(before["0.weight"], generator.state_dict()["0.weight"])


@pytest.mark.parametrize("make", [make_generator, make_discriminator])
def test_initial_weights_are_those_of_the_tutorial(make) -> None:
    """From the same seed, ``init.dcgan_`` draws what ``weights_init`` draws."""
    one, other = make(), make()
    torch.manual_seed(0)
    one.apply(weights_init)
    torch.manual_seed(0)
    init.dcgan_(other)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_forgotten_sigmoid_is_warned_of() -> None:
    """The warning that the page quotes; the state of a discriminator with a sigmoid fits one without."""
    twin, critic = nn.Sequential(nn.Unflatten(1, (NZ, 1, 1)), make_generator()), make_discriminator()
    trainer = training.AdversarialTrainer(
        twin,
        critic,
        adam(twin),
        adam(critic),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(NZ),
        reuse_fakes=True,
    )
    with pytest.warns(UserWarning, match="the discriminator ends in a sigmoid, but NonSaturatingLoss takes logits"):
        trainer.train_step(torch.rand(BATCH, 3, 16, 16) * 2 - 1)
    make_discriminator()[:-1].load_state_dict(critic.state_dict())

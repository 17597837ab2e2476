"""InfoGAN: learn codes for the class, slant and size of digits, without labels.

    python examples/games/infogan.py --iterations 2000 --out runs/infogan

The latent consists of a class code with ten values, two continuous codes, and noise. Q, a second head of the
discriminator, predicts the codes of generated digits. As in the original, both players also minimize Q's negative log
likelihood of the codes. In ``traversals.png`` one code changes along each row. The script prints the purity of Q's
classes (the share of held-out digits with the most frequent label of their class). It also prints how much a code from
-1 to 1 changes slant and height, in standard deviations of held-out digits, and the same for the noise.

Reference: Chen et al., "InfoGAN: Interpretable Representation Learning by ...", 2016, arXiv:1606.03657.
"""

import torch
from _flags import callbacks, parse_flags, run, save, settings
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ganlib import conditioning, data, distributed, init, latents, losses, protocols, stacks, training, viz


def center_and_shape(digits: Tensor) -> tuple[Tensor, Tensor]:
    """Return centers of mass (y, x), and slants (pixels to the right per pixel up) with heights."""
    mass = (digits.flatten(1) + 1) / (digits + 1).sum((2, 3))
    positions = torch.ones(28, 28, device=digits.device).nonzero().float()
    center = mass @ positions
    y, x = (positions - center[:, None]).unbind(2)
    xy, yy = (mass * x * y).sum(1), (mass * y * y).sum(1)
    return center, torch.stack([-xy / yy, yy.sqrt()], dim=1)


def load(length: int, seed: int) -> Tensor:
    """Move the center of mass of each digit to the middle, as in MNIST. Otherwise a code learns the position."""
    digits = data.TensorLoader(data.RenderedDigits(length=length, seed=seed), 1).samples / 127.5 - 1
    shifts = (13.5 - center_and_shape(digits)[0]).round().int().tolist()
    return torch.stack([digit.roll(shift, (1, 2)) for digit, shift in zip(digits, shifts, strict=True)])


def main() -> None:
    """Read the command line, train, and measure what the codes mean."""
    flags = parse_flags(__doc__, iterations=2000, batch_size=64, least=2, out="runs/infogan")
    distributed.init()
    torch.manual_seed(flags.seed)
    digits, held_out = TensorDataset(load(5000, seed=0)), load(1000, seed=1).to(flags.device)
    loader = data.TensorLoader(digits, flags.batch_size, device=flags.device, seed=flags.seed)
    plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(32), stacks.Stage(64), stacks.Stage(256, 7, 1, 0)])
    generator = init.dcgan_(stacks.ConvTransposeStack(plan, top_channels=10 + 2 + 62)).to(flags.device)
    body = stacks.ConvStack(plan, last_norm=True, last_activation=nn.LeakyReLU(0.2))
    score, q = stacks.LinearStack([256, 1]), stacks.LinearStack([256, 128, 10 + 2], norm="batch")
    discriminator = init.dcgan_(nn.ModuleList([body, score, q])).to(flags.device)
    one_hot, uniform, loss = conditioning.OneHot(10), latents.Uniform(2 + 62), losses.NonSaturatingLoss()

    def generate(batch: protocols.Batch) -> tuple[Tensor, Tensor, Tensor]:
        classes = torch.randint(10, (len(batch.sample),), device=batch.sample.device)
        latent = torch.cat([one_hot(classes), uniform(len(classes), device=classes.device)], dim=1)
        return batch.sample, latent, generator(latent)

    def code_loss(features: Tensor, latent: Tensor) -> Tensor:
        logits, means = q(features).split([10, 2], dim=1)  # means of Gaussians of variance 1, as in the original
        return nn.functional.cross_entropy(logits, latent[:, :10]) + nn.functional.mse_loss(means, latent[:, 10:12])

    def discriminator_objective(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        real, latent, fake = batch
        features = body(fake.detach())
        return loss.discriminator(score(body(real)), score(features)) + code_loss(features, latent)

    def generator_objective(batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        _, latent, fake = batch
        features = body(fake)
        of_codes = code_loss(features, latent)
        return loss.generator(score(features)) + of_codes, {"code_loss": of_codes}

    networks = {"generator": generator, "discriminator": discriminator}
    adams = [torch.optim.Adam(x.parameters(), lr, (0.5, 0.999)) for x, lr in ((discriminator, 2e-4), (generator, 1e-3))]
    players = [
        training.Player("discriminator", adams[0], discriminator_objective),
        training.Player("generator", adams[1], generator_objective),
    ]
    trainer = training.GameTrainer(networks, players, prepare=generate, **settings(flags, generator, discriminator))
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=callbacks(flags), resume=flags.resume)

    if distributed.rank() == 0:
        found, labels = q.eval()(body.eval()(held_out))[:, :10].argmax(1), torch.arange(1000, device=flags.device) % 10
        tables = [one_hot(classes).T @ one_hot(labels) for classes in (found, found[torch.randperm(1000)])]
        purity, by_chance = (table.amax(1).sum() / 1000 for table in tables)
        print(f"InfoGAN purity of the code on 1000 held-out digits: {purity:.2f} (by chance: {by_chance:.2f})")
        generator.eval()
        _, latent, fake = generate(protocols.Batch(held_out))
        shapes, of_real = (center_and_shape(images)[1] for images in (fake.detach(), held_out))
        changes = 2 * torch.linalg.lstsq(latent, shapes).solution.abs() / of_real.std(0)  # from -1 to 1
        (slant, height), (a, b) = changes[10:12].amax(0), changes[12:].amax(0)
        print(f"A code changes slant by {slant:.2f} (noise: {a:.2f}) and height by {height:.2f} ({b:.2f}) deviations")
        rows = latent[:15].repeat_interleave(10, dim=0)
        rows[:50, :10] = torch.eye(10).repeat(5, 1)
        rows[50:100, 10] = rows[100:, 11] = torch.linspace(-2, 2, 10).repeat(5)
        save(flags, "traversals.png", viz.image_grid(generator(rows), columns=10, scale=2).save, generator=generator)


if __name__ == "__main__":
    run(main)

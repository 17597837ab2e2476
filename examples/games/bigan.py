"""BiGAN, also called ALI: train an encoder to invert the generator, against a discriminator of pairs.

    python examples/games/bigan.py --iterations 3000 --out runs/bigan
    python examples/games/bigan.py --reconstruction 0 --out runs/plain  # as in the first two papers
    python examples/games/bigan.py --data DIR --resume  # MNIST in DIR; continues a run

The discriminator gets pairs: a digit and its code, or a sample and its latent. The encoder and the generator are one
player. It minimizes the same loss with swapped labels. The discriminator cannot separate the pairs only if the two
networks are inverse to each other. With this loss alone, reconstructions are inexact even after 9000 iterations. So, as
in ALICE, the default objective adds 10 times the squared distance of a digit to its reconstruction. ``bigan.png`` has
rows of held-out digits above their reconstructions, and two rows of samples. The script prints the share of
reconstructions that are closest to their own digit among 1000 (0.98; without that distance 0.45), and the standard
deviation of a pixel between samples and between digits. It uses averages of the weights.

References: Donahue et al., "Adversarial Feature Learning", 2017, arXiv:1605.09782; Dumoulin et al., "Adversarially
Learned Inference", 2017, arXiv:1606.00704; Li et al., "ALICE: Towards Understanding Adversarial Learning for Joint
Distribution Matching", 2017, arXiv:1709.01215.
"""

import torch
from _flags import callbacks, load_digits, parse_flags, run, save, settings
from torch import Tensor, nn

from ganlib import conditioning, data, distributed, init, losses, penalties, protocols, stacks, training, viz


def main() -> None:
    """Read the command line, train, and reconstruct held-out digits."""
    weights = {"--reconstruction": 10.0}
    flags = parse_flags(__doc__, iterations=3000, batch_size=64, out="runs/bigan", weights=weights)
    distributed.init()
    torch.manual_seed(flags.seed)
    digits, held_out = load_digits(flags, length=10_000)
    loader = data.TensorLoader(digits, flags.batch_size, device=flags.device, seed=flags.seed)

    plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(16), stacks.Stage(32), stacks.Stage(64, 7, 1, 0)])
    encoder = nn.Sequential(stacks.ConvStack(plan, top_channels=16), nn.Flatten())
    generator = stacks.ConvTransposeStack(plan, top_channels=16)
    features = stacks.ConvStack(plan, norm="none", last_activation=nn.LeakyReLU(0.2))
    head = stacks.LinearStack([64 + 64, 128, 128, 1])
    pairs = conditioning.ConcatFeatures(features, conditioning.VectorEmbedding(16, 64), head)
    # With DCGAN's small weights, the latent has almost no effect on the discriminator at first.
    discriminator = init.kaiming_(pairs, 0.2).to(flags.device)
    autoencoder = init.kaiming_(nn.Sequential(encoder, generator), 0.2).to(flags.device)
    loss, r1 = losses.NonSaturatingLoss(), penalties.R1(1.0, every=8)

    def encode_and_generate(batch: protocols.Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        latent = torch.randn(len(batch.sample), 16, device=batch.sample.device)
        return batch.sample, encoder(batch.sample), generator(latent), latent

    def discriminator_objective(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        digit, code, fake, latent = batch
        return loss.discriminator(discriminator(digit, code.detach()), discriminator(fake.detach(), latent))

    def r1_objective(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        digit, code, fake, _ = batch
        return r1.every * r1(discriminator, digit, fake, code.detach())

    def autoencoder_objective(batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        digit, code, fake, latent = batch
        swapped = loss.discriminator(discriminator(fake, latent), discriminator(digit, code))
        if not flags.reconstruction:
            return swapped, {}
        distance = (generator(code) - digit).square().mean()
        return swapped + flags.reconstruction * distance, {"distance": distance}

    adams = [torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.5, 0.999)) for net in (discriminator, autoencoder)]
    trainer = training.GameTrainer(
        {"discriminator": discriminator, "autoencoder": autoencoder},
        [
            training.Player("discriminator", adams[0], discriminator_objective),
            training.Player("r1", adams[0], r1_objective, every=r1.every),
            training.Player("autoencoder", adams[1], autoencoder_objective),
        ],
        prepare=encode_and_generate,
        **settings(flags, discriminator, autoencoder),
    )
    ema = training.EMA(autoencoder, decay=0.995)
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=[*callbacks(flags), ema], resume=flags.resume)

    encode, generate = ema.eval().module.children()
    with torch.no_grad():
        again, fake = ema(held_out), generate(torch.randn(1000, 16, device=flags.device))
    if distributed.rank() == 0:
        nearest = torch.cdist(again.flatten(1), held_out.flatten(1)).argmin(1)
        share = (nearest == torch.arange(1000, device=nearest.device)).float().mean()
        spread, truth = (images.std(0).mean() for images in (fake, held_out))
        shares = f"Reconstructions nearest to their own of 1000 held-out digits: {share:.3f} (by chance: 0.001)"
        print(f"{shares}; spread of a pixel in samples: {spread:.3f} (in digits: {truth:.3f})")
        rows = [images[start : start + 16] for start in (0, 16, 32) for images in (held_out, again)]
        grid = viz.image_grid(torch.cat([*rows, fake[:32]]), columns=16, scale=2)
        save(flags, "bigan.png", grid.save, encoder=encode, generator=generate)


if __name__ == "__main__":
    run(main)

"""A plain GAN on GameTrainer, as a script with the flags of the games; its generator objective draws a latent."""

import argparse
from pathlib import Path

import torch

from ganlib import data, distributed, latents, losses, models, training


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    for flag in ("--iterations", "--batch-size", "--accumulate", "--checkpoint-every"):
        parser.add_argument(flag, type=int, required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true")
    words = parser.parse_args()

    distributed.init()
    torch.manual_seed(0)
    loader = data.TensorLoader(data.RenderedDigits(size=8, length=256), words.batch_size)
    generator, discriminator = models.mlp_gan((1, 8, 8), latent_dim=8, hidden=(32,), norm="batch", dropout=0.2)
    latent, loss = latents.Gaussian(8), losses.NonSaturatingLoss()

    def discriminator_objective(batch):
        fake = generator(latent(len(batch.sample))).detach()
        return loss.discriminator(discriminator(batch.sample), discriminator(fake))

    def generator_objective(batch):
        return loss.generator(discriminator(generator(latent(len(batch.sample)))))

    adams = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in (discriminator, generator)]
    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player("discriminator", adams[0], discriminator_objective),
            training.Player("generator", adams[1], generator_objective),
        ],
        accumulate_grad_batches=words.accumulate,
        precision=words.precision,
    )
    callbacks = [
        training.CSVLogger(words.out / "metrics.csv"),
        training.Checkpoint(words.out, every=words.checkpoint_every),
    ]
    training.fit(trainer, loader, iterations=words.iterations, callbacks=callbacks, resume=words.resume)


if __name__ == "__main__":
    main()

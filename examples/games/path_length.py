"""StyleGAN2's lazy regularization: players that share an optimizer and are rarely updated.

    python examples/games/path_length.py --iterations 2000 --out runs/path_length
    python examples/games/path_length.py --path-weight 0 --out runs/without  # without path lengths

A mapping network turns a latent into a style. A synthesis network turns the style into an image of 16 x 16 pixels. R1
is applied in every 16th iteration, with the discriminator's optimizer. Path length regularization is applied in every
8th iteration, with the generator's optimizer: equal steps of the style should change the image equally. The script
prints the standard deviation of the Jacobian's norm over 1000 styles, divided by its mean. The regularization lowers
it. It also prints how much pixels differ between samples. The rows of ``path_length.png`` interpolate between styles.

Reference: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958, section 3.
"""

import torch
from _flags import callbacks, parse_flags, run, save, settings
from torch import Tensor, nn

from ganlib import conditioning, data, distributed, init, latents, losses, penalties, protocols, stacks, training, viz

SLOPE = nn.LeakyReLU(0.2)


class Synthesis(nn.Module):
    """Turn a style (N, 16) into an image (N, 1, 16, 16): it scales and shifts features of a learned constant."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, 64, 4, 4))
        encoder = conditioning.VectorEmbedding(16, 16)

        def norm(channels: int) -> nn.Module:
            return stacks.ConditionalSequential(stacks.PixelNorm(), conditioning.FiLM(channels, encoder))

        widths = (64, 64, 1), (64, 32, 2), (32, 16, 2)
        ups = [stacks.ResidualUpBlock(n, m, scale=scale, norm=norm, activation=SLOPE) for n, m, scale in widths]
        self.blocks = stacks.ConditionalSequential(*ups, norm(16), SLOPE, nn.Conv2d(16, 1, 3, padding=1), nn.Tanh())

    def forward(self, style: Tensor) -> Tensor:
        """Return the image."""
        return self.blocks(self.constant.expand(style.shape[0], -1, -1, -1), style)


def main() -> None:
    """Read the command line, train, and measure the Jacobian."""
    weights = {"--path-weight": 0.3}  # about the paper's value for 16 pixels
    flags = parse_flags(__doc__, iterations=2000, batch_size=16, out="runs/path_length", weights=weights)
    distributed.init()
    torch.manual_seed(flags.seed)
    digits = data.RenderedDigits(size=16, length=5000)
    loader = data.TensorLoader(digits, flags.batch_size, device=flags.device, seed=flags.seed)
    mapping = nn.Sequential(stacks.PixelNorm(), init.kaiming_(stacks.LinearStack([16] * 5, last_activation=SLOPE), 0.2))
    generator = nn.Sequential(mapping, synthesis := Synthesis()).to(flags.device)
    downs = [stacks.ResidualDownBlock(n, m, first=n == 1) for n, m in ((1, 16), (16, 32), (32, 64))]
    top = stacks.MinibatchStdDev(), SLOPE, nn.Flatten(), nn.Linear(65 * 2 * 2, 1)
    discriminator = nn.Sequential(*downs, *top).to(flags.device)
    latent, loss, r1 = latents.Gaussian(16), losses.NonSaturatingLoss(), penalties.R1(0.1)
    path_length = penalties.PathLength(flags.path_weight, decay=0.9)

    def draw_latents(batch: protocols.Batch) -> tuple[Tensor, Tensor]:
        return batch.sample, latent(len(batch.sample), device=batch.sample.device)

    def discriminator_objective(batch: tuple[Tensor, Tensor]) -> Tensor:
        real, z = batch
        return loss.discriminator(discriminator(real), discriminator(generator(z).detach()))

    def adam(every: int, *parts: tuple[nn.Module, float]) -> torch.optim.Adam:
        share = every / (every + 1)  # a lazy player adds one step in this many iterations
        groups = [{"params": network.parameters(), "lr": rate * share} for network, rate in parts]
        return torch.optim.Adam(groups, betas=(0.0, 0.99**share))

    # As in the original, the learning rate of the mapping network is divided by 100.
    adams = adam(16, (discriminator, 2e-3)), adam(8, (mapping, 2e-5), (synthesis, 2e-3))
    players = [
        training.Player("discriminator", adams[0], discriminator_objective),
        training.Player("generator", adams[1], lambda batch: loss.generator(discriminator(generator(batch[1])))),
        training.Player("r1", adams[0], lambda batch: 16 * r1(discriminator, batch[0], batch[0]), every=16),
        training.Player("path_length", adams[1], lambda batch: 8 * path_length(synthesis, mapping(batch[1])), every=8),
    ]
    modules = {"generator": generator, "discriminator": discriminator, "path_length": path_length}
    trainer = training.GameTrainer(modules, players, prepare=draw_latents, **settings(flags, generator, discriminator))
    ema = training.EMA(generator, decay=0.998)
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=[*callbacks(flags), ema], resume=flags.resume)

    if distributed.rank() == 0:
        map_latent, draw = ema.module.children()
        with torch.no_grad():
            style = map_latent(latent(1000, device=flags.device))
            steps = (draw(style + axis) - draw(style - axis) for axis in torch.eye(16, device=flags.device) / 100)
            norm = torch.cat([step.flatten(1) for step in steps], dim=1).norm(dim=1)
            spread, truth = draw(style).std(0).mean(), (loader.samples / 127.5 - 1).std(0).mean()
            share = torch.linspace(0, 1, 16, device=flags.device).view(-1, 1)
            rows = draw(torch.lerp(style[:8, None], style[8:16, None], share).flatten(0, 1))
        print(f"Spread of the Jacobian's norm over 1000 styles: {norm.std() / norm.mean():.3f} of its mean", end="; ")
        print(f"of pixels over samples: {spread:.3f} (of the digits: {truth:.3f})")
        save(flags, "path_length.png", viz.image_grid(rows, columns=16, scale=4).save, generator=ema.module)


if __name__ == "__main__":
    run(main)

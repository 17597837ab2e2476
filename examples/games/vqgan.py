"""VQGAN: encode a digit as 16 tokens, and decode them to a sharp digit.

    python examples/games/vqgan.py --iterations 2000 --out runs/vqgan  # --data DIR: MNIST in DIR

An encoder makes 4 x 4 vectors. Each vector is replaced by the nearest of 64 codes. A decoder turns the codes into a
digit. The squared error alone gives blurred digits. So after half of the run a patch discriminator adds an adversarial
loss. Its weight makes the gradients of both losses equal at the last layer, times ``--adversarial``. The control is a
copy without a discriminator. The script prints the energy in the upper half of the spatial frequencies (digits: 1), the
L1 distance, which noise would increase, and exp of the entropy of the codes. The rows of ``reconstructions.png`` are
digits, reconstructions by VQGAN, and reconstructions by the control.

Reference: Esser et al., "Taming Transformers for High-Resolution Image Synthesis", 2021, arXiv:2012.09841.
"""

import torch
from _flags import callbacks, load_digits, parse_flags, run, save, settings
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from ganlib import data, distributed, init, losses, penalties, protocols, stacks, training, viz


class Autoencoder(nn.Module):
    """Join encoder, codebook and decoder."""

    def __init__(self) -> None:
        super().__init__()
        plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(32), stacks.Stage(64), stacks.Stage(8, kernel_size=3)])
        self.encoder, self.quantizer = stacks.ConvStack(plan), stacks.VectorQuantizer(num_codes=64, features=8)
        self.decoder = stacks.ConvTransposeStack(plan, image_channels=8, last_activation=nn.ReLU)
        self.last_layer = nn.Conv2d(8, 1, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction, the tokens (N, 4, 4), and the loss of the codebook."""
        maps, tokens, codebook_loss = self.quantizer(self.encoder(image))
        return self.last_layer(self.decoder(maps)).float().tanh(), tokens, codebook_loss  # bf16 would round it to 1


def main() -> None:
    """Read the command line, train, and reconstruct held-out digits."""
    flags = parse_flags(__doc__, iterations=2000, batch_size=16, out="runs/vqgan", weights={"--adversarial": 0.8})
    distributed.init()
    torch.manual_seed(flags.seed)
    digits, held_out = load_digits(flags, length=5000)
    loader = data.TensorLoader(digits, flags.batch_size, device=flags.device, seed=flags.seed)

    autoencoder = Autoencoder().to(flags.device)
    discriminator = init.dcgan_(stacks.PatchDiscriminator(1, channels=16, layers=2)).to(flags.device)
    control = Autoencoder().to(flags.device)
    control.load_state_dict(autoencoder.state_dict())
    loss, lecam, warm_up = losses.HingeLoss(), penalties.LeCam(0.1), torch.zeros((), device=flags.device)

    def reconstruct(batch: protocols.Batch) -> tuple[Tensor, ...]:
        return batch.sample, *autoencoder(batch.sample)

    def autoencoder_objective(batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake, _, codebook_loss = batch
        error, adversarial = mse_loss(fake, real), loss.generator(discriminator(fake))
        weight = losses.adaptive_weight(error, adversarial, autoencoder.last_layer.weight) * warm_up * flags.adversarial
        return error + codebook_loss + weight * adversarial, {"error": error, "weight": weight}

    def discriminator_objective(batch: tuple[Tensor, ...]) -> Tensor:
        real_logits, fake_logits = discriminator(batch[0]), discriminator(batch[1].detach())
        # LeCam starts later too: alone it would make the discriminator constant.
        return warm_up * (loss.discriminator(real_logits, fake_logits) + lecam.of(real_logits, fake_logits))

    def control_objective(batch: tuple[Tensor, ...]) -> Tensor:
        fake, _, codebook_loss = control(batch[0])
        return mse_loss(fake, batch[0]) + codebook_loss

    modules = {"autoencoder": autoencoder, "discriminator": discriminator, "control": control, "lecam": lecam}
    adams = [torch.optim.Adam(x.parameters(), 1e-3, (0.5, 0.9)) for x in (autoencoder, discriminator, control)]
    players = [
        training.Player("autoencoder", adams[0], autoencoder_objective),
        training.Player("discriminator", adams[1], discriminator_objective),
        training.Player("control", adams[2], control_objective),
    ]
    trainer = training.GameTrainer(modules, players, prepare=reconstruct, **settings(flags, autoencoder, discriminator))
    parts = [*callbacks(flags), training.Schedule(warm_up, lambda progress: float(progress >= 0.5))]
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=parts, resume=flags.resume)

    if distributed.rank() == 0:
        with torch.no_grad():
            (fake, tokens, _), (blurred, _, _) = autoencoder.eval()(held_out), control.eval()(held_out)
        frequencies = torch.fft.fftfreq(28, device=flags.device)
        high = torch.hypot(frequencies[:, None], frequencies) > 0.25
        real, sharp, unsharp = (torch.fft.fft2(x)[..., high].abs().square().sum() for x in (held_out, fake, blurred))
        codes = torch.special.entr(tokens.flatten().bincount() / tokens.numel()).sum().exp()
        print(f"Fine energy of 1000 held-out digits: {sharp / real:.2f} (control: {unsharp / real:.2f})", end=", ")
        print(f"L1: {l1_loss(fake, held_out):.4f} ({l1_loss(blurred, held_out):.4f}), codes in use: {codes:.1f} of 64")
        rows = torch.cat([held_out[:16], fake[:16], blurred[:16]])
        grid = viz.image_grid(rows, columns=16, scale=2)
        save(flags, "reconstructions.png", grid.save, autoencoder=autoencoder)


if __name__ == "__main__":
    run(main)

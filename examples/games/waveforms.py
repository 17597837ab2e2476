"""WGAN-GP on waveforms: generate plucked notes, with five updates of the critic for each of the generator.

    python examples/games/waveforms.py --iterations 2500 --out runs/waveforms

The script makes the notes of a chord. The networks are one-dimensional stacks with stride 4, as in WaveGAN. The script
finds the note that explains most of each waveform's energy. It prints this share of energy, how much the waveforms of
one note differ, and the total variation between the notes of generated and of held-out waveforms. A missing note or an
error of half a semitone increases it. ``waveforms.png`` shows held-out and generated waveforms, and spectra.

Reference: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, arXiv:1704.00028. Networks: Donahue
et al., "Adversarial Audio Synthesis", 2019, arXiv:1802.04208.
"""

import torch
from _flags import callbacks, parse_flags, run, save, settings
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import TensorDataset

from ganlib import data, distributed, latents, losses, penalties, protocols, stacks, training

TIME = torch.linspace(0, 1, 128).view(-1, 1)
HARMONICS = torch.arange(1, 4)


def phases(semitones: Tensor) -> Tensor:
    """Return the phases (count, 128, 3) of each note's harmonics. Semitone 0 has 4 cycles."""
    return 2 * torch.pi * 4 * 2 ** (semitones.view(-1, 1, 1) / 12) * TIME * HARMONICS


def make_notes(count: int) -> Tensor:
    """Draw notes (count, 1, 128) of a major chord over two octaves, with phases in the first quarter of a period."""
    semitones = torch.tensor([0, 4, 7, 12, 16, 19, 24])[torch.randint(7, (count,))]
    start, rate = torch.rand(2, count, 1, 1)
    strengths = (0.5 + torch.rand(count, 1, 3)) / HARMONICS * torch.exp(-(1 + 3 * rate) * TIME)
    notes = (strengths * torch.sin(phases(semitones) + start * HARMONICS * torch.pi / 2)).sum(2)
    return (notes / notes.abs().amax(1, keepdim=True)).unsqueeze(1)


def analyze(waves: Tensor) -> tuple[float, float, Tensor]:
    """Return the energy that each waveform's best note explains, the spread within a note, and the notes' shares."""
    angles = phases(torch.arange(-2, 27))
    sines = torch.cat([angles.sin(), angles.cos()], dim=2)
    # Combinations of the slowest and the fastest decay are close to all decays between them.
    basis, _ = torch.linalg.qr(torch.cat([torch.exp(-rate * TIME) * sines for rate in (1, 4)], dim=2))
    shares, best = ((waves.transpose(0, 1) @ basis).square().sum(2) / waves.square().sum((1, 2))).max(dim=0)
    spread = torch.stack([waves[best == note].std(0, correction=0).mean() for note in best.unique()]).mean().item()
    return shares.mean().item(), spread, best.bincount(minlength=len(basis)) / len(waves)


def main() -> None:
    """Read the command line, train, and compare generated notes with held-out notes."""
    flags = parse_flags(__doc__, iterations=2500, batch_size=32, out="runs/waveforms")
    distributed.init()
    torch.manual_seed(flags.seed)
    notes, real, others = make_notes(14000).split([10000, 2000, 2000])
    loader = data.TensorLoader(TensorDataset(notes), flags.batch_size, device=flags.device, seed=flags.seed)
    stages = [stacks.Stage(channels, kernel_size=16, stride=4, padding=6) for channels in (32, 64)]
    plan = stacks.StackPlan((1, 128), [*stages, stacks.Stage(128, kernel_size=8, stride=1, padding=0)])
    generator = stacks.ConvTransposeStack(plan, top_channels=64, norm="none").to(flags.device)
    critic = stacks.ConvStack(plan, top_channels=1, norm="none").to(flags.device)
    latent, loss, penalty = latents.Gaussian(64), losses.WassersteinLoss(), penalties.GradientPenalty(10.0)

    def generate(batch: protocols.Batch) -> Tensor:
        return generator(latent(len(batch.sample), device=batch.sample.device))

    def critic_objective(batch: protocols.Batch) -> Tensor:
        real, fake = batch.sample, generate(batch).detach()
        return loss.discriminator(critic(real), critic(fake)) + penalty(critic, real, fake)

    def generator_objective(batch: protocols.Batch) -> Tensor:
        return loss.generator(critic(generate(batch)))

    adams = [torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.9)) for network in (critic, generator)]
    players = [
        training.Player("critic", adams[0], critic_objective, steps=5),
        training.Player("generator", adams[1], generator_objective),
    ]
    modules = {"generator": generator, "critic": critic}
    trainer = training.GameTrainer(modules, players, **settings(flags, generator, critic))
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=callbacks(flags), resume=flags.resume)

    if distributed.rank() == 0:
        fake = generator(latent(2000, device=flags.device)).detach().cpu()
        shares, spreads, counts = zip(*map(analyze, (fake, others, torch.randn_like(real), real)), strict=True)
        figures = shares, spreads, [(often - counts[3]).abs().sum() / 2 for often in counts]
        words = "Energy in one note", "spread within a note", "variation of notes"
        for word, (ours, held_out, noise, _) in zip(words, figures, strict=True):
            print(f"{word}: {ours:.3f} (held-out: {held_out:.3f}, white noise: {noise:.3f})")
        axes = (figure := Figure(figsize=(12, 4), layout="tight")).subplots(1, 3)
        for axis, name, waves in zip(axes, ("held-out", "generated"), (real, fake), strict=False):
            axis.set_title(name)
            axis.plot((waves[:8, 0] + 2 * torch.arange(8).view(-1, 1)).T.numpy())
            axes[2].semilogy(torch.fft.rfft(waves[:, 0]).abs().square().mean(0).numpy(), label=name)
        axes[2].legend()
        save(flags, "waveforms.png", figure.savefig, generator=generator)


if __name__ == "__main__":
    run(main)

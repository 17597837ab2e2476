"""pix2pix: train a U-Net that draws a digit from its outline.

    python examples/games/pix2pix.py --iterations 1000 --out runs/pix2pix
    python examples/games/pix2pix.py --data DIR --resume  # MNIST in DIR; continues a run
    torchrun --nproc-per-node 2 examples/games/pix2pix.py --precision bf16 --accumulate 2

The discriminator gets patches of an image together with the outline, so it learns whether the two belong together. The
generator's loss is the adversarial loss plus 100 times the L1 distance to the real digit. Its only noise is dropout.
``translations.png`` has rows of held-out outlines, generated digits and real digits. The script prints the L1 distance
to held-out digits, and that of the mean image.

Reference: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv:1611.07004.
"""

import torch
from _flags import callbacks, load_digits, parse_flags, run, save, settings
from torch import Tensor, nn

from ganlib import data, distributed, init, losses, protocols, stacks, training, viz


def outline(digit: Tensor) -> Tensor:
    """Return the pixels around the strokes: those with a much brighter neighbor."""
    return torch.where(nn.functional.max_pool2d(digit, 3, 1, 1) - digit > 0.5, 1.0, -1.0)


def make_generator() -> nn.Module:
    """Make a U-Net of four levels. The innermost level is one pixel."""
    plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(channels) for channels in (32, 64, 128, 128)])
    return init.dcgan_(stacks.UNet(plan, dropout=0.5))


def main() -> None:
    """Read the command line, train, and draw held-out outlines."""
    flags = parse_flags(__doc__, iterations=1000, batch_size=16, out="runs/pix2pix")
    distributed.init()
    torch.manual_seed(flags.seed)
    digits, held_out = load_digits(flags, length=5000)
    loader = data.TensorLoader(digits, flags.batch_size, device=flags.device, seed=flags.seed)

    generator = make_generator().to(flags.device)
    discriminator = init.dcgan_(stacks.PatchDiscriminator(2, channels=32, layers=1)).to(flags.device)
    loss = losses.NonSaturatingLoss()

    def translate(batch: protocols.Batch) -> tuple[Tensor, Tensor, Tensor]:
        sketch = outline(batch.sample)
        return batch.sample, sketch, generator(sketch)

    def discriminate(digit: Tensor, sketch: Tensor) -> Tensor:
        return discriminator(torch.cat([digit, sketch], dim=1))

    def discriminator_objective(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        digit, sketch, fake = batch
        return loss.discriminator(discriminate(digit, sketch), discriminate(fake.detach(), sketch)) / 2

    def generator_objective(batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        digit, sketch, fake = batch
        l1 = (fake - digit).abs().mean()
        return loss.generator(discriminate(fake, sketch)) + 100 * l1, {"l1": l1}

    adams = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (discriminator, generator)]
    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player("discriminator", adams[0], discriminator_objective),
            training.Player("generator", adams[1], generator_objective),
        ],
        prepare=translate,
        **settings(flags, generator, discriminator),
    )
    decays = [training.LearningRateSchedule(adam, training.linear_decay(start=0.5, final=0.0)) for adam in adams]
    all_callbacks = [*callbacks(flags), *decays]
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=all_callbacks, resume=flags.resume)

    digit, mean = held_out, loader.samples.float().mean(0) / 127.5 - 1
    with torch.no_grad():
        fake = generator.eval()(outline(digit))
    if distributed.rank() == 0:
        l1, l1_of_mean = ((image - digit).abs().mean().item() for image in (fake, mean))
        print(f"L1 on 1000 held-out digits: {l1:.4f} (the mean image: {l1_of_mean:.4f})")
        rows = torch.cat([outline(digit[:16]), fake[:16], digit[:16]])
        save(flags, "translations.png", viz.image_grid(rows, columns=16, scale=2).save, generator=generator)


if __name__ == "__main__":
    run(main)

"""CycleGAN: translate digits to outlined digits and back, trained without pairs.

    python examples/games/cyclegan.py --iterations 3000 --out runs/cyclegan
    python examples/games/cyclegan.py --data DIR --resume  # built-in digits to MNIST in DIR; many change class
    torchrun --nproc-per-node 2 examples/games/cyclegan.py --precision bf16 --accumulate 2

One generator translates from domain A to B, and one from B to A. Each domain has a discriminator, which gets generated
images from a pool. An image that is translated to the other domain and back should not change (weight 10). As in the
original, one optimizer updates both generators and one updates both discriminators, so the game has two players.
``translations.png`` has rows of held-out images: A, their translations to B, and these translated back; then the same
for B. The script prints the L1 distance of translated outlines to their digits, and that of the mean image. No
objective uses these pairs. With ``--data`` there are no pairs, and nothing is printed.

Reference: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent ...", 2017, arXiv:1703.10593.
"""

from typing import Any

import torch
from _flags import callbacks, mnist, parse_flags, run, save, settings
from torch import Tensor, nn
from torch.nn.functional import l1_loss, max_pool2d
from torch.utils.data import TensorDataset

from ganlib import data, distributed, init, losses, protocols, stacks, training, viz


def make_generator() -> nn.Module:
    """Make a small version of the original's generator: down, residual blocks, up."""
    plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(16, kernel_size=5, stride=1, padding=2), stacks.Stage(32)])
    blocks = (stacks.ResidualDownBlock(32, 32, scale=1, norm="instance") for _ in range(3))
    down, up = stacks.ConvStack(plan, norm="instance"), stacks.ConvTransposeStack(plan, norm="instance")
    return init.dcgan_(nn.Sequential(down, *blocks, up))


def main() -> None:
    """Read the command line, train, and translate both ways."""
    flags = parse_flags(__doc__, iterations=3000, batch_size=4, out="runs/cyclegan")
    distributed.init()
    torch.manual_seed(flags.seed)
    others: Any = mnist(flags.data) if flags.data else data.RenderedDigits(length=6000, seed=1)
    both = data.RenderedDigits(length=6000), others
    a, b = (data.TensorLoader(digits, 1).samples[:6000] / 127.5 - 1 for digits in both)
    truth = b[5000:]  # the last 1000 images of each domain are held out
    if not flags.data:  # outlines: pixels with a much brighter neighbor
        b = torch.where(max_pool2d(b, 3, 1, 1) - b > 0.5, 1.0, -1.0)
    # A batch has images of A and of B in random order. No objective compares them.
    unpaired = TensorDataset(a[:5000], b[torch.randperm(5000)])
    loader = data.TensorLoader(unpaired, flags.batch_size, device=flags.device, seed=flags.seed)

    to_a, to_b = (make_generator().to(flags.device) for _ in range(2))
    patches = (stacks.PatchDiscriminator(1, channels=32, layers=2, norm="instance") for _ in range(2))
    real_a, real_b = (init.dcgan_(discriminator).to(flags.device) for discriminator in patches)
    pool_a, pool_b = (training.ImagePool((1, 28, 28)).to(flags.device) for _ in range(2))
    loss = losses.LeastSquaresLoss()

    def translate(batch: protocols.Batch) -> tuple[Any, ...]:
        a, b = batch
        return a, b, to_a(b), to_b(a)

    def generators_objective(batch: tuple[Any, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        a, b, fake_a, fake_b = batch
        adversarial = loss.generator(real_a(fake_a)) + loss.generator(real_b(fake_b))
        cycle = l1_loss(to_a(fake_b), a) + l1_loss(to_b(fake_a), b)
        return 2 * adversarial + 10 * cycle, {"cycle": cycle}  # ganlib halves the squares, and the original does not

    def discriminators_objective(batch: tuple[Any, ...]) -> Tensor:
        a, b, fake_a, fake_b = batch
        loss_a = loss.discriminator(real_a(a), real_a(pool_a(fake_a)))
        return loss_a + loss.discriminator(real_b(b), real_b(pool_b(fake_b)))

    pairs = [[*to_a.parameters(), *to_b.parameters()], [*real_a.parameters(), *real_b.parameters()]]
    adams = [torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999)) for parameters in pairs]
    trainer = training.GameTrainer(
        {"to_a": to_a, "to_b": to_b, "real_a": real_a, "real_b": real_b, "pool_a": pool_a, "pool_b": pool_b},
        [
            training.Player("generators", adams[0], generators_objective),
            training.Player("discriminators", adams[1], discriminators_objective),
        ],
        prepare=translate,
        **settings(flags, to_a, to_b, real_a, real_b),
    )
    decays = [training.LearningRateSchedule(adam, training.linear_decay(start=0.5, final=0.0)) for adam in adams]
    all_callbacks = [*callbacks(flags), *decays]
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=all_callbacks, resume=flags.resume)

    with torch.no_grad():
        a, b, truth, mean = (images.to(flags.device) for images in (a[5000:5016], b[5000:], truth, a[:5000].mean(0)))
        as_a = to_a(b)
        rows = [a, to_b(a), to_a(to_b(a)), b[:16], as_a[:16], to_b(as_a[:16])]
    if distributed.rank() == 0:
        if not flags.data:
            l1, l1_of_mean = ((image - truth).abs().mean() for image in (as_a, mean))
            print(f"L1 of 1000 held-out outlines as digits: {l1:.4f} (the mean image: {l1_of_mean:.4f})")
        save(flags, "translations.png", viz.image_grid(torch.cat(rows), columns=16, scale=2).save, to_a=to_a, to_b=to_b)


if __name__ == "__main__":
    run(main)

"""A small CTGAN: generate rows of a table, with numbers and a category, for a given class.

    python examples/games/table.py --iterations 4000 --out runs/table

The script makes the table: 12 numbers and one of 5 categories, which depend on one of 3 classes. Generated categories
are one-hot, by a straight-through Gumbel softmax. The loss is non-saturating with R1; CTGAN uses WGAN-GP. At the end,
an average of the generator generates rows. The script prints how often a held-out row has the class of the nearest
generated row, and the largest errors of a correlation and of a column within a class (``table.png``).

Reference: Xu et al., "Modeling Tabular Data using Conditional GAN", 2019, arXiv:1907.00503.
"""

import torch
from _flags import callbacks, parse_flags, run, save, settings
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ganlib import conditioning, data, distributed, latents, losses, penalties, stacks, training


def make_table(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw rows (rows, 12 + 5), whose last 5 columns are a one-hot category, and the class of each."""
    law, drawn = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    means, shifts = (0.5 * torch.randn(kinds, 12, generator=law) for kinds in (3, 5))
    mixing = torch.eye(12) + 0.4 * torch.randn(3, 12, 12, generator=law)
    label = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), rows, replacement=True, generator=drawn)
    category = torch.multinomial(torch.randn(3, 5, generator=law).softmax(1)[label], 1, generator=drawn)[:, 0]
    numbers = means[label] + shifts[category] + (torch.randn(rows, 1, 12, generator=drawn) @ mixing[label])[:, 0]
    numbers[:, 0] = torch.exp(numbers[:, 0] / 3)  # skewed
    numbers[:, 1] += 8 * (torch.rand(rows, generator=drawn) < 0.3)  # has two modes
    numbers[:, 2] += numbers[:, 3].square()  # depends on another column almost without correlation
    return torch.cat([numbers, nn.functional.one_hot(category, 5)], dim=1), label


def compare(rows: Tensor, label: Tensor, others: Tensor, their_label: Tensor) -> tuple[float, float, float]:
    """Return how often the nearest row has the same class, and the largest distances within a class."""
    accuracy = (label[torch.cdist(others, rows).argmin(1)] == their_label).float().mean().item()
    rows, others = (torch.cat([x, x[:, 3:4].square()], dim=1) for x in (rows, others))  # column 2 correlates with this
    pairs = [(rows[label == index], others[their_label == index]) for index in range(3)]
    correlations = torch.stack([torch.corrcoef(one.T).nan_to_num() - torch.corrcoef(other.T) for one, other in pairs])
    levels = torch.linspace(0, 1, 101, device=rows.device)  # quantiles: their mean distance is the Wasserstein distance
    columns = torch.stack([one.quantile(levels, dim=0) - other.quantile(levels, dim=0) for one, other in pairs])
    return accuracy, correlations.abs().max().item(), columns.abs().mean(1).max().item()


def main() -> None:
    """Read the command line, train, and compare generated rows with held-out rows."""
    flags = parse_flags(__doc__, iterations=4000, batch_size=256, out="runs/table")
    distributed.init()
    torch.manual_seed(flags.seed)
    (rows, label), (others, their_label) = ([x.to(flags.device) for x in make_table(10000, seed)] for seed in (0, 1))
    std, mean = torch.std_mean(rows, dim=0)
    std[12:], mean[12:] = 1, 0  # the category stays one-hot
    rows, others = (rows - mean) / std, (others - mean) / std
    loader = data.TensorLoader(TensorDataset(rows, label), flags.batch_size, device=flags.device, seed=flags.seed)

    classes, latent = conditioning.OneHot(3), latents.Gaussian(64)
    generator = conditioning.ConcatLatent(stacks.LinearStack([64 + 3, 128, 128, 17]), classes).to(flags.device)
    critic = conditioning.ConcatChannels(stacks.LinearStack([17 + 3, 128, 128, 1]), classes).to(flags.device)
    loss, r1, ema = losses.NonSaturatingLoss(), penalties.R1(1.0), training.EMA(generator)

    def generate(network: nn.Module, label: Tensor) -> Tensor:
        row = network(latent(len(label), device=label.device), label).float()
        return torch.cat([row[:, :12], nn.functional.gumbel_softmax(row[:, 12:], tau=0.5, hard=True)], dim=1)

    def critic_objective(batch: tuple[Tensor, Tensor]) -> Tensor:
        real, label = batch
        fake = generate(generator, label).detach()
        return loss.discriminator(critic(real, label), critic(fake, label)) + r1(critic, real, fake, label)

    def generator_objective(batch: tuple[Tensor, Tensor]) -> Tensor:
        return loss.generator(critic(generate(generator, batch[1]), batch[1]))

    adams = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99)) for net in (critic, generator)]
    players = [
        training.Player("critic", adams[0], critic_objective),
        training.Player("generator", adams[1], generator_objective),
    ]
    modules = {"generator": generator, "critic": critic}
    trainer = training.GameTrainer(modules, players, **settings(flags, generator, critic))
    training.fit(trainer, loader, iterations=flags.iterations, callbacks=[*callbacks(flags), ema], resume=flags.resume)

    if distributed.rank() == 0:
        fake = generate(ema, label)
        words = "nearest row has the same class", "largest error of a correlation", "of a column"
        figures = zip(words, *(compare(x, label, others, their_label) for x in (fake, rows)), strict=True)
        print("10000 held-out rows:", "; ".join(f"{what}: {a:.3f} (real rows: {b:.3f})" for what, a, b in figures))
        figure = Figure(figsize=(9, 5), layout="tight")
        axes = figure.subplots(2, 3, sharex="col", sharey="col")
        for table, row in zip((others, fake), axes, strict=True):
            columns = (table * std + mean)[:2000].T.cpu().numpy()
            row[0].plot(columns[0], columns[1], ".", markersize=2)
            row[1].plot(columns[3], columns[2], ".", markersize=2)
            row[2].bar(range(5), columns[12:].mean(1))
        save(flags, "table.png", figure.savefig, generator=ema.module)


if __name__ == "__main__":
    run(main)

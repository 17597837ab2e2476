"""Run one training step in four ways: as the originals write it, by hand, by ganlib, and by ganlib's fast settings.

All four compute Algorithm 1 of Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, with new
latents for each player. ``tests/benchmarks/test_speed_loops.py`` compares their numbers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed import torchgan_loop
from benchmarks.speed.networks import Pair, copy_weights
from benchmarks.speed.workloads import Workload, endless
from ganlib import data, losses, training
from ganlib.protocols import Latent

__all__ = ["Fitting", "Taking", "adams", "by_hand", "indexed", "make_pair", "make_runs", "make_trainer", "original"]

Adams = tuple[torch.optim.Optimizer, torch.optim.Optimizer]
Labels = Callable[[int], Tensor]
Steps = Iterator[tuple[Any, Any]]


def original(
    work: Workload, players: Pair, optimizers: Adams, batches: Iterable[Any], latent: Latent, draw_labels: Labels
) -> Steps:
    """Train as the reference systems do: gradients for both players in both updates, and a wait for each loss."""
    (generator, discriminator), (of_generator, of_discriminator) = players, optimizers
    device, criterion = next(generator.parameters()).device, nn.BCEWithLogitsLoss()
    for real, label in batches:
        real, label = real.to(device), label.to(device)
        given = [label] if work.labelled else []

        asked = [draw_labels(len(real)).to(device)] if work.random_labels else given
        fake = generator(latent(len(real), device=device), *asked)
        real_logits, fake_logits = discriminator(real, *given), discriminator(fake, *asked)
        ones, zeros = _targets(work, real_logits)
        loss = criterion(real_logits, ones) + criterion(fake_logits, zeros)
        if work.halved:
            loss = loss / 2
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()
        discriminator_loss = loss.item()

        asked = [draw_labels(len(real)).to(device)] if work.random_labels else given
        fake_logits = discriminator(generator(latent(len(real), device=device), *asked), *asked)
        loss = criterion(fake_logits, torch.ones_like(fake_logits))
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
        yield discriminator_loss, loss.item()


def by_hand(
    work: Workload, players: Pair, optimizers: Adams, batches: Iterable[Any], latent: Latent, draw_labels: Labels
) -> Steps:
    """Train by the best loop that we can write for this one training: no unused gradient, no wait, no check."""
    (generator, discriminator), (of_generator, of_discriminator) = players, optimizers
    trained = list(generator.parameters())
    device, plain = trained[0].device, work.real_target == 1 and work.noise == 0
    for real, label in batches:
        given = [label] if work.labelled else []

        asked = [draw_labels(len(real)).to(device, non_blocking=True)] if work.random_labels else given
        with torch.no_grad():
            fake = generator(latent(len(real), device=device), *asked)
        real_logits, fake_logits = discriminator(real, *given), discriminator(fake, *asked)
        if plain:
            loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        else:
            ones, zeros = _targets(work, real_logits)
            loss = F.binary_cross_entropy_with_logits(real_logits, ones)
            loss = loss + F.binary_cross_entropy_with_logits(fake_logits, zeros)
        if work.halved:
            loss = loss / 2
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()
        discriminator_loss = loss.detach()

        asked = [draw_labels(len(real)).to(device, non_blocking=True)] if work.random_labels else given
        loss = F.softplus(-discriminator(generator(latent(len(real), device=device), *asked), *asked)).mean()
        of_generator.zero_grad()
        loss.backward(inputs=trained)
        of_generator.step()
        yield discriminator_loss, loss.detach()


def make_trainer(
    work: Workload, players: Pair, optimizers: Adams, latent: Latent, draw_labels: Labels, **settings: Any
) -> training.AdversarialTrainer:
    """Create the trainer of ganlib for the same step."""
    half = work.noise / 2
    smoothing = losses.LabelSmoothing(real=work.real_target, fake=half, jitter=half)
    given = smoothing if work.real_target < 1 or work.noise else None
    loss: Any = losses.NonSaturatingLoss(given)
    return training.AdversarialTrainer(
        *players,
        *optimizers,
        loss=_Halved(loss) if work.halved else loss,
        latent=latent,
        fake_conditions=draw_labels if work.random_labels else None,
        **settings,
    )


def adams(players: Pair, work: Workload, **settings: Any) -> Adams:
    """Create an Adam for each player."""
    return tuple(torch.optim.Adam(p.parameters(), lr=work.lr, betas=work.betas, **settings) for p in players)  # type: ignore[return-value]


def make_pair(work: Workload, device: torch.device | str = "cpu", *, by_hand: bool) -> Pair:
    """Create both networks, with equal weights for both values of ``by_hand``: N(0, 0.02) except in norms."""
    torch.manual_seed(0)
    own = work.make(work.width, by_hand=True)
    for network in own:
        network.apply(_initialise)
    if by_hand:
        return tuple(network.to(device) for network in own)  # type: ignore[return-value]
    ours = work.make(work.width, by_hand=False)
    for source, target in zip(own, ours, strict=True):
        copy_weights(source, target)
    return tuple(network.to(device) for network in ours)  # type: ignore[return-value]


def indexed(
    work: Workload, dataset: TensorDataset, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield batches of a data set on the device, as one would write it by hand."""
    images, *labels = (tensor.to(device) for tensor in dataset.tensors)
    generator = torch.Generator(device).manual_seed(0)
    while True:
        order = torch.randperm(len(images), device=device)
        for chosen in order[: len(order) // work.batch_size * work.batch_size].split(work.batch_size):
            real = images.index_select(0, chosen).to(torch.float32).div_(127.5).sub_(1)
            if work.transform is not None:
                real = work.transform(real, generator)
            yield real, labels[0].index_select(0, chosen) if labels else None


def make_runs(
    work: Workload,
    device: torch.device | str,
    settings: dict[str, dict[str, Any]],
    others: Sequence[str] = ("original", "by hand", "by hand again", "torchgan"),
) -> dict[str, Any]:
    """Create functions that train for a given number of iterations.

    Args:
        work: the workload.
        device: device of the training.
        settings: keywords of AdversarialTrainer for each run of ganlib, by name.
        others: names of the other runs. torchgan is left out if it is not installed or does not support the workload.

    Returns:
        A function for each of the others and each of the settings, by name.
    """
    runs: dict[str, Any] = {}
    dataset = work.as_tensors()
    for name in others:
        players = make_pair(work, device, by_hand=True)
        if name == "torchgan":
            if torchgan_loop.is_here(work):
                runs[name] = torchgan_loop.make_run(work, players, device)
        elif name == "original":
            batches = endless(DataLoader(work.as_pictures(), work.batch_size, shuffle=True, drop_last=True))
            runs[name] = Taking(
                original(work, players, adams(players, work), batches, work.latent, partial(_labels, "cpu"))
            )
        else:
            adam, batches = adams(players, work, fused=True), indexed(work, dataset, device)
            runs[name] = Taking(by_hand(work, players, adam, batches, work.latent, partial(_labels, device)))
    for name, keywords in settings.items():
        players = make_pair(work, device, by_hand=False)
        adam = adams(players, work, fused=True)
        trainer = make_trainer(work, players, adam, work.latent, partial(_labels, device), **keywords)
        loader = data.TensorLoader(dataset, work.batch_size, transform=work.transform, device=device)
        runs[name] = Fitting(trainer, loader)
    return runs


class Taking:
    """Take the given number of steps of a loop, or batches of a stream."""

    def __init__(self, steps: Iterator[Any]) -> None:
        self.steps = steps

    def __call__(self, iterations: int) -> None:
        """Take the steps."""
        for _ in range(iterations):
            next(self.steps)


class Fitting:
    """Take steps by ``fit``, without callbacks."""

    def __init__(self, trainer: Any, loader: Any) -> None:
        self.trainer, self.loader = trainer, loader

    def __call__(self, iterations: int) -> None:
        """Take the steps."""
        for module in self.trainer.modules.values():
            if isinstance(module, nn.Module):
                module.train()  # a script leaves them in evaluation mode after its last samples
        training.fit(self.trainer, self.loader, iterations=self.trainer.iteration + iterations)


class _Halved:
    """Average the losses of real and fake samples in the discriminator's update, instead of their sum."""

    def __init__(self, loss: losses.NonSaturatingLoss) -> None:
        self.loss = loss

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return half of the sum."""
        return self.loss.discriminator(real, fake) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the unchanged loss."""
        return self.loss.generator(fake)


def _labels(device: torch.device | str, n: int) -> Tensor:
    return torch.randint(10, (n,), device=device)


def _targets(work: Workload, logits: Tensor) -> tuple[Tensor, Tensor]:
    if not work.noise:
        return torch.full_like(logits, work.real_target), torch.zeros_like(logits)
    middle, half = work.real_target, work.noise / 2
    ones = torch.empty_like(logits).uniform_(middle - half, middle + half)
    return ones, torch.empty_like(logits).uniform_(0, work.noise)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)

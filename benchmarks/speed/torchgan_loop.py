"""Run the same step by torchgan, if it is installed (``pip install torchgan``).

torchgan's trainer crashes at the end of its first epoch, but its single steps run.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.speed.networks import Pair
from benchmarks.speed.workloads import Workload, endless

__all__ = ["is_here", "make_run"]


def is_here(work: Workload) -> bool:
    """Return whether torchgan is installed and supports the workload, which must not use classes."""
    return not work.labelled and importlib.util.find_spec("torchgan") is not None


def make_run(work: Workload, players: Pair, device: torch.device | str) -> Any:
    """Create a run by torchgan's minimax losses and its ``train_iter``, on batches of a ``DataLoader``."""
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    class Making(Generator):  # type: ignore[misc]  # torchgan has no types
        def __init__(self, body: nn.Module) -> None:
            super().__init__(100, label_type="none")
            self.body = body

        def forward(self, latent: Tensor) -> Tensor:
            return self.body(latent)

        def sampler(self, sample_size: int, device: Any) -> list[Tensor]:
            return [work.latent(sample_size, device=device)]

    class Judging(Discriminator):  # type: ignore[misc]
        def __init__(self, body: nn.Module) -> None:
            super().__init__(work.shape[0], label_type="none")
            self.body = body

        def forward(self, sample: Tensor, feature_matching: bool = False) -> Tensor:
            return self.body(sample)

    adam = {"name": torch.optim.Adam, "args": {"lr": work.lr, "betas": work.betas}}
    folder = tempfile.mkdtemp()
    trainer = Trainer(
        {
            "generator": {"name": Making, "args": {"body": players[0]}, "optimizer": adam},
            "discriminator": {"name": Judging, "args": {"body": players[1]}, "optimizer": adam},
        },
        [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
        device=torch.device(device),
        checkpoints=f"{folder}/checkpoints/gan",
        recon=f"{folder}/images",
        log_dir=folder,
    )
    trainer.batch_size = work.batch_size
    pictures = DataLoader(work.as_pictures(), work.batch_size, shuffle=True, drop_last=True)
    return _Training(trainer, endless(pictures))


class _Training:
    def __init__(self, trainer: Any, batches: Iterator[Any]) -> None:
        self.trainer, self.batches = trainer, batches

    def __call__(self, iterations: int) -> None:
        for _ in range(iterations):
            self.trainer.real_inputs = next(self.batches)[0].to(self.trainer.device)
            generator_loss, discriminator_loss, made, judged = self.trainer.train_iter()
            # torchgan's own loop does this after each step.
            self.trainer.loss_information["generator_losses"] += generator_loss
            self.trainer.loss_information["discriminator_losses"] += discriminator_loss
            self.trainer.loss_information["generator_iters"] += made
            self.trainer.loss_information["discriminator_iters"] += judged

"""Measure how long the generator of deceptive-digits fails at the start, for several seeds and options.

    python -m benchmarks.dead_start DIR --seeds 0 1 2 --out runs/dead_start.csv
    python -m benchmarks.dead_start DIR --seeds 0 1 2 --bf16 --tanh half

DIR contains ``MNIST/raw``. The loop is system 4 of ``benchmarks.reference_loops``, without ganlib. The start is *dead*
until the mean of D(G(z)) over the last 100 iterations is above 0.1. A run ends then, but not before iteration 150, or
at ``--limit``. Every 25 iterations the script prints one row:

- D(x) and D(G(z));
- the standard deviation of the generator's pixels over the batch;
- the share of pixels at which the last tanh has a gradient of exactly 0;
- the norm of the generator's gradient.
"""

import argparse
import csv
from collections import deque
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from benchmarks import reference_loops as loops

SYSTEM, WINDOW, ALIVE, EARLIEST, EVERY = "deceptive_digits", 100, 0.1, 150, 25


class Start:
    """Train from the first iteration on, with the options of the command line."""

    def __init__(self, arguments: argparse.Namespace, seed: int) -> None:
        torch.manual_seed(seed)
        device, width = arguments.device, round(64 / arguments.divide)
        layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
        networks = loops.DigitGenerator(width), loops.DigitDiscriminator(width)
        for network in networks:
            loops.initialise(SYSTEM, network, False)
            network.to(device).to(memory_format=layout)
        self.g, self.d = networks
        self.og, self.od = (
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999), fused=not arguments.plain_adam)
            for network in networks
        )
        self.arguments, self.layout, self.zero_share = arguments, layout, torch.zeros(())
        self.amp = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=arguments.bf16)
        self.g.body[-1].register_forward_pre_hook(self._look)

    def _look(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Count the pixels whose tanh has no gradient, and compute the tanh in float32 with ``--tanh fp32``."""
        (x,) = inputs
        wide = x.float() if self.arguments.tanh == "fp32" else x
        self.zero_share = (1 - wide.detach().tanh().float().square() == 0).float().mean()
        return (wide,)

    def step(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Run one iteration."""
        x = x.to(memory_format=self.layout)

        def fakes() -> tuple[Tensor, Tensor]:
            labels = torch.randint(10, (len(x),), device=x.device)
            return self.g(torch.randn(len(x), 100, device=x.device), labels), labels

        with self.amp:
            fake, labels = fakes()
            real_logits, fake_logits = self.d(x, y), self.d(fake.detach(), labels)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))
        self.od.zero_grad()
        loss.backward()
        self.od.step()
        with self.amp:
            if self.arguments.fresh_fakes:
                fake, labels = fakes()
            logits = self.d(fake, labels).float()
        self.og.zero_grad()
        bce(logits, torch.ones_like(logits)).backward(inputs=list(self.g.parameters()))
        norm = torch.nn.utils.clip_grad_norm_(self.g.parameters(), float("inf"))
        self.og.step()
        return {
            "d_real": real_logits.sigmoid().mean().item(),
            "d_fake": fake_logits.sigmoid().mean().item(),
            "spread": fake.detach().float().std(0).mean().item(),
            "pixels_without_gradient": self.zero_share.item(),
            "gradient_norm": norm.item(),
        }


def main() -> None:
    """Read the command line, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    parser.add_argument("--limit", type=int, default=800, metavar="N", help="iterations (default: %(default)s)")
    parser.add_argument("--divide", type=float, default=1.0, help="divide every width by this (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--tanh", choices=["fp32", "half"], default="half", help="dtype of the last tanh with --bf16")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--plain-adam", action="store_true", help="use an Adam that is not fused")
    parser.add_argument("--fresh-fakes", action="store_true", help="new latents in the generator's update")
    parser.add_argument("--out", type=Path, metavar="X.csv")
    arguments = parser.parse_args()
    images, labels = loops.read(SYSTEM, arguments.root, "", arguments.device)
    rows = list[dict[str, float]]()
    for seed in arguments.seeds:
        start, recent = Start(arguments, seed), deque[float](maxlen=WINDOW)
        for iteration, batch in enumerate(loops.batches(SYSTEM, images, labels, 64), start=1):
            row = start.step(*batch)
            recent.append(row["d_fake"])
            mean = sum(recent) / len(recent)
            alive = iteration >= EARLIEST and mean > ALIVE
            over = alive or iteration >= arguments.limit
            if iteration % EVERY == 0 or over:
                rows.append({"seed": seed, "iteration": iteration, **row})
                told = " ".join(f"{name} {value:.3g}" for name, value in row.items())
                print(f"seed {seed} iteration {iteration}: {told} mean of d_fake {mean:.3f}", flush=True)
            if over:
                print(f"seed {seed}: {'alive' if alive else 'still dead'} at iteration {iteration}", flush=True)
                break
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()

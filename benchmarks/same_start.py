"""Compare the first iterations of deceptive-digits in several precisions, layouts and devices.

    python -m benchmarks.same_start DIR
    python -m benchmarks.same_start DIR --device cuda

DIR contains ``MNIST/raw``. The loop is system 4 of ``benchmarks.reference_loops``, in float64 on the CPU. At the
iterations ``--look`` every variant gets the weights, batch norm averages, images, labels and latents of this loop, and
computes both losses and the gradient of each layer. Errors therefore do not add up. For each of these iterations the
script prints

- D(x), D(G(z)) and the standard deviation of the generator's pixels over the batch, in float64;
- for each variant, the error of both losses, and the relative error of the gradient of both networks, with that of the
  worst layer.

The last two rows train freely in float32 from the same weights, with a fused and with a plain Adam. They show the
largest difference of a loss from float64 in ``--free`` iterations.
"""

import argparse
import copy
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from benchmarks import reference_loops as loops

SYSTEM, BATCH = "deceptive_digits", 64


class Draw(NamedTuple):
    """Represent the input of an iteration: real images with labels, latents with labels."""

    images: Tensor
    labels: Tensor
    latents: Tensor
    fake_labels: Tensor


class Update(NamedTuple):
    """Represent the loss of a player, and a text about its state."""

    player: str
    network: nn.Module
    loss: Tensor
    state: str = ""


class Variant(nn.Module):
    """Represent both networks in one precision and layout, on one device."""

    def __init__(
        self,
        networks: Iterable[nn.Module],
        dtype: torch.dtype = torch.float32,
        *,
        device: str = "cpu",
        autocast: bool = False,
        channels_last: bool = False,
        wide_tanh: bool = False,
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.g, self.d = (copy.deepcopy(each).to(device, dtype).to(memory_format=self.layout) for each in networks)
        self.dtype, self.device, self.autocast = dtype, device, autocast
        if wide_tanh:
            body: Any = self.g.body
            body[-1].register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))

    def updates(self, draw: Draw) -> Iterator[Update]:
        """Yield the update of the discriminator, then of the generator; the caller can step between the two."""
        images, labels, latents, fake_labels = (part.to(self.device) for part in draw)
        images, latents = images.to(self.dtype).to(memory_format=self.layout), latents.to(self.dtype)
        amp = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.autocast)
        with amp:
            fakes = self.g(latents, fake_labels)
            real, fake = _wide(self.d(images, labels)), _wide(self.d(fakes.detach(), fake_labels))
        scores = f"D(x) {real.sigmoid().mean():.3f} D(G(z)) {fake.sigmoid().mean():.3f}"
        loss = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
        yield Update("D", self.d, loss, f"{scores} spread {fakes.detach().float().std(0).mean():.3f}")
        with amp:
            logits = _wide(self.d(fakes, fake_labels))
        yield Update("G", self.g, bce(logits, torch.ones_like(logits)))


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def gradients(update: Update) -> dict[str, Tensor]:
    """Return the gradient of each layer, in float64 on the CPU."""
    parameters = dict(update.network.named_parameters())
    found = torch.autograd.grad(update.loss, [*parameters.values()])
    return {name: gradient.detach().cpu().double() for name, gradient in zip(parameters, found, strict=True)}


def compared(its: Update, expected: dict[str, Tensor], loss: Tensor) -> str:
    """Describe the errors of an update compared with float64."""
    found = gradients(its)
    wrong = {layer: (found[layer] - gradient).norm() for layer, gradient in expected.items()}
    layers = {layer: (wrong[layer] / gradient.norm()).item() for layer, gradient in expected.items()}
    whole, right = (torch.stack([*norms]).norm() for norms in (wrong.values(), (g.norm() for g in expected.values())))
    worst = max(layers, key=layers.__getitem__)
    error = abs(its.loss.item() - loss.item())
    return f"{its.player}: loss {error:.0e} gradient {whole / right:.1e} (worst {layers[worst]:.1e}, {worst})"


def draws(root: Path, seed: int) -> Iterator[Draw]:
    """Yield the input of each iteration."""
    torch.manual_seed(seed)
    images, labels = loops.read(SYSTEM, root, "", "cpu")
    for real, classes in loops.batches(SYSTEM, images, labels, BATCH):
        yield Draw(real, classes, torch.randn(BATCH, 100, dtype=torch.float64), torch.randint(10, (BATCH,)))


def step(optimizer: torch.optim.Optimizer, network: nn.Module, descent: dict[str, Tensor]) -> None:
    """Set the gradients, and take a step."""
    for name, parameter in network.named_parameters():
        parameter.grad = descent[name].to(parameter)
    optimizer.step()


def adams(variant: Variant, **options: Any) -> list[torch.optim.Adam]:
    """Create an Adam for the discriminator, and one for the generator."""
    return [torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999), **options) for net in (variant.d, variant.g)]


def train_freely(variant: Variant, given: list[Draw], **options: Any) -> Iterator[float]:
    """Train, and yield both losses of each iteration."""
    optimizers = adams(variant, **options)
    for draw in given:
        for update, optimizer in zip(variant.updates(draw), optimizers, strict=True):
            yield update.loss.item()
            step(optimizer, update.network, gradients(update))


def main() -> None:
    """Read the command line, compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DIR")
    looks = [*range(1, 11), 20, 30, 40, 50]
    parser.add_argument(
        "--look", type=int, nargs="+", default=looks, metavar="N", help="iterations to compare (default: %(default)s)"
    )
    parser.add_argument(
        "--free", type=int, default=50, metavar="N", help="iterations of free training (default: %(default)s)"
    )
    parser.add_argument("--divide", type=float, default=1.0, help="divide every width by this (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="device of the variants (default: %(default)s)")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    width, on = round(64 / arguments.divide), {"device": arguments.device}
    networks: list[nn.Module] = [loops.DigitGenerator(width), loops.DigitDiscriminator(width)]
    for network in networks:
        loops.initialise(SYSTEM, network, False)
    exact = Variant(networks, torch.float64)
    variants = {
        "float32": Variant(networks, **on),
        "float32, channels last": Variant(networks, **on, channels_last=True),
        "bf16": Variant(networks, **on, autocast=True),
        "bf16, channels last": Variant(networks, **on, autocast=True, channels_last=True),
        "bf16, tanh in float32": Variant(networks, **on, autocast=True, wide_tanh=True),
    }
    optimizers = adams(exact)
    for iteration, draw in enumerate(itertools.islice(draws(arguments.root, arguments.seed), max(arguments.look)), 1):
        looked_at = variants if iteration in arguments.look else {}
        for variant in looked_at.values():
            variant.load_state_dict(exact.state_dict())
        others = {name: variant.updates(draw) for name, variant in looked_at.items()}
        told = dict.fromkeys(others, "")
        for update, optimizer in zip(exact.updates(draw), optimizers, strict=True):
            expected = gradients(update)
            if update.state and others:
                print(f"iteration {iteration}: {update.state}", flush=True)
            for name, other in others.items():
                told[name] += f" {compared(next(other), expected, update.loss)}"
            step(optimizer, update.network, expected)
            for variant in looked_at.values():  # the generator meets the discriminator that was just updated
                variant.d.load_state_dict(exact.d.state_dict())
        for name, errors in told.items():
            print(f"    {arguments.device}, {name}:{errors}", flush=True)
    given = [*itertools.islice(draws(arguments.root, arguments.seed), arguments.free)]
    free = [*train_freely(Variant(networks, torch.float64), given)]
    for name, options in (("fused", {"fused": True}), ("plain", {"foreach": False})):
        seen = train_freely(Variant(networks, **on), given, **options)
        error = max((abs(a - b) for a, b in zip(seen, free, strict=True)), default=0.0)
        print(f"{arguments.device}, float32, {name} Adam, trained freely: losses differ by up to {error:.1e}")


if __name__ == "__main__":
    main()

"""One forward pass of both networks that leaves no trace, so that what does not fit is said before training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganlib._sampling import evaluating
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Batch, Latent
from ganlib.training._joint_pass import makes_no_difference
from ganlib.training._last_activation import last_activation, recorded_calls
from ganlib.training._networks import Minibatch, as_output, call

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["rehearse"]


def rehearse(trainer: "AdversarialTrainer", batch: Batch, *, first: bool = True) -> None:
    """Run both networks on a batch, in evaluation mode, without a graph or a change of any random state.

    Where the trainer leaves it open, this decides whether the discriminator judges real and fake samples together. It
    also finds the generator's last activation, which the updates compute in float32 under autocast.

    Args:
        trainer: whose networks.
        batch: on the generator's device.
        first: whether it is the trainer's first; then samples in half precision are warned of.

    Raises:
        ShapeError: the generator makes samples of another shape than the batch's.
        ArgumentValueError: a network cannot be called with what it would be given.
    """
    n, (sample, condition) = len(batch.sample), batch
    device, dtype = trainer.device, trainer.dtype
    devices = [] if device.type == "cpu" else [device]
    with (
        evaluating(trainer.generator, trainer.discriminator),
        torch.no_grad(),
        torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"),
        torch.compiler.set_stance("force_eager"),
        trainer._objectives.autocast(),
    ):
        fake_condition = condition
        if trainer.fake_conditions is not None:
            fake_condition = trainer.fake_conditions(n)
            trainer.check_conditions(fake_condition.cpu())
            fake_condition = fake_condition.to(device)
        latent = _draw(trainer.latent, n, device).to(dtype)
        with _explained("generator", "latent", latent, fake_condition), recorded_calls(trainer.generator) as calls:
            fake = call(trainer.generator, latent, fake_condition)
        if fake.shape != sample.shape:
            raise ShapeError(
                f"sample {tuple(sample.shape)} must have the shape that generator makes, {tuple(fake.shape)}"
            )
        trainer._objectives.last_activation = last_activation(calls, fake, warn=first)
        with _explained("discriminator", "sample", sample, condition):
            as_output(trainer._objectives.answer(sample, condition))
    if trainer.joint_pass is None:
        minibatch = Minibatch(sample, condition, fake_condition)
        with trainer._objectives.autocast():
            trainer._objectives.joint_pass = makes_no_difference(trainer.discriminator, minibatch, trainer.augment)


def _draw(distribution: Latent, n: int, device: torch.device) -> Tensor:
    """Latents from a generator of their own, so that not even a distribution with random numbers inside moves on."""
    try:
        latent = distribution(n, device=device, generator=torch.Generator(device).manual_seed(0))
    except TypeError as error:
        raise ArgumentTypeError(
            f"latent (={distribution!r}) cannot be called as latent(n, device=..., generator=...): {error}"
        ) from error
    if not isinstance(latent, Tensor) or latent.shape[:1] != (n,):
        what = tuple(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__
        raise ArgumentValueError(f"latent (={distribution!r}) gave {what} for n (={n}); it must give (n, dim)")
    return latent


@contextmanager
def _explained(player: str, argument: str, x: Tensor, condition: Tensor | None) -> Iterator[None]:
    try:
        yield
    except GanlibError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        hint = ""
        if isinstance(error, TypeError):
            hint = (
                " (the batches have no conditions)"
                if condition is None
                else " (conditioning.Unconditional wraps a network that ignores conditions)"
            )
        given = "no condition" if condition is None else f"condition {tuple(condition.shape)}"
        raise ArgumentValueError(
            f"{player} cannot be called with {argument} {tuple(x.shape)} of {x.dtype} and {given}: {error}{hint}"
        ) from error

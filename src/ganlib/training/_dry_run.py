"""One forward pass of both networks that leaves no trace, so that what does not fit is said before training."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ganlib._logits import as_output
from ganlib._sampling import evaluating
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Batch, Latent
from ganlib.training._step._last_activation import last_activation, recorded_calls
from ganlib.training._step._networks import call

__all__ = ["draw_once", "dry_run", "without_trace"]


def dry_run(
    generator: nn.Module,
    discriminator: nn.Module,
    latent: Tensor,
    batch: Batch,
    fake_condition: Any,
    *,
    augment: Callable[[Tensor], Tensor] | None,
    autocast: AbstractContextManager[object],
    warn: bool,
) -> nn.Module | None:
    """Run both networks in evaluation mode, without a graph or a change of any random state.

    Args:
        generator: called with the latents and the fakes' conditions.
        discriminator: called with the batch.
        latent: (N, dim).
        batch: on the networks' device.
        fake_condition: the fakes' conditions, or None.
        augment: samples -> samples, or None.
        autocast: the context of the forward passes.
        warn: whether to warn of samples in half precision.

    Returns:
        The generator's last activation, where it has to be computed in float32 under autocast.

    Raises:
        ShapeError: the generator makes samples of another shape than the batch's.
        ArgumentValueError: a network cannot be called with what it would be given.
    """
    sample, condition = batch
    with without_trace(sample.device), evaluating(generator, discriminator), autocast:
        with _explained("generator", "latent", latent, fake_condition), recorded_calls(generator) as calls:
            fake = call(generator, latent, fake_condition)
        if fake.shape != sample.shape:
            raise ShapeError(
                f"sample {tuple(sample.shape)} must have the shape that generator makes, {tuple(fake.shape)}"
            )
        activation = last_activation(calls, fake, warn=warn)
        with _explained("discriminator", "sample", sample, condition):
            as_output(call(discriminator, sample if augment is None else augment(sample), condition))
    return activation


def draw_once(distribution: Latent, n: int, device: torch.device) -> Tensor:
    """Draw latents with random numbers of their own, so that not even a distribution with some inside moves on.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is not a distribution of latents.
    """
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
def without_trace(device: torch.device) -> Iterator[None]:
    """Keep the random state, make no graph, and compile nothing."""
    devices = [] if device.type == "cpu" else [device]
    with (
        torch.no_grad(),
        torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"),
        torch.compiler.set_stance("force_eager"),
    ):
        yield


@contextmanager
def _explained(network: str, argument: str, x: Tensor, condition: Any) -> Iterator[None]:
    try:
        yield
    except GanlibError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        hint = ""
        if isinstance(error, TypeError):
            hint = (
                " (the batches have no conditions)"
                if condition is None
                else " (conditioning.Unconditional wraps a network that ignores conditions)"
            )
        shapes = tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf, condition)
        given = "no condition" if condition is None else f"condition {shapes}"
        raise ArgumentValueError(
            f"{network} cannot be called with {argument} {tuple(x.shape)} of {x.dtype} and {given}: {error}{hint}"
        ) from error

"""Samples of a generator."""

from itertools import chain

import torch
from torch import Tensor, nn

from ganlib._sampling import BatchNormStatistics, draw
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.protocols import Latent

__all__ = ["sample"]


def sample(
    generator: nn.Module,
    latent: Latent | Tensor,
    n: int | None = None,
    *,
    condition: Tensor | None = None,
    batch_norm: BatchNormStatistics = "running",
    batch_size: int = 500,
    random: torch.Generator | None = None,
) -> Tensor:
    """Draw samples from a generator, and leave its modes and buffers as they are.

    Args:
        generator: called with (latent), or (latent, condition), in evaluation mode and without gradients, in the
            precision of its weights.
        latent: a distribution of latents, such as ``latents.Gaussian(100)``, or the (N, dim) latents themselves.
        n: how many, at least 1; None is as many as there are conditions, or latents.
        condition: N conditions; None where the generator takes none.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in scripts that draw one latent at a time in training mode. All else,
            such as dropout, is in evaluation mode either way. It acts on torch's batch norm modules; one
            that normalizes vectors has no such statistics.
        batch_size: how many are drawn at once, at least 1; ``batch_norm="sample"`` draws one at a time.
        random: source of the latents, on any device; None is torch's own.

    Returns:
        (N, ...) samples on the generator's device.

    Raises:
        ArgumentTypeError: the generator is not a module, or latents or conditions are not what they should be.
        ArgumentValueError: an argument is out of its range, or the number of samples is not known.
        ShapeError: there are not as many latents or conditions as samples.

    Example:
        >>> from ganlib import latents, models, stacks
        >>> generator, _ = models.dcgan(stacks.StackPlan((1, 28, 28), [stacks.Stage(8)]), latent_dim=4)
        >>> models.sample(generator, latents.Gaussian(4), 3).shape
        torch.Size([3, 1, 28, 28])
    """
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={generator!r}) must be a torch.nn.Module")
    if condition is not None and not isinstance(condition, Tensor):
        raise ArgumentTypeError(f"condition (={condition!r}) must be a tensor, or None")
    if not isinstance(latent, Tensor) and (isinstance(latent, type) or not callable(latent)):
        raise ArgumentTypeError(f"latent (={latent!r}) must be a distribution of latents, or a tensor of them")
    for name, value in (("n", n), ("batch_size", batch_size)):
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not whole and not (name == "n" and value is None):
            raise ArgumentValueError(f"{name} (={value!r}) must be a whole number of at least 1")
    for name, given in (("latent", latent), ("condition", condition)):
        if isinstance(given, Tensor) and given.ndim == 0:
            raise ShapeError(f"{name} () must have one entry for each sample")
    if n is None:
        counted = condition if condition is not None else latent
        if not isinstance(counted, Tensor):
            raise ArgumentValueError("n (=None) must say how many samples to draw: there are no conditions to count")
        n = len(counted)
    tensors = chain(generator.parameters(), generator.buffers())
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
    if not isinstance(latent, Tensor):
        latent = latent(n, device=first.device if random is None else random.device, generator=random)
    for name, given in (("latent", latent), ("condition", condition)):
        if given is not None and len(given) != n:
            raise ShapeError(f"{name} {tuple(given.shape)} must have one entry for each of n (={n}) samples")
    latent = latent.to(first.device, first.dtype)
    condition = None if condition is None else condition.to(first.device)
    return draw(generator, latent, condition, batch_norm=batch_norm, batch_size=batch_size)

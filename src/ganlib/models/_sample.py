"""Samples of a generator."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ganlib._checks import check_sizes
from ganlib._sampling import BatchNormStatistics, count_entries, draw
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Condition, Latent

__all__ = ["sample"]


def sample(
    generator: nn.Module,
    latent: Latent | Tensor,
    n: int | None = None,
    *,
    condition: Condition = None,
    batch_norm: BatchNormStatistics = "running",
    batch_size: int = 500,
    random: torch.Generator | None = None,
) -> Tensor:
    """Draw samples from a generator; its modes and buffers stay as they are.

    Args:
        generator: called with (latent), or (latent, condition), in evaluation mode and without gradients, in the
            precision of its weights.
        latent: a distribution of latents, such as ``latents.Gaussian(100)``, or the (N, dim) latents themselves.
        n: the number of samples, at least 1; None is the number of conditions, or of latents.
        condition: N conditions, a tensor or a dict or tuple of tensors; None if the generator takes none.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in scripts that call a generator in training mode with one latent at a
            time. All else, such as dropout, is in evaluation mode either way. It acts on torch's batch norm modules. A
            batch norm of vectors has no statistics of one sample.
        batch_size: the largest number of samples that are drawn at once, at least 1; ``batch_norm="sample"`` draws one
            at a time.
        random: source of the latents, on any device; None is torch's own.

    Returns:
        (N, ...) samples on the generator's device.

    Raises:
        ArgumentTypeError: the generator is not a module, or latents or conditions are of a wrong type.
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
    if not isinstance(latent, Tensor) and (isinstance(latent, type) or not callable(latent)):
        raise ArgumentTypeError(f"latent (={latent!r}) must be a distribution of latents, or a tensor of them")
    check_sizes(batch_size=batch_size)
    if n is not None:
        check_sizes(n=n)
    if condition is not None:
        n = count_entries("condition", condition, n)
    elif isinstance(latent, Tensor):
        n = count_entries("latent", latent, n)
    elif n is None:
        raise ArgumentValueError("n (=None) must say how many samples to draw: there are no conditions to count")
    tensors = chain(generator.parameters(), generator.buffers())
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
    if not isinstance(latent, Tensor):
        latent = latent(n, device=first.device if random is None else random.device, generator=random)
    count_entries("latent", latent, n)
    latent = latent.to(first.device, first.dtype)
    condition = tree_map_only(Tensor, lambda tensor: tensor.to(first.device), condition)
    return draw(generator, latent, condition, batch_norm=batch_norm, batch_size=batch_size)

"""Sample from a generator."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from operator import itemgetter, methodcaller
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ganlib._checks import check_count, check_positive, check_seed
from ganlib._random import mixed_seed, seed_of_rank, seeded
from ganlib._sampling import BatchNormStatistics, check_batch_norm, count_entries, draw
from ganlib._shown import shown
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Batch, Condition, Latent

__all__ = ["sample"]

_ROUNDS = 1000  # enough for a million coordinates if one of 40 draws is small enough


def sample(
    generator: nn.Module,
    latent: Latent | Tensor,
    n: int | None = None,
    *,
    condition: Condition | Callable[[int], Condition] = None,
    batch_norm: BatchNormStatistics = "running",
    batch_size: int = 500,
    seed: int | None = None,
    truncation: float | None = None,
) -> Iterator[Batch]:
    r"""Sample from a generator, batch by batch, without changing its modes and buffers.

    Latents and conditions are drawn when you call the function. Each batch is computed when you fetch it, with the
    weights at that time. ``next(models.sample(...)).sample`` returns the samples of the first batch.
    ``torch.cat([batch.sample for batch in models.sample(...)])`` returns all samples as one tensor. As a sampler of
    :class:`ganlib.training.Evaluate`, use ``functools.partial(models.sample, generator, latent)``.

    With ``truncation`` :math:`\tau`, each coordinate :math:`z_i` of a latent is drawn again until :math:`|z_i| \le
    \tau` (the truncation trick). Samples become better and less varied.

    Args:
        generator: called with (latent), or (latent, condition), in evaluation mode and without gradients. Latents and
            conditions are converted to the dtype of its weights, except integers.
        latent: a distribution of latents, such as ``latents.Gaussian(100)``, or latents (N, dim).
        n: number of samples, at least 1. None is the number of conditions or latents.
        condition: N conditions: a tensor, or a dict or tuple of tensors. Or a function from n to n conditions, such as
            a trainer's ``fake_conditions``. None for an unconditional generator.
        batch_norm: statistics of batch norm. ``"running"`` uses the running averages. ``"sample"`` uses the mean and
            variance of each single sample, like scripts that call a generator in training mode with one latent at a
            time. Other layers, such as dropout, are in evaluation mode in both cases. The option affects torch's batch
            norm modules, and instance norms with running averages. ``"sample"`` does not work for a batch norm of
            vectors, which has no statistics of one sample.
        batch_size: samples per batch, at least 1. The last batch may be smaller.
        seed: seed of the latents, and of torch's random numbers in a function ``condition``, from 0 to 2**64 - 1.
            Latents and conditions are then the same on every device and for every batch size. With several processes,
            each process draws different latents and conditions; the first one draws the same as a single process. Noise
            that the generator itself draws is reproducible only with the same ``batch_size``. None uses torch's global
            random numbers, on the generator's device.
        truncation: largest absolute value of a coordinate of a latent, above 0. None sets no limit.

    Returns:
        An iterator of :class:`ganlib.protocols.Batch`, with samples (N, ...) and their conditions (or None), on the
        generator's device.

    Raises:
        ArgumentTypeError: if the generator is not a module, or latents or conditions have a wrong type.
        ArgumentValueError: if an argument is out of its range, the number of samples is unknown, or the distribution
            has hardly any values within the truncation.
        ShapeError: if the numbers of latents or conditions differ from the number of samples.

    Example:
        >>> from ganlib import latents, models, stacks
        >>> generator, _ = models.dcgan(stacks.StackPlan((1, 28, 28), [stacks.Stage(8)]), latent_dim=4)
        >>> [len(batch.sample) for batch in models.sample(generator, latents.Gaussian(4), 5, batch_size=2)]
        [2, 2, 1]
        >>> next(models.sample(generator, latents.Gaussian(4), 3, seed=0, truncation=0.5)).sample.shape
        torch.Size([3, 1, 28, 28])

    References:
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (BigGAN), 2019,
        arXiv:1809.11096, section 3.1.
    """
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={shown(generator)}) must be a torch.nn.Module")
    if not isinstance(latent, Tensor) and (isinstance(latent, type) or not callable(latent)):
        raise ArgumentTypeError(f"latent (={shown(latent)}) must be a distribution of latents, or a tensor of latents")
    check_batch_norm(batch_norm)
    batch_size = check_count("batch_size", batch_size, least=1)
    n = None if n is None else check_count("n", n, least=1)
    seed = None if seed is None else check_seed("seed", seed)
    if truncation is not None:
        truncation = check_positive("truncation", truncation)
        if isinstance(latent, Tensor):
            raise ArgumentValueError(
                f"truncation (={shown(truncation)}) must be None if latent is a tensor, because its values are fixed"
            )
    draw_conditions: Any = condition if callable(condition) and not isinstance(condition, type) else None
    if condition is not None and draw_conditions is None:
        n = count_entries("condition", condition, n)
    elif isinstance(latent, Tensor):
        n = count_entries("latent", latent, n)
    elif n is None:
        raise ArgumentValueError("n (=None) must be the number of samples, because there are no conditions to count")
    tensors = chain(generator.parameters(), generator.buffers())
    first = next((tensor for tensor in tensors if _has_precision(tensor)), torch.zeros(()))
    if isinstance(latent, Tensor):
        count_entries("latent", latent, n)
    else:
        latent = _draw_latents(latent, n, first.device, seed, truncation)
    if draw_conditions is not None:
        # With the seed of the latents, conditions could depend on the latents.
        with nullcontext() if seed is None else seeded(mixed_seed(seed, rank(), "condition")):
            condition = draw_conditions(n)
        count_entries("condition", condition, n)
    return _batches(generator, latent, condition, first, batch_norm, batch_size, seed)


def _batches(
    generator: nn.Module,
    latent: Tensor,
    condition: Any,
    like: Tensor,
    batch_norm: BatchNormStatistics,
    batch_size: int,
    seed: int | None,
) -> Iterator[Batch]:
    for start in range(0, max(1, len(latent)), batch_size):
        part = itemgetter(slice(start, start + batch_size))
        own = tree_map_only(Tensor, methodcaller("to", like.device), tree_map_only(Tensor, part, condition))
        with nullcontext() if seed is None else seeded(mixed_seed(seed, rank(), start)):  # noise of the generator
            given = tree_map_only(Tensor, lambda tensor: tensor.to(like) if _has_precision(tensor) else tensor, own)
            samples = draw(generator, part(latent).to(like), given, batch_norm=batch_norm)
        yield Batch(samples, own)


def _draw_latents(latent: Latent, n: int, device: torch.device, seed: int | None, truncation: float | None) -> Tensor:
    source = None
    if seed is not None:
        device = torch.device("cpu")
        source = torch.Generator(device).manual_seed(seed_of_rank(seed))
    drawn = latent(n, device=device, generator=source)
    count_entries("latent", drawn, n)
    if truncation is None:
        return drawn
    for _ in range(_ROUNDS):
        outside = drawn.abs() > truncation
        if not outside.any():
            return drawn
        drawn = torch.where(outside, latent(n, device=device, generator=source), drawn)
    raise ArgumentValueError(
        f"truncation (={shown(truncation)}) must be larger for latent (={shown(latent)}), which has hardly any values "
        "that small"
    )


def _has_precision(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()

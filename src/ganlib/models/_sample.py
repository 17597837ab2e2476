"""Samples of a generator."""

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

_ROUNDS = 1000  # enough for a million coordinates that are small enough once in 40 draws


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
    r"""Draw samples from a generator, batch by batch; its modes and buffers stay as they are.

    Latents and conditions are drawn at the call. Each batch is computed when it is asked for, with the weights of that
    moment. A few samples are ``next(models.sample(...)).sample``, and all of them as one tensor are
    ``torch.cat([batch.sample for batch in models.sample(...)])``. A sampler for ``training.Evaluate`` is
    ``functools.partial(models.sample, generator, latent)``.

    With ``truncation`` :math:`\tau`, each coordinate :math:`z_i` of a latent is drawn again until :math:`|z_i| \le
    \tau`. Samples become better and less varied (the truncation trick).

    Args:
        generator: called with (latent), or (latent, condition), in evaluation mode and without gradients; latents and
            conditions that are no integers are given to it in the precision of its weights.
        latent: a distribution of latents, such as ``latents.Gaussian(100)``, or the (N, dim) latents themselves.
        n: the number of samples, at least 1; None is the number of conditions, or of latents.
        condition: N conditions, a tensor or a dict or tuple of tensors; or a function n -> n conditions, such as a
            trainer's ``fake_conditions``; None if the generator takes none.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in scripts that call a generator in training mode with one latent at a
            time. All else, such as dropout, is in evaluation mode either way. It acts on torch's batch norm modules,
            and on instance norms with running averages. A batch norm of vectors has no statistics of one sample.
        batch_size: the number of samples in a batch, at least 1; the last batch may have fewer.
        seed: from 0 to 2**64 - 1, of the latents, and of torch's random numbers in a function ``condition``. These
            are the same on every device and for every batch size. Each of several processes draws its own; those of
            the first are those of a single process. Noise that a generator draws itself is the same for the same
            ``batch_size``. None takes torch's own random numbers, on the generator's device.
        truncation: the largest absolute value of a latent's coordinate, above 0; None does not limit it.

    Returns:
        An iterator of :class:`ganlib.protocols.Batch`: (N, ...) samples and their conditions, or None where there are
        none, on the generator's device.

    Raises:
        ArgumentTypeError: the generator is not a module, or latents or conditions are of a wrong type.
        ArgumentValueError: an argument is out of its range, the number of samples is not known, or the distribution
            has hardly any values within the truncation.
        ShapeError: there are not as many latents or conditions as samples.

    Example:
        >>> from ganlib import latents, models, stacks
        >>> generator, _ = models.dcgan(stacks.StackPlan((1, 28, 28), [stacks.Stage(8)]), latent_dim=4)
        >>> [len(batch.sample) for batch in models.sample(generator, latents.Gaussian(4), 5, batch_size=2)]
        [2, 2, 1]
        >>> next(models.sample(generator, latents.Gaussian(4), 3, seed=0, truncation=0.5)).sample.shape
        torch.Size([3, 1, 28, 28])

    References:
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, section 3.1
        (arXiv:1809.11096).
    """
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={shown(generator)}) must be a torch.nn.Module")
    if not isinstance(latent, Tensor) and (isinstance(latent, type) or not callable(latent)):
        raise ArgumentTypeError(f"latent (={shown(latent)}) must be a distribution of latents, or a tensor of them")
    check_batch_norm(batch_norm)
    batch_size = check_count("batch_size", batch_size, least=1)
    n = None if n is None else check_count("n", n, least=1)
    seed = None if seed is None else check_seed("seed", seed)
    if truncation is not None:
        truncation = check_positive("truncation", truncation)
        if isinstance(latent, Tensor):
            raise ArgumentValueError(
                f"truncation (={shown(truncation)}) must be None where latent is a tensor, which is drawn already"
            )
    draw_conditions: Any = condition if callable(condition) and not isinstance(condition, type) else None
    if condition is not None and draw_conditions is None:
        n = count_entries("condition", condition, n)
    elif isinstance(latent, Tensor):
        n = count_entries("latent", latent, n)
    elif n is None:
        raise ArgumentValueError("n (=None) must say how many samples to draw: there are no conditions to count")
    tensors = chain(generator.parameters(), generator.buffers())
    first = next((tensor for tensor in tensors if _has_precision(tensor)), torch.zeros(()))
    if isinstance(latent, Tensor):
        count_entries("latent", latent, n)
    else:
        latent = _draw_latents(latent, n, first.device, seed, truncation)
    if draw_conditions is not None:
        # With the latents' own seed, conditions could be functions of them.
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
        with nullcontext() if seed is None else seeded(mixed_seed(seed, rank(), start)):  # of noise in the generator
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

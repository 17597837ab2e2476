"""Drawing with a generator without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib.errors import ArgumentValueError

__all__ = ["BatchNormStatistics", "check_batch_norm", "draw", "evaluating"]

BatchNormStatistics: TypeAlias = Literal["running", "sample"]


def check_batch_norm(batch_norm: str) -> None:
    """Refuse an option that is unknown.

    Args:
        batch_norm: must be ``"running"`` or ``"sample"``.

    Raises:
        ArgumentValueError: it is something else.
    """
    if batch_norm not in get_args(BatchNormStatistics):
        raise ArgumentValueError(f"batch_norm (={batch_norm!r}) must be 'running' or 'sample'")


def draw(
    generator: nn.Module,
    latent: Tensor,
    condition: Tensor | None = None,
    *,
    batch_norm: BatchNormStatistics = "running",
    batch_size: int | None = None,
) -> Tensor:
    """Draw samples in evaluation mode, without gradients; modes and buffers stay as they are.

    Args:
        generator: called with (latent), or (latent, condition).
        latent: (N, dim), on the generator's device.
        condition: (N, ...) on the generator's device, or None.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in training mode where the generator is given one latent at a time.
        batch_size: how many are drawn at once with running averages; None is all.

    Returns:
        (N, ...) samples.

    Raises:
        ArgumentValueError: another option, or a batch norm that sees one value of a sample and so has no statistics.

    Example:
        >>> norm = nn.BatchNorm2d(1)
        >>> draw(norm, torch.tensor([[[[1.0, 3.0]]], [[[5.0, 9.0]]]]), batch_norm="sample").flatten().round(decimals=3)
        tensor([-1.,  1., -1.,  1.])
        >>> norm.running_mean
        tensor([0.])
    """
    check_batch_norm(batch_norm)
    alone = batch_norm == "sample"
    size = 1 if alone else batch_size or max(1, len(latent))
    with torch.no_grad(), evaluating(generator), _without_running_averages(generator, alone):
        parts = latent.split(size)
        try:
            if condition is None:
                return torch.cat([generator(part) for part in parts])
            return torch.cat([generator(*pair) for pair in zip(parts, condition.split(size), strict=True)])
        except ValueError as error:
            if alone and "more than 1 value per channel" in str(error):
                raise ArgumentValueError(
                    f"batch_norm (='sample') needs several values of each channel in one sample: {error}"
                ) from error
            raise


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks in evaluation mode for a while.

    Args:
        networks: each of their modules gets its own mode back.

    Returns:
        A context.

    Example:
        >>> layer = nn.Dropout()
        >>> with evaluating(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _without_running_averages(network: nn.Module, asked: bool) -> Iterator[None]:
    """Let batch norms in evaluation mode take the statistics of what they are given, in this process alone."""
    norms = [module for module in network.modules() if asked and isinstance(module, _BatchNorm)]
    averages = [(norm, norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, mean, variance in averages:
            norm.running_mean, norm.running_var = mean, variance

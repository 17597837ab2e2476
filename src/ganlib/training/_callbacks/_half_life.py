"""Compute the decay of an average from its half-life."""

import math
from collections.abc import Callable
from typing import Any, overload

from ganlib._checks import as_float, check_count, check_number
from ganlib.training._callbacks._functions import check_function, value_at

__all__ = ["half_life_decay"]


@overload
def half_life_decay(half_life: float, batch_size: int) -> float: ...


@overload
def half_life_decay(half_life: Callable[[float], float], batch_size: int) -> Callable[[float], float]: ...


def half_life_decay(half_life: Any, batch_size: int) -> Any:
    r"""Compute the decay of an :class:`EMA` from its half-life, which is counted in samples.

    .. math:: \text{decay} = 2^{-\text{batch size} / \text{half-life}}

    After as many samples as the half-life, the older weights count for half of the average. So the average does not
    depend on the batch size. With a half-life of 0, the decay is 0, and the average is equal to the trained weights.

    Args:
        half_life: number of samples, finite and at least 0, or a function from the progress to such a number, for
            example a :func:`cosine_ramp`.
        batch_size: number of samples in an iteration, at least 1. With several processes, count the samples of all of
            them.

    Returns:
        The decay, or a function from the progress to the decay, for :class:`Schedule`.

    Raises:
        ArgumentTypeError: ``half_life`` is a function that does not return numbers.
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> half_life_decay(500, batch_size=500)
        0.5
        >>> from ganlib import training
        >>> decay = half_life_decay(training.cosine_ramp(0, 500, until=0.5), batch_size=500)
        >>> decay(0.0), decay(0.5)
        (0.0, 0.5)

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958, and Huang et
        al., "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024, arXiv:2501.05441, count the half-life of
        their averages in images in this way.
    """
    images = as_float(check_count("batch_size", batch_size, least=1))
    if not callable(half_life):
        return _decay(check_number("half_life", half_life), images)
    check_function("half_life", half_life, least=0.0)
    return lambda progress: _decay(value_at("half_life", half_life, progress, least=0.0), images)


def _decay(half_life: float, batch_size: float) -> float:
    decay = float(0.5 ** (batch_size / half_life)) if half_life else 0.0
    return min(decay, math.nextafter(1, 0))  # below 1, also for a half-life of more samples than float64 can tell

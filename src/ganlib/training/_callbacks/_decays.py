"""Compute values that change with the progress of a run."""

import math
from collections.abc import Callable

from ganlib._checks import check_finite, check_fraction, check_number
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["cosine_decay", "cosine_ramp", "linear_decay"]


def linear_decay(*, start: float = 0.6, final: float = 0.05) -> Callable[[float], float]:
    r"""Create a function that is 1 up to the progress ``start``, then falls linearly to ``final`` at the end.

    .. math:: f(p) = 1 - (1 - \text{final}) \max\left(0, \frac{p - \text{start}}{1 - \text{start}}\right)

    Args:
        start: the progress at which the decay begins, in [0, 1).
        final: the value at progress 1, at least 0.

    Returns:
        A function from the progress to a factor, for :class:`LearningRateSchedule` or :class:`Schedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = linear_decay(start=0.5, final=0.0)
        >>> [factor(progress) for progress in (0.0, 0.5, 0.75, 1.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    check_fraction("start", start, below_1=True)
    check_number("final", final)
    return lambda progress: 1 - (1 - final) * max(0.0, (progress - start) / (1 - start))


def cosine_decay(*, start: float = 0.0, final: float = 0.0) -> Callable[[float], float]:
    r"""Create a function that is 1 up to the progress ``start``, then falls as half a cosine to ``final`` at the end.

    .. math:: f(p) = \text{final} + \frac{1 - \text{final}}{2}
            \left(1 + \cos\left(\pi \max\left(0, \frac{p - \text{start}}{1 - \text{start}}\right)\right)\right)

    Args:
        start: the progress at which the decay begins, in [0, 1).
        final: the value at progress 1, at least 0.

    Returns:
        A function from the progress to a factor, for :class:`LearningRateSchedule` or :class:`Schedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = cosine_decay()
        >>> [round(factor(progress), 3) for progress in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, arXiv:1608.03983,
        equation 5.
    """
    check_fraction("start", start, below_1=True)
    check_number("final", final)
    return lambda progress: (
        final + (1 - final) * (1 + math.cos(math.pi * max(0.0, (progress - start) / (1 - start)))) / 2
    )


def cosine_ramp(first: float, last: float, *, until: float = 1.0) -> Callable[[float], float]:
    r"""Create a function that goes from ``first`` to ``last`` along half a cosine, then stays.

    .. math:: f(p) = (1 - s) \, \text{first} + s \, \text{last}, \qquad
            s = \frac{1 - \cos(\pi \min(1, p / \text{until}))}{2}

    The value at progress 0 is ``first``, and from progress ``until`` on it is ``last``. A ramp may rise or fall. R3GAN
    moves five settings along such ramps: the learning rate, the weight of its penalties, Adam's beta2, the half-life of
    the EMA (see :func:`half_life_decay`) and the probability of its augmentation.

    Args:
        first: the value at progress 0, finite.
        last: the value from progress ``until`` on, finite.
        until: the progress at which the ramp ends, in (0, 1].

    Returns:
        A function from the progress to a value, for :class:`Schedule` or :class:`BetasSchedule`. With ``first=1`` it is
        a factor for :class:`LearningRateSchedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> weight = cosine_ramp(2.0, 0.5, until=0.5)
        >>> [weight(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        [2.0, 1.25, 0.5, 0.5]

    References:
        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024, arXiv:2501.05441; the ramps are
        in its code, https://github.com/brownvc/R3GAN, ``cosine_decay_with_warmup``.
    """
    first, last = check_finite("first", first), check_finite("last", last)
    if check_fraction("until", until) == 0:
        raise ArgumentValueError(f"until (={shown(until)}) must be above 0 and at most 1")

    def value(progress: float) -> float:
        share = (1 - math.cos(math.pi * min(1.0, progress / until))) / 2
        return (1 - share) * first + share * last  # exact at both ends

    return value

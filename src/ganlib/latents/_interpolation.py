"""Interpolation between latents."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlib._checks import check_count
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["lerp", "slerp"]


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Interpolate from ``a`` to ``b`` on a straight line: :math:`(1 - t) a + t b`.

    Args:
        a: (..., dim) float.
        b: the same shape and dtype.
        steps: the number of points, at least 2; both ends are included.

    Returns:
        (steps, ..., dim), in the dtype of ``a``; computed in float32 or float64.

    Raises:
        ArgumentTypeError: ``a`` or ``b`` is not a tensor.
        ShapeError: ``a`` and ``b`` differ in shape, or are empty.
        DTypeError: ``a`` or ``b`` is not floating point, or they differ in dtype.
        ArgumentValueError: ``steps`` is not a whole number of at least 2, or ``a`` and ``b`` are on two devices.

    Example:
        >>> lerp(torch.zeros(1), torch.ones(1), 3).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """
    _check(a, b, steps)
    wide = torch.promote_types(a.dtype, torch.float32)  # the difference of two numbers could overflow in float16
    return torch.lerp(a.to(wide), b.to(wide), _times(a.to(wide), steps)).to(a.dtype)


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Interpolate from ``a`` to ``b`` on a great circle (spherical interpolation).

    With :func:`lerp` the norm shrinks between ``a`` and ``b``; here it does not. With :math:`\omega` the angle between
    :math:`a` and :math:`b`,

    .. math:: \frac{\sin((1 - t) \omega)}{\sin \omega} a + \frac{\sin(t \omega)}{\sin \omega} b.

    The formula is 0 / 0 in these cases:

    - If the vectors have the same direction, or one is zero, the result is that of :func:`lerp`.
    - If the vectors have opposite directions, there are many great circles. The result follows the circle through the
      coordinate axis that is least aligned with :math:`a`. With :math:`\hat e` the unit vector at right angles to
      :math:`a` on this circle, it is :math:`((1 - t) |a| + t |b|) (\cos(\pi t) \hat a + \sin(\pi t) \hat e)`. If
      ``dim`` is 1, there is no circle, and the result is that of :func:`lerp`.

    Two directions count as equal up to the square root of the machine epsilon. The first point is exactly ``a``, and
    the last is exactly ``b``.

    Args:
        a: (..., dim) float; the last dimension is the vector.
        b: the same shape and dtype.
        steps: the number of points, at least 2; both ends are included.

    Returns:
        (steps, ..., dim), in the dtype of ``a``; computed in float32 or float64.

    Raises:
        ArgumentTypeError: ``a`` or ``b`` is not a tensor.
        ShapeError: ``a`` and ``b`` differ in shape, or are empty.
        DTypeError: ``a`` or ``b`` is not floating point, or they differ in dtype.
        ArgumentValueError: ``steps`` is not a whole number of at least 2, or ``a`` and ``b`` are on two devices.

    Example:
        >>> middle = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
        >>> round(middle.norm().item(), 6)
        1.0

    References:
        Shoemake, "Animating Rotation with Quaternion Curves", 1985, doi:10.1145/325165.325242.

        For latents: White, "Sampling Generative Networks", 2016, arXiv:1609.04468.
    """
    _check(a, b, steps)
    first, last, dim = a.unsqueeze(0), b.unsqueeze(0), a.shape[-1]
    dtype = torch.promote_types(a.dtype, torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    t = _times(a, steps)[1:-1]
    (length_a, u), (length_b, v) = _polar(a), _polar(b)
    # If the cosine is near 1 or -1, it loses half of its digits. The chords 2 sin(w / 2) and 2 cos(w / 2) keep them.
    apart, together = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    nearly = torch.finfo(dtype).eps ** 0.5
    directed = (u != 0).any(-1, keepdim=True) & (v != 0).any(-1, keepdim=True)
    opposite = directed & (together <= nearly) & (dim > 1)
    circle = directed & (together > nearly) & (apart > nearly)
    # Unused values must be finite too, because their gradients are multiplied by 0, and 0 times infinity is NaN.
    apart, together = torch.where(circle, apart, 1), torch.where(circle, together, 1)
    omega = 2 * torch.atan2(apart, together)
    shoemake = (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / (apart * together / 2)
    ahead = F.normalize(u - v, dim=-1)
    # F.one_hot would read the values on the CPU.
    axis = (ahead.detach().abs().argmin(-1, keepdim=True) == torch.arange(dim, device=a.device)).to(dtype)
    aside = F.normalize(axis - (axis * ahead).sum(-1, keepdim=True) * ahead, dim=-1)
    half_turn = torch.lerp(length_a, length_b, t) * ((torch.pi * t).cos() * ahead + (torch.pi * t).sin() * aside)
    between = torch.where(circle, shoemake, torch.where(opposite, half_turn, torch.lerp(a, b, t)))
    return torch.cat([first, between.to(first.dtype), last])


def _polar(vector: Tensor) -> tuple[Tensor, Tensor]:
    # The squares of very long or very short vectors would overflow or underflow.
    largest = vector.detach().abs().amax(-1, keepdim=True)
    scaled = vector / torch.where(largest > 0, largest, 1)
    return largest * scaled.norm(dim=-1, keepdim=True), F.normalize(scaled, dim=-1)


def _check(a: Tensor, b: Tensor, steps: int) -> None:
    for name, end in (("a", a), ("b", b)):
        if not isinstance(end, Tensor):
            raise ArgumentTypeError(f"{name} must be a tensor, but is a {type(end).__name__}")
    if a.device != b.device:
        raise ArgumentValueError(f"a on {a.device} and b on {b.device} must be on one device")
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ShapeError(f"a {tuple(a.shape)} must have shape (..., dim), with dim of at least 1")
    if a.shape != b.shape:
        raise ShapeError(f"a {tuple(a.shape)} and b {tuple(b.shape)} must have one shape")
    if not a.is_floating_point() or a.dtype != b.dtype or a.dtype.itemsize == 1:
        raise DTypeError(f"a and b must be floating point of one dtype, but they are {a.dtype} and {b.dtype}")
    check_count("steps", steps, least=2)


def _times(a: Tensor, steps: int) -> Tensor:
    return torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view(-1, *[1] * a.ndim)

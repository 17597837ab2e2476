"""Interpolation between latents."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlib._checks import check_count
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["lerp", "slerp"]


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Interpolate from a to b on a straight line: :math:`(1 - t) a + t b`.

    Args:
        a: (..., dim) float.
        b: the same shape.
        steps: how many points, both ends included; at least 2.

    Returns:
        (steps, ..., dim), of the dtype of a; computed in float32 or better.

    Raises:
        ArgumentTypeError: a or b is not a tensor.
        ShapeError: a and b differ in shape, or have no numbers.
        DTypeError: a or b is not floating point, or they differ in dtype.
        ArgumentValueError: steps is not a whole number of at least 2, or a and b are on two devices.

    Example:
        >>> lerp(torch.zeros(1), torch.ones(1), 3).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """
    _check(a, b, steps)
    wide = torch.promote_types(a.dtype, torch.float32)  # in which the difference of two numbers stays in range
    return torch.lerp(a.to(wide), b.to(wide), _times(a.to(wide), steps)).to(a.dtype)


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Interpolate from a to b on a great circle, so that the norm does not shrink between them.

    With :math:`\omega` the angle between a and b, :math:`\frac{\sin((1 - t) \omega)}{\sin \omega} a +
    \frac{\sin(t \omega)}{\sin \omega} b`. Where that is 0 / 0, a vector is interpolated in another way:

    - Where a and b point in the same direction, or one of them is zero, by :func:`lerp`.
    - Where they point in opposite directions all great circles are equally near. The one through the coordinate axis
      least aligned with a (the first of several) is taken, with :math:`\hat e` the unit vector at right angles to a,
      and the norm is interpolated linearly: :math:`((1 - t) |a| + t |b|) (\cos(\pi t) \hat a + \sin(\pi t) \hat e)`.
      In one dimension there is no circle, and :func:`lerp` is used.

    Directions are compared up to the square root of the precision of floats (the dtype's, or
    float32's if that is finer). The first point is exactly a, and the last exactly b.

    Args:
        a: (..., dim) float; the last dimension is the vector.
        b: the same shape and dtype.
        steps: how many points, both ends included; at least 2.

    Returns:
        (steps, ..., dim), of the dtype of a; computed in float32 or better.

    Raises:
        ArgumentTypeError: a or b is not a tensor.
        ShapeError: a and b differ in shape, or have no numbers.
        DTypeError: a or b is not floating point, or they differ in dtype.
        ArgumentValueError: steps is not a whole number of at least 2, or a and b are on two devices.

    Example:
        >>> middle = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
        >>> round(middle.norm().item(), 6)
        1.0

    References:
        Shoemake, "Animating Rotation with Quaternion Curves", 1985; for latents: White, "Sampling Generative
        Networks", 2016.
    """
    _check(a, b, steps)
    first, last, dim = a.unsqueeze(0), b.unsqueeze(0), a.shape[-1]
    dtype = torch.promote_types(a.dtype, torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    t = _times(a, steps)[1:-1]
    (length_a, u), (length_b, v) = _polar(a), _polar(b)
    # The chords 2 sin(w / 2) and 2 cos(w / 2) keep their digits where the cosine, near 1 or -1, loses half of them.
    apart, together = (u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True)
    nearly = torch.finfo(dtype).eps ** 0.5
    directed = (u != 0).any(-1, keepdim=True) & (v != 0).any(-1, keepdim=True)
    opposite = directed & (together <= nearly) & (dim > 1)
    circle = directed & (together > nearly) & (apart > nearly)
    # A value that is not used must also be finite: its gradient is multiplied by 0, and 0 times infinity is NaN.
    apart, together = torch.where(circle, apart, 1), torch.where(circle, together, 1)
    omega = 2 * torch.atan2(apart, together)
    shoemake = (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / (apart * together / 2)
    ahead = F.normalize(u - v, dim=-1)
    # Not F.one_hot, which on the CPU reads what it is given.
    axis = (ahead.detach().abs().argmin(-1, keepdim=True) == torch.arange(dim, device=a.device)).to(dtype)
    aside = F.normalize(axis - (axis * ahead).sum(-1, keepdim=True) * ahead, dim=-1)
    half_turn = torch.lerp(length_a, length_b, t) * ((torch.pi * t).cos() * ahead + (torch.pi * t).sin() * aside)
    between = torch.where(circle, shoemake, torch.where(opposite, half_turn, torch.lerp(a, b, t)))
    return torch.cat([first, between.to(first.dtype), last])


def _polar(vector: Tensor) -> tuple[Tensor, Tensor]:
    # The squares of very long or very short vectors would leave the range of floats.
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

"""Joint augmentation of samples and their condition maps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlib._shown import shown
from ganlib.augment._adaptive_augment import AdaptiveAugment
from ganlib.augment._color import COLOR
from ganlib.augment._diff_augment import DiffAugment
from ganlib.augment._samples import check_tensor
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["Joint"]


class Joint(nn.Module):
    """Apply the same geometric transform to samples and to their condition maps.

    Use it as ``joint_transform`` of :class:`ganlib.data.TensorLoader`. Samples and maps are concatenated along the
    channels, so the ``fill`` of the transform is used for both.

    Args:
        transform: ``transform(samples, generator) -> samples`` that keeps the shape, moves values and does not mix
            channels: :class:`RandomHorizontalFlip`, :class:`RandomRotation`, :class:`AdaptiveAugment` without colors
            (with ``target=None`` and a fixed ``p``, because a loader gets no logits), or your own.

    Raises:
        ArgumentTypeError: the transform is not callable.
        ArgumentValueError: the transform changes colors.

    Example:
        >>> from ganlib import augment
        >>> joint = Joint(augment.RandomHorizontalFlip(p=1.0))
        >>> photos, sketches = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]]]])
        >>> joint(photos, sketches)
        (tensor([[[[2., 1.]]]]), tensor([[[[4., 3.]]]]))
    """

    def __init__(self, transform: Callable[..., Tensor]) -> None:
        super().__init__()
        if not callable(transform) or isinstance(transform, type):
            raise ArgumentTypeError(f"transform (={shown(transform)}) must be callable and not a class")
        colors = (isinstance(transform, DiffAugment) and "color" in transform.policy.split(",")) or (
            isinstance(transform, AdaptiveAugment) and not set(COLOR).isdisjoint(transform.transforms)
        )
        if colors:
            raise ArgumentValueError(f"transform (={shown(transform)}) changes colors, and would mix samples and maps")
        self.transform = transform

    def forward(
        self, samples: Tensor, condition: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Transform the samples and the maps.

        Args:
            samples: (N, C, *spatial) float.
            condition: (N, D, *spatial) float.
            generator: source of random numbers on the device of the samples; None uses torch's default.

        Returns:
            The transformed samples and maps, with the same shapes and dtypes.

        Raises:
            ArgumentTypeError: the samples or the condition are not tensors.
            ShapeError: the maps do not have the size of the samples, or the transform did not return a tensor of the
                same shape.
        """
        check_tensor("samples", samples)
        check_tensor("condition", condition)
        same = condition.ndim == samples.ndim >= 3 and condition.shape[2:] == samples.shape[2:]
        if not (same and len(condition) == len(samples)):
            raise ShapeError(
                f"condition {tuple(condition.shape)} must be maps (N, channels, *spatial) of the size of the samples "
                f"{tuple(samples.shape)}"
            )
        joined = torch.cat([samples, condition], 1)
        moved = self.transform(joined, generator)
        if not isinstance(moved, Tensor) or moved.shape != joined.shape:
            made = tuple(moved.shape) if isinstance(moved, Tensor) else f"a {type(moved).__name__}"
            raise ShapeError(
                f"transform (={shown(self.transform)}) must keep the shape {tuple(joined.shape)}, but returned {made}"
            )
        parts = moved.split([samples.shape[1], condition.shape[1]], 1)
        return parts[0].to(samples.dtype), parts[1].to(condition.dtype)

"""Keep a history of generated images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlib._checks import check_count
from ganlib.errors import ShapeError

__all__ = ["ImagePool"]


class ImagePool(nn.Module):
    """Mix older generated images into the newest ones, which keeps a discriminator from forgetting the older ones.

    The pool handles the images of a batch one after the other:

    - While the pool is not full, it stores the image and returns it.
    - Once the pool is full, it returns the image itself with probability 1/2. Otherwise it stores the image at the
      position of a random stored image, and returns that stored image.

    If two images of one batch draw the same position, the second image replaces the first one, and the pool returns the
    first one. So a full pool never loses or duplicates an image.

    The pool draws torch's random numbers on its own device and changes its two buffers in place, without waiting for
    the device. Checkpoints contain the buffers, and a CUDA graph can record the pool. Each process has its own pool
    (``per_process = True``). Pass the pool to the trainer in ``modules``.

    Args:
        image_shape: the shape of one image, without the batch dimension.
        size: number of images to store, at least 0. With 0 the pool returns every image unchanged.

    Attributes:
        images: stored images (size, *image_shape), float32 unless you convert the pool; zeros where the pool is not
            full.
        count: number of stored images, a 0-dim int64 tensor.

    Raises:
        ArgumentValueError: ``size`` or a length in ``image_shape`` is out of range.

    Example:
        >>> pool = ImagePool((3, 32, 32), size=50)
        >>> pool(torch.randn(4, 3, 32, 32)).shape, int(pool.count)
        (torch.Size([4, 3, 32, 32]), 4)

    References:
        Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", 2017,
        arXiv:1612.07828, section 2.3.

        The form used here: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks" (CycleGAN), 2017, arXiv:1703.10593, section 4.
    """

    per_process = True

    images: Tensor
    count: Tensor

    def __init__(self, image_shape: Sequence[int], size: int = 50) -> None:
        super().__init__()
        self.size: int = check_count("size", size, least=0)
        shape = [check_count(f"image_shape[{axis}]", length, least=1) for axis, length in enumerate(image_shape)]
        self.register_buffer("images", torch.zeros(self.size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Show the settings in the module's repr."""
        return f"image_shape={tuple(self.images.shape[1:])}, size={self.size}"

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Store some of the images, and return the same number of images.

        Args:
            images: (N, *image_shape) float, on the pool's device. The pool does not change them.

        Returns:
            Images (N, *image_shape) without a graph, in the dtype of ``images``. Images from the pool are copies.

        Raises:
            ShapeError: the images have another shape.
        """
        if images.shape[1:] != self.images.shape[1:]:
            raise ShapeError(
                f"images {tuple(images.shape)} must have shape (N, {', '.join(map(str, self.images.shape[1:]))})"
            )
        n = len(images)
        if self.size == 0 or n == 0:
            return images.detach()
        # A loop would launch several kernels for each image. Drawing all positions at once needs few. Images that draw
        # the same position then show what a loop would have found there.
        number = torch.arange(n, device=images.device)
        free = self.count + number
        filling = free < self.size
        drawn = torch.rand(n, device=images.device) < 0.5
        position = torch.where(filling, free, torch.randint(self.size, (n,), device=images.device))
        writes = (position[:, None] == position) & (filling | drawn)  # [i, j]: image j is stored where i was drawn
        held = self.images.index_select(0, position)
        found = _replace(held.to(images.dtype), images, _last(writes.tril(-1), number))
        # Rows with the same position write the same image, so the order of the writes does not matter.
        self.images.index_copy_(0, position, _replace(held, images.to(held.dtype), _last(writes, number)))
        self.count.add_(n).clamp_(max=self.size)
        return torch.where(_column(filling | ~drawn, images), images, found)


def _last(chosen: Tensor, number: Tensor) -> Tensor:
    """Find the last True column of each row; -1 if there is no such column."""
    return torch.where(chosen, number, -1).amax(1)


def _replace(held: Tensor, images: Tensor, index: Tensor) -> Tensor:
    """Put image ``index[i]`` at position i; keep the stored one where the index is -1."""
    return torch.where(_column(index >= 0, images), images.index_select(0, index.clamp(min=0)), held)


def _column(chosen: Tensor, images: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (images.ndim - 1))

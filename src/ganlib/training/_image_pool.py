"""A history of generated images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlib._checks import check_count
from ganlib.errors import ShapeError

__all__ = ["ImagePool"]


class ImagePool(nn.Module):
    """Gives a discriminator older generated images as well as the newest, so that it does not forget them.

    The images of a batch are taken one after the other:

    - While the pool is not full, the image is stored, and returned as well.
    - Once it is full, with probability 1/2 the image takes the position of a random stored one, and that one is
      returned. Otherwise the image itself is returned.

    So once the pool is full no image is lost and none is there twice: what is stored and what is returned together
    are what was stored before and the batch. A position that several images of one batch draw is passed on from one to
    the next: the first gets what was stored there, the second gets the first image, and the last one stays.

    The state is in two buffers, which exist from the start and are changed in place on their device, with torch's
    random numbers and without waiting for the device. So a checkpoint holds the pool and a CUDA graph can record it;
    this is why the shape of an image is an argument, and not read off the first batch. Of several processes, each has
    a pool of its own (``per_process = True``). Name the pool in the trainer's ``modules``.

    Args:
        image_shape: the shape of one image, without the batch.
        size: how many images are stored, at least 0. With 0 every image is returned as it came.

    Attributes:
        images: (size, *image_shape) float32, or what ``.to(dtype)`` makes of it; zeros where not filled yet.
        count: 0-dim int64, how many are stored.

    Raises:
        ArgumentValueError: a size is out of its range.

    Example:
        >>> pool = ImagePool((3, 32, 32), size=50)
        >>> pool(torch.randn(4, 3, 32, 32)).shape, int(pool.count)
        (torch.Size([4, 3, 32, 32]), 4)

    References:
        Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", 2017,
        arXiv:1612.07828, section 2.3; in this form: Zhu et al., "Unpaired Image-to-Image Translation using
        Cycle-Consistent Adversarial Networks", 2017, arXiv:1703.10593, section 4, and their code.
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
        """Store some of the images, and return as many.

        Args:
            images: (N, *image_shape) float, on the pool's device; they are not changed.

        Returns:
            (N, *image_shape) without a graph, in the dtype of ``images``. What comes from the pool is a copy.

        Raises:
            ShapeError: images of another shape.
        """
        if images.shape[1:] != self.images.shape[1:]:
            raise ShapeError(
                f"images {tuple(images.shape)} must have shape (N, {', '.join(map(str, self.images.shape[1:]))})"
            )
        n = len(images)
        if self.size == 0 or n == 0:
            return images.detach()
        # A loop over the images would launch some kernels for each. Instead, all positions are drawn at once, and
        # what the loop would have found there follows from who drew the same position.
        number = torch.arange(n, device=images.device)
        free = self.count + number
        filling = free < self.size
        drawn = torch.rand(n, device=images.device) < 0.5
        position = torch.where(filling, free, torch.randint(self.size, (n,), device=images.device))
        writes = (position[:, None] == position) & (filling | drawn)  # [i, j]: image j is stored where i looks
        held = self.images.index_select(0, position)
        found = _replace(held.to(images.dtype), images, _last(writes.tril(-1), number))
        # Rows with the same position write the same image, so their order does not matter.
        self.images.index_copy_(0, position, _replace(held, images.to(held.dtype), _last(writes, number)))
        self.count.add_(n).clamp_(max=self.size)
        return torch.where(_column(filling | ~drawn, images), images, found)


def _last(chosen: Tensor, number: Tensor) -> Tensor:
    """The last column that is True in each row; -1 where there is none."""
    return torch.where(chosen, number, -1).amax(1)


def _replace(held: Tensor, images: Tensor, index: Tensor) -> Tensor:
    """Row ``index[i]`` of the images in position i; what is held there where the index is -1."""
    return torch.where(_column(index >= 0, images), images.index_select(0, index.clamp(min=0)), held)


def _column(chosen: Tensor, images: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (images.ndim - 1))

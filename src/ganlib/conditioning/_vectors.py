"""Encoders of tags, vectors and maps."""

import torch
from torch import Tensor, nn

from ganlib._logits import as_dtype
from ganlib._recipe import rebuildable
from ganlib.conditioning._checks import check_device, check_floats
from ganlib.conditioning._encoder import Encoder

__all__ = ["Maps", "TagEmbedding", "VectorEmbedding"]


@rebuildable
class TagEmbedding(Encoder):
    r"""Encode a set of tags as the sum of learned vectors: :math:`\sum_k t_k e_k`.

    The vectors are initialized from N(0, 1).

    Args:
        num_tags: the number of tags, at least 1.
        dim: size of a vector, at least 1.

    Attributes:
        features: ``dim``.

    Raises:
        ArgumentValueError: an argument is below 1.

    Example:
        >>> encoder = TagEmbedding(3, 50)
        >>> both = encoder(torch.tensor([[1.0, 0.0, 1.0]]))
        >>> bool(both.allclose(encoder.weight[0] + encoder.weight[2]))
        True

    References:
        Tags of images: Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, section
        4.2.
    """

    def __init__(self, num_tags: int, dim: int) -> None:
        super().__init__(features=dim, num_tags=num_tags, dim=dim)
        self.num_tags = num_tags
        self.weight: nn.Parameter = nn.Parameter(torch.randn(num_tags, dim))

    def check(self, condition: Tensor) -> None:
        """Raise an error unless the condition is multi-hot tags.

        Args:
            condition: (N, num_tags) float; a number between 0 and 1 is the weight of a tag.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        check_floats(condition, self.num_tags, maps=False, what="multi-hot tags")

    def forward(self, condition: Tensor) -> Tensor:
        """Encode sets of tags.

        Args:
            condition: (N, num_tags) float; it is converted to the dtype of the weights.

        Returns:
            (N, dim) float.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        self.check(condition)
        check_device(condition, self.weight)
        return as_dtype(condition, self.weight.dtype) @ self.weight


@rebuildable
class VectorEmbedding(Encoder):
    """Encode vectors with a linear layer, for example text embeddings.

    Args:
        in_features: size of a condition, at least 1.
        dim: size of the encoded condition, at least 1.

    Attributes:
        features: ``dim``.

    Raises:
        ArgumentValueError: an argument is below 1.

    Example:
        >>> VectorEmbedding(384, 50)(torch.randn(2, 384)).shape
        torch.Size([2, 50])

    References:
        Reed et al., "Generative Adversarial Text to Image Synthesis", 2016, arXiv:1605.05396, section 4.1.
    """

    def __init__(self, in_features: int, dim: int) -> None:
        super().__init__(features=dim, in_features=in_features, dim=dim)
        self.in_features = in_features
        self.linear: nn.Linear = nn.Linear(in_features, dim)

    def check(self, condition: Tensor) -> None:
        """Raise an error unless the condition is vectors of the right size.

        Args:
            condition: (N, in_features) float.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        check_floats(condition, self.in_features, maps=False, what="vectors")

    def forward(self, condition: Tensor) -> Tensor:
        """Encode vectors.

        Args:
            condition: (N, in_features) float; it is converted to the dtype of the weights.

        Returns:
            (N, dim) float.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        self.check(condition)
        check_device(condition, self.linear.weight)
        return self.linear(as_dtype(condition, self.linear.weight.dtype))


@rebuildable
class Maps(Encoder):
    """Return maps unchanged, for example an image that is the condition.

    Args:
        channels: channels of a map, at least 1.

    Attributes:
        features: ``channels``.

    Raises:
        ArgumentValueError: ``channels`` is below 1.

    Example:
        >>> Maps(3)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), 2017,
        arXiv:1611.07004, section 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(features=channels, channels=channels)
        self.channels = channels

    def check(self, condition: Tensor) -> None:
        """Raise an error unless the condition is maps with the right channels.

        Args:
            condition: (N, channels, *spatial) float.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        check_floats(condition, self.channels, maps=True, what="maps")

    def forward(self, condition: Tensor) -> Tensor:
        """Return the maps.

        Args:
            condition: (N, channels, *spatial) float.

        Returns:
            The maps, unchanged.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        self.check(condition)
        return condition

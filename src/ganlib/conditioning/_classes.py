"""Encoders of class indices."""

import torch
from torch import Tensor, nn

from ganlib._recipe import rebuildable
from ganlib.conditioning._checks import check_classes, check_device
from ganlib.conditioning._encoder import Encoder

__all__ = ["ClassEmbedding", "OneHot"]


@rebuildable
class OneHot(Encoder):
    """Encode class indices as one-hot vectors.

    Args:
        num_classes: the number of classes, at least 1.

    Attributes:
        features: ``num_classes``.

    Raises:
        ArgumentValueError: ``num_classes`` is below 1.

    Example:
        >>> OneHot(3)(torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, section 4.1.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(features=num_classes, num_classes=num_classes)
        self.num_classes = num_classes

    def check(self, condition: Tensor) -> None:
        """Raise an error unless the condition is class indices; values are checked only on the CPU.

        Args:
            condition: (N,) int64, or another integer dtype, in [0, num_classes).

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        check_classes(condition, self.num_classes)

    def forward(self, condition: Tensor) -> Tensor:
        """Encode class indices.

        Args:
            condition: (N,) int64, or another integer dtype, in [0, num_classes).

        Returns:
            (N, num_classes), in torch's default dtype.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        self.check(condition)
        # F.one_hot returns integers, which would need a conversion.
        zeros = condition.new_zeros(condition.shape[0], self.num_classes, dtype=torch.get_default_dtype())
        return zeros.scatter_(1, condition.long().unsqueeze(1), 1)


@rebuildable
class ClassEmbedding(Encoder):
    """Encode class indices as learned vectors, initialized from N(0, 1).

    Args:
        num_classes: the number of classes, at least 1.
        dim: size of a vector, at least 1.

    Attributes:
        features: ``dim``.

    Raises:
        ArgumentValueError: an argument is below 1.

    Example:
        >>> ClassEmbedding(10, 50)(torch.tensor([2, 0])).shape
        torch.Size([2, 50])

    References:
        In a discriminator: Denton et al., "Deep Generative Image Models using a Laplacian Pyramid of Adversarial
        Networks", 2015, arXiv:1506.05751.

        Miyato and Koyama, "cGANs with Projection Discriminator", 2018, arXiv:1802.05637.
    """

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__(features=dim, num_classes=num_classes, dim=dim)
        self.num_classes = num_classes
        self.embedding: nn.Embedding = nn.Embedding(num_classes, dim)

    def check(self, condition: Tensor) -> None:
        """Raise an error unless the condition is class indices; values are checked only on the CPU.

        Args:
            condition: (N,) int64, or another integer dtype, in [0, num_classes).

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        check_classes(condition, self.num_classes)

    def forward(self, condition: Tensor) -> Tensor:
        """Encode class indices.

        Args:
            condition: (N,) int64, or another integer dtype, in [0, num_classes).

        Returns:
            (N, dim) float.

        Raises:
            DTypeError, ShapeError, ArgumentValueError: the condition is invalid.
        """
        self.check(condition)
        check_device(condition, self.embedding.weight)
        return self.embedding(condition.long())

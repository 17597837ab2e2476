"""AC-GAN's discriminator."""

from torch import Tensor, nn

from ganlib.conditioning._checks import check_sizes
from ganlib.conditioning._places import places
from ganlib.errors import ShapeError
from ganlib.protocols import DiscriminatorOutput

__all__ = ["AuxiliaryClassifierHead"]


class AuxiliaryClassifierHead(nn.Module):
    r"""A discriminator that is not told the condition but reads it: AC-GAN's.

    With :math:`\phi(x)` the backbone's features, summed over their places,

    .. math:: D(x) = w^\top \phi(x) + b, \qquad c(x) = V \phi(x) + v,

    the logit and the class logits. It trains with :class:`ganlib.losses.AuxiliaryClassifier` among the terms, which
    compares :math:`c` with the condition; without that term nothing tells it what to read.

    Args:
        backbone: from samples to features (N, features) or (N, features, \*spatial).
        features: the backbone's features, at least 1.
        num_classes: how many classes, or tags, at least 1.

    Raises:
        ArgumentValueError: an argument is below 1.

    Example:
        >>> import torch
        >>> discriminator = AuxiliaryClassifierHead(nn.Conv2d(1, 64, 4), features=64, num_classes=10)
        >>> output = discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1]))
        >>> output.logits.shape, output.class_logits.shape
        (torch.Size([4, 1]), torch.Size([4, 10]))

    References:
        Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, section 3.
    """

    def __init__(self, backbone: nn.Module, features: int, num_classes: int) -> None:
        super().__init__()
        check_sizes(features=features, num_classes=num_classes)
        self.backbone = backbone
        self.features = features
        self.num_classes = num_classes
        self.linear = nn.Linear(features, 1)
        self.classify = nn.Linear(features, num_classes)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        """Judge and read.

        Args:
            sample: what the backbone takes.
            condition: not looked at.

        Returns:
            logits (N, 1), class_logits (N, num_classes), and the features, summed over their places, (N, features).

        Raises:
            ShapeError: a backbone with other features.
        """
        phi = places(self.backbone(sample)).sum(1)
        if phi.shape[1] != self.features:
            raise ShapeError(f"the backbone gives {phi.shape[1]} features, but features (={self.features})")
        return DiscriminatorOutput(self.linear(phi), self.classify(phi), (phi,))

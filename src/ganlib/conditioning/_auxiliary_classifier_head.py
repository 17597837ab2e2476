"""AC-GAN's discriminator."""

from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib.conditioning._adapter import positions
from ganlib.errors import ShapeError
from ganlib.protocols import Condition, DiscriminatorOutput

__all__ = ["AuxiliaryClassifierHead"]


class AuxiliaryClassifierHead(nn.Module):
    r"""The discriminator of AC-GAN, which classifies the condition instead of being given it.

    With :math:`\phi(x)` the backbone's features, summed over all positions,

    .. math:: D(x) = w^\top \phi(x) + b, \qquad c(x) = V \phi(x) + v,

    the logit and the class logits. Train it with the auxiliary loss :class:`ganlib.losses.AuxiliaryClassifier`, which
    compares :math:`c` with the condition; without it the class logits are not trained.

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

    def forward(self, sample: Tensor, condition: Condition = None) -> DiscriminatorOutput:
        """Discriminate and classify.

        Args:
            sample: what the backbone takes.
            condition: not used.

        Returns:
            logits (N, 1), class_logits (N, num_classes), and the features, summed over all positions, (N, features).

        Raises:
            ShapeError: a backbone with other features.
        """
        phi = positions(self.backbone(sample)).sum(1)
        if phi.shape[1] != self.features:
            raise ShapeError(f"the backbone gives {phi.shape[1]} features, but features (={self.features})")
        return DiscriminatorOutput(self.linear(phi), self.classify(phi), (phi,))

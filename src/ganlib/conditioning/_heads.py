"""Discriminators that are a linear layer on the features of a backbone, and use or predict the condition."""

from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._condition import call
from ganlib._recipe import rebuildable
from ganlib.conditioning._checks import check_encoder, check_input, encode
from ganlib.errors import ShapeError
from ganlib.protocols import Condition, ConditionEncoder, DiscriminatorOutput

__all__ = ["AuxiliaryClassifierHead", "Projection", "positions"]


@rebuildable
class Projection(nn.Module):
    r"""A discriminator whose logit is a linear layer plus the inner product of features and condition.

    With :math:`\phi(x)` the backbone's features, summed over all positions,

    .. math:: D(x, y) = w^\top \phi(x) + b + \langle W e(y), \phi(x) \rangle;

    :math:`W` is there only where the encoder's features differ from the backbone's. An encoding that is a map
    (``Maps``) is multiplied with the features at each position, and the products are summed.

    Args:
        backbone: from samples to features (N, features) or (N, features, \*spatial).
        encoder: the condition's encoder.
        features: the backbone's features, at least 1.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.
        ArgumentValueError: features is below 1.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import ClassEmbedding
        >>> discriminator = Projection(nn.Conv2d(1, 64, 4), ClassEmbedding(10, 64), features=64)
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1])

    References:
        Miyato and Koyama, "cGANs with Projection Discriminator", 2018, equation 3 and figure 1d.
    """

    def __init__(self, backbone: nn.Module, encoder: ConditionEncoder, features: int) -> None:
        super().__init__()
        check_encoder(encoder)
        check_sizes(features=features)
        self.backbone = backbone
        self.encoder = encoder
        self.features = features
        self.linear: nn.Linear = nn.Linear(features, 1)
        same = encoder.features == features
        self.project: nn.Module = nn.Identity() if same else nn.Linear(encoder.features, features, bias=False)

    def forward(self, sample: Tensor, condition: Condition = None) -> Tensor:
        """Discriminate.

        Args:
            sample: what the backbone takes.
            condition: what the encoder takes.

        Returns:
            (N, 1) logits.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: a condition of another length or shape, or a backbone with other features.
            DTypeError: a condition of another dtype.
        """
        encoding = encode(condition, self.encoder).to(self.linear.weight.dtype)
        features = call(self.backbone, sample, condition)
        phi, e = positions(features), positions(encoding)
        if phi.shape[2] != self.features:
            raise ShapeError(f"the backbone gives {phi.shape[2]} features, but features (={self.features})")
        if e.shape[0] != phi.shape[0]:
            raise ShapeError(f"condition has {len(e)} entries, but sample has {len(phi)}")
        if e.shape[1] != 1 and encoding.shape[2:] != features.shape[2:]:
            raise ShapeError(
                f"condition's maps {tuple(encoding.shape)} must have the spatial sizes of the backbone's features"
            )
        return self.linear(phi.sum(1)) + (self.project(e) * phi).sum((1, 2)).unsqueeze(1)


@rebuildable
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
        self.linear: nn.Linear = nn.Linear(features, 1)
        self.classify: nn.Linear = nn.Linear(features, num_classes)

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


def positions(x: Tensor) -> Tensor:
    """Return (N, C) or (N, C, *spatial) as (N, positions, C)."""
    check_input("the backbone's output", x)
    return (x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)).mT

"""Discriminator heads: projection and auxiliary classifier."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._condition import call
from ganlib._logits import at_least_float32, without_autocast
from ganlib._recipe import rebuildable
from ganlib.conditioning._checks import check_encoder, check_input, check_lengths, check_network, encode
from ganlib.errors import ShapeError
from ganlib.protocols import Condition, ConditionEncoder, DiscriminatorOutput

__all__ = ["AuxiliaryClassifierHead", "Projection", "in_float32", "positions"]


@rebuildable
class Projection(nn.Module):
    r"""Discriminate by a linear layer plus the inner product of features and condition (projection discriminator).

    With :math:`\phi(x)` the backbone's features, summed over all positions,

    .. math:: D(x, y) = w^\top \phi(x) + b + \langle W e(y), \phi(x) \rangle.

    :math:`W` exists only if the encoder and the backbone have different numbers of features. If the encoder returns
    maps (:class:`Maps`), they are multiplied with the features at each position, and the products are summed.

    With ``num_classes``, another linear layer computes class logits from :math:`\phi(x)`, as in
    :class:`AuxiliaryClassifierHead`. Train them with :class:`ganlib.losses.AuxiliaryClassifier`.

    Args:
        backbone: a network from samples to features (N, features) or (N, features, \*spatial).
        encoder: the encoder of the condition.
        features: the number of features of the backbone, at least 1.
        num_classes: the number of classes or tags to predict, at least 1. None returns only the logits.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder, or the backbone is not a network.
        ArgumentValueError: ``features`` or ``num_classes`` is below 1.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import ClassEmbedding
        >>> discriminator = Projection(nn.Conv2d(1, 64, 4), ClassEmbedding(10, 64), features=64)
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1])

    References:
        Miyato and Koyama, "cGANs with Projection Discriminator", 2018, arXiv:1802.05637, equation 3 and figure 1d.

        With class logits: Han et al., "Dual Projection Generative Adversarial Networks for Conditional Image
        Generation", 2021, arXiv:2108.09016, combine both with other weights.
    """

    def __init__(
        self, backbone: nn.Module, encoder: ConditionEncoder, features: int, num_classes: int | None = None
    ) -> None:
        super().__init__()
        check_network("backbone", backbone)
        check_encoder(encoder)
        check_sizes(features=features)
        self.backbone = backbone
        self.encoder = encoder
        self.features = features
        self.linear: nn.Linear = nn.Linear(features, 1)
        same = encoder.features == features
        self.project: nn.Module = nn.Identity() if same else nn.Linear(encoder.features, features, bias=False)
        self.num_classes = num_classes
        if num_classes is not None:
            check_sizes(num_classes=num_classes)
            self.classify: nn.Module = nn.Linear(features, num_classes)

    def forward(self, sample: Tensor, condition: Condition = None) -> Tensor | DiscriminatorOutput:
        """Compute the logits.

        Args:
            sample: the input of the backbone.
            condition: the input of the encoder.

        Returns:
            (N, 1) logits. With ``num_classes``, a DiscriminatorOutput with the logits, the class logits (N,
            num_classes), and the features (N, features), summed over all positions. All are in float32 or better.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: the condition has the wrong length or shape, or the backbone has another number of features.
            DTypeError: the condition has the wrong dtype.
        """
        encoding = encode(condition, self.encoder).to(self.linear.weight.dtype)
        features = call(self.backbone, sample, condition)
        phi, e = at_least_float32(positions(features)), positions(encoding)
        if phi.shape[2] != self.features:
            raise ShapeError(f"the backbone gives {phi.shape[2]} features, but features (={self.features}) was passed")
        check_lengths(e, phi)
        if e.shape[1] != 1 and encoding.shape[2:] != features.shape[2:]:
            raise ShapeError(
                f"condition's maps {tuple(encoding.shape)} must have the spatial sizes of the backbone's features"
            )
        summed = phi.sum(1)
        logits = in_float32(self.linear, summed) + (in_float32(self.project, e) * phi).sum((1, 2)).unsqueeze(1)
        if self.num_classes is None:
            return logits
        return DiscriminatorOutput(logits, in_float32(self.classify, summed), (summed,))


@rebuildable
class AuxiliaryClassifierHead(nn.Module):
    r"""Discriminate and classify with two linear layers (AC-GAN).

    With :math:`\phi(x)` the backbone's features, summed over all positions, the logit :math:`D` and the class logits
    :math:`c` are

    .. math:: D(x) = w^\top \phi(x) + b, \qquad c(x) = V \phi(x) + v.

    The discriminator does not use the condition. Train the class logits with the auxiliary loss
    :class:`ganlib.losses.AuxiliaryClassifier`, which compares them with the condition. Without this loss, the class
    logits are not trained.

    Args:
        backbone: a network from samples to features (N, features) or (N, features, \*spatial).
        features: the number of features of the backbone, at least 1.
        num_classes: the number of classes or tags, at least 1.

    Raises:
        ArgumentTypeError: the backbone is not a network.
        ArgumentValueError: an argument is below 1.

    Example:
        >>> import torch
        >>> discriminator = AuxiliaryClassifierHead(nn.Conv2d(1, 64, 4), features=64, num_classes=10)
        >>> output = discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1]))
        >>> output.logits.shape, output.class_logits.shape
        (torch.Size([4, 1]), torch.Size([4, 10]))

    References:
        Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv:1610.09585, section 3.
    """

    def __init__(self, backbone: nn.Module, features: int, num_classes: int) -> None:
        super().__init__()
        check_network("backbone", backbone)
        check_sizes(features=features, num_classes=num_classes)
        self.backbone = backbone
        self.features = features
        self.num_classes = num_classes
        self.linear: nn.Linear = nn.Linear(features, 1)
        self.classify: nn.Linear = nn.Linear(features, num_classes)

    def forward(self, sample: Tensor, condition: Condition = None) -> DiscriminatorOutput:
        """Compute the logits and the class logits.

        Args:
            sample: the input of the backbone.
            condition: not used.

        Returns:
            Logits (N, 1), class logits (N, num_classes), and the features (N, features), summed over all positions. All
            are in float32 or better.

        Raises:
            ShapeError: the backbone has another number of features.
        """
        phi = at_least_float32(positions(self.backbone(sample))).sum(1)
        if phi.shape[1] != self.features:
            raise ShapeError(f"the backbone gives {phi.shape[1]} features, but features (={self.features}) was passed")
        return DiscriminatorOutput(in_float32(self.linear, phi), in_float32(self.classify, phi), (phi,))


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a linear layer in float32 or better, also under autocast, and if its weights are in half precision.

    Sums over many positions can be more than 65,504, where float16 ends.
    """
    # A read of the weight of a spectral norm would update its vectors, so parameters are read.
    parameter = next(layer.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    with without_autocast(x.device.type):
        if dtype not in (torch.float16, torch.bfloat16):
            return layer(at_least_float32(x))
        if not isinstance(layer, nn.Linear) or layer._forward_pre_hooks or layer._forward_hooks:
            return at_least_float32(layer(x.to(dtype)))  # it may do more than multiply
        bias = None if layer.bias is None else at_least_float32(layer.bias)
        return nn.functional.linear(at_least_float32(x), at_least_float32(layer.weight), bias)


def positions(x: Tensor) -> Tensor:
    """Return (N, C) or (N, C, *spatial) as (N, positions, C)."""
    check_input("the backbone's output", x)
    return (x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)).mT

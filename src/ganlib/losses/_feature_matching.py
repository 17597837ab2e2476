"""Feature matching loss."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganlib._checks import check_option
from ganlib._logits import at_least_float32, check_output
from ganlib._weights import check_weight, show_weight
from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import Step

__all__ = ["FeatureMatching"]

Kind = Literal["mean", "paired"]


class FeatureMatching(nn.Module):
    r"""Train the generator to match the discriminator's features of real samples.

    With :math:`\phi_l` the features of layer :math:`l` and :math:`d_l` their number of values per sample,

    .. math::
        \text{mean:} \quad & A_G = \sum_l \frac{1}{d_l}
            \lVert \operatorname{mean}_i \phi_l(x_i) - \operatorname{mean}_i \phi_l(G(z_i)) \rVert_2^2 \\
        \text{paired:} \quad & A_G = \sum_l \frac{1}{d_l}
            \operatorname{mean}_i \lVert \phi_l(x_i) - \phi_l(G(z_i)) \rVert_1

    and :math:`A_D = 0`. Use ``"mean"`` for samples that are generated from noise. Use ``"paired"`` if fake :math:`i`
    belongs to real sample :math:`i`, as in an autoencoder or in image-to-image translation.

    The discriminator must return a :class:`~ganlib.protocols.DiscriminatorOutput` with ``features``, as
    ``stacks.PatchDiscriminator(..., features=True)`` does. Over several processes the means are those of the whole
    batch, so all processes must call the loss together, with features of equal shapes.

    Args:
        weight: finite, at least 0; the trainer multiplies the loss by it. Pass a 0-dim tensor if the weight changes
            during training (see :class:`ganlib.training.Schedule`).
        kind: ``"mean"`` or ``"paired"``.

    Attributes:
        needs_real: True, because the generator's update also runs the discriminator on real samples.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> from ganlib.protocols import DiscriminatorOutput, Step
        >>> real = DiscriminatorOutput(torch.zeros(2, 1), features=(torch.tensor([[1.0], [3.0]]),))
        >>> fake = DiscriminatorOutput(torch.zeros(2, 1), features=(torch.tensor([[2.0], [0.0]]),))
        >>> FeatureMatching().generator(Step(torch.zeros(2, 1), torch.zeros(2, 1), real, fake))  # (2 - 1)^2
        tensor(1.)

    References:
        Mean: Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv:1606.03498, section 3.1. The
        division by :math:`d_l` follows the authors' code.

        Paired: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs"
        (pix2pixHD), 2018, arXiv:1711.11585, equation 4.
    """

    needs_real = True

    def __init__(self, weight: float | Tensor = 1.0, *, kind: Kind = "mean") -> None:
        super().__init__()
        check_weight("weight", weight)
        check_option("kind", kind, get_args(Kind))
        self.weight = weight
        self.kind: Kind = kind

    def discriminator(self, step: Step) -> Tensor:
        """Return 0, because feature matching does not train the discriminator.

        Args:
            step: only its device is used.

        Returns:
            A scalar 0.
        """
        return torch.zeros((), device=step.fake.device)

    def generator(self, step: Step) -> Tensor:
        """Compute the distance between the features of fake and real samples.

        No gradient flows into the features of real samples.

        Args:
            step: ``fake_output`` and ``real_output`` need the same number of ``features``, each (N, ...).

        Returns:
            A scalar, float32 or float64, without the weight.

        Raises:
            ArgumentValueError: the real output or the features are missing, or the numbers of features differ.
            ShapeError: features differ in shape or are empty.
            DTypeError: features are not floating point.
            ArgumentTypeError: an output is not a DiscriminatorOutput, or features are not tensors.
        """
        fake, real = check_output(step.fake_output, "fake"), check_output(step.real_output, "real")
        for side, output in (("real", real), ("fake", fake)):
            own: Any = output.features
            if not isinstance(own, tuple | list) or not all(isinstance(one, Tensor) for one in own):
                raise ArgumentTypeError(f"features of {side} samples must be a tuple of tensors")
        if not real.features or len(real.features) != len(fake.features):
            raise ArgumentValueError(
                "FeatureMatching needs the same number of features of real and fake samples, at least one: real has "
                f"{len(real.features)}, fake {len(fake.features)} (stacks.PatchDiscriminator(..., features=True) "
                "returns them)"
            )
        pairs = zip(fake.features, real.features, strict=True)
        return torch.stack([self._distance(own, other.detach()) for own, other in pairs]).sum()

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"weight={show_weight(self.weight)}, kind={self.kind!r}"

    def _distance(self, fake: Tensor, real: Tensor) -> Tensor:
        if not (fake.is_floating_point() and real.is_floating_point()):
            raise DTypeError(f"features must be floating point, but are {real.dtype} (real) and {fake.dtype} (fake)")
        fake, real = at_least_float32(fake), at_least_float32(real)
        if not (fake.ndim and fake.numel() and real.ndim and real.numel()):
            raise ShapeError(
                f"features of real {tuple(real.shape)} and fake {tuple(fake.shape)} must be (N, ...), and not be empty"
            )
        if fake.shape[1:] != real.shape[1:] or (self.kind == "paired" and len(fake) != len(real)):
            raise ShapeError(f"features of real {tuple(real.shape)} and fake {tuple(fake.shape)} do not match")
        if self.kind == "paired":
            return (fake - real).abs().mean()
        return mean_over_ranks(fake.mean(0) - real.mean(0)).square().mean()

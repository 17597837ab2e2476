"""Feature matching."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.losses._output import check_output
from ganlib.losses._weights import check_weight
from ganlib.protocols import Condition, DiscriminatorOutput

__all__ = ["FeatureMatching"]

Kind = Literal["mean", "paired"]


class FeatureMatching(nn.Module):
    r"""Feature matching: fakes shall stir the discriminator's inner activations as real samples do.

    With :math:`\phi_l` the l-th of the output's features and :math:`d_l` how many numbers it has per sample,

    .. math::
        \text{mean:} \quad & T_G = \sum_l \frac{1}{d_l}
            \lVert \operatorname{mean}_i \phi_l(x_i) - \operatorname{mean}_i \phi_l(G(z_i)) \rVert_2^2 \\
        \text{paired:} \quad & T_G = \sum_l \frac{1}{d_l}
            \operatorname{mean}_i \lVert \phi_l(x_i) - \phi_l(G(z_i)) \rVert_1

    and :math:`T_D = 0`. The means of a batch suit samples from noise; pairs suit a generator whose i-th fake belongs to
    the i-th real sample, such as an autoencoder's or image-to-image's. Over several processes the means are those of
    the whole batch, so that all processes must call it together, with features of the same shapes. The discriminator
    must return a :class:`~ganlib.protocols.DiscriminatorOutput` with ``features``, as
    ``stacks.PatchDiscriminator(..., features=True)`` does.

    Args:
        weight: finite, at least 0; the trainer multiplies the term with it.
        kind: ``"mean"`` or ``"paired"``.

    Attributes:
        needs_real: True: the generator's update, too, runs the discriminator on real samples.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> real = DiscriminatorOutput(torch.zeros(2, 1), features=(torch.tensor([[1.0], [3.0]]),))
        >>> fake = DiscriminatorOutput(torch.zeros(2, 1), features=(torch.tensor([[2.0], [0.0]]),))
        >>> FeatureMatching().generator(fake, real)  # (2 - 1)^2
        tensor(1.)

    References:
        Mean: Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.1, divided by :math:`d_l` as in
        its code. Paired: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs"
        (pix2pixHD), 2018, equation 4.
    """

    needs_real = True

    def __init__(self, weight: float = 1.0, *, kind: Kind = "mean") -> None:
        super().__init__()
        check_weight(weight)
        if kind not in get_args(Kind):
            raise ArgumentValueError(f"kind (={kind!r}) must be 'mean' or 'paired'")
        self.weight = weight
        self.kind: Kind = kind

    def discriminator(
        self,
        real: DiscriminatorOutput,
        fake: DiscriminatorOutput,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Zero: the discriminator is not asked to keep its features alike.

        Args:
            real: its logits say on which device.
            fake: not used.
            condition: not used.
            fake_condition: not used.

        Returns:
            A scalar 0.
        """
        logits = real.logits[0] if isinstance(real.logits, tuple) else real.logits
        return torch.zeros((), device=logits.device)

    def generator(
        self,
        fake: DiscriminatorOutput,
        real: DiscriminatorOutput | None,
        fake_condition: Condition = None,
        condition: Condition = None,
    ) -> Tensor:
        """How far the features of fakes are from those of real samples, towards which no gradient flows.

        Args:
            fake: the discriminator's output on fakes, with features, each (N, ...).
            real: its output on real samples, with as many.
            fake_condition: not used.
            condition: not used.

        Returns:
            A scalar, float32 or better, without the weight.

        Raises:
            ArgumentValueError: no real output, no features, or another number of them.
            ShapeError: features of different shapes.
            ArgumentTypeError: bare logits instead of a whole output.
        """
        check_output(fake, "fake")
        if real is None:
            raise ArgumentValueError("real (=None) is missing: FeatureMatching compares fakes with real samples")
        check_output(real, "real")
        if not real.features or len(real.features) != len(fake.features):
            raise ArgumentValueError(
                "FeatureMatching needs as many features of real samples as of fakes, at least one: real has "
                f"{len(real.features)}, fake {len(fake.features)} (stacks.PatchDiscriminator(..., features=True) gives "
                "them)"
            )
        pairs = zip(fake.features, real.features, strict=True)
        return torch.stack([self._distance(own, other.detach()) for own, other in pairs]).sum()

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"weight={self.weight}, kind={self.kind!r}"

    def _distance(self, fake: Tensor, real: Tensor) -> Tensor:
        dtype = torch.promote_types(fake.dtype, torch.float32)
        fake, real = fake.to(dtype), real.to(dtype)
        if fake.shape[1:] != real.shape[1:] or (self.kind == "paired" and len(fake) != len(real)):
            raise ShapeError(f"features of real {tuple(real.shape)} and fake {tuple(fake.shape)} do not match")
        if self.kind == "paired":
            return (fake - real).abs().mean()
        return mean_over_ranks(fake.mean(0) - real.mean(0)).square().mean()

"""Relativistic losses."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import Logits

__all__ = ["RelativisticAverageLoss", "RelativisticLoss"]


class RelativisticLoss(nn.Module):
    r"""Compare each real logit with the fake logit at the same index (RpGAN).

    With logits :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math::
        L_D = \operatorname{mean} \log(1 + e^{f - r}), \qquad L_G = \operatorname{mean} \log(1 + e^{r - f}).

    This loss discourages mode collapse, because it pairs each fake with one real sample. R3GAN uses this loss together
    with the penalties R1 and R2.

    Attributes:
        needs_real_logits: True, because the generator's update also runs the discriminator on real samples.

    Example:
        >>> import torch
        >>> loss = RelativisticLoss()
        >>> loss.generator(torch.zeros(4, 1), torch.zeros(4, 1))  # log 2: all samples have equal scores
        tensor(0.6931)

    References:
        Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2019,
        arXiv:1807.00734 (there RSGAN).

        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024, arXiv:2501.05441,
        section 2.
    """

    needs_real_logits = True
    needs_unbounded_logits = True

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean softplus of fake logits minus real logits.

        Args:
            real_logits: float, of any shape, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``, with equal shapes.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ShapeError: the shapes differ.
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(partial(_paired, sign=1), self, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the mean softplus of real logits minus fake logits.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: like ``fake_logits``, with equal shapes; None raises an error.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ArgumentValueError: the real logits are missing.
            ShapeError: the shapes differ.
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(partial(_paired, sign=-1), self, real_logits=real_logits, fake_logits=fake_logits)


class RelativisticAverageLoss(nn.Module):
    r"""Compare each logit with the mean logit of the other side (RaGAN).

    With logits :math:`r = D(x)`, :math:`f = D(G(z))`, and their means :math:`\bar r`, :math:`\bar f` over the batch and
    all positions,

    .. math::
        L_D &= \operatorname{mean} \log(1 + e^{\bar f - r}) + \operatorname{mean} \log(1 + e^{f - \bar r}), \\
        L_G &= \operatorname{mean} \log(1 + e^{r - \bar f}) + \operatorname{mean} \log(1 + e^{\bar r - f}).

    Over several processes the means are those of the whole batch, so all processes must call the loss together.

    Attributes:
        needs_real_logits: True, because the generator's update also runs the discriminator on real samples.

    Example:
        >>> import torch
        >>> loss = RelativisticAverageLoss()
        >>> loss.discriminator(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: all samples have equal scores
        tensor(1.3863)

    References:
        Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2019,
        arXiv:1807.00734 (there RaSGAN).
    """

    needs_real_logits = True
    needs_unbounded_logits = True

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the cross-entropy of the logits relative to the mean logit of the other side.

        Args:
            real_logits: float, of any shape, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``, with equal shapes.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ShapeError: the shapes differ.
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(partial(_averaged, sign=1), self, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the discriminator's loss with real and fake logits exchanged.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: like ``fake_logits``, with equal shapes; None raises an error.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ArgumentValueError: the real logits are missing.
            ShapeError: the shapes differ.
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(partial(_averaged, sign=-1), self, real_logits=real_logits, fake_logits=fake_logits)


def _check_pairs(real: Tensor, fake: Tensor) -> None:
    """Raise a ShapeError unless the logits have one shape, because they would broadcast."""
    if real.shape != fake.shape:
        raise ShapeError(
            f"real_logits {tuple(real.shape)} and fake_logits {tuple(fake.shape)} must have one shape: this loss "
            "compares them with each other"
        )
    if real.device != fake.device:
        raise ArgumentValueError(f"real_logits on {real.device} and fake_logits on {fake.device} must be on one device")


def _paired(real: Tensor, fake: Tensor, sign: int) -> Tensor:
    """Return the pairing loss at one scale; the sign is 1 for the discriminator and -1 for the generator."""
    _check_pairs(real, fake)
    return F.softplus(sign * (fake - real)).mean()


def _averaged(real: Tensor, fake: Tensor, sign: int) -> Tensor:
    """Return the average loss at one scale; the sign is 1 for the discriminator and -1 for the generator."""
    _check_pairs(real, fake)
    real_mean, fake_mean = mean_over_ranks(real.mean()), mean_over_ranks(fake.mean())
    return F.softplus(sign * (fake_mean - real)).mean() + F.softplus(sign * (fake - real_mean)).mean()

"""Hinge loss."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.protocols import Logits

__all__ = ["HingeLoss"]


class HingeLoss(nn.Module):
    r"""Compute the hinge loss, as SAGAN and BigGAN do.

    With logits :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math::
        L_D = \operatorname{mean} \max(0, 1 - r) + \operatorname{mean} \max(0, 1 + f), \qquad
        L_G = -\operatorname{mean} f.

    Example:
        >>> import torch
        >>> loss = HingeLoss()
        >>> loss.discriminator(torch.full((4, 1), 2.0), torch.full((4, 1), -1.0))  # beyond both margins
        tensor(0.)
        >>> loss.generator(torch.full((4, 1), -1.0))
        tensor(1.)

    References:
        Lim and Ye, "Geometric GAN", 2017, arXiv:1705.02894, section 3.

        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, arXiv:1802.05957, equations
        16 and 17.

        Zhang et al., "Self-Attention Generative Adversarial Networks" (SAGAN), 2019, arXiv:1805.08318, section 3.

        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (BigGAN), 2019,
        arXiv:1809.11096, section 3.
    """

    needs_negative_logits = True

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean amount of real logits below 1, plus the mean amount of fake logits above -1.

        Args:
            real_logits: float, of any shape, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``; the shapes may differ.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(
            lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
            self,
            real_logits=real_logits,
            fake_logits=fake_logits,
        )

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the negative mean of the fake logits.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: not used.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(lambda fake: -fake.mean(), self, fake_logits=fake_logits)

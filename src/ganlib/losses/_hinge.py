"""The hinge loss."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.protocols import Logits

__all__ = ["HingeLoss"]


class HingeLoss(nn.Module):
    r"""The hinge loss, with which SAGAN and BigGAN train.

    With logits :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math::
        L_D = \operatorname{mean} \max(0, 1 - r) + \operatorname{mean} \max(0, 1 + f), \qquad
        L_G = -\operatorname{mean} f.

    Example:
        >>> import torch
        >>> loss = HingeLoss()
        >>> loss.discriminator(torch.full((4, 1), 2.0), torch.full((4, 1), -1.0))  # both beyond their margins
        tensor(0.)
        >>> loss.generator(torch.full((4, 1), -1.0))
        tensor(1.)

    References:
        Lim and Ye, "Geometric GAN", 2017, arXiv:1705.02894, section 3; Miyato et al., "Spectral Normalization for
        Generative Adversarial Networks", 2018, arXiv:1802.05957, equations 16 and 17.
    """

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean distance of logits from the right side of their margins, for real plus for fake.

        Args:
            real_logits: float, of any shape, or a tuple of several scales.
            fake_logits: the same; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(
            lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
            self,
            real_logits=real_logits,
            fake_logits=fake_logits,
        )

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute minus the mean fake logit.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(lambda fake: -fake.mean(), self, fake_logits=fake_logits)

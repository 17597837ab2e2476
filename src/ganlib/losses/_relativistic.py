"""The relativistic losses: is this real sample more real than that fake?"""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.distributed import mean_over_ranks
from ganlib.losses._logits import check_pairs, sum_over_scales
from ganlib.protocols import Logits

__all__ = ["RelativisticAverageLoss", "RelativisticLoss"]


class RelativisticLoss(nn.Module):
    r"""The relativistic pairing loss (RpGAN): each real logit against the fake one at its place in the batch.

    With logits :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math::
        L_D = \operatorname{mean} \log(1 + e^{f - r}), \qquad L_G = \operatorname{mean} \log(1 + e^{r - f}).

    A generator cannot win it by one good mode: each of its fakes has to hold against the real sample beside it. R3GAN
    trains with it, with R1 and R2.

    Attributes:
        needs_real_logits: True: the generator's update, too, runs the discriminator on real samples.

    Example:
        >>> import torch
        >>> loss = RelativisticLoss()
        >>> loss.generator(torch.zeros(4, 1), torch.zeros(4, 1))  # log 2: the fakes look as real as the real ones
        tensor(0.6931)

    References:
        Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2019 (its
        RSGAN); Huang et al., "The GAN is dead; long live the GAN! A Modern Baseline GAN", 2024, section 2.
    """

    needs_real_logits = True

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """The mean softplus of each fake logit minus its real one.

        Args:
            real_logits: float, of any shape, or a tuple of several scales.
            fake_logits: likewise, of the same shapes.

        Returns:
            A scalar, float32 or better.

        Raises:
            ShapeError: the shapes differ.
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(_prefer_real, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """The mean softplus of each real logit minus its fake one.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: likewise, of the same shapes; None is refused.

        Returns:
            A scalar, float32 or better.

        Raises:
            ArgumentValueError: no real logits.
            ShapeError: the shapes differ.
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(_prefer_fake, real_logits=real_logits, fake_logits=fake_logits)


class RelativisticAverageLoss(nn.Module):
    r"""The relativistic average loss (RaGAN): each logit against the mean logit of the other side.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))`, and their means :math:`\bar r`, :math:`\bar f` over the batch and
    all its places,

    .. math::
        L_D &= \operatorname{mean} \log(1 + e^{\bar f - r}) + \operatorname{mean} \log(1 + e^{f - \bar r}), \\
        L_G &= \operatorname{mean} \log(1 + e^{r - \bar f}) + \operatorname{mean} \log(1 + e^{\bar r - f}).

    The means couple the samples of a batch; over several processes they are those of the whole batch, so that all
    processes must call it together.

    Attributes:
        needs_real_logits: True: the generator's update, too, runs the discriminator on real samples.

    Example:
        >>> import torch
        >>> loss = RelativisticAverageLoss()
        >>> loss.discriminator(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: it cannot tell them apart
        tensor(1.3863)

    References:
        Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", 2019 (its
        RaSGAN).
    """

    needs_real_logits = True

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Binary cross-entropy of real logits above the mean fake one and fake logits above the mean real one, summed.

        Args:
            real_logits: float, of any shape, or a tuple of several scales.
            fake_logits: likewise, of the same shapes.

        Returns:
            A scalar, float32 or better.

        Raises:
            ShapeError: the shapes differ.
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(_prefer_real_to_average, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """The discriminator's loss with the sides exchanged.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: likewise, of the same shapes; None is refused.

        Returns:
            A scalar, float32 or better.

        Raises:
            ArgumentValueError: no real logits.
            ShapeError: the shapes differ.
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(_prefer_fake_to_average, real_logits=real_logits, fake_logits=fake_logits)


def _prefer_real(real: Tensor, fake: Tensor) -> Tensor:
    check_pairs(real, fake)
    return F.softplus(fake - real).mean()


def _prefer_fake(real: Tensor, fake: Tensor) -> Tensor:
    check_pairs(real, fake)
    return F.softplus(real - fake).mean()


def _prefer_real_to_average(real: Tensor, fake: Tensor) -> Tensor:
    check_pairs(real, fake)
    real_mean, fake_mean = mean_over_ranks(real.mean()), mean_over_ranks(fake.mean())
    return F.softplus(fake_mean - real).mean() + F.softplus(fake - real_mean).mean()


def _prefer_fake_to_average(real: Tensor, fake: Tensor) -> Tensor:
    check_pairs(real, fake)
    real_mean, fake_mean = mean_over_ranks(real.mean()), mean_over_ranks(fake.mean())
    return F.softplus(real - fake_mean).mean() + F.softplus(real_mean - fake).mean()

"""LeCam regularisation."""

from typing import Any

import torch
from torch import Tensor, nn

from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentValueError
from ganlib.penalties._gradients import check_weight_and_every
from ganlib.penalties._logits import judge, scales
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits

__all__ = ["LeCam"]


class LeCam(nn.Module):
    r"""LeCam regularisation: real logits are held near the running mean of fake ones, and the other way round.

    With :math:`\alpha_R` and :math:`\alpha_F` the running means of real and fake logits,

    .. math:: R = \operatorname{mean} (D(x) - \alpha_F)^2 + \operatorname{mean} (D(G(z)) - \alpha_R)^2,

    summed over scales. The means begin as those of the first batch; each later call in training mode moves them before
    it uses them, :math:`\alpha \leftarrow \text{decay} \cdot \alpha + (1 - \text{decay}) \operatorname{mean}`. They are
    buffers, saved with the run. Over several processes they are moved by the means of the whole batch, so that all
    processes hold the same ones, and must call it together.

    It needs nothing but logits. Among the trainer's ``terms`` it takes those that are there already; among
    ``penalties`` it runs the discriminator on real and fake a second time; in a loop of your own, call
    :meth:`discriminator` and multiply with ``weight``.

    Args:
        weight: 0 or more; the paper has 0.01 to 0.3 with little data.
        decay: of the running means, in [0, 1).
        clipped: whether a difference counts only where real logits are above the fakes' mean, and fake ones below the
            real ones': :math:`\max(0, D(x) - \alpha_F)^2` and :math:`\max(0, \alpha_R - D(G(z)))^2`. The equation in
            the paper does not clip, the authors' code does.
        num_scales: how many logits the discriminator gives (multi-scale), at least 1.
        every: among ``penalties`` the trainer applies it at iterations divisible by this, scaled by this; among
            ``terms`` it acts in every iteration.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> lecam = LeCam(weight=0.3)
        >>> lecam.discriminator(torch.ones(4, 1), torch.zeros(4, 1))  # (1 - 0)^2 + (0 - 1)^2
        tensor(2.)

    References:
        Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data", 2021, equations 3 and 4.
    """

    real_means: Tensor
    fake_means: Tensor
    started: Tensor

    def __init__(
        self, weight: float = 0.3, *, decay: float = 0.99, clipped: bool = False, num_scales: int = 1, every: int = 1
    ) -> None:
        super().__init__()
        check_weight_and_every(weight, every)
        if not 0 <= decay < 1:
            raise ArgumentValueError(f"decay (={decay}) must be in [0, 1)")
        if not (isinstance(num_scales, int) and num_scales >= 1):
            raise ArgumentValueError(f"num_scales (={num_scales}) must be a whole number of at least 1")
        self.weight = weight
        self.decay = decay
        self.clipped = clipped
        self.num_scales = num_scales
        self.every = every
        self.register_buffer("real_means", torch.zeros(num_scales))
        self.register_buffer("fake_means", torch.zeros(num_scales))
        self.register_buffer("started", torch.zeros(()))

    def discriminator(
        self,
        real: Logits | DiscriminatorOutput,
        fake: Logits | DiscriminatorOutput,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Move the running means, and say how far the logits are from the other side's.

        Args:
            real: the discriminator's answer to real samples.
            fake: its answer to fakes.
            condition: not used.
            fake_condition: not used.

        Returns:
            A scalar, float32 or better, without the weight.

        Raises:
            ArgumentValueError: another number of scales.
        """
        real_scales, fake_scales = scales(real), scales(fake)
        if not len(real_scales) == len(fake_scales) == self.num_scales:
            raise ArgumentValueError(
                f"num_scales (={self.num_scales}) must be the number of the discriminator's logits, but there are "
                f"{len(real_scales)} of real samples and {len(fake_scales)} of fakes"
            )
        if self.training:
            self._move(real_scales, fake_scales)
        means = zip(real_scales, fake_scales, self.real_means, self.fake_means, strict=True)
        return torch.stack([self._distance(*logits) for logits in means]).sum()

    def generator(
        self, fake: Any, real: Any = None, fake_condition: Condition = None, condition: Condition = None
    ) -> Tensor:
        """Zero: it regularises the discriminator alone.

        Args:
            fake: its logits say on which device.
            real: not used.
            fake_condition: not used.
            condition: not used.

        Returns:
            A scalar 0.
        """
        return torch.zeros((), device=scales(fake)[0].device)

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Tensor:
        """The same as a penalty: judge real and fake, and weigh.

        Args:
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: (N, ...) float; no gradient flows back into it.
            condition: the real samples' conditions, or None.
            fake_condition: the fakes'; None takes ``condition``.

        Returns:
            A scalar, float32 or better, with the weight.

        Raises:
            ArgumentValueError: another number of scales.
        """
        own = condition if fake_condition is None else fake_condition
        judged = judge(discriminator, real.detach(), condition), judge(discriminator, fake.detach(), own)
        return self.weight * self.discriminator(*judged)

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return (
            f"weight={self.weight}, decay={self.decay}, clipped={self.clipped}, num_scales={self.num_scales}, "
            f"every={self.every}"
        )

    @torch.no_grad()
    def _move(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> None:
        device = real[0].device
        # A share on the device instead of a branch on the host: nothing waits.
        share = 1 - self.decay * self.started.to(device)
        for name, side in (("real_means", real), ("fake_means", fake)):
            mean = getattr(self, name).to(device)
            # Reduced before it is rounded: the means are then those of one process, bit for bit but for rare ties.
            now = mean_over_ranks(torch.stack([scale.mean() for scale in side])).to(mean.dtype)
            setattr(self, name, torch.lerp(mean, now, share))
        self.started = torch.ones_like(self.started, device=device)

    def _distance(self, real: Tensor, fake: Tensor, real_mean: Tensor, fake_mean: Tensor) -> Tensor:
        above, below = real - fake_mean, real_mean - fake
        if self.clipped:
            above, below = above.relu(), below.relu()
        return above.square().mean() + below.square().mean()

"""LeCam regularization."""

from functools import partial

import torch
from torch import Tensor

from ganlib._checks import check_fraction, check_sizes
from ganlib._logits import scales
from ganlib._weights import check_weight, weighted
from ganlib.errors import ArgumentValueError
from ganlib.penalties._penalty import LazyPenalty, call_exactly, check_samples, move_mean_
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits, Step

__all__ = ["LeCam"]


class LeCam(LazyPenalty):
    r"""Penalize the distance of logits from the running mean of the other side (LeCam regularization).

    With :math:`\alpha_R` and :math:`\alpha_F` the running means of real and fake logits,

    .. math:: R = \operatorname{mean} (D(x) - \alpha_F)^2 + \operatorname{mean} (D(G(z)) - \alpha_R)^2,

    summed over scales. The first batch initializes the running means. Each later call in training mode first updates
    them in place, :math:`\alpha \leftarrow \text{decay} \cdot \alpha + (1 - \text{decay}) \operatorname{mean}`. They
    are buffers, and the first call moves them to the device of the logits. Over several processes they are updated
    with the means of the whole batch, so all processes must call the penalty together.

    Prefer the trainer's ``auxiliary_losses`` to ``penalties``: as an auxiliary loss it uses the logits of the update,
    and as a penalty it runs the discriminator a second time. In your own training loop, call :meth:`of`.

    Args:
        weight: 0 or more; 0.01 to 0.3 in the paper, for small data sets. Pass a 0-dim tensor if the weight changes
            during training (see :class:`ganlib.training.Schedule`).
        decay: decay of the running means, in [0, 1), or a 0-dim tensor.
        clipped: whether to penalize only real logits above :math:`\alpha_F` and fake logits below :math:`\alpha_R`,
            with :math:`\max(0, D(x) - \alpha_F)^2` and :math:`\max(0, \alpha_R - D(G(z)))^2`. The authors' code clips
            like this; the equation in the paper does not.
        num_scales: the number of scales of the discriminator, at least 1.
        every: k; in ``penalties``, the trainer applies it in every k-th iteration, multiplied by k. In
            ``auxiliary_losses``, ``every`` has no effect.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> lecam = LeCam(weight=0.5)
        >>> lecam.of(torch.ones(4, 1), torch.zeros(4, 1))  # 0.5 * ((1 - 0)^2 + (0 - 1)^2)
        tensor(1.)

    References:
        Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data", 2021, arXiv:2104.03310,
        equations 3 and 4.
    """

    real_means: Tensor
    fake_means: Tensor
    started: Tensor

    def __init__(
        self,
        weight: float | Tensor = 0.3,
        *,
        decay: float | Tensor = 0.99,
        clipped: bool = False,
        num_scales: int = 1,
        every: int = 1,
    ) -> None:
        super().__init__(weight, every=every)
        check_weight("decay", decay, partial(check_fraction, below_1=True))
        check_sizes(num_scales=num_scales)
        self.decay = decay
        self.clipped = clipped
        self.num_scales = num_scales
        self.register_buffer("real_means", torch.zeros(num_scales))
        self.register_buffer("fake_means", torch.zeros(num_scales))
        self.register_buffer("started", torch.zeros(()))

    def discriminator(self, step: Step) -> Tensor:
        """Update the running means, and compute the distance of the logits from the mean of the other side.

        Args:
            step: needs ``real_output`` and ``fake_output``.

        Returns:
            A scalar, float32 or float64, without the weight.

        Raises:
            ArgumentValueError: the real output is missing, or the number of scales is not ``num_scales``.
        """
        if step.real_output is None:
            raise ArgumentValueError("step.real_output (=None) is missing: LeCam compares it with fake_output")
        return self._distance(step.real_output, step.fake_output)

    def generator(self, step: Step) -> Tensor:
        """Return 0, because only the discriminator is regularized.

        Args:
            step: only its device is used.

        Returns:
            A scalar 0.
        """
        return torch.zeros((), device=step.fake.device)

    def of(self, real_logits: Logits | DiscriminatorOutput, fake_logits: Logits | DiscriminatorOutput) -> Tensor:
        """Update the running means, and compute the penalty from logits that you have already computed.

        Args:
            real_logits: float, of any shape, a tuple with one tensor per scale, or a DiscriminatorOutput.
            fake_logits: like ``real_logits``, for fakes.

        Returns:
            A scalar, float32 or float64, with the weight.

        Raises:
            ArgumentValueError: the number of scales is not ``num_scales``.
        """
        return weighted(self.weight, self._distance(real_logits, fake_logits))

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Run the discriminator on real and fake samples, and compute the penalty.

        Args:
            discriminator: called with (samples), or with (samples, condition) if there is a condition.
            real: (N, ...) float.
            fake: (N, ...) float; no gradient flows into it.
            condition: the conditions of the real samples, or None.
            fake_condition: the conditions of the fakes; None means ``condition``.

        Returns:
            A scalar, float32 or float64, with the weight.

        Raises:
            ArgumentValueError: the number of scales is not ``num_scales``.
        """
        check_samples(discriminator, real=real, fake=fake)
        own = condition if fake_condition is None else fake_condition
        real_logits = call_exactly(discriminator, real.detach(), condition)
        return self.of(real_logits, call_exactly(discriminator, fake.detach(), own))

    def _distance(self, real: Logits | DiscriminatorOutput, fake: Logits | DiscriminatorOutput) -> Tensor:
        """Update the means in training mode, and return the sum over scales without the weight."""
        real_scales, fake_scales = scales(real), scales(fake)
        if not len(real_scales) == len(fake_scales) == self.num_scales:
            raise ArgumentValueError(
                f"num_scales (={self.num_scales}) must be the number of the discriminator's logits, but there are "
                f"{len(real_scales)} of real samples and {len(fake_scales)} of fakes"
            )
        if self.started.device != real_scales[0].device:
            self.to(real_scales[0].device)
        if self.training:
            self._update(real_scales, fake_scales)
        total = torch.zeros((), device=real_scales[0].device)
        for r, f, real_mean, fake_mean in zip(real_scales, fake_scales, self.real_means, self.fake_means, strict=True):
            above, below = r - fake_mean, real_mean - f
            if self.clipped:
                above, below = above.relu(), below.relu()
            total = total + above.square().mean() + below.square().mean()
        return total

    @torch.no_grad()
    def _update(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> None:
        """Move the running means toward the means of a batch."""
        for mean, side in ((self.real_means, real), (self.fake_means, fake)):
            move_mean_(mean, torch.stack([scale.mean() for scale in side]), self.decay, self.started)
        self.started.fill_(1)

"""Zero-centered gradient penalties R1 and R2."""

from typing import ClassVar

from torch import Tensor

from ganlib._weights import weighted
from ganlib.penalties._penalty import (
    DerivativePenalty,
    check_samples,
    squared_gradient_norms,
    squared_gradient_norms_of,
)
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits

__all__ = ["R1", "R2"]


class R1(DerivativePenalty):
    r"""Penalize the squared gradient norm at real samples (R1).

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(x_i) \rVert^2

    If a sample has several logits (patches, scales), :math:`D` is their sum.

    Batch norm in the discriminator mixes the samples of a batch, so the penalty does not act on each sample alone. With
    a small weight, as in the examples, the penalty still stabilizes the training, so there is no warning. With a larger
    weight, prefer ``norm="none"``.

    Args:
        weight: 0 or more; :math:`\gamma` in the paper. Pass a 0-dim tensor if the weight changes during training (see
            :class:`ganlib.training.Schedule`).
        every: k; the trainer applies the penalty in every k-th iteration, multiplied by k (lazy regularization).
        precision: ``"fp32"`` runs the discriminator without autocast. ``"autocast"`` runs its forward pass and its
            derivative in the precision of the surrounding autocast, which must be bfloat16. The gradient is converted
            to float32 before it is squared. See :ref:`penalty_precision`.

    Attributes:
        side: ``"real"``, the samples that :meth:`of` takes.

    Raises:
        ArgumentValueError: the weight is negative, ``every`` is below 1, or ``precision`` is not an option.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R1(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()  # 10 / 2 * 3^2
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, arXiv:1801.04406, equation 9.

        Lazy regularization: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
        arXiv:1912.04958, section 3.1.
    """

    side: ClassVar[str] = "real"

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Compute the penalty on real samples.

        Args:
            discriminator: called with (real), or with (real, condition) if there is a condition.
            real: (N, ...) float.
            fake: not used.
            condition: the conditions of the real samples, or None.
            fake_condition: not used.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ArgumentValueError: the logits do not depend on the samples.
        """
        check_samples(discriminator, real=real)
        squares = squared_gradient_norms(discriminator, real, condition, self.precision, self)
        return weighted(self.weight / 2, squares.mean())

    def of(self, samples: Tensor, logits: Logits | DiscriminatorOutput) -> Tensor:
        """Compute the penalty from logits that you have already computed, which saves a forward pass.

        The derivative has the precision of the forward pass. Compute the logits without autocast, or under an autocast
        to bfloat16 if that precision is enough. Do not use :func:`torch.compile`, because compiled modules have no
        second derivative. :class:`ganlib.training.AdversarialTrainer` calls this method with ``reuse_logits=True``.

        Args:
            samples: (N, ...) float, with ``requires_grad``.
            logits: the discriminator's output on these samples: logits, a tuple with one tensor per scale, or a
                DiscriminatorOutput. Its graph is kept.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ArgumentValueError: the samples do not require a gradient, or the logits do not depend on them.

        Example:
            >>> import torch
            >>> real = torch.randn(8, 5).requires_grad_()
            >>> real_logits = 3 * real[:, :1]
            >>> R1(weight=10.0).of(real, real_logits).item()
            45.0
        """
        return weighted(self.weight / 2, squared_gradient_norms_of(samples, logits, penalty=self).mean())


class R2(DerivativePenalty):
    r"""Penalize the squared gradient norm at fake samples (R2).

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(G(z_i)) \rVert^2

    If a sample has several logits (patches, scales), :math:`D` is their sum. For batch norm, see :class:`R1`.

    Args:
        weight: 0 or more; :math:`\gamma` in the paper. Pass a 0-dim tensor if the weight changes during training (see
            :class:`ganlib.training.Schedule`).
        every: k; the trainer applies the penalty in every k-th iteration, multiplied by k.
        precision: ``"fp32"`` or ``"autocast"``; see :class:`R1`.

    Attributes:
        side: ``"fake"``, the samples that :meth:`of` takes.

    Raises:
        ArgumentValueError: the weight is negative, ``every`` is below 1, or ``precision`` is not an option.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R2(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, arXiv:1801.04406, equation 10.
    """

    side: ClassVar[str] = "fake"

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Compute the penalty on fake samples.

        Args:
            discriminator: called with (fake), or with (fake, fake_condition) if there is a condition.
            real: not used.
            fake: (N, ...) float; no gradient flows into it.
            condition: used if ``fake_condition`` is None.
            fake_condition: the conditions of the fake samples, or None.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ArgumentValueError: the logits do not depend on the samples.
        """
        check_samples(discriminator, fake=fake)
        own = condition if fake_condition is None else fake_condition
        squares = squared_gradient_norms(discriminator, fake, own, self.precision, self)
        return weighted(self.weight / 2, squares.mean())

    def of(self, samples: Tensor, logits: Logits | DiscriminatorOutput) -> Tensor:
        """Compute the penalty from logits that you have already computed; see :meth:`R1.of`.

        Args:
            samples: fakes (N, ...) float, with ``requires_grad``, such as ``fake.detach().requires_grad_()``.
            logits: the discriminator's output on these samples.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ArgumentValueError: the samples do not require a gradient, or the logits do not depend on them.
        """
        return weighted(self.weight / 2, squared_gradient_norms_of(samples, logits, penalty=self).mean())

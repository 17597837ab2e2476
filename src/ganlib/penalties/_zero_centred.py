"""R1 and R2: the zero-centred gradient penalties on real and on fake samples."""

from torch import Tensor

from ganlib._weights import weighted
from ganlib.penalties._penalty import LazyPenalty, check_samples, squared_gradient_norms, squared_gradient_norms_of
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits

__all__ = ["R1", "R2"]


class R1(LazyPenalty):
    r"""The zero-centred gradient penalty on real samples.

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(x_i) \rVert^2

    Of several logits of a sample (patches, scales), :math:`D` is the sum. A discriminator with batch norm mixes the
    samples of a batch, and this is then not a penalty per sample. With a small weight, as the examples have, it still
    steadies the training, so that nothing is warned of; otherwise prefer ``norm="none"``.

    Args:
        weight: 0 or more; :math:`\gamma` in the paper. A 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).
        every: the trainer applies it at iterations divisible by this number, multiplied by this number (lazy
            regularization).

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R1(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()  # 10 / 2 * 3^2
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, arXiv:1801.04406, equation 9.
        Lazy: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958, section
        3.1.
    """

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
            discriminator: called with (real), or (real, condition) where there is one.
            real: (N, ...) float.
            fake: not used.
            condition: the conditions of the real samples, or None.
            fake_condition: not used.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.

        Raises:
            ArgumentValueError: logits that do not depend on the samples.
        """
        check_samples(discriminator, real=real)
        return weighted(self.weight / 2, squared_gradient_norms(discriminator, real, condition).mean())

    def of(self, samples: Tensor, logits: Logits | DiscriminatorOutput) -> Tensor:
        """Compute the penalty from a forward pass that is there, which saves another one.

        Its precision is that of the forward pass; compute that without autocast, and without ``torch.compile``, whose
        modules have no second derivative.

        Args:
            samples: (N, ...) float, with ``requires_grad``.
            logits: the discriminator's output on these samples: logits, a tuple of scales, or a DiscriminatorOutput.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator; the graph of the logits
            stays, for the loss.

        Raises:
            ArgumentValueError: samples that do not require a gradient, or logits that do not depend on them.

        Example:
            >>> import torch
            >>> real = torch.randn(8, 5).requires_grad_()
            >>> real_logits = 3 * real[:, :1]
            >>> R1(weight=10.0).of(real, real_logits).item()
            45.0
        """
        return weighted(self.weight / 2, squared_gradient_norms_of(samples, logits).mean())


class R2(LazyPenalty):
    r"""The zero-centred gradient penalty on fake samples.

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(G(z_i)) \rVert^2

    Of several logits of a sample (patches, scales), :math:`D` is the sum. Of batch norm, see :class:`R1`.

    Args:
        weight: 0 or more; :math:`\gamma` in the paper. A 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).
        every: the trainer applies it at iterations divisible by this number, multiplied by this number.

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R2(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, arXiv:1801.04406, equation 10.
    """

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
            discriminator: called with (fake), or (fake, fake_condition) where there is one.
            real: not used.
            fake: (N, ...) float; no gradient flows back into it.
            condition: used where fake_condition is None.
            fake_condition: the conditions of the fake samples, or None.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.

        Raises:
            ArgumentValueError: logits that do not depend on the samples.
        """
        check_samples(discriminator, fake=fake)
        own = condition if fake_condition is None else fake_condition
        return weighted(self.weight / 2, squared_gradient_norms(discriminator, fake, own).mean())

    def of(self, samples: Tensor, logits: Logits | DiscriminatorOutput) -> Tensor:
        """Compute the penalty from a forward pass that is there; see :meth:`R1.of`.

        Args:
            samples: (N, ...) float, with ``requires_grad``: fakes, as ``fake.detach().requires_grad_()``.
            logits: the discriminator's output on these samples.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.

        Raises:
            ArgumentValueError: samples that do not require a gradient, or logits that do not depend on them.
        """
        return weighted(self.weight / 2, squared_gradient_norms_of(samples, logits).mean())

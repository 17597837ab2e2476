"""R1 and R2: the zero-centred gradient penalties on real and on fake samples."""

from torch import Tensor, nn

from ganlib.penalties._gradients import check_weight_and_every, squared_gradient_norms
from ganlib.protocols import Discriminator

__all__ = ["R1", "R2"]


class R1(nn.Module):
    r"""The zero-centred gradient penalty at real samples.

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(x_i) \rVert^2

    A discriminator with batch norm mixes the samples of a batch, so that this is no longer a penalty per sample:
    prefer ``norm="none"`` with it.

    Args:
        weight: 0 or more; :math:`\gamma` in the paper.
        every: the trainer applies it at iterations divisible by this, scaled by this (lazy regularisation).

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R1(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()  # 10 / 2 * 3^2
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, equation 9. Lazy: Karras et
        al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, section 3.1.
    """

    def __init__(self, weight: float = 10.0, *, every: int = 1) -> None:
        super().__init__()
        check_weight_and_every(weight, every)
        self.weight = weight
        self.every = every

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Tensor:
        """The penalty on the real samples.

        Args:
            discriminator: called with (real), or (real, condition) where there is one.
            real: (N, ...) float.
            fake: not used.
            condition: the real samples' conditions, or None.
            fake_condition: not used.

        Returns:
            A scalar, float32 or better, with a graph to the discriminator's parameters.
        """
        return self.weight / 2 * squared_gradient_norms(discriminator, real, condition).mean()

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"weight={self.weight}, every={self.every}"


class R2(nn.Module):
    r"""The zero-centred gradient penalty at fake samples.

    .. math:: \frac{\text{weight}}{2} \operatorname{mean}_i \lVert \nabla D(G(z_i)) \rVert^2

    Args:
        weight: 0 or more; :math:`\gamma` in the paper.
        every: the trainer applies it at iterations divisible by this, scaled by this.

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 5)
        >>> R2(weight=10.0)(lambda x: 3 * x[:, :1], x, x).item()
        45.0

    References:
        Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, equation 10.
    """

    def __init__(self, weight: float = 10.0, *, every: int = 1) -> None:
        super().__init__()
        self._r1 = R1(weight, every=every)

    @property
    def weight(self) -> float:
        """The weight of the penalty."""
        return self._r1.weight

    @property
    def every(self) -> int:
        """The interval of iterations at which the trainer applies it."""
        return self._r1.every

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Tensor:
        """The penalty on the fake samples.

        Args:
            discriminator: called with (fake), or (fake, fake_condition) where there is one.
            real: not used.
            fake: (N, ...) float; no gradient flows back into it.
            condition: stands in for fake_condition where that is None.
            fake_condition: the fake samples' conditions, or None.

        Returns:
            A scalar, float32 or better, with a graph to the discriminator's parameters.
        """
        return self._r1(discriminator, fake, real, condition if fake_condition is None else fake_condition)

    def __repr__(self) -> str:
        return f"R2({self._r1.extra_repr()})"

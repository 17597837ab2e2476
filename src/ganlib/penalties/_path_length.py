"""Path length regularization of StyleGAN2."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganlib._checks import check_fraction
from ganlib._logits import at_least_float32, without_autocast
from ganlib._precise_buffers import PreciseBuffers
from ganlib._shown import shown
from ganlib._weights import check_weight, show_weight, weighted
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.penalties._penalty import (
    DerivativePrecision,
    call_exactly,
    check_precision,
    move_mean_,
    warn_of_batch_norm,
)
from ganlib.protocols import Condition

__all__ = ["PathLength"]


class PathLength(PreciseBuffers):
    r"""Penalize a generator for uneven changes of its samples across the latent space (path length regularization).

    A step of fixed size in latent space should change the sample by the same amount everywhere. With the Jacobian
    :math:`J_w = \partial G(w) / \partial w` of a generator,

    .. math:: \text{weight} \cdot \operatorname{mean}_i \bigl(\lVert J_{w_i}^\top y_i \rVert - a\bigr)^2, \qquad
        y_i \sim \mathcal{N}(0, 1 / \text{positions}),

    where :math:`y` has the shape of a sample, positions is the product of its spatial sizes, and :math:`a` is the
    running mean of the lengths :math:`\lVert J_w^\top y \rVert`.

    The first batch initializes the running mean. Each later call in training mode first updates it in place,
    :math:`a \leftarrow \text{decay} \cdot a + (1 - \text{decay}) \operatorname{mean}`. It is a buffer, and the first
    call moves it to the device of the lengths. Over several processes, it is updated with the mean of the whole batch,
    so all processes must call the penalty together. The authors' code differs: it starts from :math:`a = 0`, which
    reduces all lengths at first, and its gradient also flows through the update of :math:`a`.

    Do not use batch norm in the generator. Batch norm mixes the samples of a batch, so a length would not depend on one
    sample alone. A warning is issued in this case.

    A trainer's ``penalties`` are called with a discriminator, so you cannot use this penalty there. Use it as a player
    of a :class:`ganlib.training.GameTrainer` that shares the generator's optimizer:

    .. code-block:: python

        path_length = penalties.PathLength()

        def path_length_objective(batch):
            style = mapping(torch.randn(len(batch.sample), 512, device=batch.sample.device))
            return 8 * path_length(synthesis, style)

        training.Player("path_length", generator_optimizer, path_length_objective, every=8)

    ``examples/games/path_length.py`` is the complete example. Add the penalty to the trainer's ``modules``, so that
    checkpoints contain the running mean.

    Args:
        weight: 0 or more; 2 in the authors' code. Pass a 0-dim tensor if the weight changes during training (see
            :class:`ganlib.training.Schedule`).
        decay: decay of the running mean, in [0, 1), or a 0-dim tensor. With 0.99 the mean lags behind if the training
            is short, or if the generator is constant at first. Use 0.9 in these cases.
        precision: ``"fp32"`` runs the generator without autocast. ``"autocast"`` runs its forward pass and its
            derivative in the precision of the surrounding autocast, which must be bfloat16. See
            :ref:`penalty_precision`.

    Attributes:
        mean: the running mean :math:`a`, a 0-dim tensor.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> path_length = PathLength()
        >>> latent = torch.randn(8, 3)
        >>> path_length(lambda w: w.cumsum(1), latent).shape
        torch.Size([])

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, arXiv:1912.04958, section 3.2 and
        appendix B.
    """

    mean: Tensor
    started: Tensor

    def __init__(
        self,
        weight: float | Tensor = 2.0,
        *,
        decay: float | Tensor = 0.99,
        precision: DerivativePrecision = "fp32",
    ) -> None:
        super().__init__()
        check_weight("weight", weight)
        check_weight("decay", decay, lambda name, value: check_fraction(name, value, below_1=True))
        check_precision(precision)
        self.weight = weight
        self.decay = decay
        self.precision = precision
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("started", torch.zeros(()))

    def forward(self, generator: Callable[..., Tensor], latent: Tensor, *, condition: Condition = None) -> Tensor:
        """Update the running mean, and compute the penalty.

        Args:
            generator: called with (latent), or with (latent, condition) if there is a condition.
            latent: see :meth:`lengths`.
            condition: the conditions of the samples, or None.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the generator, and to the
            network that computed the latent.

        Raises:
            ArgumentTypeError, ArgumentValueError, ShapeError: see :meth:`lengths`.
        """
        lengths = self.lengths(generator, latent, condition=condition)
        if self.mean.device != lengths.device:
            self.to(lengths.device)
        if self.training:
            move_mean_(self.mean, lengths.detach().mean(), self.decay, self.started)
            self.started.fill_(1)
        return weighted(self.weight, (lengths - self.mean).square().mean())

    def lengths(self, generator: Callable[..., Tensor], latent: Tensor, *, condition: Condition = None) -> Tensor:
        r"""Compute :math:`\lVert J_{w_i}^\top y_i \rVert` of each latent, with new random :math:`y_i`.

        The penalty reduces the differences between these lengths.

        Args:
            generator: called with (latent), or with (latent, condition) if there is a condition. It returns samples
                (N, C, \*spatial).
            latent: (N, D) float, or (N, layers, D) if each layer has its own latent. The squares are then averaged over
                layers. If a mapping network computed the latent with gradients, the penalty regularizes it too.
            condition: the conditions of the samples, or None.

        Returns:
            (N,) float32 or float64, with a graph.

        Raises:
            ArgumentTypeError: the generator is not callable, or the latent or the samples are not tensors.
            DTypeError: the latent is not floating point.
            ShapeError: the latent has the wrong number of dimensions or is empty, or the generator does not return one
                sample for each latent.
            ArgumentValueError: the samples do not depend on the latent.

        Example:
            >>> from torch import nn
            >>> generator = nn.Linear(3, 4)
            >>> PathLength().lengths(generator, torch.randn(8, 3)).shape
            torch.Size([8])
        """
        if not isinstance(latent, Tensor):
            raise ArgumentTypeError(f"latent must be a tensor, but it is a {type(latent).__name__}")
        if not latent.is_floating_point():
            raise DTypeError(f"latent must be floating point, but its dtype is {latent.dtype}")
        if not callable(generator):
            raise ArgumentTypeError(f"generator (={shown(generator)}) must be callable")
        if latent.ndim not in (2, 3) or latent.numel() == 0:
            raise ShapeError(f"latent {tuple(latent.shape)} must have shape (N, D) or (N, layers, D), and not be empty")
        latent = at_least_float32(latent)
        latent = latent if latent.requires_grad else latent.detach().requires_grad_()
        with torch.enable_grad():
            samples: Any = call_exactly(generator, latent, condition, self.precision)
            if not isinstance(samples, Tensor):
                raise ArgumentTypeError(f"generator returned a {type(samples).__name__}; it must return a tensor")
            if samples.ndim < 1 or len(samples) != len(latent):
                raise ShapeError(
                    f"generator returned samples {tuple(samples.shape)} for latent {tuple(latent.shape)}; it must "
                    "return one sample for each latent"
                )
            warn_of_batch_norm(self, latent, samples, generator, "generator")
        # Each derivative has the precision of its operation in the forward pass, so autocast stays off.
        with torch.enable_grad(), without_autocast(latent.device.type):
            samples = at_least_float32(samples)
            noise = torch.randn_like(samples) / math.sqrt(math.prod(samples.shape[2:]))
            gradient = None
            if samples.requires_grad:
                (gradient,) = torch.autograd.grad((samples * noise).sum(), latent, create_graph=True, allow_unused=True)
            if gradient is None:
                raise ArgumentValueError(
                    "generator returned samples that do not depend on latent, so paths have no length"
                )
            squares = gradient.square().sum(-1)
            # The square root has an infinite slope at 0, so a constant generator would have a NaN gradient.
            return (squares if squares.ndim == 1 else squares.mean(1)).clamp_min(1e-24).sqrt()

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        own = f"weight={show_weight(self.weight)}, decay={show_weight(self.decay)}"
        return own if self.precision == "fp32" else f"{own}, precision={self.precision!r}"

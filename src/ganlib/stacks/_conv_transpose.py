"""The upward reading of a plan."""

from collections.abc import Callable
from math import prod

from torch import Tensor, nn

from ganlib.errors import ShapeError
from ganlib.stacks._blocks import Activation, Block, Norm, check_dropout, make_activation, run_blocks
from ganlib.stacks._plan import StackPlan

__all__ = ["ConvTransposeStack"]

_TRANSPOSED: dict[int, Callable[..., nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ConvTransposeStack(nn.Module):
    r"""Transposed convolutions from the top of a plan back to the image: a generator's body.

    The same kernels, strides and paddings as :class:`ConvStack`, in reverse; where a stride leaves the size open, the
    plan's output padding gives back exactly the image's. Every stage but the last (the one that makes the image) is
    followed by its norm, activation and dropout.

    Args:
        plan: the shapes, shared with the mirror.
        image_channels: replaces the image's channels.
        top_channels: replaces the top's channels (say, a latent's size).
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"none"``, or a function from channels to a module.
        activation: a module to copy, or a function that makes one.
        last_activation: what makes the image; Tanh for samples in [-1, 1], None for none.
        bias: whether convolutions have one; None means just those that no norm follows.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether every convolution is spectrally normalised.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((1, 28, 28), [Stage(64), Stage(128), Stage(256, kernel_size=7, stride=1, padding=0)])
        >>> ConvTransposeStack(plan, top_channels=100)(torch.randn(4, 100)).shape
        torch.Size([4, 1, 28, 28])

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016, section 3.
    """

    def __init__(
        self,
        plan: StackPlan,
        *,
        image_channels: int | None = None,
        top_channels: int | None = None,
        norm: Norm = "batch",
        activation: Activation = nn.ReLU,
        last_activation: Activation = nn.Tanh,
        bias: bool | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        last_activation = make_activation(last_activation, "last_activation")
        channels = plan.channels(image_channels, top_channels)
        self.in_shape = (channels[-1], *plan.top_shape[1:])
        self.out_shape = (channels[0], *plan.image_shape[1:])
        blocks = []
        for stage in reversed(range(len(plan.stages))):
            stage_norm: Norm = "none" if stage == 0 else norm
            transposed = _TRANSPOSED[plan.spatial_dims](
                channels[stage + 1],
                channels[stage],
                plan.kernel_sizes[stage],
                plan.strides[stage],
                plan.paddings[stage],
                plan.output_paddings[stage],
                bias=stage_norm == "none" if bias is None else bias,
            )
            blocks.append(
                Block(
                    transposed,
                    norm=stage_norm,
                    channels=channels[stage],
                    spatial_dims=plan.spatial_dims,
                    activation=last_activation if stage == 0 else activation,
                    dropout=0.0 if stage == 0 else dropout,
                    spectral_norm=spectral_norm,
                )
            )
        self.blocks = nn.ModuleList(blocks)
        self.needs_condition = any(block.needs_condition for block in blocks)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Read the plan backwards.

        Args:
            latent: (N, *in_shape) float, or flat (N, C * ...) with as many numbers.
            condition: for conditional norms, where there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: latents of another size.
            ArgumentValueError: a condition that nothing here takes, or none where one is needed.
        """
        if tuple(latent.shape[1:]) not in {self.in_shape, (prod(self.in_shape),)}:
            raise ShapeError(
                f"latent {tuple(latent.shape)} must have shape (N, {', '.join(map(str, self.in_shape))}) "
                f"or (N, {prod(self.in_shape)})"
            )
        return run_blocks(self, latent.reshape(len(latent), *self.in_shape), condition)

"""Multi-scale discriminator."""

from collections.abc import Iterable

from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._condition import needs_condition
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.protocols import Condition, DiscriminatorOutput

__all__ = ["MultiScaleDiscriminator"]

_POOLS = {3: nn.functional.avg_pool1d, 4: nn.functional.avg_pool2d, 5: nn.functional.avg_pool3d}


@rebuildable
class MultiScaleDiscriminator(nn.Module):
    r"""Run several discriminators, each on a smaller copy of the sample.

    The first discriminator gets the sample, the second gets the sample after one average pooling, and so on. You can
    use any discriminators. They are called with (sample), or with (sample, condition) if there is a condition.

    Conditions are not pooled. If the condition is a map, wrap the MultiScaleDiscriminator in
    :class:`~ganlib.conditioning.ConcatChannels`, so that the map is pooled together with the sample.

    Args:
        discriminators: from the finest scale to the coarsest, at least one.
        pooling: kernel size and stride of the average pooling between two scales, at least 1.

    Raises:
        ArgumentTypeError: a discriminator is not a module.
        ArgumentValueError: there is no discriminator, or ``pooling`` is out of range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import PatchDiscriminator
        >>> discriminator = MultiScaleDiscriminator(PatchDiscriminator(3, channels=8, layers=2) for _ in range(2))
        >>> [tuple(logits.shape) for logits in discriminator(torch.randn(4, 3, 64, 64))]
        [(4, 1, 14, 14), (4, 1, 6, 6)]

    References:
        Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD),
        2018, arXiv:1711.11585, section 3.2. The authors' code differs: its pooling has a kernel of 3, which overlaps.
    """

    def __init__(self, discriminators: Iterable[nn.Module], *, pooling: int = 2) -> None:
        super().__init__()
        members = [*discriminators]
        if not members:
            raise ArgumentValueError("discriminators (=[]) must be at least one")
        for index, member in enumerate(members):
            if not isinstance(member, nn.Module):
                raise ArgumentTypeError(f"discriminators[{index}] (={shown(member)}) must be a module")
        check_sizes(pooling=pooling)
        self.discriminators: nn.ModuleList = nn.ModuleList(members)
        self.pooling = pooling
        self.needs_condition: bool = needs_condition(*members)

    def forward(self, sample: Tensor, condition: Condition = None) -> tuple[Tensor, ...] | DiscriminatorOutput:
        """Discriminate at every scale.

        Args:
            sample: (N, C, *spatial) float, one to three spatial dimensions.
            condition: passed to every discriminator, if it is not None.

        Returns:
            The logits of all scales, finest first. If a discriminator returns a DiscriminatorOutput, this method also
            returns one, with the logits and the features of all scales.

        Raises:
            ShapeError: the samples have another shape, or are too small for the coarsest scale.
            ArgumentValueError: a discriminator returns class logits, which are not supported here.
        """
        least = self.pooling ** (len(self.discriminators) - 1)
        if sample.ndim not in _POOLS or min(sample.shape[2:]) < least:
            raise ShapeError(
                f"sample {tuple(sample.shape)} must have shape (N, C, *spatial) with one to three spatial dimensions "
                f"of at least {least}, for {len(self.discriminators)} scales"
            )
        logits: list[Tensor] = []
        features: list[Tensor] = []
        bare = True
        whole = tuple(sample.shape)
        for index, discriminator in enumerate(self.discriminators):
            if index > 0:
                sample = _POOLS[sample.ndim](sample, self.pooling)
            try:
                output = discriminator(sample) if condition is None else discriminator(sample, condition)
            except ShapeError as error:
                if index == 0:
                    raise
                raise ShapeError(
                    f"at scale {index}, where sample {whole} is pooled by {self.pooling**index}: {error}"
                ) from error
            if isinstance(output, DiscriminatorOutput):
                if output.class_logits is not None:
                    raise ArgumentValueError(
                        f"discriminators[{index}] gives class_logits {tuple(output.class_logits.shape)}, which several "
                        "scales cannot share; use a separate classifier next to MultiScaleDiscriminator"
                    )
                bare = False
                features += output.features
                output = output.logits
            logits += output if isinstance(output, tuple) else [output]
        return tuple(logits) if bare else DiscriminatorOutput(tuple(logits), features=tuple(features))

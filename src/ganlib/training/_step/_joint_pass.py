"""Run the discriminator once on real and fake samples together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten, tree_unflatten

from ganlib._warning import warn_user
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import DiscriminatorOutput

__all__ = ["discriminate_together", "warn_of_joint_statistics"]

Discriminate = Callable[[Tensor, Any], DiscriminatorOutput]


def discriminate_together(
    discriminate: Discriminate, real: Tensor, fake: Tensor, condition: Any, fake_condition: Any
) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
    """Run the discriminator once on real and fake samples.

    Args:
        discriminate: the discriminator, called with samples and conditions.
        real: (N, ...).
        fake: (N, ...).
        condition: conditions of the real samples, or None.
        fake_condition: conditions of the fake samples, or None.

    Returns:
        The outputs for the real and for the fake samples.

    Raises:
        ArgumentValueError: the two conditions are of different kinds.
        ShapeError: the output does not have one entry for each sample.

    Example:
        >>> both = lambda x, _: DiscriminatorOutput(x.sum(1))
        >>> real, fake = discriminate_together(both, torch.ones(2, 3), torch.zeros(2, 3), None, None)
        >>> real.logits, fake.logits
        (tensor([3., 3.]), tensor([0., 0.]))
    """
    conditions = _joined(condition, fake_condition)
    n = len(fake)
    output = discriminate(torch.cat([real, fake]), conditions)

    def halves(part: Any) -> Sequence[Any]:
        if not isinstance(part, Tensor):
            return part, part
        if part.shape[:1] != (2 * n,):
            raise ShapeError(
                f"joint_pass (=True) needs an output for each sample, but discriminator gave {tuple(part.shape)} for "
                f"{2 * n}"
            )
        return part.split(n)

    leaves, structure = tree_flatten(output)
    reals, fakes = zip(*map(halves, leaves), strict=True)
    return tree_unflatten(reals, structure), tree_unflatten(fakes, structure)


def warn_of_joint_statistics(discriminator: nn.Module) -> None:
    """Warn of a batch norm with the statistics of the batch, which would cover real and fake samples together."""
    for name, module in discriminator.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            where = f"{name} ({type(module).__name__})" if name else type(module).__name__
            warn_user(
                f"joint_pass (=True) runs {where} of the discriminator on real and fake samples together: its "
                "statistics reveal which samples are fake, and most such trainings fail. Leave joint_pass False, or "
                "use another norm"
            )
            return


def _joined(condition: Any, other: Any) -> Any:
    """Concatenate the conditions of real and fake samples, tensor by tensor."""
    (leaves, structure), (others, other_structure) = tree_flatten(condition), tree_flatten(other)
    if structure != other_structure or any(_kind(a) != _kind(b) for a, b in zip(leaves, others, strict=True)):
        raise ArgumentValueError("joint_pass (=True) needs conditions of one kind for real and fake samples, or none")
    return tree_unflatten(
        [torch.cat([a, b]) if isinstance(a, Tensor) else a for a, b in zip(leaves, others, strict=True)], structure
    )


def _kind(leaf: Any) -> Any:
    return (leaf.shape[1:], leaf.dtype) if isinstance(leaf, Tensor) else leaf

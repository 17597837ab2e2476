"""Sequence of modules with a condition."""

from typing import Any

from torch import Tensor, nn

from ganlib._condition import call, check_condition, needs_condition
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Condition

__all__ = ["ConditionalSequential"]


@rebuildable
class ConditionalSequential(nn.Sequential):
    """Run modules in sequence, and pass the condition to the modules that need it.

    A module with ``needs_condition = True`` is called with (x, condition), for example a stack or a block with
    conditional norms. Other modules are called with (x).

    Args:
        modules: the modules in order, or one OrderedDict from names to modules.

    Attributes:
        needs_condition: whether any of the modules needs a condition.

    Raises:
        ArgumentTypeError: an argument is not a module.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import ConditionalBatchNorm, OneHot
        >>> from ganlib.stacks import ResidualUpBlock
        >>> generator = ConditionalSequential(
        ...     ResidualUpBlock(8, 4, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(10))),
        ...     nn.Conv2d(4, 1, 3, padding=1),
        ...     nn.Tanh(),
        ... )
        >>> generator(torch.randn(2, 8, 7, 7), torch.tensor([3, 1])).shape
        torch.Size([2, 1, 14, 14])
    """

    def __init__(self, *modules: Any) -> None:
        for index, module in enumerate(modules):
            if not isinstance(module, nn.Module | dict):
                raise ArgumentTypeError(f"modules[{index}] (={shown(module)}) must be a module")
        super().__init__(*modules)

    @property
    def needs_condition(self) -> bool:
        """Return whether any of the modules needs a condition."""
        return needs_condition(*self)

    def forward(self, x: Tensor, condition: Condition = None) -> Any:
        """Run the modules.

        Args:
            x: the input of the first module.
            condition: for the modules that need one.

        Returns:
            The output of the last module.

        Raises:
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        check_condition(self, condition)
        for module in self:
            x = call(module, x, condition)
        return x

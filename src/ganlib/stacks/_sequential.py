"""A sequence of modules, each with the condition if it needs one."""

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
    """An ``nn.Sequential`` that passes the condition to those of its modules that need one.

    Those are the ones with ``needs_condition = True``, such as stacks and blocks with conditional norms; it has the
    attribute itself. All others are called with one argument.

    Args:
        modules: what is called, one after the other; or one OrderedDict of them by their names.

    Raises:
        ArgumentTypeError: one of them is not a module.

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
        """Whether any of the modules needs a condition."""
        return needs_condition(*self)

    def forward(self, x: Tensor, condition: Condition = None) -> Any:
        """Run the modules.

        Args:
            x: what the first one takes.
            condition: for those that need one, where there are any.

        Returns:
            What the last one gives.

        Raises:
            ArgumentValueError: a condition that no part takes, or a missing one that a part needs.
        """
        check_condition(self, condition)
        for module in self:
            x = call(module, x, condition)
        return x

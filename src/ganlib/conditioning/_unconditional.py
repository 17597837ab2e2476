"""Adapter that ignores the condition."""

from torch import Tensor, nn

from ganlib._recipe import rebuildable
from ganlib.conditioning._adapter import copy_sample_range
from ganlib.conditioning._checks import check_network
from ganlib.protocols import Condition, DiscriminatorOutput, Logits

__all__ = ["Unconditional"]


@rebuildable
class Unconditional(nn.Module):
    """Ignore the condition, to use an unconditional generator or discriminator with a labeled data set.

    Args:
        module: the network; it is called without the condition.

    Raises:
        ArgumentTypeError: the module cannot be called, or is a class.

    Example:
        >>> import torch
        >>> Unconditional(nn.Linear(100, 2))(torch.zeros(4, 100), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 2])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        check_network("module", module)
        self.module = module
        copy_sample_range(self, module)

    def forward(self, x: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Call the module with x only.

        Args:
            x: the input of the module.
            condition: not used.

        Returns:
            The output of the module.
        """
        return self.module(x)

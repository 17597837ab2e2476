"""The adapter that ignores the condition."""

from torch import Tensor, nn

from ganlib._recipe import rebuildable
from ganlib.conditioning._adapter import copy_sample_range
from ganlib.protocols import Condition, DiscriminatorOutput, Logits

__all__ = ["Unconditional"]


@rebuildable
class Unconditional(nn.Module):
    """Ignores the condition: makes an unconditional generator or discriminator usable with a labelled data set.

    Args:
        module: called with its first argument alone.

    Example:
        >>> import torch
        >>> Unconditional(nn.Linear(100, 2))(torch.zeros(4, 100), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 2])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        copy_sample_range(self, module)

    def forward(self, x: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Call the module with x.

        Args:
            x: whatever the module takes.
            condition: not used.

        Returns:
            What the module gives.
        """
        return self.module(x)

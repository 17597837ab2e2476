"""The adapter that ignores the condition."""

from torch import Tensor, nn

from ganlib.conditioning._adapter import keep_what_it_carries
from ganlib.protocols import DiscriminatorOutput, Logits

__all__ = ["Unconditional"]


class Unconditional(nn.Module):
    """Ignores the condition: an unconditional network, of either player, on a labelled data set.

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
        keep_what_it_carries(self, module=module)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Logits | DiscriminatorOutput:
        """Call the module with x.

        Args:
            x: whatever the module takes.
            condition: not looked at.

        Returns:
            What the module gives.
        """
        return self.module(x)

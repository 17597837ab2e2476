"""What torch.export and the exporter to ONNX need: they know no sizes of a batch, and fewer operations."""

import torch
from torch import Tensor

__all__ = ["add_small", "is_exporting"]


def is_exporting() -> bool:
    """Return whether the code is being exported, and not only compiled."""
    if hasattr(torch.compiler, "is_exporting"):
        return torch.compiler.is_exporting()
    # Before torch 2.7, which cannot tell a strict export from a compilation.
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def add_small(x: Tensor, eps: float) -> Tensor:
    """Return x + eps, also in ONNX, whose optimizer takes an addition of up to 1e-8 for one of 0, and removes it."""
    return (x / eps + 1) * eps if is_exporting() else x + eps

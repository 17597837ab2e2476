"""Helpers for torch.export and ONNX, where the batch size is unknown and some operations are missing."""

import torch
from torch import Tensor

__all__ = ["add_small", "is_exporting"]


def is_exporting() -> bool:
    """Return whether the code is being exported; compilation does not count."""
    if hasattr(torch.compiler, "is_exporting"):
        return torch.compiler.is_exporting()
    # torch before 2.7 cannot distinguish a strict export from a compilation.
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def add_small(x: Tensor, eps: float) -> Tensor:
    """Return x + eps; the optimizer of ONNX would remove an addition of up to 1e-8."""
    return (x / eps + 1) * eps if is_exporting() else x + eps

"""Choose the precision of a step."""

import contextlib
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias, get_args

import torch

from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["Precision", "PrecisionName", "weight_cache_loses_gradients"]

PrecisionName: TypeAlias = Literal["fp32", "tf32", "bf16", "fp16"]

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Provide the contexts and the gradient scaler of a precision.

    Args:
        name: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        ArgumentValueError: another name.

    Example:
        >>> Precision("bf16").half
        torch.bfloat16
    """

    def __init__(self, name: PrecisionName) -> None:
        *others, last = map(repr, get_args(PrecisionName))
        if name not in get_args(PrecisionName):
            raise ArgumentValueError(f"precision (={shown(name)}) must be {', '.join(others)} or {last}")
        self.name = name
        self.half = _HALVES.get(name)

    def autocast(self, device_type: str) -> AbstractContextManager[object]:
        """Return the context of an objective; without half precision it disables an outer autocast."""
        if self.half is not None:
            return torch.autocast(device_type, self.half, cache_enabled=not weight_cache_loses_gradients())
        if torch.is_autocast_enabled(device_type):
            return torch.autocast(device_type, enabled=False)
        return contextlib.nullcontext()

    def losses(self, device_type: str) -> AbstractContextManager[object]:
        """Return the context of losses and penalties inside an objective; it disables autocast."""
        return contextlib.nullcontext() if self.half is None else torch.autocast(device_type, enabled=False)

    def matrix_products(self) -> AbstractContextManager[object]:
        """Return the context of a whole step, in which ``"tf32"`` rounds the inputs of float32 matrix products."""
        return _rounding() if self.name == "tf32" else contextlib.nullcontext()

    def scaler(self, device_type: str) -> torch.amp.GradScaler | None:
        """Return a gradient scaler, which keeps one player's gradients within the range of fp16, or None."""
        if self.half is not torch.float16:
            return None
        if device_type == "mps" and torch.__version__ < "2.8":  # its scaler needs float64, which MPS does not support
            raise ArgumentValueError(f"precision (={self.name!r}) needs torch 2.8 on MPS: take 'bf16'")
        return torch.amp.GradScaler(device_type)


@functools.cache
def weight_cache_loses_gradients() -> bool:
    """Test whether a weight that autocast casts under ``no_grad`` gets no gradient in the same context.

    This is a bug of torch 2.6: it caches the cast weight without its graph, so the later call trains nothing.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        weight, x = torch.ones(1, 1, requires_grad=True), torch.ones(1, 1)
        with torch.no_grad():
            x.mm(weight)
        return not x.mm(weight).requires_grad


@contextlib.contextmanager
def _rounding() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""In which precision the networks compute."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias, get_args

import torch

from ganlib.errors import ArgumentValueError

__all__ = ["Precision", "PrecisionWord"]

PrecisionWord: TypeAlias = Literal["fp32", "tf32", "bf16", "fp16"]

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """What a word for a precision means to a training step.

    Args:
        word: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        ArgumentValueError: another word.

    Example:
        >>> Precision("bf16").half
        torch.bfloat16
    """

    def __init__(self, word: PrecisionWord) -> None:
        *others, last = map(repr, get_args(PrecisionWord))
        if word not in get_args(PrecisionWord):
            raise ArgumentValueError(f"precision (={word!r}) must be {', '.join(others)} or {last}")
        self.word = word
        self.half = _HALVES.get(word)

    def autocast(self, device_type: str) -> AbstractContextManager[object]:
        """For the networks' forward passes; where they are not half precision, an autocast around it is undone.

        Args:
            device_type: where the networks are.

        Returns:
            A context.
        """
        if self.half is not None:
            return torch.autocast(device_type, self.half)
        if torch.is_autocast_enabled(device_type):
            return torch.autocast(device_type, enabled=False)
        return contextlib.nullcontext()

    def matrix_products(self) -> AbstractContextManager[object]:
        """For a whole step: whether float32 matrix products may round what they multiply to TF32.

        Returns:
            A context.
        """
        return _rounding() if self.word == "tf32" else contextlib.nullcontext()

    def scaler(self, device_type: str) -> torch.amp.GradScaler | None:
        """What keeps a player's gradients within the range of fp16; each player needs its own.

        Args:
            device_type: where the networks are.

        Returns:
            A scaler, or None where none is needed.
        """
        return torch.amp.GradScaler(device_type) if self.half is torch.float16 else None


@contextlib.contextmanager
def _rounding() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

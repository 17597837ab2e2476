"""What a term is given."""

from typing import Any

from ganlib.errors import ArgumentTypeError
from ganlib.protocols import DiscriminatorOutput

__all__ = ["check_output"]


def check_output(output: Any, side: str) -> None:
    """Refuse what is no whole answer of a discriminator, such as its bare logits.

    Args:
        output: must be a DiscriminatorOutput.
        side: real or fake, for the error.

    Raises:
        ArgumentTypeError: it is something else.

    Example:
        >>> import torch
        >>> check_output(DiscriminatorOutput(torch.zeros(4, 1)), "real")
    """
    if not isinstance(output, DiscriminatorOutput):
        raise ArgumentTypeError(
            f"{side} is a {type(output).__name__}, but a term takes a DiscriminatorOutput; bare logits have neither "
            "class_logits nor features, so the discriminator must return one"
        )

"""Recognize torch's error for samples that are changed in place and need a gradient."""

__all__ = ["is_in_place_error"]


def is_in_place_error(error: Exception) -> bool:
    """Test for torch's own error; one of ganlib's that quotes it explains it already.

    Example:
        >>> import torch
        >>> try:
        ...     torch.zeros(2, requires_grad=True).add_(1)
        ... except RuntimeError as error:
        ...     is_in_place_error(error)
        True
    """
    return type(error) is RuntimeError and "leaf Variable that requires grad" in str(error)

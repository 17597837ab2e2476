"""What all distributions check: the size of a latent."""

from ganlib.errors import ArgumentValueError

__all__ = ["check_dim"]


def check_dim(dim: int) -> None:
    """Refuse what cannot be the size of a latent.

    Args:
        dim: must be a whole number of at least 1.

    Raises:
        ArgumentValueError: with the value.

    Example:
        >>> check_dim(100)
    """
    if not (isinstance(dim, int) and dim >= 1):
        raise ArgumentValueError(f"dim (={dim!r}) must be a whole number of at least 1")

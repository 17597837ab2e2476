"""Read a policy: the names of transforms."""

from collections.abc import Collection, Sequence
from typing import Any

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["read_policy"]


def read_policy(policy: Any, names: Collection[str]) -> list[str]:
    """Return the names in a policy, a string with commas or a sequence of strings; raise an error for other values."""
    given = policy.split(",") if isinstance(policy, str) else policy
    if not (isinstance(given, Sequence) and all(isinstance(name, str) for name in given)):
        raise ArgumentTypeError(f"policy (={shown(policy)}) must be a string or a sequence of strings")
    options = ["color" if name.strip() == "colour" else name.strip() for name in given]
    if not options or any(option not in names for option in options):
        raise ArgumentValueError(f"policy (={shown(policy)}) must contain only {', '.join(map(repr, names))}")
    return options

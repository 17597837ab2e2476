"""ganlib: composable parts for generative adversarial networks in PyTorch.

Every package below is loaded when it is first used (PEP 562), so ``import ganlib`` costs nothing.

Example:
    >>> import ganlib
    >>> ganlib.losses.NonSaturatingLoss()
    NonSaturatingLoss()
"""

import importlib
import types

__version__ = "0.1.0"

__all__ = [
    "augment",
    "conditioning",
    "data",
    "distributed",
    "errors",
    "init",
    "latents",
    "losses",
    "metrics",
    "models",
    "penalties",
    "protocols",
    "stacks",
    "training",
    "viz",
]


def __getattr__(name: str) -> types.ModuleType:
    if name in __all__:
        return importlib.import_module(f"ganlib.{name}")
    raise AttributeError(f"module 'ganlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

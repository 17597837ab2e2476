"""Composable parts for generative adversarial networks (GANs) in PyTorch.

``import ganlib`` is fast, because each package is loaded when it is first used.

Example:
    >>> import ganlib
    >>> ganlib.losses.NonSaturatingLoss()
    NonSaturatingLoss()
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganlib import (
        augment,
        conditioning,
        data,
        distributed,
        errors,
        init,
        latents,
        losses,
        metrics,
        models,
        penalties,
        protocols,
        stacks,
        training,
        viz,
    )

    __version__: str

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

if not TYPE_CHECKING:  # with __getattr__, a type checker would accept any name

    def __getattr__(name):
        if name in __all__:
            return importlib.import_module(f"ganlib.{name}")
        if name == "__version__":
            from importlib import metadata

            try:
                return metadata.version("ganlib")
            except metadata.PackageNotFoundError:  # not installed, but on PYTHONPATH
                return "0+unknown"
        raise AttributeError(f"module 'ganlib' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__, "__version__"} - {"TYPE_CHECKING", "importlib"})

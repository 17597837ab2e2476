"""Errors that ganlib raises.

Each error also derives from a built-in error, which you can catch instead.

::

    GanlibError
    ├── ArgumentValueError (ValueError)      an argument has an invalid value
    │   ├── ShapeError                       a tensor has an invalid shape
    │   └── PlanError                        a StackPlan cannot be mirrored
    ├── ArgumentTypeError (TypeError)        an argument has an invalid type
    │   └── DTypeError                       a tensor has an invalid dtype
    ├── MissingExtraError (ImportError)      an optional package is not installed
    └── GanlibRuntimeError (RuntimeError)    an error at run time
        ├── BatchesExhaustedError            there are no more batches for the training
        ├── DataError                        a data set is missing or broken
        ├── CheckpointError                  a file of a run is damaged, unsafe or does not match
        ├── TrainingDivergedError            a metric or a weight is NaN or infinite
        └── RunFolderError (OSError)         a run's folder or file cannot be written

Every message names the argument and quotes its value.

Example:
    >>> from ganlib import errors, latents
    >>> try:
    ...     latents.Gaussian(0)
    ... except errors.GanlibError as error:
    ...     print(error)
    dim (=0) must be a whole number of at least 1
"""

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "BatchesExhaustedError",
    "CheckpointError",
    "DTypeError",
    "DataError",
    "GanlibError",
    "GanlibRuntimeError",
    "MissingExtraError",
    "PlanError",
    "RunFolderError",
    "ShapeError",
    "TrainingDivergedError",
]


class GanlibError(Exception):
    """Catch all errors of ganlib with this base class."""


class ArgumentValueError(GanlibError, ValueError):
    """Report an argument with an invalid value."""


class ShapeError(ArgumentValueError):
    """Report a tensor with an invalid shape."""


class PlanError(ArgumentValueError):
    """Report a :class:`ganlib.stacks.StackPlan` that cannot be mirrored; the message names the stage."""


class ArgumentTypeError(GanlibError, TypeError):
    """Report an argument with an invalid type."""


class DTypeError(ArgumentTypeError):
    """Report a tensor with an invalid dtype."""


class MissingExtraError(GanlibError, ImportError):
    """Report an optional package that is not installed; the message tells how to install it."""


class GanlibRuntimeError(GanlibError, RuntimeError):
    """Report an error at run time that is not caused by an argument."""


class BatchesExhaustedError(GanlibRuntimeError):
    """Report that there are no more batches for the training."""


class DataError(GanlibRuntimeError):
    """Report a data set that is missing or broken; the message tells how to get it."""


class CheckpointError(GanlibRuntimeError):
    """Report a file of a run that is damaged, unsafe to read, or does not match the run or the network."""


class TrainingDivergedError(GanlibRuntimeError):
    """Report a metric or a weight that is NaN or infinite; the message names it and the iteration."""


class RunFolderError(GanlibRuntimeError, OSError):
    """Report a folder or file of a run that cannot be written."""

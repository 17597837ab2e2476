"""The errors that ganlib raises: one tree, and each also the built-in a PyTorch user would catch.

::

    GanlibError
    ├── ArgumentValueError (ValueError)      an argument has a value it cannot have
    │   ├── ShapeError                       ... a tensor has a shape it cannot have
    │   └── PlanError                        ... a StackPlan cannot be mirrored
    ├── ArgumentTypeError (TypeError)        an argument is of a type it cannot be
    │   └── DTypeError                       ... a tensor is of a dtype it cannot be
    ├── MissingExtraError (ImportError)      a package is not installed, such as one that an extra brings
    └── GanlibRuntimeError (RuntimeError)    something happened while running
        ├── BatchesExhaustedError            the batches ran out before the training did
        ├── DataError                        a data set is missing or broken
        ├── CheckpointError                  a file of a run is damaged, unsafe or of something else
        ├── TrainingDivergedError            a metric or a weight is NaN or infinite
        └── RunFolderError (OSError)         a run's folder or file cannot be written

Every message names the argument and quotes the value that was given.

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
    """The root of everything that ganlib raises on purpose."""


class ArgumentValueError(GanlibError, ValueError):
    """An argument has a value that it cannot have."""


class ShapeError(ArgumentValueError):
    """A tensor has a shape that it cannot have."""


class PlanError(ArgumentValueError):
    """A :class:`ganlib.stacks.StackPlan` cannot be mirrored; the message names the stage."""


class ArgumentTypeError(GanlibError, TypeError):
    """An argument is of a type that it cannot be."""


class DTypeError(ArgumentTypeError):
    """A tensor is of a dtype that it cannot be."""


class MissingExtraError(GanlibError, ImportError):
    """A package is not installed, such as one that an extra brings; the message says how to get it."""


class GanlibRuntimeError(GanlibError, RuntimeError):
    """Something went wrong while running, with arguments that were right."""


class BatchesExhaustedError(GanlibRuntimeError):
    """The batches ran out before the training did."""


class DataError(GanlibRuntimeError):
    """A data set is missing or broken; the message says how to get it."""


class CheckpointError(GanlibRuntimeError):
    """A file of a run is damaged, unsafe to read, or belongs to something else."""


class TrainingDivergedError(GanlibRuntimeError):
    """A metric or a weight is NaN or infinite; the message names it, and the iteration."""


class RunFolderError(GanlibRuntimeError, OSError):
    """A run's folder or file cannot be written."""

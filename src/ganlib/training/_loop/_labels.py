"""Try the smallest and the largest label of a data set before training."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._logits import as_output
from ganlib._random import load_random_state, random_state
from ganlib._sampling import evaluating
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Stateful
from ganlib.training._step._networks import call

__all__ = ["check_labels", "conditions_of"]


def conditions_of(batches: Any) -> Tensor | None:
    """Return all conditions of a loader that keeps them in memory and whose batches contain them unchanged, or None.

    A wrapper that forwards attributes, a subclass and a joint transform may change them on the way.
    """
    iterates = getattr(type(batches), "__iter__", None)
    if not str(getattr(iterates, "__module__", "")).startswith("ganlib."):
        return None
    changed = getattr(batches, "joint_transform", None) is not None
    conditions = None if changed else getattr(batches, "conditions", None)
    return conditions if isinstance(conditions, Tensor) else None


def check_labels(discriminator: Any, batches: Any, parts: Callable[[], Iterator[Any]]) -> None:
    """Refuse labels of a data set in memory that a network or its classifier cannot take.

    The first batch may not contain them, so the trainer's own trial cannot find them.

    Args:
        discriminator: the trainer's discriminator; None tries nothing.
        batches: the loader; only one of ganlib with ``samples`` and class indices as ``conditions`` is tried.
        parts: a function that finds everything that the trainer holds.

    Raises:
        ArgumentValueError: a label is out of range.
    """
    labels = conditions_of(batches)
    if labels is None or labels.ndim != 1 or labels.dtype != torch.int64 or not len(labels):
        return
    if not isinstance(discriminator, nn.Module) or not isinstance(batches, Stateful) or not hasattr(batches, "samples"):
        return
    weight = next(discriminator.parameters(), None)
    if weight is None or any(map(is_lazy, discriminator.parameters())):
        return
    low, high = labels.min(), labels.max()
    with _without_trace(), evaluating(discriminator), _checked(discriminator):
        try:
            sample = _first_sample(batches).to(weight)
            output = as_output(call(discriminator, sample, torch.stack([low, high]).to(weight.device)))
        except IndexError as error:
            raise ArgumentValueError(
                f"conditions hold labels from {int(low)} to {int(high)}, which discriminator cannot take: {error}"
            ) from error
        except Exception:  # the trainer's own trial explains it
            return
    logits = output.class_logits
    if not isinstance(logits, Tensor) or logits.ndim != 2 or 0 <= low <= high < logits.shape[1]:
        return
    # Without this loss, the class logits may have nothing to do with the labels.
    if any(type(part).__name__ == "AuxiliaryClassifier" for part in parts()):
        raise ArgumentValueError(
            f"conditions hold labels from {int(low)} to {int(high)}, but the class logits of discriminator know those "
            f"from 0 to {logits.shape[1] - 1}: AuxiliaryClassifier compares them"
        )


def _first_sample(batches: Any) -> Tensor:
    """Return a sample of a loader twice, without a change to the loader."""
    loader = copy.copy(batches)
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 0})
    sample: Tensor = next(iter(loader)).sample
    return sample[[0, 0]]


@contextmanager
def _without_trace() -> Iterator[None]:
    """Restore the random state at the end of the context; create no graph and compile nothing."""
    random_numbers = random_state()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        load_random_state(random_numbers)


@contextmanager
def _checked(network: nn.Module) -> Iterator[None]:
    """Let embeddings check their indices; on a GPU an index out of range ends the process."""

    def check(module: Any, inputs: tuple[Any, ...]) -> None:
        indices = inputs[0] if inputs else None
        if not isinstance(indices, Tensor) or not indices.numel():
            return
        if not 0 <= indices.min() <= indices.max() < module.num_embeddings:
            raise IndexError(f"nn.Embedding has {module.num_embeddings} entries")

    with ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, nn.Embedding):
                stack.callback(module.register_forward_pre_hook(check).remove)
        yield

"""Warn of outputs of a discriminator that were probably meant in another way."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganlib._logits import scales
from ganlib._one_logit import gives_one_logit, known, warn_of_one_logit
from ganlib._warning import warn_user
from ganlib.protocols import DiscriminatorOutput

__all__ = ["is_mixed", "warn_of_outputs"]

_RESHAPES = r"(Unsafe)?(View|ReshapeAlias|Squeeze|Unsqueeze|ToCopy|Clone|Permute|Transpose|Contiguous)Backward\d*"


def is_mixed(output: DiscriminatorOutput) -> bool:
    """Return whether logits of one scale have one channel, and those of another have several.

    Logits of real scales have one channel, and differ in their sizes. With a graph, flattened maps count as one channel
    too.

    Example:
        >>> import torch
        >>> is_mixed(DiscriminatorOutput((torch.zeros(4, 1), torch.zeros(4, 10))))
        True
    """
    channels = {_channels(scale) for scale in scales(output)}
    return len(channels) > 1 and 1 in channels


def warn_of_outputs(
    output: DiscriminatorOutput,
    n: int,
    penalties: Sequence[Any],
    auxiliary_losses: Sequence[Any],
    *,
    broadcast: bool,
) -> None:
    """Warn of class logits or features among the logits, of logits of pairs or means, and of an untrained classifier.

    Args:
        output: the discriminator's output for n samples.
        n: number of samples.
        penalties: the trainer's penalties; one of the user's own may train a classifier.
        auxiliary_losses: the trainer's auxiliary losses.
        broadcast: whether each sample has a logit for each sample of the batch.
    """
    parts = scales(output)
    if is_mixed(output):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        warn_user(
            f"the discriminator returns a tuple of {shapes}, and all parts count as logits of several scales: return "
            "DiscriminatorOutput(logits, class_logits=..., features=(...,)), from ganlib.protocols, if some of them "
            "are class logits or features"
        )
    if gives_one_logit(n, parts):
        known.update(one for one in penalties if type(one).__module__.startswith("ganlib."))  # one warning is enough
        warn_of_one_logit(n, parts, "losses, penalties and adaptive augmentation then act on the mean alone")
    if broadcast:
        shapes = " and ".join(str(tuple(part.shape)) for part in parts)
        warn_user(
            f"the discriminator gives logits {shapes} for {n} samples: each sample has a logit for every sample, "
            f"probably since shapes ({n}, 1) and ({n},) were added, by a squeeze() or flatten() of one of them. Return "
            "one logit for each sample, (N, 1): flatten both, or neither"
        )
    own = any(not type(one).__module__.startswith("ganlib.") for one in penalties)
    if output.class_logits is not None and not auxiliary_losses and not own:
        warn_user(
            "the discriminator gives class_logits, but no loss trains its classifier: add "
            "losses.AuxiliaryClassifier() to auxiliary_losses, or use a discriminator without a classifier"
        )


def _channels(logits: Tensor) -> int:
    if logits.ndim < 2:
        return 1
    node: Any = logits.grad_fn
    while node is not None and re.fullmatch(_RESHAPES, node.name()):
        node = node.next_functions[0][0]
    if logits.ndim == 2 and node is not None and node.name().startswith("Convolution"):
        weight = getattr(node, "_saved_weight", None)
        if isinstance(weight, Tensor) and weight.shape[0] == 1:
            return 1
    return logits.shape[1]

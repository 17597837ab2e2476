"""The contracts between the rooms: what a user's own part must offer to be the equal of ours.

There is no logic here, and nothing to inherit from. A generator, discriminator, latent, loss, penalty, term,
trainer or callback of your own needs the methods named below and nothing else.

Example:
    >>> import torch
    >>> from ganlib import protocols
    >>> class MyHinge:
    ...     def discriminator(self, real, fake):
    ...         return (1 - real).relu().mean() + (1 + fake).relu().mean()
    ...     def generator(self, fake, real=None):
    ...         return -fake.mean()
    >>> isinstance(MyHinge(), protocols.AdversarialLoss)
    True
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

__all__ = [
    "AdversarialLoss",
    "Batch",
    "Callback",
    "Condition",
    "ConditionChecker",
    "ConditionEncoder",
    "Discriminator",
    "DiscriminatorOutput",
    "Generator",
    "Latent",
    "Logits",
    "OnEnd",
    "OnIteration",
    "OnStart",
    "Penalty",
    "Run",
    "Stateful",
    "Term",
    "Trainer",
]

Logits: TypeAlias = Tensor | tuple[Tensor, ...]
"""Logits of any shape whose first dimension is the batch; a tuple of them where there are several scales."""


Condition: TypeAlias = Tensor | None
"""None, or conditions whose first dimension is the batch; see :class:`Batch`."""


class Batch(NamedTuple):
    """One batch of real samples and, where there are any, their conditions.

    Args:
        sample: (N, ...) float.
        condition: None, class indices (N,) int64, multi-hot tags (N, K) float, vectors (N, D) float, or maps
            (N, C, *spatial) float.

    Example:
        >>> Batch(torch.zeros(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).condition
        tensor([3, 1, 4, 1])
    """

    sample: Tensor
    condition: Tensor | None = None


class DiscriminatorOutput(NamedTuple):
    """What a discriminator may return instead of bare logits.

    Args:
        logits: (N, 1), a map of any shape, or a tuple of several (multi-scale; their losses are summed).
        class_logits: (N, K) scores of the classes, for an auxiliary classifier.
        features: inner activations, each (N, ...), for feature matching.

    Example:
        >>> DiscriminatorOutput(torch.zeros(4, 1)).features
        ()
    """

    logits: Logits
    class_logits: Tensor | None = None
    features: tuple[Tensor, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """``generator(latent, condition) -> sample``; called with the latent alone where the condition is None.

    One that carries ``sample_range = (low, high)`` has the real samples checked against it.
    """

    def __call__(self, latent: Tensor, condition: Condition = None, /) -> Tensor: ...


@runtime_checkable
class Discriminator(Protocol):
    """``discriminator(sample, condition) -> logits``; called with the sample alone where the condition is None."""

    def __call__(self, sample: Tensor, condition: Condition = None, /) -> Logits | DiscriminatorOutput: ...


@runtime_checkable
class Latent(Protocol):
    """A distribution of latents: ``latent(n) -> (n, dim)``, on a device, drawn from a generator of random numbers."""

    def __call__(
        self, n: int, /, *, device: torch.device | None = None, generator: torch.Generator | None = None
    ) -> Tensor: ...


@runtime_checkable
class ConditionEncoder(Protocol):
    """Turns a condition into (N, features), or into maps (N, features, *spatial)."""

    features: int

    def __call__(self, condition: Tensor, /) -> Tensor: ...


@runtime_checkable
class ConditionChecker(Protocol):
    """A module that can tell a bad condition, on the host, before it reaches a device."""

    def check(self, condition: Tensor, /) -> None: ...


@runtime_checkable
class AdversarialLoss(Protocol):
    """The two players' losses, scalars, from logits of any shape.

    One that pairs real with fake has ``needs_real_logits = True`` (absent means False); only then does the
    generator's update run the discriminator on real samples, and hands on ``real_logits``.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor, /) -> Tensor: ...

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None, /) -> Tensor: ...


@runtime_checkable
class Term(Protocol):
    """Something added, with a weight, to the players' losses; it sees discriminators' outputs and conditions.

    One that compares fake with real in the generator's update has ``needs_real = True`` (absent means False);
    else ``real`` is None there.
    """

    weight: float

    def discriminator(
        self, real: DiscriminatorOutput, fake: DiscriminatorOutput, condition: Condition, fake_condition: Condition, /
    ) -> Tensor: ...

    def generator(
        self,
        fake: DiscriminatorOutput,
        real: DiscriminatorOutput | None,
        fake_condition: Condition,
        condition: Condition,
        /,
    ) -> Tensor: ...


@runtime_checkable
class Penalty(Protocol):
    """A penalty on the discriminator, weight included.

    One that has ``every = k`` is lazy: the trainer applies it at iterations divisible by k, scaled by k.
    """

    def __call__(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        /,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor: ...


@runtime_checkable
class Stateful(Protocol):
    """Something whose state is tensors and plain values, and goes into a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@runtime_checkable
class Trainer(Stateful, Protocol):
    """Whatever can take one training step; ``iteration`` counts the steps taken.

    One whose step draws several batches has ``batches_per_iteration`` (absent means 1). Over several processes each has
    a trainer, whose steps are taken together: it keeps the weights alike, gives each process random numbers of its own,
    and returns the same metrics in all. ``state_dict`` is taken from the first process, and loaded in all.
    """

    iteration: int

    def train_step(self, batches: Iterator[Any], /) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Run(Protocol):
    """A training under way, as a callback sees it.

    Over several processes each has a run, of the same iteration, epoch, samples and progress.

    Attributes:
        trainer: the trainer.
        batches: what the samples come from, as it was given to ``fit``.
        callbacks: the callbacks, in the order in which they are called, with those that this process does not call.
        iteration: ``trainer.iteration``.
        epoch: complete passes over the batches so far.
        samples: samples drawn from the batches so far, by all processes.
        progress: 0 to 1, by whichever limit is nearest.
        metrics: what the last ``train_step`` returned: detached tensors, perhaps still being computed.
    """

    @property
    def trainer(self) -> Trainer: ...
    @property
    def batches(self) -> Any: ...
    @property
    def callbacks(self) -> Sequence["Callback"]: ...
    @property
    def iteration(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def progress(self) -> float: ...
    @property
    def metrics(self) -> Mapping[str, Tensor]: ...

    def stop(self) -> None:
        """Ask for the training to end after this iteration; one process that asks ends it for all."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs, of all processes, which must call it together."""


@runtime_checkable
class OnStart(Protocol):
    """A callback that is called once before the first iteration, after a resume has been done.

    Where a training goes back to a checkpoint (``rollbacks``), it is called again.
    """

    def on_start(self, run: Run, /) -> None: ...


@runtime_checkable
class OnIteration(Protocol):
    """A callback that is called after each iteration."""

    def on_iteration(self, run: Run, /) -> None: ...


@runtime_checkable
class OnEnd(Protocol):
    """A callback that is called once after the last iteration."""

    def on_end(self, run: Run, /) -> None: ...


Callback: TypeAlias = OnStart | OnIteration | OnEnd
"""Anything with at least one of ``on_start``, ``on_iteration`` and ``on_end``; with state, it is `Stateful` too.

Of several processes, each calls its own; one that has ``rank_zero_only = True`` (absent means False) is called in the
first process alone. So are all that write; such a one must not wait for the other processes. A checkpoint holds the
state that a callback has in the first process.
"""

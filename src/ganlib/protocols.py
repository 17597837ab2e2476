"""The contracts between the packages: the methods that a part of your own must have to be used like one of ours.

There is no logic here, and nothing to inherit from. Your own generator, discriminator, latent, loss, auxiliary loss,
penalty, trainer or callback needs the methods named below and nothing else.

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
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

__all__ = [
    "AdversarialLoss",
    "AuxiliaryLoss",
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
    "Step",
    "Trainer",
]

Logits: TypeAlias = Tensor | tuple[Tensor, ...]
"""Logits of any shape whose first dimension is the batch; a tuple of them where there are several scales."""


Condition: TypeAlias = Tensor | Mapping[str, "Condition"] | tuple["Condition", ...] | None
"""None, a tensor whose first dimension is the batch, or a dict or tuple of these, also nested; see :class:`Batch`."""


class Batch(NamedTuple):
    """One batch of real samples and, where there are any, their conditions.

    Args:
        sample: (N, ...) float.
        condition: None, class indices (N,) int64, multi-hot tags (N, K) float, vectors (N, D) float, maps
            (N, C, *spatial) float, or a dict or tuple of these.

    Example:
        >>> Batch(torch.zeros(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).condition
        tensor([3, 1, 4, 1])
    """

    sample: Tensor
    condition: Condition = None


class DiscriminatorOutput(NamedTuple):
    """Logits with more of what a discriminator has computed; it may return this instead of logits.

    Args:
        logits: (N, 1), a map of any shape, or a tuple of several (one for each scale; their losses are summed).
        class_logits: (N, K) scores of the classes, for an auxiliary classifier.
        features: activations of hidden layers, each (N, ...), for feature matching.

    Example:
        >>> DiscriminatorOutput(torch.zeros(4, 1)).features
        ()
    """

    logits: Logits
    class_logits: Tensor | None = None
    features: tuple[Tensor, ...] = ()


class Step(NamedTuple):
    """One update of a player, as an :class:`AuxiliaryLoss` sees it.

    In the discriminator's update ``fake`` has no graph to the generator; in the generator's update it has one.

    Args:
        real: real samples (N, ...) float.
        fake: fake samples (M, ...) float; in a trainer, M is N.
        real_output: the discriminator's output on the real samples. In the generator's update it is None, unless an
            auxiliary loss has ``needs_real = True`` or the adversarial loss has ``needs_real_logits = True``.
        fake_output: the discriminator's output on the fake samples.
        condition: the conditions of the real samples, or None.
        fake_condition: the conditions that the fake samples were generated from, or None.
        latent: the latents (M, dim) that the fake samples were generated from, or None.

    Example:
        >>> output = DiscriminatorOutput(torch.zeros(4, 1))
        >>> step = Step(torch.zeros(4, 2), torch.ones(4, 2), real_output=None, fake_output=output)
        >>> (step.fake - step.real).abs().mean()  # an L1 loss: the weight is the trainer's to apply
        tensor(1.)
    """

    real: Tensor
    fake: Tensor
    real_output: DiscriminatorOutput | None
    fake_output: DiscriminatorOutput
    condition: Condition = None
    fake_condition: Condition = None
    latent: Tensor | None = None


@runtime_checkable
class Generator(Protocol):
    """``generator(latent, condition) -> sample``; called with the latent alone where the condition is None.

    If it has ``sample_range = (low, high)``, the real samples are checked against it.
    """

    def __call__(self, latent: Tensor, condition: Any = None, /) -> Tensor: ...


@runtime_checkable
class Discriminator(Protocol):
    """``discriminator(sample, condition) -> logits``; called with the sample alone where the condition is None."""

    def __call__(self, sample: Tensor, condition: Any = None, /) -> Logits | DiscriminatorOutput: ...


@runtime_checkable
class Latent(Protocol):
    """A distribution of latents: ``latent(n) -> (n, dim)``, on a device, drawn from a generator of random numbers."""

    def __call__(
        self, n: int, /, *, device: torch.device | None = None, generator: torch.Generator | None = None
    ) -> Tensor: ...


@runtime_checkable
class ConditionEncoder(Protocol):
    """Turns a :data:`Condition` that is not None into (N, features), or into maps (N, features, *spatial)."""

    if (
        TYPE_CHECKING
    ):  # a property of one's own will do; at run time it would keep a class that inherits from setting it

        @property
        def features(self) -> int: ...
    else:
        features: int

    def __call__(self, condition: Any, /) -> Tensor: ...


@runtime_checkable
class ConditionChecker(Protocol):
    """A module that raises an error for an invalid condition, on the host, before it reaches a device."""

    def check(self, condition: Any, /) -> None: ...


@runtime_checkable
class AdversarialLoss(Protocol):
    """The losses of the two players, scalars, from logits of any shape.

    A loss that compares real with fake has ``needs_real_logits = True`` (absent means False). Only then does the
    generator's update run the discriminator on real samples, and pass ``real_logits``.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor, /) -> Tensor: ...

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None, /) -> Tensor: ...


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """A loss that is added, multiplied by ``weight``, to the adversarial loss of each player.

    The weight is a number, or a 0-dim tensor where it changes during training (see :class:`ganlib.training.Schedule`).
    Both methods return a scalar without the weight; for a player that it does not concern, 0. An auxiliary loss that
    needs ``step.real_output`` in the generator's update has ``needs_real = True`` (absent means False).
    """

    @property
    def weight(self) -> float | Tensor: ...

    def discriminator(self, step: Step, /) -> Tensor | float: ...

    def generator(self, step: Step, /) -> Tensor | float: ...


@runtime_checkable
class Penalty(Protocol):
    """A penalty on the discriminator, multiplied by its weight.

    Annotate the discriminator as what your penalty needs: a :class:`Discriminator`, an ``nn.Module`` or a ``Callable``.

    A penalty with ``every = k`` is lazy: the trainer applies it at iterations divisible by k, multiplied by k.
    """

    def __call__(
        self,
        discriminator: Any,
        real: Tensor,
        fake: Tensor,
        /,
        condition: Any = None,
        fake_condition: Any = None,
    ) -> Tensor: ...


@runtime_checkable
class Stateful(Protocol):
    """An object whose state is made of tensors and plain values, and goes into a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@runtime_checkable
class Trainer(Stateful, Protocol):
    """An object that takes training steps; ``iteration`` counts the steps taken.

    A trainer whose step draws several batches has ``batches_per_iteration`` (absent means 1). Over several processes,
    each process has a trainer, and they step together: a trainer keeps the weights of all processes equal, gives each
    process its own random numbers, and returns the same metrics in all. ``state_dict`` is taken from the first
    process, and loaded in all.
    """

    @property
    def iteration(self) -> int: ...

    def train_step(self, batches: Iterator[Any], /) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Run(Protocol):
    """A running training, as a callback sees it.

    Over several processes, each process has a run with the same iteration, epoch, samples and progress.

    Attributes:
        trainer: the trainer.
        batches: the batches, as they were given to ``fit``.
        callbacks: the callbacks, in the order of their calls, including those that this process does not call.
        iteration: ``trainer.iteration``.
        epoch: the number of complete epochs so far.
        samples: the number of samples drawn so far, by all processes.
        progress: 0 to 1, measured by the limit that is nearest.
        seconds: how long this call has trained so far, without the callbacks that are ``untimed``; it does not grow
            after the last iteration.
        interrupted: whether a signal ends the run. It is known, and the same in all processes, in ``on_end``.
        metrics: the metrics of the last ``train_step``, and what callbacks have logged since: detached tensors, which
            the device may still be computing.
        logged: the last value of everything that callbacks have logged in this run, also before a resume. What was
            logged in this iteration is in ``metrics`` too.
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
    def seconds(self) -> float: ...
    @property
    def interrupted(self) -> bool: ...
    @property
    def metrics(self) -> Mapping[str, Tensor]: ...
    @property
    def logged(self) -> Mapping[str, Tensor]: ...

    def log(self, values: Mapping[str, float | Tensor], /) -> None:
        """Add metrics to those of this iteration; to be called from ``on_iteration`` or ``on_end``.

        They may be infinite or NaN. A name that is logged twice in an iteration has the last value. What callbacks of
        several processes read must be logged in all of them.

        Args:
            values: numbers, or tensors of no dimensions, by name.

        Raises:
            ArgumentTypeError: a name is not a string, or a value is not a real number.
            ArgumentValueError: ``train_step`` has given a metric of the same name in this iteration.

        Example:
            >>> class LogNorm:
            ...     def __init__(self, weight):
            ...         self.weight = weight
            ...     def on_iteration(self, run):
            ...         if run.iteration % 100 == 0:
            ...             run.log({"norm": self.weight.norm()})
        """

    def stop(self) -> None:
        """End the training of all processes after this iteration."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that an exact resume needs, of all processes; these must call it together."""


@runtime_checkable
class OnStart(Protocol):
    """A callback that is called once before the first iteration, after a resume.

    It is called again when the training goes back to a checkpoint (``rollbacks``).
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
"""An object with at least one of ``on_start``, ``on_iteration`` and ``on_end``; with state, it is `Stateful` too.

Each of several processes calls its own callbacks. A callback with ``rank_zero_only = True`` (absent means False) is
called in the first process only; ganlib's callbacks that write are such. It must not wait for the other processes. A
checkpoint holds the state that a callback has in the first process.

A callback with ``untimed = True`` (absent means False) measures, as :class:`ganlib.training.Evaluate` does. It is
called after the others, so that an average is up to date. It does not use up a limit in minutes: the time of its calls
is left out of ``run.progress`` and ``run.seconds``.

A callback with ``reads_metrics = True`` (absent means False) is called after those, so that it sees what any callback
has logged by ``run.log``. ganlib's loggers are such.

Metrics are tensors on the device: to read one (``float(value)``) waits for the device, to log one does not. The page
:doc:`/how-to/own_callback` has examples, for Weights & Biases and MLflow too.
"""

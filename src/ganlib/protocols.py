"""Protocols: the methods that your own components need.

Your own generator, discriminator, latent, loss, auxiliary loss, penalty, trainer or callback needs the methods of its
protocol. You do not need to inherit from it.

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
"""Logits of any shape, with the batch in the first dimension; a tuple of them if there are several scales."""


Condition: TypeAlias = Tensor | Mapping[str, "Condition"] | tuple["Condition", ...] | None
"""None, a tensor with the batch in the first dimension, or a (nested) dict or tuple of these; see :class:`Batch`."""


class Batch(NamedTuple):
    """Collect real samples and their conditions.

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
    """Collect logits, class logits and features of a discriminator.

    A discriminator can return this instead of logits.

    Args:
        logits: (N, 1), a map of any shape, or a tuple with one tensor per scale. The losses of all scales are summed.
        class_logits: (N, K) logits of the classes, for :class:`ganlib.losses.AuxiliaryClassifier`.
        features: activations of hidden layers, each (N, ...), for :class:`ganlib.losses.FeatureMatching`.

    Example:
        >>> DiscriminatorOutput(torch.zeros(4, 1)).features
        ()
    """

    logits: Logits
    class_logits: Tensor | None = None
    features: tuple[Tensor, ...] = ()


class Step(NamedTuple):
    """Collect the samples and outputs of one update, for an :class:`AuxiliaryLoss`.

    Args:
        real: real samples (N, ...) float.
        fake: fake samples (M, ...) float; in a trainer, M equals N. Only in the generator's update do they have a graph
            to the generator.
        real_output: the discriminator's output for the real samples. In the generator's update it is None, unless an
            auxiliary loss has ``needs_real = True`` or the adversarial loss has ``needs_real_logits = True``.
        fake_output: the discriminator's output for the fake samples.
        condition: the conditions of the real samples, or None.
        fake_condition: the conditions of the fake samples, or None.
        latent: the latents (M, dim) of the fake samples, or None.

    Example:
        >>> output = DiscriminatorOutput(torch.zeros(4, 1))
        >>> step = Step(torch.zeros(4, 2), torch.ones(4, 2), real_output=None, fake_output=output)
        >>> (step.fake - step.real).abs().mean()  # an L1 loss; the trainer applies the weight
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
    """Generate samples: ``generator(latent, condition) -> sample``.

    If the condition is None, the generator is called with the latent only. If the generator has an attribute
    ``sample_range = (low, high)``, the trainer checks that real samples are in this range.
    """

    def __call__(self, latent: Tensor, condition: Any = None, /) -> Tensor: ...


@runtime_checkable
class Discriminator(Protocol):
    """Discriminate samples: ``discriminator(sample, condition) -> logits``.

    If the condition is None, the discriminator is called with the sample only.
    """

    def __call__(self, sample: Tensor, condition: Any = None, /) -> Logits | DiscriminatorOutput: ...


@runtime_checkable
class Latent(Protocol):
    """Draw latents: ``latent(n, device=..., generator=...) -> (n, dim)``."""

    def __call__(
        self, n: int, /, *, device: torch.device | None = None, generator: torch.Generator | None = None
    ) -> Tensor: ...


@runtime_checkable
class ConditionEncoder(Protocol):
    """Encode a :data:`Condition` that is not None as (N, features), or as maps (N, features, *spatial)."""

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
    """Raise an error for an invalid condition, on the CPU, before the condition is copied to a device."""

    def check(self, condition: Any, /) -> None: ...


@runtime_checkable
class AdversarialLoss(Protocol):
    """Compute the scalar losses of the two players from logits of any shape.

    If the generator's loss needs the logits of real samples, set ``needs_real_logits = True`` (the default is False).
    Then the generator's update also runs the discriminator on real samples, and passes ``real_logits``. If a logit of 0
    does not separate real from fake samples, set ``separates_at_zero = False`` (the default is True, unless the loss
    needs real logits): :class:`ganlib.augment.AdaptiveAugment` reads the signs of logits.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor, /) -> Tensor: ...

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None, /) -> Tensor: ...


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """Compute a loss that is added to the adversarial loss of each player.

    Both methods return a scalar; the trainer multiplies it by ``weight``. Return 0 for a player without this loss. The
    weight is a number, or a 0-dim tensor if it changes during training (see :class:`ganlib.training.Schedule`). If the
    generator's update needs ``step.real_output``, set ``needs_real = True`` (the default is False).
    """

    @property
    def weight(self) -> float | Tensor: ...

    def discriminator(self, step: Step, /) -> Tensor | float: ...

    def generator(self, step: Step, /) -> Tensor | float: ...


@runtime_checkable
class Penalty(Protocol):
    """Compute a penalty on the discriminator, multiplied by its weight.

    Annotate the discriminator with the type that your penalty needs: a :class:`Discriminator`, an ``nn.Module`` or a
    ``Callable``.

    Set ``every = k`` to apply the penalty only at iterations divisible by k, multiplied by k (lazy regularization).
    With ``precision = "autocast"`` the penalty runs under the trainer's autocast. With ``side`` (``"real"`` or
    ``"fake"``) and a method ``of(samples, logits)``, a trainer with ``reuse_logits=True`` computes it from the logits
    of the update.
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
    """Save and load a state of tensors and plain values, for checkpoints."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@runtime_checkable
class Trainer(Stateful, Protocol):
    """Train networks step by step; ``iteration`` counts the steps.

    If a step draws several batches, set ``batches_per_iteration`` (the default is 1).

    In multi-GPU training, each process has a trainer, and all processes call ``train_step`` together. A trainer keeps
    the weights equal in all processes, uses different random numbers in each process, and returns the same metrics in
    all processes. ``state_dict`` is taken from the first process, and loaded in all processes.
    """

    @property
    def iteration(self) -> int: ...

    def train_step(self, batches: Iterator[Any], /) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Run(Protocol):
    """Give a callback access to the running training.

    In multi-GPU training, each process has a run, with the same iteration, epoch, samples and progress.

    Attributes:
        trainer: the trainer.
        batches: the batches that were passed to ``fit``.
        callbacks: all callbacks in the order of their calls, including those that this process does not call.
        iteration: ``trainer.iteration``.
        epoch: the number of complete epochs.
        samples: the number of samples drawn so far by all processes.
        progress: the fraction of the run that is complete, 0 to 1. If there are several limits, the largest fraction
            counts.
        seconds: the training time of this call in seconds, without the time of ``untimed`` callbacks. It does not grow
            after the last iteration.
        interrupted: whether a signal ended the run. Read it in ``on_end``, where it is the same in all processes.
        metrics: the metrics of the last ``train_step``, and the values that callbacks have logged since then. They are
            detached tensors, which the device may still be computing.
        logged: the last value of each name that callbacks have logged in this run, including before a resume.
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
        """Log metrics for this iteration; call it from ``on_iteration`` or ``on_end``.

        Values can be infinite or NaN. If a name is logged twice in an iteration, the last value counts. In multi-GPU
        training, log in all processes if callbacks in all processes read the metric.

        Args:
            values: a dict from names to numbers or 0-dim tensors.

        Raises:
            ArgumentTypeError: a name is not a string, or a value is not a real number.
            ArgumentValueError: ``train_step`` returned a metric of the same name in this iteration.

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
        """Return the state for an exact resume; all processes must call it together."""


@runtime_checkable
class OnStart(Protocol):
    """Call back once before the first iteration; a resumed run has loaded its checkpoint before.

    The callback is called again when the training returns to an earlier checkpoint (``rollbacks``).
    """

    def on_start(self, run: Run, /) -> None: ...


@runtime_checkable
class OnIteration(Protocol):
    """Call back after each iteration."""

    def on_iteration(self, run: Run, /) -> None: ...


@runtime_checkable
class OnEnd(Protocol):
    """Call back once after the last iteration."""

    def on_end(self, run: Run, /) -> None: ...


Callback: TypeAlias = OnStart | OnIteration | OnEnd
"""An object with at least one of ``on_start``, ``on_iteration`` and ``on_end``. One with a state is :class:`Stateful`.

A callback can set three attributes, which are False by default:

- ``rank_zero_only = True``: only the first process calls it. It must not wait for the other processes. ganlib's
  callbacks that write files set it.
- ``untimed = True``: it is called after the other callbacks, so that weight averages are up to date. The time of its
  calls does not count in ``run.progress`` and ``run.seconds``, so it does not use up a limit in minutes.
  :class:`ganlib.training.Evaluate` sets it.
- ``reads_metrics = True``: it is called after the untimed callbacks, so that it sees all values of ``run.log``. The
  loggers set it.

In multi-GPU training, each process calls its own callbacks. A checkpoint contains the state of a callback in the first
process.

Metrics are tensors on the device. Reading one (``float(value)``) waits for the device; logging one does not. See
:doc:`/how-to/own_callback` for examples, and :doc:`/how-to/log` for Weights & Biases and MLflow.
"""

"""Metrics of samples, during training and at its end."""

import copy
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ganlib._checks import check_count, check_positive, check_seed
from ganlib._once import sharing
from ganlib._random import load_random_state, random_state, seed_of_rank, seed_random_numbers
from ganlib._ranks import agree, meet
from ganlib._shown import described, shown
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError, TrainingDivergedError
from ganlib.protocols import Batch, Run, Stateful
from ganlib.training._callbacks._order import gives_all, order_of

__all__ = ["Evaluate"]

T = TypeVar("T")


class _Metric(Protocol):
    """Has what every metric of torchmetrics has; a function's own arguments are its own."""

    @property
    def update(self) -> Callable[..., Any]: ...
    @property
    def compute(self) -> Callable[..., Any]: ...
    @property
    def reset(self) -> Callable[..., Any]: ...


class Evaluate:
    """Measures samples every few iterations and at the end, and adds the results to the run's metrics.

    So a :class:`CSVLogger`, a progress bar and curves show them, ``Checkpoint(folder, monitor=...)`` keeps the best
    checkpoint, and :class:`EarlyStopping` stops. It works with any trainer, and changes no training: random numbers are
    put back. Each evaluation uses the same ones, so that results differ by the generator alone. A limit in minutes
    leaves its time out. It is called after an :class:`EMA`, wherever that is in the list.

    A result has the name of its metric's class (``frechet_distance``), or the name that you give it. Where ``compute``
    gives a mean and a standard deviation, there is also ``<name>_std``; where it gives a dict, the results have its
    names (``precision``, ``recall``), after yours (``test_precision``) if you give one.

    Real samples are read once, for metrics that keep them (those of :mod:`ganlib.metrics`) and have none yet. Of
    several processes, each draws its share of the samples, and reads its share of the real ones. If one fails, all do.

    Args:
        metrics: one, several, or a dict of them by name: objects with ``update``, ``compute`` and ``reset``, such as
            those of :mod:`ganlib.metrics` and of torchmetrics. ``update`` is called with (samples, real=bool) if it has
            ``real``, with (samples, condition) if it takes two arguments, and else with (samples).
        sampler: ``sampler(n)`` gives batches of n samples in all: :class:`ganlib.protocols.Batch`, (sample, condition),
            or samples. ``functools.partial(models.sample, ema.module, latent)`` is one. It leaves its network's modes
            and buffers as they are.
        real: a loader of real samples, which is read to its end; None if no metric needs them. Best are samples that
            were held out, of a test set for example; it may be the training's own loader. A
            :class:`ganlib.data.TensorLoader`, or a ``DataLoader`` with a ``DistributedSampler``, gives each of several
            processes its share; any other gives the same batches to all, and each process takes its part.
        every: iterations between two evaluations, at least 1.
        n: samples of an evaluation, at least 1. Values of another n are not comparable.
        seed: of the random numbers of each evaluation, from 0 to 2**64 - 1.
        timeout: seconds that a process waits for the others before an evaluation, above 0.

    Raises:
        ArgumentTypeError: a metric or the sampler is not one, or ``real`` cannot be iterated again and again.
        ArgumentValueError: another argument is out of its range, or two metrics have the same name.

    Example:
        >>> from functools import partial
        >>> from torch import nn
        >>> from ganlib import latents, losses, metrics, models, training
        >>> generator, discriminator, latent = nn.Linear(4, 2), nn.Linear(2, 1), latents.Gaussian(4)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
        ...     loss=losses.NonSaturatingLoss(), latent=latent)
        >>> evaluate = training.Evaluate(
        ...     metrics.FrechetDistance(lambda samples: samples), partial(models.sample, generator, latent),
        ...     real=[torch.randn(64, 2)], every=2, n=100)
        >>> training.fit(trainer, [torch.randn(8, 2)], iterations=4, callbacks=[evaluate])
        >>> list(evaluate.measure())
        ['frechet_distance']
    """

    untimed = True

    def __init__(
        self,
        metrics: _Metric | Sequence[_Metric] | Mapping[str, _Metric],
        sampler: Callable[[int], Iterable[Any]],
        *,
        real: Iterable[Any] | None = None,
        every: int = 1000,
        n: int = 10_000,
        seed: int = 0,
        timeout: float = 60.0,
    ) -> None:
        self.metrics: dict[str, Any] = _by_name(metrics)
        if not callable(sampler) or isinstance(sampler, type):
            raise ArgumentTypeError(f"sampler (={shown(sampler)}) must be a function of the number of samples")
        if real is not None:
            _check_batches("real", real)
            if isinstance(real, Iterator):
                raise ArgumentTypeError(f"real (={shown(real)}) must be a loader that can be iterated again, or None")
        self.sampler = sampler
        self.real = real
        self.every: int = check_count("every", every, least=1)
        self.n: int = check_count("n", n, least=1)
        self.seed: int = check_seed("seed", seed)
        self.timeout: float = check_positive("timeout", timeout)
        self._arguments = {name: _argument(metric) for name, metric in self.metrics.items()}
        self._measured_at: int | None = None
        self._have_real = set[str]()  # of metrics that keep real samples and do not say so

    def measure(self) -> dict[str, float]:
        """Measure now; of several processes, all call this together.

        Returns:
            The results by name.

        Raises:
            ArgumentValueError: the sampler gives another number of samples than asked for, ``real`` gives none, or two
                results have the same name.
            ArgumentTypeError: batches hold no samples, or a metric gives something else than numbers.
            GanlibRuntimeError: a process did not come within the timeout, or failed.
            TrainingDivergedError: samples are not finite.
        """
        if world_size() > 1:
            meet(type(self).__name__, timeout=self.timeout)
        lacking = self._lacking_real()
        before = random_state(self.real)
        complete = False
        try:
            self._reset()
            (count,) = agree(_on_all(partial(self._add_real, lacking)))
            if lacking and not count:
                raise ArgumentValueError(f"real (={shown(self.real)}) gave no samples")
            complete = True
            self._have_real |= {
                name for name, metric in lacking.items() if not getattr(metric, "reset_real_features", True)
            }
            _on_all(self._add_samples)
            return _on_all(self._results)
        finally:
            if not complete:  # a part of the real samples must not count as all of them
                for metric in lacking.values():
                    _forget_real(metric)
            self._reset()  # samples need memory
            load_random_state(before, self.real)

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "metrics", "sampler", "real", "every", "n", "seed")

    def on_start(self, run: Run) -> None:
        """Check that there are real samples where a metric needs them, and that others than the training can read them.

        Args:
            run: the training.

        Raises:
            ArgumentValueError: a metric has no real samples, or is in another ``Evaluate`` too; or ``real`` is the
                training's loader, and cannot be read in between.
        """
        for name, metric in self.metrics.items():
            if self.real is None and not getattr(metric, "has_real", True):
                raise ArgumentValueError(f"real (=None) must be a loader of real samples: {name} has none yet")
        others = [each for each in run.callbacks if isinstance(each, Evaluate) and each is not self]
        for name, metric in self.metrics.items():
            if any(metric is taken or name == other for each in others for other, taken in each.metrics.items()):
                raise ArgumentValueError(
                    f"{name} is in two Evaluate callbacks: give each a metric of its own, and a name, by a dict"
                )
        busy = getattr(self.real, "persistent_workers", False) or isinstance(self.real, Stateful)
        if self.real is run.batches and busy and not _restarts(self.real):
            raise ArgumentValueError(
                f"real (={shown(self.real)}) is the loader of the training, and a {type(self.real).__name__} with a "
                "state or with persistent workers can be read by one only: give real a loader of its own"
            )
        if self._measured_at is not None and self._measured_at > run.iteration:  # in another run
            self._measured_at = None

    def on_iteration(self, run: Run) -> None:
        """Measure, if it is time.

        Args:
            run: the training.

        Raises:
            GanlibError: as of :meth:`measure`.
        """
        if run.iteration % self.every == 0:
            self._log(run)

    def on_end(self, run: Run) -> None:
        """Measure at the end, unless that has just been done, or a signal ends the run.

        Args:
            run: the training.

        Raises:
            GanlibError: as of :meth:`measure`.
        """
        if run.iteration not in (0, self._measured_at) and not run.interrupted:
            self._log(run)

    def state_dict(self) -> dict[str, Any]:
        """Return when it was measured last, so that a run that was complete is not measured again after a resume.

        Returns:
            Plain values.
        """
        return {"iteration": self._measured_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore when it was measured last.

        Args:
            state: what ``state_dict`` returned.
        """
        self._measured_at = state["iteration"]

    def _log(self, run: Run) -> None:
        run.log(self.measure())
        self._measured_at = run.iteration

    def _reset(self) -> None:
        for metric in self.metrics.values():
            metric.reset()

    def _update(self, name: str, metric: Any, sample: Tensor, condition: Any) -> None:
        match self._arguments[name]:
            case "real":
                metric.update(sample, real=False)
            case "condition":
                metric.update(sample, condition)
            case _:
                metric.update(sample)

    def _lacking_real(self) -> dict[str, Any]:
        """The metrics that the real samples are for, the same in all processes."""
        takers = {name: metric for name, metric in self.metrics.items() if self._arguments[name] == "real"}
        have = [name in self._have_real or getattr(metric, "has_real", False) for name, metric in takers.items()]
        nothing, *agreed = agree(self.real is None, *have)
        return {} if nothing else {name: takers[name] for name, has in zip(takers, agreed, strict=True) if not has}

    def _add_real(self, metrics: Mapping[str, Any]) -> int:
        """Add this process's share of the real samples; return how many they are."""
        if not metrics:
            return 0
        count = 0
        seed_random_numbers(self.seed, self.real)  # the same in all processes, whose shares are of the same order
        with torch.no_grad(), _from_start(self.real) as loader:
            for batch in _share(loader):
                sample, _ = _parts(batch, "real")
                count += len(sample)
                with sharing():
                    for metric in metrics.values():
                        metric.update(sample, real=True)
        return count

    def _add_samples(self) -> None:
        """Draw this process's share of the samples, and add them."""
        share, drawn = self.n // world_size() + (rank() < self.n % world_size()), 0
        seed_random_numbers(seed_of_rank(self.seed))
        with torch.no_grad():
            for batch in _check_batches("sampler", self.sampler(share)) if share else ():
                sample, condition = _parts(batch, "sampler")
                drawn += len(sample)
                if drawn > share:
                    break
                if sample.is_floating_point() and not sample.isfinite().all():
                    raise TrainingDivergedError("training diverged: samples of the sampler are not finite")
                with sharing():
                    for name, metric in self.metrics.items():
                        self._update(name, metric, sample, condition)
        if drawn != share:
            raise ArgumentValueError(f"sampler gave {drawn} samples{' or more' * (drawn > share)}, not n (={share})")

    def _results(self) -> dict[str, float]:
        results = dict[str, float]()
        for name, metric in self.metrics.items():
            for full_name, value in _numbers(name, metric.compute(), _prefix(name, metric)):
                if full_name in results:
                    raise ArgumentValueError(f"two metrics give {full_name!r}: give metrics as a dict of names")
                results[full_name] = value
        return results


def _by_name(metrics: Any) -> dict[str, Any]:
    if hasattr(metrics, "items"):  # those of a MetricCollection have each a state of its own
        pairs = [*metrics.items()]
    else:
        several = isinstance(metrics, Sequence) and not isinstance(metrics, str)
        pairs = [(type(each).__name__, each) for each in (metrics if several else [metrics])]
    found = dict[str, Any]()
    for name, metric in pairs:
        parts = [getattr(metric, part, None) for part in ("update", "compute", "reset")]
        if isinstance(metric, type) or hasattr(metric, "items") or not all(map(callable, parts)):
            raise ArgumentTypeError(f"metric {shown(metric)} must be an object with update, compute and reset")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the name of a metric (={shown(name)}) must be a string")
        name = name.replace(type(metric).__name__, _snake_case(type(metric).__name__))
        if name in found:
            raise ArgumentValueError(f"two metrics are called {shown(name)}: give metrics as a dict of names")
        found[name] = metric
    if not found:
        raise ArgumentValueError(f"metrics (={shown(metrics)}) must be at least one")
    return found


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _prefix(name: str, metric: Any) -> str:
    """What is put before names that the metric gives itself."""
    class_name = _snake_case(type(metric).__name__)
    return name.removesuffix(class_name) if name.endswith(class_name) else f"{name}_"


def _numbers(name: str, value: Any, prefix: str) -> Iterator[tuple[str, float]]:
    """What compute gave, as numbers by name."""
    if isinstance(value, Mapping):
        for part, result in value.items():
            own = prefix + _snake_case(str(part))
            yield from _numbers(own, result, f"{own}_")
    elif isinstance(value, tuple | list) and len(value) == 2:
        yield from _numbers(name, value[0], prefix)
        yield from _numbers(f"{name}_std", value[1], prefix)
    else:
        try:
            yield name, float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError(
                f"compute of {name} gave {shown(value)}; it must give a number, a mean and a standard deviation, or a "
                "dict of these"
            ) from error


def _argument(metric: Any) -> str:
    """What the metric's update takes next to samples: ``"real"``, ``"condition"``, or nothing."""
    parameters = inspect.signature(metric.update).parameters
    if "real" in parameters:
        return "real"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return "condition" if sum(each.kind in positional for each in parameters.values()) > 1 else ""


def _forget_real(metric: Any) -> None:
    if hasattr(metric, "has_real"):
        metric.reset(real=True)
    elif not getattr(metric, "reset_real_features", True):  # so torchmetrics calls what its reset leaves out
        metric.reset_real_features = True
        metric.reset()
        metric.reset_real_features = False


def _check_batches(role: str, batches: Any) -> Any:
    # A tensor or a batch can be iterated too, and would give something else.
    if not isinstance(batches, Iterable) or isinstance(batches, Tensor | Batch):
        given = f"a {type(batches).__name__}" if isinstance(batches, Tensor | Batch) else f"{shown(batches)}"
        raise ArgumentTypeError(f"{role} (={given}) must give batches, one after another, such as [samples]")
    return batches


def _parts(batch: Any, role: str) -> tuple[Tensor, Any]:
    """The samples and conditions of a batch."""
    sample, condition, *_ = (*batch, None) if isinstance(batch, tuple | list) and batch else (batch, None)
    if not isinstance(sample, Tensor) or not sample.ndim:
        raise ArgumentTypeError(f"{role} gave a {type(sample).__name__}; it must give samples, or (sample, condition)")
    return sample, condition


def _restarts(loader: Any) -> bool:
    """Whether it is a ``TensorLoader``, whose copy can start at the beginning of the data."""
    return isinstance(loader, Stateful) and hasattr(loader, "samples")


@contextmanager
def _from_start(loader: Any) -> Iterator[Any]:
    """A loader at its first epoch; where a training is with the one that was given stays as it is."""
    if _restarts(loader):
        loader = copy.copy(loader)
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 0})
    order: Any = order_of(loader) if isinstance(loader, DataLoader) else None
    if not (hasattr(order, "set_epoch") and hasattr(order, "epoch")):
        yield loader
        return
    epoch = order.epoch
    order.set_epoch(0)  # a DistributedSampler's order, and what is whose share, depend on it
    try:
        yield loader
    finally:
        order.set_epoch(epoch)


def _share(loader: Any) -> Iterable[Any]:
    """This process's batches: a loader that gives each process its own share keeps it."""
    whole = gives_all(loader) if isinstance(loader, DataLoader) else not _restarts(loader)
    return islice(loader, rank(), None, world_size()) if whole else loader


def _on_all(action: Callable[[], T]) -> T:
    """Do something on every rank; where it fails on one, all raise, so that none waits for another or goes on alone."""
    failure: Exception | None = None
    try:
        result = action()
    except Exception as error:
        failure = error
    mine = 0 if failure is None else 1 if isinstance(failure, TrainingDivergedError) else 2
    (worst,) = agree(mine)
    if failure is not None and mine == worst:
        raise failure
    if worst == 1:
        raise TrainingDivergedError("training diverged: samples of another process are not finite")
    if worst:
        raise GanlibRuntimeError("an evaluation failed in another process, which says why") from failure
    return result

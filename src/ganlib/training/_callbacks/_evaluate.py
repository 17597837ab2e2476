"""Evaluate a generator by metrics, during training and at its end."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from ganlib._averages import any_is_behind
from ganlib._checks import check_count, check_positive, check_seed
from ganlib._held import held
from ganlib._once import sharing
from ganlib._random import load_random_state, random_state, seed_of_rank, seed_random_numbers
from ganlib._ranks import agree, meet
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, GanlibRuntimeError, TrainingDivergedError
from ganlib.protocols import Run, Stateful
from ganlib.training._callbacks._metric import argument_of, by_name, forget_real, kept_states, results_of
from ganlib.training._callbacks._sample_batches import check_batches, from_start, parts_of, restarts, share_of
from ganlib.training._callbacks._untouched import CLOSED, untouched
from ganlib.training._step._networks import networks_of

__all__ = ["Evaluate"]

T = TypeVar("T")

# Samples of a trial: enough to find errors of types and shapes, and as many as a set may have that is tried as a whole.
_FEW, _WHOLE = 8, 64


class _Metric(Protocol):
    """Require the methods of a torchmetrics metric; the arguments of a metric may differ."""

    @property
    def update(self) -> Callable[..., Any]: ...
    @property
    def compute(self) -> Callable[..., Any]: ...
    @property
    def reset(self) -> Callable[..., Any]: ...


class Evaluate:
    """Evaluate samples by metrics every few iterations and at the end, and add the results to the run's metrics.

    Loggers and progress bars show the results. ``Checkpoint(folder, monitor=...)`` keeps the best checkpoint by a
    result, and :class:`EarlyStopping` can stop by it. The callback works with any trainer. It does not change the
    training, since it restores all random numbers. Each evaluation uses the same random numbers, so results differ only
    by the generator. Its time does not count toward a limit in minutes. It runs after an :class:`EMA`, whatever their
    order in the list.

    A result is named after its metric's class (``frechet_distance``), or by your own name. If ``compute`` returns a
    mean and a standard deviation, the second result is ``<name>_std``. If ``compute`` returns a dict, its keys are the
    names (``precision``, ``recall``), with your name as a prefix (``test_precision``).

    The callback reads real samples once, for metrics that keep them (such as those of :mod:`ganlib.metrics`) and have
    no real samples yet. With several processes, each process draws its share of the samples, and reads its share of the
    real samples. If an evaluation fails in one process, it fails in all.

    The callback tries the sampler, the metrics and ``real`` with a few samples before training, so that an error does
    not come at the first evaluation. It restores the random numbers, also those of a ``torch.Generator`` that the
    sampler refers to. If your own sampler counts its calls, it counts the trial too.

    Args:
        metrics: one, several, or a dict of metrics by name: objects with ``update``, ``compute`` and ``reset``, such as
            those of :mod:`ganlib.metrics` and torchmetrics. ``update`` is called with (samples, real=bool) if it has an
            argument ``real``, with (samples, condition) if it takes two arguments, and otherwise with (samples).
        sampler: ``sampler(n)`` returns batches with n samples in total: :class:`ganlib.protocols.Batch`, (sample,
            condition), or samples. An example is ``functools.partial(models.sample, ema.module, latent)``. It must not
            change modes or buffers of its network.
        real: a loader of real samples, which is read to its end; None if no metric needs them. Held-out samples, such
            as a test set, are best. The training's own loader is possible. A :class:`ganlib.data.TensorLoader`, or a
            ``DataLoader`` with a ``DistributedSampler``, returns each process its share. Any other loader returns the
            same batches to all processes, and each process takes its part.
        every: number of iterations between two evaluations, at least 1.
        n: number of samples in an evaluation, at least 1. Results for different n are not comparable.
        seed: seed of the random numbers of each evaluation, from 0 to 2**64 - 1.
        timeout: seconds that a process waits for the others before an evaluation, above 0.

    Raises:
        ArgumentTypeError: a metric or the sampler is invalid, or ``real`` cannot be iterated repeatedly.
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
        self.metrics: dict[str, Any] = by_name(metrics)
        if not callable(sampler) or isinstance(sampler, type):
            raise ArgumentTypeError(f"sampler (={shown(sampler)}) must be a function of the number of samples")
        _check_signature(sampler)
        if real is not None:
            check_batches("real", real)
            if isinstance(real, Iterator):
                raise ArgumentTypeError(f"real (={shown(real)}) must be a loader that can be iterated again, or None")
        self.sampler = sampler
        self.real = real
        self.every: int = check_count("every", every, least=1)
        self.n: int = check_count("n", n, least=1)
        self.seed: int = check_seed("seed", seed)
        self.timeout: float = check_positive("timeout", timeout)
        self._arguments = {name: argument_of(metric) for name, metric in self.metrics.items()}
        self._measured_at: int | None = None
        self._have_real = set[str]()  # names of metrics that keep real samples without an attribute has_real
        self._tried, self._named_apart, self._warned, self._started_at = False, False, False, 0
        self._saved: dict[str, Any] = {}  # the state that was loaded

    def measure(self) -> dict[str, float]:
        """Evaluate now; with several processes, all must call this method together.

        Returns:
            The results by name.

        Raises:
            ArgumentValueError: the sampler returns a wrong number of samples, ``real`` contains no samples, or two
                results have the same name.
            ArgumentTypeError: batches contain no samples, or a metric returns something other than numbers.
            GanlibRuntimeError: another process did not arrive within the timeout, or failed.
            TrainingDivergedError: samples are not finite.

        Warns:
            UserWarning: the sampler uses an EMA that was never updated, though its network was trained.
        """
        if world_size() > 1:
            meet(type(self).__name__, timeout=self.timeout)
        if not self._warned and rank() == 0 and any_is_behind(held(self.sampler, within=6, closed=CLOSED)):
            self._warned = True
            warn_user(
                "Evaluate measures an EMA that was never updated, though its network is trained, so the results are "
                "those of the first weights: put the EMA into the callbacks of fit, or call its update() in each step"
            )
        lacking = self._lacking_real()
        kept = [kept_states(metric) for metric in lacking.values()]
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
            if not complete:  # a metric must not take a part of the real samples for all of them
                for metric, states in zip(lacking.values(), kept, strict=True):
                    forget_real(metric, states)
            self._reset()  # frees the memory of the samples
            load_random_state(before, self.real)

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "metrics", "sampler", "real", "every", "n", "seed")

    def on_start(self, run: Run) -> None:
        """Try the sampler, the metrics and ``real`` with a few samples, unless the run is already complete.

        Args:
            run: the run.

        Raises:
            ArgumentValueError: a metric has no real samples, or is in another ``Evaluate`` too; or ``real`` is the
                training's loader and cannot be read by two readers; or the trial failed.
            ArgumentTypeError: the sampler or ``real`` gives no samples, or a metric gives something other than numbers.
        """
        for name, metric in self.metrics.items():
            if self.real is None and not getattr(metric, "has_real", True):
                raise ArgumentValueError(f"real (=None) must be a loader of real samples: {name} has none yet")
        others = [each for each in run.callbacks if isinstance(each, Evaluate) and each is not self]
        for name, metric in self.metrics.items():
            if any(metric is taken or name == other for each in others for other, taken in each.metrics.items()):
                raise ArgumentValueError(
                    f"{name} is in two Evaluate callbacks: give each one its own metric, and its own name by a dict"
                )
        busy = getattr(self.real, "persistent_workers", False) or isinstance(self.real, Stateful)
        if self.real is run.batches and busy and not restarts(self.real):
            raise ArgumentValueError(
                f"real (={shown(self.real)}) is the loader of the training, and a {type(self.real).__name__} with a "
                "state or with persistent workers cannot be read twice at a time: pass real a loader of its own"
            )
        self._warn_of_changes()
        if self._measured_at is not None and self._measured_at > run.iteration:  # in another run
            self._measured_at = None
        self._started_at = run.iteration
        if run.progress < 1 and not self._tried:
            self._try(run)

    def on_iteration(self, run: Run) -> None:
        """Evaluate, if it is time.

        Args:
            run: the run.

        Raises:
            ArgumentValueError: a result has the name of a metric of the trainer.
            GanlibError: as for :meth:`measure`.
        """
        if run.iteration > self._started_at and not self._named_apart:
            self._named_apart = True
            self._check_names(run)
        if not self._tried:
            self._try(run)
        if run.iteration % self.every == 0:
            self._log(run)

    def on_end(self, run: Run) -> None:
        """Evaluate at the end, unless the last iteration was evaluated already or a signal ends the run.

        Args:
            run: the run.

        Raises:
            GanlibError: as for :meth:`measure`.
        """
        if run.iteration not in (0, self._measured_at) and not run.interrupted:
            self._log(run)

    def state_dict(self) -> dict[str, Any]:
        """Return the iteration of the last evaluation, and what its results depend on.

        Returns:
            Plain values.
        """
        return {"iteration": self._measured_at, "metrics": [*self.metrics], "n": self.n, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the iteration of the last evaluation.

        A complete run that is resumed is not evaluated again. At the start of the run there is a warning if the earlier
        results cannot be compared with new ones.

        Args:
            state: what ``state_dict`` returned.
        """
        self._measured_at = state["iteration"]
        self._saved = state

    def _warn_of_changes(self) -> None:
        own, state, self._saved = self.state_dict(), self._saved, {}
        changed = [name for name in ("n", "seed") if state.get(name, own[name]) != own[name]]
        if changed and state.get("metrics") == own["metrics"] and state["iteration"] is not None and rank() == 0:
            before, now = (" and ".join(f"{name} (={each[name]})" for name in changed) for each in (state, own))
            warn_user(
                f"Evaluate has {now}, but {before} in the checkpoint: the results of {', '.join(self.metrics)} cannot "
                "be compared with the earlier ones, but best.pt and EarlyStopping do so: keep the earlier value, or "
                "use another folder"
            )

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
        """Find the metrics that need real samples, the same ones in all processes."""
        takers = {name: metric for name, metric in self.metrics.items() if self._arguments[name] == "real"}
        have = [name in self._have_real or getattr(metric, "has_real", False) for name, metric in takers.items()]
        nothing, *agreed = agree(self.real is None, *have)
        return {} if nothing else {name: takers[name] for name, has in zip(takers, agreed, strict=True) if not has}

    def _add_real(self, metrics: Mapping[str, Any]) -> int:
        """Add this process's share of the real samples, and return their number."""
        if not metrics:
            return 0
        count = 0
        seed_random_numbers(self.seed, self.real)  # the same order in all processes, of which each takes its share
        with torch.no_grad(), from_start(self.real) as loader:
            for batch in share_of(loader):
                sample, _ = parts_of(batch, "real")
                count += len(sample)
                with sharing():
                    for metric in metrics.values():
                        metric.update(sample, real=True)
        return count

    def _add_samples(self, most: int | None = None) -> None:
        """Draw this process's share of the samples, or only a few, and add them."""
        share, drawn = self.n // world_size() + (rank() < self.n % world_size()), 0
        share = share if most is None else min(share, most)
        seed_random_numbers(seed_of_rank(self.seed))
        with torch.no_grad():
            for batch in check_batches("sampler", self.sampler(share)) if share else ():
                sample, condition = parts_of(batch, "sampler")
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
            for full_name, value in results_of(name, metric):
                if full_name in results:
                    raise ArgumentValueError(f"two metrics give {full_name!r}: pass metrics as a dict of names")
                results[full_name] = value
        return results

    def _try(self, run: Run) -> None:
        """Find errors of an evaluation with a few samples, once, without a trace; all processes call this together."""
        began = run.iteration > self._started_at
        networks = [*networks_of(run.trainer).values()]
        if not began and any(is_lazy(each) for network in networks for each in network.parameters()):
            return  # a trial would initialize the layers, with other random numbers
        if world_size() > 1:
            meet(type(self).__name__, timeout=self.timeout)
        # Only some loaders can be read without a change to the training that reads them too.
        apart = self.real is not run.batches or isinstance(self.real, list | tuple | DataLoader) or restarts(self.real)
        lacking = {name: metric for name, metric in self._lacking_real().items() if apart}
        kept = {name: kept_states(metric) for name, metric in lacking.items()}
        before = random_state(self.real)
        problem: Exception | None = None
        count, doubtful = 0, False
        parts = self.sampler, self.real, [getattr(metric, "__dict__", None) for metric in self.metrics.values()]
        try:
            with untouched(*parts, networks=networks), torch.compiler.set_stance("force_eager"):
                self._reset()
                count, whole = self._try_real(lacking)
                doubtful = self._try_samples(whole=bool(lacking) and whole)
        except Exception as error:
            problem = error
        finally:
            for name, metric in lacking.items():
                forget_real(metric, kept[name])
            self._reset()
            load_random_state(before, self.real)
        severity = 0 if problem is None else _severity(problem, began=began)
        worst, most = agree(severity, count)
        self._tried = worst != 1 or began
        if severity == 2 and problem is not None:
            raise _explained(problem)
        if worst == 2:
            raise GanlibRuntimeError("an evaluation cannot work in another process: see its error") from problem
        if lacking and not worst and not most:
            raise ArgumentValueError(f"real (={shown(self.real)}) gave no samples")
        if doubtful:  # only the evaluation itself can tell
            try:
                with untouched(*parts, networks=networks):
                    self.measure()
            except (TrainingDivergedError, torch.OutOfMemoryError):
                pass
            except Exception as error:
                for name, metric in lacking.items():  # so that another Evaluate reads its own real samples
                    forget_real(metric, kept[name])
                    self._have_real.discard(name)
                raise _explained(error)  # noqa: B904 - it names its cause itself

    def _try_real(self, metrics: Mapping[str, Any]) -> tuple[int, bool]:
        """Add a few real samples; return how many were read, and whether these are all."""
        count, read = 0, list[Tensor]()
        if metrics:
            seed_random_numbers(self.seed, self.real)
            with torch.no_grad(), from_start(self.real) as loader:
                for batch in loader:
                    sample, _ = parts_of(batch, "real")
                    count += len(sample)
                    read += [sample] * (len(sample) > 0)
                    if count > _WHOLE:
                        break
        whole = count <= _WHOLE and world_size() == 1
        with torch.no_grad():
            for metric in metrics.values() if read else ():
                before = kept_states(metric)
                try:
                    for sample in read if whole else [read[0][:_FEW]]:
                        metric.update(sample, real=True)
                except Exception:  # a metric may need more samples at a time
                    if whole:
                        raise
                    forget_real(metric, before)
                    metric.update(read[0], real=True)
        return count, whole

    def _try_samples(self, *, whole: bool) -> bool:
        """Draw a few samples, and add them; return whether it is doubtful that so few samples give results."""
        try:
            self._add_samples(_WHOLE if whole else _FEW)
        except TrainingDivergedError:
            raise
        except Exception:  # a sampler may ignore n, and a metric may need more samples at a time
            for metric in self.metrics.values():
                metric.reset()
            self._add_samples()
        if world_size() > 1 or not (whole or self.n <= _FEW):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._results()
        except Exception:
            return True
        return False

    def _check_names(self, run: Run) -> None:
        """Refuse results with the name of a metric of the trainer, after the first iteration."""
        taken = run.metrics.keys() - run.logged.keys()
        if not taken.isdisjoint(self.metrics) and (same := taken & self.measure().keys()):
            raise ArgumentValueError(
                f"metrics: the metric {min(same)!r} was given by train_step, so no result can have that name: pass "
                "metrics as a dict of other names"
            )


def _check_signature(sampler: Any) -> None:
    try:
        signature = inspect.signature(sampler)
    except (TypeError, ValueError):  # functions in C may have none
        return
    try:
        signature.bind(1)
    except TypeError as error:
        raise ArgumentTypeError(
            f"sampler (={shown(sampler)}) must be a function of the number of samples, called as sampler(n): {error}"
        ) from None


def _severity(problem: Exception, *, began: bool) -> int:
    """Return 0 if an error of a trial says nothing, 1 if it may end with the first iteration, and 2 otherwise."""
    if isinstance(problem, TrainingDivergedError | torch.OutOfMemoryError):
        return 0  # the evaluation says so itself
    # A sampler may use what only training makes, such as the last batch.
    return 2 if began or isinstance(problem, GanlibError | TypeError | RuntimeError) else 1


def _explained(problem: Exception) -> Exception:
    """Return an error of ganlib's that explains why an evaluation cannot work."""
    if isinstance(problem, GanlibError):
        return problem
    error = ArgumentValueError(
        "Evaluate cannot evaluate with this sampler, these metrics and this real: a trial with a few samples raised "
        f"{type(problem).__name__}: {problem}"
    )
    error.__cause__ = problem
    return error


def _on_all(action: Callable[[], T]) -> T:
    """Run an action on every rank; if it fails on one, all raise an error, and no process waits for another."""
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
        raise GanlibRuntimeError("an evaluation failed in another process: see its error") from failure
    return result

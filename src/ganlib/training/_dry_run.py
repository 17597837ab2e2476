"""Run both networks once, without side effects, to report problems before training."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ganlib._ending import Ending, range_of
from ganlib._generators import generator_kind, generator_state, load_generator_state
from ganlib._held import held
from ganlib._logits import as_output, scales
from ganlib._nest import mapped, tensors_of
from ganlib._random import load_random_state, random_state
from ganlib._sampling import evaluating
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib._wrappers import unwrapped
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Batch, DiscriminatorOutput, Latent, Stateful
from ganlib.training._outputs import is_mixed
from ganlib.training._step._last_activation import last_activation, recorded_calls
from ganlib.training._step._networks import call, leaves_of

__all__ = ["Findings", "check_made", "draw_conditions_once", "draw_once", "dry_run", "used_parameters", "without_trace"]

T = TypeVar("T")

_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


class Findings(NamedTuple):
    """Collect what a dry run found out about the networks.

    Args:
        last_activation: the module that must be computed in float32 under autocast, or None.
        last_operation: the operation that bounds the samples, such as ``"tanh"``, with its bounds; None if it is
            another one or unknown.
        output: the discriminator's output, with its graph if the operations were searched.
        broadcast: whether each sample has a logit for each sample of the batch.
    """

    last_activation: nn.Module | None
    last_operation: Ending | None
    output: DiscriminatorOutput
    broadcast: bool


def dry_run(
    generator: nn.Module,
    discriminator: nn.Module,
    latent: Tensor,
    batch: Batch,
    fake_condition: Any,
    *,
    augment: Callable[[Tensor], Tensor] | None,
    autocast: AbstractContextManager[object],
    first: bool,
) -> Findings:
    """Run both networks in evaluation mode, without side effects.

    Args:
        generator: called with the latents and the fakes' conditions.
        discriminator: called with the batch.
        latent: (N, dim).
        batch: on the networks' device.
        fake_condition: the fakes' conditions, or None.
        augment: a function from samples to samples, or None.
        autocast: the context of the forward passes.
        first: whether to warn of samples in half precision, and to keep graphs, from which last operations are read.

    Returns:
        What was found out about the networks.

    Raises:
        ShapeError: the generator's samples have another shape than the batch.
        ArgumentValueError: a network cannot be called with these inputs.
    """
    sample, condition = batch
    with without_trace(augment, networks=(generator, discriminator)), evaluating(generator, discriminator), autocast:
        try:
            with recorded_calls(generator) as calls, _Unchanged("generator", None, fake_condition, warn=first):
                fake = _graphed(lambda: _make(generator, latent, fake_condition, sample), wanted=first)
        except GanlibError as error:
            if _makes(discriminator, latent, fake_condition, sample.shape):
                raise ArgumentValueError(
                    "generator and discriminator were given the wrong way round: discriminator returns samples for "
                    "latents"
                ) from error
            raise
        given = sample if augment is None else _augmented(augment, sample, warn=first)
        with _explained("discriminator", "sample", sample, condition, discriminator):
            # The graph of a network that is not compiled shows its last operation to the losses later.
            wanted = first and _is_compiled(discriminator)

            def discriminate() -> DiscriminatorOutput:
                return as_output(call(discriminator, given, condition))

            with _Unchanged("discriminator", given, condition, warn=first):
                output = _graphed(discriminate, wanted=wanted)
                if first and not wanted and is_mixed(output):
                    output = _graphed(discriminate, wanted=True)  # the graph shows whether logits are flattened maps
                broadcast = first and _is_broadcast(discriminator, given, condition, output)
        return Findings(last_activation(calls, fake.detach(), warn=first), range_of(fake), output, broadcast)


def used_parameters(
    generator: nn.Module,
    discriminator: nn.Module,
    latent: Tensor,
    fake_condition: Any,
    *,
    autocast: AbstractContextManager[object],
) -> set[int]:
    """Return the ids of the parameters on which the samples and their logits depend; empty if there is no graph.

    Args:
        generator: called with the latents and the fakes' conditions.
        discriminator: called with the samples and the fakes' conditions.
        latent: (N, dim).
        fake_condition: the fakes' conditions, or None.
        autocast: the context of the forward passes.
    """
    with (
        without_trace(),
        evaluating(generator, discriminator),
        autocast,
        _Unchanged("", None, fake_condition),
        contextlib.suppress(*_ERRORS),
        torch.enable_grad(),
    ):
        fake = call(generator, latent, fake_condition)
        return leaves_of((fake, tuple(as_output(call(discriminator, fake, fake_condition)))))
    return set()


def check_made(fake: Any) -> Tensor:
    """Return what a generator made.

    Raises:
        ArgumentTypeError: it is not a tensor.
    """
    if not isinstance(fake, Tensor):
        raise ArgumentTypeError(f"generator gave {type(fake).__name__}; it must give samples, a tensor")
    return fake


def draw_once(distribution: Latent, n: int, device: torch.device) -> Tensor:
    """Draw latents with a separate random generator; the distribution's own generator does not advance.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is not a distribution of latents.
    """
    try:
        latent = distribution(n, device=device, generator=torch.Generator(device).manual_seed(0))
    except GanlibError:
        raise
    except _ERRORS as error:
        raise _uncallable(
            f"latent (={shown(distribution)}) cannot be called as latent(n, device=..., generator=...)", error
        ) from error
    if not isinstance(latent, Tensor) or latent.shape[:1] != (n,):
        what = tuple(latent.shape) if isinstance(latent, Tensor) else type(latent).__name__
        raise ArgumentValueError(f"latent (={shown(distribution)}) gave {what} for n (={n}); it must give (n, dim)")
    return latent


def draw_conditions_once(fake_conditions: Callable[[int], Any], n: int) -> Any:
    """Draw conditions for n fakes.

    Raises:
        ArgumentTypeError, ArgumentValueError: the function fails.
    """
    try:
        return fake_conditions(n)
    except GanlibError:
        raise
    except _ERRORS as error:
        raise _uncallable(
            f"fake_conditions (={shown(fake_conditions)}) cannot be called as fake_conditions(n), with n (={n}), the "
            "number of fakes",
            error,
        ) from error


def _uncallable(message: str, error: Exception) -> GanlibError:
    kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentValueError
    return kind(f"{message}: {type(error).__name__}: {error}")


def _augmented(augment: Callable[[Tensor], Tensor], sample: Tensor, *, warn: bool) -> Tensor:
    try:
        with _Unchanged("augment", sample, None, warn=warn):
            given: Any = augment(sample)
            given = given.clone() if given is sample else given  # the samples are restored
    except GanlibError:
        raise
    except _ERRORS as error:
        name = f"augment (={shown(augment)})"
        raise _uncallable(f"{name} cannot be called with sample {tuple(sample.shape)}", error) from error
    if not isinstance(given, Tensor):
        raise ArgumentTypeError(f"augment (={shown(augment)}) gave {type(given).__name__}; it must give samples")
    return given


class _Unchanged:
    """Restore samples and conditions at the end of the context; warn if the part changed them in place."""

    # A class, since a warning from a generator of contextlib would not point at the user's line.

    def __init__(self, name: str, sample: Any, condition: Any, *, warn: bool = False) -> None:
        given = {"samples": sample, "conditions": condition}
        self._name = name
        self._before = [(what, tensor, tensor.clone()) for what, nest in given.items() for tensor in tensors_of(nest)]
        self._warn = warn

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *details: object) -> None:
        changed = [what for what, tensor, before in self._before if not torch.equal(tensor, before)]
        if not changed:
            return
        with torch.no_grad():
            for _, tensor, before in self._before:
                tensor.copy_(before)
        if self._warn and kind is None:
            warn_user(
                f"{self._name} changes its {changed[0]} in place (by inplace=True in its first layer, for example): "
                "what the loader holds, and what other networks, penalties and losses receive, changes too. Use "
                "inplace=False there, or an operation that returns a new tensor"
            )


@contextmanager
def without_trace(*parts: Any, networks: Sequence[nn.Module] = ()) -> Iterator[None]:
    """Restore all states and random generators at the end of the context; create no graph and compile nothing."""
    random_numbers = random_state()
    roots = [*parts, *(module for network in networks for module in network.modules())]
    reached = {id(one): one for root in roots for one in held(root, closed=(nn.Module,)) if generator_kind(one)}
    generators = [(one, generator_state(one)) for one in reached.values()]
    states = [(part, copy.deepcopy(part.state_dict())) for part in parts if isinstance(part, Stateful)]
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        load_random_state(random_numbers)
        for one, numbers in generators:
            load_generator_state(one, numbers)
        for part, state in states:
            part.load_state_dict(state)


def _graphed(run: Callable[[], T], *, wanted: bool) -> T:
    """Run with a graph if one is wanted and the network allows it; otherwise run without a graph."""
    if wanted:
        with contextlib.suppress(*_ERRORS), torch.enable_grad():
            return run()
    return run()


def _is_broadcast(discriminator: nn.Module, sample: Tensor, condition: Any, output: DiscriminatorOutput) -> bool:
    """Return whether a size of the logits, other than the first, is the number of samples, and changes with it."""
    n, shapes = len(sample), [scale.shape for scale in scales(output)]
    if n < 2 or not any(n in shape[1:] for shape in shapes):
        return False
    with contextlib.suppress(*_ERRORS):
        fewer = as_output(call(discriminator, sample[:-1], mapped(condition, lambda tensor: tensor[:-1])))
        pairs = zip(shapes, [scale.shape for scale in scales(fewer)], strict=True)
        return any((n, n - 1) in zip(shape[1:], other[1:], strict=True) for shape, other in pairs)
    return False


def _is_compiled(network: nn.Module) -> bool:
    return any(part is not unwrapped(part) or part._compiled_call_impl is not None for part in network.modules())


def _make(generator: nn.Module, latent: Tensor, condition: Any, sample: Tensor) -> Tensor:
    with _explained("generator", "latent", latent, condition, generator):
        fake = call(generator, latent, condition)
    fake = check_made(fake)
    if fake.shape != sample.shape:
        raise ShapeError(
            f"sample {tuple(sample.shape)} must have the shape that generator makes, {tuple(fake.shape)}"
            + (": permute its channels to the front" if _channels_are_last(sample, fake) else "")
        )
    return fake


def _makes(network: nn.Module, latent: Tensor, condition: Any, shape: torch.Size) -> bool:
    try:
        made = call(network, latent, condition)
    except _ERRORS:
        return False
    return isinstance(made, Tensor) and made.shape == shape


def _channels_are_last(sample: Tensor, fake: Tensor) -> bool:
    return sample.ndim == fake.ndim > 2 and sample.movedim(-1, 1).shape == fake.shape


@contextmanager
def _explained(name: str, argument: str, x: Tensor, condition: Any, network: nn.Module) -> Iterator[None]:
    try:
        yield
    except GanlibError:
        raise
    except _ERRORS as error:
        hint = ""
        if isinstance(error, TypeError):
            hint = (
                " (the batches have no conditions)"
                if condition is None
                else " (conditioning.Unconditional wraps a network that ignores conditions)"
            )
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), x.dtype)
        if dtype != x.dtype and isinstance(error, RuntimeError):
            hint = f" (its weights are {dtype}: pass it {argument}s of that dtype, or choose a precision)"
        shapes = tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf, condition)
        given = "no condition" if condition is None else f"condition {shapes}"
        raise ArgumentValueError(
            f"{name} cannot be called with {argument} {tuple(x.shape)} of {x.dtype} and {given}: {error}{hint}"
        ) from error

"""Apply the transforms of a ``TensorLoader`` to whole batches, or to single samples as torchvision does."""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._clamping import clamps, of_package
from ganlib._held import held
from ganlib._random import mixed_seed, seeded
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError

__all__ = ["Transforms", "scaled"]

_TRIED = 8  # samples
_FAR = 10.0  # normalized values do not go beyond this


class Transforms:
    """Scale and transform the samples of a batch; a joint transform changes the conditions too.

    Args:
        transform: ``(samples, generator) -> samples``, ``sample -> sample``, or None.
        joint_transform: ``(samples, condition, generator) -> (samples, condition)``, a transform of torchvision, or
            None.

    Raises:
        ArgumentTypeError: if a transform cannot be called, or contains parts that must be called in another way.
        ArgumentValueError: if both are given, or one adapts to the discriminator's logits.
    """

    def __init__(self, transform: Callable[..., Any] | None, joint_transform: Callable[..., Any] | None) -> None:
        for name, value in (("transform", transform), ("joint_transform", joint_transform)):
            if not (value is None or callable(value)) or isinstance(value, type):
                several = isinstance(value, tuple | list)
                hint = "; pass v2.Compose of them, or one function (samples, generator) that calls them"
                raise ArgumentTypeError(
                    f"{name} (={shown(value)}) must be callable and not a class, or None{hint if several else ''}"
                )
        if transform is not None and joint_transform is not None:
            raise ArgumentValueError(
                f"transform (={shown(transform)}) and joint_transform (={shown(joint_transform)}) exclude each other: "
                "let the joint transform change the samples too"
            )
        if _of_augment(transform) and type(transform).__name__ == "Joint":
            raise ArgumentTypeError(
                f"transform (={shown(transform)}) changes the condition too: Joint is a joint_transform, pass it as "
                "joint_transform"
            )
        if _of_augment(joint_transform) and type(joint_transform).__name__ != "Joint":
            raise ArgumentTypeError(
                f"joint_transform (={shown(joint_transform)}) changes samples without their condition: put it into "
                "augment.Joint(...)"
            )
        self._joint = joint_transform is not None
        self._name = "joint_transform" if self._joint else "transform"
        self._transform = joint_transform if self._joint else transform
        self._single = False
        if self._transform is not None:
            self._single = of_package(self._transform) if self._joint else _takes_one(self._transform)
        parts = self._transform.modules() if isinstance(self._transform, nn.Module) else ()
        if any(hasattr(part, "observe") and getattr(part, "target", None) is not None for part in parts):
            raise ArgumentValueError(
                f"{self._shown()} adapts to the discriminator's logits, which a loader does not get: pass it to the "
                "trainer as augment, or give it target=None and a p"
            )
        if self._joint and self._single and not of_package(joint_transform, "torchvision.transforms.v2"):
            raise ArgumentTypeError(
                f"{self._shown()} is one of torchvision.transforms, which changes only one input: use the one "
                "of torchvision.transforms.v2"
            )

    @property
    def given_as_stored(self) -> bool:
        """Return whether the transform gets samples as they are stored, before scaling."""
        return self._single

    def __bool__(self) -> bool:
        return self._transform is not None

    def __call__(self, samples: Tensor, conditions: list[Tensor], seeds: tuple[int, ...]) -> list[Tensor]:
        """Return the samples as floats, and the conditions.

        Args:
            samples: (N, C, ...) as they are stored; may be overwritten.
            conditions: a list of no or one tensor.
            seeds: seeds of the random numbers.
        """
        if self._transform is None:
            return [scaled(samples), *conditions]
        return self._applied(self._transform, samples, conditions, seeds)

    def _applied(
        self, transform: Callable[..., Any], samples: Tensor, conditions: list[Tensor], seeds: tuple[int, ...]
    ) -> list[Tensor]:
        given = f"{tuple(samples.shape)[1:]} of {samples.dtype}"
        try:
            return self._called(transform, samples, conditions, seeds)
        except (GanlibError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentValueError
            raise kind(
                f"{self._shown()} fails on samples {given}: {type(error).__name__}: {str(error).rstrip('.')}"
                f"{self._form(samples)}"
            ) from error

    def _called(
        self, transform: Callable[..., Any], samples: Tensor, conditions: list[Tensor], seeds: tuple[int, ...]
    ) -> list[Tensor]:
        count = len(samples)
        if not self._single:
            samples = scaled(samples)
            generator = torch.Generator(samples.device).manual_seed(mixed_seed(*seeds))
            given = (samples, *conditions) if self._joint else (samples,)
            result = transform(*given, generator)
            result = self._pair(result) if self._joint else [self._checked(result), *conditions]
        else:
            with seeded(mixed_seed(*seeds)):
                result = self._one_by_one(transform, samples, conditions)
        for tensor in result:
            if tensor.ndim == 0 or len(tensor) != count:
                raise ShapeError(f"{self._shown()} made {tuple(tensor.shape)} of {count} samples")
        return result

    def try_on(self, samples: Tensor, conditions: list[Tensor]) -> None:
        """Apply a copy of the transform to the first samples, without side effects.

        Args:
            samples: (N, C, ...) as they are stored.
            conditions: a list of no or one tensor.

        Raises:
            ArgumentTypeError, ArgumentValueError: if the transform does not fit the samples.
        """
        if self._transform is None:
            return
        self._check_conditions(samples, conditions)
        if self._single:
            samples, conditions = samples[:_TRIED], [condition[:_TRIED] for condition in conditions]
        try:
            tried = copy.deepcopy(self._transform)
        except Exception:  # it cannot be copied, so the original is called
            tried = self._transform
        with seeded(0), _watched(tried, samples.ndim - 1 if self._single else -1):
            results = self._applied(tried, samples.clone(), [each.clone() for each in conditions], (0,))
        if not all(result.isfinite().all() for result in results):
            raise ArgumentValueError(f"{self._shown()} returns samples that are not finite")
        result = results[0]
        if self._single and not self._joint and samples.is_floating_point() and samples.min() < 0 == result.min():
            self._refuse_clamping(tried, samples)
        if self._single and samples.dtype == torch.uint8 and result.abs().max() > _FAR:
            raise ArgumentValueError(
                f"{self._shown()} returns floats from {result.min():.4g} to {result.max():.4g} for uint8 samples, and "
                "floats are not scaled: return uint8, or scale them, by "
                "v2.ToDtype(torch.float32, scale=True) and v2.Normalize([0.5], [0.5]) for example"
            )

    def _refuse_clamping(self, tried: Callable[..., Any], samples: Tensor) -> None:
        """Detect clamping to [0, 1] with constant samples, because hooks do not see torchvision's functions."""
        try:
            below, above = (self._called(tried, torch.full_like(samples, value), [], (0,))[0] for value in (-0.5, 0.25))
        except Exception:  # it does not accept constants, so nothing is known
            return
        if bool((below == 0).all()) and bool(((above > 0) & (above < 1)).all()):
            raise ArgumentValueError(
                f"{self._shown()} clamps floats to [0, 1], but it gets values from {samples.min():.4g} to "
                f"{samples.max():.4g}: change them while they are in [0, 1], or pass uint8 samples"
            )

    def _check_conditions(self, samples: Tensor, conditions: list[Tensor]) -> None:
        if self._joint:
            if not conditions:
                raise ArgumentValueError(
                    f"{self._shown()} needs conditions, but the data set has no conditions: pass transform"
                )
            return
        for condition in conditions:
            spatial = samples.ndim > 2 and condition.shape[1:] == samples.shape[2:]
            sequences = condition.ndim == samples.ndim == 3 and condition.shape[2] != samples.shape[2]
            if condition.ndim >= 3 and (spatial or (condition.ndim == samples.ndim and not sequences)):
                raise ArgumentValueError(
                    f"{self._shown()} would change the samples {tuple(samples.shape)} and not their maps "
                    f"{tuple(condition.shape)}: pass joint_transform instead, (samples, condition, generator) -> "
                    "(samples, condition), such as augment.Joint(augment.RandomHorizontalFlip()), or where only values "
                    "change, lambda s, c, generator: (transform(s, generator), c)"
                )

    def _one_by_one(self, transform: Callable[..., Any], samples: Tensor, conditions: list[Tensor]) -> list[Tensor]:
        """Call the transform once per sample, since torchvision draws one set of random numbers per call."""
        if self._joint:
            from torchvision import tv_tensors

            made = [
                self._pair(transform(tv_tensors.Image(sample), tv_tensors.Mask(each) if each.ndim > 1 else each))
                for sample, each in zip(samples, conditions[0], strict=True)
            ]
            return [scaled(self._stacked([sample for sample, _ in made])), self._stacked([each for _, each in made])]
        made_samples = [self._checked(transform(sample)) for sample in samples]
        return [scaled(self._stacked(made_samples)), *conditions]

    def _stacked(self, tensors: list[Tensor]) -> Tensor:
        kinds = {(tuple(tensor.shape), tensor.dtype) for tensor in tensors}
        if len(kinds) > 1:
            (shape, dtype), (other, its), *_ = sorted(kinds, key=str)
            raise ShapeError(
                f"{self._shown()} must return samples of one shape and dtype, but returned {shape} of {dtype} and "
                f"{other} of {its}"
            )
        return torch.stack(tensors)

    def _pair(self, result: Any) -> list[Tensor]:
        if not isinstance(result, tuple | list) or len(result) != 2 or not isinstance(result[1], Tensor):
            raise ArgumentTypeError(f"{self._shown()} must return (samples, condition), two tensors")
        return [self._checked(result[0]), result[1].as_subclass(Tensor)]

    def _checked(self, result: Any) -> Tensor:
        """Return a plain tensor of samples."""
        if not isinstance(result, Tensor):
            raise ArgumentTypeError(f"{self._shown()} must return a tensor, but returned a {type(result).__name__}")
        if not (result.is_floating_point() or (self._single and result.dtype == torch.uint8)):
            raise DTypeError(f"{self._shown()} must return floats, but returned {result.dtype}")
        return result.as_subclass(Tensor)

    def _shown(self) -> str:
        return f"{self._name} (={shown(self._transform)})"

    def _form(self, samples: Tensor) -> str:
        """Return the required form of the transform, for errors."""
        if self._joint:
            return "; it must take (samples, condition, generator), or be one of torchvision.transforms.v2"
        if not (self._single and of_package(self._transform)):
            return "; it must take (samples, generator), or a single sample as it is in the data set"
        parts = {type(part).__name__ for part in held(self._transform, within=12)}
        if samples.dtype == torch.uint8 and parts & {"ToTensor", "Normalize"}:
            return (
                "; it is given uint8 tensors: leave ToTensor out, and put v2.ToDtype(torch.float32, scale=True) before "
                "v2.Normalize"
            )
        return f"; it is given tensors (C, H, W) of {samples.dtype}, one at a time" if samples.ndim == 4 else ""


def scaled(samples: Tensor) -> Tensor:
    """Scale bytes to [-1, 1]; floats are not changed."""
    if samples.dtype == torch.uint8:
        return samples.to(torch.get_default_dtype()).div_(127.5).sub_(1)
    return samples


def _takes_one(transform: Any) -> bool:
    """Return whether a transform takes a sample instead of a batch and a generator."""
    if of_package(transform):
        return True
    try:
        signature = inspect.signature(transform.forward if isinstance(transform, nn.Module) else transform)
    except (TypeError, ValueError):  # functions in C have no signature, for example those of torch
        return True
    try:
        signature.bind(None, None)
    except TypeError:
        return True
    _, second, *_ = [*signature.parameters.values(), None]
    if second is None or second.kind is second.VAR_POSITIONAL or second.default is second.empty:
        return False
    # An optional second argument is a generator only if its name or annotation says so.
    return not ("gen" in second.name.lower() or second.name == "rng" or "Generator" in str(second.annotation))


def _of_augment(transform: Any) -> bool:
    """Return whether a transform belongs to ``ganlib.augment``, which this package does not import."""
    return type(transform).__module__.startswith("ganlib.augment.")


@contextmanager
def _watched(transform: Any, of_sample: int) -> Iterator[None]:
    """Raise an error in this context if a module inside a transform gets input that it would silently misinterpret."""
    parts = [part for part in held(transform, within=12) if isinstance(part, nn.Module)]
    hooks = [part.register_forward_pre_hook(_refuse) for part in parts if of_package(part)]
    hooks += [
        part.register_forward_pre_hook(partial(_refuse_sample, ndim=of_sample))
        for part in parts
        if of_package(part, "ganlib.augment")
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_sample(module: nn.Module, inputs: tuple[Any, ...], *, ndim: int) -> None:
    """Refuse a single sample, because a transform of ganlib would treat its channels as samples."""
    if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == ndim:
        raise ArgumentTypeError(
            f"transform is called with one sample at a time, but holds a {type(module).__name__} of ganlib, which "
            "takes a batch: pass a function (samples, generator) that calls all parts with the whole batch"
        )


def _refuse(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Refuse input that a torchvision transform would clamp, or leave unscaled."""
    name, given = type(module).__name__, inputs[0] if inputs else None
    if not isinstance(given, Tensor):
        return
    if name == "ToTensor":
        raise ArgumentTypeError(
            "transform contains ToTensor, which does not change tensors, and TensorLoader's samples are tensors: "
            "leave it out; bytes are scaled to [-1, 1], or use v2.ToDtype(torch.float32, scale=True)"
        )
    if clamps(module) and given.is_floating_point() and given.numel():
        low, high = (float(value) for value in given.aminmax())
        if low < 0 or high > 1:
            raise ArgumentValueError(
                f"transform contains {name}, which clamps floats to [0, 1], but it gets values from {low:.4g} to "
                f"{high:.4g}: apply it before they are normalized, or pass uint8 samples"
            )

"""Read the batches of a GAN in any of their forms, and check them before training on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from ganlib._logits import scales, warn_of_probabilities
from ganlib._shown import shown
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import Batch, ConditionChecker, Latent
from ganlib.training._dry_run import draw_conditions_once, draw_once, dry_run, used_parameters, without_trace
from ganlib.training._outputs import warn_of_outputs
from ganlib.training._samples import warn_of_clamps, warn_of_colors, warn_of_maps, warn_of_samples
from ganlib.training._step._joint_pass import warn_of_joint_statistics
from ganlib.training._step._networks import move
from ganlib.training._step._precision import Precision
from ganlib.training._untrained import find_untrained, warn_of_untrained

__all__ = ["CONDITION_KEY", "BatchReader"]

CONDITION_KEY = "label"

_INDICES = (torch.int8, torch.int16, torch.int32, torch.uint8)  # dtypes of class indices, as in TensorLoader
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# Interpolation may move a sample out of its range by a rounding error.
_TOLERANCE = 1e-3


class BatchReader:
    """Read batches as users pass them, and check them.

    The reader checks the values of every batch on the CPU, where reading them does not wait for a device. It checks the
    values of a batch on a device only if the batch is the first of its kind. For each new kind of batch it runs both
    networks once, in evaluation mode, without side effects.

    Args:
        generator: its samples must have the shape of the batch's samples.
        discriminator: must accept the samples.
        latent: the distribution of latents.
        fake_conditions: a function from n to n conditions, or None.
        augment: a function from samples to samples, or None.
        optimizers: the optimizers of the networks.
        loss: the adversarial loss, which decides whether probabilities are valid logits.
        penalties: the penalties.
        auxiliary_losses: the auxiliary losses.
        joint_pass: whether the discriminator runs once on real and fake samples together.
        precision: precision of the dry run.
        channels_last: whether samples use the channels-last memory format.
        sample_key: key of the samples in batches that are dicts.
        condition_key: key of the conditions in batches that are dicts; None if there are no conditions.

    Attributes:
        last_activation: the generator's last activation if it must be computed in float32 under autocast, or None.
    """

    # A recorded step does not read these.
    unrecorded: ClassVar[tuple[str, ...]] = ("_optimizers",)

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: Latent,
        fake_conditions: Callable[[int], Any] | None,
        augment: Callable[[Tensor], Tensor] | None,
        *,
        optimizers: Sequence[torch.optim.Optimizer],
        loss: object,
        penalties: Sequence[Any],
        auxiliary_losses: Sequence[Any],
        joint_pass: bool,
        precision: Precision,
        channels_last: bool,
        sample_key: str,
        condition_key: str | None,
    ) -> None:
        self.last_activation: nn.Module | None = None
        self._generator = generator
        self._discriminator = discriminator
        self._latent = latent
        self._fake_conditions = fake_conditions
        self._augment = augment
        self._optimizers = optimizers
        # A loss of the user's own may expect probabilities.
        self._loss = loss if type(loss).__module__.startswith("ganlib.") else None
        self._penalties = penalties
        self._auxiliary_losses = auxiliary_losses
        self._joint_pass = joint_pass
        self._precision = precision
        self._channels_last = channels_last
        self._keys = sample_key, condition_key
        self._kind: Any = None
        self._checkers: list[ConditionChecker] | None = None

    def __call__(self, item: Any) -> Batch:
        """Read one batch.

        Args:
            item: what a loader returned.

        Returns:
            The batch, on the device where it was.

        Raises:
            ArgumentValueError, ArgumentTypeError: it cannot be trained on.
        """
        batch = self._read(item)
        sample, condition = batch
        one = condition is None or isinstance(condition, Tensor)  # the usual case, which needs no tree_flatten
        given, structure = ([condition] if condition is not None else [], None) if one else tree_flatten(condition)
        leaves = [sample, *given]
        # The discriminator's mode belongs to the kind, since its forward pass may depend on it.
        kind = [(leaf.shape[1:], leaf.dtype) for leaf in leaves], structure, self._discriminator.training
        new = kind != self._kind
        if new:  # not at every batch, since the search takes longer than all the checks
            self._checkers = self._find_checkers()
        self._check_sample(sample, whatever_the_device=new)
        _check_lengths(leaves[1:], len(sample), "condition")
        if condition is not None and (new or all(leaf.device.type == "cpu" for leaf in leaves[1:])):
            self.check_conditions(condition)
            if any(leaf.is_floating_point() and bool(leaf.isnan().any()) for leaf in leaves[1:]):
                raise ArgumentValueError("condition holds NaN")
        if new:
            self._try(batch, first=self._kind is None)
            self._kind = kind
        return batch

    def fake_conditions(self, n: int) -> Any:
        """Draw conditions for n fakes.

        Raises:
            ArgumentTypeError, ShapeError: they are not n conditions.
        """
        assert self._fake_conditions is not None
        return self._as_conditions(self._fake_conditions(n), n)

    def _as_conditions(self, drawn: Any, n: int) -> Any:
        condition = _as_condition(drawn, name="fake_conditions")
        _check_lengths(tree_leaves(condition), n, "fake_conditions")
        return condition

    def check_conditions(self, condition: Any) -> None:
        """Refuse conditions that an encoder in a network cannot take.

        Args:
            condition: any number of conditions.

        Raises:
            ArgumentValueError, ArgumentTypeError: an encoder refuses them.
        """
        condition = tree_map(lambda leaf: leaf.cpu(), condition)
        for checker in self._find_checkers() if self._checkers is None else self._checkers:
            checker.check(condition)

    def _read(self, item: Any) -> Batch:
        if isinstance(item, Mapping):
            parts: Any = self._of_mapping(item)
        else:
            parts = (item,) if isinstance(item, Tensor) else item
        if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 2:
            what = f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__
            raise ArgumentTypeError(
                f"a batch (={what}) must be a tensor of samples, (sample,), (sample, condition), a Batch, or a dict; "
                "several conditions are one tuple or dict of them: (sample, (class, angle))"
            )
        sample, condition = parts if len(parts) == 2 else (parts[0], None)
        if not isinstance(sample, Tensor):
            raise ArgumentTypeError(f"sample must be a tensor, but it is a {type(sample).__name__}")
        sample = _dense(sample, "sample")
        if sample.ndim == 0:
            raise ShapeError("sample () must have a batch dimension")
        if sample.requires_grad:  # its graph ends in the data set, which is not trained
            sample = sample.detach()
        return Batch(sample, None if condition is None else _as_condition(condition))

    def _of_mapping(self, item: Mapping[Any, Any]) -> tuple[Any, ...]:
        sample_key, condition_key = self._keys
        if sample_key not in item:
            raise ArgumentValueError(
                f"sample_key (={shown(sample_key)}) is not in the batch, whose keys are {_keys(item)}"
            )
        if condition_key is None or ([*item] == [sample_key] and condition_key == CONDITION_KEY):
            return (item[sample_key],)
        if condition_key not in item:
            raise ArgumentValueError(
                f"condition_key (={shown(condition_key)}) is not in the batch, whose keys are "
                f"{_keys(item)}; None trains without conditions"
            )
        return item[sample_key], item[condition_key]

    def _find_checkers(self) -> list[ConditionChecker]:
        """Find the encoders that receive the whole condition; those inside a user's network may receive a part."""
        found = []
        for network in (self._generator, self._discriminator):
            module: Any = network
            while module is not None:
                takers = module.modules() if getattr(module, "needs_condition", False) else [module]
                found += [getattr(taker, "encoder", None) for taker in takers]
                module = getattr(module, "module", None)
        shared = {id(encoder): encoder for encoder in found if isinstance(encoder, ConditionChecker)}
        return list(shared.values())  # several layers may share an encoder; it checks once

    def _check_sample(self, sample: Tensor, *, whatever_the_device: bool) -> None:
        if sample.dtype not in _FLOATS:
            how = (
                "scale bytes to the generator's range, by x / 127.5 - 1 for [-1, 1], in data.map_loader for example"
                if sample.dtype == torch.uint8
                else "convert it by .float(), and scale it to the generator's range"
            )
            raise DTypeError(f"sample must be floating point, but its dtype is {sample.dtype}; {how}")
        if sample.numel() == 0:
            raise ShapeError(f"sample {tuple(sample.shape)} holds no {'values' if len(sample) else 'samples'}")
        if whatever_the_device or sample.device.type == "cpu":
            low, high = (float(value) for value in sample.detach().aminmax())
            if not (abs(low) < float("inf") and abs(high) < float("inf")):
                raise ArgumentValueError(f"sample holds values that are not finite (from {low} to {high})")
            bounds = getattr(self._generator, "sample_range", None)
            if bounds is not None and (low < bounds[0] - _TOLERANCE or high > bounds[1] + _TOLERANCE):
                raise ArgumentValueError(
                    f"sample lies in [{low:.4g}, {high:.4g}], but the generator's sample_range is "
                    f"[{bounds[0]:.4g}, {bounds[1]:.4g}]"
                )

    def _try(self, batch: Batch, *, first: bool) -> None:
        parameter = next(self._generator.parameters())
        device, n = parameter.device, len(batch.sample)
        batch = move(batch, device, channels_last=self._channels_last)
        with without_trace(self._fake_conditions, self._latent):
            fake_condition = batch.condition
            if self._fake_conditions is not None:
                fake_condition = self._as_conditions(draw_conditions_once(self._fake_conditions, n), n)
                self.check_conditions(fake_condition)
                fake_condition = move(fake_condition, device, channels_last=False)
            latent = draw_once(self._latent, n, device).to(parameter.dtype)
        found = dry_run(
            self._generator,
            self._discriminator,
            latent,
            batch,
            fake_condition,
            augment=self._augment,
            autocast=self._precision.autocast(device.type),
            first=first,
        )
        self.last_activation = found.last_activation
        if first and rank() == 0:
            sample_range = getattr(self._generator, "sample_range", None)
            warn_of_samples(batch.sample, sample_range, found.last_operation)
            warn_of_colors(self._augment, sample_range, found.last_operation)
            warn_of_clamps(self._augment, batch.sample)
            warn_of_maps(self._augment, batch.sample, batch.condition)
            warn_of_outputs(found.output, n, self._penalties, self._auxiliary_losses, broadcast=found.broadcast)
            networks = {"generator": self._generator, "discriminator": self._discriminator}
            # The update looks for parts in plain containers, in any game.
            if untrained := [one for one in find_untrained(networks, self._optimizers) if one.container is None]:
                autocast = self._precision.autocast(device.type)
                used = used_parameters(self._generator, self._discriminator, latent, fake_condition, autocast=autocast)
                warn_of_untrained(untrained, used)
            if self._joint_pass:
                warn_of_joint_statistics(self._discriminator)
            for logits in scales(found.output):  # later, a compiled discriminator would hide its last operation
                warn_of_probabilities(self._loss, logits)


def _dense(tensor: Tensor, name: str) -> Tensor:
    """Return a dense tensor with values, or raise; copy a tensor that was made in inference mode."""
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type == "meta":
        kind = "nested" if tensor.is_nested else tensor.device if tensor.device.type == "meta" else tensor.layout
        raise ArgumentTypeError(f"{name} must be a dense tensor with values, but it is {kind}: call to_dense() first")
    return tensor.clone() if tensor.is_inference() else tensor


def _check_lengths(leaves: list[Tensor], n: int, name: str) -> None:
    for leaf in leaves:
        if leaf.ndim == 0 or len(leaf) != n:
            raise ShapeError(f"{name} {tuple(leaf.shape)} must have one entry for each of the {n} samples")


def _as_condition(condition: Any, where: str = "it is", name: str = "condition") -> Any:
    """Check the condition and turn its lists into tuples, since torch collates the tuples of a data set into lists."""
    if isinstance(condition, Tensor):
        condition = _dense(condition, name)
        return condition.long() if condition.dtype in _INDICES and condition.ndim == 1 else condition
    inside = f"the {type(condition).__name__} holds"
    if isinstance(condition, dict):
        return {key: _as_condition(value, inside, name) for key, value in condition.items()}
    if isinstance(condition, tuple | list):
        parts = [_as_condition(value, inside, name) for value in condition]
        return type(condition)(*parts) if hasattr(condition, "_fields") else tuple(parts)
    raise ArgumentTypeError(
        f"{name} must be a tensor, None, or a dict or tuple of tensors, but {where} {shown(condition)}"
    )


def _keys(item: Mapping[Any, Any]) -> str:
    return ", ".join(map(shown, [*item][:10])) + (", ..." if len(item) > 10 else "")

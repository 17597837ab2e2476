"""Average the weights of a module."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ganlib._averages import note_average
from ganlib._checks import check_fraction
from ganlib._devices import widest
from ganlib._shown import described, shown
from ganlib._spectral import SpectralVectors, spectral_vectors
from ganlib._warning import warn_user
from ganlib._weights import keep_check
from ganlib._wrappers import in_fsdp, renamed, unwrapped
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError
from ganlib.protocols import Run
from ganlib.training._callbacks._copied import computed, copied
from ganlib.training._callbacks._trained import optimizers_in
from ganlib.training._step._networks import held_by

__all__ = ["EMA"]

_Pair: TypeAlias = tuple[Tensor, Tensor]
_check_decay = partial(check_fraction, below_1=True)
_NEW = "make a new EMA of a module that has grown or was changed"


class EMA(nn.Module):
    r"""Keep an exponential moving average of a module's weights; an averaged generator makes better samples.

    The n-th update (n = 0, 1, ...) is

    .. math:: \bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
        d_n = \min\left(\text{decay}, \frac{1 + n}{10 + n}\right),

    so the average soon forgets the untrained weights. Buffers, such as the statistics of batch norm, are copied.

    The decay may change during a run: pass a tensor, and let a :class:`Schedule` write into it. For an average that
    counts its half-life in samples, see :func:`half_life_decay`. The limit :math:`(1 + n) / (10 + n)` applies to such a
    decay too.

    As a callback of :func:`fit`, the EMA updates after each iteration. In your own training loop, call ``update()``
    after each step of the optimizer. The average has the mode of the module at the start, usually training mode. If it
    has batch norm or dropout, call ``ema.eval()`` before you use it. Calling the EMA calls the average.

    The EMA is an ``nn.Module``: ``.to()`` moves the average, and ``state_dict()`` contains the average and the number
    of updates. A run that is resumed with another decay uses the new one, with a warning if both are numbers. Lightning
    saves the EMA as a part of your module. The trained module is not a submodule of it.

    The EMA averages parameters. Under weight norm, pruning or another parametrization, it averages the parameters that
    a weight is computed from. A spectral norm is different: its vectors follow the averaged weight, by one power
    iteration in each update. The vectors of the trained module do not fit the averaged weight: with them, the norm of a
    layer would be well above 1.

    Weights in half precision are averaged in float32, and ``module`` stays in float32 even after ``.half()`` or
    ``.to(torch.bfloat16)``. In half precision, steps as small as :math:`1 - \text{decay}` are lost. The EMA accepts
    inputs in half precision; ``ema.module`` needs float32.

    Args:
        module: the module to train. The average starts as a copy of it. For a compiled or distributed module, the inner
            module is averaged; for another EMA, its average.
        decay: the decay, in [0, 1): a number, or a floating-point tensor () on the CPU, which each update reads. The
            state does not contain it, since a schedule writes it again. Use float64: in float32, a decay near 1 has few
            digits. In ``callbacks``, put the EMA before its schedule. Then an update uses the decay that the schedule
            wrote before the iteration, as the iteration itself does; otherwise it uses the decay of the next one.

    Attributes:
        module: the average, a module like the trained one. Its parameters do not require gradients.

    Raises:
        ArgumentTypeError: ``module`` is not an ``nn.Module``, is TorchScript or sharded, or cannot be copied, for
            example because a ``forward`` was replaced by a function that uses its weights; or ``decay`` is a tensor of
            another kind, a parameter or a buffer.
        ArgumentValueError: ``decay`` is not in [0, 1), or weights have no values yet (lazy layers, the meta device).

    Warns:
        UserWarning: if a hook or a function in ``module`` uses its weights in a way that a copy cannot change; and when
            a run starts, if no optimizer of the trainer trains ``module``, or the run is resumed with another decay.

    Example:
        >>> generator = nn.Linear(100, 784)
        >>> ema = EMA(generator, decay=0.99)
        >>> ema.update()
        >>> ema.module
        Linear(in_features=100, out_features=784, bias=True)
        >>> ema(torch.zeros(4, 100)).shape
        torch.Size([4, 784])

        A decay that changes, as in R3GAN: the half-life grows from 0 to 500,000 images in the first half of the run.

        >>> from ganlib import training
        >>> half_life = training.cosine_ramp(0, 500_000, until=0.5)
        >>> decay = torch.zeros((), dtype=torch.float64)
        >>> ema = EMA(generator, decay)
        >>> callbacks = [ema, training.Schedule(decay, training.half_life_decay(half_life, batch_size=256))]

    References:
        Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
        arXiv:1710.10196, appendix A.

        The warm-up of the decay: TensorFlow, ``ExponentialMovingAverage(num_updates=...)``,
        https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage.
    """

    is_average = True  # models.save_generator saves its module
    unrecorded: ClassVar[tuple[str, ...]] = (
        "_updates",
        "_parts",
        "_children",
        "_norms",
        "_live",
        "_first",
        "_saved_decay",
        "decay",
    )  # only update() uses them

    def __init__(self, module: nn.Module, decay: float | Tensor = 0.999) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ArgumentTypeError(f"module (={shown(module)}) must be a torch.nn.Module")
        if in_fsdp(module):
            raise ArgumentTypeError(
                f"module (={type(module).__name__}) is sharded over processes (FSDP or DTensor), so it has no average: "
                "pass the plain module, whole on each process"
            )
        self.decay: float | Tensor = _checked_decay(decay)
        live = unwrapped(module, averages=True)
        self.module: nn.Module = copied(live).requires_grad_(False)
        note_average(self.module, self)
        self._live = (live,)  # a tuple, since a module would be registered as a submodule
        self._parts: list[_Part] = []
        self._children: list[nn.Module | None] = []
        self._norms: list[SpectralVectors] = []
        self._updates = 0  # not a buffer, since reading one on a device waits for the device
        self._apply(lambda tensor: tensor)
        self._first = _sums(self.module)
        self._saved_decay: float | None = None  # of the state that was loaded

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "module", "decay", updates=lambda: self._updates)

    @torch.no_grad()
    def update(self) -> None:
        """Update the average, in place, from the present weights.

        Raises:
            ArgumentValueError: the decay is a tensor whose value is not in [0, 1).
            GanlibRuntimeError: the module has other layers, or weights of other shapes, than its average.
        """
        decay = float(self.decay)
        if decay == 1 and isinstance(self.decay, Tensor) and self.decay.dtype != torch.float64:
            raise ArgumentValueError(
                f"decay (=1.0) must be in [0, 1). If a schedule wrote less, {self.decay.dtype} has rounded it: use a "
                "tensor of torch.float64, or a shorter half-life"
            )
        _check_decay("decay", decay)
        if not self._parts or self._now() != self._children:
            self._find_parts()
        decay = min(decay, (1 + self._updates) / (10 + self._updates))
        averaged, copied = self._pairs()
        if averaged:
            owns, weights = zip(*((own, weight.to(own)) for own, weight in averaged.values()), strict=True)
            torch._foreach_lerp_(owns, weights, 1 - decay)
        kinds: dict[torch.dtype, list[_Pair]] = {}
        for own, tensor in copied.values():
            kinds.setdefault(own.dtype, []).append((own, tensor))
        for pairs in kinds.values():  # one kernel for each dtype
            torch._foreach_copy_([own for own, _ in pairs], [tensor for _, tensor in pairs])
        for norm in self._norms:
            norm.iterate()
        self._updates += 1

    def _pairs(self) -> tuple[dict[int, _Pair], dict[int, _Pair]]:
        """Pair the tensors of the average and the module, to be averaged and to be copied; tied tensors come once."""
        averaged, copied = dict[int, _Pair](), dict[int, _Pair]()
        for part in self._parts:
            parameters, lives = part.own._parameters, part.live._parameters
            if parameters or lives:
                if parameters.keys() != lives.keys():
                    part.refuse(min(parameters.keys() ^ lives.keys()))
                for name, own in parameters.items():
                    live = lives[name]
                    if own is not None and live is not None and own.shape == live.shape:
                        (averaged if own.is_floating_point() or own.is_complex() else copied)[id(own)] = own, live
                    elif own is not live:
                        part.refuse(name)
            buffers = part.own._buffers
            for name, buffer in part.live._buffers.items():
                held = buffers.get(name)
                if held is not None and buffer is not None and held.shape == buffer.shape:
                    if name not in part.apart:
                        copied[id(held)] = held, buffer
                elif held is not buffer:  # it is new since the last update, or has another shape
                    buffers[name] = None if buffer is None else buffer.detach().clone()
        return averaged, copied

    def _now(self) -> list[nn.Module | None]:
        owns = [child for part in self._parts for child in part.own._modules.values()]
        return owns + [child for part in self._parts for child in part.live._modules.values()]

    def _find_parts(self) -> None:
        """Find all submodules; this is slower than an update, so it runs only if a submodule was replaced."""
        (live,) = self._live
        owns, lives = dict(self.module.named_modules()), dict(live.named_modules())
        if owns.keys() != lives.keys():
            differ = ", ".join(sorted(owns.keys() ^ lives.keys()))
            raise GanlibRuntimeError(f"module has other layers than its average ({differ:.200}): {_NEW}")
        self._norms = spectral_vectors(self.module)
        names: dict[int, tuple[str, ...]] = {}
        for norm in self._norms:
            names[id(norm.holder)] = (*names.get(id(norm.holder), ()), *norm.names)
        self._parts = [_Part(name, own, lives[name], names.get(id(own), ())) for name, own in owns.items()]
        self._children = self._now()

    def __deepcopy__(self, memo: dict[int, Any]) -> "EMA":
        memo |= {key: value for key, value in computed(self._live[0]).items() if key not in memo}
        twin = memo[id(self)] = object.__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        note_average(twin.module, twin)
        return twin

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "EMA":
        """Move or convert the average, but not to half precision."""

        def wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device, torch.float32) if _is_half(moved) else moved

        return super()._apply(wide, recurse)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load an average, also that of a module that was wrapped."""
        given = {key.removeprefix(prefix): key for key in state_dict if key.startswith(prefix)}
        state = {name: state_dict.pop(key) for name, key in given.items()}
        state_dict.update({prefix + name: value for name, value in renamed(state, self.state_dict()).items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def on_start(self, run: Run) -> None:
        """Warn if the run does not train the module, or is resumed with another decay.

        Args:
            run: the run.
        """
        parameters = [parameter for parameter in self._live[0].parameters() if parameter.requires_grad]
        optimizers = optimizers_in(run) if parameters and rank() == 0 else []
        trained = set[int]().union(*map(held_by, optimizers))
        if trained and trained.isdisjoint(map(id, parameters)):
            warn_user(
                f"EMA averages a {type(self._live[0]).__name__} that no optimizer of the trainer trains, perhaps a "
                "copy of the trained network: make the EMA of the network itself"
            )

        saved, self._saved_decay = self._saved_decay, None
        if isinstance(self.decay, Tensor) or saved is None or rank() > 0:
            return
        if saved != self.decay:
            warn_user(
                f"EMA goes on with your decay (={self.decay:.10g}), and not with the checkpoint's (={saved:.10g}): "
                "pass that one, unless you mean to change it"
            )

    def on_iteration(self, run: Run) -> None:
        """Update the average.

        Args:
            run: the run.
        """
        self.update()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the average.

        Args:
            args: arguments of the module.
            kwargs: keyword arguments of the module.

        Returns:
            The output of the average.
        """
        args, kwargs = tree_map_only(Tensor, _widened, (args, kwargs))
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def is_behind(self) -> bool:
        """Return whether the module has been trained, but the average still has its first weights."""
        if self._updates or _sums(self.module) != self._first:  # other sums: weights were loaded into the average
            return False
        lives = dict(self._live[0].named_parameters())
        pairs = ((own, lives.get(name)) for name, own in self.module.named_parameters())
        return any(
            live is not None and own.shape == live.shape and bool((own != live.to(own)).any()) for own, live in pairs
        )

    def get_extra_state(self) -> Tensor:
        """Return the number of updates, and a decay that is a number, for ``state_dict``."""
        if isinstance(self.decay, Tensor):
            return torch.tensor(self._updates)
        return torch.tensor([self._updates, self.decay], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of updates, for ``load_state_dict``; the decay is kept."""
        if not state.ndim:  # of a decay in a tensor, or of an earlier version
            self._updates = int(state)
            return
        updates, self._saved_decay = state.tolist()
        self._updates = int(updates)


class _Part(NamedTuple):
    """Pair a module inside the average with the module that it follows; buffers in ``apart`` are not copied."""

    path: str
    own: nn.Module
    live: nn.Module
    apart: tuple[str, ...]

    def refuse(self, name: str) -> NoReturn:
        """Raise the error that names a parameter."""
        live, own = (part._parameters.get(name) for part in (self.live, self.own))
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in (live, own)]
        path = f"{self.path}.{name}".removeprefix(".")
        raise GanlibRuntimeError(f"module has another {path} {shapes[0]} than its average {shapes[1]}: {_NEW}")


def _checked_decay(decay: Any) -> float | Tensor:
    """Return a decay as a number, or the tensor that holds it; raise an error for other values."""
    if not isinstance(decay, Tensor):
        return _check_decay("decay", decay)
    if isinstance(decay, nn.Parameter | nn.Buffer):
        raise ArgumentTypeError(
            f"decay (=a {'parameter' if isinstance(decay, nn.Parameter) else 'buffer'}) would be a part of the EMA's "
            "state, and a resumed run would take its old value: use a plain tensor"
        )
    if decay.ndim or not decay.is_floating_point() or decay.requires_grad:
        raise ArgumentTypeError(
            f"decay (={shown(decay)}) must be a number, or a floating-point tensor of no dimensions without gradients"
        )
    if not decay.is_cpu:
        raise ArgumentTypeError(
            f"decay is a tensor on {decay.device}, and each update would wait for this device to read it: use a tensor "
            "on the CPU"
        )
    if decay.dtype.itemsize < 4:
        raise ArgumentTypeError(f"decay is a tensor of {decay.dtype}, which has few numbers near 1: use torch.float64")
    _check_decay("decay", decay.item())
    keep_check(decay, "decay", _check_decay)
    return decay


def _sums(module: nn.Module) -> list[float]:
    """Sum each parameter, as a mark by which other values are noticed."""
    return [p.detach().sum(dtype=widest(p.device)).item() for p in module.parameters() if p.is_floating_point()]


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize < 4


def _widened(tensor: Tensor) -> Tensor:
    """Convert a tensor in half precision to float32, unless autocast is on."""
    return tensor.float() if _is_half(tensor) and not torch.is_autocast_enabled(tensor.device.type) else tensor

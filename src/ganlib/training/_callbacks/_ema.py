"""The exponential moving average of a module."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._checks import check_fraction
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Run

__all__ = ["EMA"]


class EMA(nn.Module):
    r"""Keeps an exponential moving average of a module's weights; an averaged generator makes better samples.

    The n-th update (n = 0, 1, ...) is

    .. math:: \bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
        d_n = \min\left(\text{decay}, \frac{1 + n}{10 + n}\right),

    so that the average soon forgets the untrained weights. Buffers, such as the statistics of batch norm, are copied.

    As a callback of :func:`fit` it updates the average after each iteration. In a training loop of your own, call
    ``update()`` after each step of the optimizer. It is an ``nn.Module``: ``.to()`` moves the average, its
    ``state_dict()`` holds the average and the number of updates, and Lightning saves it as a part of your module. The
    module that is averaged is not a submodule of it. Calling it calls the average.

    The average is in training mode, as the module was: where it has batch norm or dropout, call ``ema.eval()`` before
    you use it.

    Args:
        module: the module that is trained; the average starts as a copy of it.
        decay: d, in [0, 1).

    Attributes:
        module: the average, a module like the one that is trained; its parameters need no gradients.

    Raises:
        ArgumentTypeError: the module is not an ``nn.Module``.
        ArgumentValueError: decay is not in [0, 1).

    Example:
        >>> generator = nn.Linear(100, 784)
        >>> ema = EMA(generator, decay=0.99)
        >>> ema.update()
        >>> ema.module
        Linear(in_features=100, out_features=784, bias=True)
        >>> ema(torch.zeros(4, 100)).shape
        torch.Size([4, 784])

    References:
        Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018, section 5,
        arXiv:1710.10196. The warm-up is that of TensorFlow's ``ExponentialMovingAverage(num_updates=...)``.
    """

    unrecorded = ("_updates", "_parts", "_own_parts", "_children", "_live")  # only update() uses them

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ArgumentTypeError(f"module (={module!r}) must be a torch.nn.Module")
        check_fraction("decay", decay, below_1=True)
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._live = (module,)  # in a tuple, since a module would be registered as a submodule
        self._parts: list[nn.Module] = []
        self._own_parts: list[nn.Module] = []
        self._children: list[nn.Module | None] = []
        self._updates = 0  # not a buffer: to read one that is on a device would wait for the device

    @torch.no_grad()
    def update(self) -> None:
        """Update the average, in place, from the present weights."""
        children = [child for part in self._parts for child in vars(part)["_modules"].values()]
        if not self._parts or children != self._children:
            self._find_parts()
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        weights = self._pairs("_parameters")
        if weights:
            averages = [average for average, _ in weights]
            torch._foreach_lerp_(averages, [weight.to(average) for average, weight in weights], 1 - decay)
        kinds: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        for copied, buffer in self._pairs("_buffers"):
            kinds.setdefault(copied.dtype, []).append((copied, buffer))
        for pairs in kinds.values():  # one kernel for each
            torch._foreach_copy_([copied for copied, _ in pairs], [buffer for _, buffer in pairs])
        self._updates += 1

    def _find_parts(self) -> None:
        """Walk through all submodules, which takes longer than an update: only where one of them is another."""
        self._parts = list(self._live[0].modules())
        self._own_parts = list(self.module.modules())
        self._children = [child for part in self._parts for child in vars(part)["_modules"].values()]

    def _pairs(self, kind: str) -> list[tuple[Tensor, Tensor]]:
        """The tensors of the average and of the module, each once."""
        own, live = (
            [tensor for part in parts for tensor in vars(part)[kind].values()]
            for parts in (self._own_parts, self._parts)
        )
        pairs = {id(average): (average, tensor) for average, tensor in zip(own, live, strict=True)}
        pairs.pop(id(None), None)
        return list(pairs.values())

    def on_iteration(self, run: Run) -> None:
        """Update the average.

        Args:
            run: the training.
        """
        self.update()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the average.

        Args:
            args: as for the module.
            kwargs: as for the module.

        Returns:
            What the average returns.
        """
        return self.module(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """The number of updates, for ``state_dict``."""
        return torch.tensor(self._updates)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of updates, for ``load_state_dict``."""
        self._updates = int(state)

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

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ArgumentTypeError(f"module (={module!r}) must be a torch.nn.Module")
        check_fraction("decay", decay, below_1=True)
        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._live = (module,)  # in a tuple, since a module would be registered as a submodule
        self._updates = 0  # not a buffer: to read one that is on a device would wait for the device

    @torch.no_grad()
    def update(self) -> None:
        """Update the average, in place, from the present weights."""
        (live,) = self._live
        averages: list[Tensor] = [*self.module.parameters()]
        weights = [weight.to(average) for weight, average in zip(live.parameters(), averages, strict=True)]
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        if averages:
            torch._foreach_lerp_(averages, weights, 1 - decay)
        for copied, buffer in zip(self.module.buffers(), live.buffers(), strict=True):
            copied.copy_(buffer)
        self._updates += 1

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

"""The exponential moving average of a generator."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run

__all__ = ["EMA"]


class EMA:
    r"""Keeps an exponential moving average of a generator's weights, which draws better samples than the live one.

    At its n-th update (n = 0, 1, ...)

    .. math:: \bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
        d_n = \min\left(\text{decay}, \frac{1 + n}{10 + n}\right),

    so that the untrained weights are soon forgotten. Buffers, such as batch norm's statistics, are copied from the live
    generator.

    Args:
        generator: the live one; the average starts as its copy.
        decay: d, in [0, 1).

    Attributes:
        generator: the average, a module like the live one.

    Raises:
        ArgumentValueError: decay is not in [0, 1).

    Example:
        >>> ema = EMA(nn.Linear(100, 784), decay=0.99)
        >>> ema.generator
        Linear(in_features=100, out_features=784, bias=True)

    References:
        Karras et al., "Progressive Growing of GANs", 2018, section 5; the warm-up is TensorFlow's
        ``ExponentialMovingAverage(num_updates=...)``.
    """

    def __init__(self, generator: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ArgumentValueError(f"decay (={decay}) must be in [0, 1)")
        self.decay = decay
        self._live = generator
        self._average = AveragedModel(generator, multi_avg_fn=self._step)
        self._average.requires_grad_(False)
        self._average.update_parameters(generator)  # torch's first update copies; the next one is our n = 0

    @property
    def generator(self) -> nn.Module:
        """The averaged generator."""
        return self._average.module

    def on_iteration(self, run: Run) -> None:
        """Update the average.

        Args:
            run: the training.
        """
        self._average.update_parameters(self._live)

    def state_dict(self) -> dict[str, Any]:
        """The average and the count of its updates.

        Returns:
            A state for :meth:`load_state_dict`.
        """
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Args:
            state: what :meth:`state_dict` gave.
        """
        self._average.load_state_dict(state)

    def _step(self, averages: Any, lives: Any, torch_count: Tensor | int) -> None:
        n = int(torch_count) - 1  # the count lies on the host, so this waits for nothing
        torch._foreach_lerp_(averages, lives, 1 - min(self.decay, (1 + n) / (10 + n)))

"""Multi-layer perceptron."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ganlib._checks import check_flag, check_fraction
from ganlib._condition import needs_condition
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import Condition
from ganlib.stacks._blocks import LEAKY_RELU, Activation, Block, Norm, make_activation, needs_bias, run_blocks

__all__ = ["LinearStack"]


@rebuildable
class LinearStack(nn.Module):
    """Run a multi-layer perceptron from vectors to vectors, or to samples of any shape.

    Every layer except the last is followed by its norm, activation and dropout.

    Args:
        features: at least two sizes, from the input to the output; (784, 128, 1) has one hidden layer.
        out_shape: shape of an output sample; None means a vector.
        norm: ``"batch"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from features to a module.
        activation: a module to copy, or a function that returns one.
        last_activation: the activation after the last layer, or None. Under autocast it is computed in float32.
        bias: whether layers have a bias; None adds a bias only if there is no norm, or a pixel norm, which has no bias.
        dropout: probability in [0, 1), after each inner activation.
        spectral_norm: whether all layers have spectral normalization.

    Raises:
        ArgumentValueError: an argument is out of range, or ``out_shape`` does not match the last of ``features``.

    Example:
        >>> import torch
        >>> generator = LinearStack([100, 32, 784], out_shape=(1, 28, 28), last_activation=nn.Tanh)
        >>> generator(torch.randn(4, 100)).shape
        torch.Size([4, 1, 28, 28])

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, section 5.
    """

    def __init__(
        self,
        features: Sequence[int],
        *,
        out_shape: Sequence[int] | None = None,
        norm: Norm = "none",
        activation: Activation = LEAKY_RELU,
        last_activation: Activation = None,
        bias: bool | None = None,
        dropout: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_fraction("dropout", dropout, below_1=True)
        last_activation = make_activation(last_activation, "last_activation")
        given, features = features, tuple(features) if isinstance(features, Iterable) else ()
        if len(features) < 2 or not all(isinstance(size, int) and size >= 1 for size in features):
            raise ArgumentValueError(f"features (={shown(given)}) must be at least two whole numbers of at least 1")
        if not (out_shape is None or isinstance(out_shape, Sequence)):
            raise ArgumentValueError(f"out_shape (={shown(out_shape)}) must be a tuple of sizes, or None")
        if out_shape is not None and (prod(out_shape) != features[-1] or min(out_shape, default=1) < 1):
            raise ArgumentValueError(
                f"out_shape (={shown(tuple(out_shape))}) must be sizes of at least 1 that hold {features[-1]} numbers, "
                f"the last of features (={shown(features)})"
            )
        self.in_features: int = features[0]
        self.out_shape: tuple[int, ...] = (features[-1],) if out_shape is None else tuple(out_shape)
        blocks = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(features)):
            last = layer == len(features) - 2
            layer_norm: Norm = "none" if last else norm
            blocks.append(
                Block(
                    nn.Linear(
                        fan_in, fan_out, bias=needs_bias(layer_norm) if bias is None else check_flag("bias", bias)
                    ),
                    norm=layer_norm,
                    channels=fan_out,
                    spatial_dims=0,
                    activation=last_activation if last else activation,
                    dropout=0.0 if last else dropout,
                    spectral_norm=spectral_norm,
                    wide=last,
                )
            )
        self.blocks: nn.ModuleList = nn.ModuleList(blocks)
        self.needs_condition: bool = needs_condition(*blocks)

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Run the layers.

        Args:
            x: (N, ...) float with ``in_features`` numbers per sample.
            condition: for conditional norms, if there are any.

        Returns:
            (N, *out_shape).

        Raises:
            ShapeError: the samples have another size.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        flat = x.flatten(1) if x.ndim > 2 else x
        if flat.ndim != 2 or flat.shape[1] != self.in_features:
            raise ShapeError(f"x {tuple(x.shape)} must hold {self.in_features} numbers a sample")
        y = run_blocks(self, flat, condition)
        return y if len(self.out_shape) == 1 else y.reshape(y.shape[0], *self.out_shape)

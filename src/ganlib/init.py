"""Weight initialization of whole networks: each function changes a module in place and returns it.

Weights of convolutions, transposed convolutions and linear layers are drawn and their biases set to 0. The gain of an
affine norm is set to 1 and its bias to 0; :func:`dcgan_`, and :func:`normal_` if asked, draw the gain too. Embeddings
keep torch's N(0, 1). Of a parametrized weight (spectral norm), the underlying parameter is set.

Example:
    >>> from torch import nn
    >>> init_ed = dcgan_(nn.Conv2d(1, 64, 4))
    >>> bool(init_ed.weight.std() < 0.03)
    True
"""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganlib._checks import check_number
from ganlib.errors import ArgumentTypeError

__all__ = ["dcgan_", "kaiming_", "normal_", "orthogonal_", "xavier_"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def dcgan_(module: ModuleT, std: float = 0.02) -> ModuleT:
    """Draw weights from N(0, std) and gains of norms from N(1, std), as DCGAN does.

    Args:
        module: changed in place, with all its submodules.
        std: standard deviation of both.

    Returns:
        The same module.

    Example:
        >>> dcgan_(nn.Linear(2, 1)).bias
        Parameter containing:
        tensor([0.], requires_grad=True)

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016, section 4.
    """
    return _initialize(
        module, lambda weight: nn.init.normal_(weight, 0.0, std), lambda gain: nn.init.normal_(gain, 1.0, std)
    )


def normal_(module: ModuleT, std: float = 0.02, *, gains: bool = False) -> ModuleT:
    """Draw weights from N(0, std), and the gains of norms too if asked.

    Gains near 0 make the output of each normalized layer small at first. DCGAN_CIFAR10 starts like this in both
    networks; what a narrow copy of it does with gains of 1 is measured in the gallery in the docs.

    Args:
        module: changed in place, with all its submodules.
        std: standard deviation, at least 0.
        gains: whether the gains of affine norms are drawn from N(0, std) as well; otherwise they are set to 1.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: std is below 0 or not finite.
        ArgumentTypeError: gains is not a bool.

    Example:
        >>> normal_(nn.BatchNorm1d(2)).weight
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
        >>> bool(normal_(nn.BatchNorm1d(2), gains=True).weight.abs().max() < 0.2)
        True
    """
    if not isinstance(gains, bool):
        raise ArgumentTypeError(f"gains (={gains!r}) must be True or False; std is the deviation of both")
    check_number("std", std)

    def draw_(weight: Tensor) -> Tensor:
        return nn.init.normal_(weight, 0.0, std)

    return _initialize(module, draw_, draw_) if gains else _initialize(module, draw_)


def xavier_(module: ModuleT, gain: float = 1.0) -> ModuleT:
    """Draw weights from the uniform distribution of Xavier Glorot.

    Args:
        module: changed in place, with all its submodules.
        gain: factor on their standard deviation; ``nn.init.calculate_gain`` knows those of activations.

    Returns:
        The same module.

    Example:
        >>> bool(xavier_(nn.Linear(3, 3)).weight.abs().max() <= 1)
        True

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 16.
    """
    return _initialize(module, lambda weight: nn.init.xavier_uniform_(weight, gain))


def kaiming_(module: ModuleT, negative_slope: float = 0.0) -> ModuleT:
    """Draw weights from the normal distribution of Kaiming He, for ReLU and LeakyReLU.

    Args:
        module: changed in place, with all its submodules.
        negative_slope: of the activation; 0 is ReLU.

    Returns:
        The same module.

    Example:
        >>> kaiming_(nn.Conv2d(1, 8, 3), negative_slope=0.2).weight.shape
        torch.Size([8, 1, 3, 3])

    References:
        He et al., "Delving Deep into Rectifiers", 2015, equations 10 and 15.
    """
    return _initialize(module, lambda weight: nn.init.kaiming_normal_(weight, negative_slope))


def orthogonal_(module: ModuleT, gain: float = 1.0) -> ModuleT:
    """Draw orthogonal weights (of the weight as a matrix with one row per output).

    Args:
        module: changed in place, with all its submodules.
        gain: factor on them.

    Returns:
        The same module.

    Example:
        >>> import torch
        >>> weight = orthogonal_(nn.Linear(3, 3)).weight
        >>> bool((weight @ weight.T).allclose(torch.eye(3), atol=1e-6))
        True

    References:
        Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014;
        used in BigGAN (Brock et al., 2019).
    """
    return _initialize(module, lambda weight: nn.init.orthogonal_(weight, gain))


def _initialize(
    module: ModuleT,
    weight_: Callable[[Tensor], object],
    gain_: Callable[[Tensor], object] = nn.init.ones_,
) -> ModuleT:
    """Draw the weights and gains of a module and its submodules, and set biases to 0."""
    for layer in module.modules():
        if isinstance(layer, _LAYERS):
            weight_(_own_weight(layer))
        elif isinstance(layer, _NORMS) and layer.weight is not None:
            gain_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


def _own_weight(layer: Any) -> Tensor:
    """Return the weight that is a parameter, below a parametrization."""
    return layer.parametrizations.weight.original if parametrize.is_parametrized(layer, "weight") else layer.weight

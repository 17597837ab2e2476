"""Weight initialization of whole networks, in place.

The functions initialize torch's linear, bilinear, convolutional, transposed convolutional, recurrent and attention
layers. Each gate of a recurrent layer and each projection of an attention layer is drawn separately. Biases are set to
0. The gain of an affine norm is set to 1, unless the function draws it.

Embeddings and ``nn.PReLU`` keep torch's initial values. The functions do not change parameters of your own modules.

You can call a function before or after you add weight norm, spectral norm, pruning or another parametrization. The
result is the same. With weight norm, the layer computes with the drawn weight. With spectral norm, the drawn weight is
divided by its largest singular value. Pruning keeps its mask. Any other parametrization gets the weight through its
``right_inverse``. A parametrization without ``right_inverse`` is applied to the drawn weight.

Weights in half precision are drawn in float32 and then rounded.

Example:
    >>> from torch import nn
    >>> layer = dcgan_(nn.Conv2d(1, 64, 4))
    >>> bool(layer.weight.std() < 0.03)
    True
    >>> normed = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))
    >>> bool(dcgan_(normed).weight.std() < 0.03)
    True
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ganlib._checks import check_finite, check_flag, check_number
from ganlib._shown import shown
from ganlib._spectral import spectral_vectors
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["dcgan_", "kaiming_", "normal_", "orthogonal_", "xavier_"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_LAYERS = (
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_KEPT = (nn.Embedding, nn.EmbeddingBag, nn.PReLU)


def dcgan_(module: ModuleT, std: float = 0.02) -> ModuleT:
    """Draw weights from N(0, std) and gains of norms from N(1, std), as DCGAN does.

    Args:
        module: changed in place, with all its submodules.
        std: standard deviation of both distributions, at least 0.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: std is below 0 or not finite, or a layer has no weights yet.
        ArgumentTypeError: ``module`` is not an ``nn.Module``, or one of its weights cannot be drawn.

    Example:
        >>> dcgan_(nn.Linear(2, 1)).bias
        Parameter containing:
        tensor([0.], requires_grad=True)

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434, section 4.
    """
    std = check_number("std", std)
    return _initialize(
        module,
        {"std": std},
        lambda weight: nn.init.normal_(weight, 0.0, std),
        lambda gain: nn.init.normal_(gain, 1.0, std),
    )


def normal_(module: ModuleT, std: float = 0.02, *, gains: bool = False) -> ModuleT:
    """Draw weights from N(0, std), and optionally the gains of norms.

    Gains near 0 make the output of each normalized layer small at first. ``DCGAN_CIFAR10`` starts like this in both
    networks. The gallery in the docs compares such gains with gains of 1, in a narrow copy of ``DCGAN_CIFAR10``.

    Args:
        module: changed in place, with all its submodules.
        std: standard deviation, at least 0.
        gains: whether to draw the gains of affine norms from N(0, std) too; otherwise they are set to 1.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: std is below 0 or not finite, or a layer has no weights yet.
        ArgumentTypeError: ``module`` is not an ``nn.Module``, ``gains`` is not a bool, or a weight cannot be drawn.

    Example:
        >>> normal_(nn.BatchNorm1d(2)).weight
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
        >>> bool(normal_(nn.BatchNorm1d(2), gains=True).weight.abs().max() < 0.2)
        True
    """
    gains = check_flag("gains", gains)
    std = check_number("std", std)

    def draw_(weight: Tensor) -> Tensor:
        return nn.init.normal_(weight, 0.0, std)

    return _initialize(module, {"std": std}, draw_, draw_) if gains else _initialize(module, {"std": std}, draw_)


def xavier_(module: ModuleT, gain: float = 1.0) -> ModuleT:
    """Draw weights from the uniform distribution of Xavier (Glorot) initialization.

    Args:
        module: changed in place, with all its submodules.
        gain: factor on the standard deviation; see :func:`torch.nn.init.calculate_gain`.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: gain is below 0 or not finite, or a layer has no weights yet.
        ArgumentTypeError: ``module`` is not an ``nn.Module``, or one of its weights cannot be drawn.

    Example:
        >>> bool(xavier_(nn.Linear(3, 3)).weight.abs().max() <= 1)
        True

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
        https://proceedings.mlr.press/v9/glorot10a.html, equation 16.
    """
    gain = check_number("gain", gain)
    return _initialize(module, {"gain": gain}, lambda weight: nn.init.xavier_uniform_(weight, gain))


def kaiming_(module: ModuleT, negative_slope: float = 0.0) -> ModuleT:
    """Draw weights from the normal distribution of Kaiming (He) initialization, for ReLU and LeakyReLU.

    Args:
        module: changed in place, with all its submodules.
        negative_slope: the negative slope of the activation; 0 for ReLU. It can be below 0.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: negative_slope is not finite, or a layer has no weights yet.
        ArgumentTypeError: ``module`` is not an ``nn.Module``, or one of its weights cannot be drawn.

    Example:
        >>> kaiming_(nn.Conv2d(1, 8, 3), negative_slope=0.2).weight.shape
        torch.Size([8, 1, 3, 3])

    References:
        He et al., "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification", 2015,
        arXiv:1502.01852, equations 10 and 15.
    """
    slope = check_finite("negative_slope", negative_slope)
    return _initialize(module, {}, lambda weight: nn.init.kaiming_normal_(weight, slope))


def orthogonal_(module: ModuleT, gain: float = 1.0) -> ModuleT:
    """Draw orthogonal weights.

    The weight is treated as a matrix with one row per output.

    Args:
        module: changed in place, with all its submodules.
        gain: factor on the weights.

    Returns:
        The same module.

    Raises:
        ArgumentValueError: gain is below 0 or not finite, or a layer has no weights yet.
        ArgumentTypeError: ``module`` is not an ``nn.Module``, or one of its weights cannot be drawn.

    Example:
        >>> import torch
        >>> weight = orthogonal_(nn.Linear(3, 3)).weight
        >>> bool((weight @ weight.T).allclose(torch.eye(3), atol=1e-6))
        True

    References:
        Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014,
        arXiv:1312.6120.

        In GANs: Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (BigGAN), 2019,
        arXiv:1809.11096.
    """
    gain = check_number("gain", gain)
    return _initialize(module, {"gain": gain}, lambda weight: nn.init.orthogonal_(weight, gain))


class _Tensor(NamedTuple):
    """Describe a tensor of a layer: its kind, and the number of matrices that are stacked in it."""

    layer: nn.Module
    path: str
    name: str
    kind: str
    parts: int
    is_meta: bool

    def __str__(self) -> str:
        kind = type(self.layer).__name__
        return f"{self.name} of {f'{self.path} (={kind})' if self.path else kind}"


def _initialize(
    module: ModuleT,
    scale: dict[str, float],
    weight_: Callable[[Tensor], object],
    gain_: Callable[[Tensor], object] = nn.init.ones_,
) -> ModuleT:
    """Draw the weights and gains of a module and its submodules, and set biases to 0."""
    if not isinstance(module, nn.Module):
        raise ArgumentTypeError(f"module (={shown(module)}) must be a torch.nn.Module")
    tensors = list(_tensors(module))
    norms = [norm for norm in spectral_vectors(module) if not norm.vectors[0].is_meta]
    for name, value in scale.items():
        if norms and value == 0:
            raise ArgumentValueError(
                f"{name} (={shown(value)}) must be above 0: a spectral norm cannot divide a weight of 0s"
            )
    if not tensors and any(map(_has_own_parameters, module.modules())):
        warnings.warn(
            f"module (={type(module).__name__}) stays as it is, because it has no layer of torch with weights to draw. "
            "Initialize parameters of your own with torch.nn.init",
            stacklevel=3,
        )
    draw_ = {"weight": weight_, "gain": gain_, "bias": nn.init.zeros_}
    with torch.no_grad():
        for tensor in tensors:
            if tensor.is_meta:  # it has a shape only
                continue
            try:
                _assign(tensor.layer, tensor.name, _drawn(tensor, draw_[tensor.kind]))
            except Exception as error:  # a parametrization fails, or the dtype has no random numbers
                raise ArgumentTypeError(f"{tensor} cannot be initialized: {error}") from error
        for norm in norms:
            norm.restart()
    return module


def _tensors(module: nn.Module) -> Iterator[_Tensor]:
    lists = [part for part in module.modules() if isinstance(part, parametrize.ParametrizationList)]
    inner = {id(part) for each in lists for part in each.modules()}
    for path, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            raise ArgumentTypeError(
                f"module (={type(module).__name__}) is TorchScript: initialize it before it is scripted"
            )
        if id(layer) in inner:
            continue
        for name, kind, parts in _names(layer):
            given = _given(layer, name)
            if given is not None or getattr(layer, name, None) is not None:
                tensor = _Tensor(layer, path, name, kind, parts, given is not None and given.is_meta)
                _check(tensor, given)
                yield tensor


def _names(layer: Any) -> Iterator[tuple[str, str, int]]:
    """Yield name, kind and number of stacked matrices of each tensor of a layer."""
    stacked = {}
    if isinstance(layer, _LAYERS):
        names = ["weight", "bias"]
    elif isinstance(layer, _NORMS):
        yield "weight", "gain", 1
        names = ["bias"]
    elif isinstance(layer, nn.MultiheadAttention):
        names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"]
        stacked = {"in_proj_weight": 3}
    elif isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        names = getattr(layer, "_flat_weights_names", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
        recurrent = [_given(layer, name) for name in names if name.startswith("weight_hh")]
        gates = len(recurrent[0]) // layer.hidden_size if recurrent and recurrent[0] is not None else 1
        stacked = {name: gates for name in names if not name.startswith("weight_hr")}  # a projection has no gates
    else:
        names = []
    for name in names:
        yield name, "bias" if "bias" in name else "weight", stacked.get(name, 1)


def _check(tensor: _Tensor, given: Tensor | None) -> None:
    if given is None:
        raise ArgumentTypeError(
            f"{tensor} cannot be initialized: it is not a parameter, and the code that computes it is not of torch. "
            "Initialize the layer before you add that code"
        )
    if nn.parameter.is_lazy(given):
        raise ArgumentValueError(
            f"{tensor} cannot be initialized: it has no shape yet. Call the module with a batch first"
        )
    if tensor.is_meta and not torch.empty(0).is_meta:
        raise ArgumentValueError(
            f"{tensor} cannot be initialized: it is on the meta device, which stores no values. Call "
            "to_empty(device=...) of the module first"
        )


def _has_own_parameters(part: nn.Module) -> bool:
    kept = isinstance(part, _KEPT) or type(part).__module__.startswith("ganlib.")
    return not kept and any(parameter is not None for parameter in part._parameters.values())


def _hook(owner: nn.Module, name: str) -> Any:
    """Return the torch hook that computes a tensor before each call, or None."""
    for hook in owner._forward_pre_hooks.values():
        known = isinstance(hook, WeightNorm | SpectralNorm) and hook.name == name
        if known or (isinstance(hook, BasePruningMethod) and hook._tensor_name == name):
            return hook
    return None


def _given(owner: Any, name: str) -> Tensor | None:
    """Return the tensor that a layer uses, or a tensor of the same shape and dtype; None if its origin is unknown."""
    if parametrize.is_parametrized(owner, name):
        steps = owner.parametrizations[name]
        plain = all(isinstance(step, _SpectralNorm) for step in steps)
        return _given(steps, "original") if plain else getattr(owner, name).detach()
    hook = _hook(owner, name)
    if hook is not None:
        return _given(owner, f"{name}_v" if isinstance(hook, WeightNorm) else f"{name}_orig")
    return owner._parameters.get(name, owner._buffers.get(name))


def _drawn(tensor: _Tensor, draw_: Callable[[Tensor], object]) -> Tensor:
    given = _given(tensor.layer, tensor.name)
    assert given is not None
    narrow = given.is_floating_point() and given.dtype.itemsize < 4
    dtype = torch.float32 if narrow else given.dtype
    value = torch.empty_like(given, dtype=dtype, requires_grad=False, memory_format=torch.contiguous_format)
    for part in value.chunk(tensor.parts):
        draw_(part)
    return value


def _assign(owner: Any, name: str, value: Tensor) -> None:
    """Set a tensor to a value, through the parameters that it is computed from."""
    if parametrize.is_parametrized(owner, name):
        steps = owner.parametrizations[name]
        values: Any = value
        for step in reversed(list(steps)):
            values = _inverse(step, values)
        values = list(values) if isinstance(values, Sequence) else [values]
        names = ["original"] if steps.is_tensor else [f"original{i}" for i in range(steps.ntensors)]
        for original, one in zip(names, values, strict=True):
            _assign(steps, original, one)
        return
    hook = _hook(owner, name)
    if hook is None:
        _given(owner, name).copy_(value)  # type: ignore[union-attr]
        return
    if isinstance(hook, WeightNorm):
        for suffix, one in zip("gv", _gain_and_direction(value, hook.dim), strict=True):
            _assign(owner, f"{name}_{suffix}", one)
    else:
        _assign(owner, f"{name}_orig", value)
    with torch.enable_grad():
        hook(owner, ())


def _inverse(step: Any, value: Any) -> Any:
    if isinstance(step, _WeightNorm):
        return _gain_and_direction(value, step.dim)
    try:
        return step.right_inverse(value) if hasattr(step, "right_inverse") else value
    except NotImplementedError:  # torch uses the identity too
        return value


def _gain_and_direction(value: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the gain and the direction from which weight norm computes a value; a row of 0s has any direction."""
    gain = torch.norm_except_dim(value, 2, dim)
    return gain, value + (gain == 0)

"""Save and load networks: weights, recipe, and other values of the user."""

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._averages import any_is_behind
from ganlib._checks import check_flag
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib._wrappers import is_sharded, load_plainly, plain, unwrapped
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.models._activations import other_activation
from ganlib.models._format import is_range, read_network, write_network
from ganlib.models._given_module import fill
from ganlib.models._rebuilding import rebuilt, recipe_of

__all__ = ["LoadedModule", "load_discriminator", "load_generator", "save_discriminator", "save_generator"]

Kind = Literal["generator", "discriminator"]

if TYPE_CHECKING:

    class LoadedModule(nn.Module):
        """Add the info of the file to a module."""

        info: dict[str, Any]

else:
    LoadedModule = nn.Module

_DEEPEST = 64  # levels of dicts and lists inside each other
_LONGEST_INT = 14_000  # bits; Python parses at most 4,300 digits


def save_generator(path: str | os.PathLike[str], generator: nn.Module, info: Mapping[str, Any] | None = None) -> None:
    """Save a generator as safetensors: its weights, and a recipe to rebuild it.

    A generator has a recipe if it consists of ganlib's stacks, adapters and encoders, of common torch layers (linear
    layers, convolutions, embeddings, norms, activations, dropout, pooling, padding, resizing, reshaping), and of
    sequences of them. The metadata of the file contains ``recipe``, ``sample_range`` and ``info`` as JSON. Any program
    that reads safetensors can read the weights. Wrappers such as ``torch.compile`` and ``DistributedDataParallel`` are
    removed, and an :class:`ganlib.training.EMA` is saved as its ``module``. The file does not store which parameters
    are frozen, nor buffers that are not persistent.

    Args:
        path: the file. It is written completely or not at all. Its suffix does not matter.
        generator: any module. If it has no recipe, load it with ``load_generator(path, module)``.
        info: values to store with it, such as the names of the classes. They must be valid in JSON. NumPy numbers and
            zero-dimensional tensors become plain numbers, and tuples become lists.

    Raises:
        ArgumentTypeError: if the generator is not a module, or is a TorchScript module; its state contains other
            objects than dense tensors with values; or the info is not valid in JSON.
        ArgumentValueError: if the info has more than 64 levels, or the generator's ``sample_range`` is not (low, high).
        RunFolderError: if the file cannot be written.

    Warns:
        UserWarning: if the generator is an EMA that was never updated, though its network was trained.

    Example:
        >>> import tempfile
        >>> from ganlib.models import mlp_gan
        >>> generator, _ = mlp_gan((1, 28, 28), latent_dim=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.safetensors", generator, info={"seed": 0})
        ...     load_generator(f"{folder}/generator.safetensors").info
        {'seed': 0}

    References:
        The file format: https://huggingface.co/docs/safetensors.
    """
    _save(path, generator, info, "generator")


def save_discriminator(
    path: str | os.PathLike[str], discriminator: nn.Module, info: Mapping[str, Any] | None = None
) -> None:
    """Save a discriminator like :func:`save_generator`, including the vectors of spectral norm.

    Args:
        path: the file. It is written completely or not at all. Its suffix does not matter.
        discriminator: any module. If it has no recipe, load it with ``load_discriminator(path, module)``.
        info: values to store with it. They must be valid in JSON.

    Raises:
        ArgumentTypeError: if the discriminator is not a module, or is a TorchScript module; its state contains other
            objects than dense tensors with values; or the info is not valid in JSON.
        ArgumentValueError: if the info has more than 64 levels.
        RunFolderError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from ganlib.models import mlp_gan
        >>> _, discriminator = mlp_gan((1, 28, 28), latent_dim=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_discriminator(f"{folder}/discriminator.safetensors", discriminator)
        ...     again = load_discriminator(f"{folder}/discriminator.safetensors", train=True)
        >>> sample = torch.zeros(4, 1, 28, 28)
        >>> torch.equal(again(sample), discriminator(sample))
        True
    """
    _save(path, discriminator, info, "discriminator")


def load_generator(
    path: str | os.PathLike[str], module: nn.Module | None = None, *, train: bool = False, partial: bool = False
) -> LoadedModule:
    """Load a generator, without running code from the file.

    Loading does not change the state of any random generator.

    Args:
        path: a file of :func:`save_generator`, of this or an earlier version (``.pt``), or any safetensors file with
            the weights of ``module``.
        module: module to load the weights into. None rebuilds the generator from the recipe in the file.
        train: whether to return it in training mode, for further training.
        partial: whether to load only the weights whose names and shapes fit, for example if the number of classes
            differs. The other weights keep their values, and one warning lists them.

    Returns:
        The generator, with the file's ``info`` as an attribute. A rebuilt generator is on the CPU, has the dtype of the
        weights in the file, and all its parameters require gradients. A given module keeps its device, its dtype, and
        the ``requires_grad`` of its parameters.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, version or architecture, or contains a
            discriminator. A given module keeps its weights.
        ArgumentValueError: if the file has no recipe and no module is given, the module is on the meta device, or
            ``partial`` is True without a module.
        ArgumentTypeError: if the module is not one, or ``train`` or ``partial`` is not a bool.

    Warns:
        UserWarning: if ``partial`` is True and weights do not fit, or the module has another activation.

    Example:
        >>> import tempfile
        >>> module = nn.Linear(2, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.safetensors", module)
        ...     load_generator(f"{folder}/generator.safetensors", nn.Linear(2, 2)).weight.equal(module.weight)
        True
    """
    return _load(path, module, "generator", train=train, partial=partial)


def load_discriminator(
    path: str | os.PathLike[str], module: nn.Module | None = None, *, train: bool = False, partial: bool = False
) -> LoadedModule:
    """Load a discriminator like :func:`load_generator`.

    Args:
        path: a file of :func:`save_discriminator`, or any safetensors file with the weights of ``module``.
        module: module to load the weights into. None rebuilds the discriminator from the recipe in the file.
        train: whether to return it in training mode, for further training.
        partial: whether to load only the weights whose names and shapes fit. The other weights keep their values, and
            one warning lists them.

    Returns:
        The discriminator, with the file's ``info`` as an attribute. A rebuilt discriminator is on the CPU, has the
        dtype of the weights in the file, and all its parameters require gradients. A given module keeps its device, its
        dtype, and the ``requires_grad`` of its parameters.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, version or architecture, or contains a
            generator. A given module keeps its weights.
        ArgumentValueError: if the file has no recipe and no module is given, the module is on the meta device, or
            ``partial`` is True without a module.
        ArgumentTypeError: if the module is not one, or ``train`` or ``partial`` is not a bool.

    Warns:
        UserWarning: if ``partial`` is True and weights do not fit, or the module has another activation.

    Example:
        >>> import tempfile
        >>> from ganlib.stacks import PatchDiscriminator
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_discriminator(f"{folder}/discriminator.safetensors", PatchDiscriminator(3, spectral_norm=True))
        ...     load_discriminator(f"{folder}/discriminator.safetensors").training
        False
    """
    return _load(path, module, "discriminator", train=train, partial=partial)


def _save(path: str | os.PathLike[str], network: nn.Module, info: Mapping[str, Any] | None, kind: Kind) -> None:
    _check_path(path)
    if not isinstance(network, nn.Module):
        raise ArgumentTypeError(f"{kind} (={shown(network)}) must be a torch.nn.Module")
    if not isinstance(info, Mapping | None):
        raise ArgumentTypeError(f"info (={shown(info)}) must be a dict, or None")
    sample_range = _range_of(network) if kind == "generator" else None
    if any_is_behind(network.modules()):
        warn_user(
            f"{kind} is an EMA that was never updated, though its network was trained, so the file holds the weights "
            "from before the training: put the EMA into the callbacks of fit, or call its update() after each step"
        )
    network = plain(network, averages=True)
    for name, part in network.named_modules():
        _check_part(f"{kind} (={type(network).__name__})" if not name else f"{kind}.{name}", part)
    weights, shared = dict[str, Tensor](), dict[str, str]()
    names = dict[int, str]()  # first name of each tensor, by its id
    for name, tensor in network.state_dict(keep_vars=True).items():
        _check_tensor(name, tensor, kind)
        if id(tensor) in names:
            shared[name] = names[id(tensor)]
        else:
            names[id(tensor)] = name
            weights[name] = tensor
    if not weights and next(network.parameters(), None) is not None:
        raise ArgumentTypeError(
            f"{kind} (={type(network).__name__}) has parameters, and its state_dict() contains none"
        )
    plain_info = _plain_value(info or {}, "info")
    recipe, reason = recipe_of(network, kind)
    values = {
        "recipe": recipe,
        "sample_range": sample_range,
        "info": plain_info,
        "shared": shared,
        "no_recipe": reason,
    }
    write_network(path, kind, weights, values)


def _load(path: str | os.PathLike[str], module: nn.Module | None, kind: Kind, *, train: bool, partial: bool) -> Any:
    _check_path(path)
    if module is not None and not isinstance(module, nn.Module):
        raise ArgumentTypeError(f"module (={shown(module)}) must be a torch.nn.Module")
    train, partial = check_flag("train", train), check_flag("partial", partial)
    if partial and module is None:
        raise ArgumentValueError("partial (=True) needs a module that gets the weights, but module is None")
    weights, values = read_network(path, kind)
    if module is None:
        if values["recipe"] is None:
            raise ArgumentValueError(
                f"module (=None) is needed: {path} holds weights only, without a recipe that rebuilds the {kind}"
                + (f" ({values['no_recipe']})" if values["no_recipe"] else "")
            )
        module = rebuilt(path, weights, values)
    else:
        try:
            left_out = load_plainly(module, lambda bare: fill(bare, weights, partial=partial), averages=True)
        except ArgumentValueError:
            raise
        except Exception as error:  # a module can raise any error for weights of another architecture
            hint = "" if partial else "; partial=True loads what fits"
            raise CheckpointError(
                f"{path} is of another architecture than {type(module).__name__}: {str(error).rstrip('.')}{hint}"
            ) from error
        if left_out:
            warnings.warn(
                f"{path} was loaded in part, and the rest kept its values: {'; '.join(left_out)}", stacklevel=3
            )
        elif not partial and rank() == 0 and (difference := other_activation(values["recipe"], module)):
            warn_user(
                f"{path} was made by a {kind} with another activation than module, {difference}, so the same weights "
                "give other outputs: use the same activation, or leave module out, and the recipe rebuilds it"
            )
    for part in (unwrapped(module, averages=True), module):  # a wrapper may hide the attributes of its module
        if values["sample_range"] is not None:
            vars(part)["sample_range"] = tuple(values["sample_range"])
        vars(part)["info"] = values["info"]
    try:
        return module.train(train)
    except NotImplementedError:  # a module of torch.export has only one mode
        if train:
            raise ArgumentValueError(f"train (=True): a {type(module).__name__} has no training mode") from None
        return module


def _check_path(path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"path (={shown(path)}) must be the path of a file, a str or a pathlib.Path")


def _check_part(name: str, part: nn.Module) -> None:
    if isinstance(part, torch.jit.ScriptModule):
        raise ArgumentTypeError(
            f"{name} is a TorchScript module, and the file cannot store its code: save the module that it was made "
            "from, or use torch.jit.save"
        )
    if is_sharded(part):
        raise ArgumentTypeError(
            f"{name} is sharded over processes (FSDP or DTensor): load its full state "
            "(torch.distributed.checkpoint.state_dict.get_model_state_dict) into a plain module, and save that"
        )


def _check_tensor(name: str, tensor: Any, kind: Kind) -> None:
    """Raise an ArgumentTypeError unless the file can store the tensor."""
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"{name} of the {kind}'s state is a {type(tensor).__name__}, not a tensor")
    if is_lazy(tensor):
        why = "has no shape yet; call the module once"
    elif tensor.is_meta:
        why = "has no values, as it is on the meta device"
    elif tensor.is_nested or tensor.layout is not torch.strided:
        why = f"is not a dense tensor ({'nested' if tensor.is_nested else tensor.layout})"
    elif type(tensor) not in (Tensor, nn.Parameter):
        why = f"is a {type(tensor).__name__}, and only plain tensors keep their type when they are loaded"
    else:
        return
    raise ArgumentTypeError(f"{kind} has a state that safetensors cannot hold: {name} {why}")


def _range_of(generator: nn.Module) -> list[float] | None:
    sample_range: Any = getattr(
        generator, "sample_range", getattr(unwrapped(generator, averages=True), "sample_range", None)
    )
    if sample_range is None:
        return None
    ends = list[float]()
    if not isinstance(sample_range, str | Mapping | set):
        with suppress(TypeError, ValueError, OverflowError, RuntimeError):
            ends = [float(end) for end in sample_range]
    if not is_range(ends):
        raise ArgumentValueError(f"sample_range (={shown(sample_range)}) of the generator must be (low, high)")
    return ends


def _plain_value(value: Any, position: str, depth: int = 0) -> Any:
    """Convert a value to one that JSON can store."""
    if depth == _DEEPEST:
        raise ArgumentValueError(f"{position} has more than {_DEEPEST} levels, and could not be read again")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ArgumentTypeError(
                    f"{position} has the key {key!r}; only strings can be the keys of a JSON object"
                )
        return {key: _plain_value(member, f"{position}/{key}", depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(member, f"{position}/{index}", depth + 1) for index, member in enumerate(value)]
    scalar = value
    if (
        (isinstance(value, np.generic | Tensor) or type(value) is np.ndarray)
        and value.ndim == 0
        and not getattr(value, "is_meta", False)
    ):
        scalar = value.item()
    if not isinstance(scalar, bool | int | float | str | None):
        raise ArgumentTypeError(
            f"{position} (={shown(value)}) is a {type(value).__qualname__}; only numbers, strings, None, and dicts and "
            "lists of them can be saved with a network (an array as its tolist())"
        )
    if isinstance(scalar, int) and scalar.bit_length() > _LONGEST_INT:
        raise ArgumentValueError(f"{position} is a whole number of {scalar.bit_length():,} bits, which is too long")
    return scalar

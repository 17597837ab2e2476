"""Generators on disk: recipe, weights, and other values that a user wants to keep with them."""

import json
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.overrides import TorchFunctionMode

from ganlib._files import load_plain, write_atomically
from ganlib._recipe import describe, rebuild
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.models._conditional_dcgan import conditional_dcgan
from ganlib.models._dcgan import dcgan
from ganlib.models._mlp_gan import mlp_gan

__all__ = ["load_generator", "save_generator"]

_FORMAT = 2  # format 1 was a .pt file
_DEEPEST = 64  # levels of dicts and lists inside each other
_VALUES = ("recipe", "sample_range", "info", "shared", "no_recipe")  # each is JSON in the metadata

# Files of format 1 name the function that made the generator.
_MAKERS: dict[str, Callable[..., Any]] = {
    "conditional_dcgan": lambda **arguments: conditional_dcgan(**arguments)[0],
    "dcgan": lambda **arguments: dcgan(**arguments)[0],
    "mlp_gan": lambda **arguments: mlp_gan(**arguments)[0],
}


def save_generator(path: str | os.PathLike[str], generator: nn.Module, info: Mapping[str, Any] | None = None) -> None:
    """Save a generator as safetensors: its weights, and the recipe that rebuilds it.

    A generator has a recipe if it is made of ganlib's stacks, adapters and encoders, of torch's common layers (linear
    layers, convolutions, embeddings, norms, activations, dropout, pooling, padding, resizing, reshaping), and of
    sequences of them. The metadata of the file holds ``recipe``, ``sample_range`` and ``info`` as JSON. Any program
    that reads safetensors can read the weights. A compiled or distributed generator is saved as the plain one.

    Args:
        path: the file, written completely or not at all; its suffix does not matter.
        generator: any module; one without a recipe is loaded with ``load_generator(path, module)``.
        info: values that JSON can hold, to keep with it, such as the names of the classes. Tuples come back as lists.

    Raises:
        ArgumentTypeError: the generator is not a module, its state holds more than tensors, or the info holds more
            than JSON can.
        ArgumentValueError: the info has more than 64 levels, or ``sample_range`` of the generator is not (low, high).
        RunFolderError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> generator, _ = mlp_gan((1, 28, 28), latent_dim=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.safetensors", generator, info={"seed": 0})
        ...     load_generator(f"{folder}/generator.safetensors").info
        {'seed': 0}

    References:
        The format of the file: https://huggingface.co/docs/safetensors.
    """
    if not isinstance(generator, nn.Module):
        raise ArgumentTypeError(f"generator (={generator!r}) must be a torch.nn.Module")
    if not isinstance(info, Mapping | None):
        raise ArgumentTypeError(f"info (={info!r}) must be a dict, or None")
    generator = _plain(generator)
    weights, shared = dict[str, Tensor](), dict[str, str]()
    names = dict[int, str]()  # of the tensors that are there, by their id
    for name, tensor in generator.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"{name} of the generator's state is a {type(tensor).__name__}, not a tensor")
        if id(tensor) in names:
            shared[name] = names[id(tensor)]
        else:
            names[id(tensor)] = name
            weights[name] = tensor
    recipe, reason = _recipe_of(generator)
    values = {
        "recipe": recipe,
        "sample_range": _range_of(generator),
        "info": _checked(dict(info or {}), "info"),
        "shared": shared,
        "no_recipe": reason,
    }
    texts = {name: json.dumps(value) for name, value in values.items()}
    try:
        # Copies: a view of another tensor, or one with its channels last, could not be written.
        weights = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
        }
        checksum = str(_checksum(texts, weights))
        content = save(weights, {"format": "pt", "ganlib": str(_FORMAT), "checksum": checksum, **texts})
    except Exception as error:  # sparse, complex128 or meta tensors, for example
        raise ArgumentTypeError(f"generator has a state that safetensors cannot hold: {error!r:.300}") from error
    write_atomically(path, lambda file: file.write(content))


def load_generator(path: str | os.PathLike[str], module: nn.Module | None = None) -> nn.Module:
    """Load a generator. Nothing in the file is run, and no random state changes.

    Args:
        path: the file: of :func:`save_generator`, of this version or of an earlier one (``.pt``), or any safetensors
            with the weights of ``module``.
        module: gets the weights; None rebuilds the generator from the recipe in the file.

    Returns:
        The generator, on the CPU (a module given stays where it is), in evaluation mode, with the file's ``info`` as an
        attribute. A rebuilt one has the precision of the weights in the file.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or version, or of another architecture.
        ArgumentValueError: the file holds no recipe, and no module is given.
        ArgumentTypeError: the module is not one.

    Example:
        >>> import tempfile
        >>> module = nn.Linear(2, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_generator(f"{folder}/generator.safetensors", module)
        ...     load_generator(f"{folder}/generator.safetensors", nn.Linear(2, 2)).weight.equal(module.weight)
        True
    """
    if module is not None and not isinstance(module, nn.Module):
        raise ArgumentTypeError(f"module (={module!r}) must be a torch.nn.Module")
    weights, values = _read_zip(path) if _is_zip(path) else _read_safetensors(path)
    sample_range, info, recipe = values["sample_range"], values["info"], values["recipe"]
    if sample_range is not None and not _is_range(sample_range):
        raise CheckpointError(f"{path} holds a sample_range (={sample_range!r:.80}) that is not a [low, high]")
    if type(info) is not dict:
        raise CheckpointError(f"{path} holds an info that is a {type(info).__name__}, not a dict")
    rebuilt = module is None
    if module is None:
        if recipe is None:
            raise ArgumentValueError(
                f"module (=None) is needed: {path} holds weights only, without a recipe that rebuilds the generator"
                + (f" ({values['no_recipe']})" if values["no_recipe"] else "")
            )
        module = _rebuilt(path, recipe, values["shared"])
    plain = _plain(module)
    try:
        plain.load_state_dict(_as_parameters(weights, plain) if rebuilt else weights, assign=rebuilt)
    except Exception as error:  # whatever weights of something else make a module raise
        raise CheckpointError(f"{path} is of another architecture than {type(module).__name__}: {error}") from error
    for part in (plain, module):  # what is put around a module may not show its attributes
        if sample_range is not None:
            vars(part)["sample_range"] = tuple(sample_range)
        vars(part)["info"] = info
    return module.eval()


def _plain(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or a wrapper for several devices was put around."""
    while True:
        if isinstance(module, DataParallel | DistributedDataParallel):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
        else:
            return module


def _recipe_of(generator: nn.Module) -> tuple[Any, str | None]:
    """The recipe, or None and the reason why there is none."""
    try:
        recipe = describe(generator)
        with _without_memory():
            rebuilt = rebuild(recipe)
    except Exception as error:  # of whatever it is made, and whatever that raises: the file says why it has none
        return None, f"{error!s:.300}"
    name = type(generator).__name__
    if _is_changed(generator, rebuilt):
        reason = f"{name} was changed after it was made, so its recipe would rebuild another generator"
        warnings.warn(f"{reason}: the file holds its weights only, and load_generator needs a module", stacklevel=3)
        return None, reason
    for part in generator.modules():
        if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
            warnings.warn(
                f"{name} has hooks, or a forward that was replaced, in a {type(part).__name__}: the file does not hold "
                "them, so a generator that is rebuilt from it will not have them",
                stacklevel=3,
            )
            break
    return recipe, None


def _is_changed(generator: nn.Module, rebuilt: nn.Module) -> bool:
    """Whether layers, names, shapes or shared tensors differ from those that the recipe gives."""
    (layers, state), (new_layers, new_state) = map(_layers_and_state, (generator, rebuilt))
    shapes, new_shapes = ({name: tensor.shape for name, tensor in each.items()} for each in (state, new_state))
    if layers != new_layers or shapes != new_shapes:
        return True
    first = dict[int, str]()  # of the names of a tensor of the rebuilt one
    shared = ((name, first.setdefault(id(tensor), name)) for name, tensor in new_state.items())
    return any(state[name] is not state[other] for name, other in shared)


def _layers_and_state(module: nn.Module) -> tuple[str, dict[str, Tensor]]:
    layers = re.sub(r"torch\.Size|[][(),]", "", repr(module))  # a recipe has lists where there were tuples
    layers = re.sub(r"(Sync)?BatchNorm(\dd)?", "BatchNorm", layers)  # a recipe does not make synchronized ones
    return layers, module.state_dict(keep_vars=True)


def _range_of(generator: nn.Module) -> list[float] | None:
    sample_range: Any = getattr(generator, "sample_range", None)
    try:
        ends = None if sample_range is None else [float(end) for end in sample_range]
    except (TypeError, ValueError):
        ends = []
    if ends is not None and not _is_range(ends):
        raise ArgumentValueError(f"sample_range (={sample_range!r}) of the generator must be (low, high)")
    return ends


def _checked(value: Any, position: str, depth: int = 0) -> Any:
    """The value, if JSON can hold it."""
    if depth == _DEEPEST:
        raise ArgumentValueError(f"{position} has more than {_DEEPEST} levels, and could not be read again")
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise ArgumentTypeError(
                    f"{position} has the key {key!r}; only strings can be the keys of a JSON object"
                )
            _checked(member, f"{position}/{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _checked(member, f"{position}/{index}", depth + 1)
    elif not isinstance(value, bool | int | float | str | None):
        raise ArgumentTypeError(
            f"{position} (={value!r}) is a {type(value).__qualname__}; only numbers, strings, None, and dicts and "
            "lists of them can be saved with a generator"
        )
    return value


def _checksum(texts: Mapping[str, str], weights: Mapping[str, Tensor]) -> int:
    checksum = zlib.crc32(json.dumps([texts[name] for name in _VALUES]).encode())
    for name in sorted(weights):
        tensor = weights[name]
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum


def _is_zip(path: str | os.PathLike[str]) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\3\4"  # two bytes can also be the start of a safetensors file's length
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and values of a file, which another program may have written."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            # Copies: the file may change while the generator is in use.
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        foreign = not {"ganlib", "checksum"} & metadata.keys()  # what else is in its metadata may mean anything
        texts = {name: "null" if foreign else metadata.get(name, "null") for name in _VALUES}
        values = {name: json.loads(text) for name, text in texts.items()}
        wrong = not foreign and metadata.get("checksum") != str(_checksum(texts, weights))
        values["shared"] = values["shared"] or {}
        weights |= {name: weights[kept] for name, kept in values["shared"].items()}
    except Exception as error:  # a damaged or hostile file can make the reader raise anything
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise CheckpointError(f"{path} cannot be read: it is damaged, or is not safetensors ({reason:.300})") from error
    version = str(_FORMAT) if foreign else metadata.get("ganlib", "None")
    if version != str(_FORMAT):
        raise CheckpointError(
            f"{path} is not a generator of format {_FORMAT}, which this version of ganlib reads; its format is "
            f"{version:.80}"
        )
    if wrong:
        raise CheckpointError(
            f"{path} cannot be read: its checksum is wrong, so it is damaged, or another program has changed it"
        )
    values["info"] = {} if values["info"] is None else values["info"]
    return weights, values


def _read_zip(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Weights and values of a ``.pt`` file, format 1."""
    values = load_plain(path)
    file_format = values.get("format")
    if type(file_format) is not int or file_format != 1 or not values.keys() >= {*_VALUES[:3], "weights"}:
        shown = repr(file_format) if isinstance(file_format, int | str | None) else type(file_format).__name__
        raise CheckpointError(
            f"{path} is not a generator of format 1, which is the .pt that this version of ganlib reads; its format "
            f"is {shown:.80}"
        )
    return values["weights"], values | {"shared": {}, "no_recipe": None}


def _is_range(ends: Any) -> bool:
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    return numbers and ends[0] < ends[1]


def _rebuilt(path: str | os.PathLike[str], recipe: Any, shared: Mapping[str, str]) -> nn.Module:
    try:
        with _without_memory():
            module: nn.Module = rebuild(recipe, _MAKERS)
            state = module.state_dict(keep_vars=True)
            tensors = {id(tensor): tensor for name, tensor in state.items() if name not in shared}.values()
    except Exception as error:  # whatever a damaged or hostile recipe makes the makers raise
        raise CheckpointError(f"{path} holds a recipe that this ganlib cannot follow: {error!r:.500}") from error
    if sum(tensor.numel() for tensor in tensors) > Path(path).stat().st_size:  # a number takes a byte at least
        needed = sum(tensor.nbytes for tensor in tensors)
        raise CheckpointError(f"{path} holds a recipe of {needed:,} bytes of weights, and is smaller itself")
    return module


def _as_parameters(weights: Any, module: nn.Module) -> dict[str, Any]:
    """The weights, as parameters where the module has parameters; a tensor under two names becomes one parameter."""
    state, made = module.state_dict(keep_vars=True), dict[int, nn.Parameter]()
    unexpected = sorted(weights.keys() - state.keys())
    if unexpected:  # for each layer load_state_dict would go through all of them
        raise ValueError(f"the file has weights that it has not: {', '.join(unexpected):.300}")
    for name, tensor in weights.items():
        if isinstance(state.get(name), nn.Parameter):
            made.setdefault(id(tensor), nn.Parameter(tensor))
    return {name: made.get(id(tensor), tensor) for name, tensor in weights.items()}


# What spectral norm computes when it is made. Without memory only shapes matter, and for these torch needs seconds: it
# finds them in Python, and imports its compiler for that.
_ONLY_SHAPES: dict[Any, Callable[..., Any]] = {
    nn.functional.normalize: lambda x, **_: x,
    torch.mv: lambda matrix, _: matrix.new_empty(len(matrix)),
    torch.vdot: lambda x, _: x.new_empty(()),
    Tensor.normal_: lambda x, *_: x,
    Tensor.div: lambda x, _: x,  # by a number
}


class _OnlyShapes(TorchFunctionMode):
    """Computes shapes alone."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call a function, or what gives a tensor of the same shape."""
        return _ONLY_SHAPES.get(function, function)(*arguments, **(named or {}))


@contextmanager
def _without_memory() -> Iterator[None]:
    """Make modules on the meta device: it takes no memory, and draws no random numbers."""
    with torch.device("meta"), _OnlyShapes():
        yield

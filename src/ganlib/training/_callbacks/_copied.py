"""Copy a network, so that the copy does not compute with the weights of the original."""

import copy
import dis
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganlib._held import held
from ganlib._warning import warn_user
from ganlib._wrappers import uncompiled, unwrapped
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["computed", "copied"]

_DEEPEST = 4  # functions and lists inside each other
_SETTINGS = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.Size)


def copied(module: nn.Module) -> nn.Module:
    """Copy a module; raise an error if it has no copy that computes with its own weights."""
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise ArgumentTypeError(f"module (={type(module).__name__}) is TorchScript: average the original module")
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise ArgumentValueError(f"module has no {name} yet: call it with a batch first, to set its shape")
        if tensor.is_meta:
            raise ArgumentValueError(f"module has {name} on the meta device, which stores no values to average")
    _check_functions(module)
    memo = computed(module)
    try:
        with torch.inference_mode(False), torch.no_grad():
            twin = copy.deepcopy(module, memo)
            for part in module.modules():
                _uncompile(part, memo)
            return twin
    except Exception as error:  # a module can contain any object
        raise ArgumentTypeError(
            f"module (={type(module).__name__}) cannot be copied, which its average needs: {error}"
        ) from error


def computed(module: nn.Module) -> dict[int, Any]:
    """Copy the tensors of a module that hooks have computed from its weights; deepcopy refuses such tensors."""
    leaves = tree_leaves([dict(vars(part)) for part in module.modules()])
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not leaf.is_leaf]
    return {id(tensor): tensor.detach().clone() for tensor in tensors}


def _uncompile(part: nn.Module, memo: dict[int, Any]) -> None:
    """Remove compiled functions from the copy of a module: deepcopy keeps them, with the weights of the original."""
    for name, value in _own_functions(part):
        original = uncompiled(value)
        if original is not value:
            own = vars(memo[id(part)])
            if _is_of_class(part, name, original):
                del own[name]
            else:
                own[name] = copy.deepcopy(original, memo)


def _check_functions(module: nn.Module) -> None:
    """Look for functions that use the module's weights; deepcopy does not copy functions, nor what they refer to."""
    network: dict[int, Any] = {id(part): part for part in module.modules()}
    network |= {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    found = None
    for path, part in module.named_modules():
        for name, value in _own_functions(part):
            original = uncompiled(value)
            if _is_of_class(part, name, original):
                continue
            where = ".".join(filter(None, ("module", path, name)))
            if name != "forward":
                found = found or (_uses(original, network) and f"{where}, a function,")
            elif _uses(original, network) or _holds(original, network):
                raise ArgumentTypeError(
                    f"{where} (of {type(part).__name__}) was replaced by a function that uses the trained network, so "
                    "its average would compute with the trained weights: override forward in a subclass, or assign a "
                    "bound method or a functools.partial of the old one, which are copied together with the network"
                )
        hooks = chain(part._forward_hooks.values(), part._forward_pre_hooks.values())
        if any(_uses(uncompiled(hook), network) for hook in hooks):
            where = ".".join(filter(None, ("module", path)))
            found = found or f"a hook of {where} (={type(part).__name__})"
    if found:
        warn_user(
            f"{found} uses the trained network or one of its weights, and so it does in the average, which would not "
            "compute with its own weights alone: use a bound method or a functools.partial, which are copied together "
            "with the network, or the hook's argument"
        )


def _own_functions(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a module itself; wrappers of torch have a copy of their own."""
    if unwrapped(part) is part:
        for name, value in list(vars(part).items()):
            if name[:1] != "_" and not isinstance(value, nn.Module | Tensor):
                yield name, value


def _is_of_class(part: nn.Module, name: str, value: Any) -> bool:
    """Test for a method of the module's class, bound to the module."""
    method = isinstance(value, MethodType) and value.__self__ is part
    return method and uncompiled(value.__func__) is getattr(type(part), name, None)


def _holds(value: Any, network: dict[int, Any]) -> bool:
    """Test whether a function refers to a module of the network, also through other objects."""
    functions = list(_functions(value))
    return any(id(part) in network for one in functions for part in held(one, closed=(nn.Module,)))


def _functions(value: Any, depth: int = _DEEPEST) -> Iterator[FunctionType]:
    """Yield the functions within a value, which deepcopy does not copy."""
    value = uncompiled(value)
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, MethodType):
        function = uncompiled(value.__func__)
        if getattr(type(value.__self__), value.__name__, None) is not function and isinstance(function, FunctionType):
            yield function
    elif depth:
        inside: Iterable[Any] = ()
        if isinstance(value, partial):
            inside = (value.func, *value.args, *value.keywords.values())
        elif type(value) in (list, tuple, dict):
            inside = value.values() if type(value) is dict else value
        for one in inside:
            yield from _functions(one, depth - 1)


def _uses(value: Any, network: dict[int, Any]) -> bool:
    """Test whether a function within a value uses a module, a parameter or a buffer of the network directly."""
    return any(_reaches(function, network, _DEEPEST) for function in _functions(value))


def _reaches(function: FunctionType, network: dict[int, Any], depth: int) -> bool:
    """Test the closure, the defaults and the globals of a function."""
    codes = list(_codes(function.__code__))
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    loaded = {one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    named = [function.__globals__[name] for name in loaded & function.__globals__.keys()]
    waiting: list[tuple[Any, int]] = [
        (value, depth)
        for value in (*cells, *named, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    ]
    while waiting:
        value, left = waiting.pop()
        value = uncompiled(value)
        if id(value) in network:
            if not (isinstance(value, nn.Module) and _only_reads_settings(codes, value)):
                return True
        elif isinstance(value, MethodType):
            if id(value.__self__) in network:
                return True
        elif not left:
            continue
        elif isinstance(value, FunctionType):
            if _reaches(value, network, left - 1):
                return True
        elif isinstance(value, partial):
            waiting += [(one, left - 1) for one in (value.func, *value.args, *value.keywords.values())]
        elif type(value) in (list, tuple, dict):
            waiting += [(one, left - 1) for one in (value.values() if type(value) is dict else value)]
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions inside it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _only_reads_settings(codes: Iterable[CodeType], module: nn.Module) -> bool:
    """Test whether a function reads only plain numbers of a module, such as a slope."""
    own = vars(module)
    inside = {**own["_parameters"], **own["_buffers"], **own["_modules"]}
    names = {name for code in codes for name in code.co_names}
    read = [
        own.get(name, getattr(type(module), name, None)) for name in names if name in own or hasattr(type(module), name)
    ]
    return bool(read) and not names & inside.keys() and all(isinstance(value, _SETTINGS) for value in read)

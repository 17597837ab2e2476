"""What the pickle in a file would make, found out without making any of it."""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

__all__ = ["DEEPEST", "check_pickle"]

DEEPEST = 64
"""Levels of dicts, lists and tuples that may lie in each other."""

_MOST = 1_000_000  # values, with those that a file of a few bytes names over and over

# What torch.save writes of tensors and plain values. torch.load would call more, some of which takes what memory it
# is told to (torch.Tensor, bytearray), and its older versions believe the length of a storage.
_CALLED = {
    *("collections OrderedDict", "torch Size", "torch device", "_codecs encode"),
    *("__builtin__ set", "__builtin__ complex", "torch.serialization _get_layout"),
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_sparse_tensor"),
    *("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"),
    "torch._tensor _rebuild_from_type_v2",
}
_NAMED = {"torch Tensor", "torch.nn.parameter Parameter"}
_ITEM_SIZES = {
    **dict.fromkeys(("torch.storage UntypedStorage", "torch ByteStorage", "torch CharStorage", "torch BoolStorage"), 1),
    **dict.fromkeys(("torch HalfStorage", "torch BFloat16Storage", "torch ShortStorage"), 2),
    **dict.fromkeys(("torch FloatStorage", "torch IntStorage"), 4),
    **dict.fromkeys(("torch DoubleStorage", "torch LongStorage", "torch ComplexFloatStorage"), 8),
    "torch ComplexDoubleStorage": 16,
}


def check_pickle(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Refuse a pickle that would make anything but tensors and plain values, or more than its file has room for.

    Args:
        pickled: the pickle.
        sizes: the bytes of each storage that lies beside it, by its key.

    Raises:
        pickle.UnpicklingError: it would. (Other errors are raised for one that is no pickle of torch.save's.)
    """
    survey = _Survey(io.BytesIO(pickled))
    survey.sizes = sizes
    waiting = [(survey.load(), 0)]
    if survey.stack or survey.metastack:
        raise pickle.UnpicklingError("there is more in the pickle than one value")
    count = 0
    while waiting:
        value, depth = waiting.pop()
        parts = value.parts if isinstance(value, _Thing) else value if isinstance(value, list | tuple) else ()
        count += len(parts)
        if depth > DEEPEST + 8 or count > _MOST + len(pickled):  # a tensor has some levels of its own
            raise pickle.UnpicklingError("its values lie too deep in each other, or are too many")
        waiting.extend((part, depth + 1) for part in parts)


class _Thing:
    """Stands for what a name in a pickle would be, for what it would give if called, and for dicts."""

    def __init__(self, name: str = "", parts: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.parts = [*parts]

    def __call__(self, *arguments: Any) -> "_Thing":
        if self.name not in _CALLED:
            raise pickle.UnpicklingError(f"the pickle calls {self.name!r}")
        return _Thing(parts=arguments)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.parts += [key, value]  # not a dict: to hash a key takes as long as a hostile file wants

    def __setstate__(self, state: Any) -> None:
        self.parts.append(state)


class _Survey(pickle._Unpickler):
    """Pickle's own reader in Python, of whose steps only those that torch.save writes are left."""

    sizes: Mapping[str, int]
    stack: list[Any]
    metastack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        step[0]: pickle._Unpickler.dispatch[step[0]]
        for step in (
            *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID),
            *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.BINUNICODE, pickle.NONE),
            *(pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
            *(pickle.BINFLOAT, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS),
            *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        )
    } | {pickle.EMPTY_DICT[0]: lambda survey: survey.append(_Thing())}

    def find_class(self, module: str, name: str) -> _Thing:
        called = f"{'__builtin__' if module == 'builtins' else module} {name}"
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not (dtype or called in _CALLED or called in _NAMED or called in _ITEM_SIZES):
            raise pickle.UnpicklingError(f"the pickle names {called!r}")
        return _Thing(called)

    def persistent_load(self, pid: Any) -> _Thing:
        word, storage, key, _, count = pid
        if word != "storage" or type(count) is not int or self.sizes.get(key) != count * _ITEM_SIZES[storage.name]:
            raise pickle.UnpicklingError(f"the file holds no storage {key!r} of {count!r} items")
        return _Thing()

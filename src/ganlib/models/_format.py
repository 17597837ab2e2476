"""Read and write the file of a network: safetensors with JSON values in the metadata."""

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from ganlib._files import load_plain, write_atomically
from ganlib.errors import ArgumentTypeError, CheckpointError

__all__ = ["checksum", "is_range", "read_network", "write_network"]

_FORMAT = 2  # format 1 is a .pt file
_VALUES = ("recipe", "sample_range", "info", "shared", "no_recipe")  # each is JSON in the metadata
_KINDS = ("generator", "discriminator")


def write_network(
    path: str | os.PathLike[str], kind: str, weights: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Write a network, after a check that it can be read again."""
    texts = {**{name: json.dumps(values[name]) for name in _VALUES}, "kind": kind}
    try:
        # Copy: safetensors cannot write views of another tensor, or channels-last tensors.
        copies = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
        }
        right = checksum(texts, copies)
        content = save(copies, {"format": "pt", "ganlib": str(_FORMAT), "checksum": str(right), **texts})
        # Some dtypes and names can be written, but not read.
        if checksum(texts, load(content)) != right:
            raise ValueError("a copy that was read back differs from the original")
    except Exception as error:  # for example sparse, complex128 or float4 tensors
        raise ArgumentTypeError(f"{kind} has a state that safetensors cannot hold: {error!r:.300}") from error
    write_atomically(path, lambda file: file.write(content))


def read_network(path: str | os.PathLike[str], kind: str) -> tuple[Any, dict[str, Any]]:
    """Read the weights and values of a file, which another program may have written."""
    weights, values = _read_zip(path) if _is_zip(path) else _read_safetensors(path, kind)
    held = values.get("kind")
    if held not in (kind, None):  # files of earlier versions have no kind
        raise CheckpointError(f"{path} holds a {held}, not a {kind}: load it with models.load_{held}")
    if values["sample_range"] is not None and not is_range(values["sample_range"]):
        shown = f"{values['sample_range']!r:.80}"
        raise CheckpointError(f"{path} contains a sample_range (={shown}) that is not of the form [low, high]")
    if type(values["info"]) is not dict:
        raise CheckpointError(f"{path} contains an info that is a {type(values['info']).__name__}, not a dict")
    return weights, values


def checksum(texts: Mapping[str, str], weights: Mapping[str, Tensor]) -> int:
    """Compute the checksum of texts and weights; for a generator it equals that of earlier versions."""
    kind = [texts["kind"]] if texts.get("kind", _KINDS[0]) != _KINDS[0] else []
    total = zlib.crc32(json.dumps([texts[name] for name in _VALUES] + kind).encode())
    for name in sorted(weights):
        tensor = weights[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _is_zip(path: str | os.PathLike[str]) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\3\4"  # two bytes can also be the start of a safetensors file's length
    except FileNotFoundError:
        raise CheckpointError(f"{path} cannot be read: there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _read_safetensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            # Copies: the file may change while the network is in use.
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        foreign = not {"ganlib", "checksum"} & metadata.keys()  # other metadata can mean anything
        texts = {name: "null" if foreign else metadata.get(name, "null") for name in _VALUES}
        values = {name: json.loads(text) for name, text in texts.items()}
        if not foreign and "kind" in metadata:
            values["kind"] = texts["kind"] = metadata["kind"]
            if values["kind"] not in _KINDS:
                raise ValueError(f"it holds a {values['kind']:.80}")
        wrong = not foreign and metadata.get("checksum") != str(checksum(texts, weights))
        values["shared"] = values["shared"] or {}
        weights |= {name: weights[kept] for name, kept in values["shared"].items()}
    except Exception as error:  # the reader can raise any error for a damaged or hostile file
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise CheckpointError(f"{path} cannot be read: it is damaged, or is not safetensors ({reason:.300})") from error
    version = str(_FORMAT) if foreign else metadata.get("ganlib", "None")
    if version != str(_FORMAT):
        raise CheckpointError(
            f"{path} is not a {kind} of format {_FORMAT}, which this version of ganlib reads; its format is "
            f"{version:.80}"
        )
    if wrong:
        raise CheckpointError(
            f"{path} cannot be read: its checksum is wrong, so it is damaged, or another program has changed it"
        )
    values["info"] = {} if values["info"] is None else values["info"]
    return weights, values


def _read_zip(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Read the weights and values of a ``.pt`` file, format 1."""
    values = load_plain(path)
    file_format = values.get("format")
    held, remedy = None, ""
    if isinstance(values.get("run"), dict):
        held, remedy = "a checkpoint of fit", "read it by training.Checkpoint.load"
    elif values and all(isinstance(value, Tensor) for value in values.values()):
        held, remedy = "a state_dict", "load it by module.load_state_dict(torch.load(path))"
    if held:
        raise CheckpointError(
            f"{path} holds {held}, not a network that ganlib saved: {remedy}, then save the network by "
            "models.save_generator or models.save_discriminator"
        )
    if type(file_format) is not int or file_format != 1 or not values.keys() >= {*_VALUES[:3], "weights"}:
        shown = repr(file_format) if isinstance(file_format, int | str | None) else type(file_format).__name__
        raise CheckpointError(
            f"{path} is not a generator of format 1, which is the .pt that this version of ganlib reads; its format "
            f"is {shown:.80}"
        )
    return values["weights"], values | {"shared": {}, "no_recipe": None, "kind": None}


def is_range(ends: Any) -> bool:
    """Return whether a value is a [low, high]."""
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    return numbers and ends[0] < ends[1]

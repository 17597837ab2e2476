"""A pickle is looked at before it is read."""

import io
import os
import pickle
import struct
import time
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import training
from ganlib.errors import CheckpointError
from ganlib.training._pickles import check_pickle

DTYPES = sorted(
    {value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str
)  # with those that only newer versions have


def saved(value: Any, path: Path) -> tuple[bytes, dict[str, int]]:
    """The pickle that torch.save writes, and the storages beside it."""
    torch.save(value, path)
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        data = f"{root}/data/"
        return archive.read(f"{root}/data.pkl"), {
            name[len(data) :]: size for name, size in sizes.items() if name.startswith(data)
        }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_dtype_come_back(dtype: torch.dtype, tmp_path: Path) -> None:
    """What torch can save and load is not refused, whatever its dtype, and neither is the dtype itself."""
    try:
        value = {"a": torch.zeros(3).to(dtype), "view": torch.zeros(2, 6).to(dtype)[:, 1:4], "dtype": dtype}
        torch.save(value, tmp_path / "x.pt")
        torch.load(tmp_path / "x.pt", weights_only=True)
    except Exception:
        pytest.skip(f"torch does not load {dtype}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized dtypes are going away
        loaded = training.load_plain(tmp_path / "x.pt")
    assert loaded["dtype"] == dtype
    assert loaded["view"].shape == (2, 3)


def test_plain_values_of_every_kind_come_back(tmp_path: Path) -> None:
    """So do parameters, sparse tensors, tensors with attributes, and whatever else a state may hold."""
    noted = torch.ones(2)
    noted.note = "mine"  # type: ignore[attr-defined]
    values = {
        "numbers": [0, -1, 255, 65_536, 2**40, -(2**70), 1.5, float("inf"), 1 + 2j, True, None],
        "text": ["", "é\0", "x" * 300, b"\xff\0"],
        "kept": ({1, "a"}, (), ((1,), []), torch.Size([2, 3]), torch.device("cuda:0")),
        3: OrderedDict(nn.Linear(1, 1).state_dict()),
        ("a", 1): {},
    }
    tensors = {
        "parameter": nn.Parameter(torch.ones(2)),
        "sparse": torch.eye(2).to_sparse(),
        "scalar": torch.tensor(1.0),
        "none": torch.zeros(0, 3),
        "noted": noted,
    }
    training.save_plain(tmp_path / "x.pt", {"values": values, "tensors": tensors})
    loaded = training.load_plain(tmp_path / "x.pt")
    assert {**loaded["values"], 3: 0} == {**values, 3: 0}
    assert loaded["tensors"]["sparse"].to_dense().tolist() == [[1, 0], [0, 1]]
    assert loaded["tensors"]["parameter"].requires_grad


class Calls:
    """Is pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Calls(os.mkdir, "exploded"),
        Calls(torch.Tensor, 10**10),
        Calls(torch.FloatStorage, 10**10),
        Calls(bytearray, 10**10),
        Calls(eval, "1"),
        Calls(__import__, "os"),
        Counter("a"),
        Path("x"),
        nn.Linear,
    ],
    ids=lambda value: str(getattr(value, "call", value)),
)
def test_names_that_save_plain_does_not_write_are_refused(value: Any, tmp_path: Path) -> None:
    """Neither code nor what takes as much memory as it is told to is called, wherever it lies."""
    for place in (value, {"a": value}, {1: [value]}, {value: 1} if value.__hash__ else [value], OrderedDict(a=value)):
        pickled, sizes = saved(place, tmp_path / "x.pt")
        with pytest.raises(pickle.UnpicklingError, match="the pickle (names|calls)"):
            check_pickle(pickled, sizes)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("count", [0, 3, 5, 10**9, -1])
def test_a_storage_of_another_length_is_refused(count: int, tmp_path: Path) -> None:
    """A storage that says it is longer than what lies in the file would be read beyond its end by older torches."""
    pickled, sizes = saved({"a": torch.arange(4.0)}, tmp_path / "x.pt")
    check_pickle(pickled, sizes)
    changed = pickled.replace(b"K\x04tq", b"J" + struct.pack("<i", count) + b"tq")
    assert changed != pickled
    with pytest.raises(pickle.UnpicklingError, match="no storage '0'"):
        check_pickle(changed, sizes)


def nested(step: bytes, times: int) -> bytes:
    """A pickle of a dict whose one value has been put into something so many times."""
    return b"\x80\x02}(X\x01\x00\x00\x00ax\x01"[:-2] + b"]" + step * times + b"u."


@pytest.mark.parametrize(
    "pickled",
    [
        nested(b"q\x00h\x00\x86", 40),  # each level is a pair of the one below: 2 ** 40 values
        nested(b"\x85", 100_000),
        b"\x80\x02]q\x00h\x00a.",  # a list in itself
        b"\x80\x02}q\x00(]" + b"q\x01h\x01\x86" * 40 + b"K\x01u.",  # ... as a key, whose hash takes as long
        b"\x80\x02]" + b"q\x01h\x01\x86" * 40 + b"}.",  # ... beside what is returned
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a place among 2 ** 31, for which pickle's reader in C takes 32 GB
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00ltR.",
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02(K\x01ios\nsystem\n.",
        b"\x80\x02K\x01Q.",
        b"",
        b".",
        b"\x80",
    ],
    ids=range(16),
)
def test_hostile_pickles_are_refused_at_once(pickled: bytes) -> None:
    """What would take all memory, or for ever, is found out in a moment; nothing is built or called."""
    began = time.monotonic()
    if pickled.startswith(b"\x80\x02]r"):
        check_pickle(pickled, {})  # harmless in this reader, and in torch's
    else:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, load_plain makes a CheckpointError of it
            check_pickle(pickled, {})
    assert time.monotonic() - began < 5


def test_load_plain_looks_first(tmp_path: Path) -> None:
    """The refusal reaches the user as a CheckpointError that names the file, and what it holds."""
    torch.save({"a": Calls(bytearray, 10**10)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read.*names '__builtin__ bytearray'"):
        training.load_plain(tmp_path / "x.pt")


def test_a_pickle_with_something_left_over_is_refused() -> None:
    """Only the value that is returned may lie on the reader's stack."""
    stream = io.BytesIO()
    pickle.Pickler(stream, 2).dump({})
    check_pickle(stream.getvalue(), {})
    with pytest.raises(pickle.UnpicklingError, match="more in the pickle"):
        check_pickle(b"\x80\x02N" + stream.getvalue()[2:], {})

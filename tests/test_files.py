"""Files are written completely or not at all, and one run at a time uses a folder."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import OrderedDict, defaultdict
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from ganlib._files import (
    FolderLock,
    as_plain,
    load_plain,
    make_folder,
    prepare_file,
    remove_files,
    remove_leftovers,
    save_plain,
    write_atomically,
)
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError

DTYPES = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)


def test_plain_values_of_every_kind_are_read_again(tmp_path: Path) -> None:
    """Numbers, text, containers and what a state may hold come back as they were, alone in a folder that was made."""
    noted = torch.ones(2)
    noted.note = "mine"  # type: ignore[attr-defined]
    values = {
        "numbers": [0, -1, 255, 65_536, 2**40, -(2**70), 1.5, float("inf"), 1 + 2j, True, None],
        "text": ["", "é\0", "x" * 300, b"\xff\0"],
        "kept": ({1, "a"}, (), ((1,), []), torch.Size([2, 3]), torch.device("cuda:0"), torch.float32),
        3: OrderedDict(nn.Linear(1, 1).state_dict()),
        ("a", 1): {},
    }
    tensors = {
        "parameter": nn.Parameter(torch.ones(2)),
        "sparse": torch.eye(2).to_sparse(),
        "scalar": torch.tensor(1.0),
        "empty": torch.zeros(0, 3),
        "noted": noted,
    }
    save_plain(tmp_path / "deep/x.pt", {"values": values, "tensors": tensors})
    loaded = load_plain(tmp_path / "deep/x.pt")
    assert {**loaded["values"], 3: 0} == {**values, 3: 0}
    assert loaded["tensors"]["sparse"].to_dense().tolist() == [[1, 0], [0, 1]]
    assert loaded["tensors"]["parameter"].requires_grad
    assert loaded["tensors"]["noted"].tolist() == [1, 1]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.pt"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore")  # quantized dtypes are deprecated
def test_tensors_of_every_dtype_are_read_again(dtype: torch.dtype, tmp_path: Path) -> None:
    """What torch can save and load with weights_only is accepted, whatever its dtype."""
    try:
        value = {"a": torch.zeros(3).to(dtype), "view": torch.zeros(2, 6).to(dtype)[:, 1:4], "dtype": dtype}
        torch.save(value, tmp_path / "x.pt")
        torch.load(tmp_path / "x.pt", weights_only=True)
    except Exception:
        pytest.skip(f"torch does not load {dtype}")
    save_plain(tmp_path / "x.pt", value)
    loaded = load_plain(tmp_path / "x.pt")
    assert loaded["dtype"] == dtype
    assert loaded["view"].shape == (2, 3)


class Subclass(torch.Tensor):
    """A tensor of a class that weights_only does not know."""


class Shade(Enum):
    """Values of a class of a user's."""

    DARK = 1


class Level(IntEnum):
    """Numbers with names."""

    HIGH = 3


class Text(str):
    """A string of a user's."""


class Pair(NamedTuple):
    """A tuple with names."""

    first: Any
    second: Any


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Path("x"), "Path"),
        (nn.Linear, "type"),
        (nn.Linear(1, 1), "Linear"),
        (range(3), "range"),
        (Decimal(1), "Decimal"),
        (Fraction(1, 2), "Fraction"),
        (Shade.DARK, "Shade"),
        (frozenset([1]), "frozenset"),
        (np.datetime64("2026-01-01"), "datetime64"),
        (np.longdouble(1), "longdouble"),
    ],
)
def test_what_could_not_be_read_again_is_refused_when_saved(value: Any, name: str, tmp_path: Path) -> None:
    """It is a TypeError that says where it is, wherever that may be, and no file is left."""
    noted = torch.ones(2)
    noted.note = value  # type: ignore[attr-defined]
    for values, position in (
        ({"a": value}, "a"),
        ({"a": [1, {"b": (value,)}]}, "a/1/b/0"),
        ({"a": noted}, "a/note"),
        ({"a": {value: 1}}, r"a \(a key\)"),
    ):
        with pytest.raises(ArgumentTypeError, match=rf"^{position} .*{name}"):
            save_plain(tmp_path / "x.pt", values)
    assert list(tmp_path.iterdir()) == []


EQUALS = [
    *((np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.float16(0.5), 0.5), (np.int64(3), 3), (np.uint8(3), 3)),
    *((np.True_, True), (np.complex64(1j), 1j), (np.str_("a"), "a"), (np.bytes_(b"a"), b"a")),
    *((Level.HIGH, 3), (Text("a"), "a"), (defaultdict(list, {1: [2]}), {1: [2]})),
    *((Pair(1, np.int64(2)), (1, 2)), ({np.int64(1): 2}, {1: 2}), ([np.float64(1)], [1.0]), ({np.int64(1)}, {1})),
    (OrderedDict(a=np.float64(1)), OrderedDict(a=1.0)),
]


@pytest.mark.parametrize(("value", "expected"), EQUALS, ids=lambda value: type(value).__name__)
def test_what_a_plain_value_equals_is_saved_as_that(value: Any, expected: Any, tmp_path: Path) -> None:
    """Numbers of NumPy, and classes that derive from Python's own, are read again as the plain value, everywhere."""
    noted = torch.ones(2)
    noted.note = value  # type: ignore[attr-defined]
    save_plain(tmp_path / "x.pt", {"a": [value, {"b": (value,)}], "noted": noted})
    loaded = load_plain(tmp_path / "x.pt")
    for found in (loaded["a"][0], loaded["a"][1]["b"][0], loaded["noted"].note):
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "f2", "i8", "u1", "u2", "?", "c8"])
def test_arrays_are_saved_as_tensors(dtype: str, tmp_path: Path) -> None:
    """Of any order of bytes and any strides; the tensor is a copy."""
    array = np.arange(12).reshape(3, 4).astype(dtype)[::2, ::-1]
    save_plain(tmp_path / "x.pt", {"a": array, "scalar": np.array(3.0)})
    loaded = load_plain(tmp_path / "x.pt")
    assert np.array_equal(loaded["a"].numpy(), array)
    assert loaded["scalar"] == 3.0
    for odd in (np.array(["a"]), np.array([object()])):
        with pytest.raises(ArgumentTypeError, match=r"^a .*ndarray"):
            save_plain(tmp_path / "x.pt", {"a": odd})


@pytest.mark.parametrize("make", [Subclass, nn.Parameter, nn.Buffer], ids=lambda make: make.__name__)
def test_tensors_of_other_classes_are_saved_as_torchs(make: Any, tmp_path: Path) -> None:
    """They have the same values, and still share their memory with their views."""
    tensor = make(torch.arange(4.0))
    save_plain(tmp_path / "x.pt", {"a": tensor, "view": tensor[1:]})
    loaded = load_plain(tmp_path / "x.pt")
    assert type(loaded["a"]) in (torch.Tensor, nn.Parameter)
    loaded["a"].data[1] = 7
    assert loaded["view"].tolist() == [7, 2, 3]


def test_what_is_plain_is_not_copied() -> None:
    """The very objects come back, so a trial costs no memory; the metadata of a module stays with its state."""
    norm = nn.BatchNorm1d(2)
    state = norm.state_dict()
    values = {"a": [torch.ones(2), (1, "b")], "state": state}
    assert as_plain(values) is values
    state["more"] = np.float64(1)  # type: ignore[assignment]
    plain = as_plain(state)
    assert plain is not state
    assert vars(plain) == vars(norm.state_dict())
    assert plain["weight"] is state["weight"]


def test_a_parameter_without_a_shape_can_be_tried_but_not_saved(tmp_path: Path) -> None:
    """It gets one in the first iteration."""
    state = nn.LazyLinear(2).state_dict()
    assert as_plain({"a": state}, lazy=True)["a"] is state
    with pytest.raises(ArgumentTypeError, match="a/weight is a parameter without a shape yet"):
        save_plain(tmp_path / "x.pt", {"a": state})


def test_an_int_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """Up to 2,000 bits are read again."""
    save_plain(tmp_path / "x.pt", {"a": 2**1999})
    assert load_plain(tmp_path / "x.pt") == {"a": 2**1999}
    with pytest.raises(ArgumentValueError, match="^a is an int of 2041 bits"):
        save_plain(tmp_path / "x.pt", {"a": 2**2040})


def test_values_with_too_many_levels_are_refused_when_saved(tmp_path: Path) -> None:
    """Up to 64 levels are read again; one more, or a list that contains itself, is an error that says where it is."""
    value: Any = 1
    for _ in range(63):
        value = [value]
    save_plain(tmp_path / "x.pt", {"a": value})
    assert load_plain(tmp_path / "x.pt") == {"a": value}
    endless: list[Any] = []
    endless.append(endless)
    for deep in ([value], endless):
        with pytest.raises(ArgumentValueError, match=r"a/0/0/.*64 levels"):
            save_plain(tmp_path / "y.pt", {"a": deep})
    assert not (tmp_path / "y.pt").exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "one bit", "text", "pickle", "a tensor", "a folder"])
def test_a_file_that_cannot_be_used_is_an_error(damage: str, tmp_path: Path) -> None:
    """It is a CheckpointError that names the file, also for one bit of a weight that is wrong."""
    path, weights = tmp_path / "x.pt", torch.linspace(0, 1, 100)
    save_plain(path, {"a": weights})
    assert torch.equal(load_plain(path)["a"], weights)
    content = bytearray(path.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 9] ^= 1
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "a tensor":
        torch.save(weights, path)
    elif damage != "missing":
        halves = {"cut": content[:500], "one bit": content, "pickle": pickle.dumps({"a": 1})}
        path.write_bytes(halves.get(damage, b"" if damage == "empty" else b"weights"))
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read: "):
        load_plain(path)


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """An error of the disk names the file, any other is raised as it is; the folder is as it was."""
    path = tmp_path / "x.pt"
    save_plain(path, {"a": 1})
    for error, raised in ((OSError(28, "No space left on device"), RunFolderError), (KeyError("x"), KeyError)):

        def write(file: Any, error: Exception = error) -> None:
            file.write(b"half")
            raise error

        with pytest.raises(raised, match=r"x.pt cannot be written.*No space left|'x'"):
            write_atomically(path, write)
        assert load_plain(path) == {"a": 1}
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("name", ["a\0b", "a\0b/c"])
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    """A NUL byte is an error of ours, and no folder is made; an error of what is written stays itself."""
    for call in (lambda path: write_atomically(path, len), make_folder, prepare_file):
        with pytest.raises(RunFolderError, match=r"a\\x00b.* cannot be written: .*null byte"):
            call(tmp_path / "new" / name)
    with pytest.raises(ValueError, match="^mine$"):
        write_atomically(tmp_path / "x", lambda _: (_ for _ in ()).throw(ValueError("mine")))
    assert [*tmp_path.iterdir()] == []


def test_an_error_of_the_disk_is_not_made_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes while torch.save writes keeps its reason: torch would make a RuntimeError of it without that."""
    path = tmp_path / "x.pt"
    save_plain(path, {"a": 1})

    class Full:
        """A file with room for 100 bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 100

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *raised: object) -> None:
            self.file.close()

        def write(self, data: Any) -> int:
            """Write, while there is room."""
            self.room -= len(data)
            if self.room < 0:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    with monkeypatch.context() as patch:
        opened = Path.open
        patch.setattr(Path, "open", lambda *arguments: Full(opened(*arguments)))
        with pytest.raises(RunFolderError, match=r"x\.pt cannot be written: \[Errno 28\] No space left"):
            save_plain(path, {"a": torch.zeros(10_000)})
    assert load_plain(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")
def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    """The umask decides, as for a file that is opened."""
    before = os.umask(0o027)
    try:
        save_plain(tmp_path / "x.pt", {})
    finally:
        os.umask(before)
    assert (tmp_path / "x.pt").stat().st_mode & 0o777 == 0o640


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """Those of one name, of a pattern of names, or all; other files stay."""
    names = [".1.pt.abcd1234.tmp", ".2.pt.abcd1234.tmp", ".x.csv.abcd1234.tmp", "1.pt", ".1.pt.tmp"]
    for pattern, stay in (("1.pt", names[1:]), ("[0-9]*.pt", names[2:]), ("*", names[3:])):
        for name in names:
            (tmp_path / name).write_text("")
        remove_leftovers(tmp_path, pattern)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    remove_leftovers(tmp_path / "nowhere")


def test_a_killed_write_leaves_what_prepare_file_removes(tmp_path: Path) -> None:
    """SIGKILL in the middle of a write leaves the old file and one temporary file, which goes; no other file does."""
    path = tmp_path / "[run]" / "x.pt"
    save_plain(path, {"a": 1})
    (path.parent / "y.pt").write_text("")
    code = (
        "import os, sys; from ganlib._files import write_atomically\n"
        "def write(file):\n file.write(b'half'); os.kill(os.getpid(), 9)\n"
        "write_atomically(sys.argv[1], write)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60).returncode == -signal.SIGKILL
    assert load_plain(path) == {"a": 1}
    assert len(list(path.parent.iterdir())) == 3
    prepare_file(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["x.pt", "y.pt"]


def test_files_are_removed_if_they_exist(tmp_path: Path) -> None:
    """A missing one is not an error, and one that cannot be removed is named."""
    (tmp_path / "x.png").write_text("")
    remove_files([tmp_path / "x.png", tmp_path / "y.png"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "z.png").mkdir()
    with pytest.raises(RunFolderError, match=r"z\.png cannot be removed"):
        remove_files([tmp_path / "z.png"])


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """All missing folders of the path are made, and an existing one stays as it is."""
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    """It is an error that names the folder, or the file that should be written in it; an OSError too."""
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/deeper"):
        with pytest.raises(RunFolderError, match=rf"{folder} cannot be written to"):
            make_folder(tmp_path / folder)
    with pytest.raises(OSError, match=r"file/x\.pt cannot be written"):
        save_plain(tmp_path / "file" / "x.pt", {})


HOLDS = """
import multiprocessing, sys, time
from pathlib import Path
from ganlib._files import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()  # as a worker of a loader
print("holds", flush=True)
time.sleep(60)
"""


def test_another_process_is_refused_by_its_number_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    """While a process holds the folder a second one is told which; SIGKILL frees it, though a forked worker lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    try:
        with pytest.raises(RunFolderError, match=rf"{tmp_path} is in use by process {process.pid} on "):
            FolderLock(tmp_path).acquire()
        process.kill()
        process.wait()
        lock = FolderLock(tmp_path)
        lock.acquire()
        lock.release()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_second_lock_of_the_same_process_is_refused(tmp_path: Path) -> None:
    """Two runs of one process in one folder would mix as well; a released lock can be taken again."""
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    first, second = FolderLock(folder), FolderLock(link)
    first.acquire()
    first.acquire()
    with pytest.raises(RunFolderError, match=f"another run of this process.*{os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert list(folder.iterdir()) == []


def take_turns(folder: Path, turns: int) -> None:
    """Hold the folder again and again, each time alone."""
    for _ in range(turns):
        lock = FolderLock(folder)
        while True:
            try:
                lock.acquire()
                break
            except RunFolderError:
                time.sleep(0.0001)
        inside = folder / "inside"
        inside.touch(exist_ok=False)
        inside.unlink()
        lock.release()


def test_processes_that_take_turns_never_hold_a_folder_together(tmp_path: Path) -> None:
    """Four processes take and release the lock all the time, and two never hold it at once."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=take_turns, args=(tmp_path, 100)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []

"""Files are written whole or not at all."""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib import training
from ganlib.errors import ArgumentValueError, CheckpointError, RunFolderError
from ganlib.training._files import make_folder, remove_leftovers, write_atomically


def test_round_trip(tmp_path: Path) -> None:
    """Tensors and plain values come back as they were, and nothing else lies in the folder."""
    values = {"a": [1, 2.5, None, "x", (True, torch.float32)], "b": {"c": torch.arange(3)}}
    training.save_plain(tmp_path / "deep/x.pt", values)
    loaded = training.load_plain(tmp_path / "deep/x.pt")
    assert loaded["a"] == values["a"]
    assert torch.equal(loaded["b"]["c"], torch.arange(3))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.pt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """An error while writing leaves what was there, no temporary file, and names the file."""
    path = tmp_path / "x.pt"
    training.save_plain(path, {"a": 1})

    def write(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFolderError, match=r"x.pt cannot be written.*No space left"):
        write_atomically(path, write)
    assert training.load_plain(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pt"]


def test_an_error_of_the_disk_is_not_made_another(tmp_path: Path) -> None:
    """One that comes while torch.save writes is named as it is: torch makes a RuntimeError about positions of it."""
    path = tmp_path / "x.pt"
    training.save_plain(path, {"a": 1})

    class Full:
        """Takes 100 bytes."""

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

    with pytest.MonkeyPatch.context() as patch:
        fdopen = os.fdopen
        patch.setattr(os, "fdopen", lambda *arguments: Full(fdopen(*arguments)))
        with pytest.raises(RunFolderError, match=r"x\.pt cannot be written: \[Errno 28\] No space left"):
            training.save_plain(path, {"a": torch.zeros(10_000)})
    assert training.load_plain(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pt"]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """Of one name, of a pattern of names, or of all; what is no leftover stays."""
    names = [".1.pt.abcd1234.tmp", ".2.pt.abcd1234.tmp", ".x.csv.abcd1234.tmp", "1.pt", ".1.pt.tmp"]
    for pattern, stay in (("1.pt", names[1:]), ("[0-9]*.pt", names[2:]), ("*", names[3:])):
        for name in names:
            (tmp_path / name).write_text("")
        remove_leftovers(tmp_path, pattern)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    remove_leftovers(tmp_path / "nowhere")


def test_a_leftover_that_cannot_be_removed(tmp_path: Path) -> None:
    """It is an error of ours that names the folder."""
    (tmp_path / ".1.pt.abcd1234.tmp").mkdir()
    with pytest.raises(RunFolderError, match=tmp_path.name):
        remove_leftovers(tmp_path)


def rezipped(path: Path, *, kind: int = zipfile.ZIP_STORED, **extra: bytes) -> None:
    """Write an archive anew, with right checksums, another compression, and more members."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in {**members, **extra}.items():
            archive.writestr(name, content)


def test_an_archive_that_is_only_rewritten_is_read(tmp_path: Path) -> None:
    """The tests below refuse what they change, not that it was written anew."""
    training.save_plain(tmp_path / "x.pt", {"a": torch.arange(3)})
    rezipped(tmp_path / "x.pt")
    assert training.load_plain(tmp_path / "x.pt")["a"].tolist() == [0, 1, 2]


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    """Small on the disk and large in memory is refused before it is unpacked."""
    training.save_plain(tmp_path / "x.pt", {"a": torch.zeros(1_000_000)})
    rezipped(tmp_path / "x.pt", kind=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pt").stat().st_size < 20_000
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read.*compressed"):
        training.load_plain(tmp_path / "x.pt")


def test_members_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    """Members that lie in each other, and so are larger than the file, are refused before they are unpacked."""
    path = tmp_path / "x.pt"
    training.save_plain(path, {"a": torch.zeros(1000)})
    content = path.read_bytes()
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/0"))
    size = (100_000).to_bytes(4, "little")
    path.write_bytes(content[: entry + 20] + size + size + content[entry + 28 :])
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read.*larger than the file"):
        training.load_plain(path)


@pytest.mark.parametrize("name", ["X/DATA.PKL", "y/data.pkl"])
def test_two_pickles_are_refused(name: str, tmp_path: Path) -> None:
    """A file of two pickles, of which the one that is looked at might not be the one that is read, is refused."""
    training.save_plain(tmp_path / "x.pt", {"a": 1})
    rezipped(tmp_path / "x.pt", **{name: b"."})
    with pytest.raises(CheckpointError, match="two members share a name"):
        training.load_plain(tmp_path / "x.pt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is refused, and not opened."""
    os.mkfifo(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="no regular file"):
        training.load_plain(tmp_path / "x.pt")


def test_what_lies_too_deep_is_refused_when_saved(tmp_path: Path) -> None:
    """Up to 64 levels come back; one more, or a list in itself, is an error that names the place."""
    value: Any = 1
    for _ in range(63):
        value = [value]
    training.save_plain(tmp_path / "x.pt", {"a": value})
    assert training.load_plain(tmp_path / "x.pt") == {"a": value}
    endless: list[Any] = []
    endless.append(endless)
    for deep in ([value], endless):
        with pytest.raises(ArgumentValueError, match=r"a/0/0/.*64 levels"):
            training.save_plain(tmp_path / "y.pt", {"a": deep})
    assert not (tmp_path / "y.pt").exists()


def test_what_is_not_a_dict_is_refused(tmp_path: Path) -> None:
    """A file that holds a bare tensor is none of ours."""
    torch.save(torch.ones(2), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        training.load_plain(tmp_path / "x.pt")


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    """A folder whose path is a file is answered by its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file"):
        make_folder(tmp_path / "file/deeper")

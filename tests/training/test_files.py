"""Files are written whole or not at all."""

from pathlib import Path

import pytest
import torch

from ganlib import training
from ganlib.errors import CheckpointError, RunFolderError
from ganlib.training._files import make_folder, write_atomically


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

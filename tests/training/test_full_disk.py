"""A disk that is full, or read-only, is a clear error, and what was there stays."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import models, training, viz
from ganlib._files import load_plain, save_plain
from ganlib.errors import RunFolderError
from tests.training.players import MyTrainer, points

LAST = 300
pytestmark = pytest.mark.filterwarnings("ignore:no callback before LossCurves")  # some runs below have no table


class Disk:
    """A folder that can be made full or read-only: a file system of 1 MB, or where none may be mounted a makeshift."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = self._mount("-t", "tmpfs", "-o", "size=1m", "tmpfs")

    def _mount(self, *options: str) -> bool:
        if sys.platform != "linux":
            return False
        return subprocess.run(["mount", *options, str(self.folder)], capture_output=True, timeout=60).returncode == 0

    def fill(self) -> None:
        """Leave not a byte; without a file system of our own, let no file grow."""
        if self.mounted:
            with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        else:
            resource = pytest.importorskip("resource")
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def forbid(self) -> None:
        """Let nothing be written."""
        if self.mounted:
            assert self._mount("-o", "remount,ro")
        elif hasattr(os, "geteuid") and os.geteuid() != 0:
            for path in (self.folder, *self.folder.rglob("*")):
                path.chmod(0o555)
        else:
            pytest.skip("what root may write to cannot be made read-only here")

    def free(self) -> None:
        """Undo both."""
        if self.mounted:
            assert self._mount("-o", "remount,rw")
            (self.folder / "ballast").unlink(missing_ok=True)
        else:
            with contextlib.suppress(ImportError):
                import resource

                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            for path in (self.folder, *self.folder.rglob("*")):
                path.chmod(0o755)

    def close(self) -> None:
        """Give it back."""
        self.free()
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk with nothing on it."""
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.close()


class At:
    """Does something after an iteration."""

    def __init__(self, iteration: int, do: Callable[[], None]) -> None:
        self.iteration, self.do = iteration, do

    def on_iteration(self, run: training.Run) -> None:
        """Do it, where it is time."""
        if run.iteration == self.iteration:
            self.do()


def writers(folder: Path) -> dict[str, Any]:
    """Each callback that writes, by a word of the file that it writes."""
    generator = nn.Unflatten(1, (1, 4, 4))
    tensorboard = {}
    if importlib.util.find_spec("tensorboard"):
        tensorboard["tfevents"] = training.TensorBoardLogger(folder, every=1)
    return tensorboard | {
        "metrics.csv": training.CSVLogger(folder / "metrics.csv", every=1),
        "samples": viz.SampleGrid(generator, folder / "samples", latent=torch.rand(9, 16) * 2 - 1, every=2),
        "losses.png": viz.LossCurves(folder / "losses.png"),
        "training.gif": viz.TrainingGif(folder / "training.gif", folder / "samples"),
        "timeline.png": viz.Timeline(folder / "timeline.png", folder / "samples"),
        "checkpoints": training.Checkpoint(folder, every=4),
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run, but those of another kind: what locks it, and what fills the disk."""
    endings = {".pt", ".csv", ".png", ".gif", ".tmp"}
    paths = [path for path in folder.rglob("*") if path.suffix in endings]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def go(folder: Path, iterations: int, *extra: Any) -> MyTrainer:
    """Go on from the newest checkpoint, with fresh objects."""
    torch.manual_seed(0)
    trainer = MyTrainer()
    callbacks = [*extra, *writers(folder).values()]
    training.fit(trainer, [points()], iterations=iterations, resume=True, callbacks=callbacks)
    return trainer


def go_on(folder: Path, word: str, *extra: Any) -> None:
    """Go on with one that writes often, and a checkpoint for the resume, which writes after it and seldom."""
    rest = [] if word == "checkpoints" else [training.Checkpoint(folder, every=10**6)]
    callbacks = [*extra, writers(folder)[word], *rest]
    training.fit(MyTrainer(), [points()], iterations=LAST, resume=True, callbacks=callbacks)


@pytest.mark.parametrize("word", writers(Path()))
def test_a_disk_that_becomes_full(word: str, disk: Disk, tmp_path: Path) -> None:
    """The error names the file, what was there stays, and with room again the run goes on to the undisturbed end."""
    go(disk.folder, 4)
    before = contents(disk.folder)
    with pytest.raises(RunFolderError, match=rf"{word}.* cannot be written: .*(No space left|too large)") as caught:
        go_on(disk.folder, word, At(5, disk.fill))
    after = contents(disk.folder)
    disk.free()
    assert isinstance(caught.value, OSError)
    for name, content in before.items():
        # The row of the stop at 4 is in turn, and more rows may have found room.
        assert after[name].startswith(content) if name == "metrics.csv" else after[name] == content
    assert {name for name in after if name.endswith(".tmp")} == set()
    assert load_plain(disk.folder / "checkpoints/00000004.pt")["iteration"] == 4
    assert torch.equal(go(disk.folder, LAST).total, go(tmp_path / "undisturbed", LAST).total)
    ours, theirs = contents(disk.folder), contents(tmp_path / "undisturbed")
    assert ours["metrics.csv"] == theirs["metrics.csv"]
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("word", writers(Path()))
def test_a_disk_that_is_full_at_the_start(word: str, disk: Disk) -> None:
    """A run that goes on with a full disk ends with an error of ours that names what cannot be written."""
    go(disk.folder, 4)
    before = contents(disk.folder)
    disk.fill()
    with pytest.raises(RunFolderError, match="disk.* cannot be written"):
        go_on(disk.folder, word)
    after = contents(disk.folder)
    disk.free()
    assert {name: content for name, content in after.items() if name != "metrics.csv"} == {
        name: content for name, content in before.items() if name != "metrics.csv"
    }
    assert after["metrics.csv"].startswith(before["metrics.csv"])
    assert go(disk.folder, 8).iteration == 8


@pytest.mark.parametrize(
    ("word", "when"),
    [
        *((word, "before it starts") for word in writers(Path())),
        # A folder of checkpoints is locked by an open file, and so the system does not let it become read-only.
        *((word, "while it runs") for word in writers(Path()) if word != "checkpoints"),
    ],
)
def test_a_read_only_disk(word: str, when: str, disk: Disk) -> None:
    """The error names the folder or the file, and everything stays as it was."""
    go(disk.folder, 4)
    if when == "before it starts":
        disk.forbid()
    before = contents(disk.folder)
    trainer, callbacks = MyTrainer(), [At(5, disk.forbid), writers(disk.folder)[word]]
    trainer.iteration = 4
    with pytest.raises(RunFolderError, match=r"disk.*(Read-only|Permission denied)") as caught:
        training.fit(trainer, [points()], iterations=LAST, callbacks=callbacks)
    assert word in str(caught.value) or when == "before it starts"
    assert trainer.iteration == 4 or when == "while it runs"
    after = contents(disk.folder)
    assert after.keys() == before.keys()
    assert all(after[name].startswith(before[name]) for name in before)
    disk.free()
    assert go(disk.folder, 8).iteration == 8


@pytest.mark.parametrize("hurt", [Disk.fill, Disk.forbid])
def test_a_generator_that_finds_no_room(hurt: Any, disk: Disk) -> None:
    """save_generator names the file, and leaves the older one."""
    path = disk.folder / "generator.safetensors"
    models.save_generator(path, models.mlp_gan((1, 4, 4), 3, (8,))[0], info={"seed": 0})
    before = contents(disk.folder)
    hurt(disk)
    with pytest.raises(RunFolderError, match=r"disk.*cannot be written"):
        models.save_generator(path, models.mlp_gan((1, 40, 40), 30, (800,))[0])
    after = contents(disk.folder)
    disk.free()
    assert after == before
    assert models.load_generator(path).info == {"seed": 0}


def test_a_checkpoint_larger_than_the_room_left(disk: Disk) -> None:
    """One of which a half fits is an error about the disk, in words of the disk, and leaves nothing."""
    path = disk.folder / "x.pt"
    save_plain(path, {"a": 1})
    if not disk.mounted:
        disk.fill()
    with pytest.raises(RunFolderError, match=r"x\.pt cannot be written: .*(No space left|too large)"):
        save_plain(path, {"a": torch.zeros(200_000), "b": torch.zeros(200_000)})
    disk.free()
    assert load_plain(path) == {"a": 1}
    assert [entry.name for entry in disk.folder.iterdir()] == ["x.pt"]

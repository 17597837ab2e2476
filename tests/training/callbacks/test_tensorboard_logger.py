"""TensorBoard shows each metric once, at its iteration."""

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlib import training, viz
from ganlib.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError, RunFolderError
from tests.training.players import Going, Tripping, points

pytest.importorskip("tensorboard")


class Log:
    """Logs the iteration at every third one, and at the end."""

    def on_iteration(self, run: training.Run) -> None:
        """Log, where it is time."""
        if run.iteration % 3 == 0:
            run.log({"logged": run.iteration})

    def on_end(self, run: training.Run) -> None:
        """Log."""
        run.log({"end": 0.5})


def read(folder: Path, caplog: pytest.LogCaptureFixture) -> Any:
    """What TensorBoard reads from a folder, all images included."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    caplog.set_level(logging.ERROR)  # it tells of what is hidden
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return events


def shown(folder: Path, caplog: pytest.LogCaptureFixture) -> dict[str, list[tuple[int, float]]]:
    """The points that TensorBoard reads from a folder, by tag."""
    events = read(folder, caplog)
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def images_of(folder: Path, caplog: pytest.LogCaptureFixture) -> dict[str, list[tuple[int, Image.Image]]]:
    """The images that TensorBoard reads from a folder, by tag, in the sizes that it is told."""
    events, found = read(folder, caplog), dict[str, list[tuple[int, Image.Image]]]()
    for tag in events.Tags()["images"]:
        for event in events.Images(tag):
            image = Image.open(io.BytesIO(event.encoded_image_string))
            assert image.size == (event.width, event.height)
            found.setdefault(tag, []).append((event.step, image))
    return found


class Moving(Going):
    """A trainer that changes its generator, so that no two grids are alike."""

    def __init__(self, fails_at: int = 0) -> None:
        self.generator = nn.Sequential(nn.Linear(2, 3 * 4 * 5), nn.Unflatten(1, (3, 4, 5)), nn.Tanh())
        super().__init__(lambda i: 1 / (fails_at - i) if fails_at else 0.0, generator=self.generator)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Change it."""
        with torch.no_grad():
            self.generator[0].bias.add_(0.1 * torch.arange(1, 61) / 60)
        return super().train_step(batches)

    def state_dict(self) -> dict[str, Any]:
        """With the generator."""
        return {**super().state_dict(), "generator": self.generator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """With the generator."""
        self.generator.load_state_dict(state["generator"])
        super().load_state_dict({name: value for name, value in state.items() if name != "generator"})


def callbacks_of(trainer: Moving, folder: Path, every: int = 3) -> list[Any]:
    """A grid in each of two folders, their logger, and a checkpoint."""
    latent = torch.linspace(-1, 1, 8).view(4, 2)
    grid = viz.SampleGrid(trainer.generator, folder / "samples", latent=latent, every=every)
    one = viz.SampleGrid(trainer.generator, folder / "one", latent=latent[:1], every=5)
    logger = training.TensorBoardLogger(
        folder / "events", every=4, images={"samples": folder / "samples", "a/b": folder / "one"}
    )
    return [logger, grid, one, training.Checkpoint(folder, every=4)]


def assert_same(logged: list[tuple[int, Image.Image]], folder: Path) -> None:
    """What is logged are the images of a folder, pixel by pixel."""
    saved = {int(path.stem): Image.open(path) for path in folder.iterdir()}
    assert [step for step, _ in logged] == sorted(saved)
    assert all(saved[step].mode == image.mode for step, image in logged)
    assert all(saved[step].tobytes() == image.tobytes() for step, image in logged)


def test_grids_are_logged_when_they_are_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each image of each SampleGrid comes once, at its iteration, whatever is logged then, and has its pixels."""
    trainer = Moving()
    training.fit(trainer, [points()], iterations=10, callbacks=callbacks_of(trainer, tmp_path))
    found = images_of(tmp_path / "events", caplog)
    assert {tag: [step for step, _ in images] for tag, images in found.items()} == {
        "samples": [1, 3, 6, 9, 10],
        "a/b": [1, 5, 10],
    }
    assert_same(found["samples"], tmp_path / "samples")
    assert_same(found["a/b"], tmp_path / "one")
    assert len({image.tobytes() for _, image in found["samples"]}) == 5
    assert [step for step, _ in shown(tmp_path / "events", caplog)["loss"]] == [4, 8, 10]


def test_grids_of_a_run_that_is_killed_and_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are those of a run that was never stopped."""
    trainer = Moving(fails_at=7)
    with pytest.raises(ZeroDivisionError):
        training.fit(trainer, [points()], iterations=10, callbacks=callbacks_of(trainer, tmp_path / "killed"))
    for folder in ("killed", "whole"):
        torch.manual_seed(0)
        trainer = Moving()
        callbacks = callbacks_of(trainer, tmp_path / folder)
        training.fit(trainer, [points()], iterations=10, resume=folder == "killed", callbacks=callbacks)
        found = images_of(tmp_path / folder / "events", caplog)
        assert [step for step, _ in found["samples"]] == [1, 3, 6, 9, 10]
        assert_same(found["samples"], tmp_path / folder / "samples")


def test_the_tag_of_one_folder_is_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a callback of the user saves the images, in a folder that is given as a relative path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").mkdir()

    class Save:
        """Saves a transparent image after the second iteration."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 2:
                Image.new("LA", (3, 2), (7, 8)).save("samples/00000002.png")

    logger = training.TensorBoardLogger("events", images="samples")
    training.fit(Going(float), [points()], iterations=3, callbacks=[logger, Save()])
    ((step, image),) = images_of(tmp_path / "events", caplog)["samples"]
    assert (step, image.mode, image.size, image.getpixel((0, 0))) == (2, "LA", (3, 2), (7, 8))


def test_a_folder_without_images(tmp_path: Path) -> None:
    """The typing error in a folder's name is told at the start, on the line that calls fit."""
    trainer = Moving()
    grid = viz.SampleGrid(trainer.generator, tmp_path / "samples", latent=torch.zeros(1, 2))
    logger = training.TensorBoardLogger(tmp_path / "events", images=tmp_path / "sample")
    with pytest.warns(UserWarning, match="no SampleGrid among callbacks writes images to .*sample, ") as record:
        training.fit(trainer, [points()], iterations=1, callbacks=[grid, logger])
    assert record[0].filename == __file__


@pytest.mark.parametrize("images", [3, ["run/samples"], {"samples": 3}, viz])
def test_images_that_are_not_folders(images: Any) -> None:
    """The error says what they must be."""
    with pytest.raises(ArgumentTypeError, match=r"images \(=.*\) must be the folder of a SampleGrid, or a dict"):
        training.TensorBoardLogger("run", images=images)


@pytest.mark.parametrize("first", ["the logger", "the other"])
def test_what_is_shown(first: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every k iterations, where something was logged, and at the end, where each metric comes once."""
    logger = training.TensorBoardLogger(tmp_path / "run" / "events", every=4)
    callbacks = [logger, Log()] if first == "the logger" else [Log(), logger]
    training.fit(Going(lambda i: i / 2), [points()], iterations=8, callbacks=callbacks)
    assert shown(tmp_path / "run" / "events", caplog) == {
        "steady": [(i, 0.0) for i in (3, 4, 6, 8)],
        "loss": [(i, i / 2) for i in (3, 4, 6, 8)],
        "logged": [(3, 3.0), (6, 6.0)],
        "end": [(8, 0.5)],
    }


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_is_killed_and_resumed(fresh: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is written again is shown once, by the same logger or another one; a record that was cut does no harm."""
    loggers = [training.TensorBoardLogger(tmp_path / "events", every=2)] * 2
    if fresh:
        loggers[1] = training.TensorBoardLogger(tmp_path / "events", every=2)
    checkpoint = training.Checkpoint(tmp_path, every=3)
    with pytest.raises(ZeroDivisionError):
        training.fit(Going(lambda i: 1 / (9 - i)), [points()], iterations=20, callbacks=[loggers[0], checkpoint])
    (path,) = (tmp_path / "events").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    training.fit(Going(float), [points()], iterations=10, resume=True, callbacks=[loggers[1], checkpoint])
    assert [step for step, _ in shown(tmp_path / "events", caplog)["loss"]] == [2, 4, 6, 8, 10]
    assert shown(tmp_path / "events", caplog)["loss"][-2:] == [(8, 8.0), (10, 10.0)]


def test_a_run_that_goes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was undone is not shown."""
    callbacks = [training.TensorBoardLogger(tmp_path / "events", every=2), training.Checkpoint(tmp_path, every=5)]
    with pytest.warns(UserWarning, match="goes back to iteration 5"):
        training.fit(Tripping(8), [points()], iterations=12, callbacks=callbacks, rollbacks=1)
    assert shown(tmp_path / "events", caplog)["total"] == [(i, float(i)) for i in (2, 4, 6, 8, 10, 12)]


def test_a_new_run_hides_an_older_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the same folder, by the same logger, only the points of the new run are shown; more calls of fit go on."""
    logger = training.TensorBoardLogger(tmp_path, every=2)
    training.fit(Going(float), [points()], iterations=8, callbacks=[logger])
    trainer = Going(lambda i: -float(i))
    for last in (4, 4, 6):
        training.fit(trainer, [points()], iterations=last, callbacks=[logger])
    assert shown(tmp_path, caplog)["loss"] == [(2, -2.0), (4, -4.0), (6, -6.0)]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is refused at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file.* cannot be written to"):
        training.fit(Going(float), [points()], iterations=1, callbacks=[training.TensorBoardLogger(tmp_path / "file")])


def test_a_folder_that_goes_in_the_middle(tmp_path: Path) -> None:
    """The error names the file."""
    logger = training.TensorBoardLogger(tmp_path / "events", every=1)

    class Remove:
        """Removes the folder."""

        def on_iteration(self, run: training.Run) -> None:
            for path in (tmp_path / "events").iterdir():
                path.unlink()
            (tmp_path / "events").rmdir()

    with pytest.raises(RunFolderError, match=r"events\.out\.tfevents.* cannot be written"):
        training.fit(Going(float), [points()], iterations=2, callbacks=[Remove(), logger])


def test_without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says at once what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ganlib\[tensorboard\]'"):
        training.TensorBoardLogger("run")


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_bad_arguments(every: Any) -> None:
    """Every is a whole number of at least 1."""
    with pytest.raises(ArgumentValueError, match=rf"every \(={every}\)"):
        training.TensorBoardLogger("run", every=every)


@pytest.mark.parametrize(
    ("images", "error"), [("", ArgumentValueError), ({"": "x"}, ArgumentValueError), ({3: "x"}, ArgumentTypeError)]
)
def test_tags_are_texts_that_are_not_empty(images: Any, error: type[Exception]) -> None:
    """A tag that TensorBoard cannot show is refused."""
    with pytest.raises(error, match="images"):
        training.TensorBoardLogger("run", images=images)

"""Write metrics and images for TensorBoard."""

import importlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganlib._checks import check_count, check_path_like
from ganlib._files import make_folder
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib.errors import ArgumentTypeError, ArgumentValueError, MissingExtraError, RunFolderError
from ganlib.protocols import Run

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger:
    """Write metrics and sample grids for TensorBoard.

    The logger writes metrics every few iterations, when a callback has logged a metric, and at the end. The tag is the
    name of the metric, and the step is the iteration. ``tensorboard --logdir FOLDER`` shows the curves in the folder
    and in all folders below it, also during the training. Each call of ``fit`` writes a new file into the folder. If a
    resumed run repeats iterations, TensorBoard shows the new points instead of the old ones. A new run in the folder of
    an older run hides all points of the older run.

    With ``images``, the logger also writes each image that a :class:`ganlib.viz.SampleGrid` saves. In resumed and new
    runs, images are hidden or replaced like points. TensorBoard shows ten images of each tag; use
    ``--samples_per_plugin images=1000`` to see more. With several processes, only the first one writes.

    Args:
        folder: the folder of the files. It is created.
        every: number of iterations between two points, at least 1.
        images: the folder of a SampleGrid, with the folder's name as the tag; or a dict from tags to folders. Your own
            callback can save PNG files there in ``on_iteration`` or ``on_end``. Name the files by iteration, such as
            ``00000500.png``.

    Raises:
        ArgumentValueError: ``every`` is below 1, or a tag of ``images`` is empty.
        ArgumentTypeError: ``folder`` is not a path, or ``images`` is neither a path nor a dict of paths.
        MissingExtraError: the package tensorboard is not installed.

    Example:
        >>> import torch
        >>> from ganlib import latents, training, viz
        >>> generator, latent = torch.nn.Linear(4, 2), latents.Gaussian(4)
        >>> callbacks = [  # doctest: +SKIP
        ...     viz.SampleGrid(generator, "run/samples", latent=latent(64)),
        ...     training.TensorBoardLogger("run/tensorboard", every=100, images="run/samples"),
        ... ]
    """

    rank_zero_only = True
    reads_metrics = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 50,
        *,
        images: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> None:
        self.every: int = check_count("every", every, least=1)
        self.images: dict[str, Path] = _folders(images)
        try:
            # The parts of torch's SummaryWriter. Its thread would write later, and hide the error of a full disk.
            self._event = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._record_writer = importlib.import_module("tensorboard.summary.writer.record_writer").RecordWriter
        except ImportError as error:
            raise MissingExtraError(
                "tensorboard is not installed, which TensorBoardLogger needs: pip install 'ganlib[tensorboard]'"
            ) from error
        self.folder: Path = check_path_like("folder", folder)
        self._file = self.folder
        self._written: dict[str, float] = {}
        self._written_images = set[str]()
        self._written_at = -1

    def __repr__(self) -> str:
        """Show the class and its settings."""
        folders = getattr(self, "images", {})
        return described(
            self, "folder", "every", images=lambda: {tag: str(path) for tag, path in folders.items()} or None
        )

    def on_start(self, run: Run) -> None:
        """Start a file, which hides points that the run will repeat; warn of a folder that receives no images.

        Args:
            run: the run.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        make_folder(self.folder)
        self._check_images(run)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = self.folder / name
        self._written_at = run.iteration if run.iteration == self._written_at else -1
        start = {"step": run.iteration + 1, "session_log": {"status": "START"}}
        self._append({"file_version": "brain.Event:2"}, start, mode="xb")

    def on_iteration(self, run: Run) -> None:
        """Write the metrics, if it is time, and an image that was saved in this iteration.

        Args:
            run: the run.

        Raises:
            RunFolderError: the file cannot be written, or an image cannot be read.
        """
        if run.iteration % self.every == 0 or run.logged.keys() & run.metrics.keys():
            self._write(run)
        self._write_images(run)

    def on_end(self, run: Run) -> None:
        """Write the metrics and images of the last iteration that are still missing.

        Args:
            run: the run.

        Raises:
            RunFolderError: the file cannot be written, or an image cannot be read.
        """
        self._write(run)
        self._write_images(run)

    def _begin(self, iteration: int) -> None:
        if iteration != self._written_at:
            self._written, self._written_images, self._written_at = {}, set(), iteration

    def _write(self, run: Run) -> None:
        self._begin(run.iteration)
        values = {name: float(value) for name, value in run.metrics.items()}
        new = [(name, value) for name, value in values.items() if self._written.get(name) != value]
        if new:
            points = [{"tag": name, "simple_value": value} for name, value in new]
            self._append({"step": run.iteration, "summary": {"value": points}})
        self._written |= values

    def _write_images(self, run: Run) -> None:
        self._begin(run.iteration)
        for tag, folder in self.images.items():
            path = folder / f"{run.iteration:08d}.png"
            if tag in self._written_images or not path.is_file():
                continue
            try:
                png = path.read_bytes()
            except OSError as error:
                raise RunFolderError(f"{path} cannot be read: {error}") from error
            width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
            image = {"width": width, "height": height, "encoded_image_string": png}
            self._append({"step": run.iteration, "summary": {"value": [{"tag": tag, "image": image}]}})
            self._written_images.add(tag)

    def _check_images(self, run: Run) -> None:
        """Warn of a folder that no callback of ganlib writes to, if all callbacks are ganlib's."""
        if all(type(callback).__module__.startswith("ganlib.") for callback in run.callbacks):
            known = [os.path.abspath(getattr(one, "folder", "")) for one in run.callbacks if one is not self]
            for tag, folder in self.images.items():
                if os.path.abspath(folder) not in known:
                    warn_user(
                        f"no SampleGrid among callbacks writes images to {folder}, where TensorBoardLogger reads the "
                        f"images {tag!r}: give both the same folder"
                    )

    def _append(self, *events: dict[str, Any], mode: str = "ab") -> None:
        try:
            with self._file.open(mode) as file:
                for event in events:
                    self._record_writer(file).write(
                        self._event.Event(wall_time=time.time(), **event).SerializeToString()
                    )
        except OSError as error:
            raise RunFolderError(f"{self._file} cannot be written: {error}") from error


def _folders(images: Any) -> dict[str, Path]:
    """Return the folders by tag."""
    if images is None:
        return {}
    try:
        if isinstance(images, str | os.PathLike):
            folders = {Path(os.path.abspath(images)).name if os.fspath(images) else "": Path(images)}
        else:
            folders = {tag: Path(folder) for tag, folder in images.items()}
        if not all(isinstance(tag, str) for tag in folders):
            raise TypeError
    except (AttributeError, TypeError):
        raise ArgumentTypeError(
            f"images (={shown(images)}) must be the folder of a SampleGrid, or a dict from tags to such folders"
        ) from None
    if "" in folders:
        raise ArgumentValueError(f"images (={shown(images)}) must name each image: its tag is empty")
    return folders

"""Make a GIF from the sample grids of a run."""

import os
from pathlib import Path

from ganlib._checks import check_count, check_path_like, check_positive
from ganlib._files import prepare_file
from ganlib._shown import described
from ganlib.protocols import Run
from ganlib.viz._images import (
    check_path,
    even_selection,
    numbered_images,
    read_images,
    save_image,
)
from ganlib.viz._sample_grid import warn_of_folder

__all__ = ["TrainingGif"]


class TrainingGif:
    """Make a looping GIF animation from the images of a :class:`SampleGrid` at the end of a run.

    The frames are the PNG files in the folder up to the iteration of the run, so the GIF of a resumed run has no gap.
    If there are more than ``max_frames``, an even selection is shown that includes the first and the last. The last
    frame is shown for two seconds.

    Args:
        path: the GIF file. Its folder is created.
        folder: the folder of the SampleGrid, which must come before this callback.
        seconds: duration of all frames except the last, above 0.
        max_frames: maximum number of frames, at least 2.

    Raises:
        ArgumentTypeError: if an argument is not a path.
        ArgumentValueError: if an argument is out of its range, or the path has another suffix.

    Example:
        >>> TrainingGif("run/training.gif", "run/samples", seconds=6.0).max_frames
        100
    """

    rank_zero_only = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        *,
        seconds: float = 8.0,
        max_frames: int = 100,
    ) -> None:
        self.path: Path = check_path(path, ".gif")
        self.folder: Path = check_path_like("folder", folder)
        self.seconds: float = check_positive("seconds", seconds)
        self.max_frames: int = check_count("max_frames", max_frames, least=2)

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "path", "folder", "seconds", "max_frames")

    def on_start(self, run: Run) -> None:
        """Create the folder, and warn if no SampleGrid before this callback writes the images.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the folder cannot be written to.
        """
        prepare_file(self.path)
        warn_of_folder(self, run)

    def on_end(self, run: Run) -> None:
        """Make the GIF, if there are images.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the GIF cannot be written.
        """
        paths = even_selection(numbered_images(self.folder, run.iteration), self.max_frames)
        frames = [*read_images(paths, product="GIF").values()]
        if not frames:
            return
        # A GIF counts in hundredths of a second. Players show frames shorter than 2 hundredths for 10 hundredths.
        each = max(20, round(self.seconds * 1000 / len(frames) / 10) * 10)
        save_image(
            self.path,
            frames[0].save,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[*[each] * (len(frames) - 1), 2000],
            loop=0,
        )

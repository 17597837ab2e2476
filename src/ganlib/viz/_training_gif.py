"""The pictures of a run as a film."""

import os
from pathlib import Path

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, save_picture
from ganlib.viz._pictures import even_selection, numbered_pictures, read_pictures

__all__ = ["TrainingGif"]


class TrainingGif:
    """Makes a looping GIF, at the end, of the pictures that a :class:`SampleGrid` has drawn.

    The frames are the PNG files in the folder up to the run's iteration, so a resumed run's film has no gap. Of more
    than ``max_frames`` an even selection is shown, the first and the last always; the last stays for longer.

    Args:
        path: the file; its folder is made.
        folder: where the SampleGrid draws. Give it before this one among the callbacks.
        seconds: length of the film without the last frame's stay, above 0.
        max_frames: at least 2.

    Raises:
        ArgumentValueError: an argument is out of its range.

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
        if not seconds > 0:
            raise ArgumentValueError(f"seconds (={seconds}) must be above 0")
        if not (isinstance(max_frames, int) and max_frames >= 2):
            raise ArgumentValueError(f"max_frames (={max_frames}) must be a whole number of at least 2")
        self.path = Path(path)
        self.folder = Path(folder)
        self.seconds = seconds
        self.max_frames = max_frames

    def on_start(self, run: Run) -> None:
        """Make the folder.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        check_folder(self.path.parent)

    def on_end(self, run: Run) -> None:
        """Make the film, where there is a picture.

        Args:
            run: the training.

        Raises:
            RunFolderError: it cannot be written.
        """
        paths = even_selection(numbered_pictures(self.folder, run.iteration), self.max_frames)
        frames = [*read_pictures(paths, work="film", form="GIF").values()]
        if not frames:
            return
        # GIF's clock ticks in hundredths of a second, and players take anything under two of them for ten.
        each = max(20, round(self.seconds * 1000 / len(frames) / 10) * 10)
        save_picture(
            self.path,
            frames[0].save,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[*[each] * (len(frames) - 1), 2000],
            loop=0,
        )

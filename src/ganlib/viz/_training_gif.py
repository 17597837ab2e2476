"""The pictures of a run as a film."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, save_picture

__all__ = ["TrainingGif"]

_LARGEST = 65_535  # a GIF's side


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
        numbered = (path for path in self.folder.glob("[0-9]*.png") if path.stem.isdecimal() and path.is_file())
        paths = sorted((path for path in numbered if int(path.stem) <= run.iteration), key=lambda path: int(path.stem))
        if not paths:
            return
        last = len(paths) - 1
        count = min(len(paths), self.max_frames)
        frames = _frames([paths[round(index * last / max(count - 1, 1))] for index in range(count)])
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


def _frames(paths: Sequence[Path]) -> list[Image.Image]:
    """The pictures that are good, and like the last good one."""
    frames: list[Image.Image] = []
    for path in reversed(paths):
        try:
            frames.append(_frame(path, like=frames[0] if frames else None))
        except Exception as error:  # whatever a damaged or hostile file makes Pillow raise
            warnings.warn(f"{path} is left out of the film: {type(error).__name__}: {error}", stacklevel=4)
    return frames[::-1]


def _frame(path: Path, like: Image.Image | None) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a grid may be as large as it likes, up to Pillow's limit
        with Image.open(path, formats=["PNG"]) as image:  # not by its content: some formats run other programs
            if like is not None and (image.mode, image.size) != (like.mode, like.size):
                raise ValueError(f"it is {image.mode} {image.size}, but the last picture {like.mode} {like.size}")
            if image.mode not in ("L", "RGB") or not all(1 <= side <= _LARGEST for side in image.size):
                raise ValueError(f"a {image.mode} picture of {image.size} is none that a SampleGrid draws for a GIF")
            return Image.frombytes(image.mode, image.size, image.tobytes())  # without what else the file says

"""The pictures of a run, one below the other."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, save_picture
from ganlib.viz._pictures import even_selection, numbered_pictures, read_pictures

__all__ = ["Timeline"]


class Timeline:
    """Stacks, at the end, the pictures that a :class:`SampleGrid` has drawn: the oldest on top, each by its iteration.

    Where the SampleGrid has as many ``columns`` as latents, every row of the stack is one iteration, and every column
    what became of one latent.

    The pictures are the PNG files in the folder up to the run's iteration, so a resumed run's stack has no gap. Of
    more than ``max_rows`` an even selection is shown, the first and the last always.

    Args:
        path: the file, a PNG; its folder is made.
        folder: where the SampleGrid draws. Give it before this one among the callbacks.
        max_rows: at least 2.

    Raises:
        ArgumentValueError: ``max_rows`` is below 2.

    Example:
        >>> Timeline("run/timeline.png", "run/samples", max_rows=6).max_rows
        6
    """

    rank_zero_only = True

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str], *, max_rows: int = 10) -> None:
        if not (isinstance(max_rows, int) and max_rows >= 2):
            raise ArgumentValueError(f"max_rows (={max_rows}) must be a whole number of at least 2")
        self.path = Path(path)
        self.folder = Path(folder)
        self.max_rows = max_rows

    def on_start(self, run: Run) -> None:
        """Make the folder.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        check_folder(self.path.parent)

    def on_end(self, run: Run) -> None:
        """Stack the pictures, where there is one.

        Args:
            run: the training.

        Raises:
            RunFolderError: the stack cannot be written.
        """
        paths = even_selection(numbered_pictures(self.folder, run.iteration), self.max_rows)
        pictures = read_pictures(paths, work="timeline", form="PNG")
        if pictures:
            rows = [(str(int(path.stem)), picture) for path, picture in pictures.items()]
            save_picture(self.path, _stack(rows).save, format="PNG")


def _stack(rows: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of one mode and size below each other, with their names in a margin to the left."""
    mode, (width, height) = rows[0][1].mode, rows[0][1].size
    # Small enough for the row, and beyond that of a size that is read with ease however large the pictures are.
    letters = min(height, max(10, min(24, height // 3)))
    font = ImageFont.load_default(size=letters)
    margin = math.ceil(max(font.getlength(name) for name, _ in rows)) + letters
    sheet = Image.new(mode, (margin + width, height * len(rows)))
    for index, (name, picture) in enumerate(rows):
        beside = Image.new(mode, (margin, height))  # of its own, so that nothing reaches into the next row
        ImageDraw.Draw(beside).text((margin - letters / 2, height / 2), name, fill="white", font=font, anchor="rm")
        sheet.paste(beside, (0, index * height))
        sheet.paste(picture, (margin, index * height))
    return sheet

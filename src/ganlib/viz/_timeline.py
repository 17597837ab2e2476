"""Stack the sample grids of a run in one image."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ganlib._checks import check_count, check_path_like
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

__all__ = ["Timeline"]


class Timeline:
    """Stack the images of a :class:`SampleGrid` at the end of a run, with their iterations, the oldest at the top.

    If the SampleGrid has as many ``columns`` as latents, each row of the stack is one iteration, and each column shows
    the samples of one latent.

    The images are the PNG files in the folder up to the iteration of the run, so the stack of a resumed run has no gap.
    If there are more than ``max_rows``, an even selection is shown that includes the first and the last.

    Args:
        path: the PNG file. Its folder is created.
        folder: the folder of the SampleGrid, which must come before this callback.
        max_rows: maximum number of images, at least 2.

    Raises:
        ArgumentTypeError: if an argument is not a path.
        ArgumentValueError: if ``max_rows`` is below 2, or the path has another suffix.

    Example:
        >>> Timeline("run/timeline.png", "run/samples", max_rows=6).max_rows
        6
    """

    rank_zero_only = True

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str], *, max_rows: int = 10) -> None:
        self.path: Path = check_path(path, ".png")
        self.folder: Path = check_path_like("folder", folder)
        self.max_rows: int = check_count("max_rows", max_rows, least=2)

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "path", "folder", "max_rows")

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
        """Stack the images, if there are any.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the stack cannot be written.
        """
        paths = even_selection(numbered_images(self.folder, run.iteration), self.max_rows)
        images = read_images(paths, product="timeline")
        if images:
            rows = [(str(int(path.stem)), image) for path, image in images.items()]
            save_image(self.path, _stack(rows).save, format="PNG")


def _stack(rows: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    mode, (width, height) = rows[0][1].mode, rows[0][1].size
    # Letters must fit into a row; otherwise their size is easy to read, even next to large images.
    letters = min(height, max(10, min(24, height // 3)))
    font = ImageFont.load_default(size=letters)
    margin = math.ceil(max(font.getlength(name) for name, _ in rows)) + letters
    sheet = Image.new(mode, (margin + width, height * len(rows)))
    for index, (name, image) in enumerate(rows):
        label = Image.new(mode, (margin, height))  # a separate image clips letters at the edge of the row
        ImageDraw.Draw(label).text((margin - letters / 2, height / 2), name, fill="white", font=font, anchor="rm")
        sheet.paste(label, (0, index * height))
        sheet.paste(image, (margin, index * height))
    return sheet

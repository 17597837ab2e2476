"""What the generator makes of the same latents, as it learns."""

import os
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from ganlib._sampling import BatchNormStatistics, check_batch_norm, draw
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, remove_pictures, save_picture
from ganlib.viz._grid import image_grid

__all__ = ["SampleGrid"]


class SampleGrid:
    """Draws a grid of samples from fixed latents every so often, and after the first and the last iteration.

    Files are ``folder/00000500.png``, by iteration. The generator draws in evaluation mode, and is put back. A run that
    goes on removes the picture of its last stop, where that was out of turn, so the pictures are those of a run that
    was never stopped.

    Args:
        generator: the live one, or an average such as ``EMA(...).generator``.
        folder: where the pictures go; those of a later iteration than the run's start, left there, are removed.
        latent: (N, dim), the fixed latents.
        condition: N fixed conditions, or None.
        every: iterations between two pictures, at least 1.
        columns: images a row; None is the root of N, rounded up.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in scripts that draw one latent at a time in training mode. All else,
            such as dropout, is in evaluation mode either way.

    Raises:
        ArgumentTypeError: the latent or condition is no tensor.
        ArgumentValueError: ``every`` is below 1, ``batch_norm`` is not one of its options, or there are not as many
            conditions as latents.

    Example:
        >>> from ganlib import latents, models, stacks
        >>> generator, _ = models.dcgan(stacks.StackPlan((1, 8, 8), [stacks.Stage(8)]), latent_dim=4)
        >>> grid = SampleGrid(generator, "run/samples", latent=latents.Gaussian(4)(9))
        >>> grid.draw().size
        (32, 32)
    """

    rank_zero_only = True

    def __init__(
        self,
        generator: nn.Module,
        folder: str | os.PathLike[str],
        *,
        latent: Tensor,
        condition: Tensor | None = None,
        every: int = 500,
        columns: int | None = None,
        batch_norm: BatchNormStatistics = "running",
    ) -> None:
        if not isinstance(generator, nn.Module):
            raise ArgumentTypeError(f"generator (={generator!r}) must be a torch.nn.Module")
        for name, value in (("latent", latent), ("condition", condition)):
            if not isinstance(value, Tensor) and not (value is None and name == "condition"):
                raise ArgumentTypeError(f"{name} (={value!r}) must be a tensor")
        if condition is not None and len(condition) != len(latent):
            raise ArgumentValueError(f"condition has {len(condition)} entries, but latent has {len(latent)}")
        if not (isinstance(every, int) and every >= 1):
            raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")
        check_batch_norm(batch_norm)
        self.generator = generator
        self.folder = Path(folder)
        self.latent = latent
        self.condition = condition
        self.every = every
        self.columns = columns
        self.batch_norm = batch_norm
        self._drawn_at: int | None = None
        self._stop: int | None = None

    def draw(self) -> Image.Image:
        """Draw the grid now.

        Returns:
            A Pillow image.
        """
        first = next(self.generator.parameters(), self.latent)
        device = first.device
        condition = None if self.condition is None else self.condition.to(device)
        samples = draw(self.generator, self.latent.to(device), condition, batch_norm=self.batch_norm)
        return image_grid(
            samples, columns=self.columns, sample_range=getattr(self.generator, "sample_range", (-1.0, 1.0))
        )

    def on_start(self, run: Run) -> None:
        """Make the folder, and remove the pictures that the run will draw again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        check_folder(self.folder)
        self._drawn_at = None
        self._stop = None if self._is_due(run.iteration) else run.iteration
        numbered = (path for path in self.folder.glob("[0-9]*.png") if path.stem.isdecimal())
        remove_pictures(path for path in numbered if int(path.stem) > run.iteration)
        remove_pictures(self.folder.glob(".[0-9]*.png.tmp"))  # of a run that was killed while it drew

    def on_iteration(self, run: Run) -> None:
        """Draw, where it is time.

        Args:
            run: the training.

        Raises:
            RunFolderError: the picture cannot be written.
        """
        if self._stop is not None:  # not at the start: of a run that is over it is the last picture
            remove_pictures([self._path(self._stop)])
            self._stop = None
        if self._is_due(run.iteration):
            self._save(run.iteration)

    def on_end(self, run: Run) -> None:
        """Draw the last picture, unless that has just been done.

        Args:
            run: the training.

        Raises:
            RunFolderError: the picture cannot be written.
        """
        if run.iteration != self._drawn_at:
            self._save(run.iteration)

    def _is_due(self, iteration: int) -> bool:
        return iteration == 1 or (iteration > 0 and iteration % self.every == 0)

    def _path(self, iteration: int) -> Path:
        return self.folder / f"{iteration:08d}.png"

    def _save(self, iteration: int) -> None:
        save_picture(self._path(iteration), self.draw().save, format="PNG")
        self._drawn_at = iteration

"""Samples of the same latents, as the generator learns."""

import os
from pathlib import Path

from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ganlib._checks import check_sizes
from ganlib._files import make_folder, remove_files, remove_leftovers
from ganlib._sampling import BatchNormStatistics, check_batch_norm, count_entries, draw
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Condition, Run
from ganlib.viz._grid import image_grid
from ganlib.viz._images import save_image

__all__ = ["SampleGrid"]


class SampleGrid:
    """Saves a grid of samples from fixed latents every few iterations, and after the first and the last iteration.

    The files are ``folder/00000500.png``, named by iteration. The generator is in evaluation mode while it is called;
    afterwards its modes are restored. A run that continues removes the image of its last stop, if no image was due
    then, so that its images are those of a run that was never stopped.

    Args:
        generator: the one that is trained, or an average such as ``EMA(...).module``.
        folder: the folder of the images; images of later iterations than the start of the run are removed from it.
        latent: (N, dim), the fixed latents.
        condition: N fixed conditions, a tensor or a dict or tuple of tensors; None if the generator takes none.
        every: iterations between two images, at least 1.
        columns: images in a row; None is the square root of N, rounded up.
        batch_norm: what batch norm normalizes with: ``"running"``, its running averages, or ``"sample"``, the mean and
            variance of each sample by itself, as in scripts that call a generator in training mode with one latent at a
            time. All else, such as dropout, is in evaluation mode either way.

    Raises:
        ArgumentTypeError: the generator is not a module, or the latent or condition is not a tensor (or nest of them).
        ArgumentValueError: ``every`` is below 1, or ``batch_norm`` is not one of its options.
        ShapeError: there are not as many conditions as latents.

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
        condition: Condition = None,
        every: int = 500,
        columns: int | None = None,
        batch_norm: BatchNormStatistics = "running",
    ) -> None:
        if not isinstance(generator, nn.Module):
            raise ArgumentTypeError(f"generator (={generator!r}) must be a torch.nn.Module")
        if not isinstance(latent, Tensor):
            raise ArgumentTypeError(f"latent (={latent!r}) must be a tensor")
        if condition is not None:
            count_entries("condition", condition, len(latent))
        check_sizes(every=every)
        check_batch_norm(batch_norm)
        self.generator = generator
        self.folder = Path(folder)
        self.latent = latent
        self.condition = condition
        self.every = every
        self.columns = columns
        self.batch_norm = batch_norm
        self._saved_at: int | None = None

    def draw(self) -> Image.Image:
        """Make the grid now.

        Returns:
            A Pillow image.
        """
        device = next(self.generator.parameters(), self.latent).device
        latent, condition = tree_map_only(Tensor, lambda tensor: tensor.to(device), (self.latent, self.condition))
        samples = draw(self.generator, latent, condition, batch_norm=self.batch_norm)
        return image_grid(
            samples, columns=self.columns, sample_range=getattr(self.generator, "sample_range", (-1.0, 1.0))
        )

    def on_start(self, run: Run) -> None:
        """Make the folder, and remove the images that the run will save again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        make_folder(self.folder)
        self._saved_at = None
        is_stop = run.progress < 1 and not self._is_due(run.iteration)  # a run that is over keeps its last image
        numbered = (path for path in self.folder.glob("[0-9]*.png") if path.stem.isdecimal())
        remove_files(path for path in numbered if int(path.stem) > run.iteration - is_stop)
        remove_leftovers(self.folder, "[0-9]*.png")

    def on_iteration(self, run: Run) -> None:
        """Save an image, if it is time.

        Args:
            run: the training.

        Raises:
            RunFolderError: the image cannot be written.
        """
        if self._is_due(run.iteration):
            self._save(run.iteration)

    def on_end(self, run: Run) -> None:
        """Save the last image, unless that has just been done.

        Args:
            run: the training.

        Raises:
            RunFolderError: the image cannot be written.
        """
        if run.iteration != self._saved_at:
            self._save(run.iteration)

    def _is_due(self, iteration: int) -> bool:
        return iteration == 1 or (iteration > 0 and iteration % self.every == 0)

    def _save(self, iteration: int) -> None:
        save_image(self.folder / f"{iteration:08d}.png", self.draw().save, format="PNG")
        self._saved_at = iteration

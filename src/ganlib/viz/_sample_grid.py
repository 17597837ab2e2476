"""Save samples of the same latents while the generator learns."""

import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ganlib._averages import any_is_behind
from ganlib._checks import check_count, check_path_like
from ganlib._ending import last_operation
from ganlib._files import make_folder, remove_files, remove_leftovers
from ganlib._random import load_random_state, random_state
from ganlib._sampling import BatchNormStatistics, check_batch_norm, count_entries, draw, evaluating
from ganlib._shown import described, shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Condition, Run
from ganlib.viz._cells import check_range
from ganlib.viz._grid import check_layout, image_grid
from ganlib.viz._images import numbered_images, save_image

__all__ = ["SampleGrid", "warn_of_folder"]

_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}  # fastest, and smaller than level 1 alone
_FROM_0_TO_1 = ("sigmoid", "hardsigmoid", "softmax")


class SampleGrid:
    """Save a grid of samples from fixed latents every few iterations, and after the first and the last iteration.

    The files are ``folder/00000500.png``, named by iteration. The generator is called in evaluation mode; its modes are
    restored afterwards. When a stopped run continues, the image that was saved because of the stop is removed. The
    images are then those of a run that was never stopped.

    A grid is also drawn at the start, without saving it. A latent that does not fit the generator raises an error
    before the training. This changes neither random numbers nor the modes of modules.

    Black and white are ``generator.sample_range``, (low, high). Without this attribute, the range is 0 to 1 if the
    generator's last operation is a sigmoid, and -1 to 1 otherwise.

    Args:
        generator: the generator that is trained, or an average such as ``EMA(...).module``.
        folder: the folder of the images. Images of iterations after the start of the run are removed from the folder.
        latent: (N, dim), the fixed latents.
        condition: N fixed conditions: a tensor, or a dict or tuple of tensors. None for an unconditional generator.
        every: iterations between two images, at least 1.
        columns: samples per row. None is the square root of N, rounded up.
        scale: factor to enlarge the grid, see :func:`image_grid`.
        render: function that draws a sample as a Pillow image, see :func:`image_grid`.
        batch_norm: statistics of batch norm. ``"running"`` uses the running averages. ``"sample"`` uses the mean and
            variance of each single sample, like scripts that call a generator in training mode with one latent at a
            time. Other layers, such as dropout, are in evaluation mode in both cases.

    Raises:
        ArgumentTypeError: if the generator is not a module, the latent or condition does not consist of tensors, the
            folder is not a path, or ``render`` is not a function.
        ArgumentValueError: if ``every``, ``columns`` or ``scale`` is below 1, or ``batch_norm`` is invalid.
        ShapeError: if there is no latent, or the numbers of conditions and latents differ.

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
        scale: int = 1,
        render: Callable[[Tensor], Image.Image] | None = None,
        batch_norm: BatchNormStatistics = "running",
    ) -> None:
        if not isinstance(generator, nn.Module):
            raise ArgumentTypeError(f"generator (={shown(generator)}) must be a torch.nn.Module")
        if not isinstance(latent, Tensor):
            raise ArgumentTypeError(f"latent (={shown(latent)}) must be a tensor")
        if latent.ndim == 0 or not len(latent):
            raise ShapeError(f"latent {tuple(latent.shape)} must be (N, dim) with N of at least 1")
        if condition is not None:
            count_entries("condition", condition, len(latent))
        check_batch_norm(batch_norm)
        self.generator = generator
        self.folder: Path = check_path_like("folder", folder)
        self.latent = latent
        self.condition = condition
        self.every: int = check_count("every", every, least=1)
        self.columns: int | None
        self.scale: int
        self.columns, _, self.scale = check_layout(columns, 0, scale, render)
        self.render = render
        self.batch_norm = batch_norm
        self._saved_at: int | None = None
        self._ends_in_sigmoid: bool | None = None
        self._warned = False

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "generator", "folder", "latent", "every")

    def draw(self) -> Image.Image:
        """Draw the grid with the current weights.

        Returns:
            A Pillow image.
        """
        return self._arrange(self._samples())

    def _samples(self) -> Tensor:
        return draw(self.generator, *self._inputs(), batch_norm=self.batch_norm)

    def _inputs(self) -> tuple[Tensor, Condition]:
        device = next(self.generator.parameters(), self.latent).device
        return tree_map_only(Tensor, lambda tensor: tensor.to(device), (self.latent, self.condition))

    def _arrange(self, samples: Tensor) -> Image.Image:
        low, high = self._range(samples)
        if self.render is None and _is_floating(samples) and samples.aminmax().min.isnan():
            self._warn("the generator returns NaN, which is drawn black: the training has diverged")
            samples = torch.where(samples.isnan(), low, samples)
        return image_grid(samples, columns=self.columns, sample_range=(low, high), scale=self.scale, render=self.render)

    def _range(self, samples: Tensor) -> tuple[float, float]:
        own = getattr(self.generator, "sample_range", None)
        if own is not None:
            return check_range(own)
        if self._ends_in_sigmoid is None and self.render is None and _within_0_and_1(samples):
            self._ends_in_sigmoid = self._last_operation() in _FROM_0_TO_1
        return (0.0, 1.0) if self._ends_in_sigmoid else (-1.0, 1.0)

    def _last_operation(self) -> str | None:
        latent, condition = tree_map_only(Tensor, itemgetter(slice(2)), self._inputs())
        latent = latent.detach().clone().requires_grad_(latent.is_floating_point())
        with _leaving_random_numbers(), torch.enable_grad(), evaluating(self.generator):
            try:
                return last_operation(self.generator(*((latent,) if condition is None else (latent, condition))))
            except Exception:  # drawing all samples raises the error
                return None

    def _look_at(self, samples: Tensor) -> None:
        """Warn of a trained generator with a range other than the assumed one: its images are too bright or clipped."""
        if (
            self.render is not None
            or not _is_floating(samples)
            or samples.ndim < 4
            or getattr(self.generator, "sample_range", None) is not None
        ):
            return
        low, high = (bound.item() for bound in samples.aminmax())
        bright = not self._ends_in_sigmoid and 0 <= low < high <= 1
        if bright or (max(-low, high) > 1.5 and (samples.abs() > 1.5).float().mean() > 0.5):
            self._warn(
                f"the samples lie in [{low:.3g}, {high:.3g}], but the range of a generator without sample_range is "
                "assumed to be -1 (black) to 1 (white): set generator.sample_range = (low, high), also for (-1.0, 1.0)"
            )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"SampleGrid: {message}", stacklevel=6)

    def on_start(self, run: Run) -> None:
        """Create the folder, draw once, and remove the images that the run will save again.

        Args:
            run: the training.

        Raises:
            ArgumentValueError: if the latent or the condition does not fit the generator.
            GanlibError: if :func:`image_grid` cannot draw the samples.
            RunFolderError: if the folder cannot be written to.
        """
        make_folder(self.folder)
        self._try()
        self._saved_at = None
        is_stop = run.progress < 1 and not self._is_due(run.iteration)  # a run that is over keeps its last image
        numbered = (path for path in self.folder.glob("[0-9]*.png") if path.stem.isdecimal())
        remove_files(path for path in numbered if int(path.stem) > run.iteration - is_stop)
        remove_leftovers(self.folder, "[0-9]*.png")

    def on_iteration(self, run: Run) -> None:
        """Save an image, if it is due.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the image cannot be written.
        """
        if self._is_due(run.iteration):
            self._save(run.iteration)

    def on_end(self, run: Run) -> None:
        """Save the last image, unless it is already saved.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the image cannot be written.
        """
        if run.iteration != self._saved_at:
            self._save(run.iteration)

    def _is_due(self, iteration: int) -> bool:
        return iteration == 1 or (iteration > 0 and iteration % self.every == 0)

    def _try(self) -> None:
        """Draw, and raise a GanlibError if that fails."""
        with _leaving_random_numbers():
            try:
                self.draw()
            except GanlibError:
                raise
            except Exception as error:  # the generator can be any module
                inputs = tree_map_only(Tensor, lambda tensor: tuple(tensor.shape), (self.latent, self.condition))
                raise ArgumentValueError(
                    f"SampleGrid cannot draw with latent {inputs[0]} and condition {inputs[1]}, which the generator "
                    f"must accept: {type(error).__name__}: {error}"
                ) from error

    def _save(self, iteration: int) -> None:
        samples = self._samples()
        image = self._arrange(samples)
        if iteration > 1:
            if any_is_behind(self.generator.modules()):
                self._warn(
                    "the generator is an EMA that was never updated, though its network is trained: put the EMA into "
                    "the callbacks of fit, or call its update() in each step"
                )
            self._look_at(samples)
        save_image(self.folder / f"{iteration:08d}.png", image.save, format="PNG", **_PNG)
        self._saved_at = iteration


def _is_floating(samples: Any) -> bool:
    return isinstance(samples, Tensor) and samples.is_floating_point() and samples.numel() > 0


def _within_0_and_1(samples: Any) -> bool:
    if not _is_floating(samples):
        return False
    low, high = samples.aminmax()
    return bool(low >= 0 and high <= 1)


@contextmanager
def _leaving_random_numbers() -> Iterator[None]:
    """Restore the random state at the end of this context."""
    state = random_state()
    try:
        yield
    finally:
        load_random_state(state)


def warn_of_folder(callback: Any, run: Run) -> None:
    """Warn if no SampleGrid before the callback writes to its ``folder``.

    Without a SampleGrid, a folder with images is right, as are callbacks of the user, which may write to it. With a
    SampleGrid for this folder that comes later, they are not.
    """
    grids = [other for other in run.callbacks if isinstance(other, SampleGrid)]
    expected = bool(grids) or not numbered_images(callback.folder, sys.maxsize)
    if any(type(other).__module__.split(".")[0] != "ganlib" for other in run.callbacks):
        expected = any(os.path.abspath(other.folder) == os.path.abspath(callback.folder) for other in grids)
    before = [*takewhile(lambda other: other is not callback, run.callbacks)]
    written = [os.path.abspath(other.folder) for other in grids if other in before]
    # A callback that a callback of the user calls is not in the list.
    if expected and callback in run.callbacks and os.path.abspath(callback.folder) not in written:
        name = type(callback).__name__
        warnings.warn(
            f"no SampleGrid before {name} writes images to {callback.folder}, which {name} reads: put a SampleGrid "
            "with that folder before it",
            stacklevel=6,
        )

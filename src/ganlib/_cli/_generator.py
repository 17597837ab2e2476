"""A trained generator, and how to draw its latents."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganlib import latents, models
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.protocols import Latent

__all__ = ["find_generator", "latent_of", "load_generator"]

_NAMES = ("mnist_cdcgan", "mnist_cdcgan64")
_USUAL = (None, (-1.0, 1.0))
_LATENTS: dict[str, Any] = {"gaussian": latents.Gaussian, "uniform": latents.Uniform}


def find_generator(run: str) -> Path | None:
    """Find the file of a generator.

    Args:
        run: a file, the folder of a run, or the name of a pretrained generator.

    Returns:
        The file, which a folder may lack; None for a name, unless a file or a run's folder of that name is there.
    """
    path = Path(run)
    if path.is_dir():
        # Earlier versions wrote a .pt.
        files = [path / "generator.safetensors", path / "generator.pt"]
        found = next((file for file in files if file.exists()), None)
        return found or (None if run in _NAMES else files[0])
    return path if path.exists() else None


def load_generator(run: str, argument: str) -> Any:
    """Load a generator.

    Args:
        run: a file, the folder of a run, or the name of a pretrained generator.
        argument: its name on the command line.

    Returns:
        The generator, whose samples lie in [-1, 1], also if its ``sample_range`` is another one.

    Raises:
        ArgumentValueError: there is none, or its file cannot be read.
    """
    path = find_generator(run)
    if path is None and run not in _NAMES:
        raise ArgumentValueError(
            f"{argument} (={run}) must be the folder of a finished run, the file of a generator, or a name, "
            f"{' or '.join(map(repr, _NAMES))}, but there is no such file or folder"
        )
    if path is not None and run in _NAMES:
        print(
            f"{argument} (={run}) is taken as {path}, not as the generator of this name that comes with ganlib",
            file=sys.stderr,
        )
    try:
        name: Any = run
        generator = models.pretrained(name) if path is None else models.load_generator(path)
        return generator if getattr(generator, "sample_range", None) in _USUAL else _Rescaled(generator)
    except GanlibError as error:
        # In a run of a script of one's own, nobody has written it; best.pt is a checkpoint.
        raise ArgumentValueError(
            f"{argument} (={run}) must be the folder of a finished run, or the file of a generator: {error}; "
            "models.save_generator writes it, also of one that Checkpoint.load has loaded"
        ) from error


class _Rescaled(nn.Module):
    """A generator, with its sample_range mapped to [-1, 1]."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator, self.info = generator, generator.info

    def forward(self, *inputs: Any) -> Tensor:
        low, high = self.generator.sample_range
        return (self.generator(*inputs) - low) / (high - low) * 2 - 1


def latent_of(info: Mapping[str, Any]) -> Latent:
    """Make the distribution of latents that a generator was trained with.

    Args:
        info: the generator's, with ``latent_dim`` and, if it is not Gaussian, the name of the distribution as
            ``latent``.

    Raises:
        ArgumentValueError: they are of other values.
    """
    # Earlier versions did not save the name.
    name = info.get("latent", "uniform" if info.get("script") == "mnist_mlp_gan" else "gaussian")
    if name not in _LATENTS:
        raise ArgumentValueError(f"latent (={shown(name)}) in its info must be one of {', '.join(_LATENTS)}")
    return _LATENTS[name](info["latent_dim"])

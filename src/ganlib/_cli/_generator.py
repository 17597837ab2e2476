"""Load a trained generator and the distribution of its latents."""

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
        The file, which may be missing in its folder. None for the name of a pretrained generator, unless a file or the
        folder of a run has this name.
    """
    path = Path(run)
    if path.is_dir():
        # Earlier versions wrote a .pt file.
        files = [path / "generator.safetensors", path / "generator.pt"]
        found = next((file for file in files if file.exists()), None)
        return found or (None if run in _NAMES else files[0])
    return path if path.exists() else None


def load_generator(run: str, argument: str) -> Any:
    """Load a generator.

    Args:
        run: a file, the folder of a run, or the name of a pretrained generator.
        argument: name of the argument on the command line.

    Returns:
        The generator. Its samples are in [-1, 1], even if its ``sample_range`` differs.

    Raises:
        ArgumentValueError: if it does not exist, or its file cannot be read.
    """
    path = find_generator(run)
    if path is None and run not in _NAMES:
        raise ArgumentValueError(
            f"{argument} (={run}) must be the folder of a finished run, the file of a generator, or a name, "
            f"{' or '.join(map(repr, _NAMES))}, but there is no such file or folder"
        )
    if path is not None and run in _NAMES:
        print(
            f"{argument} (={run}) is taken as {path}, not as the pretrained generator with this name",
            file=sys.stderr,
        )
    try:
        name: Any = run
        generator = models.pretrained(name) if path is None else models.load_generator(path)
        return generator if getattr(generator, "sample_range", None) in _USUAL else _Rescaled(generator)
    except GanlibError as error:
        # A user's own script may not have written the file; best.pt is a checkpoint.
        raise ArgumentValueError(
            f"{argument} (={run}) must be the folder of a finished run, or the file of a generator: {error}; "
            "models.save_generator writes it, also for a generator that Checkpoint.load has loaded"
        ) from error


class _Rescaled(nn.Module):
    """Map the samples of a generator from its sample_range to [-1, 1]."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.generator, self.info = generator, generator.info

    def forward(self, *inputs: Any) -> Tensor:
        low, high = self.generator.sample_range
        return (self.generator(*inputs) - low) / (high - low) * 2 - 1


def latent_of(info: Mapping[str, Any]) -> Latent:
    """Return the distribution of latents that a generator was trained with.

    Args:
        info: the generator's info, with ``latent_dim``. If the distribution is not Gaussian, ``latent`` is its name.

    Raises:
        ArgumentValueError: if the values are invalid.
    """
    # Earlier versions did not save the name of the distribution.
    name = info.get("latent", "uniform" if info.get("script") == "mnist_mlp_gan" else "gaussian")
    if name not in _LATENTS:
        raise ArgumentValueError(f"latent (={shown(name)}) in its info must be one of {', '.join(_LATENTS)}")
    return _LATENTS[name](info["latent_dim"])

"""A trained generator, and how to draw its latents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganlib import latents, models
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.protocols import Latent

__all__ = ["find_generator", "latent_of", "load_generator"]

_LATENTS: dict[str, Any] = {"gaussian": latents.Gaussian, "uniform": latents.Uniform}


def find_generator(run: str) -> Path | None:
    """Find the file of a generator.

    Args:
        run: a file, the folder of a run, or the name of a pretrained generator.

    Returns:
        The file, which a folder may lack; None for a name.
    """
    path = Path(run)
    if path.is_dir():
        # Earlier versions wrote a .pt.
        files = [path / "generator.safetensors", path / "generator.pt"]
        return next((file for file in files if file.exists()), files[0])
    return path if path.exists() else None


def load_generator(run: str, argument: str) -> Any:
    """Load a generator.

    Args:
        run: a file, the folder of a run, or the name of a pretrained generator.
        argument: its name on the command line.

    Raises:
        ArgumentValueError: there is none, or its file cannot be read.
    """
    path = find_generator(run)
    try:
        return models.pretrained(run) if path is None else models.load_generator(path)
    except GanlibError as error:
        # In a run of a script of one's own, nobody has written it; best.pt is a checkpoint.
        how = "" if path is None else "; models.save_generator writes it, also of one that Checkpoint.load has loaded"
        raise ArgumentValueError(
            f"{argument} (={run}) must be the folder of a finished run, the file of a generator, or a name: {error}"
            f"{how}"
        ) from error


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
        raise ArgumentValueError(f"latent (={name!r:.80}) in its info must be one of {', '.join(_LATENTS)}")
    return _LATENTS[name](info["latent_dim"])

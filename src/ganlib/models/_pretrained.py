"""Trained generators that come with ganlib."""

from pathlib import Path
from typing import Literal, get_args

from ganlib._checks import check_option
from ganlib.models._files import LoadedModule, load_generator

__all__ = ["pretrained"]

Name = Literal["mnist_cdcgan", "mnist_cdcgan64"]

_FOLDER = Path(__file__).with_name("pretrained")


def pretrained(name: Name, *, train: bool = False) -> LoadedModule:
    """Load a trained generator that comes with ganlib, without a download.

    Args:
        name: ``"mnist_cdcgan"`` draws handwritten digits of 28x28 pixels, ``"mnist_cdcgan64"`` of 64x64 pixels, turned
            by up to 25 degrees.
        train: whether it is returned in training mode, to train it further.

    Returns:
        A generator in float32, on the CPU: Gaussian latents (N, latent_dim) and labels (N,) int64
        from 0 to 9 -> samples (N, 1, size, size) in [-1, 1]. Its ``info`` holds ``latent_dim``, ``classes``, the
        ``command`` that trained it, and what was measured on 10,000 samples, as ``figures``: ``read_as_asked``, the
        share that a classifier reads as the label; ``frechet_distance`` to test images, in the classifier's features;
        ``coverage``, the share of test images that have a sample among their neighbours; ``spread``, the standard
        deviation of a pixel over latents. ``real`` holds the same of training images, for comparison.

    Raises:
        ArgumentValueError: there is no generator of that name.
        ArgumentTypeError: ``train`` is not a bool.

    Example:
        >>> import torch
        >>> from ganlib import latents, models
        >>> generator = models.pretrained("mnist_cdcgan")
        >>> latent, sevens = latents.Gaussian(generator.info["latent_dim"]), torch.full((5,), 7)
        >>> next(models.sample(generator, latent, condition=sevens)).sample.shape
        torch.Size([5, 1, 28, 28])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014 (arXiv:1411.1784); Radford et al.,
        "Unsupervised Representation Learning with DCGAN", 2016 (arXiv:1511.06434); the digits: LeCun et al., 1998.
    """
    check_option("name", name, get_args(Name))
    # They are stored in half precision.
    return load_generator(_FOLDER / f"{name}.safetensors", train=train).float()

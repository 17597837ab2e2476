"""Load trained generators that come with ganlib."""

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
        name: ``"mnist_cdcgan"`` generates handwritten digits of 28x28 pixels. ``"mnist_cdcgan64"`` generates digits of
            64x64 pixels, with rotations of up to 25 degrees.
        train: whether to return it in training mode, for further training.

    Returns:
        A generator in float32, on the CPU. It maps Gaussian latents (N, latent_dim) and labels (N,) int64 from 0 to 9
        to samples (N, 1, size, size) in [-1, 1]. Its ``info`` contains ``latent_dim``, ``classes``, the ``command``
        that trained it, and ``figures``, measured on 10,000 samples. ``read_as_asked`` is the share of samples that a
        classifier assigns to their label. ``frechet_distance`` is the distance to test images, in the features of the
        classifier. ``coverage`` is the share of test images with a sample among their neighbors. ``spread`` is the
        standard deviation of a pixel over latents. ``real`` contains the same values for training images, for
        comparison.

    Raises:
        ArgumentValueError: if the name is unknown.
        ArgumentTypeError: if ``train`` is not a bool.

    Example:
        >>> import torch
        >>> from ganlib import latents, models
        >>> generator = models.pretrained("mnist_cdcgan")
        >>> latent, sevens = latents.Gaussian(generator.info["latent_dim"]), torch.full((5,), 7)
        >>> next(models.sample(generator, latent, condition=sevens)).sample.shape
        torch.Size([5, 1, 28, 28])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784.

        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434.

        The digits: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, doi:10.1109/5.726791.
    """
    check_option("name", name, get_args(Name))
    # The files store half precision.
    return load_generator(_FOLDER / f"{name}.safetensors", train=train).float()

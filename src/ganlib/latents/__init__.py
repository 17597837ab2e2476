"""Latent distributions, and interpolation between latents.

Example:
    >>> latent = Gaussian(100)
    >>> latent(4).shape
    torch.Size([4, 100])
"""

from ganlib.latents._distributions import Gaussian, TruncatedGaussian, Uniform
from ganlib.latents._gaussian_mixture import GaussianMixture
from ganlib.latents._interpolation import lerp, slerp
from ganlib.protocols import Latent

__all__ = ["Gaussian", "GaussianMixture", "Latent", "TruncatedGaussian", "Uniform", "lerp", "slerp"]

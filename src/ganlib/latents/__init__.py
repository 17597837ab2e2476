"""Distributions of latents, and the ways from one latent to another.

Example:
    >>> latent = Gaussian(100)
    >>> latent(4).shape
    torch.Size([4, 100])
"""

from ganlib.latents._gaussian import Gaussian
from ganlib.latents._gaussian_mixture import GaussianMixture
from ganlib.latents._truncated_gaussian import TruncatedGaussian
from ganlib.latents._uniform import Uniform
from ganlib.latents._ways import lerp, slerp
from ganlib.protocols import Latent

__all__ = ["Gaussian", "GaussianMixture", "Latent", "TruncatedGaussian", "Uniform", "lerp", "slerp"]

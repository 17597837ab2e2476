"""What holds for every distribution of latents."""

import copy
import pickle

import pytest
import torch

from ganlib import latents
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.latents import Gaussian, GaussianMixture, Latent, TruncatedGaussian, Uniform

DISTRIBUTIONS = [
    Gaussian(7),
    Uniform(7),
    Uniform(7, low=2.0, high=5.0),
    TruncatedGaussian(7),
    GaussianMixture(torch.arange(21.0).view(3, 7), std=[0.1, 0.2, 0.3], weights=[1, 2, 3]),
]

distributions = pytest.mark.parametrize("latent", DISTRIBUTIONS, ids=str)


def test_every_distribution_is_tested_here():
    """The list above has each class that the room offers."""
    offered = {value for name, value in vars(latents).items() if isinstance(value, type) and value is not Latent}

    assert offered == {type(latent) for latent in DISTRIBUTIONS}


@distributions
@pytest.mark.parametrize("n", [0, 1, 5])
def test_n_latents_have_dim_numbers_each(latent, n):
    """latent(n) is (n, dim) in float32."""
    assert (n, 7) == (n, latent.dim) == latent(n).shape
    assert torch.float32 == latent(n).dtype
    assert isinstance(latent, Latent)


@distributions
def test_a_generator_decides_the_numbers(latent):
    """Equal seeds give equal latents, the next draw others; torch's own random state is left alone."""
    first, second = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    before = torch.get_rng_state()

    drawn = latent(4, generator=first)

    assert torch.equal(drawn, latent(4, generator=second))
    assert not torch.equal(drawn, latent(4, generator=first))
    assert torch.equal(before, torch.get_rng_state())


@distributions
def test_without_a_generator_torchs_seed_decides(latent):
    """manual_seed makes draws repeatable."""
    torch.manual_seed(0)
    drawn = latent(4)
    torch.manual_seed(0)

    assert torch.equal(drawn, latent(4))


@distributions
def test_latents_are_made_on_the_device(latent):
    """The device is where the latents are made."""
    assert latent(4, device=torch.device("meta")).device.type == "meta"


@distributions
@pytest.mark.gpu
@pytest.mark.parametrize("seed", [None, 3])
def test_latents_are_made_on_a_gpu(latent, seed, sync_debug_mode):
    """With and without a generator they are made on the GPU, and the second time without waiting for it."""
    generator = None if seed is None else torch.Generator("cuda").manual_seed(seed)
    drawn = latent(4, device="cuda", generator=generator)
    sync_debug_mode("error")
    again = latent(4, device="cuda", generator=generator)
    sync_debug_mode("default")

    assert (drawn.device.type, drawn.shape) == ("cuda", (4, 7))
    assert not torch.equal(drawn, again)


@distributions
def test_a_distribution_cannot_be_changed(latent):
    """Setting dim is an AttributeError."""
    with pytest.raises(AttributeError):
        latent.dim = 3


@distributions
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda latent: pickle.loads(pickle.dumps(latent))])
def test_a_copy_draws_the_same(latent, copied):
    """A deep copy and one out of a pickle, of a distribution that was used, give the same numbers and repr."""
    drawn = latent(50, generator=torch.Generator().manual_seed(3))

    assert torch.equal(drawn, copied(latent)(50, generator=torch.Generator().manual_seed(3)))
    assert repr(latent) == repr(copied(latent))


@pytest.mark.parametrize("kind", [Gaussian, Uniform, TruncatedGaussian])
@pytest.mark.parametrize("dim", [0, -1, 2.5, None])
def test_a_bad_dim_is_refused(kind, dim):
    """A dim that is no whole number of at least 1 is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"dim \(={dim}\)") as caught:
        kind(dim)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)

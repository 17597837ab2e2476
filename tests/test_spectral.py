"""The vectors of spectral norms, in both forms, become the singular vectors of their weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from ganlib._spectral import spectral_vectors


def _pruned(layer):
    parametrizations.spectral_norm(layer)
    original = layer.parametrizations.weight.original
    prune.custom_from_mask(layer.parametrizations.weight, "original", torch.ones_like(original))
    return layer


FORMS = {
    "a parametrization": parametrizations.spectral_norm,
    "a hook": nn.utils.spectral_norm,
    "of the second dimension": lambda layer: parametrizations.spectral_norm(layer, dim=1),
    "over weight norm": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    "over pruning": _pruned,
}
forms = pytest.mark.parametrize("form", FORMS)
hooks = pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated")


@forms
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@hooks
def test_they_become_singular_vectors(form, dtype):
    """After many iterations W v is sigma u, with the largest singular value of W; random numbers stay."""
    torch.manual_seed(0)
    layer = FORMS[form](nn.Linear(7, 5)).to(dtype)
    (vectors,) = spectral_vectors(nn.Sequential(layer, nn.ReLU()))
    state = torch.random.get_rng_state()
    with torch.no_grad():
        for vector in vectors.vectors:
            vector.fill_(float("nan"))  # lost, as after a training that diverged
        vectors.restart()
        vectors.iterate(200)
        layer.eval()(torch.zeros(1, 7, dtype=dtype))
        weight = layer.weight.double() if form != "of the second dimension" else layer.weight.T.double()
        u, v = (vector.double() for vector in vectors.vectors)
    tolerance = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(torch.linalg.matrix_norm(weight, 2), torch.ones(()).double(), **tolerance)
    torch.testing.assert_close(weight @ v, u, **tolerance)
    assert torch.equal(state, torch.random.get_rng_state())


@hooks
def test_all_are_found():
    """In a module with several, each once; a norm of a vector has none."""
    layers = [form(nn.Linear(3, 3)) for form in FORMS.values()]
    twice = parametrizations.spectral_norm(parametrizations.spectral_norm(nn.Linear(3, 3)))
    vector = parametrizations.spectral_norm(nn.Linear(3, 3), "bias")
    assert len(spectral_vectors(nn.Sequential(*layers, layers[0], twice, vector, nn.Linear(2, 2)))) == len(layers) + 2

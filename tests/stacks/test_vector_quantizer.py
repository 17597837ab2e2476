"""Tests of the vector quantizer: the nearest entry, the straight-through gradient, and its loss."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.stacks import VectorQuantizer
from tests import strategies

F64 = torch.float64


def make(num_codes: int = 7, features: int = 3, **words: float) -> VectorQuantizer:
    """A quantizer whose entries are far apart."""
    quantizer = VectorQuantizer(num_codes, features, **words)
    with torch.no_grad():
        quantizer.codebook.normal_()
    return quantizer


def rows(x: Tensor) -> Tensor:
    """(N, C, *spatial) as (positions, C)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


@settings(max_examples=25)
@given(seed=strategies.seeds, dims=st.integers(0, 3), num_codes=st.integers(1, 9), features=st.integers(1, 4))
def test_each_vector_becomes_the_nearest_entry(seed: int, dims: int, num_codes: int, features: int) -> None:
    """In any number of dimensions no entry is nearer than the one chosen, by a search in float64."""
    torch.manual_seed(seed)
    quantizer = make(num_codes, features)
    x = torch.randn(2, features, *[3] * dims)

    maps, indices, _ = quantizer(x)

    distances = torch.cdist(rows(x).double(), quantizer.codebook.detach().double())
    chosen = distances.gather(1, indices.reshape(-1, 1))[:, 0]
    assert indices.shape == (2, *[3] * dims)
    assert torch.allclose(distances.amin(1), chosen, atol=1e-5)
    assert torch.equal(quantizer.codebook[indices.flatten()], rows(maps))
    assert torch.equal(quantizer.look_up(indices), maps)


@settings(max_examples=25)
@given(seed=strategies.seeds, scale=st.floats(1e-3, 1e6))
def test_what_the_decoder_sees_is_the_entry_to_the_bit(seed: int, scale: float) -> None:
    """Also where the encoder's vectors are so large that adding a difference to them would round."""
    torch.manual_seed(seed)
    quantizer, x = make(), scale * torch.randn(4, 3, 5, 5)

    maps, indices, _ = quantizer(x.requires_grad_())

    assert torch.equal(quantizer.look_up(indices), maps)
    assert torch.equal(quantizer(maps.detach()).indices, indices)  # and what is an entry stays that entry


def test_the_gradient_passes_straight_through() -> None:
    """What flows into the maps flows out to the encoder unchanged; nothing of it reaches the codebook."""
    quantizer, x, upstream = make(), torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4)

    to_x, to_codebook = torch.autograd.grad(
        (quantizer(x).maps * upstream).sum(), (x, quantizer.codebook), allow_unused=True
    )

    assert torch.equal(upstream, to_x)
    assert to_codebook is None


@pytest.mark.parametrize("commitment", [0.0, 0.25, 2.0])
def test_the_loss_and_its_gradients_are_the_formula(commitment: float) -> None:
    """The codebook is pulled to the vectors with weight 1, the encoder to the entries with weight beta."""
    quantizer = make(commitment=commitment).double()
    x = torch.randn(2, 3, 4, 4, dtype=F64, requires_grad=True)

    _, indices, loss = quantizer(x)
    to_x, to_codebook = torch.autograd.grad(loss, (x, quantizer.codebook))

    apart = quantizer.look_up(indices).detach() - x.detach()
    expected = torch.zeros_like(to_codebook).index_add_(0, indices.flatten(), 2 * rows(apart) / apart.numel())
    assert torch.allclose((1 + commitment) * apart.square().mean(), loss, rtol=1e-12)
    assert torch.allclose(-2 * commitment * apart / apart.numel(), to_x, rtol=1e-10)
    assert torch.allclose(expected, to_codebook, rtol=1e-10)


def test_entries_end_at_the_means_of_their_vectors() -> None:
    """Descending the loss alone is k-means: each entry goes to the mean of the vectors that are nearest to it."""
    torch.manual_seed(0)
    centers = 10 * torch.eye(3)
    x = (centers[torch.arange(300) % 3] + 0.1 * torch.randn(300, 3)).double()
    quantizer = VectorQuantizer(3, 3).double()
    with torch.no_grad():
        quantizer.codebook.copy_(centers.flip(0) + torch.randn(3, 3))
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)

    for _ in range(200):
        optimizer.zero_grad()
        quantizer(x).loss.backward()
        optimizer.step()

    _, indices, _ = quantizer(x)
    means = torch.stack([x[indices == index].mean(0) for index in range(3)])
    assert torch.allclose(means, quantizer.codebook, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_nearest_entry_is_still_found(dtype: torch.dtype) -> None:
    """Entries that half precision cannot tell apart are told apart, and the loss is float32."""
    quantizer = VectorQuantizer(64, 2)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.stack([torch.full((64,), 100.0), 1 + torch.arange(64) / 1e4], dim=1))
    x = quantizer.codebook.detach().flip(0)

    with torch.autocast("cpu", dtype):
        maps, indices, loss = quantizer(x)

    assert torch.equal(torch.arange(63, -1, -1), indices)
    assert loss.dtype == torch.float32
    assert torch.equal(x, maps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, F64])
def test_maps_have_the_encoders_dtype(dtype: torch.dtype) -> None:
    """What comes in half precision leaves in it, and float64 stays float64; the loss is float32 or better."""
    x = torch.randn(2, 3, 4, 4, dtype=dtype, requires_grad=True)

    maps, _, loss = make()(x)
    (maps.sum() + loss).backward()

    assert maps.dtype == dtype
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert x.grad is not None


def test_the_first_entries_are_small_and_differ() -> None:
    """As in the code of VQGAN they are uniform in +-1 / num_codes."""
    codebook = VectorQuantizer(512, 8).codebook.detach()

    assert codebook.abs().max() <= 1 / 512
    assert pytest.approx(1 / 512 / 3**0.5, rel=0.05) == codebook.std().item()


@pytest.mark.parametrize(
    "words",
    [
        {"num_codes": 0},
        {"num_codes": 2.5},
        {"features": 0},
        {"commitment": -0.1},
        {"commitment": float("nan")},
    ],
)
def test_a_wrong_argument_is_refused_by_name(words: dict[str, float]) -> None:
    """The error names it, and quotes its value."""
    (name, value), *_ = words.items()
    with pytest.raises(ArgumentValueError, match=re.escape(f"{name} (={value!r})")) as error:
        VectorQuantizer(**{"num_codes": 4, "features": 3, **words})
    assert isinstance(error.value, GanlibError)


def test_close_entries_are_told_apart_wherever_they_are() -> None:
    """Far from 0, in two places, and next to an entry that is far from all: each entry is nearest to itself."""
    steps = 0.01 * torch.arange(32.0)
    quantizer = VectorQuantizer(65, 1)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.cat([1000 + steps, -1000 - steps, torch.tensor([1e6])]).view(-1, 1))

    assert torch.equal(torch.arange(65), quantizer(quantizer.codebook.detach()).indices)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_keep_the_memory_layout(layout: torch.memory_format) -> None:
    """What the encoder gives in one layout the decoder gets in it."""
    x = torch.randn(2, 3, 4, 5).to(memory_format=layout)
    quantizer = make()

    assert quantizer(x).maps.is_contiguous(memory_format=layout)
    assert quantizer.look_up(quantizer(x).indices).is_contiguous()


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (3,), (5, 2), (0, 3, 4, 4), (2, 3, 0, 4)])
def test_maps_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Other channels, none, or no vectors."""
    with pytest.raises(ShapeError, match=re.escape(str(shape))):
        make()(torch.zeros(shape))


def test_only_floating_point_tensors_are_quantized() -> None:
    """Whole numbers would make whole numbers of the entries."""
    for x in (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3) * 1j):
        with pytest.raises(DTypeError, match=str(x.dtype)):
            make()(x)
    with pytest.raises(ArgumentTypeError, match=r"x \(=\[1.0\]\)"):
        make()([1.0])


def test_only_tokens_are_looked_up() -> None:
    """Indices are a tensor of int64, with at least the dimension of the batch."""
    with pytest.raises(ArgumentTypeError, match=r"indices \(=3\)"):
        make().look_up(3)
    with pytest.raises(ShapeError, match=re.escape("()")):
        make().look_up(torch.tensor(3))
    with pytest.raises(DTypeError, match="float32"):
        make().look_up(torch.zeros(2, 4, 4))


def test_the_arguments_show_in_the_repr() -> None:
    """All three."""
    assert repr(VectorQuantizer(8, 4)) == "VectorQuantizer(num_codes=8, features=4, commitment=0.25)"

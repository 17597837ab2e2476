"""Tests of the history of generated images."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.training import ImagePool
from tests.strategies import seeds


class Images:
    """Gives batches of images (N, 1, 2), each filled with a number of its own: 1, 2, 3, ..."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, n):
        """The next n images."""
        numbers = torch.arange(self.given + 1, self.given + n + 1, dtype=torch.float32)
        self.given += n
        return numbers.view(n, 1, 1).expand(n, 1, 2)


def _numbers(images):
    """The numbers of images, each of which must be whole."""
    assert (images == images[..., :1]).all()
    return images[:, 0, 0].tolist()


def _full_pool(size, images):
    pool = ImagePool((1, 2), size)
    pool(images(size))
    return pool


@given(seeds, st.integers(1, 5), st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_no_image_of_a_full_pool_is_lost_or_doubled(seed, size, batches):
    """What is stored and returned is what was stored before and the batch, also where images draw one position."""
    torch.manual_seed(seed)
    images = Images()
    pool = _full_pool(size, images)
    for n in batches:
        before, batch = _numbers(pool.images), images(n)

        returned = pool(batch)

        assert returned.shape == batch.shape
        assert sorted(before + _numbers(batch)) == sorted(_numbers(pool.images) + _numbers(returned))


@given(seeds, st.integers(1, 5), st.integers(1, 8), st.integers(1, 8))
def test_images_are_taken_one_after_the_other(seed, size, first, second):
    """No image returns in place of one that came before it; what is stored is not zeros, and is counted."""
    torch.manual_seed(seed)
    images, pool = Images(), ImagePool((1, 2), size)
    for n in (first, second):
        batch = _numbers(images(n))

        returned = _numbers(pool(torch.tensor(batch).view(n, 1, 1).expand(n, 1, 2)))

        assert all(1 <= number <= own for number, own in zip(returned, batch, strict=True))
    assert int(pool.count) == min(size, first + second)
    assert all(1 <= number <= first + second for number in _numbers(pool.images[: int(pool.count)]))
    assert not pool.images[int(pool.count) :].any()


@given(seeds, st.integers(1, 6), st.integers(1, 6))
def test_a_pool_that_is_not_full_returns_what_it_is_given(seed, size, n):
    """The first ``size`` images are returned as they came, and are stored in order."""
    torch.manual_seed(seed)
    images, pool = Images(), ImagePool((1, 2), size)
    batch = images(n)

    returned = pool(batch)

    assert torch.equal(returned[:size], batch[:size])
    if n <= size:
        assert torch.equal(pool.images[:n], batch)


def test_half_of_the_images_are_exchanged_with_random_ones():
    """Of a full pool about half of the images returned are old, and every position is drawn equally often."""
    torch.manual_seed(0)
    pool, drawn, draws = ImagePool((1,), size=8), torch.zeros(8), 4000
    for _ in range(draws):
        pool.images.copy_(torch.arange(8.0).view(8, 1))
        pool.count.fill_(8)
        returned = int(pool(torch.tensor([[100.0]])))
        if returned != 100:
            drawn[returned] += 1

    assert drawn.sum() / draws == pytest.approx(0.5, abs=0.04)  # five standard deviations
    assert (drawn / draws * 16).tolist() == pytest.approx([1.0] * 8, abs=0.3)


@given(seeds)
def test_of_images_that_draw_one_position_each_gets_the_one_before(seed):
    """With one position, an image that is exchanged gets the last image that was, and the last of all stays."""
    torch.manual_seed(seed)
    images = Images()
    pool, there = _full_pool(1, images), 1.0
    batch = _numbers(images(8))
    returned = _numbers(pool(torch.tensor(batch).view(8, 1, 1).expand(8, 1, 2)))

    for own, number in zip(batch, returned, strict=True):
        assert number in (own, there)
        if number != own:
            there = own
    assert _numbers(pool.images) == [there]


def test_it_goes_on_from_a_state_bit_for_bit():
    """A new pool that loads the state, before any call, returns the very images that the old one returns."""
    torch.manual_seed(0)
    pool, other = ImagePool((3, 4, 4), size=5), ImagePool((3, 4, 4), size=5)
    for _ in range(3):
        pool(torch.randn(4, 3, 4, 4))
    state, random, batches = copy.deepcopy(pool.state_dict()), torch.get_rng_state(), torch.randn(6, 4, 3, 4, 4)
    expected = [pool(batch) for batch in batches]

    other.load_state_dict(state)
    torch.set_rng_state(random)
    torch.randn(6, 4, 3, 4, 4)

    assert all(torch.equal(mine, other(batch)) for mine, batch in zip(expected, batches, strict=True))
    assert torch.equal(pool.images, other.images)


def test_its_state_is_changed_in_place():
    """The buffers stay at their addresses, which a recorded CUDA graph would read."""
    pool = ImagePool((2,), size=3)
    addresses = [buffer.data_ptr() for buffer in pool.buffers()]
    for _ in range(5):
        pool(torch.randn(2, 2))

    assert [buffer.data_ptr() for buffer in pool.buffers()] == addresses


def test_it_never_looks_at_values():
    """It runs on the meta device, where there are none; so no step waits for the device or branches on its values."""
    with torch.device("meta"):
        assert ImagePool((3, 8, 8))(torch.randn(4, 3, 8, 8)).shape == (4, 3, 8, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_images_of_another_precision_keep_it(dtype):
    """Half precision survives the float32 store exactly, and float64 is kept by a pool that is moved to it."""
    torch.manual_seed(0)
    pool, given = ImagePool((3,), size=2), []
    if dtype == torch.float64:
        pool.double()
    for _ in range(8):
        batch = torch.randn(4, 3, dtype=dtype)
        given += batch.tolist()
        returned = pool(batch)

        assert returned.dtype == dtype
        assert all(image in given for image in returned.tolist())


def test_images_have_no_graph_and_the_given_ones_are_not_changed():
    """Gradients stop at the pool, and a later change of what it returned does not reach what it stores."""
    torch.manual_seed(0)
    pool = ImagePool((3,), size=2)
    for _ in range(4):
        batch = torch.randn(4, 3, requires_grad=True)
        before = batch.detach().clone()

        returned = pool(batch)
        stored = pool.images.clone()
        returned.zero_()

        assert not returned.requires_grad
        assert torch.equal(batch, before)
        assert torch.equal(pool.images, stored)


def test_a_pool_of_size_0_returns_every_image():
    """It stores nothing."""
    pool, batch = ImagePool((3,), size=0), torch.randn(4, 3, requires_grad=True)
    for _ in range(3):
        assert torch.equal(pool(batch), batch)
    assert not pool(batch).requires_grad


@pytest.mark.parametrize("shape", [(2, 4, 3), (3, 4)])
def test_images_of_another_shape_are_refused(shape):
    """The error has both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 3, 4\)") as caught:
        ImagePool((3, 4))(torch.zeros(shape))
    assert f"images {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 4), -1), "size (=-1)"),
        (((3, 4), 1.5), "size (=1.5)"),
        (((3, 0),), "image_shape[1] (=0)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """An argument out of its range is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        ImagePool(*arguments)
    assert message in str(caught.value)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.gpu
def test_a_cuda_graph_records_it(sync_debug_mode):
    """Replayed, it goes on storing and exchanging, without a wait for the device."""
    pool, batch = ImagePool((1,), size=4).cuda(), torch.zeros(4, 1, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        pool(batch)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        returned = pool(batch)
    seen = []
    sync_debug_mode("error")
    for replay in range(1, 51):
        batch.fill_(replay)
        graph.replay()
        seen.append(returned.clone())
    sync_debug_mode("default")
    old = sum(int((images != replay).sum()) for replay, images in enumerate(seen, 1))

    assert old / 200 == pytest.approx(0.5, abs=0.18)  # five standard deviations
    assert {float(x) for images in seen for x in images} <= set(map(float, range(51)))

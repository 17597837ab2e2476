"""Tests of the loader that is nothing but indexing."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from ganlib.data import RenderedDigits, TensorLoader
from ganlib.errors import CheckpointError, GanlibError


def _numbered(length=10, **arguments):
    """A loader whose samples and labels are 0, 1, 2, ..., in batches of 3 unless told."""
    numbers = torch.arange(length)
    return TensorLoader(TensorDataset(numbers.float().view(-1, 1), numbers), **{"batch_size": 3} | arguments)


def _pass(loader):
    return [batch.condition.tolist() for batch in loader]


def _noisy(samples, generator):
    return samples + torch.rand(samples.shape, generator=generator)


def test_uint8_is_scaled_exactly():
    """Every one of the 256 values v becomes v / 127.5 - 1, so that 0 is -1 and 255 is 1."""
    loader = TensorLoader(TensorDataset(torch.arange(256, dtype=torch.uint8).view(256, 1)), batch_size=256)
    (batch,) = loader
    actual = batch.sample.flatten().sort().values
    assert torch.equal(actual, torch.arange(256.0) / 127.5 - 1)
    assert (actual[0], actual[-1], batch.sample.dtype) == (-1, 1, torch.float32)


def test_float_data_are_given_out_as_they_are():
    """Float samples keep value and dtype; without conditions the condition is None."""
    data = torch.randn(8, 2, dtype=torch.float64) * 100
    (batch,) = TensorLoader(TensorDataset(data), batch_size=8)
    assert torch.equal(batch.sample.sort(0).values, data.sort(0).values)
    assert batch.sample.dtype == torch.float64
    assert batch.condition is None


def test_each_pass_is_a_permutation_and_passes_differ():
    """Each of five passes gives each sample once, with its own label, and no two passes have the same order."""
    loader, orders = _numbered(length=12), []
    for _ in range(5):
        batches = list(loader)
        assert all(torch.equal(batch.sample.flatten().long(), batch.condition) for batch in batches)
        orders.append(tuple(torch.cat([batch.condition for batch in batches]).tolist()))
        assert sorted(orders[-1]) == list(range(12))
    assert len(set(orders)) == 5


def test_without_shuffling_the_order_is_the_data_sets():
    """Every epoch has the data set's own order, and a restored loader goes on in it."""
    loader = _numbered(shuffle=False, drop_last=False)
    assert _pass(loader) == _pass(loader) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    next(iter(loader))
    other = _numbered(shuffle=False, drop_last=False)
    other.load_state_dict(loader.state_dict())
    assert _pass(other) == [[3, 4, 5], [6, 7, 8], [9]]


def test_the_order_depends_on_the_seed_alone():
    """The same seed gives the same passes, whatever torch's random state; another seed gives others."""
    first, second, other = _numbered(seed=4), _numbered(seed=4), _numbered(seed=5)
    expected = [_pass(first), _pass(first)]
    torch.rand(1)
    assert [_pass(second), _pass(second)] == expected
    assert [_pass(other), _pass(other)] != expected


def test_a_pass_changes_no_random_state():
    """Torch's own random state is what it was after a pass with a transform."""
    before = torch.get_rng_state()
    list(_numbered(transform=_noisy))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("drop_last", "length", "sizes"),
    [(True, 10, [3, 3, 3]), (False, 10, [3, 3, 3, 1]), (True, 9, [3, 3, 3]), (False, 9, [3, 3, 3]), (False, 2, [2])],
)
def test_drop_last(drop_last, length, sizes):
    """The smaller last batch is left out or given, and ``len`` counts the batches that come."""
    loader = _numbered(length=length, drop_last=drop_last)
    assert [len(batch.sample) for batch in loader] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize("taken", range(9))
def test_a_restored_loader_goes_on_exactly(taken):
    """After any number of batches, the end of a pass included, a new loader with the state gives what comes next."""

    def endless(loader):
        while True:
            yield from loader

    loader = _numbered(transform=_noisy, drop_last=False)
    stream = endless(loader)
    for _ in range(taken):
        next(stream)
    other = _numbered(transform=_noisy, drop_last=False, seed=99)
    with pytest.warns(UserWarning, match="seed"):
        other.load_state_dict(loader.state_dict())
    for expected, actual, _ in zip(stream, endless(other), range(9), strict=False):
        assert torch.equal(actual.sample, expected.sample)
        assert torch.equal(actual.condition, expected.condition)


def test_a_pass_left_early_is_not_gone_on_with():
    """A new ``iter`` after a pass that was left begins the next pass, a whole one."""
    expected, loader = _numbered(), _numbered()
    first, second = _pass(expected), _pass(expected)
    assert next(iter(loader)).condition.tolist() == first[0]
    assert _pass(loader) == second


def test_the_transform_draws_anew_for_each_batch():
    """The transform gets a generator of its own for each batch of each pass: no noise comes twice."""
    loader = TensorLoader(TensorDataset(torch.zeros(6, 1)), batch_size=3, transform=_noisy)
    noise = torch.cat([batch.sample for _ in range(4) for batch in loader])
    assert len(noise.unique()) == 24


def test_samples_are_kept_as_they_are_in_the_data_set():
    """Augmentation and scaling of a batch leave the stored samples alone."""
    loader = TensorLoader(RenderedDigits(length=20), batch_size=10, transform=lambda samples, _: samples.zero_())
    before = loader.samples.clone()
    list(loader)
    assert torch.equal(loader.samples, before)
    assert loader.samples.dtype == torch.uint8


def test_another_seed_than_the_states_is_said_once():
    """The state's seed is used, so that the order goes on; one warning names both, and the same seed brings none."""
    state, loader = _numbered(seed=3).state_dict(), _numbered(seed=4)
    with pytest.warns(UserWarning, match=r"seed \(=3\), which is used and not 4") as caught:
        loader.load_state_dict(state)
    assert len(caught) == 1
    loader.load_state_dict(state)
    assert _pass(loader) == _pass(_numbered(seed=3))


def test_a_state_in_two_loops_is_warned_of():
    """Two loops at once have a position each, so a state is warned of; one loop after the other is fine."""
    loader = _numbered()
    next(iter(loader))
    list(loader)
    loader.state_dict()
    for _ in zip(loader, loader, strict=False):
        pass
    with pytest.warns(UserWarning, match="in two loops at once"):
        loader.state_dict()


def test_numbers_of_numpy_are_pythons_in_the_state():
    """A batch size and a seed of NumPy's are taken, and the state holds plain numbers."""
    state = _numbered(batch_size=np.int64(3), seed=np.int64(5), shuffle=np.bool_(True)).state_dict()
    assert state == _numbered(seed=5).state_dict()
    assert {type(value) for value in state.values()} == {int, bool}


def test_iter_alone_leaves_a_restored_position():
    """An iterator that gives nothing does not end the epoch that was restored."""
    loader, other = _numbered(), _numbered()
    _, second, third = _pass(loader)
    other.load_state_dict({**other.state_dict(), "position": 1})
    iter(other)
    assert _pass(other) == [second, third]


@pytest.mark.parametrize(("name", "arguments"), [("batch_size", {"batch_size": 2}), ("length", {"length": 11})])
def test_the_state_of_another_loader_is_refused(name, arguments):
    """A state with other batches is a RuntimeError of ours naming what differs and both values."""
    own = {"batch_size": 3, "length": 10}[name]
    with pytest.raises(CheckpointError, match=rf"{name} \(={arguments[name]}\), not {own}"):
        _numbered().load_state_dict(_numbered(**arguments).state_dict())


def test_a_state_that_is_no_loaders_is_refused():
    """A dict without the loader's entries is a CheckpointError naming one that is missing, not a KeyError."""
    with pytest.raises(CheckpointError, match="seed"):
        _numbered().load_state_dict({"batch_size": 3, "length": 10})


@pytest.mark.parametrize(
    ("arguments", "builtin", "message"),
    [
        ({"batch_size": 0}, ValueError, r"batch_size \(=0\)"),
        ({"batch_size": 2.0}, ValueError, r"batch_size \(=2.0\)"),
        ({"batch_size": 11}, ValueError, r"batch_size \(=11\) is more than the 10 samples.*drop_last \(=True\)"),
        ({"transform": "rotate"}, TypeError, r"transform \(='rotate'\)"),
        ({"joint_transform": 3}, TypeError, r"joint_transform \(=3\)"),
        ({"transform": torch.nn.Dropout}, TypeError, r"transform \(=<class.*not a class"),
        ({"seed": -1}, ValueError, r"seed \(=-1\)"),
        ({"seed": 0.5}, ValueError, r"seed \(=0.5\)"),
        ({"shuffle": "no"}, TypeError, r"shuffle \(='no'\)"),
        ({"drop_last": None}, TypeError, r"drop_last \(=None\)"),
        ({"storage": "disk"}, ValueError, r"storage \(='disk'\)"),
        ({"device": "gpu"}, ValueError, r"device \(='gpu'\)"),
        ({"device": 1.5}, TypeError, r"device \(=1.5\)"),
        ({"device": "meta"}, ValueError, r"device \(='meta'\) holds no values"),
    ],
)
def test_bad_arguments_are_named(arguments, builtin, message):
    """Each bad argument is an error of ours and the right built-in, naming it and its value."""
    with pytest.raises(builtin, match=message) as caught:
        _numbered(**arguments)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("largest", [1, 9, 16])
def test_bytes_that_are_nearly_black_are_warned_of(largest):
    """Masks, and digits of 4 bits, would be trained on in a small part of the range."""
    samples = torch.full((4, 1, 2, 2), largest, dtype=torch.uint8)
    with pytest.warns(UserWarning, match=f"at most {largest}, where 255 is white") as warned:
        TensorLoader(TensorDataset(samples), 2)
    assert [warning.filename for warning in warned] == [__file__]
    TensorLoader(TensorDataset(samples), 2, transform=lambda sample: sample / largest)  # which scales them itself
    for others in (samples * 0, samples * 0 + 17, samples.float()):
        TensorLoader(TensorDataset(others), 2)

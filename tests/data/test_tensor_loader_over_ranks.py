"""Tests of the loader that several processes share."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import TensorDataset

from ganlib import distributed
from ganlib.data import TensorLoader
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError
from tests.ranks import Ranks

LENGTH = 50


def numbered(length: int = LENGTH, batch_size: int = 3, **arguments: Any) -> TensorLoader:
    """A loader whose samples are 0, 1, 2, ..."""
    return TensorLoader(TensorDataset(torch.arange(length).float().view(-1, 1)), batch_size, **arguments)


def noisy(samples: Tensor, generator: torch.Generator) -> Tensor:
    """The samples with noise added."""
    return samples + torch.rand(samples.shape, generator=generator)


def one_pass(loader: TensorLoader) -> list[list[int]]:
    """The numbers of each batch of a pass."""
    return [batch.sample.flatten().int().tolist() for batch in loader]


def passes(length: int, batch_size: int, drop_last: bool) -> list[list[list[int]]]:
    """What this process sees of two passes."""
    loader = numbered(length, batch_size, drop_last=drop_last)
    return [one_pass(loader), one_pass(loader)]


def stopped(batch_size: int, taken: int) -> tuple[list[int], dict[str, Any]]:
    """The numbers of the first batches, and the state after them."""
    loader = numbered(batch_size=batch_size)
    batches = iter(loader)
    return [number for _ in range(taken) for number in next(batches).sample.flatten().int().tolist()], (
        loader.state_dict()
    )


def resumed(batch_size: int, state: dict[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """What a new loader with the state gives in the rest of the pass and in the next one."""
    loader = numbered(batch_size=batch_size)
    loader.load_state_dict(state)
    return one_pass(loader), one_pass(loader)


def noises() -> tuple[Tensor, bool]:
    """This process's noise in two passes, and whether the pass changed its random state."""
    loader = TensorLoader(TensorDataset(torch.zeros(12, 1)), 3, transform=noisy)
    before = torch.get_rng_state()
    noise = torch.cat([batch.sample for _ in range(2) for batch in loader])
    return noise, torch.equal(torch.get_rng_state(), before)


def refusal(length: int) -> str:
    """What is said to a loader of eight samples a batch that knows of its processes when it is made."""
    with pytest.raises(ArgumentValueError) as caught:
        numbered(length, 8)
    return str(caught.value)


def flat(parts: Iterable[list[int]]) -> list[int]:
    """Lists one after the other."""
    return list(chain.from_iterable(parts))


def together(shares: list[list[list[int]]]) -> list[list[int]]:
    """The batches of all ranks, each rank 0's share, then rank 1's, ..."""
    return [flat(parts) for parts in zip(*shares, strict=True)]


def pretend(patch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    """Let the loader believe that it is one of several."""
    patch.setattr(distributed, "rank", lambda: rank)
    patch.setattr(distributed, "world_size", lambda: world_size)


def on_each(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What each of so many pretended processes gives."""
    results = []
    for rank in range(world_size):
        with pytest.MonkeyPatch.context() as patch:
            pretend(patch, rank, world_size)
            results.append(function(*arguments))
    return results


def test_two_processes_share_the_batches_of_one(two_ranks: Ranks) -> None:
    """Two with 32 get together exactly the batches that one with 64 gets, in two passes: rank 0's part, then 1's."""
    expected = passes(200, 64, drop_last=True)
    first, second = two_ranks(passes, 200, 32, True)
    assert [together(list(shares)) for shares in zip(first, second, strict=True)] == expected
    assert [len(share) for share in first[0]] == [32] * 3


def test_three_processes_share_a_pass(three_ranks: Ranks) -> None:
    """Real ranks see what the pretended ones of the other tests see, an uneven last batch included."""
    for length, drop_last in ((50, True), (50, False), (46, False)):
        assert three_ranks(passes, length, 3, drop_last) == on_each(3, passes, length, 3, drop_last)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.booleans())
@example(1, 2, 5, False)  # fewer samples than processes: the front comes several times
def test_a_pass_is_the_whole_order_shared_out(length: int, batch_size: int, world_size: int, drop_last: bool) -> None:
    """For any sizes all ranks get equally many and equally large batches, and together the whole order, each once.

    With drop_last that is as much of the order as fills whole batches; without, all of it, and then as few samples of
    its front again as make the last shares equal.
    """
    assume(not drop_last or length >= batch_size * world_size)
    (order,) = one_pass(numbered(length, length))

    shares = on_each(world_size, passes, length, batch_size, drop_last)

    sizes = [[[len(batch) for batch in batches] for batches in share] for share in shares]
    assert sizes == sizes[:1] * world_size
    batches = together([share[0] for share in shares])
    assert len(batches) == on_each(world_size, lambda: len(numbered(length, batch_size, drop_last=drop_last)))[0]
    seen = flat(batches)
    if drop_last:
        assert seen == order[: length - length % (batch_size * world_size)]
    else:
        surplus = len(seen) - length
        assert 0 <= surplus < world_size
        assert seen == [order[place % length] for place in range(length + surplus)]
    assert all(len(batch) == batch_size * world_size for batch in batches[:-1])


def test_transforms_draw_differently_on_each_rank(three_ranks: Ranks) -> None:
    """Ranks, batches and passes have noise of their own, no random state is changed; rank 0's is one process's."""
    results = three_ranks(noises)
    noise = torch.cat([own for own, _ in results])
    assert all(unchanged for _, unchanged in results)
    assert len(noise.unique()) == len(noise) == 3 * 2 * 3
    alone, _ = noises()
    assert torch.equal(results[0][0][:3], alone[:3])


def test_one_process_has_the_stream_that_it_always_had() -> None:
    """The order and the noise of a single process are those of ganlib before it knew of several."""
    loader = numbered(6, transform=noisy, seed=4)
    expected = [[2.9949, 0.9088, 3.9342], [5.5046, 4.461, 1.7977]]
    assert [[round(x, 4) for x in batch.sample.flatten().tolist()] for batch in loader] == expected


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_what_n_processes_began_m_go_on_with(n: int, m: int, two_ranks: Ranks, three_ranks: Ranks) -> None:
    """With batches that are together as large, m processes give just what n had still to give, and then the next pass.

    The states of all n are one, so that any of them can be given to all m.
    """
    ranks = {1: lambda function, *arguments: [function(*arguments)], 2: two_ranks, 3: three_ranks}
    first, second = (one_pass(loader) for loader in [numbered(batch_size=6)] * 2)
    for taken in (0, 1, 5, 8):
        begun = ranks[n](stopped, 6 // n, taken)
        (state,) = {tuple(state.items()): state for _, state in begun}.values()
        shares = ranks[m](resumed, 6 // m, state)

        assert sorted(flat(numbers for numbers, _ in begun)) == sorted(flat(first[:taken]))
        if taken == len(first):
            assert together([rest for rest, _ in shares]) == second
        else:
            assert together([rest for rest, _ in shares]) == first[taken:]
            assert together([following for _, following in shares]) == second


@given(st.data())
def test_with_other_batches_the_fraction_of_the_pass_is_kept(data: st.DataObject) -> None:
    """Where the batches together are not as large, the place is position * batches // batches of then, in the pass."""
    (n, m), (of_n, of_m) = (data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=2)) for _ in range(2))
    assume(n != m)
    before, after = LENGTH // (n * of_n), LENGTH // (m * of_m)
    taken = data.draw(st.integers(0, before - 1))
    ((_, state), *_) = on_each(n, stopped, of_n, taken)
    whole = on_each(m, resumed, of_m, state | {"position": 0})

    shares = on_each(m, resumed, of_m, state)

    place = taken * after // before
    assert 0 <= place < after
    assert [rest for rest, _ in shares] == [rest[place:] for rest, _ in whole]
    assert [following for _, following in shares] == [following for _, following in whole]


@pytest.mark.parametrize(("m", "batch_size", "place"), [(1, 3, 5), (2, 3, 2), (3, 2, 2), (3, 1, 5)])
def test_an_older_state_is_one_processs(m: int, batch_size: int, place: int) -> None:
    """A state that does not say how many processes there were is read as that of one, also by several."""
    _, state = stopped(3, 5)
    older = {name: value for name, value in state.items() if name not in ("world_size", "batches")}

    shares = on_each(m, resumed, batch_size, older)

    (order,) = one_pass(numbered(batch_size=LENGTH))
    expected = [order[first : first + m * batch_size] for first in range(0, LENGTH, m * batch_size)]
    assert together([rest for rest, _ in shares]) == expected[place : LENGTH // (m * batch_size)]


def test_an_older_state_of_a_pass_that_was_one_smaller_batch_is_its_beginning() -> None:
    """An older state does not say that its loader kept smaller batches; one that drops them reads it all the same."""
    loader = numbered(batch_size=60, drop_last=False)
    older = {name: value for name, value in loader.state_dict().items() if name not in ("world_size", "batches")}

    shares = on_each(2, resumed, 5, older)

    assert together([rest for rest, _ in shares]) == one_pass(numbered(batch_size=10))


@pytest.mark.parametrize("world_size", [1, 2])
def test_another_batch_size_of_as_many_processes_is_refused(world_size: int) -> None:
    """As many processes with another batch size are no resume: a CheckpointError names both sizes."""
    (_, state), *_ = on_each(world_size, stopped, 3, 2)
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch, 0, world_size)
        with pytest.raises(CheckpointError, match=r"batch_size \(=3\), not 4"):
            numbered(batch_size=4).load_state_dict(state)


def test_another_data_set_is_refused_whatever_the_processes() -> None:
    """A state of a data set of another length does not fit, also where the number of processes differs."""
    (_, state), _ = on_each(2, stopped, 3, 2)
    with pytest.raises(CheckpointError, match=r"length \(=50\), not 51"):
        numbered(51).load_state_dict(state)


def test_too_few_samples_for_all_processes_are_refused(two_ranks: Ranks) -> None:
    """Samples that fill no batch of all ranks are an error naming both numbers, when it is made and when it begins."""
    message = "batch_size (=8) times 2 processes is more than the 15 samples of the data set"
    assert all(message in said for said in two_ranks(refusal, 15))
    early = numbered(15, 8)  # before the processes were joined
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch, 1, 2)
        for attempt in (lambda: next(iter(early)), lambda: len(early)):
            with pytest.raises(ArgumentValueError) as caught:
                attempt()
            assert message in str(caught.value)
            assert isinstance(caught.value, GanlibError)
    assert len(one_pass(early)) == 1


def test_a_loader_may_be_made_before_its_processes_are_joined() -> None:
    """A loader that was made alone gives its rank's share once it is one of several."""
    early = numbered(24, 4)
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch, 1, 2)
        share = one_pass(early)
    assert share == [batch[4:] for batch in one_pass(numbered(24, 8))]

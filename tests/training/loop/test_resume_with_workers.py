"""A run whose samples come from worker processes, which draw random numbers too, goes on exactly."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler, get_worker_info

from ganlib import training
from tests.training.players import Noted, make_players, make_trainer, points, weights

pytestmark = [
    # Python 3.12 and later warn of any fork in a process with threads, which is how a DataLoader starts its workers.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of one core
]


class Noisy(TensorDataset):
    """Adds random numbers of torch's, Python's and NumPy's global generators to every sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (point,) = super().__getitem__(index)
        return (point + (torch.rand(2) + random.random() + float(np.random.rand())) * 1e-2,)


class Unseeded(TensorDataset):
    """Adds random numbers that no seed governs."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (point,) = super().__getitem__(index)
        return (point + float(np.random.default_rng().random()),)


class Shares(IterableDataset[Tensor]):
    """Each worker gives out a share of its own size, shuffled through a buffer."""

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        assert worker is not None
        buffer: list[Tensor] = []
        for point in points(40)[slice(26) if worker.id == 0 else slice(26, 40)]:
            buffer.append(point)
            if len(buffer) > 6:
                yield buffer.pop(int(torch.randint(len(buffer), ())))
        yield from buffer


def _stateful(*arguments: Any, **options: Any) -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(*arguments, **options)


def make_loader(kind: str) -> Any:
    """A loader of five batches, of the kind that is asked for."""
    noisy, plain = Noisy(points(40)), TensorDataset(points(40))
    shuffled = partial(DataLoader, batch_size=8, shuffle=True, num_workers=2)
    if kind == "generator":
        return shuffled(noisy, generator=torch.Generator().manual_seed(3))
    if kind == "sampler":
        return DataLoader(noisy, 8, sampler=WeightedRandomSampler(torch.arange(1.0, 41.0), 40), num_workers=2)
    makers: dict[str, Any] = {
        "shuffled": partial(shuffled, noisy),
        "one worker, in_order=False": partial(DataLoader, noisy, 8, shuffle=True, num_workers=1, in_order=False),
        "iterable": partial(DataLoader, Shares(), 8, num_workers=2),
        "stateful, no random numbers": partial(_stateful, plain, 8, shuffle=True, num_workers=2),
        "stateful, no workers": partial(_stateful, noisy, 8, shuffle=True),
        "persistent workers": partial(shuffled, noisy, persistent_workers=True),
        "stateful, random workers": partial(_stateful, noisy, 8, shuffle=True, num_workers=2),
        "unseeded": partial(shuffled, Unseeded(points(40))),
    }
    return makers[kind]()


EXACT = [
    "shuffled",
    "generator",
    "sampler",
    "one worker, in_order=False",
    "iterable",
    "stateful, no random numbers",
    "stateful, no workers",
]


def run_for(iterations: int, kind: str, folder: Path, *, seed: int, resume: bool = False) -> dict[str, Tensor]:
    """Train to the 8th iteration, or stop before, with objects as fresh as those of another process."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    trainer = make_trainer(*make_players(seed=seed), discriminator_steps=2)
    callbacks = [training.Checkpoint(folder, every=3), Noted(stop_at=iterations)]
    training.fit(trainer, make_loader(kind), iterations=8, resume=resume, callbacks=callbacks)
    return weights(trainer) | {"next random number": torch.rand(1)}


def _differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


@pytest.mark.parametrize("kind", EXACT)
def test_a_run_with_workers_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    """Stopped in its first epoch, in its second, and at the very end of one, a resumed run ends with the same bits."""
    expected = run_for(8, kind, tmp_path / "whole", seed=0)
    for stop in (1, 3, 5):
        run_for(stop, kind, tmp_path / str(stop), seed=0)
        assert _differing(run_for(8, kind, tmp_path / str(stop), seed=99, resume=True), expected) == [], stop


@pytest.mark.filterwarnings("ignore:this run cannot be counted on:UserWarning")
@pytest.mark.parametrize("kind", ["persistent workers", "stateful, random workers", "unseeded"])
def test_what_the_documentation_calls_inexact_is(kind: str, tmp_path: Path) -> None:
    """Random numbers that no checkpoint can hold make a resumed run another one, so the warning is right."""
    expected = run_for(8, kind, tmp_path / "whole", seed=0)
    run_for(3, kind, tmp_path / "stopped", seed=0)
    assert _differing(run_for(8, kind, tmp_path / "stopped", seed=99, resume=True), expected) != []

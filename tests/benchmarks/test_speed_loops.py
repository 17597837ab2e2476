"""The loops that are timed beside each other do the same mathematics."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.speed import loops
from benchmarks.speed.workloads import WORKLOADS, Workload
from ganlib import conditioning

SMALL = {"cdcgan28": 4, "system2": 16, "system3": 4, "system4": 4}


class Drawn:
    """Latents from their own generator of random numbers; those of a dry run have another one, which is given."""

    def __init__(self, latent: Any) -> None:
        self.latent = latent
        self.numbers = torch.Generator().manual_seed(1)

    def __call__(self, n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw n."""
        drawn = self.latent(n, device=device, generator=self.numbers if generator is None else generator)
        return drawn.to(torch.get_default_dtype())


class Labels:
    """Labels of fakes from their own generator of random numbers, except the first ones where there is a dry run."""

    def __init__(self, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.numbers = torch.Generator().manual_seed(2)

    def __call__(self, n: int) -> Tensor:
        """Draw n."""
        if self.dry_run:
            self.dry_run = False
            return torch.zeros(n, dtype=torch.int64)
        return torch.randint(10, (n,), generator=self.numbers)


@pytest.fixture
def default_dtype() -> Any:
    """What the test sets as torch's default dtype is undone."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


def small(name: str) -> Workload:
    """A workload, narrow."""
    return WORKLOADS[name].sized(batch_size=6, width=SMALL[name])


def batches(work: Workload, iterations: int) -> list[tuple[Tensor, Tensor]]:
    """The same batches each time."""
    numbers = torch.Generator().manual_seed(3)
    return [
        (
            torch.rand(work.batch_size, *work.shape, generator=numbers, dtype=torch.get_default_dtype()) * 2 - 1,
            torch.randint(10, (work.batch_size,), generator=numbers),
        )
        for _ in range(iterations)
    ]


def losses_of(work: Workload, loop: str, iterations: int, **settings: Any) -> Tensor:
    """Both losses of each iteration, (iterations, 2)."""
    players = loops.make_pair(work, by_hand=loop != "ganlib")
    latent, labels = Drawn(work.latent), Labels(dry_run=loop == "ganlib")
    stream = iter(batches(work, iterations))
    torch.manual_seed(4)
    if loop != "ganlib":
        step = loops.original if loop == "original" else loops.by_hand
        return torch.tensor([*step(work, players, loops.adams(players, work), stream, latent, labels)])
    if not work.labelled:
        players = tuple(map(conditioning.Unconditional, players))  # type: ignore[assignment]
    trainer = loops.make_trainer(work, players, loops.adams(players, work), latent, labels, **settings)
    seen = []
    for batch in stream:
        metrics = trainer.train_step(batch)
        seen.append((metrics["discriminator_loss"].item(), metrics["generator_loss"].item()))
    return torch.tensor(seen)


@pytest.mark.parametrize("name", WORKLOADS)
def test_fifty_iterations_in_float64_are_the_same(name: str, default_dtype: None) -> None:
    """Fed the same, with plain Adam, the original's loop, ours by hand and ganlib's give losses equal within 1e-8."""
    torch.set_default_dtype(torch.float64)
    work = small(name)
    expected = losses_of(work, "original", 50)
    assert expected.isfinite().all()
    assert len(expected.unique()) == 100  # it moves
    for loop in ("by hand", "ganlib"):
        torch.testing.assert_close(losses_of(work, loop, 50), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", WORKLOADS)
def test_five_iterations_in_float32_are_the_same(name: str) -> None:
    """In float32 the first five iterations agree within 1e-4."""
    work = small(name)
    expected = losses_of(work, "original", 5)
    for loop in ("by hand", "ganlib"):
        torch.testing.assert_close(losses_of(work, loop, 5), expected, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:joint_pass")  # its speed is what counts here
@pytest.mark.parametrize("name", WORKLOADS)
def test_the_trainings_that_are_timed_run(name: str) -> None:
    """Each workload trains in all the ways that are timed, on its own data path."""
    runs = loops.make_runs(small(name), "cpu", {"ganlib": {}, "joint": {"joint_pass": True}})
    runs.pop("torchgan", None)  # not among our requirements
    assert list(runs) == ["original", "by hand", "by hand again", "ganlib", "joint"]
    for run in runs.values():
        run(2)
    assert [runs[name].trainer.iteration for name in ("ganlib", "joint")] == [2, 2]

"""A small last batch that cannot be trained on is named before the training, and leaves no trace."""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from ganlib import data, latents, losses, penalties, stacks, training
from ganlib.errors import ArgumentValueError
from ganlib.training._small_batches import SmallBatches
from tests.training.players import make_trainer, points


def normed(*sizes: int) -> nn.Module:
    """An MLP with batch norm."""
    first, hidden, last = sizes
    return nn.Sequential(nn.Linear(first, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, last))


class Wide(nn.Linear):
    """Gives float32 under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        """Points."""
        return super().forward(x).float()


class Deviation(nn.Module):
    """A discriminator that sees the deviation of its batch, which one sample does not have: it is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.layer(torch.cat([x, x.std(0).mean().expand(len(x), 1)], 1))


class Correlated:
    """A loss that needs two samples."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Hinge loss; the covariance of one sample has no factor."""
        torch.linalg.cholesky(torch.cov(real.detach().T).reshape(1, 1) + torch.eye(1))
        return losses.HingeLoss().discriminator(real, fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The plain mean."""
        return -fake.mean()


def game(generator: nn.Module, discriminator: nn.Module, *, fixed: bool = False) -> training.GameTrainer:
    """A game on (sample,) batches; with ``fixed`` it draws four fakes, whatever the batch is."""
    loss = losses.HingeLoss()

    def fakes(batch: Any) -> Tensor:
        return generator(torch.randn(4 if fixed else len(batch[0]), 3))

    def discriminator_objective(batch: Any) -> Tensor:
        return loss.discriminator(discriminator(batch[0]), discriminator(fakes(batch).detach()))

    def generator_objective(batch: Any) -> Tensor:
        return loss.generator(discriminator(fakes(batch)))

    return training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player("critic", torch.optim.Adam(discriminator.parameters()), discriminator_objective),
            training.Player("artist", torch.optim.Adam(generator.parameters()), generator_objective),
        ],
    )


def nine() -> TensorDataset:
    """Nine points, which batches of four do not divide."""
    return TensorDataset(points(9))


class Unsized(IterableDataset[Tensor]):
    """The same, as a stream."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(points(9))


KNOWN: dict[str, Callable[[], Any]] = {
    "DataLoader": lambda: DataLoader(nine(), 4),
    "shuffled": lambda: DataLoader(nine(), 4, shuffle=True),
    "BatchSampler": lambda: DataLoader(nine(), batch_sampler=BatchSampler(SequentialSampler(nine()), 4, False)),
    "lists of indices": lambda: DataLoader(nine(), batch_sampler=[[0, 1, 2, 3], [4]]),
    "TensorLoader": lambda: data.TensorLoader(nine(), 4, drop_last=False),
    "map_loader": lambda: data.map_loader(DataLoader(nine(), 4), lambda batch: batch),
    "list": lambda: [(points(4),), (points(1),)],
}
TRAINERS: dict[str, Callable[[], Any]] = {
    "generator": lambda: make_trainer(normed(3, 8, 2), nn.Linear(2, 1)),
    "discriminator": lambda: make_trainer(nn.Linear(3, 2), normed(2, 8, 1)),
    "reuse_fakes": lambda: make_trainer(normed(3, 8, 2), nn.Linear(2, 1), reuse_fakes=True),
    "discriminator_steps": lambda: make_trainer(normed(3, 8, 2), nn.Linear(2, 1), discriminator_steps=3),
    "accumulate": lambda: make_trainer(normed(3, 8, 2), nn.Linear(2, 1), accumulate_grad_batches=3),
    "half precision": lambda: make_trainer(Wide(3, 2), normed(2, 8, 1), precision="fp16"),
    "deviation": lambda: make_trainer(nn.Linear(3, 2), Deviation()),
    "loss": lambda: plain(loss=Correlated()),
    "game": lambda: game(normed(3, 8, 2), nn.Linear(2, 1)),
    "discriminator of a game": lambda: game(nn.Linear(3, 2), normed(2, 8, 1), fixed=True),
}


def plain(**options: Any) -> training.AdversarialTrainer:
    """A trainer of networks for which every batch is large enough."""
    return make_trainer(nn.Linear(3, 2), nn.Linear(2, 1), **options)


def state_of(trainer: Any) -> Any:
    """Weights, statistics, the optimizers' states and the random state."""
    return copy.deepcopy((trainer.state_dict(), torch.get_rng_state()))


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, tensor by tensor."""
    leaves, structure = torch.utils._pytree.tree_flatten(one)
    others, other_structure = torch.utils._pytree.tree_flatten(other)
    equal = [torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(leaves, others, strict=True)]
    return structure == other_structure and all(equal)


@pytest.mark.parametrize("loader", KNOWN)
@pytest.mark.parametrize("trainer", ["generator", "discriminator", "game"])
def test_fit_names_it_before_anything_is_trained(trainer: str, loader: str) -> None:
    """Where the loader knows the sizes, a last batch of one sample is refused, and drop_last is named."""
    one = TRAINERS[trainer]()
    with pytest.raises(ArgumentValueError, match="smallest batch of an epoch, of 1.*drop_last"):
        training.fit(one, KNOWN[loader](), epochs=1)
    assert one.iteration == 0


@pytest.mark.parametrize("trainer", TRAINERS)
def test_whatever_fails_is_found_and_leaves_no_trace(trainer: str) -> None:
    """Batch norm of either network, a statistic that is NaN, a loss: all is as it was before."""
    one = TRAINERS[trainer]()
    before = state_of(one)
    with pytest.raises(ArgumentValueError, match="drop_last"):
        training.fit(one, KNOWN["list"](), iterations=3)
    assert same(state_of(one), before)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_is_right_trains(trainer: str) -> None:
    """Without the last batch, or with a limit before it, every one of these trains."""
    for loader, limits in (
        (DataLoader(nine(), 4, drop_last=True), {"epochs": 3}),
        (DataLoader(nine(), 3), {"epochs": 1}),
        (DataLoader(TensorDataset(points(10)), 4), {"epochs": 3}),
        (DataLoader(TensorDataset(points(99)), 2), {"iterations": 2}),
    ):
        one = TRAINERS[trainer]()
        training.fit(one, loader, **limits)
        assert one.iteration > 0


HEALTHY: dict[str, Callable[[], Any]] = {
    "linear": plain,
    "spectral norm": lambda: make_trainer(
        nn.Linear(3, 2), nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 1)))
    ),
    "MinibatchStdDev": lambda: make_trainer(nn.Linear(3, 2), nn.Sequential(stacks.MinibatchStdDev(), nn.Linear(3, 1))),
    "frozen batch norm": lambda: make_trainer(
        nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4).eval(), nn.Linear(4, 1))
    ),
    "penalties": lambda: plain(
        penalties=[penalties.R1(), penalties.R2(), penalties.GradientPenalty(), penalties.DRAGAN(), penalties.LeCam()]
    ),
    "relativistic": lambda: plain(loss=losses.RelativisticLoss()),
    "joint pass": lambda: plain(joint_pass=True),
    "a game with a fixed number of fakes": lambda: game(normed(3, 8, 2), nn.Linear(2, 1), fixed=True),
}


@pytest.mark.parametrize("trainer", HEALTHY)
def test_a_batch_of_one_that_can_be_trained_on_changes_nothing(trainer: str) -> None:
    """No false alarm; and the training is, to the bit, the one without the trial."""
    trained = []
    for announced in (True, False):
        torch.manual_seed(0)
        one = HEALTHY[trainer]()
        if announced:
            training.fit(one, [(points(4),), (points(4, seed=1),), (points(1),)], epochs=2)
        else:
            for batch in [(points(4),), (points(4, seed=1),), (points(1),)] * 2:
                one.train_step(batch)
        trained.append(state_of(one))
    assert same(*trained)


class Draws:
    """Latents from generators of a user's own, in an attribute and in a closure."""

    def __init__(self) -> None:
        numbers = np.random.default_rng(0)
        self.generator = torch.Generator().manual_seed(0)
        self.more = lambda n: torch.from_numpy(numbers.normal(size=(n, 3))).float()

    def __call__(self, n: int, **where: Any) -> Tensor:
        """Normal."""
        return torch.randn(n, 3, generator=self.generator) + self.more(n)


def test_generators_of_a_users_own_stay_as_they_are() -> None:
    """The training is, to the bit, the one whose small batch was not announced."""
    trained = []
    for sizes in ((4, 4), (4, 1)):
        torch.manual_seed(0)
        one = plain(latent=Draws())
        one.expect_batches(*sizes)
        one.train_step((points(4),))
        trained.append(one.state_dict()["modules"])
    assert same(*trained)


def test_convolutions_have_several_values_in_one_sample() -> None:
    """A batch norm over pixels trains on a batch of one."""
    generator = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 1))
    for trainer in (make_trainer(generator, critic), game(generator, critic)):
        training.fit(trainer, DataLoader(TensorDataset(torch.randn(9, 1, 8, 8)), 4), epochs=1)
        assert trainer.iteration == 3


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if "steps" not in name and name != "accumulate"])
def test_a_hand_loop_is_told_at_the_batch(trainer: str) -> None:
    """Nothing is trained on the batch of one, whatever comes before it."""
    one = TRAINERS[trainer]()
    one.train_step((points(4),))
    one.train_step((points(3),))
    weights = copy.deepcopy(one.state_dict()["optimizers"])
    with pytest.raises(ArgumentValueError, match="drop_last"):
        one.train_step((points(1),))
    assert same(one.state_dict()["optimizers"], weights)
    one.train_step((points(4),))  # and it goes on, if that is wanted
    assert one.iteration == 3


def test_a_stream_is_told_at_the_batch() -> None:
    """A loader that does not know its sizes."""
    trainer = TRAINERS["generator"]()
    with pytest.raises(ArgumentValueError, match="a batch of 1.*4 or more.*drop_last"):
        training.fit(trainer, DataLoader(Unsized(), 4), epochs=1)
    assert trainer.iteration == 2


def test_batches_that_are_larger_than_the_loader_says() -> None:
    """Where a collate function makes two samples of one, the last batch has two."""
    doubled = DataLoader(nine(), 4, collate_fn=lambda items: torch.cat([torch.stack([item[0] for item in items])] * 2))
    trainer = TRAINERS["generator"]()
    training.fit(trainer, doubled, epochs=1)
    assert trainer.iteration == 3


def test_what_fails_for_every_batch_is_said_of_the_first() -> None:
    """A loss that always fails is not blamed on the last batch."""

    class Broken(Correlated):
        """Raises an error."""

        def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
            """Raise."""
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        training.fit(plain(loss=Broken()), DataLoader(nine(), 4), epochs=1)


def test_latents_and_conditions_of_the_small_batch() -> None:
    """The fakes' conditions are drawn for it, and its own are cut with it."""
    seen = list[int]()

    def draw(n: int) -> Tensor:
        seen.append(n)
        return torch.zeros(n, 1)

    class Conditional(nn.Linear):
        """Takes a vector."""

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            """Join it."""
            return super().forward(torch.cat([x, condition], 1))

    trainer = make_trainer(Conditional(5, 2), Conditional(3, 1), latent=latents.Gaussian(4), fake_conditions=draw)
    training.fit(trainer, [(points(4), torch.zeros(4, 1)), (points(1), torch.zeros(1, 1))], epochs=1)
    assert {*seen} == {1, 4}


def test_a_warning_that_is_given_once_is_not_lost() -> None:
    """What a part says once, in the trial, is said."""

    class Once(Correlated):
        """Warns at its first call."""

        said = False

        def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
            """Hinge loss."""
            if not self.said:
                self.said = True
                warnings.warn("look", stacklevel=2)
            return losses.HingeLoss().discriminator(real, fake)

    with pytest.warns(UserWarning, match="look") as caught:
        training.fit(plain(loss=Once()), KNOWN["list"](), epochs=2)
    assert len(caught) == 1


class ActNorm(nn.Module):
    """Takes its scale from the first batch that it is trained on, as Glow does, and keeps that in plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.is_new, self.calls = nn.Parameter(torch.ones(2)), True, 0

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        if self.training:
            self.calls += 1
            if self.is_new:
                self.scale.data = 1 / (x.detach().std(0, correction=0) + 0.01)
                self.is_new = False
        return x * self.scale


def test_a_trial_leaves_no_trace_in_what_a_module_keeps_outside_of_its_buffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training whose last batch is smaller is that of the same batches without a trial, bit for bit."""

    def trained() -> list[Tensor]:
        torch.manual_seed(0)
        discriminator = nn.Sequential(ActNorm(), nn.Linear(2, 1))
        training.fit(make_trainer(nn.Linear(3, 2), discriminator), [points(4), points(4), points(1)], iterations=4)
        return [*discriminator.state_dict().values(), torch.tensor(discriminator[0].calls)]

    tried = trained()
    monkeypatch.setattr(SmallBatches, "__call__", lambda self, batch: None)
    assert all(map(torch.equal, tried, trained()))

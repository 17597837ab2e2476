"""Random generators of the user's own in a trainer's parts go on exactly after a resume."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import penalties, training
from ganlib._files import load_plain, save_plain
from ganlib.distributed import rank
from tests.ranks import Ranks
from tests.training.players import MyHinge, MyTrainer, make_players, make_trainer, points


class NoisyLoss(MyHinge):
    """A loss with a generator."""

    def __init__(self, generator: Any) -> None:
        self.generator_ = generator

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, times a random number."""
        return super().discriminator(real, fake) * (1 + _draw(self.generator_))


class NoisyAuxiliary:
    """An auxiliary loss with a generator, for the generator alone."""

    weight = 1.0

    def __init__(self, generator: Any) -> None:
        self.rng = [generator]

    def discriminator(self, step: Any) -> float:
        """Nothing."""
        return 0

    def generator(self, step: Any) -> Tensor:
        """A random multiple of the mean."""
        value: Tensor = step.fake.mean() * _draw(self.rng[0])
        return value


def _draw(generator: Any) -> float:
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random())


GENERATORS: dict[str, Callable[[int], Any]] = {
    "torch": lambda seed: torch.Generator().manual_seed(seed),
    "numpy": np.random.default_rng,
    "python": random.Random,
}


def in_loss(generator: Any) -> Any:
    """In an attribute of the loss."""
    return make_trainer(loss=NoisyLoss(generator))


def in_auxiliary_loss(generator: Any) -> Any:
    """In a list of an auxiliary loss."""
    return make_trainer(auxiliary_losses=[NoisyAuxiliary(generator)])


def in_game(generator: Any) -> Any:
    """In the closure of an objective, and in a partial of another one."""
    network, other = make_players()[1], make_players(seed=1)[1]

    def first(batch: Tensor) -> Tensor:
        return network(batch + _draw(generator)).square().mean()

    def second(generator: Any, batch: Tensor) -> Tensor:
        return other(batch * _draw(generator)).square().mean()

    return training.GameTrainer(
        {"network": network, "other": other},
        [
            training.Player("first", torch.optim.Adam(network.parameters()), first),
            training.Player("second", torch.optim.Adam(other.parameters()), partial(second, generator)),
        ],
    )


class Judged:
    """An objective that is a method."""

    def __init__(self, network: nn.Module, generator: Any) -> None:
        self.network, self.rng = network, {"noise": generator}

    def objective(self, batch: Tensor) -> Tensor:
        """A noisy one."""
        value: Tensor = self.network(batch + _draw(self.rng["noise"])).square().mean()
        return value


def in_method(generator: Any) -> Any:
    """In a dict of the object of an objective."""
    network = make_players()[1]
    player = training.Player("one", torch.optim.Adam(network.parameters()), Judged(network, generator).objective)
    return training.GameTrainer({"network": network}, [player])


class Noise(nn.Module):
    """A layer with a generator."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self.rng = generator

    def forward(self, x: Tensor) -> Tensor:
        """Add noise."""
        return x + _draw(self.rng)


def in_network(generator: Any) -> Any:
    """In a layer."""
    network = nn.Sequential(Noise(generator), nn.Linear(2, 1))
    player = training.Player("one", torch.optim.Adam(network.parameters()), lambda batch: network(batch).mean())
    return training.GameTrainer({"network": network}, [player])


def in_latent(generator: Any) -> Any:
    """In the closure of a latent, which is also tried before the training."""
    return make_trainer(latent=lambda n, **_: torch.linspace(-1, 1, n * 3).view(n, 3) * _draw(generator))


def in_augment(generator: Any) -> Any:
    """In the closure of an augmentation."""
    return make_trainer(augment=lambda x: x + _draw(generator))


def in_generator(generator: Any) -> Any:
    """In a layer of an AdversarialTrainer's generator."""
    return make_trainer(nn.Sequential(nn.Linear(3, 2), Noise(generator)), make_players()[1])


def train(make: Callable[[], Any], folder: Path, iterations: int) -> dict[str, Tensor]:
    """Begin a run, or continue it."""
    torch.manual_seed(0)
    trainer = make()
    callbacks = [training.Checkpoint(folder, every=100)]
    training.fit(trainer, [points(8)], iterations=iterations, callbacks=callbacks, resume=True)
    return {
        f"{name}.{key}": value.clone()
        for name, one in trainer.modules.items()
        for key, value in one.state_dict().items()
    }


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize(
    "place",
    [*(in_loss, in_auxiliary_loss, in_game, in_method), *(in_network, in_latent, in_augment, in_generator)],
)
def test_three_and_three_iterations_are_six(place: Callable[[Any], Any], kind: str, tmp_path: Path) -> None:
    """Wherever the generator is; a run with another seed is another one."""
    make = lambda seed=1: place(GENERATORS[kind](seed))  # noqa: E731
    whole = train(make, tmp_path / "whole", 6)
    train(make, tmp_path / "parts", 3)
    parts = train(make, tmp_path / "parts", 6)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    other = train(lambda: make(2), tmp_path / "other", 6)
    assert not all(torch.equal(value, other[name]) for name, value in whole.items())


def test_generators_of_a_callback_go_on(tmp_path: Path) -> None:
    """Also without a state of the callback; one that is new, or has other generators, begins."""

    class Draws:
        """Notes what it draws."""

        def __init__(self, generator: Any) -> None:
            self.rng, self.seen = generator, list[float]()

        def on_iteration(self, run: Any) -> None:
            """Draw."""
            self.seen.append(_draw(self.rng))

    def drawn(folder: str, iterations: int, kind: str = "torch") -> list[float]:
        callbacks = [Draws(GENERATORS[kind](1)), training.Checkpoint(tmp_path / folder)]
        training.fit(MyTrainer(), [points()], iterations=iterations, callbacks=callbacks, resume=True)
        return callbacks[0].seen

    assert drawn("parts", 3) + drawn("parts", 6) == drawn("whole", 6)
    assert drawn("parts", 8, "numpy") == drawn("new", 2, "numpy")


def test_a_checkpoint_without_generators_is_loaded(tmp_path: Path) -> None:
    """As an earlier version wrote it: they begin as they were made."""
    make = lambda: in_loss(GENERATORS["torch"](1))  # noqa: E731
    train(make, tmp_path, 3)
    (path,) = training.Checkpoint(tmp_path).paths()
    values = load_plain(path)
    for own in values["run"]["ranks"]:
        assert own["random"].pop("own")
    save_plain(path, values)
    train(make, tmp_path, 6)


def test_other_generators_than_the_saved_ones_are_warned_of(tmp_path: Path) -> None:
    """Once; without any, or where the run saved none, there is no warning."""
    train(lambda: in_loss(GENERATORS["torch"](1)), tmp_path / "a", 3)
    with pytest.warns(UserWarning, match=r"other random generators \(numpy\) than .* saved \(torch\)"):
        train(lambda: in_loss(GENERATORS["numpy"](1)), tmp_path / "a", 5)
    train(lambda: in_loss(None), tmp_path / "a", 5)


def test_a_trainer_without_generators_saves_none(tmp_path: Path) -> None:
    """Neither ganlib's parts nor torch's, NumPy's and Python's own generators are among them."""

    def objective_of_modules() -> float:
        return random.random() + float(np.random.rand()) + float(torch.rand(()))

    class Uses(MyHinge):
        """Draws from the modules."""

        def __init__(self) -> None:
            self.draw = objective_of_modules

    train(lambda: make_trainer(loss=Uses(), penalties=[penalties.R1()]), tmp_path, 2)
    (path,) = training.Checkpoint(tmp_path).paths()
    assert [own["random"]["own"] for own in load_plain(path)["run"]["ranks"]] == [{}]


def test_a_rollback_draws_other_numbers(tmp_path: Path) -> None:
    """As from all generators."""
    generator = torch.Generator().manual_seed(1)

    class Trips(MyTrainer):
        """Has one metric that is NaN, once."""

        def __init__(self) -> None:
            super().__init__()
            self.rng, self.seen = generator, list[tuple[int, float]]()

        def train_step(self, batches: Any) -> Any:
            """Draw."""
            super().train_step(batches)
            self.seen.append((self.iteration, _draw(self.rng)))
            return {"value": torch.tensor(float("nan") if len(self.seen) == 4 else 0.0)}

    trainer = Trips()
    with pytest.warns(UserWarning, match="goes back"):
        training.fit(trainer, [points()], iterations=5, rollbacks=1, callbacks=[training.Checkpoint(tmp_path, every=2)])
    drawn = dict[int, list[float]]()
    for iteration, value in trainer.seen:
        drawn.setdefault(iteration, []).append(value)
    twice = [values for values in drawn.values() if len(values) == 2]
    assert twice
    assert all(first != second for first, second in twice)


def noisy_on_a_rank(folder: Path, stops: list[int]) -> dict[str, Tensor]:
    """Train in parts with a generator of the rank's own in the loss; the next number of the generator is there too."""
    for stop in stops:
        generator = GENERATORS["torch"](rank())
        result = train(lambda generator=generator: in_loss(generator), folder, stop)
    return {**result, "next": torch.rand((), generator=generator)}


def test_each_rank_goes_on_with_its_own(two_ranks: Ranks, tmp_path: Path) -> None:
    """The checkpoint holds the state of each rank's generator."""
    whole = two_ranks(noisy_on_a_rank, tmp_path / "whole", [6])
    parts = two_ranks(noisy_on_a_rank, tmp_path / "parts", [3, 6])
    for one, other in zip(whole, parts, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not torch.equal(whole[0]["next"], whole[1]["next"])

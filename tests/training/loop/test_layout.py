"""A state that only the first iteration makes, and that a new network could not load, ends the run after it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import training
from ganlib.errors import ArgumentValueError
from tests.training.players import MyTrainer, make_players, make_trainer, points


class Network(nn.Module):
    """A user's discriminator with something in its state."""

    mean: Any
    queue: Any

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.network = nn.Linear(2, 1)
        self.register_buffer("mean", None, persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean of the first batch."""
        if self.mean is None:
            self.mean = x.detach().mean(0)
        return self.network(x - self.mean)


class Queue(Network):
    """A queue that grows."""

    def __init__(self) -> None:
        super().__init__(persistent=False)
        self.register_buffer("queue", torch.zeros(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Append the batch."""
        self.queue = torch.cat([self.queue, x.detach()])[-1000:]
        return super().forward(x)


class Late(Network):
    """A layer that a forward pass makes."""

    def __init__(self) -> None:
        super().__init__(persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        if not hasattr(self, "scale"):
            self.scale = nn.Linear(1, 1)
        return super().forward(x) * self.scale.bias.detach()


class Empties(Network):
    """A buffer that goes away."""

    def __init__(self) -> None:
        super().__init__(persistent=False)
        self.register_buffer("queue", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """Use it up."""
        self.queue = None
        return super().forward(x)


class Loads(Network):
    """Knows how to load its mean."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if f"{prefix}mean" in state_dict:
            self.mean = torch.zeros_like(state_dict[f"{prefix}mean"])
        super()._load_from_state_dict(state_dict, prefix, *rest)


def hooked() -> Network:
    """Knows it by a hook."""

    def load(module: Any, state: Any, prefix: str, *rest: Any) -> None:
        if f"{prefix}mean" in state:
            module.mean = torch.zeros_like(state[f"{prefix}mean"])

    network = Network()
    network.register_load_state_dict_pre_hook(load)
    return network


def called() -> Network:
    """Was called before."""
    network = Network()
    network(points())
    return network


def train(folder: Path, make: Callable[[], nn.Module], iterations: int) -> training.AdversarialTrainer:
    """Begin a run, or continue it with new networks."""
    trainer = make_trainer(make_players()[0], make())
    checkpoint = training.Checkpoint(folder, every=100)
    training.fit(trainer, [points()], iterations=iterations, callbacks=[checkpoint], resume=True)
    return trainer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Network, r"discriminator.mean changed .* from absent to \(2,\)"),
        (Queue, r"discriminator.queue changed .* from \(0, 2\) to \("),
        (lambda: nn.Sequential(Queue()), r"discriminator.0.queue changed"),
        (Late, r"discriminator.scale.weight changed .* from absent to \(1, 1\)"),
        (Empties, r"discriminator.queue changed .* from \(3,\) to absent"),
    ],
)
def test_what_could_not_be_loaded_ends_the_run_after_the_first_iteration(
    make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    """And a new network cannot load it, indeed; without a Checkpoint there is no error."""
    with pytest.raises(ArgumentValueError, match=message):
        train(tmp_path, make, 900)
    assert not [*tmp_path.rglob("*.pt")]
    trainer = make_trainer(make_players()[0], make())
    training.fit(trainer, [points()], iterations=3)
    with pytest.raises(RuntimeError, match="Unexpected key|size mismatch|Missing key"):
        make().load_state_dict(trainer.discriminator.state_dict())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Network(persistent=False),
        Loads,
        lambda: nn.Sequential(Loads()),
        hooked,
        called,
        lambda: nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.LazyLinear(1)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 1)),
        lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)),
    ],
)
def test_what_can_be_loaded_is_resumed(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Nothing is refused."""
    train(tmp_path, make, 3)
    if not any(isinstance(part, nn.modules.lazy.LazyModuleMixin) for part in make().modules()):
        assert train(tmp_path, make, 5).iteration == 5


def test_the_state_of_a_users_trainer_is_its_own(tmp_path: Path) -> None:
    """It may know how to load it."""

    class Own(MyTrainer):
        """Keeps a network."""

        def __init__(self) -> None:
            super().__init__()
            self.network = Queue()

        def train_step(self, batches: Any) -> Any:
            """Use it."""
            self.network(points())
            return super().train_step(batches)

    training.fit(Own(), [points()], iterations=3, callbacks=[training.Checkpoint(tmp_path)])

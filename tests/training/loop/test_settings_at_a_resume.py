"""Which settings of the optimizers a resumed run goes on with, and what it says of them."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from tests.training.players import MyTrainer, Tripping, make_players, make_trainer, points

Make = Callable[..., Any]


class OwnTrainer:
    """A user's trainer, with an optimizer and no word about it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.iteration = 0
        self.optimizer = optimizer

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Step."""
        loss = sum(p.square().sum() for group in self.optimizer.param_groups for p in group["params"])
        assert isinstance(loss, Tensor)
        next(batches)
        loss.backward()
        self.optimizer.step()
        self.iteration += 1
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """As anyone writes it."""
        return {"iteration": self.iteration, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As anyone writes it."""
        self.iteration = state["iteration"]
        self.optimizer.load_state_dict(state["optimizer"])


def adversarial(**settings: Any) -> tuple[Any, torch.optim.Optimizer]:
    """One whose generator has such an optimizer."""
    generator, discriminator = make_players()
    optimizer = torch.optim.Adam(generator.parameters(), **settings)
    return make_trainer(generator, discriminator, generator_optimizer=optimizer), optimizer


def game(**settings: Any) -> tuple[Any, torch.optim.Optimizer]:
    """One with a single player."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters(), **settings)
    player = training.Player("generator", optimizer, lambda batch: network(batch).square().mean())
    return training.GameTrainer({"network": network}, [player]), optimizer


def own(**settings: Any) -> tuple[Any, torch.optim.Optimizer]:
    """One of a user's."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(3))], **settings)
    return OwnTrainer(optimizer), optimizer


TRAINERS = pytest.mark.parametrize("make", [adversarial, game, own])


def fit(trainer: Any, folder: Path, iterations: int, *callbacks: Any, **options: Any) -> list[str]:
    """Train, with a checkpoint at the end; the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = training.Checkpoint(folder, every=100)
        training.fit(trainer, [points()], iterations=iterations, callbacks=[*callbacks, checkpoint], **options)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def forget_settings(folder: Path) -> None:
    """Make the checkpoints those of an earlier version."""
    for path in (folder / "checkpoints").glob("*.pt"):
        values = load_plain(path)
        del values["run"]["optimizers"]
        save_plain(path, values)


@TRAINERS
@pytest.mark.parametrize("earlier_version", [False, True])
def test_other_settings_are_warned_of_once_and_those_of_the_checkpoint_count(
    make: Make, earlier_version: bool, tmp_path: Path
) -> None:
    """The warning names the optimizer, each setting and both values, and how to take one's own; it comes each time."""
    fit(make(lr=1e-3, betas=(0.5, 0.9))[0], tmp_path, 2)
    if earlier_version:
        forget_settings(tmp_path)
    for iterations in (4, 6):
        trainer, optimizer = make(lr=1e-4, betas=(0.0, 0.9))
        (message,) = fit(trainer, tmp_path, iterations, resume=True)
        assert "optimizer goes on with the checkpoint's lr (=0.001), not with yours (=0.0001)" in message
        assert "betas (=(0.5, 0.9)), not with yours (=(0, 0.9))" in message
        assert "to use yours, pass from_code=('lr', 'betas')" in message
        assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (1e-3, (0.5, 0.9))


@TRAINERS
@pytest.mark.parametrize("earlier_version", [False, True])
def test_settings_from_the_code(make: Make, earlier_version: bool, tmp_path: Path) -> None:
    """They stay as the code says, without a warning, and a later resume does not warn of them either."""
    fit(make(lr=1e-3, weight_decay=0.1)[0], tmp_path, 2)
    if earlier_version:
        forget_settings(tmp_path)
    trainer, optimizer = make(lr=1e-4, weight_decay=0.2)
    (message,) = fit(trainer, tmp_path, 4, resume=True, from_code="lr")
    assert "weight_decay (=0.1), not with yours (=0.2)" in message
    assert "lr" not in message
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (1e-4, 0.1)
    trainer, optimizer = make(lr=1e-4, weight_decay=0.1)
    assert fit(trainer, tmp_path, 6, resume=True) == []
    assert optimizer.param_groups[0]["lr"] == 1e-4


@TRAINERS
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("earlier_version", [False, True])
def test_a_schedule_starts_from_the_rate_of_the_checkpoint_or_of_the_code(
    make: Make, tensor: bool, earlier_version: bool, tmp_path: Path
) -> None:
    """The same rate is not warned of, though the schedule has lowered it; another one is, and from_code takes it."""

    def run(lr: float, iterations: int, **options: Any) -> tuple[float, list[str]]:
        trainer, optimizer = make(lr=torch.tensor(lr) if tensor else lr)
        schedule = training.LearningRateSchedule(optimizer, lambda progress: 0.5)
        messages = fit(trainer, tmp_path, iterations, schedule, **options)
        return float(optimizer.param_groups[0]["lr"]), messages

    assert run(1e-2, 2) == (pytest.approx(5e-3), [])
    if earlier_version:
        forget_settings(tmp_path)
    assert run(1e-2, 4, resume=True) == (pytest.approx(5e-3), [])
    rate, (message,) = run(1e-3, 6, resume=True)
    assert rate == pytest.approx(5e-3)
    assert "lr (=0.01), not with yours (=0.001)" in message
    assert run(1e-3, 8, resume=True, from_code=("lr",)) == (pytest.approx(5e-4), [])
    assert run(1e-3, 10, resume=True) == (pytest.approx(5e-4), [])


@TRAINERS
def test_a_schedule_that_is_new_or_gone(make: Make, tmp_path: Path) -> None:
    """A new one starts from the rate of the checkpoint; without it, the rate that it left is warned of."""
    fit(make(lr=1e-2)[0], tmp_path, 2)
    trainer, optimizer = make(lr=1e-2)
    schedule = training.LearningRateSchedule(optimizer, lambda progress: 0.5)
    assert fit(trainer, tmp_path, 4, schedule, resume=True) == []
    assert optimizer.param_groups[0]["lr"] == 5e-3
    trainer, optimizer = make(lr=1e-2)
    (message,) = fit(trainer, tmp_path, 6, resume=True)
    assert "lr (=0.005), not with yours (=0.01)" in message
    trainer, optimizer = make(lr=1e-2)
    assert fit(trainer, tmp_path, 8, resume=True, from_code=("lr",)) == []
    assert optimizer.param_groups[0]["lr"] == 1e-2
    assert fit(trainer, tmp_path, 10, training.LearningRateSchedule(optimizer, lambda progress: 0.1)) == []
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


@TRAINERS
def test_a_rate_that_a_callback_sets_is_not_warned_of(make: Make, tmp_path: Path) -> None:
    """What the code says has not changed, though the rate has."""

    class Decay:
        """Lowers the rate in a user's own way."""

        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def on_iteration(self, run: training.Run) -> None:
            """Lower it."""
            self.optimizer.param_groups[0]["lr"] *= 0.5

    for iterations in (2, 4, 6):
        trainer, optimizer = make(lr=1e-2)
        assert fit(trainer, tmp_path, iterations, Decay(optimizer), resume=True) == []
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * 0.5**6)


class Counting(torch.optim.SGD):
    """Counts in its groups, as schedule-free optimizers do, and has a setting of a newer release."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        for group in self.param_groups:
            group |= {"k": 0, "only_in_this_release": 3}

    def step(self, closure: Any = None) -> Any:
        """Count."""
        for group in self.param_groups:
            group["k"] += 1
        return super().step(closure)


@pytest.mark.parametrize("earlier_version", [False, True])
def test_what_an_optimizer_counts_and_how_it_computes_are_no_settings(earlier_version: bool, tmp_path: Path) -> None:
    """Neither a count in a group nor ``foreach`` is warned of."""
    fit(OwnTrainer(Counting([nn.Parameter(torch.ones(3))], lr=0.1)), tmp_path, 2)
    if earlier_version:
        forget_settings(tmp_path)
    optimizer = Counting([nn.Parameter(torch.ones(3))], lr=0.1)
    optimizer.param_groups[0]["foreach"] = True
    assert fit(OwnTrainer(optimizer), tmp_path, 4, resume=True) == []
    assert optimizer.param_groups[0]["k"] == 4


@TRAINERS
def test_nothing_is_said_where_nothing_changed(make: Make, tmp_path: Path) -> None:
    """Neither in a new process nor with the same objects, which a schedule has changed."""
    trainer, optimizer = make(lr=1e-2)
    schedule = training.LearningRateSchedule(optimizer, training.linear_decay(start=0.0))
    for iterations in (2, 4):
        assert fit(trainer, tmp_path, iterations, schedule, resume=True) == []


def test_a_group_of_its_own_is_named(tmp_path: Path) -> None:
    """Of several groups the warning says which one, and from_code sets each to its own."""

    def make(second: float) -> OwnTrainer:
        groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, second)]
        return OwnTrainer(torch.optim.SGD(groups))

    fit(make(0.2), tmp_path, 2)
    (message,) = fit(make(0.3), tmp_path, 4, resume=True)
    assert "lr of group 1 (=0.2), not with yours (=0.3)" in message
    trainer = make(0.3)
    fit(trainer, tmp_path, 6, resume=True, from_code=("lr",))
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.1, 0.3]


@pytest.mark.parametrize("from_code", [("learning_rate",), ("lr", "params"), (1,), ("initial_lr",)])
def test_a_setting_that_no_optimizer_has_is_refused(from_code: Any, tmp_path: Path) -> None:
    """It is an error that quotes it and lists what there is, before anything is loaded."""
    trainer, _ = adversarial(lr=1e-3)
    fit(trainer, tmp_path, 2)
    trainer, _ = adversarial(lr=1e-3)
    with pytest.raises(ArgumentValueError, match=r"from_code holds .*no setting .*'lr', 'betas'"):
        fit(trainer, tmp_path, 4, resume=True, from_code=from_code)
    assert trainer.iteration == 0
    with pytest.raises(ArgumentValueError, match=r"from_code holds 'lr', .*it has none"):
        fit(MyTrainer(), tmp_path / "own", 4, from_code=("lr",))


@pytest.mark.parametrize("from_code", [None, 3])
def test_from_code_is_a_sequence_of_names(from_code: Any, tmp_path: Path) -> None:
    """A string is not one."""
    with pytest.raises(ArgumentTypeError, match=r"from_code \(=.*\) must be a sequence of names"):
        fit(adversarial(lr=1e-3)[0], tmp_path, 1, from_code=from_code)


def test_a_rollback_does_not_warn_and_keeps_what_comes_from_the_code(tmp_path: Path) -> None:
    """The run goes back to a checkpoint with another rate, and goes on with the code's."""
    fit(adversarial(lr=1e-3)[0], tmp_path, 2)
    trainer, optimizer = adversarial(lr=1e-4)

    class Trip:
        """Makes a weight NaN once."""

        tripped = False

        def on_iteration(self, run: training.Run) -> None:
            """Trip."""
            if run.iteration == 5 and not self.tripped:
                self.tripped = True
                with torch.no_grad():
                    next(trainer.generator.parameters()).fill_(float("nan"))

    (message,) = fit(trainer, tmp_path, 60, Trip(), resume=True, rollbacks=1, from_code=("lr",))
    assert message.endswith("goes back to iteration 2")
    assert optimizer.param_groups[0]["lr"] == 1e-4
    (first, second) = fit(adversarial(lr=1e-3)[0], tmp_path, 62, resume=True), fit(Tripping(), tmp_path / "other", 1)
    assert (len(first), second) == (1, [])


def test_a_checkpoint_that_is_loaded_by_hand(tmp_path: Path) -> None:
    """``Checkpoint.load`` warns as a resume does, and takes from_code."""
    fit(adversarial(lr=1e-3)[0], tmp_path, 2)
    path = tmp_path / "checkpoints/00000002.pt"
    trainer, optimizer = adversarial(lr=1e-4)
    with pytest.warns(UserWarning, match=r"generator_optimizer goes on .*lr \(=0.001\), not with yours \(=0.0001\)"):
        training.Checkpoint.load(path, trainer)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    trainer, optimizer = adversarial(lr=1e-4)
    training.Checkpoint.load(path, trainer, from_code=("lr",))
    assert optimizer.param_groups[0]["lr"] == 1e-4
    with pytest.raises(ArgumentValueError, match="from_code holds 'rate'"):
        training.Checkpoint.load(path, trainer, from_code=("rate",))


@pytest.mark.parametrize(("optimizer", "setting"), [(torch.optim.Adam, "amsgrad"), (torch.optim.RMSprop, "centered")])
def test_a_setting_that_needs_a_state_cannot_come_from_the_code(optimizer: Any, setting: str, tmp_path: Path) -> None:
    """The checkpoint does not hold its averages: asking for it is an error, and the warning does not offer it."""

    def made(value: bool) -> OwnTrainer:
        return OwnTrainer(optimizer([nn.Parameter(torch.ones(3))], **{setting: value}))

    fit(made(False), tmp_path, 2)
    with pytest.raises(CheckpointError, match=f"from_code holds '{setting}', but optimizer was saved without it"):
        fit(made(True), tmp_path, 4, resume=True, from_code=(setting,))
    (warning,) = fit(made(True), tmp_path, 4, resume=True)
    assert warning.endswith(f"{setting} (=False), not with yours (=True)")


def test_other_batches_of_a_loader_without_a_state_are_warned_of(tmp_path: Path) -> None:
    """Its position is counted in batches: of another size, these held other samples."""
    data: Any = torch.randn(32, 2)
    fit_on = partial(training.fit, callbacks=[training.Checkpoint(tmp_path)])
    fit_on(MyTrainer(), DataLoader(data, batch_size=8), iterations=2)
    with pytest.warns(UserWarning, match="gives 8 batches in an epoch, but gave 4 when the run was saved"):
        fit_on(MyTrainer(), DataLoader(data, batch_size=4), iterations=3, resume=True)

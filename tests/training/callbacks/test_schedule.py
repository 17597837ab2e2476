"""Learning rates follow the progress, whatever limits the run."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlib import augment, latents, penalties, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.players import MyTrainer, make_players, make_trainer, points


def make_optimizer() -> torch.optim.Optimizer:
    """Two groups with different rates."""
    return torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 1.0}, {"params": [torch.zeros(1)], "lr": 0.1}], lr=1.0)


@pytest.mark.parametrize("limit", [{"iterations": 10}, {"epochs": 5}])
def test_rates_follow_progress(limit: dict[str, int]) -> None:
    """Before iteration i + 1 of 10 the rates are those of progress i / 10."""
    optimizer, seen = make_optimizer(), []

    class Watching(MyTrainer):
        """Notes the rates that a step would use."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append([group["lr"] for group in optimizer.param_groups])
            return super().train_step(batches)

    schedule = training.LearningRateSchedule(optimizer, lambda progress: 1 - progress)
    training.fit(Watching(), [points()] * 2, **limit, callbacks=[schedule])
    expected = [[1 - i / 10, 0.1 * (1 - i / 10)] for i in range(10)]
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))


def test_a_rate_that_is_a_tensor_changes_in_place() -> None:
    """It stays the same tensor, where a CUDA graph reads it, and follows the progress."""
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate, fused=True)
    for halves in (1, 2):  # a second schedule begins from 0.5 again
        schedule = training.LearningRateSchedule(optimizer, lambda progress: 1 - progress / 2)
        training.fit(MyTrainer(), [points()], iterations=4, callbacks=[schedule])
        assert optimizer.param_groups[0]["lr"] is rate
        assert rate == 0.25, halves


def test_a_later_schedule_begins_from_the_first_rates() -> None:
    """After a run whose rate fell to 0, a new schedule of the same optimizer starts from the rate of before."""
    optimizer, trainer = make_optimizer(), MyTrainer()
    seen: list[float] = []

    class Noting:
        """Notes the rate of the first iteration."""

        def on_start(self, run: training.Run) -> None:
            seen.append(optimizer.param_groups[0]["lr"])

    for iterations in (4, 8):  # progress is of the total: the second run begins at a half, where the fall begins
        schedule = training.LearningRateSchedule(optimizer, training.linear_decay(start=0.5, final=0.0))
        training.fit(trainer, [points()], iterations=iterations, callbacks=[schedule, Noting()])
        assert optimizer.param_groups[0]["lr"] == 0.0
    assert seen == [1.0, 1.0]


@pytest.mark.parametrize("factor", [training.cosine_decay, lambda progress: "fast", 0.5])
def test_what_is_not_a_factor_is_refused_at_once(factor: Any) -> None:
    """A maker of factors without its parentheses, or what does not return a number, is refused when it is given."""
    with pytest.raises(ArgumentTypeError, match=r"factor \(="):
        training.LearningRateSchedule(make_optimizer(), factor)


def test_cosine_decay_is_torchs_annealing() -> None:
    """A run of 20 iterations has the rates of CosineAnnealingLR with eta_min = final times the rate."""
    ours, theirs, seen, expected = make_optimizer(), make_optimizer(), [], []
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=20, eta_min=0.0)

    class Watching(MyTrainer):
        """Notes the rates that a step would use, ours and torch's."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append([group["lr"] for group in ours.param_groups])
            expected.append([group["lr"] for group in theirs.param_groups])
            theirs.step()
            annealing.step()
            return super().train_step(batches)

    schedule = training.LearningRateSchedule(ours, training.cosine_decay())
    training.fit(Watching(), [points()], iterations=20, callbacks=[schedule])
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))
    assert [group["lr"] for group in ours.param_groups] == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("limit", [{"iterations": 10}, {"epochs": 5}])
def test_a_tensor_follows_the_progress_in_place(limit: dict[str, int]) -> None:
    """Iteration i + 1 of 10 reads the value of progress i / 10, always from the same memory."""
    weight, seen = torch.full((), -1.0, dtype=torch.float64), []
    address = weight.data_ptr()

    class Watching(MyTrainer):
        """Notes the value that a step would use."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            seen.append(weight.item())
            return super().train_step(batches)

    schedule = training.Schedule(weight, lambda progress: 3 - progress)
    training.fit(Watching(), [points()] * 2, **limit, callbacks=[schedule])
    assert seen == pytest.approx([3 - i / 10 for i in range(10)])
    assert (weight.item(), weight.data_ptr()) == (2.0, address)


def test_a_function_may_return_a_whole_number() -> None:
    """A step of 0 or 1 is written into a floating tensor of any precision."""
    weight = torch.zeros((), dtype=torch.bfloat16)
    schedule = training.Schedule(weight, lambda progress: int(progress >= 0.5))
    for iterations, expected in ((4, 1.0), (9, 1.0)):
        training.fit(MyTrainer(), [points()], iterations=iterations, callbacks=[schedule])
        assert weight == expected


@pytest.mark.parametrize(
    "tensor", [1.0, torch.zeros(1), torch.zeros((), dtype=torch.int64), torch.zeros((), requires_grad=True)]
)
def test_what_a_schedule_cannot_write_to_is_refused(tensor: Any) -> None:
    """Only a floating-point scalar without gradients can be written to."""
    with pytest.raises(ArgumentTypeError, match=r"tensor \(="):
        training.Schedule(tensor, lambda progress: 1.0)


@pytest.mark.parametrize("function", [training.cosine_decay, lambda progress: torch.ones(2), 0.5])
def test_what_is_not_a_function_is_refused(function: Any) -> None:
    """It is a TypeError when the schedule is made."""
    with pytest.raises(ArgumentTypeError, match=r"function \(="):
        training.Schedule(torch.zeros(()), function)


def test_bad_arguments() -> None:
    """What is wrong is named."""
    with pytest.raises(ArgumentTypeError, match="optimizer"):
        training.LearningRateSchedule(object(), lambda progress: 1.0)
    with pytest.raises(ArgumentTypeError, match="factor"):
        training.LearningRateSchedule(make_optimizer(), 0.5)


FUNCTIONS = {
    "numpy": lambda progress: np.cos(progress),
    "float32": lambda progress: np.float32(0.5),
    "an array": lambda progress: np.array(0.5),
    "a tensor": lambda progress: torch.tensor(0.5, dtype=torch.float64),
    "a fraction": lambda progress: Fraction(1, 2),
    "an int": lambda progress: 1,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_number_of_any_kind_becomes_pythons(kind: str, tmp_path: Path) -> None:
    """A schedule's function may return it, and the run is saved: the rate in the optimizer is a float."""
    for iterations in (2, 4):
        trainer = make_trainer()
        tensor = torch.zeros(())
        callbacks = [
            training.LearningRateSchedule(trainer.generator_optimizer, FUNCTIONS[kind]),
            training.Schedule(tensor, FUNCTIONS[kind]),
            training.Checkpoint(tmp_path, every=1),
        ]
        training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True)
        rate = trainer.generator_optimizer.param_groups[0]["lr"]
        assert type(rate) is float
        assert rate == pytest.approx(1e-2 * float(FUNCTIONS[kind](1.0)))
        assert tensor.item() == pytest.approx(float(FUNCTIONS[kind](1.0)))


def make_schedule(kind: str, function: Any) -> Any:
    """One of each kind."""
    if kind == "factor":
        return training.LearningRateSchedule(make_trainer().generator_optimizer, function)
    return training.Schedule(torch.zeros(()), function)


@pytest.mark.parametrize("kind", ["factor", "function"])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("0.5", ArgumentTypeError),
        (None, ArgumentTypeError),
        (1j, ArgumentTypeError),
        (torch.ones(2), ArgumentTypeError),
        (float("nan"), ArgumentValueError),
        (float("inf"), ArgumentValueError),
        (np.float64("nan"), ArgumentValueError),
        (ZeroDivisionError("it divides by 0"), ArgumentValueError),
        (TypeError("it takes no progress"), ArgumentTypeError),
    ],
)
def test_a_function_that_will_fail_is_refused_at_once(kind: str, at: float, value: Any, error: type[Exception]) -> None:
    """At the start, in the middle or at the end of a run: the argument is named, with the reason."""

    def function(progress: float) -> Any:
        if progress == at and isinstance(value, Exception):
            raise value
        return value if progress == at else 0.5

    with pytest.raises(error, match=rf"^{kind} \(=.*") as caught:
        make_schedule(kind, function)
    assert str(value) in str(caught.value) or repr(value) in str(caught.value)


@pytest.mark.parametrize("switch", [lambda p: p >= 0.5, lambda p: np.bool_(p >= 0.5), lambda p: torch.tensor(p >= 0.5)])
def test_a_bool_is_0_or_1(switch: Any) -> None:
    """A comparison is a switch; a run of one's own needs to have a progress only."""
    tensor, trainer = torch.full((), 9.0), make_trainer()
    rate = trainer.generator_optimizer.param_groups[0]["lr"]
    for progress in (0.0, 0.75):
        run: Any = SimpleNamespace(progress=progress)
        training.Schedule(tensor, switch).on_start(run)
        training.LearningRateSchedule(trainer.generator_optimizer, switch).on_start(run)
        assert tensor.item() == (progress > 0)
        assert trainer.generator_optimizer.param_groups[0]["lr"] == rate * (progress > 0)


def test_a_negative_factor_is_refused() -> None:
    """A learning rate cannot be negative; a value that a schedule writes can."""
    with pytest.raises(ArgumentValueError, match=r"factor .*at least 0, but it returned -1\.0 at the progress 1\.0"):
        make_schedule("factor", lambda progress: 1 - 2 * progress)
    make_schedule("function", lambda progress: 1 - 2 * progress)


@pytest.mark.parametrize("kind", ["factor", "function"])
def test_a_value_between_those_that_were_tried_is_checked_too(kind: str) -> None:
    """A value that is not finite ends the run where it comes, and is not trained with."""
    trainer = make_trainer()
    function = lambda progress: float("nan") if 0.6 < progress < 0.7 else 1.0  # noqa: E731
    schedule = (
        training.LearningRateSchedule(trainer.generator_optimizer, function)
        if kind == "factor"
        else training.Schedule(torch.zeros(()), function)
    )
    with pytest.raises(ArgumentValueError, match="returned nan at the progress 0.6"):
        training.fit(trainer, [points()], iterations=3, callbacks=[schedule])
    assert trainer.generator_optimizer.param_groups[0]["lr"] == 1e-2


def test_two_schedules_of_one_thing_are_refused() -> None:
    """Only the last would count; each optimizer and each tensor may have one of its own."""
    trainer, tensor = make_trainer(), torch.zeros(())
    half = lambda progress: 0.5  # noqa: E731
    for make, name in (
        (lambda: training.LearningRateSchedule(trainer.generator_optimizer, half), "optimizer"),
        (lambda: training.Schedule(tensor, half), "tensor"),
    ):
        with pytest.raises(ArgumentValueError, match=f"have the same {name}"):
            training.fit(trainer, [points()], iterations=1, callbacks=[make(), make()])
    assert trainer.iteration == 0
    optimizers = trainer.generator_optimizer, trainer.discriminator_optimizer
    callbacks = [training.LearningRateSchedule(optimizer, half) for optimizer in optimizers]
    training.fit(trainer, [points()], iterations=1, callbacks=[*callbacks, training.Schedule(tensor, half)])


@pytest.mark.filterwarnings("ignore:.* without an optimizer:UserWarning")
def test_a_group_that_is_added_later_has_its_own_base_rate() -> None:
    """As when layers are unfrozen after the schedule was made."""
    generator, discriminator = make_players()
    first, second, *_ = generator.parameters()
    optimizer = torch.optim.SGD([{"params": [first], "lr": 1.0}])
    schedule = training.LearningRateSchedule(optimizer, lambda progress: 0.5)
    trainer = make_trainer(generator, discriminator, generator_optimizer=optimizer)
    optimizer.add_param_group({"params": [second], "lr": 3.0})
    training.fit(trainer, [points()], iterations=1, callbacks=[schedule])
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.5]


@pytest.mark.parametrize(
    ("dtype", "most"),
    [(torch.float16, 65504.0), (torch.bfloat16, 255 * 2.0**120), (torch.float32, (2 - 2**-23) * 2.0**127)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_that_the_tensor_cannot_hold_is_refused(dtype: torch.dtype, most: float, sign: int) -> None:
    """At the start of a run and within it: the function and the precision are named; the largest value is written."""
    tensor = torch.zeros((), dtype=dtype)
    run: Any = SimpleNamespace(progress=0.25)
    answer = rf"^function \(=.* must return a finite number of at most .* in size, since the tensor is {dtype}, but"

    def write(value: float, tensor: torch.Tensor = tensor, at: float = 0.25) -> None:
        training.Schedule(tensor, lambda progress: sign * value if progress == at else 0.0).on_iteration(run)

    write(most)
    assert tensor.item() == sign * most
    for value in (2 * most, 1e300):
        for at in (0.25, 1.0):
            with pytest.raises(ArgumentValueError, match=answer):
                write(value, at=at)
    assert tensor.item() == sign * most
    write(1e300, torch.zeros((), dtype=torch.float64))


class Augmented(nn.Module):
    """A discriminator that augments its samples itself."""

    def __init__(self, target: float | None) -> None:
        super().__init__()
        self.inner = nn.Sequential(augment.AdaptiveAugment("blit", target=target), nn.Flatten(), nn.Linear(64, 1))

    def forward(self, samples: torch.Tensor) -> Any:
        """Return logits."""
        return self.inner(samples)


@pytest.mark.parametrize("target", [0.6, None])
def test_a_second_writer_inside_a_module_is_found(target: float | None) -> None:
    """An augmentation can be a part of a network, at any depth."""
    network = Augmented(target)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    player = training.Player("network", optimizer, lambda batch: network(batch).mean())
    trainer = training.GameTrainer({"network": network}, [player])
    schedule = training.Schedule(network.inner[0].p, lambda progress: progress / 2)
    train = lambda: training.fit(trainer, [torch.rand(4, 1, 8, 8)], iterations=2, callbacks=[schedule])  # noqa: E731
    if target is None:
        train()
        assert network.inner[0].p == 0.5
    else:
        with pytest.raises(ArgumentValueError, match="p of AdaptiveAugment, .* pass target=None"):
            train()


def test_a_probability_with_two_writers_is_refused() -> None:
    """An adaptive augmentation changes its own p; with a fixed p, a schedule may write it."""
    for target in (0.6, None):
        adaptive = augment.AdaptiveAugment("blit", target=target)
        samples = torch.randn(4, 1, 8, 8).tanh()
        generator, discriminator = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh()), nn.Flatten()
        trainer = make_trainer(
            generator, nn.Sequential(discriminator, nn.Linear(64, 1)), latent=latents.Gaussian(2), augment=adaptive
        )
        schedule = training.Schedule(adaptive.p, lambda progress: progress / 2)
        if target is None:
            training.fit(trainer, [samples], iterations=2, callbacks=[schedule])
            assert adaptive.p == 0.5
        else:
            with pytest.raises(ArgumentValueError, match="p of AdaptiveAugment, .* pass target=None"):
                training.fit(trainer, [samples], iterations=2, callbacks=[schedule])


READERS: dict[str, tuple[Any, Any, str]] = {
    "a weight": (lambda progress: 1 - 2 * progress, lambda tensor: penalties.R1(tensor), "weight"),
    "a decay": (lambda progress: 3 * progress, lambda tensor: penalties.LeCam(decay=tensor), "decay"),
    "noise": (lambda progress: 0.1 - progress, lambda tensor: penalties.DRAGAN(noise=tensor), "noise"),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("first", [True, False])
def test_a_value_that_its_reader_would_refuse_is_refused_before_training(kind: str, first: bool) -> None:
    """Whether the schedule or the reader is made first."""
    function, make, name = READERS[kind]
    tensor = torch.tensor(0.5)
    schedule = training.Schedule(tensor, function) if first else None
    trainer = make_trainer(penalties=[make(tensor)])
    schedule = schedule or training.Schedule(tensor, function)
    with pytest.raises(ArgumentValueError, match=rf"its tensor is read as the {name}: {name} \(=.* must be"):
        training.fit(trainer, [points()], iterations=4, callbacks=[schedule])
    assert trainer.iteration == 0


def test_what_nobody_reads_may_be_out_of_range() -> None:
    """The value at the end of a run is for the next iteration, and another tensor has no range."""
    decay, other = torch.tensor(0.5), torch.tensor(0.5)
    trainer = make_trainer(penalties=[penalties.LeCam(decay=decay)])
    schedules = [training.Schedule(decay, lambda progress: progress), training.Schedule(other, lambda progress: -1.0)]
    training.fit(trainer, [points()], iterations=2, callbacks=schedules)
    assert (float(decay), float(other)) == (1.0, -1.0)


def test_a_probability_out_of_range_is_refused_before_training() -> None:
    """A scheduled probability of an augmentation stays in [0, 1]; p of another module can be any number."""
    part = augment.AdaptiveAugment(target=None)
    schedule = training.Schedule(part.p, lambda progress: 5 * progress)
    run = SimpleNamespace(trainer=SimpleNamespace(modules={"augment": nn.Sequential(part)}), progress=0.0)
    with pytest.raises(ArgumentValueError, match=r"probability p \(=1\.\d+\) must be in \[0, 1\]"):
        schedule.on_start(run)  # type: ignore[arg-type]
    power = nn.Module()
    power.p = torch.tensor(1.0)  # type: ignore[assignment]
    run.trainer.modules["pooling"] = power
    training.Schedule(power.p, lambda progress: 3.0).on_start(run)  # type: ignore[arg-type]
    assert power.p == 3


@pytest.mark.parametrize(
    ("factor", "lr", "message"),
    [
        (lambda progress: 2e-4 * (1 - progress), 2e-4, "so at most 4e-08"),
        (lambda progress: 2e-4 * (1 - progress), 1.0, None),  # learning rates as factors of 1
        (lambda progress: 0.0, 2e-4, None),
        (training.cosine_decay(), 2e-4, None),
        (lambda progress: min(1.0, 100 * progress * (1 - progress)), 2e-4, None),
    ],
)
def test_a_learning_rate_in_place_of_a_factor_is_warned_of(
    factor: Any, lr: float, message: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    """Once, when the run starts; a warm-up from 0, or a factor of 0, is a factor."""
    generator, discriminator = make_players()
    optimizer = torch.optim.SGD(generator.parameters(), lr=lr)
    trainer = make_trainer(generator, discriminator, generator_optimizer=optimizer)
    schedule = training.LearningRateSchedule(optimizer, factor)
    training.fit(trainer, [points()], iterations=2, callbacks=[schedule])
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == (message is not None)
    assert all(str(message) in each for each in messages)

"""Betas follow the progress, and an Adam steps with them."""

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.graph_on_cpu import capturable_on_cpu, stand_in
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights


def ramp(progress: float) -> float:
    """The second beta of R3GAN, over the first half of a run."""
    return 0.99 - 0.09 * (1 + math.cos(math.pi * min(1.0, 2 * progress))) / 2


def make_optimizer(kind: Any = torch.optim.Adam, **options: Any) -> torch.optim.Optimizer:
    """Two groups with different betas."""
    first, second = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer: torch.optim.Optimizer = kind(
        [{"params": [first]}, {"params": [second], "betas": (0.25, 0.5)}], lr=0.1, betas=(0.5, 0.875), **options
    )
    return optimizer


@pytest.mark.parametrize("limit", [{"iterations": 10}, {"epochs": 5}])
@pytest.mark.parametrize(("beta1", "beta2"), [(None, ramp), (lambda p: p / 2, None), (lambda p: 0.5 - p / 2, ramp)])
def test_betas_follow_progress(limit: dict[str, int], beta1: Any, beta2: Any) -> None:
    """Before iteration i + 1 of 10 they are those of progress i / 10 in each group; one without a function stays."""
    optimizer, seen = make_optimizer(), []

    class Watching(MyTrainer):
        """Notes the betas that a step would use."""

        def train_step(self, batches: Any) -> dict[str, Tensor]:
            seen.append([group["betas"] for group in optimizer.param_groups])
            return super().train_step(batches)

    schedule = training.BetasSchedule(optimizer, beta1=beta1, beta2=beta2)
    training.fit(Watching(), [points()] * 2, **limit, callbacks=[schedule])
    for i, groups in enumerate(seen):
        for betas, before in zip(groups, [(0.5, 0.875), (0.25, 0.5)], strict=True):
            functions = zip((beta1, beta2), before, strict=True)
            assert betas == pytest.approx([f(i / 10) if f else stays for f, stays in functions], rel=1e-12)
    assert len(seen) == 10


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam])
def test_an_adam_steps_with_them(kind: Any) -> None:
    """Training with the schedule has the bits of training with betas that are set by hand before each iteration."""

    def made() -> training.AdversarialTrainer:
        trainer = make_trainer()
        generator_optimizer = kind(trainer.generator.parameters(), lr=1e-2, betas=(0.0, 0.9))
        return make_trainer(trainer.generator, trainer.discriminator, generator_optimizer=generator_optimizer)

    one, other = made(), made()
    torch.manual_seed(0)
    schedule = training.BetasSchedule(one.generator_optimizer, beta1=lambda p: p / 4, beta2=ramp)
    training.fit(one, [points()], iterations=6, callbacks=[schedule])
    torch.manual_seed(0)

    class ByHand:
        """Sets them."""

        def on_start(self, run: training.Run) -> None:
            self.on_iteration(run)

        def on_iteration(self, run: training.Run) -> None:
            other.generator_optimizer.param_groups[0]["betas"] = (run.progress / 4, ramp(run.progress))

    training.fit(other, [points()], iterations=6, callbacks=[ByHand()])
    for name, value in weights(one).items():
        assert torch.equal(weights(other)[name], value)


def test_betas_that_are_tensors_change_in_place() -> None:
    """They stay the same tensors, where a CUDA graph reads them."""
    betas = torch.tensor(0.5), torch.tensor(0.875)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1), betas=betas, capturable=True, foreach=False)
    schedule = training.BetasSchedule(optimizer, beta2=lambda progress: 0.5 + progress / 4)
    training.fit(MyTrainer(), [points()], iterations=4, callbacks=[schedule])
    assert [new is old for new, old in zip(optimizer.param_groups[0]["betas"], betas, strict=True)] == [True, True]
    assert [beta.item() for beta in betas] == [0.5, 0.75]


@pytest.mark.filterwarnings("ignore:.* without an optimizer:UserWarning")
def test_a_group_that_is_added_later_follows_too() -> None:
    """As when layers are unfrozen after the schedule was made."""
    generator, discriminator = make_players()
    first, second, *_ = generator.parameters()
    optimizer = torch.optim.Adam([first])
    schedule = training.BetasSchedule(optimizer, beta2=lambda progress: 0.5)
    trainer = make_trainer(generator, discriminator, generator_optimizer=optimizer)
    optimizer.add_param_group({"params": [second], "betas": (0.25, 0.75)})
    training.fit(trainer, [points()], iterations=1, callbacks=[schedule])
    assert [group["betas"] for group in optimizer.param_groups] == [(0.9, 0.5), (0.25, 0.5)]


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [
        (torch.float64, 1 - 2**-53),
        (torch.float32, 1 - 2**-24),
        (torch.bfloat16, 1 - 2**-8),
        (torch.float16, 1 - 2**-11),
    ],
)
def test_a_beta_that_is_a_tensor_stays_below_1(dtype: torch.dtype, largest: float) -> None:
    """It is at most the largest number below 1 in its precision, since with a beta of 1 Adam divides by 0."""
    betas = torch.tensor(0.5, dtype=dtype), torch.tensor(0.5, dtype=dtype)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.1), betas=betas, capturable=True, foreach=False)
    run: Any = SimpleNamespace(progress=0.5)
    schedule = training.BetasSchedule(optimizer, beta1=lambda p: 1 - 2**-40, beta2=lambda p: math.nextafter(1, 0))
    schedule.on_start(run)
    assert [beta.item() for beta in betas] == [min(1 - 2**-40, largest), largest]


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.tensor, lambda x: np.array(x)])
def test_a_number_of_any_kind_is_saved(kind: Any, tmp_path: Path) -> None:
    """A function may return it; the betas in the optimizer are floats, and the run goes on from a checkpoint."""
    for iterations in (2, 4):
        trainer = make_trainer()
        optimizer = trainer.generator_optimizer
        callbacks = [
            training.BetasSchedule(optimizer, beta2=lambda p: kind(0.5 + p / 4)),
            training.Checkpoint(tmp_path),
        ]
        training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True)
        assert optimizer.param_groups[0]["betas"] == (0.5, 0.75)
        assert type(optimizer.param_groups[0]["betas"][1]) is float


@pytest.mark.parametrize("name", ["beta1", "beta2"])
@pytest.mark.parametrize("value", [1.0, 1, -0.1, math.nan, math.inf, np.float64(1.0), torch.tensor(2.0)])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_beta_outside_of_its_range_is_refused_at_once(name: str, value: Any, at: float) -> None:
    """At the start, in the middle or at the end of a run: with a beta of 1 an average never moves."""
    function = lambda progress: value if progress == at else 0.5  # noqa: E731
    with pytest.raises(ArgumentValueError, match=rf"^{name} \(=.* in \[0, 1\), but .* at the progress {at}"):
        training.BetasSchedule(make_optimizer(), **{name: function})


def test_a_beta_between_those_that_were_tried_is_checked_too() -> None:
    """It ends the run where it comes, and is not trained with; the other beta is not written either."""
    trainer = make_trainer()
    bad = lambda progress: 1.0 if 0.6 < progress < 0.7 else 0.9  # noqa: E731
    schedule = training.BetasSchedule(trainer.generator_optimizer, beta1=lambda p: p / 2, beta2=bad)
    with pytest.raises(ArgumentValueError, match="returned 1.0 at the progress 0.6"):
        training.fit(trainer, [points()], iterations=3, callbacks=[schedule])
    assert trainer.generator_optimizer.param_groups[0]["betas"] == (1 / 6, 0.9)


@pytest.mark.parametrize("name", ["beta1", "beta2"])
@pytest.mark.parametrize("function", [training.cosine_ramp, 0.9, "0.9", lambda p: "0.9", lambda: 0.9, lambda p: None])
def test_what_is_no_function_is_refused_at_once(name: str, function: Any) -> None:
    """The argument is named."""
    with pytest.raises(ArgumentTypeError, match=rf"^{name} \(="):
        training.BetasSchedule(make_optimizer(), **{name: function})


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (object(), r"optimizer \(=.* must be a torch.optim.Optimizer"),
        (torch.optim.SGD([torch.zeros(1)], lr=0.1), r"optimizer \(=SGD\) has no betas"),
        (torch.optim.RMSprop([torch.zeros(1)], lr=0.1), r"optimizer \(=RMSprop\) has no betas"),
    ],
)
def test_an_optimizer_without_betas_is_refused(optimizer: Any, message: str) -> None:
    """By its name, with one that has them."""
    with pytest.raises(ArgumentTypeError, match=message):
        training.BetasSchedule(optimizer, beta2=ramp)


def test_three_betas_are_refused() -> None:
    """An optimizer of another kind, such as Adan, may mean others by them."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    optimizer.param_groups[0]["betas"] = (0.1, 0.2, 0.3)
    with pytest.raises(ArgumentTypeError, match=r"has the betas \(0.1, 0.2, 0.3\); it must have two"):
        training.BetasSchedule(optimizer, beta2=ramp)


def test_a_schedule_of_nothing_is_refused() -> None:
    """One of the two has a function."""
    with pytest.raises(ArgumentTypeError, match="beta1 and beta2 are both None"):
        training.BetasSchedule(make_optimizer())


def test_two_schedules_of_one_optimizer_are_refused() -> None:
    """Each optimizer may have one of its own, next to one of its learning rate."""
    trainer = make_trainer()
    made = [training.BetasSchedule(trainer.generator_optimizer, beta2=ramp) for _ in range(2)]
    with pytest.raises(ArgumentValueError, match="two BetasSchedules among callbacks have the same optimizer"):
        training.fit(trainer, [points()], iterations=1, callbacks=made)
    assert trainer.iteration == 0
    other = training.BetasSchedule(trainer.discriminator_optimizer, beta2=ramp)
    rate = training.LearningRateSchedule(trainer.generator_optimizer, lambda progress: 0.5)
    training.fit(trainer, [points()], iterations=1, callbacks=[made[0], other, rate])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_a_recorded_step_follows(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded step reads them on the device: it trains as one that is not, with one more recording at most."""
    recorder = stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)

    def train(**options: Any) -> dict[str, Tensor]:
        torch.manual_seed(0)
        generator, discriminator = nn.Linear(3, 2).double(), nn.Linear(2, 1).double()
        optimizers = [kind(net.parameters(), lr=2**-7, betas=(0.0, 0.875)) for net in (generator, discriminator)]
        trainer = make_trainer(
            generator,
            discriminator,
            generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
            **options,
        )
        callbacks = [training.BetasSchedule(each, beta1=lambda p: p / 8, beta2=ramp) for each in optimizers]
        training.fit(trainer, [points().double()], iterations=20, callbacks=callbacks)
        return weights(trainer)

    expected = train()
    for name, value in train(cuda_graph=True).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6)
    assert 1 <= recorder.recorded <= 2


def test_a_beta_that_the_code_changes_is_warned_of(tmp_path: Path) -> None:
    """The checkpoint's beta counts, or the code's by ``from_code``; one that is scheduled is not warned of."""

    def run(iterations: int, beta1: float, **options: Any) -> tuple[Any, list[str]]:
        trainer = make_trainer()
        optimizer = trainer.generator_optimizer
        optimizer.param_groups[0]["betas"] = (beta1, 0.9)
        callbacks = [training.BetasSchedule(optimizer, beta2=ramp), training.Checkpoint(tmp_path)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True, **options)
        return optimizer.param_groups[0]["betas"], [str(warning.message) for warning in caught]

    assert run(2, 0.5) == ((0.5, 0.99), [])
    assert run(4, 0.5) == ((0.5, 0.99), [])
    betas, (message,) = run(6, 0.25)
    assert betas == (0.5, 0.99)
    assert "from_code=('betas',)" in message
    assert run(8, 0.25, from_code=("betas",)) == ((0.25, 0.99), [])
    assert run(10, 0.25) == ((0.25, 0.99), [])


def test_a_schedule_that_is_new_or_gone(tmp_path: Path) -> None:
    """A new one is not warned of; without it, the betas that it left are, and the code's count by ``from_code``."""

    def run(iterations: int, scheduled: bool, **options: Any) -> tuple[Any, list[str]]:
        trainer = make_trainer()
        optimizer = trainer.generator_optimizer
        optimizer.param_groups[0]["betas"] = (0.5, 0.9)
        callbacks: list[Any] = [training.Checkpoint(tmp_path)]
        callbacks += [training.BetasSchedule(optimizer, beta2=ramp)] if scheduled else []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True, **options)
        return optimizer.param_groups[0]["betas"], [str(warning.message) for warning in caught]

    assert run(2, False) == ((0.5, 0.9), [])
    assert run(4, True) == ((0.5, 0.99), [])
    betas, (message,) = run(6, False)
    assert betas == (0.5, 0.99)
    assert "betas (=(0.5, 0.99)), not with yours (=(0.5, 0.9))" in message
    assert run(8, False, from_code=("betas",)) == ((0.5, 0.9), [])
    assert run(10, False) == ((0.5, 0.9), [])


def test_a_run_that_failed_goes_on_with_the_same_objects(tmp_path: Path) -> None:
    """The betas of the moment of the error are not taken for those of the code."""
    trainer = make_trainer()
    schedule = training.BetasSchedule(trainer.generator_optimizer, beta2=lambda p: 0.9 + p / 20)

    class Fail:
        """Fails."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 5:
                raise KeyError("a failure")

    checkpoint = training.Checkpoint(tmp_path, every=2)
    with pytest.raises(KeyError, match="a failure"):
        training.fit(trainer, [points()], iterations=8, callbacks=[schedule, Fail(), checkpoint])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.fit(trainer, [points()], iterations=8, callbacks=[schedule, checkpoint], resume=True)
    assert trainer.generator_optimizer.param_groups[0]["betas"] == pytest.approx((0.5, 0.95))


@pytest.mark.parametrize("stop", [1, 3, 9])
@pytest.mark.parametrize("betas", [(0.5, 0.875), (0.5, 0.9375)])
def test_a_recorded_run_goes_on_exactly(
    stop: int, betas: tuple[float, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the bits of one that was not stopped, also where the ramp is over, and ends at the betas of the code."""
    stand_in(monkeypatch)
    capturable_on_cpu(monkeypatch)

    def run(folder: Path, until: int) -> dict[str, Tensor]:
        trainer = make_trainer(
            *(net := (nn.Linear(3, 2), nn.Linear(2, 1))),
            generator_optimizer=torch.optim.Adam(net[0].parameters(), lr=2**-7, betas=betas),
            discriminator_optimizer=torch.optim.Adam(net[1].parameters(), lr=2**-7, betas=betas),
            cuda_graph=True,
        )
        optimizers = trainer.generator_optimizer, trainer.discriminator_optimizer
        beta2 = training.cosine_ramp(0.875, 0.9375, until=0.5)
        callbacks: list[Any] = [training.BetasSchedule(each, beta2=beta2) for each in optimizers]

        class Stop:
            """Stops."""

            def on_iteration(self, run: training.Run) -> None:
                if run.iteration == until:
                    run.stop()

        callbacks += [training.Checkpoint(folder), Stop()]
        training.fit(trainer, [points()], iterations=16, callbacks=callbacks, resume=True)
        assert trainer.iteration == until
        return weights(trainer)

    torch.manual_seed(0)
    whole = run(tmp_path / "whole", 16)
    torch.manual_seed(0)
    run(tmp_path / "stopped", stop)
    torch.manual_seed(1)
    for name, value in run(tmp_path / "stopped", 16).items():
        assert torch.equal(value, whole[name]), name


def test_it_shows_itself() -> None:
    """On one line, by its settings."""
    schedule = training.BetasSchedule(make_optimizer(), beta2=ramp)
    assert repr(schedule).startswith("BetasSchedule(optimizer=Adam(lr=0.1), beta2=<function ramp")


def test_a_run_of_ones_own_needs_a_progress_only() -> None:
    """For a loop of one's own."""
    optimizer = make_optimizer()
    run: Any = SimpleNamespace(progress=0.75)
    training.BetasSchedule(optimizer, beta2=ramp).on_start(run)
    assert [group["betas"] for group in optimizer.param_groups] == [(0.5, 0.99), (0.25, 0.99)]

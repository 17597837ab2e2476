"""What an evaluation finds out before the first iteration, and that it leaves no trace."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ganlib import data, latents, metrics, models, training
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, GanlibRuntimeError
from tests.ranks import Ranks
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights

REAL = [points(40), points(40, seed=1)]


def identity(samples: Tensor) -> Tensor:
    """Features that are the samples themselves."""
    return samples


def normal(n: int) -> list[Tensor]:
    """Points, in batches of 30."""
    return list(torch.randn(n, 2).split(30))


FRECHET = partial(metrics.FrechetDistance, identity)
GENERATOR, _ = make_players()


class Odd:
    """A user's metric, which cannot be updated."""

    def reset(self) -> None:
        """Do nothing."""

    def update(self, samples: Tensor) -> None:
        """Fail."""
        raise ZeroDivisionError("odd samples")

    def compute(self) -> float:
        """Nothing."""
        return 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": metrics.LabelAccuracy(identity)}, GanlibError, "labels must be .*NoneType"),
        ({"sampler": lambda n: torch.randn(n, 2)}, ArgumentTypeError, r"sampler \(=a Tensor\)"),
        ({"sampler": lambda n: None}, ArgumentTypeError, r"sampler \(=None\)"),
        ({"sampler": lambda n: [{"x": torch.randn(n, 2)}]}, ArgumentTypeError, "sampler gave a dict"),
        ({"sampler": lambda n: [torch.randn(n, 2).numpy()]}, ArgumentTypeError, "sampler gave a ndarray"),
        ({"sampler": lambda n: normal(n)[1:]}, ArgumentValueError, r"sampler gave 370 samples, not n \(=400\)"),
        ({"sampler": lambda n: [torch.randn(64, 2)]}, ArgumentValueError, r"sampler gave 64 samples, not n \(=400\)"),
        ({"sampler": lambda n: [GENERATOR(torch.randn(n, 7))]}, ArgumentValueError, "RuntimeError: mat1 and mat2"),
        ({"sampler": partial(models.sample, GENERATOR, latents.Gaussian(7))}, ArgumentValueError, r"latent \(\d+, 7\)"),
        ({"real": []}, ArgumentValueError, r"real \(=\[\]\) gave no samples"),
        ({"real": [{"image": points()}]}, ArgumentTypeError, "real gave a dict"),
        ({"real": [torch.randn(99, 3)]}, GanlibError, "have 3 features"),
        ({"metrics": metrics.FrechetDistance(nn.Conv2d(3, 4, 3))}, GanlibError, "cannot be computed by the network"),
        ({"metrics": metrics.PrecisionRecall(identity, k=5), "real": [points(3)]}, ArgumentValueError, "3 real and"),
        ({"metrics": metrics.PrecisionRecall(identity, k=5), "n": 3}, ArgumentValueError, "and 3 generated"),
    ],
)
def test_an_evaluation_that_cannot_work_is_refused_before_training(arguments: Any, error: Any, message: str) -> None:
    """By an error of ganlib's that names the argument; the random numbers and the metric are as before."""
    given = {"metrics": FRECHET(), "sampler": normal, "real": REAL, "n": 400} | arguments
    trainer, metric = MyTrainer(), given["metrics"]
    evaluate = training.Evaluate(given.pop("metrics"), given.pop("sampler"), **given)
    before = torch.get_rng_state()
    with pytest.raises(error, match=message):
        training.fit(trainer, [points()], iterations=9, callbacks=[evaluate])
    assert trainer.iteration == 0
    assert torch.equal(torch.get_rng_state(), before)
    assert not getattr(metric, "has_real", False)


@pytest.mark.parametrize("sampler", [lambda: [points()], lambda n, m: [points()], lambda *, n: [points()]])
def test_a_sampler_with_another_signature_is_refused_at_once(sampler: Any) -> None:
    """It must take the number of samples."""
    with pytest.raises(ArgumentTypeError, match=r"sampler .* called as sampler\(n\)"):
        training.Evaluate(FRECHET(), sampler)


@pytest.mark.parametrize(
    ("sampler", "n"),
    [
        (lambda n: [torch.randn(200, 2)], 200),  # always all of them
        (lambda n: [torch.randn(50, 2) for _ in range(-(-n // 50))], 200),  # whole batches
        (lambda n: (torch.randn(1, 2) for _ in range(n)), 20),
    ],
)
def test_samplers_that_are_right_for_n_are_right(sampler: Any, n: int) -> None:
    """Whatever they give for other numbers."""
    evaluate = training.Evaluate(metrics.PrecisionRecall(identity), sampler, real=REAL, n=n, every=1)
    training.fit(MyTrainer(), [points()], iterations=2, callbacks=[evaluate])


def test_a_sampler_that_needs_the_first_iteration_is_right() -> None:
    """It may give what a step made."""
    made: dict[str, Tensor] = {}

    class Keeps(MyTrainer):
        """Keeps its batch."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            made["batch"] = points()
            return super().train_step(batches)

    evaluate = training.Evaluate(FRECHET(), lambda n: [made["batch"][:n]], real=REAL, n=20)
    training.fit(Keeps(), [points()], iterations=2, callbacks=[evaluate])
    assert evaluate.measure()
    trainer = MyTrainer()
    with pytest.raises(ArgumentValueError, match="ZeroDivisionError: odd samples"):
        training.fit(trainer, [points()], iterations=9, callbacks=[training.Evaluate(Odd(), normal, n=20)])
    assert trainer.iteration == 1


class OwnNumbers:
    """A latent with its own random numbers of torch, NumPy and Python."""

    def __init__(self) -> None:
        self.torch, self.numpy = torch.Generator().manual_seed(1), np.random.default_rng(2)
        self.python, self.calls = random.Random(3), 0

    def __call__(self, n: int, **_: Any) -> Tensor:
        """Draw, and count."""
        self.calls += 1
        return torch.randn(n, 3, generator=self.torch) * self.numpy.random() * self.python.random() + self.calls

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.calls = state["calls"]


@pytest.mark.parametrize("kind", ["list", "TensorLoader", "DataLoader", "lazy"])
def test_a_trial_leaves_no_trace(kind: str) -> None:
    """Weights, buffers, modes and random numbers are those of a run without, also of a careless sampler."""

    def run(evaluates: bool) -> list[Any]:
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        generator, discriminator = make_players()
        if kind == "lazy":
            generator[3] = nn.LazyLinear(2)
        batches: Any = REAL
        if kind == "TensorLoader":
            batches = data.TensorLoader(TensorDataset(torch.cat(REAL)), 8)
        if kind == "DataLoader":
            batches = DataLoader(TensorDataset(torch.cat(REAL)), 8, shuffle=True)
        latent = OwnNumbers()
        trainer = make_trainer(generator, discriminator, latent=latent)

        def careless(n: int) -> Iterator[Tensor]:
            generator.eval()
            yield generator(latent(n - 1)).detach()
            generator.train()
            yield generator(latent(2)).detach()[:1] * random.random() + np.random.rand()

        evaluate = training.Evaluate(FRECHET(), careless, real=batches, n=20)

        class Stops:
            """Ends the run before the evaluation at the end."""

            def on_iteration(self, run: training.Run) -> None:
                if run.iteration == 5:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training.fit(trainer, batches, iterations=9, callbacks=[*[evaluate] * evaluates, Stops()])
        own = [latent.calls, latent.python.random(), latent.numpy.random()]
        modes = [module.training for module in generator.modules()]
        return [
            *weights(trainer).values(),
            torch.rand(2),
            torch.tensor([*own, random.random(), np.random.rand(), *modes]),
        ]

    assert all(map(torch.equal, run(False), run(True)))


def test_a_trial_keeps_what_was_measured_before() -> None:
    """Real samples of an earlier use stay, and the first evaluation gives what it gives without a trial."""
    metric = FRECHET()
    expected = training.Evaluate(FRECHET(), normal, real=REAL, n=100).measure()
    evaluate = training.Evaluate(metric, normal, real=REAL, n=100)
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[evaluate])
    assert metric.has_real
    assert evaluate.measure() == expected
    other = training.Evaluate(metric, normal, n=100)
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[other])
    assert other.measure() == expected


@pytest.mark.parametrize("name", ["generator_loss", "real_score"])
def test_a_result_named_like_a_metric_of_the_trainer_ends_with_the_first_iteration(name: str) -> None:
    """Not at the first evaluation; a metric whose results have other names is right."""
    trainer = make_trainer()
    sampler = partial(models.sample, trainer.generator, latents.Gaussian(3))
    evaluate = training.Evaluate({name: FRECHET()}, sampler, real=REAL, n=20)
    with pytest.raises(ArgumentValueError, match=f"metric '{name}' was given by train_step"):
        training.fit(trainer, [points()], iterations=50, callbacks=[evaluate])
    assert trainer.iteration == 1
    evaluate = training.Evaluate({name: metrics.PrecisionRecall(identity)}, sampler, real=REAL, n=20)
    training.fit(trainer, [points()], iterations=3, callbacks=[evaluate])


def make_run(folder: Path, **options: Any) -> None:
    """A run that is evaluated, and resumed if there is one."""
    trainer = make_trainer()
    sampler = partial(models.sample, trainer.generator, latents.Gaussian(3))
    evaluate = training.Evaluate(FRECHET(), sampler, real=REAL, every=2, **options)
    checkpoint = training.Checkpoint(folder, every=2, monitor="frechet_distance")
    fit = partial(training.fit, trainer, [points()], callbacks=[evaluate, checkpoint], resume=True)
    fit(iterations=4 if checkpoint.furthest() < 0 else 6)


def test_results_of_other_samples_are_not_compared_in_silence(tmp_path: Path, recwarn: Any) -> None:
    """A resume with another n or seed warns once; with the same ones, or an old state, it does not."""
    make_run(tmp_path, n=30)
    make_run(tmp_path, n=30)
    training.Evaluate(FRECHET(), normal, n=50).load_state_dict({"iteration": 4})
    assert not recwarn
    with pytest.warns(UserWarning, match=r"n \(=20\) and seed \(=1\), but n \(=30\) and seed \(=0\)") as caught:
        make_run(tmp_path, n=20, seed=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def try_together(bad: tuple[int, ...]) -> list[Any]:
    """Train with a sampler that is wrong in some processes."""
    trainer = MyTrainer()
    sampler: Any = (lambda n: None) if rank() in bad else normal
    evaluate = training.Evaluate(FRECHET(), sampler, real=REAL, n=20, every=2)
    try:
        training.fit(trainer, [points()], iterations=3, callbacks=[evaluate])
    except GanlibError as error:
        return [type(error), trainer.iteration]
    return [None, trainer.iteration, trainer.total.item()]


def test_several_processes_try_together(two_ranks: Ranks) -> None:
    """If the sampler of one is wrong, all end before the first iteration."""
    (first, *_), (second, *_) = two_ranks(try_together, ())
    assert first is second is None
    assert two_ranks(try_together, (0, 1)) == [[ArgumentTypeError, 0]] * 2
    assert two_ranks(try_together, (1,)) == [[GanlibRuntimeError, 0], [ArgumentTypeError, 0]]


def test_training_samples_stay() -> None:
    """The trial, and a retry after an evaluation that failed, leave the training samples of a metric."""
    memorization = metrics.Memorization(nn.Identity())
    memorization.add_training(torch.randn(20, 2))
    trainer = make_trainer()
    broken = [False]

    def sampler(n: int) -> list[Tensor]:
        if broken[0]:
            raise ZeroDivisionError
        return [torch.randn(n, 2)]

    evaluate = training.Evaluate(memorization, sampler, real=[torch.randn(20, 2)], every=2, n=10)
    training.fit(trainer, [points()], iterations=1, callbacks=[evaluate])
    memorization.update(torch.randn(4, 2), real=False)
    assert 0 <= memorization.compute()["memorization"] <= 1
    broken[0] = True
    with pytest.raises(ZeroDivisionError):
        evaluate.measure()
    broken[0] = False
    assert evaluate.measure()

"""What an evaluation gives: its values, their names, and what it says where it cannot give any."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics import Metric, MetricCollection, SumMetric

from ganlib import data, latents, metrics, models, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, TrainingDivergedError
from ganlib.protocols import Batch
from tests.training.players import MyTrainer, make_players, points

LATENT = latents.Gaussian(3)


def identity(samples: Tensor) -> Tensor:
    """Features that are the samples themselves."""
    return samples


def normal(n: int) -> list[Tensor]:
    """Points, in batches of 30."""
    return list(torch.randn(n, 2).split(30))


class Mean:
    """A user's metric, which inherits from nothing."""

    def __init__(self, convert: Callable[[float], Any] = float) -> None:
        self.convert = convert
        self.reset()

    def reset(self) -> None:
        """Forget."""
        self.seen: list[float] = []

    def update(self, samples: Tensor) -> None:
        """Add."""
        self.seen += samples.flatten().tolist()

    def compute(self) -> Any:
        """The mean, converted."""
        return self.convert(sum(self.seen) / len(self.seen))


class Pairs(Mean):
    """The share of samples whose condition is their sign."""

    def update(self, samples: Tensor, condition: Any) -> None:
        """Add."""
        self.seen += (samples.sign() == condition).double().flatten().tolist()


class Sides(Metric):
    """Counts real and generated samples; keeps the real ones if told to, as torchmetrics' metrics do."""

    real: Tensor
    fake: Tensor

    def __init__(self, reset_real_features: bool) -> None:
        super().__init__()
        self.reset_real_features = reset_real_features
        self.add_state("real", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("fake", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, imgs: Tensor, real: bool) -> None:
        """Count."""
        if real:
            self.real = self.real + len(imgs)
        else:
            self.fake = self.fake + len(imgs)

    def compute(self) -> dict[str, Tensor]:
        """Both counts."""
        return {"real": self.real, "fake": self.fake}

    def reset(self) -> None:
        """Forget one side or both."""
        real = self.real
        super().reset()
        if not self.reset_real_features:
            self.real = real


class Loader:
    """A loader that counts how often it is read, and may fail after a number of batches."""

    def __init__(self, batches: Any, fails_after: int | None = None) -> None:
        self.batches, self.fails_after, self.read = batches, fails_after, 0

    def __iter__(self) -> Iterator[Any]:
        self.read += 1
        yield from itertools.islice(self.batches, self.fails_after)
        if self.fails_after is not None:
            raise OSError("the disk is gone")


def test_values_are_those_of_the_metrics() -> None:
    """Each is what its metric gives for the samples that the sampler draws after the seed, and all the real ones."""
    generator, _ = make_players()
    sampler = partial(models.sample, generator, LATENT, batch_size=7)
    loader = DataLoader(TensorDataset(points(50)), 8, shuffle=True)
    chosen = [metrics.FrechetDistance(identity), metrics.KernelDistance(identity), metrics.PrecisionRecall(identity)]
    measured = training.Evaluate([*chosen, Mean()], sampler, real=loader, n=40, seed=3).measure()
    torch.manual_seed(3)
    samples = torch.cat([batch.sample for batch in sampler(40)])
    expected = {}
    for metric in (
        metrics.FrechetDistance(identity),
        metrics.KernelDistance(identity),
        metrics.PrecisionRecall(identity),
    ):
        metric.update(points(50), real=True)
        metric.update(samples, real=False)
        expected[type(metric)] = metric.compute()
    mean, std = expected[metrics.KernelDistance]
    assert measured == pytest.approx(
        {
            "frechet_distance": float(expected[metrics.FrechetDistance]),
            "kernel_distance": float(mean),
            "kernel_distance_std": float(std),
            **{name: float(value) for name, value in expected[metrics.PrecisionRecall].items()},
            "mean": samples.mean().item(),
        },
        rel=1e-6,
    )


class Restless(TensorDataset):
    """A data set that draws random numbers for every sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (point,) = super().__getitem__(index)
        return (point + torch.rand(2) * random.random() * np.random.rand(),)


def test_evaluations_share_their_random_numbers() -> None:
    """The first one, which reads the real samples, and the next give the same; another seed, or other weights, not."""

    def sampler(n: int) -> Iterator[Tensor]:
        for batch in models.sample(generator, LATENT, n, batch_size=9):
            yield batch.sample * random.random() + np.random.rand()

    generator, _ = make_players()
    loader = DataLoader(Restless(points(40)), 8, shuffle=True)

    def make(seed: int) -> training.Evaluate:
        chosen = [metrics.FrechetDistance(identity), metrics.KernelDistance(identity, subset_size=10)]
        return training.Evaluate([*chosen, Mean()], sampler, real=loader, n=30, seed=seed)

    evaluate = make(0)
    first = evaluate.measure()
    draw_some()
    assert evaluate.measure() == first == make(0).measure()
    for other in (make(1).measure(), make(2**64 - 1).measure()):
        assert all(other[name] != first[name] for name in first)
    nn.init.constant_(generator[-1].bias, 1.0)
    assert all(value != first[name] for name, value in evaluate.measure().items())


def draw_some() -> None:
    """Use some random numbers of each kind."""
    torch.rand(3), random.random(), np.random.rand()


def test_a_loaders_own_generator_begins_anew() -> None:
    """Where the loader was read before, an evaluation by other objects (of a resumed run) still gives the same bits."""
    loader = DataLoader(TensorDataset(points(40)), 8, shuffle=True, generator=torch.Generator().manual_seed(4))
    results = []
    for _ in range(2):
        distance = metrics.KernelDistance(identity, subset_size=10)
        before = loader.generator.get_state()
        results.append(training.Evaluate(distance, normal, real=loader, n=30).measure())
        assert torch.equal(loader.generator.get_state(), before)
        list(loader)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (Mean(), ["mean"]),
        ([Mean(), Pairs()], ["mean", "pairs"]),
        ({"brightness": Mean(), "Mean": Mean()}, ["brightness", "mean"]),
        (Mean(lambda mean: (mean, 0.0)), ["mean", "mean_std"]),
        (Mean(lambda mean: [torch.tensor(mean), torch.tensor([0.0])]), ["mean", "mean_std"]),
        (Mean(lambda mean: {"low": mean, "HighEnd": (mean, 1)}), ["low", "high_end", "high_end_std"]),
        ({"test": Mean(lambda mean: {"low": mean})}, ["test_low"]),
        ({"test_mean": Mean(lambda mean: {"low": mean})}, ["test_low"]),
        ([metrics.LabelAccuracy(lambda samples: torch.eye(2)[samples[:, 0].long()])], ["label_accuracy"]),
        (MetricCollection([SumMetric()]), ["sum_metric"]),
        (MetricCollection([SumMetric()], prefix="val_"), ["val_sum_metric"]),
        (MetricCollection({"middle": SumMetric()}, postfix="_val"), ["middle_val"]),
        (MetricCollection([Sides(True)], prefix="val_"), ["val_real", "val_fake"]),
    ],
)
def test_results_are_named_after_classes_and_by_the_user(given: Any, names: list[str]) -> None:
    """By the class in snake case, or the user's name; ``_std`` is added for a deviation; a dict has its own names."""

    def sampler(n: int) -> list[Batch]:
        return [Batch(torch.ones(n, 1), torch.ones(n, dtype=torch.int64))]

    assert list(training.Evaluate(given, sampler, real=[torch.ones(3, 1)], n=4).measure()) == names


def test_a_metric_of_pairs_gets_the_conditions() -> None:
    """They are those of the same batch; labels of a labeled generator are what LabelAccuracy compares with."""

    def sampler(n: int) -> Iterator[Any]:
        for part in torch.randn(n).split(8):
            yield Batch(part[:, None], (part[:, None] > 0).long())

    assert training.Evaluate(Pairs(), lambda n: [(torch.ones(n), torch.ones(n))], n=5).measure() == {"pairs": 1.0}
    accuracy = metrics.LabelAccuracy(lambda samples: torch.cat([-samples, samples], 1))
    labeled = lambda n: [(batch.sample, batch.condition.flatten()) for batch in sampler(n)]  # noqa: E731
    assert training.Evaluate(accuracy, labeled, n=30).measure() == {"label_accuracy": 1.0}


@pytest.mark.parametrize("keeps", [True, False])
def test_real_samples_are_read_as_often_as_needed(keeps: bool) -> None:
    """Once for a metric that keeps them, else each time; either way the metric has them all, once."""
    loader = Loader(points(20).split(8))
    own: Any = metrics.FrechetDistance(identity) if keeps else Mean()
    evaluate = training.Evaluate([Sides(reset_real_features=not keeps), own], normal, real=loader, n=10)
    for _ in range(3):
        measured = evaluate.measure()
        assert (measured["real"], measured["fake"]) == (20, 10)
    assert loader.read == (1 if keeps else 3)


def test_metrics_with_statistics_need_no_real_samples(tmp_path: Path) -> None:
    """Loaded ones, or those that were added before, are used, and the loader is not read."""
    path, loader = tmp_path / "real.npz", Loader([])
    saved = metrics.FrechetDistance(identity)
    saved.update(points(50), real=True)
    saved.save_statistics(path)
    expected = training.Evaluate(metrics.FrechetDistance(identity), normal, real=[points(50)], n=30).measure()
    for real in (None, loader):
        loaded = metrics.FrechetDistance(identity)
        loaded.load_statistics(path)
        for metric in (loaded, saved):
            evaluate = training.Evaluate(metric, normal, real=real, n=30)
            training.fit(MyTrainer(), [points()], iterations=1, callbacks=[evaluate])
            assert evaluate.measure() == pytest.approx(expected, rel=1e-9)
    assert not loader.read


def test_a_collection_that_was_used_before() -> None:
    """What it holds of generated samples does not count, its real ones do; its metrics give what they give alone."""

    def make() -> list[Metric]:
        return [metrics.FrechetDistance(identity), metrics.KernelDistance(identity)]

    collection = MetricCollection(make())
    for real in (True, False):
        collection.update(points(50), real=real)
    collection.compute()
    collection.update(points(9), real=False)
    evaluate = training.Evaluate(collection, normal, n=30)
    expected = training.Evaluate(make(), normal, real=[points(50)], n=30).measure()
    assert evaluate.measure() == pytest.approx(expected)
    assert evaluate.measure() == pytest.approx(expected)


def test_samples_are_not_kept() -> None:
    """After an evaluation, also one that failed, no metric holds features of generated samples; real ones stay."""
    distance = metrics.KernelDistance(identity)
    evaluate = training.Evaluate(distance, normal, real=[points(20)], n=30)
    evaluate.measure()
    assert sum(map(len, distance.metric_state["real_features"])) == 20
    assert not distance.metric_state["fake_features"]
    evaluate.sampler = lambda n: [*normal(n), torch.full((1, 2), math.nan)]
    with pytest.raises(GanlibError):
        evaluate.measure()
    assert not distance.metric_state["fake_features"]


def test_networks_stay_as_they_are() -> None:
    """Modes, buffers, gradients and what requires them are the same after an evaluation with models.sample."""
    generator, _ = make_players()
    generator[1].eval()
    generator[0].requires_grad_(False)
    generator(torch.randn(4, 3)).sum().backward()
    before = [part.training for part in generator.modules()]
    tensors = [tensor.clone() for tensor in generator.state_dict().values()]
    gradients = [(each.requires_grad, each.grad) for each in generator.parameters()]
    training.Evaluate(metrics.FrechetDistance(identity), partial(models.sample, generator, LATENT), real=[points()],
                      n=20).measure()  # fmt: skip
    assert [part.training for part in generator.modules()] == before
    assert all(map(torch.equal, generator.state_dict().values(), tensors))
    assert [(each.requires_grad, each.grad) for each in generator.parameters()] == gradients


def test_no_graph_is_made() -> None:
    """A user's sampler that does not say ``no_grad`` costs no memory for gradients."""
    network = nn.Linear(2, 2)
    kept: list[Tensor] = []

    class Keeping(Mean):
        """Keeps what it is given."""

        def update(self, samples: Tensor) -> None:
            kept.append(samples)
            super().update(samples)

    training.Evaluate(Keeping(), lambda n: map(network, normal(n)), n=40).measure()
    assert not any(samples.requires_grad for samples in kept)


FRECHET = partial(metrics.FrechetDistance, identity)


class Collection(Dataset[Tensor]):
    """A data set, which is no loader."""

    def __getitem__(self, index: int) -> Tensor:
        return points()[index]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": identity}, ArgumentTypeError, "metric <function identity.*update, compute and reset"),
        ({"metrics": metrics.FrechetDistance}, ArgumentTypeError, "metric <class .*must be an object"),
        ({"metrics": "fid"}, ArgumentTypeError, "metric 'fid'"),
        ({"metrics": [MetricCollection([SumMetric()])]}, ArgumentTypeError, "(?s)metric MetricCollection.*an object"),
        ({"metrics": []}, ArgumentValueError, r"metrics \(=\[\]\) must be at least one"),
        ({"metrics": {3: Mean()}}, ArgumentTypeError, r"name of a metric \(=3\)"),
        ({"metrics": [Mean(), Mean()]}, ArgumentValueError, "two metrics are called 'mean'"),
        ({"metrics": {"Mean": Mean(), "mean": Mean()}}, ArgumentValueError, "two metrics are called 'mean'"),
        ({"sampler": points(3)}, ArgumentTypeError, r"sampler \(=tensor"),
        ({"sampler": nn.Linear}, ArgumentTypeError, "sampler .* must be a function"),
        ({"real": iter([points()])}, ArgumentTypeError, "real .* iterated again"),
        ({"real": 3}, ArgumentTypeError, r"real \(=3\) must give batches"),
        ({"real": Collection()}, ArgumentTypeError, r"real \(=.*Collection.*\) must give batches"),
        ({"real": points(3)}, ArgumentTypeError, r"(?s)real \(=a Tensor.*\[samples\]"),
        ({"every": 0}, ArgumentValueError, r"every \(=0\)"),
        ({"every": 2.5}, ArgumentValueError, r"every \(=2.5\)"),
        ({"n": 0}, ArgumentValueError, r"n \(=0\)"),
        ({"n": True}, ArgumentValueError, r"n \(=True\)"),
        ({"seed": -1}, ArgumentValueError, r"seed \(=-1\)"),
        ({"seed": 2**64}, ArgumentValueError, r"seed \(=18446744073709551616\)"),
        ({"seed": None}, ArgumentValueError, r"seed \(=None\)"),
        ({"timeout": 0}, ArgumentValueError, r"timeout \(=0\)"),
        ({"timeout": math.inf}, ArgumentValueError, r"timeout \(=inf\)"),
    ],
)
def test_bad_arguments_are_named(arguments: Any, error: Any, message: str) -> None:
    """At once, with their value."""
    given = {"metrics": Mean(), "sampler": normal} | arguments
    with pytest.raises(error, match=message):
        training.Evaluate(given.pop("metrics"), given.pop("sampler"), **given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sampler": lambda n: normal(n - 1)}, ArgumentValueError, r"sampler gave 39 samples, not n \(=40\)"),
        ({"sampler": lambda n: itertools.cycle(normal(30))}, ArgumentValueError, "sampler gave 60 samples or more"),
        ({"sampler": lambda n: []}, ArgumentValueError, r"sampler gave 0 samples, not n \(=40\)"),
        ({"sampler": lambda n: None}, ArgumentTypeError, r"sampler \(=None\) must give batches"),
        ({"sampler": lambda n: torch.randn(n, 2)}, ArgumentTypeError, r"(?s)sampler \(=a Tensor.*\[samples\]"),
        ({"sampler": lambda n: Batch(torch.randn(n, 2))}, ArgumentTypeError, r"(?s)sampler \(=a Batch.*\[samples\]"),
        ({"sampler": lambda n: [[0.5] * n]}, ArgumentTypeError, "sampler gave a float; it must give samples"),
        ({"sampler": lambda n: [{"image": torch.randn(n, 2)}]}, ArgumentTypeError, "sampler gave a dict"),
        ({"sampler": lambda n: [()]}, ArgumentTypeError, "sampler gave a tuple"),
        ({"sampler": lambda n: [torch.tensor(0.5)]}, ArgumentTypeError, "sampler gave a Tensor"),
        ({"sampler": lambda n: [torch.full((n, 2), math.nan)]}, TrainingDivergedError, "not finite"),
        ({"sampler": lambda n: [torch.full((n, 2), -math.inf)]}, TrainingDivergedError, "not finite"),
        ({"real": []}, ArgumentValueError, r"real \(=\[\]\) gave no samples"),
        ({"real": [torch.empty(0, 2)]}, ArgumentValueError, "real .* gave no samples"),
        ({"real": [{"image": points()}]}, ArgumentTypeError, "real gave a dict"),
        ({"real": None}, ArgumentValueError, "0 real and 40 generated samples"),
        ({"metrics": Mean(lambda mean: torch.ones(3))}, ArgumentTypeError, "compute of mean gave tensor.*number"),
        ({"metrics": Mean(lambda mean: None)}, ArgumentTypeError, "compute of mean gave None"),
        ({"metrics": {"a": Mean(lambda mean: {"x": [1]})}}, ArgumentTypeError, r"compute of a_x gave \[1\]"),
        (
            {"metrics": [Mean(), Pairs(lambda mean: {"mean": mean})], "sampler": lambda n: [Batch(torch.ones(n), 1)]},
            ArgumentValueError,
            "two metrics give 'mean'",
        ),
    ],
)
def test_what_cannot_be_measured_is_named(arguments: Any, error: Any, message: str) -> None:
    """By the argument that is to blame; the random numbers go on as if nothing had happened."""
    given = {"metrics": FRECHET(), "sampler": normal, "real": [points()], "n": 40} | arguments
    evaluate = training.Evaluate(given.pop("metrics"), given.pop("sampler"), **given)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(error, match=message):
        evaluate.measure()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("sort", ["ours", "torchmetrics"])
def test_half_of_the_real_samples_do_not_count(sort: str) -> None:
    """Where reading them fails, the next evaluation reads all of them."""
    metric: Any = FRECHET() if sort == "ours" else Sides(reset_real_features=False)
    loader = Loader([torch.full((8, 2), 7.0), *points(40).split(8)], fails_after=3)
    evaluate = training.Evaluate(metric, normal, real=loader, n=30)
    with pytest.raises(OSError, match="the disk is gone"):
        evaluate.measure()
    loader.batches, loader.fails_after = points(40).split(8), None
    other = FRECHET() if sort == "ours" else Sides(reset_real_features=False)
    assert evaluate.measure() == training.Evaluate(other, normal, real=loader, n=30).measure()
    if sort == "torchmetrics":
        assert metric.reset_real_features is False


def test_a_failed_evaluation_keeps_complete_real_samples() -> None:
    """Where only the samples are wrong, the real ones are not read again."""
    loader = Loader(points(20).split(8))
    evaluate = training.Evaluate(FRECHET(), lambda n: [], real=loader, n=30)
    for _ in range(2):
        with pytest.raises(ArgumentValueError):
            evaluate.measure()
    assert loader.read == 1


def stateful(**options: Any) -> Any:
    """torchdata's loader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(TensorDataset(points(16)), 8, **options)


@pytest.mark.parametrize("kind", ["StatefulDataLoader", "persistent workers"])
def test_a_loader_with_one_position_cannot_be_both(kind: str) -> None:
    """The training's own loader as ``real`` is refused where it cannot be read in between; another one is read."""

    def make() -> Any:
        if kind == "StatefulDataLoader":
            return stateful()
        return DataLoader(TensorDataset(points(16)), 8, num_workers=1, persistent_workers=True)

    batches = make()
    trainer = TakesFirst()
    evaluate = training.Evaluate(FRECHET(), normal, real=batches, n=20)
    with pytest.raises(ArgumentValueError, match="real .*is the loader of the training.* a loader of its own"):
        training.fit(trainer, batches, iterations=2, callbacks=[evaluate])
    assert trainer.iteration == 0
    training.fit(trainer, batches, iterations=2, callbacks=[training.Evaluate(FRECHET(), normal, real=make(), n=20)])


class TakesFirst(MyTrainer):
    """Sums the samples of batches that hold more."""

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Add the samples."""
        return super().train_step(batch[0] for batch in batches)


def test_a_metric_without_real_samples_is_noticed_before_training() -> None:
    """It takes no iterations to find out."""
    trainer = MyTrainer()
    with pytest.raises(ArgumentValueError, match=r"real \(=None\).*frechet_distance has none"):
        training.fit(trainer, [points()], iterations=2, callbacks=[training.Evaluate(FRECHET(), normal)])
    assert trainer.iteration == 0


def test_a_tensor_loader_is_read_from_its_start() -> None:
    """Wherever it is, real samples are those of its first epoch, and its position stays."""
    loader = data.TensorLoader(TensorDataset(points(40)), 8, transform=lambda samples, generator: samples
                               + torch.rand(samples.shape, generator=generator))  # fmt: skip
    collected: list[Any] = []

    class Keeps(Sides):
        """Keeps real samples."""

        def update(self, imgs: Tensor, real: bool) -> None:
            collected.append(imgs) if real else None
            super().update(imgs, real)

    first = [batch.sample for batch in loader]
    iterator = iter(loader)
    next(iterator)
    before = loader.state_dict()
    training.Evaluate(Keeps(True), normal, real=loader, n=30).measure()
    assert torch.equal(torch.cat(collected), torch.cat(first))
    assert loader.state_dict() == before


@pytest.mark.parametrize("shared", [False, True])
def test_two_evaluations_with_one_metric_or_one_name_are_refused(shared: bool) -> None:
    """One would read the real samples of the other, or overwrite its results."""
    first = FRECHET()
    second = {"other": first} if shared else FRECHET()
    callbacks = [training.Evaluate(each, normal, real=[points()], n=40) for each in (first, second)]
    with pytest.raises(ArgumentValueError, match="is in two Evaluate callbacks"):
        training.fit(MyTrainer(), [points()], iterations=1, callbacks=callbacks)

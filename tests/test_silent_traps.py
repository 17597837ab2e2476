"""Every case of the ten kinds of silent faults that users of GAN libraries reported, by kind.

Each case trains on exactly what it was given, or ends in an error of ganlib's before training, or is warned of once.
The contracts over all readers, metrics, savers, initializers and loaders are next to the tests of each.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from ganlib import augment, conditioning, data, init, latents, losses, metrics, models, penalties, stacks, training, viz
from ganlib.errors import GanlibError

CASES: list[Any] = []


def case(kind: int) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Put a function into the table; its name says what is right."""

    def add(function: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.append(pytest.param(function, id=f"{kind}-{function.__name__[1:]}"))
        return function

    return add


@pytest.mark.parametrize("check", CASES)
def test_no_silent_trap(check: Callable[[Path], None], tmp_path: Path) -> None:
    """The case does what its name says."""
    torch.manual_seed(0)
    check(tmp_path)


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """An error of ganlib's whose message has all the words."""
    with pytest.raises(GanlibError) as caught:
        yield
    for word in words:
        assert word in str(caught.value)


@contextmanager
def warned(*words: str) -> Iterator[None]:
    """Exactly one warning, whose message has all the words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 1, messages
    for word in words:
        assert word in messages[0]


def gan(
    generator: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    *,
    lr: Any = 1e-3,
    **options: Any,
) -> training.AdversarialTrainer:
    """A trainer of small networks for samples (N, 2)."""
    generator = nn.Linear(4, 2) if generator is None else generator
    discriminator = nn.Linear(2, 1) if discriminator is None else discriminator
    options = {"loss": losses.NonSaturatingLoss(), "latent": latents.Gaussian(4)} | options
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=lr),
        torch.optim.Adam(discriminator.parameters(), lr=lr),
        **options,
    )


def images(*activations: nn.Module) -> nn.Module:
    """A generator of images (N, 1, 4, 4)."""
    return nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (1, 4, 4)), *activations)


class Listed(Dataset[Any]):
    """Items from a list, with whatever attributes a test gives it."""

    def __init__(self, items: Any, **attributes: Any) -> None:
        self.items = items
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


# 1. A fast path trusted after a spot check.


class InMemory(Dataset[Any]):
    """What torchvision's data sets are inside; a subclass overrides something."""

    def __init__(self) -> None:
        self.data = torch.randint(0, 256, (60, 4, 4), dtype=torch.uint8)
        self.targets = torch.arange(60) % 3

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return Image.fromarray(self.data[index].numpy()), int(self.targets[index])


def holds_its_items(dataset: Any) -> None:
    """The loader has each sample and label that ``dataset[i]`` gives."""
    loader = data.TensorLoader(dataset, batch_size=2, shuffle=False)
    assert len(loader.samples) == len(dataset)
    for index in range(len(dataset)):
        image, label = dataset[index]
        assert np.array_equal(loader.samples[index, 0], np.asarray(image))
        assert int(loader.conditions[index]) == int(label)


@case(1)
def _a_data_set_that_is_shortened_by_its_length(_: Path) -> None:
    class Short(InMemory):
        def __len__(self) -> int:
            return 20

    holds_its_items(Short())


@case(1)
def _labels_that_are_merged_in_getitem(_: Path) -> None:
    class Merged(InMemory):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return image, min(label, 1)

    holds_its_items(Merged())


@case(1)
def _labels_that_are_noisy_after_the_first_item(_: Path) -> None:
    class Noisy(InMemory):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return image, (label + (index % 7 == 3)) % 3

    holds_its_items(Noisy())


@case(1)
def _pixels_that_change_late(_: Path) -> None:
    class Inverted(InMemory):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return (image if index < 50 else image.point(lambda value: 255 - value)), label

    holds_its_items(Inverted())


@case(1)
def _labels_that_a_wrapper_changes_on_the_way(_: Path) -> None:
    class Relabels:
        """Forwards all attributes of its loader."""

        def __init__(self, loader: Any) -> None:
            self.loader = loader

        def __getattr__(self, name: str) -> Any:
            return getattr(self.loader, name)

        def __iter__(self) -> Any:
            return ((batch.sample, batch.condition - 5) for batch in self.loader)

    def trainer() -> training.AdversarialTrainer:
        generator = conditioning.ConcatLatent(nn.Linear(7, 2), conditioning.OneHot(3))
        return gan(generator, conditioning.Unconditional(nn.Linear(2, 1)))

    loader = data.TensorLoader(TensorDataset(torch.randn(32, 2), torch.arange(32) % 3 + 5), 8)
    training.fit(trainer(), Relabels(loader), iterations=3)
    with refused("condition", "7"):
        training.fit(trainer(), loader, iterations=3)


# 2. Two readers of one input.


def both_readers(folder: Path, image: Image.Image, suffix: str = "png") -> tuple[Tensor, Tensor]:
    """The pixels by ImageFolder, and by TensorLoader from the opened files."""
    (folder / "a").mkdir()
    paths = [folder / "a" / f"{number}.{suffix}" for number in range(2)]
    for path in paths:
        image.save(path)
    mode = "L" if image.mode in ("L", "I;16", "1") else "RGB"
    by_folder = data.ImageFolder(folder, size=image.size[::-1], mode=mode)
    by_loader = data.TensorLoader(Listed([Image.open(path) for path in paths]), batch_size=2)
    return by_folder[0][0], by_loader.samples[0]


@case(2)
def _sixteen_bits(folder: Path) -> None:
    values = np.array([[0, 257, 65535], [32896, 1028, 64250]], np.uint16)
    for pixels in both_readers(folder, Image.fromarray(values)):
        assert pixels.tolist() == [[[0, 1, 255], [128, 4, 250]]]


@case(2)
def _colours_that_are_hidden_under_transparency(folder: Path) -> None:
    values = np.array([[[255, 0, 0, 255], [255, 0, 0, 0]], [[0, 255, 0, 128], [9, 9, 9, 0]]], np.uint8)
    for pixels in both_readers(folder, Image.fromarray(values, "RGBA")):
        assert pixels.permute(1, 2, 0).tolist() == [[[255, 0, 0], [0, 0, 0]], [[0, 128, 0], [0, 0, 0]]]


@case(2)
def _floats_in_an_image(folder: Path) -> None:
    image = Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    with refused("float"):
        data.TensorLoader(Listed([image, image]), batch_size=2)
    with refused("float"):
        both_readers(folder, image, "tiff")


@case(2)
def _integers_of_32_bits(folder: Path) -> None:
    image = Image.fromarray(np.array([[0, 2**31 - 1], [7, 2**20]], np.int32))
    with refused("bits"):
        data.TensorLoader(Listed([image, image]), batch_size=2)
    with refused("bits"):
        both_readers(folder, image, "tiff")


# 3. Shape or kind not checked where the value is used.


def digits_with(targets: Any) -> Any:
    """30 items with these targets."""
    return Listed(
        [(torch.full((1, 2, 2), float(i)), i % 3) for i in range(30)], classes=["a", "b", "c"], targets=targets
    )


@case(3)
def _targets_in_a_column(_: Path) -> None:
    selected = data.only_class(digits_with(torch.arange(30).remainder(3)[:, None]), "b")
    assert selected.indices == list(range(1, 30, 3))


@case(3)
def _targets_in_one_hot_form(_: Path) -> None:
    dataset = digits_with(nn.functional.one_hot(torch.arange(30) % 3))
    assert data.only_class(dataset, "b").indices == list(range(1, 30, 3))


@case(3)
def _targets_that_are_names(_: Path) -> None:
    dataset = digits_with(["abc"[index % 3] for index in range(30)])
    assert data.only_class(dataset, "b").indices == list(range(1, 30, 3))


@case(3)
def _labels_that_no_classifier_could_score(_: Path) -> None:
    logits = torch.eye(10)
    for labels in (
        torch.arange(10) - 1,
        torch.arange(1, 11),
        torch.arange(10).bool(),
        torch.arange(10).float(),
        torch.eye(10),
    ):
        with refused("labels"):
            metrics.LabelAccuracy(lambda x: x).update(logits, labels)


@case(3)
def _items_of_different_sizes_in_a_loader_of_torch(_: Path) -> None:
    for items in ([torch.zeros(1, 4 + i) for i in range(8)], [(torch.zeros(2), [0] * (1 + i % 2)) for i in range(8)]):
        for workers in (0, 1):
            with refused("batches", "sizes differ", "ImageFolder"):
                training.fit(gan(), DataLoader(Listed(items), 4, num_workers=workers), iterations=1)


@case(3)
def _indices_of_items_that_are_not_whole_numbers(_: Path) -> None:
    digits = data.RenderedDigits(size=8, length=20)
    for dataset in (digits, data.StackedMNIST(digits, length=10)):
        for index in (slice(0, 2), 1.5, "a", True):
            with refused("index", "whole number"):
                dataset[index]  # type: ignore[index]
    for indices in (5, None, torch.tensor(5)):
        with refused("Subset's indices"):
            data.TensorLoader(Subset(TensorDataset(torch.randn(8, 2)), indices), 1)  # type: ignore[arg-type]


@case(3)
def _conditions_without_values(_: Path) -> None:
    with refused("conditions", "hold no values"):
        data.TensorLoader(Listed([(torch.zeros(2), [])] * 4), 2)


@case(3)
def _a_classifier_of_one_logit(_: Path) -> None:
    with refused("classifier", "2 classes"):
        metrics.LabelAccuracy(lambda x: x[:, :1]).update(torch.randn(8, 3), torch.zeros(8, dtype=torch.int64))


@case(3)
def _logits_that_are_broadcast_to_pairs_of_samples(_: Path) -> None:
    class Conditional(nn.Module):
        def __init__(self, add: Callable[[Tensor, Tensor], Tensor]) -> None:
            super().__init__()
            self.layer, self.embedding, self.add = nn.Linear(2, 1), nn.Embedding(3, 1), add

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.add(self.layer(x), self.embedding(y))

    batch = torch.randn(6, 2), torch.arange(6) % 3
    for add in (lambda a, b: a + b.squeeze(), lambda a, b: a.squeeze() + b):
        trainer = gan(conditioning.Unconditional(nn.Linear(4, 2)), Conditional(add))
        with warned("(6, 6)", "(N, 1)"):
            for _ in range(2):
                trainer.train_step(batch)
    gan(conditioning.Unconditional(nn.Linear(4, 2)), Conditional(lambda a, b: (a + b).view(-1))).train_step(batch)
    gan(discriminator=nn.Linear(2, 6)).train_step(batch[0])


@case(3)
def _real_bytes_and_scaled_fakes_of_a_metric(_: Path) -> None:
    bytes_, fakes = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8), 2 * torch.rand(8, 3, 4, 4) - 1
    metric = metrics.FrechetDistance(lambda x: x.float().mean((2, 3)))
    metric.update(bytes_, real=True)
    with refused("uint8", "real", "generated"):
        metric.update(fakes, real=False)
    scales = metrics.FrechetDistance(lambda x: (x / 127.5 - 1 if x.dtype == torch.uint8 else x).mean((2, 3)))
    scales.update(bytes_, real=True)
    scales.update(fakes, real=False)


# 4. A result rounded to its input's half precision.


@case(4)
def _a_distance_of_features_in_half_precision(_: Path) -> None:
    features = torch.randn(256, 8, generator=torch.Generator().manual_seed(0)) * 300
    values = []
    for dtype in (torch.float16, torch.float64):
        distance = metrics.FrechetDistance(lambda x: x)
        distance.update(features.half().to(dtype), real=True)
        distance.update((features * 1.5).half().to(dtype), real=False)
        values.append(float(distance.compute()))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@case(4)
def _a_loss_and_a_norm_in_half_precision(_: Path) -> None:
    logits = torch.full((4, 1), 300.0).half()
    assert losses.LeastSquaresLoss().generator(logits).item() == pytest.approx(299.0**2 / 2, rel=1e-5)
    normalized = stacks.PixelNorm()(torch.full((1, 4, 1, 1), 500.0).half())
    assert normalized.float().allclose(torch.ones(1, 4, 1, 1), atol=1e-3)


@case(4)
def _an_average_of_weights_in_half_precision(_: Path) -> None:
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        module.weight.fill_(1.0)
    ema = training.EMA(module, decay=0.999)
    with torch.no_grad():
        module.weight.fill_(1.25)
    average = 1.0
    for n in range(3000):
        ema.update()
        average += (1 - min(0.999, (1 + n) / (10 + n))) * (1.25 - average)
    assert float(ema.module.weight) == pytest.approx(average, rel=2**-8)


@case(4)
def _sums_over_positions_in_half_precision(_: Path) -> None:
    x, labels = 100 + torch.randn(4, 8, 32, 32), torch.arange(4)
    head = conditioning.Projection(nn.Identity(), conditioning.ClassEmbedding(4, 8), 8, num_classes=4)
    classifier = conditioning.AuxiliaryClassifierHead(nn.Identity(), 8, 4)
    for module in (head, classifier):
        with torch.no_grad(), torch.autocast("cpu", torch.float16):
            logits, half = module(x.half().float(), labels).logits, module(x.half(), labels).logits
        assert half.allclose(logits, rtol=1e-4)
        assert module.half()(x.half(), labels).class_logits.isfinite().all()


# 5. Written, but cannot be read back.


def read_back(folder: Path, generator: nn.Module, plain: nn.Module) -> None:
    """The file of a generator gives the plain one, or saving it was refused."""
    latent = torch.randn(3, 4)
    try:
        models.save_generator(folder / "generator.safetensors", generator)
    except GanlibError:
        return
    loaded = models.load_generator(folder / "generator.safetensors")
    assert torch.equal(loaded(latent), plain.eval()(latent))


def small() -> nn.Sequential:
    """A small generator of samples (N, 2)."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@case(5)
def _a_compiled_generator(folder: Path) -> None:
    generator = small()
    read_back(folder, torch.compile(generator), generator)


@case(5)
def _a_generator_in_data_parallel(folder: Path) -> None:
    generator = small()
    read_back(folder, nn.DataParallel(generator), generator)


@case(5)
def _a_compiled_generator_in_an_adapter(folder: Path) -> None:
    generator = small()
    read_back(folder, conditioning.Unconditional(torch.compile(generator)), generator)


@case(5)
def _an_average_of_a_compiled_generator(folder: Path) -> None:
    generator = small()
    ema = training.EMA(torch.compile(generator))
    read_back(folder, ema.module, generator)
    read_back(folder, ema, generator)


@case(5)
def _a_checkpoint_of_compiled_networks(folder: Path) -> None:
    trainer = gan(torch.compile(small(), backend="eager"))
    batches = [torch.randn(8, 2)]
    training.fit(trainer, batches, iterations=2, callbacks=[training.Checkpoint(folder)])
    other = gan(small())
    training.fit(other, batches, iterations=2, callbacks=[training.Checkpoint(folder)], resume=True)
    trained = trainer.generator.state_dict().values()
    assert all(map(torch.equal, other.generator.state_dict().values(), trained))


@case(5)
def _a_buffer_that_the_first_forward_pass_makes(folder: Path) -> None:
    class Centers(nn.Module):
        """Subtracts the mean of the first batch."""

        mean: Any

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 1)
            self.register_buffer("mean", None)

        def forward(self, x: Tensor) -> Tensor:
            self.mean = x.detach().mean(0) if self.mean is None else self.mean
            value: Tensor = self.linear(x - self.mean)
            return value

    trainer = gan(discriminator=Centers())
    with refused("discriminator.mean", "(2,)", "register_buffer"):
        trains_with_checkpoints(folder, trainer)
    assert trainer.iteration == 1


# 6. Accepted early, refused late.


def trains_with_checkpoints(folder: Path, trainer: Any, *callbacks: Any, iterations: int = 4) -> None:
    """A run that saves, and one that continues it, do not fail."""
    for total in (iterations, iterations + 1):
        training.fit(
            trainer,
            [torch.randn(8, 2)],
            iterations=total,
            callbacks=[*callbacks, training.Checkpoint(folder, every=2)],
            resume=total > iterations,
        )


@case(6)
def _a_learning_rate_of_numpy(folder: Path) -> None:
    trains_with_checkpoints(folder, gan(lr=np.float64(1e-3)))
    trains_with_checkpoints(folder / "32", gan(lr=np.float32(1e-3)))


@case(6)
def _a_schedule_whose_function_is_of_numpy(folder: Path) -> None:
    trainer = gan()
    schedule = training.LearningRateSchedule(trainer.generator_optimizer, lambda progress: np.cos(progress))
    trains_with_checkpoints(folder, trainer, schedule)


@case(6)
def _a_state_that_cannot_be_saved_is_refused_before_the_first_iteration(folder: Path) -> None:
    class Strange:
        def on_iteration(self, run: Any) -> None:
            pass

        def state_dict(self) -> dict[str, Any]:
            return {"function": print}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    trainer = gan()
    with refused("Strange"):
        trains_with_checkpoints(folder, trainer, Strange())
    assert trainer.iteration == 0


@case(6)
def _a_scheduled_decay_that_reaches_1(folder: Path) -> None:
    trainer, decay = gan(), torch.tensor(0.9, dtype=torch.float64)
    callbacks = [training.Schedule(decay, lambda p: 0.9 + 0.1 * p), training.EMA(trainer.generator, decay)]
    with refused("progress 1", "decay (=1.0)"):
        trains_with_checkpoints(folder, trainer, *callbacks)
    assert trainer.iteration == 0


@case(6)
def _a_schedule_that_leaves_the_range_of_what_it_drives(folder: Path) -> None:
    weight, decay = torch.tensor(1.0), torch.tensor(0.5)
    trainer = gan(penalties=[penalties.R1(weight), penalties.LeCam(decay=decay)])
    for tensor, function, name in ((weight, lambda p: -p, "weight"), (decay, lambda p: 3 * p, "decay")):
        with refused(f"{name} (="):
            trains_with_checkpoints(folder, trainer, training.Schedule(tensor, function))
    augmented = gan(
        nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8))),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 1)),
        augment=augment.AdaptiveAugment("flip", target=None),
    )
    p = augmented.modules["augment"].p
    with refused("probability p (="):
        training.fit(
            augmented, [torch.randn(8, 1, 8, 8)], iterations=2, callbacks=[training.Schedule(p, lambda t: 5 * t)]
        )
    assert trainer.iteration == augmented.iteration == 0


@case(6)
def _an_evaluation_that_cannot_work_is_refused_before_the_first_iteration(folder: Path) -> None:
    def points(n: int) -> list[Tensor]:
        return [torch.randn(n, 2)]

    many = points(99)

    def evaluates(sampler: Any = points, metric: Any = None, real: Any = many) -> None:
        trainer = gan()
        given = metrics.FrechetDistance(nn.Identity()) if metric is None else metric
        with refused():
            trains_with_checkpoints(folder, trainer, training.Evaluate(given, sampler, real=real))
        assert trainer.iteration == 0

    evaluates(lambda: points(9))
    for wrong in (torch.zeros(9, 2), None, [{"x": torch.zeros(9, 2)}], [np.zeros((9, 2))], [torch.zeros(9, 2)]):
        evaluates(lambda n, wrong=wrong: wrong)
    for real in ([], torch.zeros(99, 2), [torch.zeros(99, 3)]):
        evaluates(real=real)
    evaluates(metric=metrics.LabelAccuracy(nn.Identity()), real=None)
    evaluates(metric=metrics.FrechetDistance(nn.Linear(3, 4)))
    evaluates(metric=metrics.PrecisionRecall(nn.Identity(), k=5), real=points(3))
    generator, condition = nn.Linear(4, 2), lambda n: torch.zeros(n, 1)
    evaluates(lambda n: models.sample(generator, latents.Gaussian(5), n))
    evaluates(lambda n: models.sample(generator, latents.Gaussian(4), n, condition=condition))


@case(6)
def _an_evaluation_with_the_name_of_a_metric_of_the_trainer_ends_with_the_first_iteration(folder: Path) -> None:
    trainer = gan()
    named = {"generator_loss": metrics.FrechetDistance(nn.Identity())}
    evaluate = training.Evaluate(named, lambda n: [torch.randn(n, 2)], real=[torch.randn(99, 2)], n=99)
    with refused("generator_loss"):
        trains_with_checkpoints(folder, trainer, evaluate, iterations=99)
    assert trainer.iteration == 1


@case(6)
def _a_latent_or_a_condition_that_a_generator_cannot_take(_: Path) -> None:
    generator = nn.Linear(4, 2)
    with refused("latent (3, 5)", "mat1 and mat2"):
        next(models.sample(generator, latents.Gaussian(5), 3))
    with refused("condition (3,)", "leave the condition out"):
        next(models.sample(generator, latents.Gaussian(4), condition=torch.zeros(3)))


@case(6)
def _an_error_in_a_callback_loses_nothing(folder: Path) -> None:
    class Plots:
        def on_end(self, run: Any) -> None:
            raise ZeroDivisionError("no plot")

    checkpoint = training.Checkpoint(folder, every=15)
    with pytest.raises(ZeroDivisionError, match="no plot"):
        training.fit(gan(), [torch.randn(8, 2)], iterations=20, callbacks=[Plots(), checkpoint])
    assert [path.name for path in checkpoint.paths()] == ["00000015.pt", "00000020.pt"]


@case(6)
def _a_label_that_only_the_last_batch_has(_: Path) -> None:
    class Embeds(nn.Module):
        def __init__(self, features: int, classes: int) -> None:
            super().__init__()
            self.linear, self.embedding = nn.Linear(features, 1), nn.Embedding(classes, 1)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return self.linear(x) + self.embedding(label)

    labels = torch.cat([torch.arange(79) % 2, torch.tensor([2])])
    loader = data.TensorLoader(TensorDataset(torch.randn(80, 1), labels), 8, shuffle=False)
    classifier = conditioning.AuxiliaryClassifierHead(nn.Linear(1, 8), 8, 2)
    classifies = {"auxiliary_losses": [losses.AuxiliaryClassifier()]}
    unconditional = conditioning.Unconditional(nn.Linear(4, 1))
    for trainer in (gan(Embeds(4, 2), Embeds(1, 2)), gan(unconditional, classifier, **classifies)):
        with refused("from 0 to 2"):
            training.fit(trainer, loader, iterations=20)
        assert trainer.iteration == 0


@case(6)
def _a_generator_of_inference_mode(_: Path) -> None:
    with torch.inference_mode():
        generator = nn.Linear(4, 2)
    with refused("generator.weight", "inference_mode"):
        training.fit(gan(generator), [torch.randn(8, 2)], iterations=2)


@case(6)
def _a_class_instead_of_a_network_in_an_adapter(_: Path) -> None:
    encoder: Any = conditioning.OneHot(3)
    network: Any = nn.Linear
    for make in (
        lambda: conditioning.Unconditional(network),
        lambda: conditioning.ConcatLatent(network, encoder),
        lambda: conditioning.Projection(network, encoder, 8),
        lambda: conditioning.AuxiliaryClassifierHead(network, 8, 3),
    ):
        with refused("(=", "Linear", "not a class"):
            make()


@case(6)
def _optimizers_that_need_more_than_a_gradient(_: Path) -> None:
    class Sharpness(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            assert closure is not None, "SAM requires closure"

    kinds: list[tuple[Any, str]] = [(torch.optim.LBFGS, "closure"), (torch.optim.SparseAdam, "embeddings")]
    for kind, word in [*kinds, (Sharpness, "closure")]:
        with refused("optimizer", kind.__name__, word):
            generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
            training.AdversarialTrainer(
                generator,
                discriminator,
                kind(generator.parameters()),
                torch.optim.Adam(discriminator.parameters()),
                loss=losses.HingeLoss(),
                latent=latents.Gaussian(4),
            ).train_step(torch.randn(8, 2))


# 7. A setting overridden in silence.


@case(7)
def _a_lower_learning_rate_at_a_resume(folder: Path) -> None:
    def run(lr: float, iterations: int, **options: Any) -> training.AdversarialTrainer:
        trainer = gan(lr=lr)
        checkpoint = training.Checkpoint(folder)
        training.fit(trainer, [torch.randn(8, 2)], iterations=iterations, callbacks=[checkpoint], **options)
        return trainer

    run(1e-3, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = run(1e-4, 4, resume=True)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2  # one for each optimizer
    for message, player in zip(messages, ("discriminator", "generator"), strict=True):
        assert player in message
        assert "0.001" in message
        assert "0.0001" in message
        assert "from_code" in message
    assert trainer.generator_optimizer.param_groups[0]["lr"] == 1e-3
    trainer = run(1e-4, 6, resume=True, from_code=("lr",))  # no warning
    assert trainer.generator_optimizer.param_groups[0]["lr"] == 1e-4


@case(7)
def _the_same_settings_are_not_warned_of_where_a_schedule_changes_the_rate(folder: Path) -> None:
    for total in (2, 4):
        trainer = gan()
        optimizers = trainer.generator_optimizer, trainer.discriminator_optimizer
        schedules = [training.LearningRateSchedule(one, training.linear_decay(start=0.0)) for one in optimizers]
        callbacks = [*schedules, training.Checkpoint(folder)]
        training.fit(trainer, [torch.randn(8, 2)], iterations=total, callbacks=callbacks, resume=total > 2)


@case(7)
def _another_fixed_probability_of_an_augmentation_at_a_resume(folder: Path) -> None:
    def run(p: float, iterations: int) -> augment.AdaptiveAugment:
        adaptive = augment.AdaptiveAugment("color", p=p, target=None)
        trainer = gan(images(nn.Tanh()), nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), augment=adaptive)
        checkpoint = training.Checkpoint(folder)
        batches = [2 * torch.rand(8, 1, 4, 4) - 1]
        training.fit(trainer, batches, iterations=iterations, callbacks=[checkpoint], resume=iterations > 2)
        return adaptive

    run(0.2, 2)
    with warned("0.6", "0.2"):
        assert run(0.6, 4).p.item() == pytest.approx(0.6)


@case(7)
def _another_decay_of_an_average_at_a_resume(folder: Path) -> None:
    def run(decay: float, iterations: int) -> None:
        trainer = gan()
        callbacks = [training.EMA(trainer.generator, decay), training.Checkpoint(folder)]
        training.fit(trainer, [torch.randn(8, 2)], iterations=iterations, callbacks=callbacks, resume=iterations > 2)

    run(0.99, 2)
    run(0.99, 4)
    with warned("0.99", "0.5"):
        run(0.5, 6)


@case(7)
def _a_decay_that_would_become_a_state(_: Path) -> None:
    for decay in (nn.Parameter(torch.tensor(0.5), requires_grad=False), nn.Buffer(torch.tensor(0.5))):
        with refused("decay", "plain tensor"):
            training.EMA(nn.Linear(2, 2), decay)


@case(7)
def _an_interval_that_an_auxiliary_loss_would_ignore(_: Path) -> None:
    with warned("auxiliary_losses", "every (=4)", "penalties"):
        gan(auxiliary_losses=[penalties.LeCam(every=4)])


@case(7)
def _one_more_average_at_a_resume(folder: Path) -> None:
    def run(iterations: int, *decays: float) -> None:
        trainer = gan()
        averages = [training.EMA(trainer.generator, decay) for decay in decays]
        callbacks = [*averages, training.Checkpoint(folder)]
        training.fit(trainer, [torch.randn(8, 2)], iterations=iterations, callbacks=callbacks, resume=iterations > 2)

    run(2, 0.99)
    with warned("EMA#2", "order"):
        run(4, 0.99, 0.5)


@case(7)
def _evaluations_of_another_number_of_samples_at_a_resume(folder: Path) -> None:
    def run(iterations: int, n: int) -> None:
        metric = {"distance": metrics.FrechetDistance(nn.Identity())}
        evaluate = training.Evaluate(metric, lambda n: [torch.randn(n, 2)], real=[torch.randn(99, 2)], n=n, every=2)
        callbacks = [evaluate, training.Checkpoint(folder, monitor="distance")]
        training.fit(gan(), [torch.randn(8, 2)], iterations=iterations, callbacks=callbacks, resume=iterations > 2)

    run(2, 100)
    run(4, 100)
    with warned("n (=20)", "n (=100)", "best.pt"):
        run(6, 20)


@case(7)
def _attributes_that_are_used_only_at_construction(folder: Path) -> None:
    for name in ("a/1.png", "a/2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    loader = data.TensorLoader(TensorDataset(torch.randn(8, 2)), batch_size=4)
    images_of_folder = data.ImageFolder(folder, 8)
    for made, name, value in (
        (loader, "transform", torch.sin),
        (loader, "device", "cpu"),
        (data.map_loader(loader, lambda batch: batch), "function", abs),
        (images_of_folder, "mode", "L"),
        (images_of_folder, "transform", torch.sin),
    ):
        with pytest.raises(AttributeError, match=f"{name}.*no effect"):
            setattr(made, name, value)
    loader.batch_size = 2
    assert len(next(iter(loader)).sample) == 2


@case(7)
def _activations_of_a_module_that_replace_those_of_the_file(folder: Path) -> None:
    models.save_generator(folder / "g", images(nn.Tanh()))
    with warned("Tanh() there", "Sigmoid() here"):
        models.load_generator(folder / "g", images(nn.Sigmoid()))
    models.load_generator(folder / "g", images(nn.Tanh()))


@case(7)
def _generators_of_a_trainers_parts_go_on_at_a_resume(folder: Path) -> None:
    def train(where: str, iterations: int) -> Tensor:
        torch.manual_seed(0)
        network, generator = nn.Linear(2, 1), torch.Generator().manual_seed(1)

        def objective(batch: Tensor) -> Tensor:
            value: Tensor = network(batch + torch.randn(batch.shape, generator=generator)).square().mean()
            return value

        player = training.Player("one", torch.optim.SGD(network.parameters(), lr=0.1), objective)
        trainer = training.GameTrainer({"network": network}, [player])
        callbacks = [training.Checkpoint(folder / where, every=9)]
        training.fit(trainer, [torch.ones(8, 2)], iterations=iterations, callbacks=callbacks, resume=True)
        return network.weight

    train("parts", 3)
    assert torch.equal(train("parts", 6), train("whole", 6))


@case(7)
def _a_scheduler_of_torch_in_a_callback_without_a_state(folder: Path) -> None:
    class Steps:
        """Steps a scheduler."""

        def __init__(self, optimizer: Any) -> None:
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

        def on_iteration(self, run: Any) -> None:
            self.scheduler.step()

    trainer = gan()
    callbacks = [Steps(trainer.generator_optimizer), training.Checkpoint(folder)]
    with warned("LambdaLR of Steps", "load_state_dict"):
        training.fit(trainer, [torch.randn(8, 2)], iterations=3, callbacks=callbacks)


# 8. Only one of several forms known.


@case(8)
def _init_after_a_norm_of_weights(_: Path) -> None:
    forms = (
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
        nn.utils.spectral_norm,
        quiet_weight_norm,
    )
    for form in forms:
        for initialize in (init.dcgan_, init.normal_, init.xavier_, init.kaiming_, init.orthogonal_):
            layer = form(nn.Linear(64, 64))
            layer(torch.zeros(1, 64))  # hooks compute the weight here
            before = layer.weight.detach().clone()
            initialize(layer)
            layer(torch.zeros(1, 64))
            assert not torch.allclose(layer.weight, before, atol=1e-3), (form, initialize)


def quiet_weight_norm(layer: nn.Module) -> nn.Module:
    """The hook form, of which torch warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)  # type: ignore[no-any-return]


@case(8)
def _an_average_of_a_network_whose_forward_was_replaced(folder: Path) -> None:
    generator = small()
    generator.forward = torch.compile(generator.forward, backend="eager")  # type: ignore[method-assign]
    ema, z = training.EMA(generator), torch.randn(3, 4)
    before = generator(z)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(1)
    torch.testing.assert_close(ema(z), before)
    layer = generator[0]
    layer.forward = (lambda old: lambda x: 2 * old(x))(layer.forward)
    with refused("module.0.forward", "functools.partial"):
        training.EMA(generator)


@case(8)
def _a_network_in_the_closure_of_a_metrics_function(_: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout())
    values = []
    for features in (network, lambda x: network(x.flatten(1))):
        distance = metrics.FrechetDistance(features)
        for real in (True, False):
            distance.update(torch.randn(32, 2, generator=torch.Generator().manual_seed(int(real))), real=real)
        values.append(float(distance.compute()))
    assert values[0] == values[1]
    assert network.training
    assert not network[1].running_mean.any()


@case(8)
def _a_weight_norm_that_fits_in_part(folder: Path) -> None:
    path, norm = folder / "generator.safetensors", nn.utils.parametrizations.weight_norm
    models.save_generator(path, nn.Sequential(norm(nn.Linear(4, 8)), norm(nn.Linear(8, 2))))
    module = nn.Sequential(norm(nn.Linear(4, 8)), norm(nn.Linear(6, 2)))
    before = module[1].weight.clone()
    with warned("1.parametrizations.weight.original0 belongs to 1.parametrizations.weight.original1"):
        models.load_generator(path, module, partial=True)
    assert module[1].weight.equal(before)


# 9. The dry run cannot see what training will meet.


@case(9)
def _a_last_batch_of_one_with_batch_norm(_: Path) -> None:
    for loader in (
        DataLoader(TensorDataset(torch.randn(9, 2)), batch_size=4),
        data.TensorLoader(TensorDataset(torch.randn(9, 2)), batch_size=4, drop_last=False),
    ):
        trainer = gan(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)))
        with refused("drop_last"):
            training.fit(trainer, loader, epochs=1)
        assert trainer.iteration == 0


@case(9)
def _a_transform_of_torchvision(_: Path) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    images = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8)
    loader = data.TensorLoader(
        TensorDataset(images), batch_size=64, shuffle=False, transform=v2.RandomHorizontalFlip(p=0.5)
    )
    (sample, _condition), plain = next(iter(loader)), images / 127.5 - 1
    flipped = [torch.allclose(one, other.flip(-1), atol=1e-6) for one, other in zip(sample, plain, strict=True)]
    kept = [torch.allclose(one, other, atol=1e-6) for one, other in zip(sample, plain, strict=True)]
    assert all(a or b for a, b in zip(flipped, kept, strict=True))
    assert 10 < sum(flipped) < 54  # each image by itself, not the whole batch


@case(9)
def _a_transform_that_cannot_be_called(_: Path) -> None:
    with refused("transform"):
        data.TensorLoader(
            TensorDataset(torch.zeros(8, 1, 4, 4)), batch_size=4, transform=lambda one, two, three, four: one
        )


@case(9)
def _fake_conditions_that_are_called_in_another_way(_: Path) -> None:
    for function in (lambda: torch.zeros(8), lambda conditions, generator=None: conditions.roll(1)):
        trainer = gan(
            conditioning.Unconditional(nn.Linear(4, 2)),
            conditioning.Unconditional(nn.Linear(2, 1)),
            fake_conditions=function,
        )
        with refused("fake_conditions(n)", "n (=8)"):
            trainer.train_step((torch.randn(8, 2), torch.zeros(8)))
        assert trainer.iteration == 0


@case(9)
def _a_generator_that_returns_a_tuple_in_training_mode(_: Path) -> None:
    class Styled(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return (super().forward(x), x) if self.training else super().forward(x)

    with refused("generator gave tuple"):
        gan(Styled(4, 2)).train_step(torch.randn(8, 2))


@case(9)
def _an_instance_norm_with_running_statistics_of_single_values(_: Path) -> None:
    norm = nn.InstanceNorm2d(2, track_running_stats=True)
    critic = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), norm, nn.Flatten(), nn.Linear(2, 1))
    with refused("instance norm", "discriminator"):
        gan(discriminator=critic).train_step(torch.randn(8, 2))


@case(9)
def _a_last_batch_of_one_whose_deviation_is_nan(_: Path) -> None:
    layer = nn.Linear(2, 1)
    player = training.Player("a", torch.optim.Adam(layer.parameters()), lambda batch: layer(batch[0]).std())
    trainer = training.GameTrainer({"layer": layer}, [player])
    with refused("drop_last"):
        training.fit(trainer, DataLoader(TensorDataset(torch.randn(9, 2)), batch_size=4), epochs=1)
    assert trainer.iteration == 0


# 10. Possible, but surely a mistake.


@case(10)
def _a_discriminator_that_ends_in_a_sigmoid(_: Path) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.layer(x)).view(-1)

    for discriminator in (
        nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()),
        nn.Sequential(nn.Linear(2, 1), nn.Hardsigmoid()),
        Functional(),
    ):
        trainer = gan(discriminator=discriminator)
        with warned("sigmoid", "logits"):
            for _ in range(3):
                trainer.train_step(torch.randn(8, 2))


@case(10)
def _samples_from_0_to_1_for_a_generator_from_minus_1_to_1(_: Path) -> None:
    tanh = nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    trainer = gan(tanh)
    with warned("[0, 1]", "[-1, 1]"):
        for _ in range(3):
            trainer.train_step(torch.rand(16, 2))


@case(10)
def _a_network_in_evaluation_mode(folder: Path) -> None:
    models.save_generator(folder / "generator.safetensors", nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))
    generator = models.load_generator(folder / "generator.safetensors")
    with warned("generator", "evaluation mode", "train"):
        training.fit(gan(generator), [torch.randn(8, 2)], iterations=2)
    training.fit(
        gan(models.load_generator(folder / "generator.safetensors", train=True)), [torch.randn(8, 2)], iterations=2
    )


@case(10)
def _batch_norm_in_a_critic_with_a_gradient_penalty(_: Path) -> None:
    for penalty in (penalties.GradientPenalty(), penalties.DRAGAN()):
        critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.LeakyReLU(0.2), nn.Linear(4, 1))
        with warned("batch norm"):
            trainer = gan(discriminator=critic, loss=losses.WassersteinLoss(), penalties=[penalty])
            for _ in range(3):
                trainer.train_step(torch.randn(8, 2))


@case(10)
def _a_flip_of_the_samples_and_not_of_their_maps(_: Path) -> None:
    photos, sketches = torch.randn(8, 3, 4, 4), torch.randn(8, 1, 4, 4)
    pairs = TensorDataset(photos, sketches)
    with refused("joint_transform"):
        data.TensorLoader(pairs, batch_size=4, transform=augment.RandomHorizontalFlip())
    joint = augment.Joint(augment.RandomHorizontalFlip())
    loader = data.TensorLoader(pairs, batch_size=8, shuffle=False, joint_transform=joint)
    photo, sketch = next(iter(loader))
    flipped = [torch.equal(one, other.flip(-1)) for one, other in zip(photo, photos, strict=True)]
    assert flipped == [torch.equal(one, other.flip(-1)) for one, other in zip(sketch, sketches, strict=True)]
    assert 0 < sum(flipped) < 8


@case(10)
def _a_wrapper_that_hides_the_position_of_its_loader(folder: Path) -> None:
    class Doubled:
        def __init__(self, loader: Any) -> None:
            self.loader = loader

        def __len__(self) -> int:
            return len(self.loader)

        def __iter__(self) -> Iterator[Tensor]:
            return (2 * batch.sample for batch in self.loader)

    loader = data.TensorLoader(TensorDataset(torch.randn(32, 2)), batch_size=8)
    with warned("map_loader"):
        training.fit(gan(), Doubled(loader), iterations=2, callbacks=[training.Checkpoint(folder)])
    mapped = data.map_loader(loader, lambda batch: 2 * batch.sample)
    training.fit(gan(), mapped, iterations=2, callbacks=[training.Checkpoint(folder / "mapped")])


class Table(nn.Module):
    """A generator of rows with a number and a class, as CTGAN's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, latent: Tensor) -> Tensor:
        """Rows (N, 4)."""
        y = self.layer(latent)
        return torch.cat([y[:, 1:].softmax(1), y[:, :1].tanh()], 1)


@case(10)
def _columns_with_different_activations_are_right(_: Path) -> None:
    rows = torch.cat([nn.functional.one_hot(torch.arange(8) % 3).float(), torch.linspace(-1, 1, 8)[:, None]], 1)
    for _ in range(3):
        gan(Table(), nn.Linear(4, 1)).train_step(rows)


@case(10)
def _bright_samples_from_minus_1_to_1_are_right(_: Path) -> None:
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    bright = torch.randint(140, 256, (64, 1, 4, 4), dtype=torch.uint8)
    for batches in (data.TensorLoader(bright, batch_size=8), [0.1 + 0.8 * torch.rand(4, 1, 4, 4)]):
        training.fit(gan(images(nn.Tanh()), discriminator), batches, iterations=2)


@case(10)
def _samples_outside_what_a_clamp_or_a_relu_gives(_: Path) -> None:
    scaled = 2 * torch.rand(8, 1, 4, 4) - 1
    for activation, samples, words in (
        (nn.Hardtanh(), 127 * (scaled + 1), ("hardtanh", "[-1, 1]")),
        (nn.Hardtanh(), scaled.abs(), ("ToTensor", "hardtanh")),
        (nn.ReLU(), scaled, ("relu", "[0, inf]")),
        (nn.Softplus(), scaled, ("softplus", "[0, inf]")),
        (nn.ReLU6(), scaled, ("relu6", "[0, 6]")),
    ):
        trainer = gan(images(activation), nn.Sequential(nn.Flatten(), nn.Linear(16, 1)))
        with warned(*words):
            for _ in range(3):
                trainer.train_step(samples)


@case(10)
def _a_discriminator_without_negative_logits(_: Path) -> None:
    for loss in (losses.NonSaturatingLoss(), losses.HingeLoss(), losses.RelativisticLoss()):
        trainer = gan(discriminator=nn.Sequential(nn.Linear(2, 1), nn.ReLU()), loss=loss)
        with warned("relu", "logits"):
            for _ in range(3):
                trainer.train_step(torch.randn(8, 2))
    gan(discriminator=nn.Sequential(nn.Linear(2, 1), nn.ReLU()), loss=losses.WassersteinLoss()).train_step(
        torch.randn(8, 2)
    )


@case(10)
def _a_loss_that_a_good_discriminator_used_before(_: Path) -> None:
    loss = losses.NonSaturatingLoss()
    good = gan(loss=loss)
    for _ in range(20):
        good.train_step(torch.randn(8, 2))
    bad = gan(discriminator=nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), loss=loss)
    with warned("sigmoid", "logits"):
        for _ in range(20):
            bad.train_step(torch.randn(8, 2))


@case(10)
def _an_adaptive_augmentation_that_never_adapts(_: Path) -> None:
    batch, layers = 2 * torch.rand(2, 1, 4, 4) - 1, (nn.Flatten(), nn.Linear(16, 1))
    inside = gan(images(nn.Tanh()), nn.Sequential(augment.AdaptiveAugment("flip"), *layers))
    with warned("AdaptiveAugment", "observe"):
        for _ in range(150):
            inside.train_step(batch)
    evaluated = gan(images(nn.Tanh()), nn.Sequential(*layers), augment=augment.AdaptiveAugment("flip").eval())
    with warned("AdaptiveAugment", "evaluation mode"):
        for _ in range(3):
            evaluated.train_step(batch)


@case(10)
def _callbacks_of_another_optimizer_or_network(_: Path) -> None:
    trainer = gan()
    other = torch.optim.Adam(trainer.generator.parameters())
    for callback, words in (
        (training.LearningRateSchedule(other, training.linear_decay()), ("LearningRateSchedule", "no effect")),
        (training.BetasSchedule(other, beta2=training.cosine_ramp(0.9, 0.99)), ("BetasSchedule", "no effect")),
        (training.EMA(copy.deepcopy(trainer.generator)), ("EMA", "copy")),
        (
            training.LearningRateSchedule(trainer.generator_optimizer, lambda p: 2e-4 * (1 - p)),
            ("factor", "divide"),
        ),
    ):
        with warned(*words):
            training.fit(trainer, [torch.randn(8, 2)], iterations=trainer.iteration + 2, callbacks=[callback])


@case(10)
def _an_average_that_was_never_updated(folder: Path) -> None:
    trainer = gan()
    ema = training.EMA(trainer.generator)
    real, distance = [torch.randn(99, 2)], metrics.FrechetDistance(nn.Identity())
    evaluate = training.Evaluate(distance, partial(models.sample, ema.module, latents.Gaussian(4)), real=real, n=99)
    draw = lambda sample: Image.new("L", (4, 4), int(sample[0] > 0))  # noqa: E731
    grid = viz.SampleGrid(ema.module, folder, latent=torch.randn(4, 4), render=draw)
    for callback in (evaluate, grid):
        with warned("never updated", "callbacks"):
            training.fit(trainer, [torch.randn(8, 2)], iterations=trainer.iteration + 4, callbacks=[callback])
    for average in (ema, ema.module):
        with warned("never updated", "callbacks"):
            models.save_generator(folder / "generator.safetensors", average)


class Outputs(nn.Module):
    """A critic whose output a function makes from a logit and three class logits."""

    def __init__(self, combine: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4)
        self.combine = combine

    def forward(self, x: Tensor) -> Any:
        """Return what the function makes."""
        return self.combine(*self.layer(x).split([1, 3], dim=1))


def trains(trainer: Any, batch: Any = None) -> None:
    """Three iterations."""
    for _ in range(3):
        trainer.train_step(torch.randn(8, 2) if batch is None else batch)


@case(10)
def _a_tuple_of_logits_and_class_logits(_: Path) -> None:
    with warned("(8, 1), (8, 3)", "DiscriminatorOutput(logits, class_logits="):
        trains(gan(discriminator=Outputs(lambda logit, classes: (logit, classes))))
    trains(gan(discriminator=Outputs(lambda logit, classes: (logit, logit.view(-1, 1, 1, 1)))))


@case(10)
def _a_critic_that_averages_over_the_batch(_: Path) -> None:
    for options in ({}, {"penalties": [penalties.R1()]}, {"penalties": [penalties.R1()], "reuse_logits": True}):
        with warned("averages over the batch", "(N, 1)"):
            trains(gan(discriminator=Outputs(lambda logit, _: logit.mean(0).view(1)), **options))
    critic, penalty = nn.Linear(2, 1), penalties.GradientPenalty()
    with warned("averages over the batch", "GradientPenalty"):
        for _ in range(3):
            penalty(lambda x: critic(x).mean(), torch.randn(8, 2), torch.randn(8, 2))


@case(10)
def _a_first_layer_that_changes_the_batch_in_place(_: Path) -> None:
    def critic() -> nn.Module:
        return nn.Sequential(nn.LeakyReLU(0.2, inplace=True), nn.Linear(2, 1))

    with warned("discriminator", "in place"):
        trains(gan(discriminator=critic()))
    with warned("augment", "in place"):
        trains(gan(augment=lambda x: x.mul_(2)))
    for options in (
        {"penalties": [penalties.GradientPenalty()]},
        {"penalties": [penalties.R1()], "reuse_logits": True},
    ):
        with warned("in place"), refused("inplace=False"):
            trains(gan(discriminator=critic(), **options))


@case(10)
def _batch_norm_over_real_and_fake_samples_together(_: Path) -> None:
    critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with warned("joint_pass", "BatchNorm1d"):
        trains(gan(discriminator=critic, joint_pass=True))
    critic[1].eval()
    trains(gan(discriminator=critic, joint_pass=True))


@case(10)
def _a_classifier_that_nothing_trains(_: Path) -> None:
    batch = torch.randn(8, 2), torch.arange(8) % 3
    for auxiliary_losses in ([], [losses.AuxiliaryClassifier()]):
        trainer = gan(
            conditioning.Unconditional(nn.Linear(4, 2)),
            conditioning.AuxiliaryClassifierHead(nn.Linear(2, 8), 8, num_classes=3),
            auxiliary_losses=auxiliary_losses,
        )
        if auxiliary_losses:
            trains(trainer, batch)
        else:
            with warned("class_logits", "AuxiliaryClassifier"):
                trains(trainer, batch)


@case(10)
def _the_same_penalty_twice(_: Path) -> None:
    penalty, auxiliary = penalties.R1(), penalties.LeCam()
    with refused("penalties", "twice"):
        gan(penalties=[penalty, penalty])
    with refused("auxiliary_losses", "twice"):
        gan(auxiliary_losses=[auxiliary, auxiliary])
    with refused("penalties", "auxiliary_losses", "twice"):
        gan(auxiliary_losses=[auxiliary], penalties=[auxiliary])


@case(10)
def _batch_norm_in_a_second_critic_of_one_penalty(_: Path) -> None:
    penalty = penalties.GradientPenalty()
    trains(gan(penalties=[penalty]))
    critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with warned("batch norm"):
        trains(gan(discriminator=critic, penalties=[penalty]))


class OwnNoise:
    """Adds noise of its own generator."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def __call__(self, batch: Any) -> Tensor:
        """Add it."""
        return batch.sample + torch.randn(len(batch.sample), 1, generator=self.generator)


@case(10)
def _a_mapped_loader_whose_function_has_a_state(folder: Path) -> None:
    def batches(function: Any) -> Any:
        samples = torch.arange(32.0).view(16, 2)
        return data.map_loader(data.TensorLoader(TensorDataset(samples), batch_size=8), function)

    def weights(iterations: int, name: str, resume: bool = False) -> Tensor:
        torch.manual_seed(0)
        trainer = gan()
        training.fit(
            trainer,
            batches(OwnNoise()),
            iterations=iterations,
            callbacks=[training.Checkpoint(folder / name)],
            resume=resume,
        )
        return nn.utils.parameters_to_vector(trainer.discriminator.parameters())

    whole = weights(6, "whole")
    weights(3, "parts")
    assert weights(6, "parts", resume=True).equal(whole)
    more = iter(data.TensorLoader(TensorDataset(torch.randn(32, 2)), batch_size=8))
    with warned("map_loader", "position"):
        training.fit(
            gan(),
            batches(lambda batch: batch.sample + next(more).sample),
            iterations=1,
            callbacks=[training.Checkpoint(folder / "iterator")],
        )


@case(10)
def _samples_outside_what_a_scaled_tanh_gives(_: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (torch.tanh(x) + 1) / 2

    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with warned("scaled tanh", "[0, 1]"):
        gan(images(Scaled()), discriminator).train_step(2 * torch.rand(8, 1, 4, 4) - 1)
    gan(images(Scaled()), discriminator).train_step(torch.rand(8, 1, 4, 4))


@case(10)
def _colors_of_samples_from_0_to_1(_: Path) -> None:
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    trainer = gan(images(nn.Sigmoid()), discriminator, augment=augment.AdaptiveAugment())
    with warned("augment", "colors", "[-1, 1]", "[0, 1]"):
        for _ in range(3):
            trainer.train_step(torch.rand(8, 1, 4, 4))
    blit = augment.AdaptiveAugment("blit")
    gan(images(nn.Sigmoid()), discriminator, augment=blit).train_step(torch.rand(8, 1, 4, 4))


@case(10)
def _an_animation_without_images(folder: Path) -> None:
    def run(*before: Any) -> None:
        gif = viz.TrainingGif(folder / "x.gif", folder / "samples")
        training.fit(gan(), [torch.randn(8, 2)], iterations=1, callbacks=[*before, gif])

    with warned("SampleGrid", "TrainingGif", str(folder / "samples")):
        run()

    class Own:
        def on_start(self, run: Any) -> None:
            """Draw the images in another way."""

    run(Own())


@case(10)
def _samples_without_a_gradient(_: Path) -> None:
    class Last(nn.Module):
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Tensor:
            return self.function(x)

    def train(function: Callable[[Tensor], Tensor]) -> None:
        trainer = gan(nn.Sequential(nn.Linear(4, 2), Last(function)))
        for _ in range(2):
            trainer.train_step(torch.randn(8, 2).round())

    for flat in (torch.round, torch.sign, lambda x: (255 * x).floor() / 255):
        with warned("generator learns nothing", "detach"):
            train(flat)
    for right in (lambda x: x + (x.round() - x).detach(), lambda x: x - x.floor(), lambda x: x * x.sign()):
        train(right)


@case(10)
def _layers_in_a_plain_list(_: Path) -> None:
    class Listing(nn.Module):
        def __init__(self, layers: Any) -> None:
            super().__init__()
            self.first, self.layers = nn.Linear(4, 4), layers

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers.values() if isinstance(self.layers, dict) else self.layers:
                x = layer(self.first(x))
            return x

    for layers, word in (
        ([nn.Linear(4, 2)], "nn.ModuleList"),
        ((nn.Linear(4, 2),), "nn.ModuleList"),
        ({"last": nn.Linear(4, 2)}, "nn.ModuleDict"),
    ):
        trainer = gan(Listing(layers))
        with warned("generator", "layers", word):
            for _ in range(2):
                trainer.train_step(torch.randn(8, 2))
    gan(Listing((nn.Linear(4, 2).requires_grad_(False),))).train_step(torch.randn(8, 2))


@case(10)
def _an_optimizer_that_misses_parameters(_: Path) -> None:
    generator, discriminator = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), nn.Linear(2, 1)
    for frozen in (False, True):
        trainer = training.AdversarialTrainer(
            generator,
            discriminator,
            torch.optim.Adam(generator[0].parameters()),
            torch.optim.Adam(discriminator.parameters()),
            loss=losses.HingeLoss(),
            latent=latents.Gaussian(4),
        )
        if frozen:
            generator[1].requires_grad_(False)
            trainer.train_step(torch.randn(8, 2))
        else:
            with warned("generator", "2 parameters", "1.weight", "requires_grad_(False)"):
                for _ in range(2):
                    trainer.train_step(torch.randn(8, 2))


@case(10)
def _transforms_that_clamp_samples(_: Path) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    jitter, samples = v2.ColorJitter(0.5), 2 * torch.rand(8, 3, 4, 4) - 1
    networks = partial(nn.Sequential, nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)), nn.Tanh()), nn.Flatten()

    def train(function: Any) -> None:
        discriminator = nn.Sequential(networks[1], nn.Linear(48, 1))
        trainer = gan(networks[0](), discriminator, augment=function)
        for _ in range(2):
            trainer.train_step(samples)

    with warned("augment", "ColorJitter", "[0, 1]"):
        train(jitter)
    with warned("augment", "ColorJitter"):
        penalties.Consistency(jitter)(lambda x: x.flatten(1).sum(1), samples, samples)
    mapped = data.map_loader(data.TensorLoader(TensorDataset(samples), batch_size=2), jitter)
    with warned("function", "ColorJitter"):
        assert len([*mapped]) == 4
    train(lambda x: 2 * jitter((x + 1) / 2) - 1)
    train(v2.RandomHorizontalFlip())

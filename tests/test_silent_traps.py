"""Every case of the ten kinds of silent faults that users of GAN libraries reported, by kind.

Each case trains on exactly what it was given, or ends in an error of ganlib's before training, or is warned of once.
The contracts over all readers, metrics, savers, initializers and loaders are next to the tests of each.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ganlib import augment, conditioning, data, init, latents, losses, metrics, models, penalties, stacks, training
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

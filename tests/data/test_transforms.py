"""Transforms of a TensorLoader: whole batches, single samples as torchvision's, and samples with their maps."""

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchvision import transforms as v1
from torchvision.transforms import v2

from ganlib import augment, distributed
from ganlib.data import TensorLoader
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError

BYTES = torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SCALED = BYTES / 127.5 - 1
NORMALIZE = v2.Normalize([0.5] * 3, [0.5] * 3)
FLOAT = v2.ToDtype(torch.float32, scale=True)


def loader(transform: Any = None, samples: Tensor = BYTES, **options: Any) -> TensorLoader:
    """A loader of the samples, in their order."""
    given = {"batch_size": 6, "shuffle": False, "transform": transform} | options
    return TensorLoader(TensorDataset(samples), **given)


def given(batches: TensorLoader) -> Tensor:
    """The samples of an epoch."""
    return torch.cat([batch.sample for batch in batches])


def noisy(sample: Tensor) -> Tensor:
    """A sample with noise of torch's, Python's and NumPy's global generators."""
    return sample.float() / 255 + torch.rand(sample.shape) + random.random() + float(np.random.rand())


class Flip(v2.Transform):
    """A user's own transform, by torchvision's guide."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Mirror."""
        return inpt.flip(-1)


class Mirror(nn.Module):
    """A user's own module of one argument."""

    def forward(self, sample: Tensor) -> Tensor:
        """Mirror."""
        return sample.flip(-1)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (v2.RandomHorizontalFlip(p=1.0), SCALED.flip(-1)),
        (v1.RandomHorizontalFlip(p=1.0), SCALED.flip(-1)),
        (v2.functional.horizontal_flip, SCALED.flip(-1)),
        (Flip(), SCALED.flip(-1)),
        (Mirror(), SCALED.flip(-1)),
        (nn.Sequential(Mirror(), Mirror()), SCALED),
        (lambda sample: sample.flip(-1), SCALED.flip(-1)),
        (lambda sample, copies=1: sample, SCALED),
        (torch.clone, SCALED),
        (v2.ToImage(), SCALED),
        (v2.Compose([FLOAT, NORMALIZE]), SCALED),
        (v1.Compose([v1.ConvertImageDtype(torch.float32), NORMALIZE]), SCALED),
        (FLOAT, BYTES / 255),
        (v2.Resize(16), None),
        (v1.Compose([v1.ToPILImage(), v1.ToTensor()]), BYTES / 255),
        (lambda samples, generator: samples.flip(-1), SCALED.flip(-1)),
        (lambda samples, generator=None: samples.flip(0), None),
        (augment.RandomHorizontalFlip(p=1.0), SCALED.flip(-1)),
    ],
)
def test_a_transform_does_what_it_says(transform: Callable[..., Any], expected: Tensor | None) -> None:
    """One argument or two, of torchvision or not: what is uint8 afterwards is scaled, what is float is not."""
    made = given(loader(transform))
    if expected is not None:
        torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)
    assert type(made) is Tensor


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(),
        v2.RandomCrop(8, padding=2),
        v2.RandomAffine(20, translate=(0.1, 0.1)),
        v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
        v2.RandomErasing(p=1.0),
        v2.RandomResizedCrop(8),
        v2.RandAugment(),
        v2.Compose([v2.RandomHorizontalFlip(), FLOAT, NORMALIZE]),
        noisy,
        augment.RandomRotation(20),
    ],
)
def test_random_transforms_are_drawn_for_each_sample_and_resume_exactly(transform: Callable[..., Any]) -> None:
    """Copies of one image differ, also between epochs; a resumed loader makes the same; no random state moves."""
    image = BYTES[:1].expand(24, -1, -1, -1)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    batches = loader(transform, image)
    first, second = given(batches), given(batches)
    assert len(first.unique(dim=0)) > 1
    assert not torch.equal(first, second)
    again = loader(transform, image)
    again.load_state_dict({**again.state_dict(), "position": 2})
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    torch.rand(1), random.random(), np.random.rand()
    assert torch.equal(given(again), first[12:])
    assert torch.equal(given(again), second)


def test_each_rank_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranks that are given the same image, the second one makes others of it."""
    image = BYTES[:1].expand(24, -1, -1, -1)
    made = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        made.append(given(loader(noisy, image)))
    assert not torch.isclose(*made).any()


@pytest.mark.parametrize("samples", [BYTES, SCALED], ids=["bytes", "floats"])
@pytest.mark.parametrize("storage", ["device", "host"])
@pytest.mark.parametrize("transform", [lambda sample: sample.zero_(), lambda samples, generator: samples.zero_()])
def test_a_transform_in_place_leaves_the_data_set(transform: Any, storage: Any, samples: Tensor) -> None:
    """What is stored, and the user's tensor, stay as they are."""
    mine = samples.clone()
    batches = loader(transform, mine, storage=storage)
    list(batches)
    assert torch.equal(batches.samples, samples)
    assert torch.equal(mine, samples)


def test_the_dry_run_leaves_no_trace_in_a_module() -> None:
    """A transform with buffers is as it was when the loader has been made."""

    class Batched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3, affine=False)

        def forward(self, samples: Tensor, generator: torch.Generator) -> Tensor:
            return self.norm(samples)  # type: ignore[no-any-return]

    transform = Batched()
    loader(transform, SCALED)
    assert transform.norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("transform", "error", "words"),
    [
        (lambda one, two, three: one, ArgumentTypeError, "missing 2 required"),
        (lambda: None, ArgumentTypeError, "takes 0 positional"),
        (lambda sample: sample.numpy(), ArgumentTypeError, "returned a ndarray"),
        (lambda samples, generator: (samples, None), ArgumentTypeError, "returned a tuple"),
        (lambda samples, generator: samples[1:], ShapeError, r"made \(5, 3, 8, 8\) of 6 samples"),
        (lambda samples, generator: samples.mean(), ShapeError, r"made \(\) of 6 samples"),
        (lambda samples, generator: samples > 0, DTypeError, "torch.bool"),
        (lambda samples, generator: samples.byte(), DTypeError, "torch.uint8"),
        (lambda samples, generator: samples / 0, ArgumentValueError, "not finite"),
        (lambda samples, generator: 1 // 0, ArgumentValueError, "ZeroDivisionError"),
        (lambda sample: sample * 1.0, ArgumentValueError, "floats are not scaled"),
        (v2.ToDtype(torch.float32), ArgumentValueError, "floats are not scaled"),
        (v2.RandomResize(4, 12), ShapeError, "one shape"),
        (v2.ToPILImage(), ArgumentTypeError, "returned a Image"),
        (v1.ToTensor(), ArgumentTypeError, "leave ToTensor out"),
        (v2.Compose([v1.ToTensor(), NORMALIZE]), ArgumentTypeError, "ToDtype"),
        (NORMALIZE, ArgumentTypeError, "ToDtype"),
        (v2.RandomCrop(100), ArgumentValueError, r"larger than .*[^.]; it is given tensors \(C, H, W\) of torch.uint8"),
        ([v2.RandomHorizontalFlip()], ArgumentTypeError, r"v2\.Compose of them, or one function"),
        (v2.FiveCrop(4), ArgumentTypeError, "returned a tuple"),
        (v2.Compose([FLOAT, NORMALIZE, v2.ColorJitter(0.5)]), ArgumentValueError, "ColorJitter, which clamps"),
        (nn.Sequential(augment.RandomHorizontalFlip()), ArgumentTypeError, "holds a RandomHorizontalFlip of ganlib"),
        (v2.Compose([v2.Identity(), augment.RandomHorizontalFlip()]), ArgumentTypeError, "which takes a batch"),
        (augment.Joint(augment.RandomHorizontalFlip()), ArgumentTypeError, "Joint is a joint_transform"),
        (v2.RandomHorizontalFlip, ArgumentTypeError, "not a class"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_loader_is_made(transform: Any, error: Any, words: str) -> None:
    """Before any batch, and without moving a random state, it is an error of ours."""
    before = torch.get_rng_state()
    with pytest.raises(error, match=words) as caught:
        loader(transform)
    assert isinstance(caught.value, GanlibError)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["ColorJitter", "RandAugment", "AugMix", "TrivialAugmentWide", "AutoAugment"])
def test_colors_of_floats_outside_0_to_1_are_refused(name: str) -> None:
    """torchvision would clamp samples in [-1, 1] to [0, 1]; bytes, and floats in [0, 1], it takes right."""
    jitter = v2.ColorJitter(0.5) if name == "ColorJitter" else getattr(v2, name)()
    with pytest.raises(ArgumentValueError, match=f"{name}, which clamps"):
        loader(jitter, SCALED)
    for samples in (BYTES, BYTES / 255):
        loader(jitter, samples)


def test_a_shape_that_changes_later_is_an_error_of_ours() -> None:
    """A transform that makes another shape of a sample that the dry run has not seen is named too."""
    samples = torch.zeros(24, 1, 4, 4)
    samples[20] = 1.0
    batches = loader(lambda sample: sample[:, :2] if sample.any() else sample, samples)
    with pytest.raises(ShapeError, match="one shape"):
        list(batches)


MAPS = torch.randn(24, 1, 8, 8)


@pytest.mark.parametrize("transform", [augment.RandomHorizontalFlip(), v2.RandomHorizontalFlip(), lambda x: x])
@pytest.mark.parametrize("maps", [MAPS, MAPS[:, 0], torch.randn(24, 2, 4, 4)], ids=lambda maps: str(tuple(maps.shape)))
def test_a_transform_of_samples_with_maps_is_refused(transform: Any, maps: Tensor) -> None:
    """The maps would not be changed with the samples; the error offers a joint transform."""
    with pytest.raises(ArgumentValueError, match=r"joint_transform.*augment\.Joint"):
        TensorLoader(TensorDataset(BYTES, maps), 6, transform=transform)


@pytest.mark.parametrize("conditions", [torch.arange(24), torch.rand(24, 5), torch.rand(24, 7, 5)])
def test_a_transform_of_samples_with_other_conditions_is_fine(conditions: Tensor) -> None:
    """Labels, vectors and sequences do not move with an image."""
    batches = TensorLoader(TensorDataset(BYTES, conditions), 24, shuffle=False, transform=v2.RandomHorizontalFlip(1.0))
    (batch,) = batches
    assert torch.equal(batch.condition, conditions)
    torch.testing.assert_close(batch.sample, SCALED.flip(-1))


@pytest.mark.parametrize(
    "joint",
    [augment.Joint(augment.RandomHorizontalFlip()), v2.RandomHorizontalFlip(), v2.Compose([v2.RandomVerticalFlip()])],
)
def test_a_joint_transform_moves_maps_as_their_samples(joint: Any) -> None:
    """Maps that are the samples' own first channel still are it; some samples are flipped, and some not."""
    batches = TensorLoader(TensorDataset(BYTES, SCALED[:, :1]), 24, shuffle=False, joint_transform=joint)
    (batch,) = batches
    torch.testing.assert_close(batch.condition, batch.sample[:, :1])
    kept = torch.isclose(batch.sample, SCALED, atol=1e-6).flatten(1).all(1)
    assert 0 < kept.sum() < 24


def test_torchvision_as_a_joint_transform_keeps_the_values_of_maps() -> None:
    """Colors of the image change, those of the map do not, and labels pass through."""
    joint = v2.Compose([v2.ColorJitter(0.9), v2.RandomCrop(8, padding=4)])
    binary = (MAPS > 0).float()
    (batch,) = TensorLoader(TensorDataset(BYTES, binary), 24, shuffle=False, joint_transform=joint)
    assert set(batch.condition.unique().tolist()) == {0.0, 1.0}
    (batch,) = TensorLoader(TensorDataset(BYTES, torch.arange(24)), 24, shuffle=False, joint_transform=joint)
    assert torch.equal(batch.condition, torch.arange(24))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"joint_transform": v1.RandomHorizontalFlip()}, ArgumentTypeError, "torchvision.transforms.v2"),
        ({"joint_transform": augment.RandomHorizontalFlip()}, ArgumentTypeError, r"put it into augment\.Joint"),
        ({"joint_transform": lambda samples, generator: samples}, ArgumentTypeError, "takes 2 positional"),
        ({"joint_transform": lambda s, c, g: s}, ArgumentTypeError, r"must return \(samples, condition\)"),
        ({"joint_transform": lambda s, c, g: (s, c[1:])}, ShapeError, "of 6 samples"),
        ({"joint_transform": lambda s, c, g: (s, c / 0)}, ArgumentValueError, "not finite"),
        (
            {"joint_transform": augment.Joint(augment.AdaptiveAugment("blit"))},
            ArgumentValueError,
            "to the trainer as aug",
        ),
        ({"transform": augment.AdaptiveAugment("blit")}, ArgumentValueError, "which a loader does not get"),
        (
            {"transform": nn.Sequential(augment.AdaptiveAugment())},
            ArgumentValueError,
            "^transform.*=None and a p",
        ),
        (
            {"joint_transform": lambda s, c, g: (s, c), "transform": lambda x: x},
            ArgumentValueError,
            "exclude each other",
        ),
    ],
)
def test_a_joint_transform_that_does_not_fit_is_refused(options: Any, error: Any, words: str) -> None:
    """It is an error of ours when the loader is made."""
    with pytest.raises(error, match=words) as caught:
        TensorLoader(TensorDataset(BYTES, MAPS), 6, **options)
    assert isinstance(caught.value, GanlibError)


def test_a_joint_transform_needs_conditions() -> None:
    """Without conditions it is an error that offers transform."""
    with pytest.raises(ArgumentValueError, match=re.escape("needs conditions")):
        loader(joint_transform=augment.Joint(augment.RandomHorizontalFlip()))


@pytest.mark.gpu
@pytest.mark.parametrize("storage", ["device", "host"])
@pytest.mark.parametrize(
    "transform", [v2.RandomAffine(20), lambda sample: sample.float() / 255 + torch.rand_like(sample.float())]
)
def test_single_samples_on_cuda(transform: Any, storage: Any) -> None:
    """There the device's random numbers are seeded and restored too, and a resumed loader makes the same."""
    before = torch.cuda.get_rng_state()
    batches = loader(transform, device="cuda", storage=storage)
    first = given(batches)
    again = loader(transform, device="cuda", storage=storage)
    again.load_state_dict({**again.state_dict(), "position": 2})
    assert torch.equal(torch.cuda.get_rng_state(), before)
    torch.rand(1, device="cuda")
    assert torch.equal(given(again), first[12:])
    assert first.device.type == "cuda"


@pytest.mark.gpu
def test_a_joint_transform_on_cuda() -> None:
    """ganlib's and torchvision's move samples and maps alike on the device."""
    for joint in (augment.Joint(augment.RandomRotation(30)), v2.RandomHorizontalFlip()):
        options: dict[str, Any] = {"shuffle": False, "device": "cuda", "joint_transform": joint}
        (batch,) = TensorLoader(TensorDataset(BYTES, SCALED[:, :1]), 24, **options)
        torch.testing.assert_close(batch.condition, batch.sample[:, :1])


@pytest.mark.parametrize(
    "transform", [lambda x: v2.functional.adjust_brightness(x, 1.5), lambda x: v2.ColorJitter(0.5)(x)]
)
def test_functions_that_clamp_floats_are_refused(transform: Any) -> None:
    """They are known by what they do to samples in [-1, 1]; in [0, 1], and of bytes, they are right."""
    with pytest.raises(ArgumentValueError, match=r"clamps floats to \[0, 1\]"):
        loader(transform, SCALED)
    for samples in (BYTES, BYTES / 255):
        loader(transform, samples)


@pytest.mark.parametrize(
    "transform",
    [lambda x: (x + 1) / 2, lambda x: (x > 0).float(), lambda x: x.abs().round(), v2.Pad(1), lambda x: x * 0],
)
def test_other_functions_whose_least_value_is_zero_are_not_refused(transform: Any) -> None:
    """Samples in [0, 1] or of two values are made of those in [-1, 1] on purpose."""
    loader(transform, SCALED)
    loader(transform, SCALED.sign())


def test_a_transform_that_fails_later_is_named() -> None:
    """Its error in the middle of an epoch is the cause of ours."""
    samples = torch.zeros(24, 1, 4, 4)
    samples[20] = 1.0
    batches = loader(lambda sample: sample + 1 // int(not sample.any()), samples)
    with pytest.raises(ArgumentValueError, match="transform .*ZeroDivisionError") as caught:
        list(batches)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "transform", [v2.PILToTensor(), v2.Compose([v2.PILToTensor(), FLOAT, NORMALIZE])], ids=["alone", "and scaled"]
)
def test_a_transform_that_leaves_tensors_as_they_are_is_no_mistake(transform: Any) -> None:
    """Of bytes, PILToTensor makes the same bytes."""
    torch.testing.assert_close(given(loader(transform)), SCALED)


@pytest.mark.parametrize(("shape", "other"), [((24, 1, 64), (24, 7, 16)), ((24, 5), (24, 5)), ((24, 2), (24, 7, 16))])
def test_sequences_of_another_length_are_no_maps(shape: Any, other: Any) -> None:
    """Embedded words do not move with a signal."""
    TensorLoader(TensorDataset(torch.randn(shape), torch.randn(other)), 6, transform=lambda samples, generator: samples)
    with pytest.raises(ArgumentValueError, match="joint_transform"):
        TensorLoader(TensorDataset(torch.randn(24, 1, 16), torch.randn(24, 7, 16)), 6, transform=lambda x, g: x)

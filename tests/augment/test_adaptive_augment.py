"""Tests of adaptive discriminator augmentation."""

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import distributed, latents, losses, penalties, training
from ganlib.augment import AdaptiveAugment
from ganlib.errors import GanlibError
from ganlib.protocols import DiscriminatorOutput
from tests.augment import dense
from tests.ranks import Ranks
from tests.training.graph_on_cpu import stand_in

F64 = torch.float64
BLIT = ("flip", "rotate90", "translate")
GEOMETRIC = ("scale", "rotate", "stretch", "shift")
COLOR = ("brightness", "contrast", "luma_flip", "hue", "saturation")


def seeded(seed: int = 0) -> torch.Generator:
    """A source of random numbers."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def given_numbers(numbers: list[float]) -> Iterator[None]:
    """Numbers in the place of random ones, each for all samples, in the order in which they are drawn."""
    rest = iter(numbers)

    def draw(shape: Any, *, dtype: torch.dtype, **_: Any) -> Tensor:
        return torch.full(shape, next(rest), dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", draw)
        patch.setattr(torch, "randn", draw)
        yield


# What is done to samples


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("flip", 1 / 2),
        ("rotate90", 3 / 4),
        ("translate", 1 - 1 / 16),  # the rest is rounded to no pixel, with 1/4 for each of the two directions
        *((name, 1.0) for name in GEOMETRIC),
        *((name, 1 / 2 if name == "luma_flip" else 1.0) for name in COLOR),
    ],
)
@pytest.mark.parametrize("p", [0.25, 1.0])
def test_each_transform_changes_its_share_of_the_samples(name: str, share: float, p: float) -> None:
    """Of 1,500 samples p times the share that it changes, within 4.5 standard deviations; others not at all."""
    samples = torch.randn(1500, 3, 16, 16, generator=seeded(1))
    made = AdaptiveAugment(name, p=p)(samples, seeded())
    changed = (made != samples).flatten(1).any(1)
    deviation = (1500 * p * share * (1 - p * share)) ** 0.5
    assert abs(changed.sum().item() - 1500 * p * share) <= 4.5 * deviation


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32), (9, 20)])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_p_of_0_changes_no_bit(shape: tuple[int, int], channels: int, dtype: torch.dtype) -> None:
    """With the whole policy, samples come back as they were, and their gradient with them."""
    samples = torch.randn(5, channels, *shape).to(dtype).requires_grad_()
    made = AdaptiveAugment(p=0.0)(samples)
    (gradient,) = torch.autograd.grad(made, samples, samples.detach())
    assert torch.equal(made, samples)
    assert torch.equal(gradient, samples)


@pytest.mark.parametrize(("policy", "p", "kinds"), [("blit", 1.0, 72), ("blit,geometric,color", 0.1, 10)])
def test_flips_turns_and_translations_are_exact(policy: str, p: float, kinds: int) -> None:
    """Where only pixels move, as often happens at a low p, the values are those of torch.flip, rot90 and reflection."""
    samples = torch.randn(1, 1, 12, 12, generator=seeded(1)).expand(1000, -1, -1, -1)
    made = AdaptiveAugment(policy, p=p)(samples, seeded())
    whole = torch.stack(
        [one for k in range(4) for flipped in (False, True) for one in _translations(samples[0], k, flipped)]
    )
    same = (made.unsqueeze(1) == whole).flatten(2).all(2)
    exact = same.any(1).double().mean().item()
    # On one channel, six other transforms change samples for sure, and the luma flip half of them.
    expected = 1.0 if policy == "blit" else 0.9**6 * 0.95
    assert abs(exact - expected) <= 4.5 * (expected * (1 - expected) / 1000) ** 0.5
    assert same.any(0).sum() >= kinds  # of 2 flips, 4 turns, and 9 translations


def _translations(image: Tensor, k: int, flipped: bool) -> list[Tensor]:
    """An image, turned and flipped, and then moved by up to 2 pixels, with reflection."""
    turned = (image.flip(2) if flipped else image).rot90(k, (1, 2))
    padded = torch.from_numpy(np.pad(turned.numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect"))
    return [padded[:, y : y + 12, x : x + 12] for y in range(5) for x in range(5)]


@pytest.mark.parametrize("policy", [*BLIT, *GEOMETRIC, *COLOR, "blit", "geometric", "color", "blit,geometric,color"])
@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_of_the_first_and_the_second_order(policy: str, channels: int) -> None:
    """Gradcheck and gradgradcheck in float64, the draws held fixed."""
    samples = torch.randn(2, channels, 4, 5, dtype=F64, requires_grad=True)
    augment = AdaptiveAugment(policy, p=0.8)
    assert torch.autograd.gradcheck(lambda x: augment(x, seeded(1)), samples, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, seeded(1)).pow(2), samples, fast_mode=True)


@pytest.mark.parametrize("policy", ["blit,geometric", "color", "blit,geometric,color"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20), (4, 9, 13)])
def test_it_is_affine_in_the_samples(policy: str, shape: tuple[int, int, int]) -> None:
    """For equal draws f(2 x - y) = 2 f(x) - f(y)."""
    x, y = torch.randn(2, 4, *shape, dtype=F64)
    augment = AdaptiveAugment(policy, p=0.7)
    torch.testing.assert_close(
        augment(2 * x - y, seeded(1)), 2 * augment(x, seeded(1)) - augment(y, seeded(1)), rtol=0, atol=1e-11
    )


def test_float32_is_float64_rounded() -> None:
    """Given the same random numbers, a float32 sample is moved as one of float64 is, to float error."""
    samples = torch.randn(16, 3, 28, 28, generator=seeded(1))
    augment = AdaptiveAugment(p=0.9)
    numbers = torch.rand(40, generator=seeded(2)).tolist()
    made = []
    for dtype in (torch.float32, F64):
        with given_numbers(numbers):
            made.append(augment(samples.to(dtype)).double())
    torch.testing.assert_close(*made, rtol=0, atol=5e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_precision_change_nothing(dtype: torch.dtype) -> None:
    """Half-precision samples are those of float32, rounded, also under autocast and after .half()."""
    samples = torch.randn(8, 3, 16, 16, generator=seeded(1)).to(dtype)
    augment = AdaptiveAugment(p=0.8)
    expected = augment(samples.float(), seeded())
    augment.half()
    assert {buffer.dtype for buffer in augment.buffers()} == {torch.float32}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment(samples, seeded()), expected.to(dtype))
        assert torch.equal(augment(samples.float(), seeded()), expected)


def test_each_sample_has_draws_of_its_own_and_the_generator_decides() -> None:
    """Copies of one image become different ones; the same generator state gives the same, and torch's is not used."""
    samples, before = torch.randn(1, 3, 16, 16).expand(64, -1, -1, -1), torch.get_rng_state()
    augment = AdaptiveAugment(p=1.0)
    first, second, third = (augment(samples, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert len(first.unique(dim=0)) == 64
    assert torch.equal(torch.get_rng_state(), before)


def test_one_sample_is_the_papers() -> None:
    """With given numbers, a sample that is scaled and stretched is that of the paper's procedure, pixel by pixel."""
    image = torch.randn(12, 10, dtype=F64)
    with given_numbers([0.0, 0.6, 0.0, -0.9]):  # for each: whether it is chosen, and how much
        made = AdaptiveAugment("scale,stretch", p=1.0)(image.expand(1, 1, 12, 10))[0, 0]
    scale, stretch = 2 ** (0.2 * 0.6), 2 ** (0.2 * -0.9)
    expected = dense.resampled(image.numpy(), np.diag([1 / scale / stretch, stretch / scale, 1.0]))
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=1e-10)


# How p moves


def logits_of(updates: int, n: int = 32, seed: int = 0) -> list[Tensor]:
    """Logits of real samples, first of a discriminator that knows nothing, then of one that is always right."""
    random = seeded(seed)
    return [torch.randn(n, 1, generator=random) + 4 * math.sin(update / 6) for update in range(updates)]


def by_a_plain_loop(batches: list[Any], *, p: float, target: float, images: float, every: int) -> list[float]:
    """The values of p after each update, as the official training loop computes them, and at most 1."""
    signs, seen, values = 0.0, 0, []
    for update, batch in enumerate(batches, start=1):
        signs += np.sign(batch.double().numpy()).mean() * len(batch)
        seen += len(batch)
        if update % every == 0:
            p = min(1.0, max(0.0, p + float(np.sign(signs / seen - target)) * seen / images))
            signs, seen = 0.0, 0
        values.append(p)
    return values


@pytest.mark.parametrize(("every", "images"), [(1, 9000.0), (4, 500), (7, 9000)])
@pytest.mark.parametrize(("target", "p"), [(0.0, 0.0), (0.6, 0.45), (0.6, 1.0), (1.0, 0.45)])
def test_p_follows_the_signs(every: int, target: float, p: float, images: float) -> None:
    """Over 100 updates with batches of two sizes, p is that of a plain loop, within [0, 1]."""
    batches = [logits[: 32 - 5 * (i % 2)] for i, logits in enumerate(logits_of(100))]
    augment = AdaptiveAugment("blit", p=p, target=target, images=images, every=every)
    actual = []
    for logits in batches:
        augment.observe(logits)
        actual.append(augment.p.item())
    expected = by_a_plain_loop(batches, p=p, target=target, images=images, every=every)
    assert actual == pytest.approx(expected, abs=1e-5)
    assert len(set(actual)) > 3 or target == 1.0


def test_known_numbers() -> None:
    """All signs positive: after 4 updates of 50 images p has grown by 200 / 1000; all negative: it falls again."""
    augment = AdaptiveAugment(images=1000)
    values = []
    for sign in (1.0,) * 8 + (-1.0,) * 12:
        augment.observe(torch.full((50, 1), sign))
        values.append(round(augment.p.item(), 6))
    assert values == [0.0] * 3 + [0.2] * 4 + [0.4] * 4 + [0.2] * 4 + [0.0] * 5


def test_a_mean_sign_on_the_target_changes_nothing() -> None:
    """With r_t = target, and with logits of exactly 0 and a target of 0, p stays."""
    augment = AdaptiveAugment(p=0.5, target=0.5, every=1, images=100)
    augment.observe(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    assert augment.p.item() == 0.5
    augment = AdaptiveAugment(p=0.5, target=0.0, every=1, images=100)
    augment.observe(torch.zeros(4, 1))
    assert augment.p.item() == 0.5
    augment.observe(torch.zeros(0, 1))  # of no images
    assert augment.p.item() == 0.5


def test_logits_of_any_kind_are_observed() -> None:
    """Patches, several scales (whose means are averaged), outputs with features, and half precision."""
    patches = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]]).expand(5, 1, 2, 2)  # a mean of 1/2
    for logits, mean in (
        (patches, 0.5),
        (patches.half(), 0.5),
        ((patches, torch.full((5, 1), -1.0)), -0.25),
        (DiscriminatorOutput(patches, features=(torch.ones(5, 2),)), 0.5),
        (DiscriminatorOutput((patches, torch.full((5, 1), -1.0))), -0.25),
        (patches.clone().requires_grad_() * 2, 0.5),
    ):
        augment = AdaptiveAugment(every=2)
        augment.observe(logits)
        assert (augment.signs.item(), augment.seen.item()) == (5 * mean, 5)
        assert not augment.signs.requires_grad


def test_p_stays_without_a_target_and_in_evaluation() -> None:
    """No buffer changes; in training again p moves."""
    augment = AdaptiveAugment(p=0.25, target=None, every=1)
    other = AdaptiveAugment(p=0.25, every=1, images=100)
    other.observe(torch.zeros(1, 1))
    other.p.fill_(0.25)
    other.eval()  # after training, which is meant
    for one in (augment, other):
        before = copy.deepcopy(one.state_dict())
        one.observe(torch.ones(10, 1))
        torch.testing.assert_close(one.state_dict(), before, rtol=0, atol=0)
    other.train().observe(torch.ones(10, 1))
    assert other.p.item() == pytest.approx(0.35)


def test_a_state_goes_on_bit_for_bit() -> None:
    """Another one that is given the state in the middle of an interval has the same p from then on."""
    batches = logits_of(60)
    one, other = (AdaptiveAugment(images=700, p=p) for p in (0.2, 0.9))
    for logits in batches[:30]:
        one.observe(logits)
    assert one.updates.item() == 2
    other.load_state_dict(one.state_dict())
    for logits in batches[30:]:
        one.observe(logits)
        other.observe(logits)
        assert torch.equal(one.p, other.p)
    assert set(one.state_dict()) == {"p", "first_p", "signs", "seen", "updates"}


# What would never change p


def test_an_augmentation_that_nobody_tells_anything_is_warned_of() -> None:
    """Once, after many batches in training; not without a target, in evaluation, without gradients, or if observed."""
    one, images = AdaptiveAugment("flip"), torch.zeros(1, 1, 2, 2)
    others = AdaptiveAugment("flip", target=None), AdaptiveAugment("flip").eval(), AdaptiveAugment("flip")
    others[2].observe(torch.ones(1, 1))
    for _ in range(400):
        with torch.no_grad():
            one(images)
        for other in others:
            other(images)

    def augment_many() -> None:
        for _ in range(700):
            one(images)

    with pytest.warns(UserWarning, match=r"300 batches.*observe\(real_logits\)") as caught:
        augment_many()
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_an_augmentation_that_is_told_in_evaluation_mode_is_warned_of() -> None:
    """Once, where a trainer uses it."""
    trainer, augment = make_trainer(penalties=())
    augment.eval()
    with pytest.warns(UserWarning, match=r"AdaptiveAugment is in evaluation mode.*train\(\)") as caught:
        training.fit(trainer, images(), iterations=8)
    assert len(caught) == 1
    assert augment.p.item() == 0


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_fixed_p_that_is_changed_in_the_code_is_used(by_hand: bool) -> None:
    """With a warning that names both; the p of a schedule, or one that was set by hand, goes on."""
    saved = AdaptiveAugment("flip", p=0.2, target=None)
    if by_hand:
        saved.p.fill_(0.5)
    state = nn.Sequential(saved).state_dict()
    same, changed = (AdaptiveAugment("flip", p=p, target=None) for p in (0.2, 0.6))
    nn.Sequential(same).load_state_dict(state)
    assert torch.equal(same.p, saved.p)
    with contextlib.nullcontext() if by_hand else pytest.warns(UserWarning, match=r"p \(=0\.6\).*p \(=0\.2\)"):
        nn.Sequential(changed).load_state_dict(state)
    assert changed.p.item() == pytest.approx(0.5 if by_hand else 0.6)
    assert state["0.first_p"].item() == pytest.approx(0.2)  # what was loaded is as it was
    adaptive = AdaptiveAugment("flip", p=0.6)
    nn.Sequential(adaptive).load_state_dict(state)
    assert torch.equal(adaptive.p, saved.p)


@pytest.mark.parametrize("target", [None, 0.6])
def test_a_state_of_an_earlier_version_is_loaded(target: float | None) -> None:
    """It holds no first value of p, so its p is used."""
    state = AdaptiveAugment("flip", p=0.2, target=target).state_dict()
    del state["first_p"]
    augment = AdaptiveAugment("flip", p=0.6, target=target)
    augment.load_state_dict(state)
    assert augment.p.item() == pytest.approx(0.2)


def test_a_schedule_writes_p_also_after_a_move() -> None:
    """The tensor that a schedule holds is the one that is used, though the module was converted in between."""
    augment = AdaptiveAugment("flip", target=None)
    schedule = training.Schedule(augment.p, lambda progress: progress)
    augment.double().to("cpu").half()

    class Run:
        progress = 1.0

    schedule.on_iteration(Run())  # type: ignore[arg-type]
    assert augment.p.item() == 1.0
    images = torch.randn(200, 1, 8, 8)
    assert (augment(images) != images).flatten(1).any(1).double().mean() > 0.3


# Over several processes


def observed(kind: str) -> list[Tensor]:
    """This process's p after each of 40 updates with its part of the logits; the halves have different signs."""
    augment = AdaptiveAugment("blit", p=0.3, images=1500)
    values = []
    for i, logits in enumerate(logits_of(40, n=64)):
        drift = logits + torch.linspace(-3, 3, 64).view(-1, 1)
        parts = drift.split([40, 24]) if kind == "uneven" and i % 2 else drift.split([32, 32])
        augment.observe(drift if distributed.world_size() == 1 else parts[distributed.rank()])
        values.append(augment.p.clone())
    return values


@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_all_processes_have_the_p_of_one(kind: str, two_ranks: Ranks) -> None:
    """Two processes with a part of the batch each have, after each update, the p of one with the whole batch."""
    expected = observed(kind)
    first, second = two_ranks(observed, kind)
    assert first == second
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)
    assert len({value.item() for value in expected}) > 4


# In training


def make_trainer(**options: Any) -> tuple[training.AdversarialTrainer, AdaptiveAugment]:
    """A trainer of small networks on images of 8 x 8, whose p moves by 1/8 every second update."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    augment = AdaptiveAugment(images=128, every=2, target=0.1)
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=1e-2),
        torch.optim.SGD(discriminator.parameters(), lr=3e-2, momentum=0.9),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(4),
        **({"penalties": [penalties.R1(0.1, every=2)], "augment": augment} | options),
    )
    return trainer, augment


def images() -> list[Tensor]:
    """Four batches of real images, bright in a corner."""
    return [*(2 * torch.rand(4, 8, 1, 8, 8, generator=seeded(3)) * torch.linspace(0, 1, 8) - 1).unbind()]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Stopped after 13 iterations, within an interval, and resumed from its checkpoint: all is equal to the bit."""
    final = []
    for name, stops in (("whole", [24]), ("stopped", [13, 24])):
        for number, stop in enumerate(stops):
            trainer, augment = make_trainer()
            torch.manual_seed(5)
            training.fit(
                trainer,
                images(),
                iterations=stop,
                callbacks=[training.Checkpoint(tmp_path / name, every=100)],
                resume=number > 0,
            )
        final.append((trainer.state_dict(), augment.p.item(), torch.rand(3)))
    (state, p, numbers), (other_state, other_p, other_numbers) = final
    torch.testing.assert_close(other_state["modules"], state["modules"], rtol=0, atol=0)
    assert p == other_p > 0
    assert torch.equal(numbers, other_numbers)


def test_a_recorded_training_is_the_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded once, a step still moves p, and uses it: weights and p are those without a graph, to rounding."""
    finals = []
    for cuda_graph in (False, True):
        recorder = stand_in(monkeypatch)
        trainer, augment = make_trainer(cuda_graph=cuda_graph, penalties=())
        torch.manual_seed(5)
        for batch in images() * 5:
            trainer.train_step(batch)
        finals.append(trainer.state_dict()["modules"])
        assert augment.p.item() > 0
        assert recorder.recorded == (1 if cuda_graph else 0)
    torch.testing.assert_close(finals[1], finals[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_fixed_p_at_a_resume(scheduled: bool, tmp_path: Path) -> None:
    """A changed one is used, with one warning that names both; a schedule goes on without a word."""

    def run(p: float, iterations: int, **options: Any) -> AdaptiveAugment:
        augment = AdaptiveAugment("color", p=p, target=None)
        trainer, _ = make_trainer(augment=augment)
        schedules = [training.Schedule(augment.p, lambda progress: 0.5 + progress / 10)] if scheduled else []
        callbacks = [*schedules, training.Checkpoint(tmp_path)]
        training.fit(trainer, images(), iterations=iterations, callbacks=callbacks, **options)
        return augment

    run(0.2, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        augment = run(0.6, 8, resume=True)
    assert len(caught) == (0 if scheduled else 1)
    assert all("0.6" in str(one.message) and "0.2" in str(one.message) for one in caught)
    assert augment.p.item() == pytest.approx(0.6)
    run(0.6, 10, resume=True)  # the same as before


# Arguments


@pytest.mark.parametrize(
    ("policy", "transforms"),
    [
        ("blit,geometric,color", (*BLIT, *GEOMETRIC, *COLOR)),
        ("geometric", GEOMETRIC),
        (" hue , flip", ("flip", "hue")),
        (["colour", "flip", "hue"], ("flip", *COLOR)),
        (("shift", "scale"), ("scale", "shift")),
    ],
)
def test_a_policy_is_of_transforms_and_groups(policy: Any, transforms: tuple[str, ...]) -> None:
    """They are applied in one order, each once; the policy is kept as it was written, without blanks."""
    augment = AdaptiveAugment(policy)
    assert augment.transforms == transforms
    assert AdaptiveAugment(augment.policy).transforms == transforms
    samples = torch.randn(4, 3, 8, 8)
    again = AdaptiveAugment(transforms, p=0.7)
    assert torch.equal(AdaptiveAugment(policy, p=0.7)(samples, seeded()), again(samples, seeded()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": ""}, r"policy \(=''\) must contain only 'blit', 'geometric', 'color', 'flip'"),
        ({"policy": "blit,cutout"}, r"policy \(='blit,cutout'\)"),
        ({"policy": []}, r"policy \(=\[\]\)"),
        ({"policy": 3}, r"policy \(=3\) must be a string or a sequence"),
        ({"p": 1.5}, r"p \(=1\.5\) must be in \[0, 1\]"),
        ({"p": torch.tensor(0.5)}, r"p \(=.*must be in \[0, 1\]"),
        ({"p": None}, r"p \(=None\)"),
        ({"target": -0.1}, r"target \(=-0\.1\) must be in \[0, 1\]"),
        ({"target": "0.6"}, r"target \(='0\.6'\)"),
        ({"images": 0}, r"images \(=0\) must be a finite number above 0"),
        ({"images": math.inf}, r"images \(=inf\)"),
        ({"every": 0}, r"every \(=0\) must be a whole number"),
        ({"every": 1.5}, r"every \(=1\.5\)"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    """Each is named and quoted in an error of ours."""
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        AdaptiveAugment(**options)
    assert isinstance(caught.value, GanlibError)


def test_what_are_no_logits_is_refused() -> None:
    """A list, or a number, is an error of ours, and counts nothing."""
    augment = AdaptiveAugment()
    for logits in ([torch.ones(3)], 1.0, ()):
        with pytest.raises(GanlibError, match="discriminator gave"):
            augment.observe(logits)  # type: ignore[arg-type]
    assert augment.updates.item() == 0


def test_its_repr_does_not_change_with_p() -> None:
    """It shows the arguments that stay, so that a resumed run compares them."""
    augment = AdaptiveAugment("blit, color", p=0.3, target=0.5, images=1000, every=2)
    assert repr(augment) == "AdaptiveAugment(policy='blit,color', target=0.5, images=1000, every=2)"
    assert "target=None, images=500000, every=4" in repr(AdaptiveAugment(target=None))

"""The original recipes do what the plain loops of ``benchmarks/reference_loops.py`` do, number for number."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import reference_loops as loops
from ganlib import latents
from tests.examples.scripts import load_script

ITERATIONS, BATCH = 20, 6


class Reference:
    """A run of the plain loop in float64: its first weights, what it drew, and its losses."""

    def __init__(self, system: str, batches: list[tuple[Tensor, Tensor]], patch: pytest.MonkeyPatch) -> None:
        self.networks = list[nn.Module]()  # generator and discriminator, as they were at first
        self.trained = list[nn.Module]()
        self.latents, self.labels, self.targets, self.losses = (list[Tensor]() for _ in range(4))
        initialise, bce = loops.initialise, loops.bce

        def noted_initialise(system: str, network: nn.Module, unit_gains: bool) -> None:
            initialise(system, network, unit_gains)
            self.networks.append(copy.deepcopy(network))
            self.trained.append(network)
            if len(self.networks) == 1:
                network.register_forward_pre_hook(self._note_inputs)

        def noted_bce(logits: Tensor, target: Tensor) -> Tensor:
            loss = bce(logits, target.to(logits.dtype))
            self.targets.append(target)
            self.losses.append(loss.detach())
            return loss

        patch.setattr(loops, "initialise", noted_initialise)
        patch.setattr(loops, "bce", noted_bce)
        patch.setattr(loops, "read", lambda *_: ())
        patch.setattr(loops, "batches", lambda *_: iter(batches))
        patch.setattr(loops, "draw", lambda *_: torch.zeros(2, 1))
        patch.setattr(torch.Tensor, "float", lambda self: self)  # the logits stay in float64
        patch.setattr("sys.argv", ["", system, "", "--iterations", str(len(batches)), "--divide", "8"])
        loops.main()

    def _note_inputs(self, network: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        latent, labels = inputs
        self.latents.append(latent)
        self.labels.append(labels)


@pytest.fixture
def float64() -> Iterator[None]:
    """Everything in float64, for as long as the test runs."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def parsed(name: str, *words: str) -> tuple[dict[str, Any], Any]:
    """The names of a script, and what its command line means to ``train``."""
    script, caught = load_script(name), []
    names = script["main"].__globals__
    train, names["train"] = names["train"], caught.append
    script["main"](["train", *words])
    names["train"] = train
    return script, caught[0]


def pairs(network: nn.Module, reference: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Parameters of both in order; the embedding stands at another position in the two."""
    sides = [*network.parameters()], [*reference.parameters()]
    for embedding in (True, False):
        for own, its in zip(*([p for p in side if (p.shape == (10, 10)) is embedding] for side in sides), strict=True):
            assert own.shape == its.shape
            yield own, its


def check(trainer: Any, reference: Reference, batches: list[Any], share: float, patch: pytest.MonkeyPatch) -> None:
    """Train on what the plain loop was given, and compare each loss."""
    trainer.generator.double()
    trainer.discriminator.double()
    for network, its in zip((trainer.generator, trainer.discriminator), reference.networks, strict=True):
        for parameter, value in pairs(network, its):
            parameter.data.copy_(value)
    drawn_latents = iter(reference.latents)
    # A dry run gives the generator of its random numbers.
    patch.setattr(
        latents.Gaussian,
        "__call__",
        lambda self, n, *, device=None, generator=None: torch.zeros(n, 100) if generator else next(drawn_latents),
    )
    labels = iter([reference.labels[0], *reference.labels])  # the first is the dry run's
    patch.setattr(torch, "randint", lambda high, size, *, device: next(labels))
    noise = [target for index, target in enumerate(reference.targets) if index % 3 < 2]
    # The targets are in [0.9, 1] and [0, 0.1]; the recipe draws U(0, 1) for each, and scales it to that.
    drawn = iter([(target - 0.9) / 0.1 if index % 2 == 0 else target / 0.1 for index, target in enumerate(noise)])
    patch.setattr(torch, "rand_like", lambda like: next(drawn))
    seen = [trainer.train_step(batch) for batch in batches]
    assert next(drawn_latents, None) is None
    losses = torch.stack(reference.losses).view(-1, 3)
    expected = {"discriminator_loss": share * (losses[:, 0] + losses[:, 1]), "generator_loss": losses[:, 2]}
    assert len(seen) == ITERATIONS
    for name, values in expected.items():
        actual = torch.stack([metrics[name] for metrics in seen])
        assert values.std() > 1e-4  # they move, a hundred thousand times as far as they may differ
        torch.testing.assert_close(actual, values, atol=1e-9, rtol=0)
    for network, its in zip((trainer.generator, trainer.discriminator), reference.trained, strict=True):
        for parameter, expected in pairs(network, its):
            torch.testing.assert_close(parameter.data, expected.data, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("float64")
def test_dcgan_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    """System 3: both losses of 20 iterations are those of the loop within 1e-6."""
    batches = [(torch.rand(BATCH, 3, 32, 32) * 2 - 1, torch.zeros(BATCH, dtype=torch.int64)) for _ in range(ITERATIONS)]
    with monkeypatch.context() as patch:
        reference = Reference("dcgan_cifar10", batches, patch)
    script, arguments = parsed("cifar10_dcgan", "--recipe", "original", "--width", "16", "--device", "cpu")
    script["fill_in"](arguments, script["RECIPES"]["original"])
    trainer = script["make_trainer"](arguments, torch.Size((3, 32, 32)))
    check(trainer, reference, batches, 0.5, monkeypatch)


@pytest.mark.usefixtures("float64")
def test_deceptive_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """System 4: both losses of 20 iterations are those of the loop within 1e-6."""
    batches = [(torch.rand(BATCH, 1, 64, 64) * 2 - 1, torch.randint(10, (BATCH,))) for _ in range(ITERATIONS)]
    with monkeypatch.context() as patch:
        reference = Reference("deceptive_digits", batches, patch)
    words = "--preset", "deceptive64", "--recipe", "original", "--width", "8", "--device", "cpu"
    script, arguments = parsed("mnist_cdcgan", *words)
    script["choose"](arguments)
    trainer = script["make_trainer"](arguments, torch.Size((1, 64, 64)), 10)
    check(trainer, reference, batches, 1.0, monkeypatch)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifar10_dcgan", []),
        ("mnist_cdcgan", ["--preset", "deceptive64"]),
        ("mnist_cdcgan", []),
        ("mnist_mlp_gan", []),
    ],
)
def test_originals_run_in_plain_float32(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is fast on the device, the original recipes are float32 without channels last, unless one asks."""
    script, arguments = parsed(name, "--recipe", "original", *words)
    training: Any = script["training"]
    fast = {"precision": "bf16", "channels_last": True}
    monkeypatch.setattr(training, "fast_settings", lambda *_: dict(fast))
    plain = {"precision": "fp32", "channels_last": False}
    assert plain | script["speed"](arguments, nn.Linear(1, 1), nn.Linear(1, 1)) == {**plain, "compile": False}
    _, ours = parsed(name, *words)
    assert script["speed"](ours, nn.Linear(1, 1), nn.Linear(1, 1)) == {**fast, "compile": False}
    _, asked = parsed(name, "--recipe", "original", "--precision", "bf16", "--channels-last", *words)
    assert script["speed"](asked, nn.Linear(1, 1), nn.Linear(1, 1)) == {**fast, "compile": False}

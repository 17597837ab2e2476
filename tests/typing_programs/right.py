# ruff: noqa: D102, D103
"""Programs of a user with types: neither mypy nor pyright finds anything in them, in strict mode, and they run."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, Dataset, TensorDataset

import ganlib
from ganlib import (
    augment,
    conditioning,
    data,
    errors,
    init,
    latents,
    losses,
    metrics,
    models,
    penalties,
    protocols,
    stacks,
    training,
    viz,
)
from ganlib.protocols import Batch, DiscriminatorOutput, Logits, Run, Step
from ganlib.stacks import StackPlan, Stage


class MarginHinge:
    """A loss with names of its own."""

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (self.margin - real).relu().mean() + (self.margin + fake).relu().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.mean()


class ModuleLoss(nn.Module):
    """A loss that is a module, takes several scales, and compares real with fake."""

    needs_real_logits = True

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        return losses.HingeLoss().discriminator(real_logits, fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        return losses.HingeLoss().generator(fake_logits, real_logits)


class LogitDecay:
    """An auxiliary loss."""

    weight = 0.01

    def discriminator(self, step: Step) -> Tensor:
        assert step.real_output is not None
        assert isinstance(step.real_output.logits, Tensor)
        return step.real_output.logits.square().mean()

    def generator(self, step: Step) -> float:
        return 0.0


class Growing:
    """An auxiliary loss whose weight is a tensor that a schedule changes."""

    def __init__(self) -> None:
        self.weight = torch.zeros(())

    def discriminator(self, step: Step) -> Tensor:
        return torch.zeros(())

    def generator(self, step: Step) -> Tensor:
        return (step.fake - step.real).abs().mean()


def smoothness(
    discriminator: protocols.Discriminator,
    real: Tensor,
    fake: Tensor,
    condition: Any = None,
    fake_condition: Any = None,
) -> Tensor:
    """A penalty that is a function."""
    noisy, plain = discriminator(real + 0.1 * torch.randn_like(real)), discriminator(real)
    assert isinstance(noisy, Tensor)
    assert isinstance(plain, Tensor)
    return 10 * (noisy - plain).square().mean()


def of_a_module(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    condition: Tensor | None = None,
    fake_condition: Tensor | None = None,
) -> Tensor:
    """A penalty that asks for a module."""
    logits: Tensor = discriminator(fake)
    return logits.square().mean()


class LazyPenalty:
    """A penalty that is an object, applied at every second iteration."""

    every = 2

    def __call__(
        self,
        discriminator: Callable[..., Tensor],
        real: Tensor,
        fake: Tensor,
        condition: protocols.Condition = None,
        fake_condition: protocols.Condition = None,
    ) -> Tensor:
        return discriminator(real).square().mean()


class Two:
    """A latent."""

    def __call__(
        self, n: int, *, device: torch.device | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        return torch.randn(n, 2, device=device, generator=generator)


class LogIteration:
    """A callback that logs."""

    rank_zero_only = True

    def on_start(self, run: Run) -> None:
        self.began = run.iteration

    def on_iteration(self, run: Run) -> None:
        run.log({"learned": float(run.metrics["generator_loss"]), "twice": torch.tensor(2.0)})
        if run.progress > 2 or run.interrupted:
            run.stop()


class Counter:
    """A callback with a state, and another name for the run."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, training_run: training.Run) -> None:
        self.count += training_run.samples

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Generator(nn.Module):
    """A network of one's own, with a condition."""

    sample_range = (-1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2 + 4, 2)

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.cat([latent, condition], dim=1))
        return out.tanh()


class Discriminator(nn.Module):
    """A network that gives more than logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        features: Tensor = self.body(sample)
        return DiscriminatorOutput(self.head(features), features=(features,))


class TextEncoder(nn.Module):
    """An encoder whose number of features is a property."""

    @property
    def features(self) -> int:
        return 4

    def forward(self, condition: Tensor) -> Tensor:
        return condition.float()


class Points(Dataset[tuple[Tensor, int]]):
    """A data set of one's own."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((2,), index / 32), index % 4


class Mean:
    """A metric of one's own, with torchmetrics' three methods."""

    def __init__(self) -> None:
        self.values = list[Tensor]()

    def update(self, samples: Tensor) -> None:
        self.values.append(samples.mean())

    def compute(self) -> Tensor:
        return torch.stack(self.values).mean()

    def reset(self) -> None:
        self.values.clear()


class MyTrainer:
    """A trainer of one's own."""

    def __init__(self) -> None:
        self.iteration = 0

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        self.iteration += 1
        return {"mean": torch.as_tensor(next(batches)).mean()}

    def state_dict(self) -> dict[str, Any]:
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.iteration = state["iteration"]


class Pair(NamedTuple):
    """What a game's players share."""

    image: Tensor
    outline: Tensor
    fake: Tensor


def ten_lines(folder: Path) -> None:
    """The README's first program, by ``from ganlib import x``."""
    loader = data.TensorLoader(data.RenderedDigits(size=8, length=64), batch_size=16)
    plan = StackPlan((1, 8, 8), [Stage(8), Stage(16, kernel_size=4, stride=1, padding=0)])
    generator, discriminator = models.conditional_dcgan(plan, latent_dim=16, num_classes=10)
    adams = [Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (generator, discriminator)]
    latent, loss = latents.Gaussian(16), losses.NonSaturatingLoss(smoothing=losses.LabelSmoothing(real=0.9))
    trainer = training.AdversarialTrainer(generator, discriminator, *adams, loss=loss, latent=latent)
    training.fit(trainer, loader, iterations=2)
    digits = next(models.sample(generator, latent, condition=torch.arange(10)))
    viz.image_grid(digits.sample, columns=10).save(folder / "digits.png")


def whole_run(folder: Path) -> None:
    """A run with everything, by ``ganlib.x.Y``."""
    plan = ganlib.stacks.StackPlan(
        image_shape=(1, 8, 8),
        stages=[ganlib.stacks.Stage(8), ganlib.stacks.Stage(16, kernel_size=4, stride=1, padding=0)],
    )
    generator, discriminator = ganlib.models.dcgan(
        plan, 16, norm="instance", init=partial(ganlib.init.normal_, std=0.02)
    )
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    latent = ganlib.latents.Gaussian(16)
    grown = Growing()
    trainer = ganlib.training.AdversarialTrainer(
        generator,
        discriminator,
        adam(generator.parameters()),
        adam(discriminator.parameters()),
        loss=ganlib.losses.WeightedSum([ganlib.losses.HingeLoss(), MarginHinge(0.5)], weights=[1.0, 0.1]),
        latent=latent,
        penalties=[ganlib.penalties.R1(0.1, every=2, precision="autocast"), smoothness, LazyPenalty(), of_a_module],
        auxiliary_losses=[LogitDecay(), grown],
        augment=ganlib.augment.DiffAugment("color"),
        fake_conditions=None,
        reuse_logits=True,
        discriminator_steps=1,
        max_grad_norm=1.0,
        **ganlib.training.fast_settings(generator, discriminator),
    )
    ema = ganlib.training.EMA(generator)
    callbacks: list[training.Callback] = [
        ema,
        ganlib.training.CSVLogger(folder / "metrics.csv"),
        ganlib.training.Checkpoint(folder, every=2, monitor="mean", mode="min"),
        ganlib.training.Schedule(grown.weight, lambda progress: 10 * progress),
        ganlib.training.LearningRateSchedule(trainer.generator_optimizer, ganlib.training.linear_decay()),
        ganlib.training.BetasSchedule(trainer.generator_optimizer, beta2=ganlib.training.cosine_ramp(0.9, 0.99)),
        ganlib.training.Evaluate(
            {"mean": Mean(), "fid": metrics.FrechetDistance(flat)},
            partial(models.sample, ema.module, latent),
            real=[Batch(torch.rand(64, 1, 8, 8))],
            every=2,
            n=64,
        ),
        ganlib.viz.SampleGrid(ema.module, folder / "samples", latent=latent(4), every=2),
        LogIteration(),
        Counter(),
    ]
    loader = DataLoader(TensorDataset(torch.randn(32, 1, 8, 8).tanh()), batch_size=8)
    ganlib.training.fit(trainer, loader, epochs=1, callbacks=callbacks, resume=True)
    ganlib.models.save_generator(folder / "generator.safetensors", ema.module, info={"latent_dim": 16})
    loaded = ganlib.models.load_generator(folder / "generator.safetensors")
    wide: int = loaded.info["latent_dim"]
    samples: Tensor = loaded(ganlib.latents.Gaussian(wide)(4))
    ganlib.viz.image_grid(samples).save(folder / "grid.png")
    results: Mapping[str, float] = {name: float(value) for name, value in trainer.train_step(samples).items()}
    assert ganlib.__version__
    assert results


def flat(samples: Tensor) -> Tensor:
    return samples.flatten(1)[:, :8]


def own_networks() -> None:
    """Networks, a latent, a loss, an encoder and batches of one's own; a loop of one's own."""
    generator, discriminator = Generator(), conditioning.Unconditional(Discriminator())
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        Adam(generator.parameters()),
        Adam(discriminator.parameters()),
        loss=ModuleLoss(),
        latent=Two(),
        auxiliary_losses=[losses.FeatureMatching(2.0, kind="paired")],
        condition_key="label",
        precision="fp32",
    )
    trainer.train_step({"image": torch.rand(8, 2) - 0.5, "label": torch.rand(8, 4)})
    trainer.train_step(iter([(torch.rand(8, 2) - 0.5, torch.rand(8, 4))]))
    state: dict[str, Any] = trainer.state_dict()
    trainer.load_state_dict(state)
    conditioning.ConcatLatent(stacks.LinearStack([2 + 4, 8, 2]), TextEncoder())
    init.orthogonal_(generator, gain=1.0).layer.reset_parameters()
    training.fit(MyTrainer(), [torch.ones(3)], iterations=2)
    loader = data.TensorLoader(Points(), 8, transform=shift, device="cpu")
    for batch in loader:
        first: Tensor = batch.sample[0]
        assert first.shape == (2,)


def shift(samples: Tensor, generator: torch.Generator) -> Tensor:
    return samples + torch.rand((), generator=generator)


def pix2pix() -> None:
    """A game: objectives that return a tensor, or a tensor and metrics, and what they share."""
    generator: nn.Module = stacks.UNet(StackPlan((1, 8, 8), [Stage(8), Stage(16)]))
    discriminator = stacks.PatchDiscriminator(2, channels=8, layers=1)
    loss = losses.LeastSquaresLoss()

    def prepare(batch: Batch) -> Pair:
        outline = 1 - batch.sample
        return Pair(batch.sample, outline, generator(outline))

    def score(image: Tensor, outline: Tensor) -> Tensor:
        logits: Tensor = discriminator(torch.cat([image, outline], dim=1))
        return logits

    def discriminator_objective(pair: Pair) -> Tensor:
        return loss.discriminator(score(pair.image, pair.outline), score(pair.fake.detach(), pair.outline))

    def generator_objective(pair: Pair) -> tuple[Tensor, dict[str, Tensor]]:
        l1 = (pair.fake - pair.image).abs().mean()
        return loss.generator(score(pair.fake, pair.outline)) + 100 * l1, {"l1": l1}

    r1 = penalties.R1(10.0)
    adam = Adam(discriminator.parameters())
    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator, "pool": training.ImagePool((1, 8, 8))},
        [
            training.Player("discriminator", adam, discriminator_objective),
            training.Player("generator", Adam(generator.parameters()), generator_objective),
            training.Player("r1", adam, lambda pair: 4 * r1(score, pair.image, pair.fake, pair.outline), every=4),
        ],
        prepare=prepare,
        cuda_graph="auto",
    )
    training.fit(trainer, data.TensorLoader(data.RenderedDigits(size=8, length=32), 8), epochs=1)


def measures() -> None:
    """Metrics, pretrained networks and errors."""
    generator = models.pretrained("mnist_cdcgan")
    latent = latents.Gaussian(generator.info["latent_dim"])
    classifier = metrics.DigitClassifier.pretrained()
    distance = metrics.KernelDistance(classifier.features, subsets=2, subset_size=8, sync_on_compute=False)
    for batch in models.sample(generator, latent, condition=torch.arange(10).repeat(2)):
        distance.update(batch.sample, real=False)
        distance.update(-batch.sample, real=True)
    mean, deviation = distance.compute()
    assert mean.shape == deviation.shape
    with suppress(errors.ShapeError, ganlib.errors.GanlibError):
        stacks.ConvStack(StackPlan((1, 8, 8), [Stage(8)]), norm="none", activation=nn.ReLU)(torch.zeros(1, 1, 9, 9))
    path: Tensor = latents.slerp(latent(1)[0], latent(1)[0], steps=3)
    augment.RandomHorizontalFlip(0.5)(path[:, None, None])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ten_lines(Path(folder))
        whole_run(Path(folder))
    own_networks()
    pix2pix()
    measures()


if __name__ == "__main__":
    main()

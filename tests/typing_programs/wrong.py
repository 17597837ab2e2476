# ruff: noqa
# fmt: off
"""Mistakes of a user: each line that ends in ``# wrong`` is found by mypy and by pyright, and no other line."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

import ganlib
from ganlib import augment, conditioning, data, errors, init, latents, losses, metrics, models, penalties
from ganlib import protocols, stacks, training, viz
from ganlib import looses  # wrong
from ganlib.losses import HingLoss  # wrong
from ganlib.protocols import Run, Step
from ganlib.trainin import fit  # wrong

# Names
ganlib.looses.HingeLoss()  # wrong
ganlib.losses.HingLoss()  # wrong
losses.HingLoss()  # wrong
ganlib.training.AdversarialTrianer  # wrong
ganlib.viz.image_grids(torch.rand(1, 1, 8, 8))  # wrong
ganlib.metrics.FrechetInceptionDistance("inception")  # wrong
ganlib.version  # wrong
ganlib.__version__.major  # wrong
models.load_generater("x.safetensors")  # wrong
errors.ShapeEror  # wrong
protocols.Bacth  # wrong

# Stacks and models
stage = stacks.Stage(8)
plan = stacks.StackPlan((1, 28, 28), [stage, stacks.Stage(16)])
stacks.StackPlan(28, [stage])  # wrong
stacks.StackPlan("28", [stage])  # wrong
stacks.StackPlan((1, 28.5, 28.5), [stage])  # wrong
stacks.StackPlan((1, 28, 28), [8, 16])  # wrong
stacks.StackPlan((1, 28, 28))  # wrong
stacks.StackPlan([stage], (1, 28, 28))  # wrong
stacks.StackPlan(shape=(1, 28, 28), stages=[stage])  # wrong
stacks.Stage(8, kernel=4)  # wrong
stacks.Stage("8")  # wrong
plan.shape  # wrong
plan.image_shape = (1, 32, 32)  # wrong
stacks.ConvStack(plan, norm="bach")  # wrong
stacks.ConvTransposeStack(plan, upsample="bilinear")  # wrong
stacks.UpsampleConv(8, 8, mode="cubic")  # wrong
stacks.PatchDiscriminator(3, "batch")  # wrong
stacks.LinearStack(8)  # wrong
stacks.MultiScaleDiscriminator(nn.Linear(1, 1), pooling="avg")  # wrong
models.dcgan(plan)  # wrong
models.dcgan((1, 28, 28), 100)  # wrong
models.dcgan(plan, latent_dims=100)  # wrong
models.dcgan(plan, 100, activation="relu")  # wrong
models.dcgan(plan, 100, init="normal")  # wrong
models.conditional_dcgan(plan, 100, 10, conditioning="projected")  # wrong
models.conditional_dcgan(plan, 100, 10, generator_conditioning="batchnorm")  # wrong
models.mlp_gan("28x28", 100)  # wrong
models.mlp_gan((1, 28, 28), 100, 128)  # wrong
models.pretrained("mnist")  # wrong
models.save_generator(nn.Linear(1, 1), "x.safetensors")  # wrong
models.save_generator("x.safetensors", nn.Linear(1, 1), info="seed 0")  # wrong
models.load_generator("x.safetensors", "generator")  # wrong
models.export_onnx(nn.Linear(1, 1), "x.onnx")  # wrong
models.export_onnx("x.onnx", nn.Linear(1, 1), opset="18")  # wrong
models.push_to_hub("me/digits", nn.Linear(1, 1))  # wrong
models.from_hub("me/digits", file="x.safetensors")  # wrong
models.sample(nn.Linear(1, 1), latents.Gaussian, 5)  # wrong
models.sample(nn.Linear(1, 1), latents.Gaussian(1), 5, batch_norm="batch")  # wrong
for generated in models.sample(nn.Linear(1, 1), latents.Gaussian(1), 5):
    generated.samples  # wrong
generator, discriminator, critic = models.dcgan(plan, 100)  # wrong

# Conditioning, latents, init, augment
conditioning.OneHot()  # wrong
conditioning.OneHot("10")  # wrong
conditioning.ClassEmbedding(10, features=16)  # wrong
conditioning.Projection(nn.Linear(1, 1), 10, 32)  # wrong
conditioning.ConcatLatent(conditioning.OneHot(10), nn.Linear(1, 1))  # wrong
conditioning.FiLM(8)  # wrong
latents.Gaussian("100")  # wrong
latents.Gaussian(dim=(100,))  # wrong
latents.Gaussian(100)(8, torch.device("cpu"))  # wrong
latents.Gaussian(100)(8, seed=0)  # wrong
latents.Uniform(100, -1, "1")  # wrong
latents.lerp(torch.zeros(2), torch.ones(2))  # wrong
init.dcgan_(torch.zeros(2))  # wrong
init.dcgan_(nn.Linear(1, 1), std="0.02")  # wrong
augment.RandomRotation(25.0, interpolation="cubic")  # wrong
augment.DiffAugment(colour=True)  # wrong

# Losses and penalties
losses.HingeLoss(margin=1.0)  # wrong
losses.NonSaturatingLoss(smoothing=0.9)  # wrong
losses.LabelSmoothing(real_label=0.9)  # wrong
losses.HingeLoss().discriminator(torch.zeros(4))  # wrong
losses.HingeLoss().generator("fake")  # wrong
losses.HingeLoss().critic(torch.zeros(4))  # wrong
losses.FeatureMatching(kind="median")  # wrong
losses.FeatureMatching("mean")  # wrong
losses.WeightedSum([losses.HingeLoss()])  # wrong
losses.WeightedSum([penalties.R1()], [1.0])  # wrong
losses.WeightedSum(losses.HingeLoss(), [1.0])  # wrong
losses.adaptive_weight(torch.zeros(()), torch.zeros(()), nn.Linear(1, 1))  # wrong
penalties.R1(gamma=10.0)  # wrong
penalties.R1("10")  # wrong
penalties.R1(precision="bf16")  # wrong
penalties.GradientPenalty(10.0, 16)  # wrong
penalties.Consistency(10.0)  # wrong

# Data and viz
data.RenderedDigits(images=10)  # wrong
data.TensorLoader(data.RenderedDigits())  # wrong
data.TensorLoader("mnist", 64)  # wrong
data.TensorLoader(data.RenderedDigits(), 64, storage="gpu")  # wrong
data.TensorLoader(data.RenderedDigits(), 64, num_workers=4)  # wrong
data.TensorLoader(data.RenderedDigits(), "64")  # wrong
data.ImageFolder("pictures")  # wrong
data.ImageFolder("pictures", 64, mode="CMYK")  # wrong
data.ImageFolder("pictures", 64, crop="centre")  # wrong
data.zip_loaders([], [], length="longer")  # wrong
data.map_loader(len, [])  # wrong
data.only_class("cat", data.RenderedDigits())  # wrong
for batch in data.TensorLoader(data.RenderedDigits(), 64):
    batch.image  # wrong
viz.image_grid([torch.zeros(1, 8, 8)])  # wrong
viz.image_grid(torch.zeros(4, 1, 8, 8), cols=2)  # wrong
viz.image_grid(torch.zeros(4, 1, 8, 8)).to_file("x.png")  # wrong
viz.SampleGrid(nn.Linear(1, 1), "samples", latent=latents.Gaussian(1))  # wrong
viz.SampleGrid("samples", nn.Linear(1, 1), latent=torch.zeros(1, 1))  # wrong
viz.LossCurves("losses.png", against="epochs")  # wrong
viz.Timeline("timeline.png")  # wrong

# Metrics
metrics.FrechetDistance()  # wrong
metrics.FrechetDistance("resnet")  # wrong
metrics.KernelDistance("inception", subset=10)  # wrong
metrics.PrecisionRecall("inception", k="5")  # wrong
metrics.FrechetDistance("inception").update(torch.zeros(1))  # wrong
metrics.FrechetDistance("inception").update(torch.zeros(1), True)  # wrong
metrics.FrechetDistance("inception").load_statistics()  # wrong
metrics.KernelDistance("inception").compute().item()  # wrong
metrics.PrecisionRecall("inception").compute().item()  # wrong
metrics.LabelAccuracy(nn.Linear(1, 1)).update(torch.zeros(1))  # wrong
metrics.nearest_neighbors(torch.zeros(1, 1))  # wrong

# Training
network, other = nn.Linear(2, 2), nn.Linear(2, 1)
adam, adam2 = Adam(network.parameters()), Adam(other.parameters())
hinge, latent = losses.HingeLoss(), latents.Gaussian(2)
gan = partial(training.AdversarialTrainer, network, other, adam, adam2)
trainer = training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent)
fast = training.fast_settings(network, other)
training.AdversarialTrainer(network, other, adam, adam2, latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, latent=latent, **fast)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, hinge, latent)  # wrong
training.AdversarialTrainer(network, other, loss=hinge, latent=latent)  # wrong
training.AdversarialTrainer(network, adam, other, adam2, loss=hinge, latent=latent)  # wrong
training.AdversarialTrainer("dcgan", other, adam, adam2, loss=hinge, latent=latent)  # wrong
training.AdversarialTrainer(nn.Linear, other, adam, adam2, loss=hinge, latent=latent)  # wrong
training.AdversarialTrainer(network, other, network.parameters(), adam2, loss=hinge, latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss="hinge", latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=losses.HingeLoss, latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=nn.BCELoss(), latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=100)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latents.Gaussian)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, precision="fp8")  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, compile="default")  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, cuda_graph="yes")  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, n_critic=5)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalty=[])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalties=penalties.R1())  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalties=[hinge.generator])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, auxiliary_losses=[hinge])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, augment="color")  # wrong
trainer.generater  # wrong
trainer.train()  # wrong
trainer.train_step(torch.zeros(4, 2)).item()  # wrong
trainer.train_step(torch.zeros(4, 2))[0]  # wrong
trainer.train_step(data.TensorLoader(data.RenderedDigits(), 64))  # wrong
trainer.iteration = "3"  # wrong
fast["precison"]  # wrong
fast["precision"] = "half"  # wrong


def objective(batch: Tensor) -> Tensor:
    return batch.mean()


def of_numbers(batch: Tensor) -> float:
    return 0.0


def of_metrics(batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    return batch.mean(), [batch.mean()]


player = training.Player("a", adam, objective)
training.Player(adam, "a", objective)  # wrong
training.Player("a", objective, adam)  # wrong
training.Player("a", adam)  # wrong
training.Player("a", adam, objective, 2)  # wrong
training.Player("a", adam, objective(torch.zeros(1)))  # wrong
training.Player("a", adam, of_numbers)  # wrong
training.Player("a", adam, of_metrics)  # wrong
training.Player("a", adam, objective, step=2)  # wrong
player.optimiser  # wrong
training.GameTrainer({"a": network}, player)  # wrong
training.GameTrainer([player], {"a": network})  # wrong
training.GameTrainer([network], [player])  # wrong
training.GameTrainer({"a": "network"}, [player])  # wrong
training.GameTrainer({"a": network}, [objective])  # wrong
training.GameTrainer({"a": network}, [player], prepare=torch.zeros(1))  # wrong
training.GameTrainer({"a": network}, [player], precision="half")  # wrong
training.GameTrainer({"a": network}, [player], loss=hinge)  # wrong
training.fit(trainer)  # wrong
training.fit([torch.zeros(4, 2)], trainer)  # wrong
training.fit(network, [torch.zeros(4, 2)])  # wrong
training.fit(trainer, [torch.zeros(4, 2)], epoch=1)  # wrong
training.fit(trainer, [torch.zeros(4, 2)], 100)  # wrong
training.fit(trainer, [torch.zeros(4, 2)], iterations="100")  # wrong
training.fit(trainer, [torch.zeros(4, 2)], callbacks=training.ProgressBar())  # wrong
training.fit(trainer, [torch.zeros(4, 2)], callbacks=[training.ProgressBar])  # wrong
training.fit(trainer, [torch.zeros(4, 2)], callbacks=[print])  # wrong
training.fit(trainer, [torch.zeros(4, 2)], callbacks=["progress"])  # wrong
training.Checkpoint("run", mode="lowest")  # wrong
training.Checkpoint("run", interval=100)  # wrong
training.EMA(network.parameters())  # wrong
training.EMA(network, "0.999")  # wrong
training.EarlyStopping("frechet_distance")  # wrong
training.Evaluate("fid", partial(models.sample, network, latent))  # wrong
training.Evaluate(metrics.FrechetDistance("inception"))  # wrong
training.Evaluate(metrics.FrechetDistance("inception"), models.sample(network, latent, 5))  # wrong
training.Evaluate([network], partial(models.sample, network, latent))  # wrong
training.Schedule(0.5, training.linear_decay())  # wrong
training.LearningRateSchedule(adam, 0.5)  # wrong
training.BetasSchedule(adam, beta2=0.99)  # wrong
training.BetasSchedule(adam, training.cosine_ramp(0.9, 0.99))  # wrong
training.Schedule(torch.zeros(()), training.half_life_decay(500, 64))  # wrong
training.half_life_decay(training.cosine_ramp, 64)  # wrong
training.LearningRateSchedule(adam.param_groups, training.linear_decay())  # wrong
training.ProgressBar(every=10)  # wrong
training.ImagePool(50)  # wrong
training.linear_decay(1.0)  # wrong
ganlib.distributed.mean_over_ranks(1.0)  # wrong
ganlib.distributed.init("nccl")  # wrong


# Parts of one's own
class NoGenerator:
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return real.mean() - fake.mean()


class GivesFloats:
    def discriminator(self, real: Tensor, fake: Tensor) -> float:
        return 0.0

    def generator(self, fake: Tensor, real: Tensor | None = None) -> float:
        return 0.0


class NeedsReal:
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return real.mean() - fake.mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        return -fake.mean()


class Weightless:
    def discriminator(self, step: Step) -> Tensor:
        return step.fakes.mean()  # wrong

    def generator(self, step: Step) -> Tensor:
        return step.real_output.logits.mean()  # wrong


class GivesNothing:
    weight = 1.0

    def discriminator(self, step: Step) -> None: ...

    def generator(self, step: Step) -> None: ...


class ReturnsAValue:
    def on_iteration(self, run: Run) -> int:
        run.log("loss", 0.5)  # wrong
        run.log({"loss": "0.5"})  # wrong
        run.iteration = 5  # wrong
        return run.iterations  # wrong


class TakesTwo:
    def on_iteration(self, run: Run, batch: Tensor) -> None: ...


class Misspelt:
    def on_iter(self, run: Run) -> None: ...


class Sampler:
    def __call__(self, n: int) -> Tensor:
        return torch.randn(n, 2)


def of_two(discriminator: nn.Module, real: Tensor) -> Tensor:
    return real.mean()


def swapped(real: Tensor, fake: Tensor, discriminator: nn.Module, condition: Any = None, fake_condition: Any = None) -> Tensor:
    return real.mean()


def gives_none(discriminator: nn.Module, real: Tensor, fake: Tensor, condition: Any = None, fake_condition: Any = None) -> None: ...


class NoTrainer:
    def train_step(self, batches: Any) -> dict[str, Tensor]:
        return {}


losses.WeightedSum([NoGenerator()], [1.0])  # wrong
losses.WeightedSum([GivesFloats()], [1.0])  # wrong
losses.WeightedSum([NeedsReal()], [1.0])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=NoGenerator(), latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=GivesFloats(), latent=latent)  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=Sampler())  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, auxiliary_losses=[Weightless()])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, auxiliary_losses=[GivesNothing()])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalties=[of_two])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalties=[swapped])  # wrong
training.AdversarialTrainer(network, other, adam, adam2, loss=hinge, latent=latent, penalties=[gives_none])  # wrong
training.fit(trainer, [], callbacks=[ReturnsAValue()])  # wrong
training.fit(trainer, [], callbacks=[TakesTwo()])  # wrong
training.fit(trainer, [], callbacks=[Misspelt()])  # wrong
training.fit(NoTrainer(), [])  # wrong
protocols.Batch(samples=torch.zeros(1))  # wrong
protocols.Batch([1.0, 2.0])  # wrong
protocols.DiscriminatorOutput(torch.zeros(4), logit=torch.zeros(4))  # wrong
protocols.DiscriminatorOutput(torch.zeros(4)).class_logits.shape  # wrong

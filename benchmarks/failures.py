"""Train small GANs on MNIST with typical mistakes, and measure what each mistake does.

    python -m benchmarks.failures --root DIR --out runs/failures
    python -m benchmarks.failures --data digits --iterations 30 --samples 200 --out runs/failures
    python -m benchmarks.failures --out runs/failures --pictures docs/how-to/images

DIR holds ``MNIST/raw``. ``working`` is a DCGAN that works. Each other case changes what ``--list`` prints. The results
of a case and a seed are in ``OUT/<case>-<seed>/``: ``metrics.csv`` (losses, scores and, ten times, measures of 1,000
samples), ``samples/`` (images of the same latents during the training) and ``arrays.npz`` (the last samples and,
where training images are few, the nearest one of each sample). ``OUT/summary.csv`` has a row for each. Its columns:

- ``iterations``: how many were trained; ``error`` says why a training stopped early.
- ``spread``: the standard deviation of a pixel in [-1, 1] over samples, averaged over pixels. 0 is a full collapse.
- ``frechet_distance``, ``precision``, ``recall``, ``coverage``, ``modes_found``, ``kl_divergence``: against as many
  test images, in the features of ``metrics.DigitClassifier.pretrained()``.
- ``memorization``: near 1 where samples are copies of training images.
- ``label_accuracy``: of conditional generators.
- ``checkerboard``: the mean of ``|a - b - c + d| / 2`` over all squares of 2 x 2 pixels.

The row ``real`` measures training images in the same way. ``--pictures`` trains nothing; it draws the figures of
``docs/how-to/my_gan_collapses.rst`` from the results.
"""

import argparse
import csv
import functools
import io
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchvision.datasets import MNIST

from ganlib import augment, data, init, latents, losses, metrics, models, penalties, stacks, training, viz
from ganlib.errors import TrainingDivergedError
from ganlib.protocols import Run

LATENT = latents.Gaussian(64)
BATCH = 64
SHOWN = 40
RENDERED = 4000, 2000  # training and test images of --data digits
Networks = tuple[nn.Module, nn.Module]


def plan(kernel_size: int = 4) -> stacks.StackPlan:
    """Halve 28 pixels to 14 and 7, and then take the 7 x 7 pixels at once."""
    halves = [stacks.Stage(32, kernel_size), stacks.Stage(64, kernel_size)]
    return stacks.StackPlan((1, 28, 28), [*halves, stacks.Stage(128, kernel_size=7, stride=1, padding=0)])


def dcgan(**options: Any) -> Networks:
    """Make an unconditional DCGAN."""
    return models.dcgan(plan(), LATENT.dim, **options)


def perceptrons() -> Networks:
    """Make a GAN of multilayer perceptrons."""
    return models.mlp_gan((1, 28, 28), LATENT.dim, [256, 512])


def conditional(**options: Any) -> Networks:
    """Make a conditional DCGAN of ten classes."""
    return models.conditional_dcgan(plan(), LATENT.dim, 10, **options)


def ending_in_sigmoid() -> Networks:
    """Put a sigmoid behind the discriminator."""
    generator, discriminator = dcgan()
    return generator, nn.Sequential(discriminator, nn.Sigmoid())


def generator_of(**options: Any) -> Networks:
    """Replace the generator by one with other options."""
    _, discriminator = dcgan()
    return init.dcgan_(stacks.ConvTransposeStack(plan(), top_channels=LATENT.dim, **options)), discriminator


def kernel_of_3(upsample: Any = "transposed") -> Networks:
    """Take a kernel that the stride does not divide."""
    _, discriminator = dcgan()
    generator = stacks.ConvTransposeStack(plan(3), top_channels=LATENT.dim, upsample=upsample)
    return init.dcgan_(generator), discriminator


def fixed_latents(n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
    """Return the same latents in each call: the mistake of a seed inside the loop."""
    return _fixed(n, str(device or "cpu"))


@functools.cache
def _fixed(n: int, device: str) -> Tensor:
    return LATENT(n, generator=torch.Generator().manual_seed(0)).to(device)


@dataclass(frozen=True)
class Case:
    """A training, by what differs from the one that works.

    Args:
        change: what differs, for the table.
        networks: makes (generator, discriminator).
        loss: makes the adversarial loss.
        lr: of the generator and of the discriminator.
        betas: of Adam, for both.
        sgd: whether to train with SGD with momentum instead of Adam.
        options: more keywords of the trainer.
        images: the number of training images, None for all.
        conditional: whether the networks are given labels.
        prepare: changes samples in [-1, 1] and labels.
        longer: iterations, times those of the command line.
    """

    change: str
    networks: Callable[[], Networks] = dcgan
    loss: Callable[[], Any] = losses.NonSaturatingLoss
    lr: tuple[float, float] = (2e-4, 2e-4)
    betas: tuple[float, float] = (0.5, 0.999)
    sgd: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    conditional: bool = False
    prepare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    longer: int = 1


def r1() -> dict[str, Any]:
    """Make the keywords of a trainer with a lazy R1 penalty."""
    return {"penalties": [penalties.R1(0.1, every=16)]}


STRONG: dict[str, Any] = {"lr": (2e-4, 1e-3), "options": {"discriminator_steps": 5}}
CRITIC: dict[str, Any] = {
    "networks": partial(dcgan, discriminator_norm="none"),
    "loss": losses.WassersteinLoss,
    "betas": (0.0, 0.9),
}

CASES = {
    "working": Case("nothing"),
    "sigmoid": Case("a sigmoid behind the discriminator", networks=ending_in_sigmoid),
    "sigmoid_minimax": Case(
        "a sigmoid behind the discriminator, and MinimaxLoss", networks=ending_in_sigmoid, loss=losses.MinimaxLoss
    ),
    "high_lr": Case("learning rate 1e-2 (50 times higher)", lr=(1e-2, 1e-2)),
    "high_lr_r1": Case("learning rate 1e-2, and R1", lr=(1e-2, 1e-2), options=r1()),
    "higher_lr": Case("learning rate 0.1 (500 times higher)", lr=(0.1, 0.1)),
    "momentum": Case("learning rate 1e-2, betas (0.9, 0.999)", lr=(1e-2, 1e-2), betas=(0.9, 0.999)),
    "momentum_r1": Case(
        "learning rate 1e-2, betas (0.9, 0.999), and R1", lr=(1e-2, 1e-2), betas=(0.9, 0.999), options=r1()
    ),
    "perceptron": Case("perceptrons", networks=perceptrons),
    "perceptron_high_lr": Case("perceptrons, learning rate 2e-3", networks=perceptrons, lr=(2e-3, 2e-3)),
    "perceptron_high_lr_r1": Case(
        "perceptrons, learning rate 2e-3, and R1", networks=perceptrons, lr=(2e-3, 2e-3), options=r1()
    ),
    "perceptron_momentum": Case(
        "perceptrons, learning rate 2e-3, betas (0.9, 0.999)",
        networks=perceptrons,
        lr=(2e-3, 2e-3),
        betas=(0.9, 0.999),
    ),
    "saturating": Case("MinimaxLoss, 5 discriminator steps at 1e-3", loss=losses.MinimaxLoss, **STRONG),
    "non_saturating": Case("NonSaturatingLoss, 5 discriminator steps at 1e-3", **STRONG),
    "generator_too_fast": Case(
        "generator at 2e-3, discriminator at 2e-5, no batch norm in the discriminator",
        networks=partial(dcgan, discriminator_norm="none"),
        lr=(2e-3, 2e-5),
    ),
    "generator_very_fast": Case("generator at 1e-2, discriminator at 2e-5", lr=(1e-2, 2e-5)),
    "no_norm": Case("no normalization in both networks", networks=partial(dcgan, norm="none")),
    "no_norm_generator": Case(
        "no normalization in the generator", networks=partial(dcgan, norm="none", discriminator_norm="batch")
    ),
    "no_norm_kaiming": Case(
        "no normalization in both networks, init.kaiming_, learning rate 2e-3",
        networks=partial(dcgan, norm="none", init=init.kaiming_),
        lr=(2e-3, 2e-3),
    ),
    "wasserstein": Case("WassersteinLoss without a penalty", **CRITIC, lr=(1e-3, 1e-3)),
    "wasserstein_gp": Case(
        "WassersteinLoss with GradientPenalty(10), 5 discriminator steps",
        **CRITIC,
        lr=(1e-3, 1e-3),
        options={"penalties": [penalties.GradientPenalty(10.0)], "discriminator_steps": 5},
    ),
    "sgd": Case(
        "SGD at 0.5 with momentum 0.9, LeastSquaresLoss", loss=losses.LeastSquaresLoss, sgd=True, lr=(0.5, 0.5)
    ),
    "wrong_range": Case(
        "a sigmoid at the end of the generator, images in [-1, 1]",
        networks=partial(generator_of, last_activation=nn.Sigmoid),
    ),
    "zero_to_one": Case("images in [0, 1], a generator with tanh", prepare=lambda x, y: ((x + 1) / 2, y)),
    "joint_pass": Case("joint_pass=True with batch norm in the discriminator", options={"joint_pass": True}),
    "fixed_latents": Case("the same 64 latents in each iteration", options={"latent": fixed_latents}),
    "kernel_3": Case("kernel size 3, stride 2 in the generator", networks=kernel_of_3),
    "kernel_3_nearest": Case(
        'kernel size 3, stride 2 in the generator, upsample="nearest"', networks=partial(kernel_of_3, "nearest")
    ),
    "few_images": Case("200 training images", images=200, longer=3),
    "few_images_augment": Case(
        '200 training images, DiffAugment("translation,cutout")',
        images=200,
        longer=3,
        options={"augment": augment.DiffAugment("translation,cutout", fill=-1.0)},
    ),
    "few_images_r1": Case("200 training images, and R1", images=200, longer=3, options=r1()),
    "500_images": Case("500 training images", images=500, longer=3),
    "500_images_augment": Case(
        '500 training images, DiffAugment("translation,cutout")',
        images=500,
        longer=3,
        options={"augment": augment.DiffAugment("translation,cutout", fill=-1.0)},
    ),
    "conditional": Case("labels", networks=conditional, conditional=True),
    "shuffled_labels": Case(
        "labels in a random order",
        networks=conditional,
        conditional=True,
        prepare=lambda x, y: (x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]),
    ),
    "no_auxiliary_loss": Case(
        'conditioning="auxiliary" without AuxiliaryClassifier',
        networks=partial(conditional, conditioning="auxiliary"),
        conditional=True,
    ),
    "auxiliary_loss": Case(
        'conditioning="auxiliary" with AuxiliaryClassifier',
        networks=partial(conditional, conditioning="auxiliary"),
        conditional=True,
        options={"auxiliary_losses": [losses.AuxiliaryClassifier()]},
    ),
}


class Data:
    """Training and test images, read once.

    Args:
        name: ``"mnist"``, or ``"digits"`` for rendered ones.
        root: the folder of ``MNIST/raw``.
        device: of the batches.
    """

    def __init__(self, name: str, root: Path | None, device: str) -> None:
        if name == "mnist":
            sets: list[Any] = [MNIST(root, train=train) for train in (True, False)]
        else:
            sets = [data.RenderedDigits(length=n, seed=seed) for seed, n in enumerate(RENDERED)]
        self.device = device
        loaders = [data.TensorLoader(each, BATCH, device=device) for each in sets]
        self.train, self.test = (scaled(loader.samples) for loader in loaders)
        assert loaders[0].conditions is not None
        self.labels = loaders[0].conditions

    def of(self, case: Case, seed: int) -> tuple[Tensor, data.TensorLoader]:
        """Return the training images of a case, and their loader."""
        samples, labels = self.train[: case.images], self.labels[: case.images]
        if case.prepare is not None:
            samples, labels = case.prepare(samples, labels.cpu())
        tensors = [samples, labels.to(self.device)] if case.conditional else [samples]
        return samples, data.TensorLoader(TensorDataset(*tensors), BATCH, device=self.device, seed=seed)


def scaled(samples: Tensor) -> Tensor:
    """Return uint8 images in [-1, 1]."""
    return samples.float().div_(127.5).sub_(1)


class Measure:
    """Measures images against test images.

    Args:
        classifier: its features are compared.
        test: (N, 1, 28, 28), in [-1, 1].
    """

    def __init__(self, classifier: metrics.DigitClassifier, test: Tensor) -> None:
        self.classifier = classifier
        self.test = self.features(test)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features (N, 128) of images."""
        return torch.cat([self.classifier.features(batch) for batch in images.split(500)])

    def quick(self, images: Tensor) -> dict[str, float]:
        """Return what is measured during a training."""
        images = as_digits(images)
        found = {"spread": images.std(0).mean().item(), "checkerboard": checkerboard(images)}
        itself = nn.Identity()
        measures: list[Any] = [metrics.FrechetDistance(itself), metrics.PrecisionRecall(itself)]
        return found | self._compare(measures, self.features(images))

    def full(self, images: Tensor, labels: Tensor | None, trained_on: Tensor | None = None) -> dict[str, float]:
        """Return what is measured at the end of a training; with a few training images, also ``memorization``."""
        images = as_digits(images)
        features, measures = self.features(images), list[Any]([metrics.ModeCoverage(self.classifier.head)])
        if trained_on is not None:
            memorization = metrics.Memorization(nn.Identity()).to(images.device)
            memorization.add_training(self.features(trained_on))
            measures.append(memorization)
        found = self._compare(measures, features)
        if labels is not None:
            with torch.no_grad():
                right = self.classifier.head(features).argmax(1) == labels
            found["label_accuracy"] = right.float().mean().item()
        return self.quick(images) | found

    def _compare(self, measures: Sequence[Any], features: Tensor) -> dict[str, float]:
        found = dict[str, float]()
        for metric in measures:
            metric.to(features.device)
            metric.update(self.test[: len(features)], real=True)
            metric.update(features, real=False)
            result = metric.compute()
            result = result if isinstance(result, dict) else {"frechet_distance": result}
            found |= {name: value.item() for name, value in result.items()}
        return found


def as_digits(images: Tensor) -> Tensor:
    """Clip to [-1, 1], the range that the classifier was trained with."""
    return images.float().clamp(-1, 1)


def checkerboard(images: Tensor) -> float:
    """Return the mean of |a - b - c + d| / 2 over all squares of 2 x 2 pixels."""
    a, b, c, d = images[..., :-1, :-1], images[..., :-1, 1:], images[..., 1:, :-1], images[..., 1:, 1:]
    return (a - b - c + d).abs().mean().item() / 2


class Look:
    """Adds measures of a few samples to the metrics of a run, ten times."""

    def __init__(self, every: int, draw: Callable[[int], Tensor], measure: Measure, n: int) -> None:
        self.every, self.draw, self.measure, self.n = every, draw, measure, n

    def on_iteration(self, run: Run) -> None:
        """Measure, if it is time."""
        if run.iteration % self.every == 0:
            images = self.draw(self.n)
            if images.isfinite().all():
                run.log(self.measure.quick(images))


def make_trainer(case: Case, networks: Networks) -> training.AdversarialTrainer:
    """Make the trainer of a case."""
    optimizers = [
        torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
        if case.sgd
        else torch.optim.Adam(network.parameters(), lr=lr, betas=case.betas, fused=True)
        for network, lr in zip(networks, case.lr, strict=True)
    ]
    options = {"latent": LATENT, **training.fast_settings(*networks), **case.options}
    return training.AdversarialTrainer(*networks, *optimizers, loss=case.loss(), **options)


def draw(generator: nn.Module, n: int, *, conditional: bool = False) -> Tensor:
    """Draw samples by a fixed seed, of all classes equally often."""
    condition = torch.arange(n) % 10 if conditional else None
    batches = models.sample(generator, LATENT, n, condition=condition, seed=0)
    return torch.cat([batch.sample.float() for batch in batches])


def train(
    case: Case, folder: Path, images: Data, measure: Measure, *, seed: int, iterations: int, samples: int
) -> dict[str, Any]:
    """Train a case and measure it.

    Returns:
        A row of the summary.
    """
    torch.manual_seed(seed)
    trained_on, loader = images.of(case, seed)
    networks = case.networks()
    for network in networks:
        network.to(images.device)
    trainer = make_trainer(case, networks)
    generator, limit = networks[0], iterations * case.longer
    drawn = partial(draw, generator, conditional=case.conditional)
    shown = LATENT(SHOWN, generator=torch.Generator().manual_seed(1))
    condition = torch.arange(SHOWN) % 10 if case.conditional else None
    row: dict[str, Any] = {"error": ""}
    began = time.perf_counter()
    try:
        training.fit(
            trainer,
            loader,
            iterations=limit,
            callbacks=[
                Look(max(1, limit // 10), drawn, measure, min(1000, samples)),
                viz.SampleGrid(
                    generator,
                    folder / "samples",
                    latent=shown,
                    condition=condition,
                    every=max(1, limit // 10),
                    columns=10,
                    scale=2,
                ),
                training.CSVLogger(folder / "metrics.csv", every=max(1, limit // 200), mean=True),
            ],
        )
    except TrainingDivergedError as error:
        row |= said(error, folder)
    row |= {"iterations": trainer.iteration, "seconds": round(time.perf_counter() - began, 1)}
    made = drawn(samples)
    if made.isfinite().all():
        labels = torch.arange(samples, device=made.device) % 10 if case.conditional else None
        few = None if case.images is None else trained_on
        row |= measure.full(made, labels, few)
        save_arrays(folder / "arrays.npz", as_digits(made[:SHOWN]), few, measure)
    return row


def said(error: Exception, folder: Path) -> dict[str, Any]:
    """Write the traceback of an error, and return its cell of the summary."""
    (folder / "error.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return {"error": f"{type(error).__name__}: {error}"}


def save_arrays(path: Path, samples: Tensor, trained_on: Tensor | None, measure: Measure) -> None:
    """Write samples, and of a few training images the nearest one of each sample, as 8 bits."""
    arrays = {"samples": samples}
    if trained_on is not None:
        _, nearest = metrics.nearest_neighbors(measure.features(samples), measure.features(trained_on))
        arrays["nearest"] = trained_on[nearest[:, 0]]
    eight: dict[str, Any] = {name: each.add(1).mul(127.5).round().byte().cpu().numpy() for name, each in arrays.items()}
    np.savez_compressed(path, **eight)


def run(arguments: argparse.Namespace) -> None:
    """Train all cases with all seeds, and write the summary after each."""
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    images = Data(arguments.data, arguments.root, device)
    samples = min(arguments.samples, len(images.test))
    measure = Measure(metrics.DigitClassifier.pretrained().to(device), images.test[:samples])
    arguments.out.mkdir(parents=True, exist_ok=True)
    where = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"torch {torch.__version__} on {where}, {arguments.iterations} iterations, {samples} samples", flush=True)
    real = images.train[-samples:]
    rows = [{"case": "real", "change": "training images", **measure.full(real, None)}]
    for seed in arguments.seeds:
        for name in arguments.cases:
            case, folder = CASES[name], arguments.out / f"{name}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                row = train(case, folder, images, measure, seed=seed, iterations=arguments.iterations, samples=samples)
            except Exception as error:  # the other cases do not depend on it
                row = said(error, folder)
            rows.append({"case": name, "seed": seed, "change": case.change, **row})
            write_summary(arguments.out / "summary.csv", rows)
            print(line(rows[-1]), flush=True)
    print(line(rows[0]))


COLUMNS = (
    *("case", "seed", "change", "iterations", "seconds", "spread", "frechet_distance", "precision", "recall"),
    *("density", "coverage", "modes_found", "modes_real", "kl_divergence", "label_accuracy", "checkerboard"),
    *("memorization", "nearest_distance", "nearest_distance_real", "error"),
)


def write_summary(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: f"{x:.5g}" if isinstance(x, float) else x for name, x in row.items()})


def line(row: Mapping[str, Any]) -> str:
    """Say the most important results of a row."""
    named = "spread", "coverage", "frechet_distance", "modes_found", "label_accuracy", "memorization"
    said = [f"{name} {row[name]:.3g}" for name in named if name in row]
    said += [row["error"][:200]] if row.get("error") else []
    return f"{row['case']} {row.get('seed', '')} ({row.get('seconds', 0)} s): {', '.join(said)}"


def main(options: Sequence[str] | None = None) -> None:
    """Read the command line, and train or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["mnist", "digits"], default="mnist", help="(default: %(default)s)")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the folder of MNIST/raw")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="(default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=2000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--samples", type=int, default=10_000, metavar="N", help="measured (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="(default: 0)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help="(default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/failures"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the figures of the page into this folder")
    parser.add_argument("--list", action="store_true", help="print the cases")
    arguments = parser.parse_args(options)
    if arguments.list:
        print("\n".join(f"{name}: {case.change}" for name, case in CASES.items()))
    elif arguments.pictures:
        draw_pictures(arguments.out, arguments.pictures)
    else:
        if arguments.data == "mnist" and arguments.root is None:
            parser.error("--data mnist needs --root")
        run(arguments)


@dataclass(frozen=True)
class Figure:
    """A figure of the page: samples of some cases, and curves of them.

    Args:
        cases: case -> title of its samples. ``"case@400"`` are the samples of its fixed latents at that iteration.
        curves: columns of ``metrics.csv``, of each case a line; none draws no curves.
        nearest: whether the nearest training images are shown below the samples.
        columns: samples in a row.
    """

    cases: Mapping[str, str]
    curves: Sequence[str] = ("real_score", "fake_score")
    nearest: bool = False
    columns: int = 6


FIGURES = {
    "collapse": Figure({"generator_too_fast": "collapsed", "working": "working"}),
    "moving_mode": Figure({f"generator_too_fast@{n}": f"iteration {n:,}" for n in (600, 1000, 1200, 2000)}, ()),
    "same_noise": Figure({"perceptron_momentum": "beta1 = 0.9", "perceptron_high_lr": "beta1 = 0.5"}),
    "vanishing": Figure({"saturating": "MinimaxLoss", "non_saturating": "NonSaturatingLoss"}),
    "sigmoid": Figure({"sigmoid": "with a sigmoid", "working": "without"}),
    "joint_pass": Figure({"joint_pass": "joint_pass=True", "working": "working"}),
    "range": Figure({"wrong_range": "sigmoid in G", "zero_to_one": "data in [0, 1]", "working": "working"}, ()),
    "oscillation": Figure(
        {"momentum@400": "beta1 = 0.9, iteration 400", "momentum": "beta1 = 0.9", "high_lr": "beta1 = 0.5"},
        ("spread",),
    ),
    "checkerboard": Figure(
        {"kernel_3@200": "kernel 3, stride 2", "kernel_3_nearest@200": 'upsample="nearest"', "working@200": "kernel 4"},
        (),
    ),
    "fixed_latents": Figure({"fixed_latents": "latents of the training", "fixed_latents@2000": "new latents"}, ()),
    "classes": Figure(
        {"shuffled_labels": "wrong labels", "no_auxiliary_loss": "no auxiliary loss", "auxiliary_loss": "with it"},
        (),
        columns=10,
    ),
    "few_images": Figure({"few_images": "200 images", "few_images_r1": "200 images, R1"}),
    "nearest": Figure({"few_images_r1": "samples, and nearest training images"}, (), nearest=True, columns=12),
}
NAMES = {"real_score": "D(x)", "fake_score": "D(G(z))"}


def draw_pictures(results: Path, folder: Path, seed: int = 0) -> None:
    """Draw all figures from the results of one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        runs = {case: results / f"{case.partition('@')[0]}-{seed}" for case in figure.cases}
        draw_figure(figure, runs, folder / f"failures_{name}.png")


def draw_figure(figure: Figure, runs: Mapping[str, Path], path: Path) -> None:
    """Draw samples from left to right, and the curves at their right."""
    grids = [grid_of(folder, figure, case.partition("@")[2]) for case, folder in runs.items()]
    panels = len(grids) + bool(figure.curves)
    height, width = grids[0].shape
    panel = 6.4 if panels == 1 else min(3.2, 10 / panels)
    canvas = matplotlib.figure.Figure(figsize=(panel * panels, panel * height / width + 0.35), layout="constrained")
    axes = canvas.subplots(1, panels, squeeze=False)[0]
    for axis, grid, case in zip(axes, grids, runs, strict=False):
        axis.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(figure.cases[case], fontsize=10)
        axis.axis("off")
    for number, (case, folder) in enumerate((case, folder) for case, folder in runs.items() if "@" not in case):
        for style, column in zip(("-", "--"), figure.curves, strict=False):
            iterations, values = column_of(folder / "metrics.csv", column)
            label = f"{NAMES.get(column, column)}, {figure.cases[case]}"
            axes[-1].plot(iterations, values, style, color=f"C{number}", label=label, linewidth=1.2)
    if figure.curves:
        axes[-1].set_xlabel("iteration", fontsize=9)
        axes[-1].tick_params(labelsize=8)
        axes[-1].legend(fontsize=7)
    with io.BytesIO() as file:
        canvas.savefig(file, dpi=100)
        Image.open(file).convert("RGB").quantize(256).save(path, optimize=True)  # fewer bytes


def grid_of(folder: Path, figure: Figure, iteration: str = "") -> np.ndarray[Any, Any]:
    """Return samples of a run as one image, and below each row the nearest training images if wanted."""
    if iteration:
        samples = cells_of(folder / "samples" / f"{int(iteration):08d}.png")
        nearest = None
    else:
        with np.load(folder / "arrays.npz") as arrays:
            samples = torch.from_numpy(arrays["samples"])
            nearest = torch.from_numpy(arrays["nearest"]) if figure.nearest else None
    columns = figure.columns
    samples = samples[: len(samples) // columns * columns][: 2 * columns if columns > 6 else 4 * columns]
    if nearest is not None:
        pairs = torch.stack([samples, nearest[: len(samples)]], dim=1)
        samples = pairs.unflatten(0, (-1, columns)).transpose(1, 2).flatten(0, 2)
    return np.asarray(viz.image_grid(samples, columns=columns, padding=1, scale=2))


def cells_of(path: Path) -> Tensor:
    """Return the samples (N, 1, 28, 28) of an image that SampleGrid wrote with padding=2 and scale=2."""
    pixels = torch.from_numpy(np.array(Image.open(path).convert("L")))[::2, ::2]
    rows, columns = (size // 30 for size in pixels.shape)
    cells = [pixels[2 + 30 * i : 30 + 30 * i, 2 + 30 * j : 30 + 30 * j] for i in range(rows) for j in range(columns)]
    return torch.stack(cells).unsqueeze(1)


def column_of(path: Path, name: str) -> tuple[list[int], list[float]]:
    """Return the iterations and values of a column, where it has some."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(row["iteration"]), float(row[name])) for row in csv.DictReader(file) if row.get(name)]
    return [iteration for iteration, _ in rows], [value for _, value in rows]


if __name__ == "__main__":
    main()

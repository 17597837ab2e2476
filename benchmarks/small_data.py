"""Train on few images of one class, with and without adaptive augmentation (ADA), and measure variety and copies.

    python -m benchmarks.cifar_classifier --root DIR/cifar10 --image-size 16 --out runs/cifar16.pt
    python -m benchmarks.small_data --root DIR/cifar10 --classifier runs/cifar16.pt --seeds 0 1

DIR/cifar10 contains ``train`` and ``test``, each with a folder of images for each class. The training is that of the
paper of ADA (Karras et al., 2020, arXiv:2006.06676): the non-saturating loss with R1, and an average of the generator.
The networks are those of DCGAN, without a norm in the discriminator. Each row of ``small_data.csv`` compares samples
with the test images of the class, in the features of the classifier: the Fréchet distance, precision, recall, density
and coverage (k = 5), and the memorization. The memorization is above 0.5 if samples are closer to the training images
than test images are. The last row measures other training images of the class.

Two numbers of the paper (section 3) say how far the discriminator overfits: ``sign_train``, the mean sign of its logits
on training images, and ``overfit``, :math:`r_v`. It is 0 if the logits of test images are like those of training
images, and 1 if they are like those of samples.
"""

import argparse
import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks import cifar_classifier
from benchmarks.one_change import halvings
from ganlib import augment, data, latents, losses, metrics, models, penalties, stacks, training
from ganlib.protocols import Run

COLUMNS = (
    *("augment", "seed", "iteration", "p", "p_mean", "sign_train", "overfit", "frechet_distance", "precision"),
    *("recall", "density", "coverage", "memorization", "nearest_distance", "nearest_distance_real"),
)


def images_of(folder: Path, name: str, size: int) -> Tensor:
    """Read all images of a class, in a random order."""
    whole = data.only_class(data.ImageFolder(folder, size), name)
    return next(iter(data.TensorLoader(whole, len(whole), seed=0))).sample


def measure(classifier: Any, train: Tensor, test: Tensor, samples: Tensor) -> dict[str, float]:
    """Measure samples against the test images and the training images."""
    results: dict[str, Any] = {}
    features = classifier.features
    memorization = metrics.Memorization(features)
    memorization.add_training(train)
    for metric in (metrics.FrechetDistance(features), metrics.PrecisionRecall(features), memorization):
        for batch in samples.split(500):
            metric.update(batch, real=False)
        for batch in test.split(500):
            metric.update(batch, real=True)
        values: Any = metric.compute()
        results |= values if isinstance(values, dict) else {"frechet_distance": values}
    return {name: float(f"{float(value):.4g}") for name, value in results.items()}


@torch.no_grad()
def overfitting(discriminator: nn.Module, train: Tensor, test: Tensor, samples: Tensor) -> dict[str, float]:
    """Compute the mean sign of the logits of training images, and how far the discriminator overfits."""
    on_train, on_test, on_samples = (
        torch.cat([discriminator(batch) for batch in images.split(500)]) for images in (train, test, samples)
    )
    overfit = (on_train.mean() - on_test.mean()) / (on_train.mean() - on_samples.mean())
    return {"sign_train": round(on_train.sign().mean().item(), 3), "overfit": round(overfit.item(), 3)}


class Moments:
    """Call a function after every so many iterations, with the iteration and the mean of ADA's probability until then.

    Args:
        measure: the function.
        every: number of iterations between two calls.
        p: the probability, if there is one.
    """

    untimed = True

    def __init__(self, measure: Callable[[int, dict[str, float]], None], every: int, p: Tensor | None) -> None:
        self.measure, self.every, self.p = measure, every, p
        self.total = torch.zeros(()) if p is None else torch.zeros_like(p)

    def on_iteration(self, run: Run) -> None:
        """Add the probability; measure if it is time."""
        if self.p is not None:
            self.total += self.p
        if run.iteration % self.every == 0:
            p = {} if self.p is None else {"p": self.p, "p_mean": self.total / run.iteration}
            self.measure(run.iteration, {name: round(value.item(), 3) for name, value in p.items()})


AUGMENTATIONS: dict[str, Any] = {
    "none": lambda arguments: None,
    "ada": lambda arguments: augment.AdaptiveAugment(images=arguments.speed, target=arguments.target),
    "diff": lambda arguments: augment.DiffAugment(),
}


def train_one(
    arguments: argparse.Namespace, name: str, seed: int, images: Tensor, note: Callable[..., None]
) -> nn.Module:
    """Train with an augmentation, and return the averaged generator.

    Args:
        arguments: the command line.
        name: the augmentation.
        seed: the seed of the networks and of the training.
        images: all training images.
        note: a function that gets the averaged generator and the discriminator, and measurements by name.
    """
    torch.manual_seed(seed)
    shape = images.shape[1:]
    plan = stacks.StackPlan(tuple(shape), halvings(shape, arguments.width))
    generator, discriminator = models.dcgan(plan, arguments.latent_dim, discriminator_norm="none")
    generator.to(arguments.device)
    discriminator.to(arguments.device)
    adam = partial(torch.optim.Adam, lr=arguments.lr, betas=(0.0, 0.99), fused=True)
    augmentation = AUGMENTATIONS[name](arguments)
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        adam(generator.parameters()),
        adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(arguments.latent_dim),
        penalties=[penalties.R1(arguments.r1, every=4)],
        augment=augmentation,
    )
    average = training.EMA(generator, decay=0.999)
    loader = data.TensorLoader(
        TensorDataset(images), 64, transform=augment.RandomHorizontalFlip(), seed=seed, device=arguments.device
    )

    def measure(iteration: int, p: dict[str, float]) -> None:
        note(average.module, discriminator, augment=name, seed=seed, iteration=iteration, **p)

    moments = Moments(
        measure, arguments.measure_every or arguments.iterations, augmentation.p if name == "ada" else None
    )
    training.fit(trainer, loader, iterations=arguments.iterations, callbacks=[average, moments])
    return average.module


def main() -> None:
    """Read the command line, train, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = partial(parser.add_argument, help="(default: %(default)s)")
    add("--root", type=Path, required=True, metavar="DIR")
    add("--classifier", type=Path, required=True, metavar="X.pt")
    add("--class-name", default="horse", metavar="NAME")
    add("--images", type=int, default=1000, metavar="N")
    add("--image-size", type=int, default=16, metavar="N")
    add("--iterations", type=int, default=6000, metavar="N")
    add(
        "--measure-every",
        type=int,
        metavar="N",
        help="measure after every so many iterations (default: only at the end)",
    )
    add("--lr", type=float, default=1e-3)
    add("--r1", type=float, default=0.01, metavar="WEIGHT")
    add("--width", type=int, default=32, metavar="N")
    add("--speed", type=int, default=100_000, metavar="N", help="images in which ADA's p can go from 0 to 1")
    add(
        "--target",
        type=float,
        default=0.6,
        help="mean sign of the discriminator that ADA aims at (default: %(default)s)",
    )
    add("--augmentations", choices=AUGMENTATIONS, nargs="+", default=["none", "ada"], metavar="AUGMENT")
    add("--seeds", type=int, nargs="+", default=[0], metavar="S")
    add("--latent-dim", type=int, default=100, metavar="N")
    add("--device", default="cpu")
    add("--out", type=Path, default=Path("runs/small_data"), metavar="DIR")
    arguments = parser.parse_args()
    classifier = cifar_classifier.load(arguments.classifier)
    train, test = (
        images_of(arguments.root / part, arguments.class_name, arguments.image_size) for part in ("train", "test")
    )
    others, train = train[arguments.images :][: len(test)], train[: arguments.images]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "small_data.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()

        def note(samples: Tensor, **values: Any) -> None:
            row = {**values, **measure(classifier, train, test, samples)}
            table.writerow(row)
            file.flush()
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)

        def of_networks(generator: nn.Module, discriminator: nn.Module, **values: Any) -> None:
            latent = latents.Gaussian(arguments.latent_dim)
            drawn = torch.cat([batch.sample for batch in models.sample(generator, latent, len(test), seed=1)])
            overfit = overfitting(discriminator, *(images.to(arguments.device) for images in (train, test, drawn)))
            note(drawn.cpu(), **values, **overfit)

        for seed in arguments.seeds:
            for name in arguments.augmentations:
                generator = train_one(arguments, name, seed, train, of_networks)
                models.save_generator(arguments.out / f"{name}-{seed}.safetensors", generator)
        note(others, augment="other training images")


if __name__ == "__main__":
    main()

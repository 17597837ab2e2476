"""Measure MNIST with every metric: the generator included in ganlib, ways to fail, and the effect of sample counts.

    python -m benchmarks.metrics_on_mnist --root DIR --figure docs/how-to/how_good_is_my_gan.png

The features are those of the classifier included in ganlib. The script prints three tables, which are those of
``docs/how-to/how_good_is_my_gan.rst``:

1. Images of several kinds, compared with one random half of MNIST's test set. The first row is the other half.
   Generated images have the labels of that half, unless the row says otherwise. ``memorization`` uses the 60,000
   training images.
2. The Fréchet and the kernel distance to a half, for several random halves, latents and subsets of training images:
   means and standard deviations.
3. Training images and generated images, compared with other training images, for several numbers of samples. The figure
   shows this table.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.datasets import MNIST

from ganlib import data, latents, metrics, models, training

SIZES = 500, 1000, 2000, 5000, 10_000
BATCH = 500


class Measure:
    """Measure images with every metric, and compute the features of each image once.

    Args:
        classifier: computes the features and the class logits.
        real: features (N, 128) of real images.
        trained_on: features (M, 128) of the training data.
    """

    def __init__(self, classifier: metrics.DigitClassifier, real: Tensor, trained_on: Tensor) -> None:
        self.classifier = classifier
        self.real = real.split(BATCH)
        itself, head = nn.Identity(), classifier.head
        memorization = metrics.Memorization(itself)
        memorization.add_training(trained_on)
        self.metrics: list[Any] = [
            metrics.FrechetDistance(itself),
            metrics.KernelDistance(itself),
            metrics.PrecisionRecall(itself),
            metrics.InceptionScore(head),
            metrics.LabelAccuracy(head),
            metrics.ModeCoverage(head),
            memorization,
        ]

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the results by name, of images (N, 1, 28, 28) and their requested labels (N,)."""
        features = features_of(self.classifier, images)
        batches = list(zip(features.split(BATCH), labels.split(BATCH), strict=True))
        return training.Evaluate(self.metrics, lambda n: batches, real=self.real, n=len(images)).measure()


@torch.no_grad()
def features_of(classifier: metrics.DigitClassifier, images: Tensor) -> Tensor:
    """Return the features (N, 128) of images (N, 1, 28, 28)."""
    return torch.cat([classifier.features(batch) for batch in images.split(BATCH)])


def generated(generator: Any, labels: Tensor, seed: int, truncation: float | None = None) -> Tensor:
    """Generate images (N, 1, 28, 28), in float32."""
    latent = latents.Gaussian(generator.info["latent_dim"])
    batches = models.sample(generator, latent, condition=labels, seed=seed, truncation=truncation)
    return torch.cat([batch.sample.float() for batch in batches])


def cases(generator: Any, held_out: Tensor, labels: Tensor, copies: data.TensorLoader, seed: int) -> Iterator[Any]:
    """Yield a name, images and labels of each case, as many as there are held-out images."""
    random = torch.Generator().manual_seed(seed)
    images = generated(generator, labels, seed)
    yield "real digits, the other half", held_out, labels
    yield "the generator", images, labels
    yield "the same images in 8 bits", images.add(1).mul(127.5).round().div(127.5).sub(1), labels
    generator.bfloat16()
    yield "the same latents in bfloat16", generated(generator, labels, seed), labels
    generator.float()
    yield "truncation 0.5", generated(generator, labels, seed, truncation=0.5), labels
    yield "digits 0 to 4 only", generated(generator, labels % 5, seed), labels % 5
    which = torch.randperm(len(copies.samples), generator=random)[: len(labels)]
    assert copies.conditions is not None
    yield "a copier: training images", scaled(copies.samples[which]), copies.conditions[which]
    noise = torch.randn(images.shape, generator=random)
    yield "noise of 0.2 on the images", (images + 0.2 * noise).clamp(-1, 1), labels
    first = torch.stack([(labels == label).nonzero()[0, 0] for label in range(10)])
    yield "one image of each digit", images[first[labels]], labels


def scaled(images: Tensor) -> Tensor:
    """Return the float images in [-1, 1] that a TensorLoader makes of uint8."""
    return images.float() / 127.5 - 1


def distances(real: Tensor, samples: Tensor) -> list[float]:
    """Return the Fréchet and the kernel distance of features (N, 128) to real features."""
    found = list[float]()
    for metric in (metrics.FrechetDistance(nn.Identity()), metrics.KernelDistance(nn.Identity())):
        metric.update(real, real=True)
        metric.update(samples, real=False)
        value = metric.compute()
        found.append(float(value[0] if isinstance(value, tuple) else value))
    return found


def halves(
    classifier: metrics.DigitClassifier, generator: Any, test: data.TensorLoader, trained_on: Tensor, seeds: range
) -> Iterator[tuple[str, Tensor]]:
    """Yield names and distances (seeds, 2) of real, training and generated images to a random half of the test set."""
    found = dict[str, list[list[float]]]()
    features = features_of(classifier, scaled(test.samples))
    assert test.conditions is not None
    for seed in seeds:
        random = torch.Generator().manual_seed(seed)
        real, held_out = torch.randperm(len(features), generator=random).chunk(2)
        sides = {
            "real digits, the other half": features[held_out],
            "training images": trained_on[torch.randperm(len(trained_on), generator=random)[: len(held_out)]],
            "the generator": features_of(classifier, generated(generator, test.conditions[held_out], seed)),
        }
        for name, samples in sides.items():
            found.setdefault(name, []).append(distances(features[real], samples))
    for name, rows in found.items():
        yield name, torch.tensor(rows)


def bias(real: Tensor, fake: Tensor, sizes: Sequence[int], draws: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each n and (draws, 4): the Fréchet and the kernel distance of real and of generated features to real ones.

    Up to n = 1000 there are ten times as many draws, because the kernel distance then has one subset and a large
    spread.
    """
    random = torch.Generator().manual_seed(seed)
    for n in sizes:
        rows = list[list[float]]()
        for _ in range(draws if n > 1000 else 10 * draws):
            reference, other = real[torch.randperm(len(real), generator=random)[: 2 * n]].split(n)
            drawn = fake[torch.randperm(len(fake), generator=random)[:n]]
            rows.append(distances(reference, other) + distances(reference, drawn))
        yield n, torch.tensor(rows)


def draw(rows: Sequence[tuple[int, Tensor]], path: Path) -> None:
    """Plot the third table."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for k, (axes, title) in enumerate(zip(figure.subplots(1, 2), ("Fréchet distance", "kernel distance"), strict=True)):
        for column, label, marker in ((k, "real to real", "o"), (k + 2, "generated to real", "s")):
            sizes = [n for n, _ in rows]
            centers, spreads = ([float(of(values[:, column])) for _, values in rows] for of in (torch.mean, torch.std))
            axes.errorbar(sizes, centers, spreads, label=label, marker=marker, markersize=4, capsize=3)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(title=title, xlabel="samples on each side", xscale="log", xticks=sizes, xticklabels=sizes)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=90)


def show(*cells: str) -> None:
    """Print a row of a csv-table."""
    print("   " + ", ".join(f'"{cell}"' for cell in cells), flush=True)


def means(values: Tensor) -> list[str]:
    """Format the mean and standard deviation of each column, Fréchet and kernel distances alternating."""
    return [f"{column.mean():.{2 - k % 2}f} ± {column.std():.{2 - k % 2}f}" for k, column in enumerate(values.T)]


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with MNIST/raw")
    parser.add_argument("--figure", type=Path, metavar="X.png", help="file for a plot of the third table")
    parser.add_argument(
        "--draws", type=int, default=10, metavar="N", help="repetitions in the third table (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    classifier, generator = metrics.DigitClassifier.pretrained(), models.pretrained("mnist_cdcgan")
    test, train = (data.TensorLoader(MNIST(arguments.root, train=train), BATCH) for train in (False, True))
    order = torch.randperm(len(test.samples), generator=torch.Generator().manual_seed(arguments.seed))
    real, held_out = order.chunk(2)
    assert test.conditions is not None
    assert train.conditions is not None
    trained_on = features_of(classifier, scaled(train.samples))
    measure = Measure(classifier, features_of(classifier, scaled(test.samples[real])), trained_on)
    for name, images, labels in cases(
        generator, scaled(test.samples[held_out]), test.conditions[held_out], train, arguments.seed
    ):
        found = measure(images, labels)
        show(
            name,
            f"{found['frechet_distance']:.2f}",
            f"{found['kernel_distance']:.1f}",
            *(f"{found[name]:.3f}" for name in ("precision", "recall", "density", "coverage")),
            f"{found['inception_score']:.2f}",
            f"{found['label_accuracy']:.2%}",
            f"{found['modes_found']:.0f}",
            f"{found['kl_divergence']:.3f}",
            f"{found['memorization']:.3f}",
        )
    for name, values in halves(classifier, generator, test, trained_on, range(arguments.seed, arguments.seed + 5)):
        show(name, *means(values))
    fake = features_of(classifier, generated(generator, train.conditions[: 2 * SIZES[-1]], arguments.seed))
    rows = list[tuple[int, Tensor]]()
    for n, values in bias(trained_on, fake, SIZES, arguments.draws, arguments.seed):
        rows.append((n, values))
        show(f"{n:,}", *means(values))
    if arguments.figure is not None:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()

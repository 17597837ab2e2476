"""torchvision and matplotlib are needed by what is made of them, and by nothing else.

Run as a script, with the names of packages, it uses ganlib as if these were not installed, and prints what failed.
"""

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def importing():
    """Import every package, and everything public."""
    import ganlib

    for name in ganlib.__all__:
        package = getattr(ganlib, name)
        for public in package.__all__:
            getattr(package, public)


def training():
    """Train with every callback but LossCurves, on samples that are changed on the way; then resume."""
    import torch

    from ganlib import augment, data, latents, losses, models, stacks, training, viz

    class Mean:
        def reset(self):
            self.values = []

        def update(self, samples, *, real=False):
            self.values.append(samples.mean())

        def compute(self):
            return torch.stack(self.values).mean()

    loader = data.TensorLoader(data.RenderedDigits(8, length=20), 10, transform=augment.RandomRotation(10))
    latent = latents.Gaussian(4)
    generator, discriminator = models.conditional_dcgan(stacks.StackPlan((1, 8, 8), [stacks.Stage(8)]), 4, 10)
    adams = [torch.optim.Adam(network.parameters()) for network in (generator, discriminator)]
    trainer = training.AdversarialTrainer(
        generator, discriminator, *adams, loss=losses.HingeLoss(), latent=latent, augment=augment.DiffAugment()
    )
    ema = training.EMA(generator)
    classes = torch.arange(10)
    sampler = partial(models.sample, ema.module, latent, condition=lambda n: classes[:n])
    for iterations in (3, 5):
        callbacks = [
            ema,
            training.ProgressBar(),
            training.Evaluate({"mean": Mean()}, sampler, every=2, n=10),
            training.EarlyStopping("generator_loss", patience=100),
            training.LearningRateSchedule(adams[0], training.linear_decay()),
            training.CSVLogger("run/metrics.csv"),
            training.TensorBoardLogger("run/tensorboard"),
            viz.SampleGrid(ema.module, "run/samples", latent=latent(10), condition=classes, every=1),
            viz.TrainingGif("run/training.gif", "run/samples"),
            viz.Timeline("run/timeline.png", "run/samples"),
            training.Checkpoint("run", every=1),
        ]
        training.fit(trainer, loader, iterations=iterations, callbacks=callbacks, resume=iterations == 5)
    models.save_generator("run/generator.safetensors", ema.module, {"latent_dim": 4, "classes": [*range(10)]})


def sampling():
    """Load a generator, and draw a grid of its samples."""
    import torch

    from ganlib import latents, models, viz

    for generator in (models.load_generator("run/generator.safetensors"), models.pretrained("mnist_cdcgan")):
        samples = models.sample(generator, latents.Gaussian(generator.info["latent_dim"]), condition=torch.arange(10))
        viz.image_grid(next(samples).sample).save("grid.png")


def reading_images():
    """Read a folder of images."""
    from PIL import Image

    from ganlib import data

    for name in "ab":
        Path("images", name).mkdir(parents=True)
        for color in ("red", "blue"):
            Image.new("RGB", (9, 12), color).save(f"images/{name}/{color}.png")
    assert next(iter(data.TensorLoader(data.ImageFolder("images", 8), 2))).sample.shape == (2, 3, 8, 8)


def drawing_a_number():
    """Draw by the command line."""
    _command("draw", "2026", "--out", "number.png")
    _command("sample", "--run", "run/generator.safetensors", "--out", "samples.png")


def classifying_digits():
    """Use the classifier, which the evaluation of digits is made of."""
    import torch

    from ganlib import metrics

    metrics.DigitClassifier()(torch.zeros(1, 1, 28, 28))


def measuring():
    """Measure by torchmetrics, unless that needs a package that is missing, by way of torch-fidelity."""
    import torch

    from ganlib import errors, metrics

    with suppress(errors.MissingExtraError):
        metrics.FrechetDistance(torch.nn.Flatten()).update(torch.zeros(2, 1, 2, 2), real=True)


def plotting_curves():
    """Make the callback that plots."""
    from ganlib import viz

    viz.LossCurves("run/losses.png")


def training_by_the_command_line():
    """Train the script's GAN, which plots its losses."""
    options = ["--data", "folder", "--root", "images", "--iterations", "1", "--batch-size", "4", "--out", "runs/a"]
    _command("train", *options)


def evaluating_by_the_command_line():
    """Ask how to evaluate, which draws an image in the end."""
    _command("evaluate", "--help")


def opening_mnist():
    """Open MNIST by name: with torchvision, only its files are missing."""
    sys.path.insert(0, str(EXAMPLES))
    import _data

    from ganlib.errors import DataError

    with suppress(DataError):
        _data.open_data(Namespace(data="mnist", root=Path("nowhere"), download=False, image_size=None))


def opening_mnist_for_a_game():
    """Open MNIST for a game, which has digits of its own."""
    sys.path.insert(0, str(EXAMPLES / "games"))
    import _flags

    with suppress(RuntimeError):
        _flags.mnist("nowhere")


# In this order; each with what it needs.
USES = {
    importing: set(),
    training: set(),
    sampling: set(),
    reading_images: set(),
    drawing_a_number: set(),
    classifying_digits: set(),
    measuring: set(),
    plotting_curves: {"matplotlib"},
    training_by_the_command_line: {"matplotlib"},
    evaluating_by_the_command_line: {"matplotlib"},
    opening_mnist: {"torchvision"},
    opening_mnist_for_a_game: {"torchvision"},
}


def _command(*words):
    from ganlib._cli import main

    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise end.__context__ from None


def _error_of(use):
    try:
        use()
    except BaseException as error:
        return [kind.__name__ for kind in type(error).__mro__], str(error)
    return None


@cache
def _errors_without(packages):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, *packages]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("packages", [("torchvision",), ("matplotlib",), ("torchvision", "matplotlib")], ids=", ".join)
def test_only_what_is_made_of_a_package_needs_it(packages, use):
    """All else works without it, and what needs it is an ImportError of ours that says how to get it."""
    error = _errors_without(packages)[use.__name__]
    missing = USES[use].intersection(packages)
    if not missing:
        assert error is None
        return
    kinds, message = error
    assert {"GanlibError", "ImportError"} <= {*kinds}
    (package,) = missing
    assert message.startswith(f"{package} is not installed, which ")
    assert message.endswith(f": pip install {package}")


if __name__ == "__main__":
    sys.modules.update(dict.fromkeys(sys.argv[1:]))  # importing them fails
    print(json.dumps({use.__name__: _error_of(use) for use in USES}))

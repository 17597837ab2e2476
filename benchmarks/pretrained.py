"""Measure a finished run, and store its generator, or a classifier, in ganlib in half precision.

    python -m benchmarks.pretrained mnist_cdcgan runs/mnist --root DIR --digits runs/other.pt --command "python ..."
    python -m benchmarks.pretrained digit_classifier runs/digits.pt --root DIR --command "python -m ..."

RUN is the folder of a run of ``examples/mnist_cdcgan.py train`` on MNIST, at 28 or 64 pixels. The file stores the
command that made the run. The generator is measured as it is stored, with another classifier than the one in ganlib:
10,000 samples and 10,000 training images are compared with 10,000 test images (see ``benchmarks.run_quality``). For a
classifier, the script measures the accuracy on MNIST's test set, with rotated digits and without rotation.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torchvision.datasets import MNIST

from benchmarks import digit_classifier
from benchmarks.run_quality import Measure, Quality, iterations
from ganlib import augment, data, latents, metrics, models

PACKAGE = Path(models.__file__).parents[1]
SYSTEM = {"mnist_cdcgan": 1, "mnist_cdcgan64": 4}
SAMPLES = 10_000


def ship_generator(name: str, run: Path, *, root: Path, classifier: Path, command: str) -> dict[str, Any]:
    """Store the generator of a run with its figures, and return the figures."""
    generator: Any = models.load_generator(run / "generator.safetensors").half()
    path = PACKAGE / "models/pretrained" / f"{name}.safetensors"
    models.save_generator(path, generator, generator.info)
    stored: Any = models.load_generator(path).float()
    labels = torch.arange(10).repeat(SAMPLES // 10)
    latent = latents.Gaussian(stored.info["latent_dim"])
    batches = models.sample(stored, latent, condition=labels, batch_norm=stored.info["batch_norm"], seed=0)
    images = torch.cat([batch.sample for batch in batches])
    measure = Measure(SYSTEM[name], root, classifier)
    figures: dict[str, Any] = _rounded(measure(images, labels)) | {"samples": SAMPLES}
    figures["real"] = _rounded(measure.real(SAMPLES))
    kept = ["latent_dim", "classes", "image_size", "batch_norm", "seed", *["rotation"] * ("rotation" in stored.info)]
    info = {what: stored.info[what] for what in kept} | {"iterations": int(iterations(run)), "command": command}
    models.save_generator(path, generator, info | {"figures": figures})
    return figures


def ship_classifier(weights: Path, *, root: Path, command: str) -> dict[str, Any]:
    """Store a classifier with its accuracy, and return the accuracy."""
    classifier = digit_classifier.load(weights).half()
    path = PACKAGE / "metrics/pretrained/digit_classifier.safetensors"
    state = {name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}
    path.write_bytes(save(state, {"format": "pt"}))
    stored = metrics.DigitClassifier.pretrained()
    figures = dict[str, Any]()
    for what, turn in (("test_accuracy", None), ("test_accuracy_turned_25", augment.RandomRotation(25))):
        score = metrics.LabelAccuracy(stored)
        for sample, label in data.TensorLoader(MNIST(root, train=False), 1000, transform=turn):
            assert isinstance(label, torch.Tensor)
            score.update(sample, label)
        figures[what] = round(score.compute().item(), 4)
    info = json.dumps({"command": command, "figures": figures})
    path.write_bytes(save(state, {"format": "pt", "info": info}))
    return figures


def _rounded(quality: Quality) -> dict[str, Any]:
    return {name: round(value, 4) for name, value in quality._asdict().items() if value is not None}


def main() -> None:
    """Read the command line, measure, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*SYSTEM, "digit_classifier"])
    parser.add_argument("source", type=Path, metavar="RUN", help="the folder of a run, or the file of a classifier")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder with MNIST/raw")
    parser.add_argument(
        "--digits", type=Path, metavar="X.pt", help="another classifier, made by benchmarks.digit_classifier"
    )
    parser.add_argument("--command", required=True, help="the command that trained it")
    arguments = parser.parse_args()
    if arguments.name == "digit_classifier":
        print(ship_classifier(arguments.source, root=arguments.root, command=arguments.command))
    elif arguments.digits is None:
        parser.error("a generator requires --digits")
    else:
        print(
            ship_generator(
                arguments.name,
                arguments.source,
                root=arguments.root,
                classifier=arguments.digits,
                command=arguments.command,
            )
        )


if __name__ == "__main__":
    main()

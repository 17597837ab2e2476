"""Evaluate a trained generator."""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ganlib import __version__, metrics, models, training
from ganlib._cli._evaluation_image import Neighbors, draw_evaluation
from ganlib._cli._examples import scripts
from ganlib._cli._generator import find_generator, latent_of, load_generator
from ganlib._files import prepare_file, write_atomically
from ganlib.errors import ArgumentValueError, DataError, GanlibError
from ganlib.protocols import Batch, Latent

__all__ = ["evaluate"]

# Samples in the image, and the nearest real images of each.
_SAMPLES, _NEAREST = 20, 5
# Published results of Stacked MNIST have more samples; a perfect generator's divergence depends on their number.
_N, _N_STACKED = 10_000, 26_000


def evaluate(options: Sequence[str]) -> None:
    """Evaluate a generator against real images, and write the values as a table, a JSON file and an image.

    Args:
        options: the arguments after ``python -m ganlib evaluate``.

    Raises:
        GanlibError: if an argument does not fit the generator or the data, or something is missing.
    """
    with scripts() as load:
        shared, command_line, data_sets = load("_evaluation"), load("_command_line"), load("_data").DATA_SETS
    arguments = _parser(shared, command_line, data_sets).parse_args(options)
    _evaluate(arguments, shared, data_sets)


def _parser(shared: Any, command_line: Any, data_sets: Sequence[str]) -> argparse.ArgumentParser:
    own = "default: %(default)s"
    parser = argparse.ArgumentParser(
        prog="python -m ganlib evaluate",
        description="Evaluate a generator against the same number of real images that it was not trained on. These "
        "come from the test set of MNIST and similar data sets, or are new digits for 'digits'. They are rotated if "
        "the generator was trained on rotated images. A folder has no test set: pass a folder of held-out images as "
        "--root. Images other than digits are compared by Inception's features, whose weights are downloaded once. "
        "Labels have the frequencies of the real images, or equal frequencies if the real images have other classes.",
    )
    add: Any = parser.add_argument
    which = "folder of a run, file of a generator, or name of a pretrained generator"
    add("run", metavar="RUN", help=f"{which}: mnist_cdcgan or mnist_cdcgan64")
    add("--data", choices=data_sets, help="data set to compare with (default: the data set of the run)")
    add("--root", type=Path, default=Path("data"), metavar="DIR", help=f"folder of the data set ({own})")
    trained = "folder of the training images, for memorization and --baseline with --data folder"
    add("--training-root", type=Path, metavar="DIR", help=trained)
    add("--download", action="store_true", help="download the data set first")
    names = "fid: Fréchet distance; kid: kernel distance; prdc: precision, recall, density, coverage; accuracy: share "
    names += "of samples classified as their label; is: inception score; modes: number of modes; memorization: copies "
    names += "of training images (default: fid kid prdc; for digits accuracy too, for stacked-mnist modes)"
    add("--metrics", nargs="+", choices=shared.METRICS, metavar="METRIC", help=names)
    features = "network of the features: the digit classifier of ganlib, or Inception; auto: depends on the data"
    add("--features", choices=["auto", "digits", "inception"], default="auto", help=f"{features} ({own})")
    add("--weights", type=Path, metavar="FILE", help="weights of Inception (default: in the cache of torch.hub)")
    counts = f"default: {_N}; {_N_STACKED} for {shared.STACKED}, as in published results"
    add("--n", type=command_line.whole, metavar="N", help=f"number of samples ({counts})")
    baseline = "evaluate as many training images too, for comparison: a generator is not expected to be better"
    add("--baseline", action="store_true", help=baseline)
    add("--seed", type=command_line.seed, default=0, metavar="S", help=f"seed of the latents ({own})")
    command_line.add_device(parser)
    out = "output file; the image is written next to it (default: evaluation.json in the run)"
    add("--out", type=Path, metavar="X.json", help=out)
    return parser


class _Subject(NamedTuple):
    """Store the generator to evaluate and its inputs."""

    generator: Any
    latent: Latent
    table: Tensor | None  # row y is the condition of label y; None if the generator is unconditional
    shape: torch.Size  # of a sample


def _evaluate(arguments: argparse.Namespace, shared: Any, data_sets: Sequence[str]) -> None:
    began = time.monotonic()
    subject = _subject(load_generator(arguments.run, "RUN"), arguments.run, arguments.device)
    _complete(arguments, subject, shared, data_sets)
    info, n = subject.generator.info, arguments.n
    own = {"class_name": info.get("class_name"), "rotation": info.get("rotation")}
    images = partial(shared.real_images, **own, grey=subject.shape[0] == 1)
    of_training = argparse.Namespace(**vars(arguments) | {"root": arguments.training_root or arguments.root})
    real = images(arguments, n=n)
    if real.samples.shape[1:] != subject.shape:
        raise ArgumentValueError(
            f"--data {arguments.data} has images {tuple(real.samples.shape[1:])}, but RUN (={arguments.run}) draws "
            f"{tuple(subject.shape)}"
        )
    shared.check_counts(arguments.metrics, ("--n", n), (f"--data {arguments.data}", len(real.samples)))
    network = _features(shared, arguments).to(arguments.device)
    measured = shared.make_metrics(arguments.metrics, _same, _head(network), arguments.device, data=arguments.data)
    labels, told = _labels(subject.table, real.conditions)
    batch_norm = info.get("batch_norm", "running")
    sampler = shared.Sampler(subject.generator, subject.latent, subject.table, labels, batch_norm, arguments.seed)

    prepare_file(arguments.out)
    # Call the network once per image, for all metrics and the nearest neighbors.
    real_rows = [row for row, _ in _rows(network, real, len(real.samples), "real images")]
    for metric in measured:
        if isinstance(metric, metrics.Memorization):
            trained_on = images(of_training, test=False)
            for row, _ in _rows(network, trained_on, len(trained_on.samples), "training images"):
                metric.add_training(row)
    rows_of_samples = partial(_rows_of_samples, network, sampler)
    values = training.Evaluate(measured, rows_of_samples, real=real_rows, n=n).measure()
    baseline = dict[str, float]()
    if arguments.baseline:
        others = images(of_training, n=n, test=False)
        rows = list(_rows(network, others, len(others.samples), "training images"))
        baseline = training.Evaluate(measured, lambda n: rows, n=len(others.samples)).measure()

    title = f"{arguments.run} against {arguments.data}: {n} samples, {len(real.samples)} real images"
    title += f" rotated by up to {own['rotation']:g} degrees" if own["rotation"] else ""
    title += f", features {arguments.features}"
    print(title)
    if baseline:
        print(f"  {'':<24}{'samples':<28}training images")
    for name in values:
        if name.removesuffix("_std") not in values.keys() - {name}:
            print(f"  {name:<24}{_shown(values, name):<28}{_shown(baseline, name)}".rstrip())
    path = find_generator(arguments.run)
    report = {
        "metrics": _for_json(values),
        "metrics_of_training_images": _for_json(baseline) if baseline else None,
        "generator": arguments.run if path is None else str(path),
        "data": arguments.data,
        **own,
        "samples": n,
        "real_images": len(real.samples),
        "labels": told,
        "features": arguments.features,
        "seed": arguments.seed,
        "ganlib": __version__,
        "torch": torch.__version__,
    }
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    write_atomically(arguments.out, lambda file: file.write(text.encode()))
    nearest = _neighbors(sampler, min(n, _SAMPLES), network, real, torch.cat(real_rows), info.get("classes"))
    image = arguments.out.with_suffix(".png")
    folder = Path(arguments.run) if path is None or Path(arguments.run).is_dir() else path.parent
    draw_evaluation(image, title, nearest, folder / "metrics.csv")
    print(f"{arguments.out}, and {image}; {time.monotonic() - began:.0f} s")


def _shown(values: Mapping[str, float], name: str) -> str:
    """Return a value as text, with the standard deviation over subsets if there is one."""
    deviation = values.get(f"{name}_std")
    spread = f" ± {deviation:.3g} over subsets" if deviation else ""  # it is 0 for a single subset
    return f"{values[name]:.6g}{spread}" if name in values else ""


def _for_json(values: Mapping[str, float]) -> dict[str, float | None]:
    """Replace infinity, which JSON does not have, by None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _features(shared: Any, arguments: argparse.Namespace) -> Any:
    try:
        return shared.load_features(arguments.features, arguments.weights)
    except DataError as error:
        raise ArgumentValueError(f"--features inception (or --weights FILE): {error}") from error


def _subject(generator: Any, run: str, device: str) -> _Subject:
    """Return the generator on the device, its latents and conditions, and the shape of its samples."""
    info, generator = generator.info, generator.to(device)
    if not isinstance(info.get("latent_dim"), int):
        raise ArgumentValueError(
            f"RUN (={run}) has an info without latent_dim. Save it by save_generator(path, generator, "
            "info={'latent_dim': ...})"
        )
    classes, problems = info.get("classes"), list[str]()
    try:
        latent = latent_of(info)
        tables = [torch.as_tensor(info.get("table", range(len(classes))))] if isinstance(classes, list) else []
        if any(len(table) != len(classes) for table in tables):
            raise ValueError(
                f"table {tuple(tables[0].shape)} in its info must have a row for each class of the generator"
            )
    except (GanlibError, TypeError, ValueError) as error:
        raise ArgumentValueError(f"RUN (={run}) cannot be sampled: {error}") from error
    for table in [*tables, None]:  # an unconditional run of a single class has classes too
        condition = None if table is None else table[:2]
        try:
            sample = next(models.sample(generator, latent, 2 if table is None else None, condition=condition)).sample
        except (GanlibError, TypeError, ValueError, RuntimeError) as error:  # the network can be any module
            problems.append(str(error).splitlines()[0])
            continue
        if sample.ndim != 4 or sample.shape[1] not in (1, 3) or sample.shape[2] != sample.shape[3]:
            raise ArgumentValueError(
                f"RUN (={run}) draws {tuple(sample.shape[1:])}, which are not square images of 1 or 3 channels"
            )
        if not sample.isfinite().all():
            raise ArgumentValueError(f"RUN (={run}) draws values that are not finite")
        return _Subject(generator, latent, table, sample.shape[1:])
    hint = (
        ""
        if tables
        else (
            ". If it is conditional, name its classes, in the order of their numbers: save_generator(path, generator, "
            "info={'latent_dim': ..., 'classes': [...]})"
        )
    )
    raise ArgumentValueError(f"RUN (={run}) cannot be sampled: {'; '.join(problems)}{hint}")


def _complete(arguments: argparse.Namespace, subject: _Subject, shared: Any, data_sets: Sequence[str]) -> None:
    """Fill in missing arguments, and raise an error for arguments that do not fit together."""
    info = subject.generator.info
    if arguments.data is None:
        arguments.data = info.get("data")
        if arguments.data not in data_sets:
            raise ArgumentValueError(
                f"--data is missing, since RUN (={arguments.run}) does not contain the name of its data set: pass one "
                f"of {', '.join(data_sets)}"
            )
    arguments.n = arguments.n or (_N_STACKED if arguments.data == shared.STACKED else _N)
    arguments.image_size = subject.shape[-1]
    if arguments.features == "auto":
        arguments.features = "inception" if arguments.weights else shared.features_for(arguments.data)
    digits = arguments.data in shared.DIGITS and arguments.features == "digits"
    of_digits = subject.table is not None and len(subject.table) == 10
    defaults = shared.default_metrics(arguments.features, digits=digits and of_digits, data=arguments.data)
    arguments.metrics = list(dict.fromkeys(arguments.metrics or defaults))
    if arguments.weights is not None and arguments.features != "inception":
        raise ArgumentValueError(f"--weights (={arguments.weights}) needs --features inception")
    stacked = arguments.data == shared.STACKED and arguments.features == "digits"
    if arguments.features == "digits" and subject.shape[0] != 1 and not stacked:
        raise ArgumentValueError(f"--features digits needs grey images, but RUN (={arguments.run}) draws RGB")
    for name in {"accuracy", "modes"} & {*arguments.metrics}:
        if not (digits or (stacked and name == "modes")):
            raise ArgumentValueError(
                f"--metrics {name} needs a classifier of digits: --data "
                f"{' or '.join((*shared.DIGITS, *[shared.STACKED] * (name == 'modes')))}, and --features "
                f"digits; but got {arguments.data} and {arguments.features}"
            )
    if "accuracy" in arguments.metrics and not of_digits:
        raise ArgumentValueError(f"--metrics accuracy: RUN (={arguments.run}) is not a generator of ten classes")
    if arguments.training_root is not None and arguments.data != "folder":
        raise ArgumentValueError(f"--training-root (={arguments.training_root}) needs --data folder")
    for option, used in (
        ("--metrics memorization", "memorization" in arguments.metrics),
        ("--baseline", arguments.baseline),
    ):
        if used and arguments.data == "folder" and arguments.training_root is None:
            raise ArgumentValueError(
                f"{option} needs a test set, which --data folder does not have: pass held-out images as --root, and "
                "the training images as --training-root"
            )
    arguments.out = (
        arguments.out or (Path(arguments.run) if Path(arguments.run).is_dir() else Path()) / "evaluation.json"
    )
    if arguments.out.suffix.lower() != ".json":
        raise ArgumentValueError(f"--out (={arguments.out}) must end in .json")


def _labels(table: Tensor | None, real: Tensor | None) -> tuple[Tensor | None, str | None]:
    """Return the labels to draw from, and a description of their frequencies."""
    if table is None:
        return None, None
    if real is not None and len(real.unique()) == len(table):
        return real, "as often as real images have them"
    return torch.arange(len(table)), "equally often"


def _rows(network: Any, batches: Iterable[Batch], n: int, what: str) -> Iterator[Batch]:
    """Yield features instead of the n images, with a progress bar on a terminal."""
    with torch.no_grad(), tqdm(total=n, desc=what, unit="image", disable=None, leave=False) as bar:
        for batch in batches:
            yield Batch(network(batch.sample.float()), batch.condition)
            bar.update(len(batch.sample))


def _rows_of_samples(network: Any, sampler: Any, n: int) -> Iterator[Batch]:
    return _rows(network, sampler(n), n, "samples")


def _same(rows: Tensor) -> Tensor:
    """Return features that are already computed."""
    return rows


def _head(network: Any) -> Callable[[Tensor], Tensor]:
    """Return the function from features to logits."""
    if isinstance(network, metrics.InceptionFeatures):
        weight = network.network.fc.weight  # the published score is without the bias
        return lambda rows: rows @ weight.T
    head: Callable[[Tensor], Tensor] = network.head
    return head


def _neighbors(sampler: Any, n: int, network: Any, real: Any, real_rows: Tensor, classes: Any) -> Neighbors:
    """Generate n samples, and find the real images with the nearest features."""
    batches = list(sampler(n))
    samples = torch.cat([batch.sample for batch in batches])
    with torch.no_grad():
        rows = network(samples.float())
    nearest = metrics.nearest_neighbors(rows, real_rows, min(_NEAREST, len(real_rows)))[1]
    images = real.samples[nearest.to(real.samples.device)]
    images = images.float().div(127.5).sub(1) if images.dtype == torch.uint8 else images
    names = None
    if batches[0].condition is not None and isinstance(classes, list):
        names = [str(classes[label]) for batch in batches for label in batch.condition.tolist()]
    return Neighbors(samples.cpu(), images.cpu(), names)

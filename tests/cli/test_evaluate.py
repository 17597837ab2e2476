"""Tests of measuring a trained generator."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

import ganlib
from ganlib import conditioning, data, latents, metrics, models, stacks
from tests.cli.commands import call, environment, files, refused
from tests.examples.scripts import write_mnist

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])
RENDERED, COUNT = data.RenderedDigits, 100
DEFAULT = {
    "frechet_distance", "kernel_distance", "kernel_distance_std", "precision", "recall", "density", "coverage",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and sets of 100 rendered digits each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "RenderedDigits", lambda size, length=100, seed=0: RENDERED(size, COUNT, seed))
    return tmp_path


def save(path: str, generator: nn.Module | None = None, **info: Any) -> Any:
    """Save a generator of ten classes, or another one, in the folder of a run; returns it as it is loaded again."""
    generator = models.conditional_dcgan(PLAN, 4, 10)[0] if generator is None else generator
    own = {"latent_dim": 4, "classes": list("0123456789"), "data": "digits"} | info
    Path(path).mkdir(parents=True)
    models.save_generator(f"{path}/generator.safetensors", generator, own)
    return models.load_generator(f"{path}/generator.safetensors")


def digits(seed: int, size: int = 8) -> Tensor:
    """100 rendered digits, whose labels are 0 to 9 again and again."""
    images = [np.asarray(image, dtype=np.float32) for image, _ in RENDERED(size, 100, seed)]
    return torch.from_numpy(np.stack(images)).unsqueeze(1) / 127.5 - 1


def drawn(generator: Any, labels: Any, latent: Any, seed: int = 0) -> Tensor:
    """Samples by hand."""
    batches = models.sample(generator, latent, len(labels), condition=labels, seed=seed)
    return torch.cat([batch.sample for batch in batches])


def report(path: str) -> Any:
    """The JSON file, which must be one also for readers that know no infinity."""
    return json.loads(Path(path).read_text(), parse_constant=lambda name: pytest.fail(name))


class ByHand:
    """The metrics of samples against rendered digits, each computed from the images."""

    def __init__(self, samples: Tensor) -> None:
        self.classifier = metrics.DigitClassifier.pretrained()
        self.samples, self.real = samples, digits(1, samples.shape[-1])

    def resized(self, images: Tensor) -> Tensor:
        """Images at the size that the classifier reads."""
        return F.interpolate(images, (28, 28), mode="bilinear", antialias=True)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The classifier's."""
        return self.classifier.features(self.resized(images))

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The classifier's."""
        return self.classifier(self.resized(images))

    def __call__(self, metric: Any) -> Any:
        """What a metric with two sides computes."""
        metric.update(self.real, real=True)
        metric.update(self.samples, real=False)
        return metric.compute()


def test_the_values_are_those_of_the_metrics(here: Path) -> None:
    """All metrics equal those of samples of the same seed, each label as frequent as among the real images."""
    names = ("fid", "kid", "prdc", "accuracy", "is", "modes", "memorization")
    generator, labels = save("run", models.pretrained("mnist_cdcgan64"), latent_dim=100), torch.arange(10)
    call("evaluate", "run", "--metrics", *names, "--n", 100, "--seed", 3)
    hand = ByHand(drawn(generator, labels.repeat_interleave(10), latents.Gaussian(100), seed=3))
    logits = hand.logits(hand.samples).double()
    p = logits.softmax(1)
    memorization = metrics.Memorization(hand.features)
    memorization.add_training(digits(0, 64))
    expected = {
        "frechet_distance": hand(metrics.FrechetDistance(hand.features)),
        "kernel_distance": hand(metrics.KernelDistance(hand.features))[0],
        "kernel_distance_std": 0,  # all samples are in one subset
        **hand(metrics.PrecisionRecall(hand.features)),
        "label_accuracy": (logits.argmax(1) == labels.repeat_interleave(10)).double().mean(),
        "inception_score": (p * (p / p.mean(0)).log()).sum(1).mean().exp(),
        **hand(metrics.ModeCoverage(hand.logits)),
        **hand(memorization),
    }
    actual = report("run/evaluation.json")
    assert actual["metrics"] == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-5)
    assert actual["metrics"]["label_accuracy"] > 0.9
    assert {name: value for name, value in actual.items() if name != "metrics"} == {
        "generator": "run/generator.safetensors", "data": "digits", "class_name": None, "rotation": None,
        "metrics_of_training_images": None, "samples": 100,
        "real_images": 100, "labels": "as often as real images have them", "features": "digits", "seed": 3,
        "ganlib": ganlib.__version__, "torch": torch.__version__,
    }  # fmt: skip


def test_the_table_and_the_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each metric, with its deviation; a JSON file with the same values, and an image next to it."""
    save("run")
    call("evaluate", "run", "--n", 20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run against digits: 20 samples, 20 real images, features digits"
    values = report("run/evaluation.json")["metrics"]
    assert values.keys() == DEFAULT | {"label_accuracy"}
    names = [name for name in values if not name.endswith("_std")]
    assert [line.split()[0] for line in lines[1:-1]] == names
    assert [float(line.split()[1]) for line in lines[1:-1]] == pytest.approx([values[name] for name in names], rel=1e-5)
    assert not any("±" in line for line in lines)  # there is one subset of 20 samples
    assert files(here) == ["run/evaluation.json", "run/evaluation.png", "run/generator.safetensors"]
    call("evaluate", "run", "--n", 20, "--metrics", "fid", "fid", "--out", "new/x.json")
    assert report("new/x.json")["generator"] == str(Path("run/generator.safetensors"))
    assert report("new/x.json")["metrics"] == {"frechet_distance": values["frechet_distance"]}
    assert files(here / "new") == ["x.json", "x.png"]


@pytest.mark.parametrize("info", [{"latent": "uniform"}, {"script": "mnist_mlp_gan"}])
def test_latents_are_those_of_the_training(info: dict[str, Any], here: Path) -> None:
    """An unconditional generator of uniform latents, also of an earlier version, gets these; it has no accuracy."""
    generator = save("run", models.mlp_gan((1, 8, 8), 4, [8])[0], classes=None, **info)
    call("evaluate", "run", "--n", 100)
    hand = ByHand(torch.cat([b.sample for b in models.sample(generator, latents.Uniform(4), 100, seed=0)]))
    actual = report("run/evaluation.json")
    assert actual["metrics"].keys() == DEFAULT
    distance = hand(metrics.FrechetDistance(hand.features))
    assert actual["metrics"]["frechet_distance"] == pytest.approx(float(distance), rel=1e-5)
    assert actual["labels"] is None


def test_a_run_of_tags(here: Path) -> None:
    """A generator is given the row of the class where its info has a table of them; classes are still read."""
    table = torch.randn(10, 3).sign().clamp(min=0)
    generator = models.mlp_gan((1, 8, 8), 4, [8], encoder=conditioning.TagEmbedding(3, 4))[0]
    generator = save("run", generator, table=table.tolist())
    call("evaluate", "run", "--n", 100, "--metrics", "fid", "accuracy")
    labels = torch.arange(10).repeat_interleave(10)
    hand = ByHand(drawn(generator, table[labels], latents.Gaussian(4)))
    expected = {
        "frechet_distance": float(hand(metrics.FrechetDistance(hand.features))),
        "label_accuracy": float((hand.logits(hand.samples).argmax(1) == labels).double().mean()),
    }
    assert report("run/evaluation.json")["metrics"] == pytest.approx(expected, rel=1e-5)


def test_a_run_of_one_class(here: Path) -> None:
    """It is compared with the images of this class, although its info has all classes."""
    generator = save("run", models.dcgan(PLAN, 4)[0], class_name="7")
    call("evaluate", "run", "--n", 20, "--metrics", "fid")
    hand = ByHand(torch.cat([b.sample for b in models.sample(generator, latents.Gaussian(4), 20, seed=0)]))
    hand.real = hand.real[7::10]
    actual = report("run/evaluation.json")
    assert (actual["class_name"], actual["real_images"], actual["labels"]) == ("7", 10, None)
    distance = hand(metrics.FrechetDistance(hand.features))
    assert actual["metrics"]["frechet_distance"] == pytest.approx(float(distance), rel=1e-5)
    save("cats", models.dcgan(PLAN, 4)[0], class_name="cat")
    assert "--data digits has the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, but not 'cat'" in refused("evaluate", "cats")


def test_a_folder(here: Path) -> None:
    """A grey generator is compared with the grey images of a folder, whose classes are others than its own."""
    for name in ("a", "b"):
        (here / "own" / name).mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (9, 9), (25 * index, 0, 200)).save(here / f"own/{name}/{index}.png")
    save("run")
    words = ("evaluate", "run", "--data", "folder", "--root", "own", "--features", "digits", "--n", 20)
    call(*words, "--metrics", "prdc")
    actual = report("run/evaluation.json")
    assert (actual["real_images"], actual["labels"]) == (10, "equally often")
    for more in (("--metrics", "memorization"), ("--baseline",)):
        assert "which --data folder does not have" in refused(*words, *more)
    assert "--training-root (=own) needs --data folder" in refused("evaluate", "run", "--training-root", "own")


def test_a_folder_of_training_images(here: Path) -> None:
    """Memorization and the baseline read it, and the other values compare with the held-out images."""
    for part, shades in (("own", range(5)), ("held", range(5, 10))):
        (here / part / "a").mkdir(parents=True)
        for shade in shades:
            Image.new("L", (8, 8), 25 * shade).save(here / f"{part}/a/{shade}.png")
    generator = save("run", models.dcgan(PLAN, 4)[0])
    words = ("evaluate", "run", "--data", "folder", "--root", "held", "--features", "digits", "--n", 5, "--baseline")
    call(*words, "--training-root", "own", "--metrics", "fid", "memorization")
    hand = ByHand(torch.cat([b.sample for b in models.sample(generator, latents.Gaussian(4), 5, seed=0)]))
    hand.real, trained = (
        next(iter(data.TensorLoader(data.ImageFolder(folder, 8, mode="L"), 5, shuffle=False))).sample
        for folder in ("held", "own")
    )
    memorization = metrics.Memorization(hand.features)
    memorization.add_training(trained)
    assert report("run/evaluation.json")["metrics"]["memorization"] == pytest.approx(hand(memorization)["memorization"])
    hand.samples = trained
    baseline = report("run/evaluation.json")["metrics_of_training_images"]["frechet_distance"]
    assert baseline == pytest.approx(float(hand(metrics.FrechetDistance(hand.features))), rel=1e-4)


def test_names_of_what_comes_with_ganlib(here: Path) -> None:
    """A pretrained generator needs ``--data``, and leaves its files in the working directory."""
    assert "--data is missing, since RUN (=mnist_cdcgan)" in refused("evaluate", "mnist_cdcgan")
    call("evaluate", "mnist_cdcgan", "--data", "digits", "--n", 100, "--metrics", "accuracy")
    assert report("evaluation.json")["metrics"]["label_accuracy"] > 0.95
    assert report("evaluation.json")["generator"] == "mnist_cdcgan"
    assert files(here) == ["evaluation.json", "evaluation.png"]


def test_inception(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights may be a file; features and score are those of the network; without weights, these are named."""
    torch.manual_seed(0)
    # One core needs a second for four images.
    monkeypatch.setattr(data, "RenderedDigits", lambda size, length=6, seed=0: RENDERED(size, 6, seed))
    save("run", models.dcgan(PLAN, 4)[0])
    network = _untrained(monkeypatch)
    torch.save(network.state_dict(), "weights.pth")
    call("evaluate", "run", "--weights", "weights.pth", "--n", 6, "--metrics", "kid", "is")
    actual = report("run/evaluation.json")
    assert actual["features"] == "inception"
    inception = metrics.InceptionFeatures("weights.pth")
    generator = models.load_generator("run/generator.safetensors")
    hand = ByHand(torch.cat([b.sample for b in models.sample(generator, latents.Gaussian(4), 6, seed=0)]))
    hand.real = hand.real[:6]
    score = metrics.InceptionScore(inception.logits)
    score.update(hand.samples)
    expected = {
        "kernel_distance": float(hand(metrics.KernelDistance(inception))[0]),
        "kernel_distance_std": 0.0,
        "inception_score": float(score.compute()),
    }
    assert actual["metrics"] == pytest.approx(expected, rel=1e-4)
    save("colour", models.mlp_gan((3, 8, 8), 4, [8])[0])
    answer = "--data digits has images (1, 8, 8), but RUN (=colour) draws (3, 8, 8)"
    assert answer in refused("evaluate", "colour", "--weights", "weights.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(here))
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", "http://127.0.0.1:9/weights-1.pth")  # where no server is
    assert "weights of the Inception network" in refused("evaluate", "run", "--features", "inception")


def _untrained(monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_, **__: None)
        torch.save({}, "empty.pth")
        network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], "empty.pth")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return network


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["nowhere", "--data", "digits"], "RUN (=nowhere) must be the folder of a finished run"),
        (["run", "--data", "mnist", "--root", "x"], "MNIST is not there (no x/MNIST/raw)"),
        (["run", "--n", "5"], "--n (=5) must be at least 6 images for fid, kid, prdc, accuracy"),
        (["run", "--n", "1", "--metrics", "fid"], "--n (=1) must be at least 2 images for fid"),
        (["run", "--seed", "-1"], "argument --seed: -1 must be a whole number from 0 to 2**64 - 1"),
        (["run", "--out", "x.png"], "--out (=x.png) must end in .json"),
        (["run", "--features", "digits", "--weights", "x"], "--weights (=x) needs --features inception"),
        (["run", "--weights", "x"], "weights (='x'): there is no such file"),
        (["run", "--features", "inception", "--metrics", "modes"], "--metrics modes needs a classifier of digits"),
        (["run", "--data", "kmnist", "--metrics", "accuracy"], "--metrics accuracy needs a classifier of digits"),
        (["color", "--data", "stacked-mnist", "--metrics", "accuracy"], "--metrics accuracy needs a classifier of"),
        (["color", "--data", "stacked-mnist", "--root", "x"], "--data stacked-mnist: MNIST is not there"),
        (["color", "--data", "mnist", "--features", "digits"], "--features digits needs grey images, but RUN (=color)"),
        (["color", "--data", "cifar10", "--metrics", "modes"], "--metrics modes needs a classifier of digits"),
        (["plain", "--metrics", "accuracy"], "--metrics accuracy: RUN (=plain) is not a generator of ten classes"),
        (["three", "--metrics", "accuracy"], "--metrics accuracy: RUN (=three) is not a generator of ten classes"),
        (["colour"], "--features digits needs grey images, but RUN (=colour) draws RGB"),
        (["points"], "RUN (=points) draws (2,), which are not square images of 1 or 3 channels"),
        (["no_dim"], "RUN (=no_dim) has an info without latent_dim"),
        (["wrong_dim"], "RUN (=wrong_dim) cannot be sampled"),
        (["no_classes"], "name its classes, in the order of their numbers: save_generator("),
        (["wrong_latent"], "RUN (=wrong_latent) cannot be sampled: latent (='cauchy')"),
        (["wrong_table"], "RUN (=wrong_table) cannot be sampled"),
        (["long_table"], "RUN (=long_table) cannot be sampled: table (11, 2) in its info must have a row for each"),
        (["broken"], "RUN (=broken) draws values that are not finite"),
    ],
)
def test_what_cannot_be_measured(words: list[str], answer: str, here: Path) -> None:
    """The argument is named and its value quoted; no file is written."""
    broken = models.conditional_dcgan(PLAN, 4, 10)[0]
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    make: dict[str, Callable[[], Any]] = {
        "run": lambda: save("run"),
        "plain": lambda: save("plain", models.dcgan(PLAN, 4)[0]),
        "three": lambda: save("three", models.conditional_dcgan(PLAN, 4, 3)[0], classes=list("abc")),
        "colour": lambda: save("colour", models.mlp_gan((3, 8, 8), 4, [8])[0]),
        "color": lambda: save("color", models.mlp_gan((3, 28, 28), 4, [8])[0]),
        "points": lambda: save("points", nn.Linear(4, 2)),
        "no_dim": lambda: save("no_dim", latent_dim=None),
        "wrong_dim": lambda: save("wrong_dim", latent_dim=5),
        "no_classes": lambda: save("no_classes", models.conditional_dcgan(PLAN, 4, num_classes=10)[0], classes=None),
        "wrong_latent": lambda: save("wrong_latent", latent="cauchy"),
        "wrong_table": lambda: save("wrong_table", table=[["a"], []]),
        "long_table": lambda: save("long_table", table=[[0.0, 1.0]] * 11),
        "broken": lambda: save("broken", broken),
    }
    if words[0] in make:
        make[words[0]]()
    before = files(here)
    assert answer in refused("evaluate", *words, status=1 if "is not there" in answer else 2)
    assert files(here) == before


def test_without_the_extra(here: Path) -> None:
    """Where torchmetrics is not installed, the line says what installs it."""
    save("run")
    code = "import sys; sys.modules['torchmetrics'] = None; from ganlib._cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", code, "evaluate", "run"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("python -m ganlib: torchmetrics is not installed")
    assert "pip install 'ganlib[metrics]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stacked_digits(here: Path) -> None:
    """The modes of a generator of three channels are counted, and compared with 1,000 equal shares."""
    write_mnist(here / "data", 40, RENDERED)
    generator = save("run", models.mlp_gan((3, 28, 28), 4, [8])[0], classes=None, data="stacked-mnist")
    call("evaluate", "run", "--n", 50)
    actual = report("run/evaluation.json")
    assert (actual["features"], actual["samples"], actual["real_images"]) == ("digits", 50, 50)
    assert actual["metrics"].keys() == DEFAULT | {"modes_found", "modes_real", "kl_divergence"}
    samples = torch.cat([batch.sample for batch in models.sample(generator, latents.Gaussian(4), 50, seed=0)])
    classifier = metrics.DigitClassifier.pretrained()
    with torch.no_grad():
        digits = torch.stack([classifier(channel.unsqueeze(1)).argmax(1) for channel in samples.unbind(1)], dim=1)
    counts = np.unique(digits.numpy(), axis=0, return_counts=True)[1]
    expected = {"modes_found": len(counts), "modes_real": 1000}
    expected["kl_divergence"] = sum(count / 50 * math.log(1000 * count / 50) for count in counts)
    assert {name: actual["metrics"][name] for name in expected} == pytest.approx(expected)
    save("grey", models.mlp_gan((1, 28, 28), 4, [8])[0], classes=None)
    answer = "--data stacked-mnist has images (3, 28, 28), but RUN (=grey) draws (1, 28, 28)"
    assert answer in refused("evaluate", "grey", "--data", "stacked-mnist")


class Small(nn.Module):
    """In place of the classifier, which would need minutes for so many samples."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 10)

    def features(self, samples: Tensor) -> Tensor:
        """Four pixels."""
        return samples.flatten(1)[:, 400:404].contiguous()


@pytest.mark.parametrize(("data_set", "channels", "count"), [("digits", 1, 10_000), ("stacked-mnist", 3, 26_000)])
def test_the_number_of_samples_by_default(
    data_set: str, channels: int, count: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stacked digits have as many as in published results, since the divergence depends on the number."""
    monkeypatch.setattr(metrics.DigitClassifier, "pretrained", Small)
    write_mnist(here / "data", 40, RENDERED)
    save("run", models.mlp_gan((channels, 28, 28), 4, [8])[0], classes=None, data=data_set)
    call("evaluate", "run", "--metrics", "modes")
    assert report("run/evaluation.json")["samples"] == count
    call("evaluate", "run", "--metrics", "modes", "--n", 12)
    assert report("run/evaluation.json")["samples"] == 12


@pytest.mark.real_data
def test_the_pretrained_generator_on_mnist(here: Path) -> None:
    """10,000 samples against the test set, in the features of the shipped classifier: near what was measured."""
    call("evaluate", "mnist_cdcgan", "--data", "mnist", "--root", os.environ["GANLIB_DATA"])
    actual = report("evaluation.json")
    assert (actual["samples"], actual["real_images"]) == (10_000, 10_000)
    values = actual["metrics"]
    assert values["frechet_distance"] == pytest.approx(3.87, abs=0.2)
    shares = {"precision": 0.942, "recall": 0.915, "density": 0.927, "coverage": 0.934, "label_accuracy": 0.993}
    assert {name: values[name] for name in shares} == pytest.approx(shares, abs=0.01)


def test_real_images_are_as_many_as_samples(here: Path) -> None:
    """Otherwise coverage says how few samples there are: real images cover real ones, at any number."""
    save("run")
    call("evaluate", "run", "--metrics", "prdc", "--n", 40, "--baseline")
    actual = report("run/evaluation.json")
    assert (actual["samples"], actual["real_images"]) == (40, 40)
    assert actual["metrics_of_training_images"]["coverage"] > 0.5


def test_the_baseline_is_that_of_training_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It equals the metrics by hand, and stands in a column of its own."""
    save("run")
    call("evaluate", "run", "--metrics", "fid", "accuracy", "--n", 100, "--baseline")
    hand = ByHand(digits(0))
    found = report("run/evaluation.json")["metrics_of_training_images"]
    assert found["frechet_distance"] == pytest.approx(float(hand(metrics.FrechetDistance(hand.features))), rel=1e-5)
    assert found["label_accuracy"] == pytest.approx(
        float((hand.logits(hand.samples).argmax(1) == torch.arange(100) % 10).double().mean())
    )
    assert capsys.readouterr().out.splitlines()[1].split() == ["samples", "training", "images"]


def test_digits_are_turned_as_those_that_were_learned(here: Path) -> None:
    """The shipped generator of turned digits is compared with turned ones, to which it is closer."""
    save("upright", models.pretrained("mnist_cdcgan64"), latent_dim=100)
    for run, data_set in (("mnist_cdcgan64", ["--data", "digits"]), ("upright", [])):
        call("evaluate", run, *data_set, "--metrics", "fid", "--n", 100, "--out", f"{run}.json")
    turned, upright = report("mnist_cdcgan64.json"), report("upright.json")
    assert (turned["rotation"], upright["rotation"]) == (25.0, None)
    assert turned["metrics"]["frechet_distance"] != upright["metrics"]["frechet_distance"]

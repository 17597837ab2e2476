"""Tests of drawing with a trained generator."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlib import latents, metrics, models, stacks, viz
from tests.cli.commands import call, files, refused

OLD = Path(__file__).parents[1] / "models/format_1/conditional_dcgan.pt"
PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])


def drawn(generator: Any, labels: list[int], seed: int = 0, **options: Any) -> Tensor:
    """Samples, drawn by hand from the latents of the seed."""
    latent = latents.Gaussian(generator.info["latent_dim"])(len(labels), generator=torch.Generator().manual_seed(seed))
    return next(models.sample(generator, latent, condition=torch.tensor(labels), **options)).sample


def pixels(path: Path) -> np.ndarray:
    """The grey values of an image, from 0 to 255."""
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image, dtype=float)


def enlarged(image: Image.Image, scale: int) -> np.ndarray:
    """The grey values of an image, each pixel as so many."""
    size = image.width * scale, image.height * scale
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=float)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def conditional() -> Any:
    """A small generator of three classes, whose running averages are not those of a sample."""
    generator = models.conditional_dcgan(PLAN, 4, 3)[0]
    for _ in range(3):
        generator(torch.randn(16, 4), torch.arange(16) % 3)
    return generator.eval()


@pytest.mark.parametrize(
    ("number", "size"),
    [
        # A digit keeps 25 of its 28 columns. It is 7 times as large, unless the image is more than 1,000 pixels then.
        ("7", (175, 196)),
        ("2026", (700, 196)),
        ("0123456789", (1000, 112)),
        ("0123456789" * 6, (3000, 56)),  # but a digit has 56 pixels at least
    ],
)
def test_the_size_follows_from_the_number_of_digits(number: str, size: tuple[int, int], here: Path) -> None:
    """Digits are next to each other, black on white, as large as a screen has space for."""
    call("draw", number)
    image = pixels(here / "number.png")
    assert image.shape == size[::-1]
    assert (image.min() < 30, image.max() > 250, image.mean() > 150) == (True, True, True)
    assert image[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 200


@pytest.mark.parametrize(("number", "scale"), [("7", 7), ("2026", 7), ("007", 7), ("0", 7), ("31415926", 5)])
def test_the_digits_are_those_asked_for(number: str, scale: int, here: Path) -> None:
    """The image is that of the pretrained generator, drawn by hand, cropped, inverted and joined; zeros count."""
    call("draw", number, "--seed", 5)
    digits = drawn(models.pretrained("mnist_cdcgan"), [int(digit) for digit in number], seed=5)
    joined = np.concatenate([(1 - digit[0, :, 1:26].numpy()) / 2 * 255 for digit in digits], axis=1)
    expected = enlarged(Image.fromarray(joined.round().astype(np.uint8)), scale)
    assert np.abs(pixels(here / "number.png") - expected).max() <= 2


def test_a_classifier_reads_the_number(here: Path) -> None:
    """Cut out of the image again, at least 19 of 20 digits are read as the ones that were asked for."""
    number = "0123456789" * 10
    call("draw", number)
    image = torch.from_numpy(1 - pixels(here / "number.png") / 255 * 2).float()
    image = nn.functional.avg_pool2d(image[None], 2)[0]  # it is twice as large as it was drawn
    digits = nn.functional.pad(torch.stack(image.split(25, dim=1)), (1, 2), value=-1.0).unsqueeze(1)
    assert digits.shape == (100, 1, 28, 28)
    read = metrics.DigitClassifier.pretrained()(digits).argmax(1)
    assert (read == torch.tensor([int(digit) for digit in number])).float().mean() >= 0.95


def test_numbers_of_64_pixels(here: Path) -> None:
    """The larger generator draws them too: 56 columns and 64 rows of each digit, three times as large."""
    call("draw", "40", "--run", "mnist_cdcgan64")
    assert pixels(here / "number.png").shape == (192, 336)


def test_the_seed_says_which_image(here: Path) -> None:
    """The same seed gives the same file, another seed another, and none is 0; the global random state is not used."""
    for name, words in {"none": (), "0": ("--seed", 0), "1": ("--seed", 1), "last": ("--seed", 2**64 - 1)}.items():
        torch.manual_seed(len(name))
        before = torch.get_rng_state()
        call("draw", "58", *words, "--out", f"{name}.png")
        assert torch.equal(torch.get_rng_state(), before)
    assert (here / "none.png").read_bytes() == (here / "0.png").read_bytes()
    assert len({(here / f"{name}.png").read_bytes() for name in ("0", "1", "last")}) == 3


def test_the_folder_of_the_image_is_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An image may be of any format, in a folder that does not exist yet; where it is, is printed."""
    for out in ("a/b/x.png", "a/c/x.JPG", "a/x.webp"):
        call("draw", "1", "--out", out)
        assert capsys.readouterr().out == f"the image is {Path(out)}\n"
    with Image.open(here / "a/c/x.JPG") as image:
        assert (image.format, image.size) == ("JPEG", (175, 196))
    assert files(here) == ["a/b/x.png", "a/c/x.JPG", "a/x.webp"]


@pytest.mark.parametrize("number", ["12a", "", " ", "1 2", "½", "٣", "²", "-5", "+5", "1.5", "1_0", "0x1", "two"])
def test_a_number_that_is_not_digits(number: str, here: Path) -> None:
    """The number is quoted, and nothing is written."""
    assert refused("draw", number) == f"python -m ganlib: NUMBER (={number!r}) must be digits from 0 to 9"
    assert files(here) == []


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["draw", "1", "--out", "x.xyz"], "--out (=x.xyz) must end in .png"),
        (["draw", "1", "--out", "png"], "--out (=png) must end in .png"),
        (["draw", "1", "--out", "new/x.psd"], "--out (=new/x.psd) must end in .png"),  # Pillow only reads these
        (["draw", "1", "--seed", str(2**64)], f"argument --seed: {2**64} must"),
        (["draw", "1", "--seed", "-1"], "argument --seed: -1 must be a whole number from 0"),
        (["draw", "1", "--run", "mnist"], "--run (=mnist) must be"),
        (["draw", "1", "--run", "mnist"], "'mnist_cdcgan' or 'mnist_cdcgan64'"),
        (["draw", "1", "--run", "runs/a"], "--run (=runs/a) must be"),
        (["draw", "1", "--run", "x.safetensors"], "--run (=x.safetensors) must be"),
        (["draw", "1", "--run", ""], "--run (=)"),
        (["sample", "--labels", "3", "10"], "--labels holds 10, but must be from 0 to 9"),
        (["sample", "--labels", "-1"], "argument --labels: -1 must be a whole number of at least 0"),
        (["sample", "--labels", str(2**70)], f"argument --labels: {2**70} must be a whole number"),
        (["sample", "--labels", str(2**50)], f"--labels holds {2**50}, but must be from 0 to 9"),
        (["sample", "--count", "0"], "argument --count: 0 must be a whole number of at least 1"),
        (["sample", "--count", "-2"], "argument --count: -2 must be a whole number of at least 1"),
        (["sample", "--out", "samples"], "--out (=samples) must end in .png"),
    ],
)
def test_what_cannot_be_drawn(words: list[str], answer: str, here: Path) -> None:
    """The argument is named, its value quoted, what it must be is said, and neither file nor folder is left."""
    assert answer in refused(*words)
    assert list(here.iterdir()) == []


def save(info: dict[str, Any] | None = None, make: Callable[[], Any] | None = None) -> Callable[[Path], None]:
    """What saves a generator at a path."""
    return lambda path: models.save_generator(path, make() if make else models.conditional_dcgan(PLAN, 4, 3)[0], info)


@pytest.mark.parametrize(
    ("write", "answer"),
    [
        (lambda path: path.mkdir(), "generator.safetensors cannot be read: there is no such file"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_text("hello"), "damaged"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "damaged"),
        (save({"classes": ["a", "b", "c"]}), "no latent_dim or no classes"),
        (save({"latent_dim": 4}), "no latent_dim or no classes"),
        (save({"latent_dim": "4", "classes": ["a", "b", "c"]}), "no latent_dim or no classes"),
        (save({"latent_dim": 4, "classes": 3}), "no latent_dim or no classes"),
        (save(), "no latent_dim or no classes"),
        (save({"latent_dim": 5, "classes": ["a", "b"]}), "cannot draw classes: latent"),
        (save({"latent_dim": 0, "classes": ["a", "b"]}), "cannot draw classes: dim (=0)"),
        (save({"latent_dim": 4, "classes": ["a", "b"], "batch_norm": "x"}), "cannot draw classes: batch_norm (='x')"),
        (save({"latent_dim": 4, "classes": ["a", "b"]}, lambda: models.dcgan(PLAN, 4)[0]), "cannot draw classes"),
        (save({"latent_dim": 4, "classes": ["a", "b"]}, lambda: models.mlp_gan((1, 8, 8), 4)[0]), "cannot draw"),
        (save({"latent_dim": 4, "classes": ["a", "b"]}, lambda: nn.GRU(4, 4)), "without a recipe"),
    ],
)
@pytest.mark.parametrize("words", [["sample"], ["draw", "1"]], ids=["sample", "draw"])
def test_a_generator_that_cannot_draw_classes(
    write: Callable[[Path], None], answer: str, words: list[str], here: Path
) -> None:
    """An empty folder, a damaged file, a generator without classes, without latents or without a condition is named."""
    write(here / "my_run")
    message = refused(*words, "--run", "my_run")
    assert "--run (=my_run)" in message
    assert answer in message
    assert [path.name for path in here.iterdir()] == ["my_run"]


def test_a_generator_with_fewer_classes(here: Path) -> None:
    """A digit or label that it does not have is named, with the classes that it has."""
    save({"latent_dim": 4, "classes": ["ant", "bee", "cat"]})(here / "zoo")
    expected = "holds 3, but must be from 0 to 2: --run (=zoo) draws ant, bee, cat"
    assert refused("draw", "123", "--run", "zoo") == f"python -m ganlib: NUMBER {expected}"
    assert refused("sample", "--labels", 1, 3, "--run", "zoo") == f"python -m ganlib: --labels {expected}"


@pytest.mark.parametrize(
    ("words", "labels", "count", "scale"),
    [
        (["--labels", "3", "1", "3", "--count", "4"], [3, 1, 3], 4, 7),
        (["--count", "2", "--seed", "6"], list(range(10)), 2, 3),
        ([], list(range(10)), 10, 3),
        (["--labels", "8", "--count", "1", "--seed", "6"], [8], 1, 7),
    ],
)
def test_a_row_for_each_label(words: list[str], labels: list[int], count: int, scale: int, here: Path) -> None:
    """Rows are the labels in their order, all by default; columns are so many samples of each."""
    call("sample", *words)
    image = pixels(here / "samples.png")
    assert image.shape == ((len(labels) * 30 + 2) * scale, (count * 30 + 2) * scale)
    repeated = [label for label in labels for _ in range(count)]
    samples = drawn(models.pretrained("mnist_cdcgan"), repeated, seed=6 if "--seed" in words else 0)
    assert np.abs(image - enlarged(viz.image_grid(samples, columns=count), scale)).max() <= 2


def test_a_generator_is_a_folder_or_a_file_or_a_name(conditional: Any, here: Path) -> None:
    """A run's folder, its file, and a copy with any suffix or none draw the same; what is there comes before a name."""
    conditional.info = {"latent_dim": 4, "classes": ["a", "b", "c"]}
    (here / "run").mkdir()
    models.save_generator(here / "run/generator.safetensors", conditional, conditional.info)
    for name in ("plain", "odd.bin", "a.b/c", "mnist_cdcgan64"):
        (here / name).parent.mkdir(exist_ok=True)
        shutil.copy(here / "run/generator.safetensors", here / name)
    expected = enlarged(viz.image_grid(drawn(conditional, [0, 1, 2]), columns=1), 25)
    for run in (
        "run",
        "run/",
        here / "run",
        "run/generator.safetensors",
        "plain",
        "odd.bin",
        "a.b/c",
        "mnist_cdcgan64",
    ):
        call("sample", "--run", run, "--count", 1, "--out", "x.png")
        assert np.abs(pixels(here / "x.png") - expected).max() <= 2
        (here / "x.png").unlink()


def test_the_default_is_the_one_that_comes_with_ganlib(here: Path) -> None:
    """A folder that happens to have its name is not in the way."""
    call("draw", "1", "--run", "mnist_cdcgan", "--out", "named.png")
    (here / "mnist_cdcgan").mkdir()
    call("draw", "1", "--out", "default.png")
    assert (here / "named.png").read_bytes() == (here / "default.png").read_bytes()


@pytest.mark.parametrize("batch_norm", ["running", "sample"])
def test_batch_norm_is_that_of_the_run(batch_norm: Any, conditional: Any, here: Path) -> None:
    """Samples are normalized as the generator's info says; the two ways differ."""
    conditional.info = {"latent_dim": 4, "classes": ["a", "b", "c"], "batch_norm": batch_norm}
    models.save_generator(here / "run", conditional, conditional.info)
    call("sample", "--run", "run", "--count", 2)
    own, other = (
        enlarged(viz.image_grid(drawn(conditional, [0, 0, 1, 1, 2, 2], batch_norm=way), columns=2), 25)
        for way in ("running", "sample")[:: 1 if batch_norm == "running" else -1]
    )
    assert np.abs(pixels(here / "samples.png") - own).max() <= 2
    assert np.abs(pixels(here / "samples.png") - other).max() > 10


def test_a_run_of_an_earlier_version(here: Path) -> None:
    """A folder that holds only a generator.pt is drawn from; where there is a newer file, that is taken."""
    old = torch.load(OLD, weights_only=True)
    (here / "run").mkdir()
    torch.save({**old, "info": {"latent_dim": 6, "classes": list("abcde")}}, here / "run/generator.pt")
    call("sample", "--run", "run", "--count", 1, "--out", "old.png")
    call("sample", "--run", "run/generator.pt", "--count", 1, "--out", "file.png")
    generator: Any = models.load_generator(here / "run/generator.pt")
    expected = enlarged(viz.image_grid(drawn(generator, [0, 1, 2, 3, 4]), columns=1), 19)
    assert np.abs(pixels(here / "old.png") - expected).max() <= 2
    assert (here / "old.png").read_bytes() == (here / "file.png").read_bytes()
    save({"latent_dim": 4, "classes": ["a", "b", "c"]})(here / "run/generator.safetensors")
    call("sample", "--run", "run", "--count", 1, "--out", "new.png")
    assert pixels(here / "new.png").shape == (32 * 25, 12 * 25)


def test_colours(here: Path) -> None:
    """A generator of colour images gives a colour image."""
    plan = stacks.StackPlan((3, 8, 8), [stacks.Stage(4), stacks.Stage(8)])
    save({"latent_dim": 4, "classes": ["a", "b"]}, lambda: models.conditional_dcgan(plan, 4, 2)[0])(here / "run")
    call("sample", "--run", "run")
    with Image.open(here / "samples.png") as image:
        assert (image.mode, image.size) == ("RGB", (102 * 9, 22 * 9))


def test_a_folder_without_a_generator_does_not_hide_a_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of that name is taken only if it is a run's, and that is said."""
    call("draw", "1", "--run", "mnist_cdcgan64", "--out", "named.png")
    (here / "mnist_cdcgan64").mkdir()
    call("draw", "1", "--run", "mnist_cdcgan64", "--out", "again.png")
    assert (here / "named.png").read_bytes() == (here / "again.png").read_bytes()
    assert capsys.readouterr().err == ""
    save({"latent_dim": 4, "classes": ["a", "b"]})(here / "mnist_cdcgan64/generator.safetensors")
    call("draw", "1", "--run", "mnist_cdcgan64", "--out", "own.png")
    assert "is taken as mnist_cdcgan64/generator.safetensors" in capsys.readouterr().err
    assert (here / "named.png").read_bytes() != (here / "own.png").read_bytes()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 0.5)])
def test_black_and_white_are_the_range_of_the_generator(low: float, high: float, conditional: Any, here: Path) -> None:
    """The values of a generator that says another range than [-1, 1] are drawn in that one."""
    conditional.info = {"latent_dim": 4, "classes": ["a", "b", "c"]}
    conditional.sample_range = (low, high)
    models.save_generator(here / "run", conditional, conditional.info)
    call("sample", "--run", "run", "--count", 2)
    grid = viz.image_grid(drawn(conditional, [0, 0, 1, 1, 2, 2]), columns=2, sample_range=(low, high))
    assert np.abs(pixels(here / "samples.png") - enlarged(grid, 25)).max() <= 2

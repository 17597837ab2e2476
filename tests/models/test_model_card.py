"""Tests of model cards."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlib.conditioning import ConcatLatent, OneHot
from ganlib.models import dcgan, mlp_gan, push_to_hub
from ganlib.models._model_card import is_unedited
from ganlib.stacks import StackPlan, Stage, UNet
from tests.models.cases import GENERATORS, Counted

huggingface_hub = pytest.importorskip("huggingface_hub")

IMAGES = StackPlan((1, 12, 8), [Stage(4), Stage(8)])


def _card(folder: Path, generator: nn.Module, **info: object) -> str:
    push_to_hub(generator, "me/digits", info=info, preview=folder)
    return (folder / "README.md").read_text("utf-8")


def _code(card: str) -> str:
    return re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]


def _run(code: str, folder: Path, **names: object) -> dict:
    """Run the code of a card, which loads from a folder instead."""
    names = dict(names)
    exec(code.replace('"me/digits"', repr(str(folder))), names)
    return names


@pytest.mark.parametrize("name", GENERATORS)
def test_its_code_draws_its_image(tmp_path, monkeypatch, name):
    """For every recipe, the code of the card runs as it stands, and draws the image of the card to the bit."""
    make, _, _ = GENERATORS[name]
    code = _code(_card(tmp_path / "files", make(), latent_dim=6))
    monkeypatch.chdir(tmp_path)
    _run(code, tmp_path / "files")
    assert Path("samples.png").read_bytes() == Path("files/samples.png").read_bytes()


@pytest.mark.parametrize(
    ("info", "drawn"),
    [
        ({}, "latents.Gaussian(dim=6)"),
        ({"latent": "uniform"}, "latents.Uniform(dim=6"),
        ({"latent_dim": 6, "batch_norm": "sample"}, 'batch_norm="sample"'),
    ],
)
@pytest.mark.parametrize("name", ["conditional", "flat dcgan", "conditional mlp", "concat", "mlp"])
def test_latents_are_found(tmp_path, name, info, drawn):
    """Without latent_dim the first layer tells it; the info tells another distribution, and how batch norm works."""
    make, _, _ = GENERATORS[name]
    if "batch_norm" not in info or name == "conditional":
        assert drawn in _code(_card(tmp_path, make(), **info))


def test_its_metadata_is_what_the_hub_reads(tmp_path):
    """The metadata is YAML that huggingface_hub reads again; the license is that of the info."""
    _card(tmp_path, dcgan(IMAGES, 6)[0], license="cc-by-4.0")
    assert huggingface_hub.ModelCard.load(tmp_path / "README.md").data.to_dict() == {
        "library_name": "ganlib",
        "license": "cc-by-4.0",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "pytorch"],
    }


def test_a_license(tmp_path):
    """Its name is in small letters, as the Hub has it; what is no text is a row of the table."""
    card = _card(tmp_path, dcgan(IMAGES, 6)[0], license="MIT")
    assert "license: mit\n" in card
    assert "| license |" not in card
    card = _card(tmp_path, dcgan(IMAGES, 6)[0], license=["mit", "other"])
    assert "license:" not in card
    assert "| license | mit, other |" in card


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"latent_dim": 9}, r"\(=9\): its layers take latents of size 6"),
        ({"latent_dim": 10**20}, "its layers take latents of size 6"),
        ({"latent_dim": 5}, r"info\['latent_dim'\] \(=5\)"),
        ({"latent_dim": "6"}, r"info\['latent_dim'\] \(='6'\)"),
        ({"latent": "uniform2"}, r"info\['latent'\] \(='uniform2'\): latent must be 'gaussian' or 'uniform'"),
        ({"latent": ["gaussian"]}, "latent must be 'gaussian' or 'uniform'"),
    ],
)
def test_info_that_does_not_fit(tmp_path, info, reason):
    """A warning says why there is no image, at the line of the user."""
    with pytest.warns(UserWarning, match=f"there is no image of samples.*{reason}") as caught:
        _card(tmp_path, dcgan(IMAGES, 6)[0], **info)
    assert caught[0].filename == __file__
    assert not (tmp_path / "samples.png").exists()


def test_a_card_says_what_the_generator_takes_and_gives(tmp_path):
    """Latents, conditions and samples with their shapes and ranges."""
    make, _, _ = GENERATORS["conditional"]
    card = _card(tmp_path, make())
    assert "| latent | (N, 6), Gaussian |" in card
    assert "| condition | class indices (N,), int64 from 0 to 4 |" in card
    assert "| sample | (N, 1, 12, 8), from -1 to 1 |" in card
    assert "images of 8 x 12 pixels" in card
    assert "pipeline_tag" not in card  # the Hub has none for images of a class


def test_its_table_holds_the_info(tmp_path):
    """Each value has a row; what Markdown would read is escaped, and what is long is cut."""
    info = {
        "data": "a|b\n<c> *d*",
        "classes": ["one", "two"],
        "figures": {"fid": 4.5, "real": {"fid": 4}},
        "log": "x" * 999,
        "__main__": "~x~ $y$ &lt; a_b",
        " ": 3,
        "empty": {},
        "runs": [{"fid": 4}, [1, None], 2],
        "words": {str(index): index for index in range(1000)},
    }
    card = _card(tmp_path, dcgan(IMAGES, 6)[0], **info)
    rows = [
        r"| data | a\|b \<c\> \*d\* |",
        "| classes | one, two |",
        "| figures.fid | 4.5 |",
        r"| \_\_main\_\_ | \~x\~ \$y\$ \&lt; a_b |",
        "| ' ' | 3 |",
        "| empty | {} |",
        r'| runs | {"fid": 4}, \[1, null\], 2 |',
        "| figures.real.fid | 4 |",
    ]
    assert all(row in card.splitlines() for row in rows)
    assert "x" * 500 + "..." in card
    assert "x" * 501 not in card
    assert len(card.splitlines()) < 80


@pytest.mark.parametrize("make", [lambda: UNet(IMAGES), lambda: nn.Sequential(nn.Conv2d(3, 3, 3))])
def test_a_generator_without_latents(tmp_path, make):
    """Where no latents fit, the card has no image, and its code loads the generator."""
    names = _run(_code(_card(tmp_path, make())), tmp_path)
    assert isinstance(names["generator"], nn.Module)
    assert not (tmp_path / "samples.png").exists()
    assert "samples.png" not in (tmp_path / "README.md").read_text("utf-8")


def test_samples_that_are_no_images(tmp_path):
    """Rows of a table are drawn by the code, and not shown."""
    code = _code(_card(tmp_path, mlp_gan((5,), 6, (8,))[0]))
    assert _run(code, tmp_path)["samples"].shape == (64, 5)
    assert not (tmp_path / "samples.png").exists()


def test_a_generator_of_a_users_class(tmp_path, monkeypatch):
    """Its card says whose code is missing; with a module, the code draws the image."""
    generator = nn.Sequential(Counted(6, 96), nn.Unflatten(1, (1, 12, 8)))
    code = _code(_card(tmp_path / "files", generator))
    assert "module = ...  # a new Sequential, whose code is not in this repository" in code
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(Counted(6, 96), nn.Unflatten(1, (1, 12, 8)))
    _run(code.replace("module = ...", ""), tmp_path / "files", module=module)
    assert Path("samples.png").read_bytes() == Path("files/samples.png").read_bytes()


@pytest.mark.parametrize(
    ("shape", "classes", "number"), [((1, 4, 4), 1000, 80), ((1, 64, 256), 1000, 20), ((1, 4, 4), 3, 24)]
)
def test_an_image_has_a_sensible_size(tmp_path, shape, classes, number):
    """Ten rows of eight small images at most, fewer of large ones, and no rows for classes that there are not."""
    generator = ConcatLatent(mlp_gan(shape, 6 + classes, ())[0], OneHot(classes))
    code = _code(_card(tmp_path, generator))
    assert len(_run(code.rpartition("viz.")[0], tmp_path)["samples"]) == number


def test_a_card_leaves_no_trace(tmp_path):
    """Random numbers, modes and buffers of the generator are as before, also of one that is not rebuilt."""
    generator = nn.Sequential(Counted(6, 96), nn.BatchNorm1d(96), nn.Unflatten(1, (1, 12, 8))).train()
    before = torch.get_rng_state()
    _card(tmp_path, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training for part in generator.modules())
    assert generator[1].num_batches_tracked == 0


def test_a_card_is_unedited_until_it_is_edited(tmp_path):
    """Each change of a letter makes it an edited card, and so does a text after it; ends of lines do not."""
    card = _card(tmp_path, dcgan(IMAGES, 6)[0])
    assert is_unedited(card)
    assert is_unedited(card.strip())
    assert not is_unedited("# My generator\n")
    assert not is_unedited(card + "More.\n")
    for index in range(0, card.index("<!--"), 50):
        assert not is_unedited(card[:index] + "~" + card[index + 1 :])

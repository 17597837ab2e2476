"""Everything that can be part of a generator can be exported with a free batch size."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ganlib import conditioning, models, stacks
from ganlib.models import conditional_dcgan, dcgan, mlp_gan
from ganlib.stacks import StackPlan, Stage
from tests import strategies
from tests.conditioning import test_contract as adapters
from tests.examples.scripts import ROOT, load_script
from tests.exporting import TORCH_26, WAYS, assert_exports
from tests.models.cases import CONDITIONS, FLAT, GENERATORS, LABELS, PLANS, noisy
from tests.stacks import test_contract as bodies

CASES = (
    *("conditional", "mlp", "without bias", "unconditional", "concat", "a norm of a function", "classes"),
    *("an activation", "functions in an mlp", "spectral norm", "by hand", "by hand, a shared encoder"),
    *("layers of torch", "r3gan", "conditional r3gan", "r3gan of tags"),
    *("sngan", "conditional sngan", "sngan of tags"),
)  # of the generators that are saved, those that are no rows of their own here
QUICK = [("strict", "named"), ("not strict", "auto")]
SLOW = [(2, "strict", "dynamic"), (2, "onnx", "auto")]
SLOW += [(dims, *way) for dims in (1, 3) for way in (("not strict", "dynamic"), ("onnx", "named"))]


def recipe(make, condition=None, latent=(6,)):
    """A row of the table of recipes: what makes a generator, and a condition and the shape of a latent for it."""
    return make, condition, latent


def _halved(size, channels=1):
    """A plan that halves an image down to less than 8 pixels."""
    stages, left = [], size
    while left >= 8:
        stages.append(Stage(4 * 2 ** len(stages)))
        left //= 2
    return StackPlan((channels, size, size), stages)


def _digits(preset, conditioning_of_generator="latent"):
    script = load_script("mnist_cdcgan")
    asked = {"generator_conditioning": conditioning_of_generator, "conditioning": "channels", "latent_dim": 6}
    if preset == "deceptive64":
        asked["conditioning"] = "features"
    size = 64 if preset == "deceptive64" else 28
    return script["make_networks"](SimpleNamespace(preset=preset, width=4, **asked), torch.Size([1, size, size]), 5)[0]


def _game(name, function):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples/games")
        return load_script(f"games/{name}")[function]()


def _cifar(name):
    plan = load_script("cifar10_dcgan")["RECIPES"][name]["plan"]
    return conditioning.Unconditional(dcgan(plan(3, 32, 8), 6, bias=False, init=None)[0])


def _mlp(name):
    words = load_script("mnist_mlp_gan")["RECIPES"][name]
    return conditioning.Unconditional(
        mlp_gan((1, 28, 28), 6, words["hidden"], norm=words["norm"], dropout=words["dropout"])[0]
    )


RECIPES = {
    **{f"case: {name}": recipe(*GENERATORS[name][:2]) for name in CASES},
    **{f"dcgan, {name}": recipe(lambda plan=plan: dcgan(plan, 6)[0]) for name, plan in PLANS.items()},
    **{
        f"dcgan, {size} pixels": recipe(lambda size=size: dcgan(_halved(size, 3), 6, init=None)[0])
        for size in (15, 28, 29, 32, 64)
    },
    **{
        f"dcgan, {norm} norm": recipe(lambda norm=norm: dcgan(_halved(28), 6, norm=norm, init=None)[0])
        for norm in ("instance", "group", "pixel", "none")
    },
    **{
        f"conditional dcgan, {kind}, by {way}": recipe(
            lambda encoder=encoder, way=way: noisy(
                conditional_dcgan(FLAT, 6, encoder=encoder, generator_conditioning=way)[0]
            ),
            condition,
        )
        for kind, (encoder, condition) in CONDITIONS.items()
        for way in ("latent", "batch_norm")
    },
    **{
        f"mlp, {kind}": recipe(
            lambda encoder=encoder: mlp_gan((3, 5), 6, (8,), encoder=encoder, norm="batch")[0], condition
        )
        for kind, (encoder, condition) in CONDITIONS.items()
    },
    **{
        name: recipe(
            lambda name=name: models.pretrained(name), torch.arange(10), (models.pretrained(name).info["latent_dim"],)
        )
        for name in ("mnist_cdcgan", "mnist_cdcgan64")
    },
    **{
        f"examples: {preset}, {way}": recipe(lambda preset=preset, way=way: _digits(preset, way), LABELS)
        for preset, way in (
            ("dcgan28", "latent"),
            ("dcgan28", "batch-norm"),
            ("deep28", "latent"),
            ("deceptive64", "latent"),
        )
    },
    **{f"examples: cifar, {name}": recipe(lambda name=name: _cifar(name)) for name in ("ours", "original")},
    **{f"examples: mlp, {name}": recipe(lambda name=name: _mlp(name)) for name in ("ours", "original")},
    "examples: gaussians": recipe(lambda: load_script("gaussians")["players"]()[0], latent=(2,)),
    "examples: path length": recipe(lambda: _game("path_length", "Synthesis"), latent=(16,)),
    "examples: cyclegan": recipe(lambda: _game("cyclegan", "make_generator"), latent=(1, 28, 28)),
    "examples: pix2pix": recipe(lambda: _game("pix2pix", "make_generator"), latent=(1, 28, 28)),
    "examples: vqgan": recipe(lambda: _game("vqgan", "Autoencoder"), latent=(1, 28, 28)),
}


def _ready(module):
    """The module, after some steps of training: batch norm has other averages than at first, and weights are large."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1 and "film" not in name:
            nn.init.normal_(parameter, std=(parameter[0].numel()) ** -0.5)
    return module


def _inputs(condition, latent):
    drawn = torch.randn(7, *latent, generator=torch.Generator().manual_seed(1))
    return (drawn,) if condition is None else (drawn, condition)


def test_every_public_module_is_exported():
    """The tables that are gone through here hold all modules of stacks and conditioning, encoders too."""
    here = {type(part.make(2)) for part in bodies.PARTS.values()}
    here |= {getattr(conditioning, name) for name in adapters.TABLE}
    here |= {type(make(4, (2, 3))[0]) for make in strategies.ALL_CONDITIONS.values()}
    public = {getattr(package, name) for package in (stacks, conditioning) for name in package.__all__}

    assert here == {value for value in public if isinstance(value, type) and issubclass(value, nn.Module)}


@pytest.mark.parametrize(("way", "dimension"), QUICK)
@pytest.mark.parametrize("name", bodies.PARTS)
def test_stacks(name, way, dimension):
    """Every stack and block gives what torch gives."""
    if name == "deviation" and way == "strict" and TORCH_26:
        pytest.skip("torch 2.6 cannot tell a strict export from a compilation")
    torch.manual_seed(0)
    assert_exports(bodies.PARTS[name].make(2), (bodies._sample(name, 2),), way, dimension)


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "way", "dimension"), SLOW)
@pytest.mark.parametrize("name", bodies.PARTS)
def test_stacks_in_other_ways(name, dims, way, dimension):
    """Every stack and block does so in ONNX, and in one and three dimensions."""
    if name == "deviation" and way == "strict" and TORCH_26:
        pytest.skip("torch 2.6 cannot tell a strict export from a compilation")
    torch.manual_seed(0)
    assert_exports(bodies.PARTS[name].make(dims), (bodies._sample(name, dims),), way, dimension)


@pytest.mark.parametrize(("name", "kind"), adapters.TAKEN)
def test_adapters(name, kind):
    """Every adapter gives what torch gives, with every kind of condition."""
    module, _, x, condition = adapters.made(name, kind)
    assert_exports(module, (x, condition), "not strict", "auto")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), adapters.TAKEN)
def test_adapters_in_onnx(name, kind):
    """Every adapter does so in ONNX."""
    module, _, x, condition = adapters.made(name, kind)
    assert_exports(module, (x, condition), "onnx", "dynamic")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    """Every generator that a recipe makes gives what torch gives."""
    make, condition, latent = RECIPES[name]
    assert_exports(_ready(make()), _inputs(condition, latent), "not strict", "named")


@pytest.mark.parametrize("dimension", ["named", "dynamic", "auto"])
def test_a_recipe_in_onnx(dimension):
    """A conditional DCGAN does so in ONNX, however the dimension is given."""
    make, condition, latent = RECIPES["conditional dcgan, tags, by batch_norm"]
    assert_exports(_ready(make()), _inputs(condition, latent), "onnx", dimension)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "dimension"), [way for way in WAYS if way != ("not strict", "named")])
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_in_all_ways(name, way, dimension):
    """Every generator that a recipe makes does so in every way."""
    make, condition, latent = RECIPES[name]
    assert_exports(_ready(make()), _inputs(condition, latent), way, dimension)


@pytest.mark.parametrize("conditioning_of", ["projection", "channels", "features", "auxiliary", "projection+auxiliary"])
def test_discriminators(conditioning_of):
    """A discriminator gives what torch gives, however it is given its condition."""
    discriminator = conditional_dcgan(FLAT, 6, 5, conditioning=conditioning_of)[1]
    assert_exports(discriminator, (torch.randn(4, *FLAT.image_shape), LABELS), "not strict", "named")


@pytest.mark.parametrize("name", ["case: conditional", "conditional dcgan, embedded, by batch_norm"])
def test_wrong_input_is_still_named(name):
    """In torch itself, after an export too, wrong labels and latents are refused by name."""
    make, condition, latent = RECIPES[name]
    generator = make()
    inputs = _inputs(condition, latent)
    assert_exports(generator, inputs, "not strict", "named")

    with pytest.raises(ValueError, match="condition holds the class 5"):
        generator(inputs[0][:2], torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="condition"):
        generator(inputs[0][:3], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="latent"):
        generator(inputs[0][:2, :5], torch.tensor([0, 1]))

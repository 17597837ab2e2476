"""Tests of discriminators on disk: the same file as a generator's, and not mistaken for one."""

import copy
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ganlib.conditioning import (
    AuxiliaryClassifierHead,
    ClassEmbedding,
    ConcatChannels,
    Maps,
    OneHot,
    Projection,
    TagEmbedding,
    Unconditional,
    VectorEmbedding,
)
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, GanlibError
from ganlib.models import (
    conditional_dcgan,
    dcgan,
    load_discriminator,
    load_generator,
    mlp_gan,
    r3gan,
    save_discriminator,
    save_generator,
    sngan,
)
from ganlib.models._format import checksum
from ganlib.stacks import (
    ConvStack,
    LinearStack,
    MinibatchStdDev,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResidualDownBlock,
    SelfAttention,
    StackPlan,
    Stage,
)
from tests.models.cases import opened

PLAN = StackPlan((1, 12, 8), [Stage(4, kernel_size=(4, 2), padding=(1, 0)), Stage(8)])
IMAGES = torch.rand(3, 1, 12, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 1, 4])
TAGS = torch.eye(3, 4)


def conditional(conditioning, **options):
    """A function that makes the discriminator of a conditional DCGAN."""
    return lambda: conditional_dcgan(PLAN, 6, 5, conditioning=conditioning, **options)[1]


def of_encoder(conditioning, encoder):
    """The same, for conditions that are not classes."""
    return lambda: conditional_dcgan(PLAN, 6, encoder=encoder(), conditioning=conditioning)[1]


def by_hand():
    """A discriminator of ganlib's blocks and of torch's layers, with a statistic of the batch."""
    return Projection(
        nn.Sequential(
            ResidualDownBlock(1, 4, spectral_norm=True, first=True),
            SelfAttention(4, spectral_norm=True),
            MinibatchStdDev(3),
            nn.Conv2d(5, 6, 3),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(6 * 4 * 2, 7),
        ),
        ClassEmbedding(5, 7),
        7,
    )


MADE = {
    "dcgan": (lambda: dcgan(PLAN, 6)[1], None),
    "dcgan, spectral norm": (lambda: dcgan(PLAN, 6, spectral_norm=True, discriminator_norm="none")[1], None),
    "dcgan, options": (lambda: dcgan(PLAN, 6, norm="instance", dropout=0.2, activation=nn.PReLU)[1], None),
    **{
        f"{kind}{', spectral norm' * spectral}": (conditional(kind, spectral_norm=spectral), LABELS)
        for kind in ("projection", "channels", "features", "auxiliary", "projection+auxiliary")
        for spectral in (False, True)
    },
    "projection of tags": (of_encoder("projection", lambda: TagEmbedding(4, 8 * 3 * 2)), TAGS),
    "features of vectors": (of_encoder("features", lambda: VectorEmbedding(4, 3)), TAGS),
    "channels of tags": (of_encoder("channels", lambda: TagEmbedding(4, 3)), TAGS),
    "auxiliary of tags": (of_encoder("auxiliary", lambda: TagEmbedding(4, 3)), TAGS),
    "projection and auxiliary of tags": (of_encoder("projection+auxiliary", lambda: TagEmbedding(4, 3)), TAGS),
    "mlp": (lambda: mlp_gan((1, 12, 8), 6, (9, 7), dropout=0.1)[1], None),
    "mlp, conditional": (lambda: mlp_gan((1, 12, 8), 6, (9,), encoder=OneHot(5))[1], LABELS),
    "r3gan": (lambda: opened(r3gan((1, 12, 8), 6, widths=8)[1]), None),
    "conditional r3gan": (lambda: opened(r3gan((1, 12, 8), 6, 5, widths=8)[1]), LABELS),
    "r3gan of tags": (lambda: opened(r3gan((1, 12, 8), 6, encoder=TagEmbedding(4, 3), widths=8)[1]), TAGS),
    "sngan": (lambda: sngan((1, 12, 8), 6, widths=4, spectral_norm=False)[1], None),
    "conditional sngan, spectral norm": (lambda: sngan((1, 12, 8), 6, 5, widths=4)[1], LABELS),
    "sngan of tags, spectral norm": (lambda: sngan((1, 12, 8), 6, encoder=TagEmbedding(4, 3), widths=4)[1], TAGS),
    "unconditional": (lambda: Unconditional(dcgan(PLAN, 6)[1]), LABELS),
    "patch": (lambda: PatchDiscriminator(1, channels=4, layers=1, norm="instance", features=True), None),
    "patch, spectral norm": (lambda: PatchDiscriminator(1, channels=4, layers=1, spectral_norm=True), None),
    "patch with maps": (
        lambda: ConcatChannels(PatchDiscriminator(1 + 2, channels=4, layers=1), Maps(2)),
        torch.ones(3, 2, 12, 8),
    ),
    "two scales": (
        lambda: MultiScaleDiscriminator(
            PatchDiscriminator(1, channels=4, layers=1, kernel_size=3, spectral_norm=one) for one in (True, False)
        ),
        None,
    ),
    "a head for classes": (
        lambda: AuxiliaryClassifierHead(
            nn.Sequential(ConvStack(PLAN, spectral_norm=True, last_norm=False), nn.Flatten()), 48, 5
        ),
        LABELS,
    ),
    "by hand": (by_hand, LABELS),
}
made = pytest.mark.parametrize(("make", "condition"), MADE.values(), ids=MADE)


def tensors(output):
    """The tensors of an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [] if output is None else [tensor for member in output for tensor in tensors(member)]


def scores(discriminator, condition):
    """What it says of the images."""
    return tensors(discriminator(IMAGES) if condition is None else discriminator(IMAGES, condition))


def trained(make, condition):
    """A discriminator after some steps: statistics, and vectors of spectral norm, are no longer the first ones."""
    torch.manual_seed(0)
    discriminator = make()
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.05)
    for _ in range(3):
        sum(one.square().mean() for one in scores(discriminator, condition)).backward()
        optimizer.step()
    return discriminator


def assert_same(one, other, condition):
    """The same state, scores and gradients to the bit, in both modes, and the same state after that."""
    for training in (False, True):
        results = []
        for discriminator in (one.train(training), other.train(training)):
            torch.manual_seed(1)
            discriminator.zero_grad()
            output = scores(discriminator, condition)
            sum(score.square().mean() for score in output).backward()
            results.append([*output, *(p.grad for p in discriminator.parameters() if p.grad is not None)])
        assert len(results[0]) > 1
        assert all(map(torch.equal, *results))
        assert list(one.state_dict()) == list(other.state_dict())
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.fixture
def path(tmp_path):
    """Where a network is saved."""
    return tmp_path / "run" / "network"


@made
def test_a_discriminator_comes_back(path, make, condition):
    """Its recipe rebuilds it, with the vectors of spectral norm; it scores, and trains on, the same to the bit."""
    discriminator = trained(make, condition)
    save_discriminator(path, discriminator, {"seed": 3})
    loaded = load_discriminator(path, train=True)
    assert (loaded.info, loaded.training, hasattr(loaded, "sample_range")) == ({"seed": 3}, True, False)
    assert not load_discriminator(path).training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert_same(discriminator, loaded, condition)


@made
def test_a_discriminator_is_loaded_into_another(path, make, condition):
    """The module that is given becomes the one that was saved, whatever its weights were."""
    discriminator = trained(make, condition)
    save_discriminator(path, discriminator)
    torch.manual_seed(9)
    other = make()
    assert load_discriminator(path, other, train=True) is other
    assert_same(discriminator, other, condition)


def test_a_generator_is_not_a_discriminator(path):
    """Each loader refuses the other's file, with a module or without, and names what reads it."""
    generator, discriminator = mlp_gan((1, 4, 5), 6, (8,))
    save_generator(path, generator)
    for module in (None, discriminator, copy.deepcopy(generator)):
        with pytest.raises(CheckpointError, match=r"network holds a generator, not a discriminator: .*load_generator"):
            load_discriminator(path, module)
    save_discriminator(path, discriminator)
    for module in (None, generator, copy.deepcopy(discriminator)):
        with pytest.raises(CheckpointError, match=r"network holds a discriminator, not a generator: .*load_discrim"):
            load_generator(path, module)


def _without_kind(path):
    """Make a file what an earlier version would have written."""
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name not in ("kind", "checksum")}
    save_file(weights, path, {**metadata, "checksum": str(checksum(metadata, weights))})


@pytest.mark.parametrize("load", [load_generator, load_discriminator])
def test_a_file_of_an_earlier_version_does_not_say_what_it_holds(path, load):
    """Both loaders read it, since ``save_generator`` was used for either; a foreign file too."""
    module = LinearStack([6, 4])
    save_generator(path, module)
    _without_kind(path)
    assert torch.equal(load(path).blocks[0].layer.weight, module.blocks[0].layer.weight)
    save_file(module.state_dict(), path, {"kind": "picture"})
    assert torch.equal(load(path, LinearStack([6, 4])).blocks[0].layer.weight, module.blocks[0].layer.weight)


def test_an_earlier_version_reads_a_generator(path):
    """Its checksum is over what earlier versions knew."""
    save_generator(path, LinearStack([6, 4]), {"a": 1})
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["kind"] == "generator"
    without = {name: text for name, text in metadata.items() if name != "kind"}
    assert metadata["checksum"] == str(checksum(without, weights))


@pytest.mark.parametrize("kind", ["generator", "picture", "", "Discriminator"])
def test_a_kind_that_was_changed_is_refused(path, kind):
    """A discriminator's file does not become another's by a change of its metadata."""
    save_discriminator(path, LinearStack([6, 4]))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata | {"kind": kind})
    for load in (load_generator, load_discriminator):
        with pytest.raises(CheckpointError, match=r"network (cannot be read|holds a generator, not)"):
            load(path)


def test_the_metadata_are_those_of_a_generator(path):
    """Recipe and info are JSON; a discriminator has no range of samples, whatever its attributes are."""
    discriminator = PatchDiscriminator(1, layers=1)
    discriminator.sample_range = "none"
    save_discriminator(path, discriminator, {"classes": ("a",)})
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["kind"] == "discriminator"
    values = {name: json.loads(metadata[name]) for name in ("recipe", "info", "sample_range", "shared")}
    assert values["recipe"]["name"] == "PatchDiscriminator"
    assert (values["info"], values["sample_range"], values["shared"]) == ({"classes": ["a"]}, None, {})


def test_errors_and_warnings_say_discriminator(path):
    """The messages name the argument and the functions of a discriminator."""
    with pytest.raises(ArgumentTypeError, match=r"discriminator \(=3\) must be a torch\.nn\.Module"):
        save_discriminator(path, 3)
    with pytest.raises(ArgumentTypeError, match="discriminator has a state that safetensors cannot hold: weight"):
        save_discriminator(path, nn.LazyLinear(1))
    assert not path.exists()
    changed = LinearStack([6, 4])
    changed.blocks[0].layer = nn.Linear(6, 4, bias=False)
    with pytest.warns(UserWarning, match="another discriminator.*load_discriminator needs a module") as caught:
        save_discriminator(path, changed)
    assert caught[0].filename == __file__
    with pytest.raises(ArgumentValueError, match="rebuilds the discriminator"):
        load_discriminator(path)
    hooked = LinearStack([6, 4])
    hooked.register_forward_hook(lambda module, inputs, output: -output)
    with pytest.warns(UserWarning, match="a discriminator that is rebuilt from it") as caught:
        save_discriminator(path, hooked)
    assert caught[0].filename == __file__
    with pytest.raises(GanlibError, match="another architecture than Linear"):
        load_discriminator(path, nn.Linear(2, 2))

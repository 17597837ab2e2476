"""Tests of generators on disk."""

import copy
import gc
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import warnings
import weakref
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file
from torch import distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ganlib._files import load_plain, save_plain
from ganlib.conditioning import (
    ClassEmbedding,
    ConcatLatent,
    ConditionalBatchNorm,
    FiLM,
    OneHot,
    TagEmbedding,
    Unconditional,
    VectorEmbedding,
)
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, GanlibError, RunFolderError
from ganlib.models import conditional_dcgan, dcgan, load_generator, mlp_gan, save_generator
from ganlib.models._files import _checksum
from ganlib.stacks import (
    ConditionalSequential,
    ConvTransposeStack,
    LinearStack,
    PixelNorm,
    ResidualUpBlock,
    SelfAttention,
    StackPlan,
    Stage,
    UpsampleConv,
)
from ganlib.training import EMA

_TALL = StackPlan((1, 12, 8), [Stage(4, kernel_size=(4, 2), padding=(1, 0)), Stage(8)])
_FLAT = StackPlan((1, 8, 8), [Stage(4), Stage(8, kernel_size=4, stride=1, padding=0)])
_LABELS = torch.tensor([3, 1, 4])
_FORMAT_1 = Path(__file__).with_name("format_1")  # written by the version before


def _noisy(generator):
    """The generator, with conditional norms that have left their zeros."""
    for module in generator.modules():
        if isinstance(module, FiLM):
            nn.init.normal_(module.gain)
            nn.init.normal_(module.bias)
    return generator


def _by_hand():
    """A generator of ganlib's stacks and torch's layers in an adapter."""
    sizes = torch.Size([8, 3, 2])
    layers = OrderedDict(
        start=LinearStack([6 + 5, 48], norm="batch", last_activation=nn.PReLU()),
        shape=nn.Unflatten(1, sizes),
        stack=ConvTransposeStack(_TALL, norm=partial(nn.GroupNorm, 2), activation=lambda: nn.LeakyReLU(0.3)),
        attention=SelfAttention(1, reduction=1),
        last=nn.Conv2d(1, 1, 3, padding="same", padding_mode="reflect"),
        range=nn.Sequential(nn.Tanh(), nn.Identity()),
    )
    generator = ConcatLatent(nn.Sequential(layers), OneHot(5))
    generator.sample_range = (0.0, 1.0)
    return generator


def _by_hand_conditional():
    """A generator whose encoder is in an adapter, and in the norms that a function makes."""
    encoder = TagEmbedding(4, 3)
    blocks = ConditionalSequential(
        nn.Linear(6 + 3, 4 * 2 * 2),
        nn.Unflatten(1, [4, 2, 2]),
        ResidualUpBlock(4, 4, norm=lambda channels: ConditionalBatchNorm(channels, encoder), spectral_norm=True),
        PixelNorm(1e-3),
        UpsampleConv(4, 1),
        FiLM(1, encoder),
    )
    return _noisy(ConcatLatent(blocks, encoder))


_MINUS_1_TO_1 = -1.0, 1.0
_GENERATORS = {
    "dcgan": (lambda: dcgan(_TALL, 6)[0], None, _MINUS_1_TO_1),
    "flat dcgan": (lambda: dcgan(_FLAT, 6, norm="group")[0], None, _MINUS_1_TO_1),
    "conditional": (lambda: conditional_dcgan(_TALL, 6, 5)[0], _LABELS, _MINUS_1_TO_1),
    "channels": (
        lambda: conditional_dcgan(_FLAT, 6, 5, conditioning="channels", spectral_norm=True)[0],
        _LABELS,
        _MINUS_1_TO_1,
    ),
    "embedding": (lambda: conditional_dcgan(_TALL, 6, encoder=ClassEmbedding(5, 3))[0], _LABELS, _MINUS_1_TO_1),
    "tags": (lambda: conditional_dcgan(_FLAT, 6, encoder=TagEmbedding(4, 3))[0], torch.eye(3, 4), _MINUS_1_TO_1),
    "vectors": (
        lambda: conditional_dcgan(_FLAT, 6, encoder=VectorEmbedding(2, 3))[0],
        torch.ones(3, 2),
        _MINUS_1_TO_1,
    ),
    "conditional norms": (
        lambda: _noisy(conditional_dcgan(_TALL, 6, 5, generator_conditioning="batch_norm")[0]),
        _LABELS,
        _MINUS_1_TO_1,
    ),
    "a shared encoder": (
        lambda: _noisy(conditional_dcgan(_FLAT, 6, encoder=TagEmbedding(4, 3), generator_conditioning="batch_norm")[0]),
        torch.eye(3, 4),
        _MINUS_1_TO_1,
    ),
    "mlp": (lambda: mlp_gan((1, 4, 5), 6, (8,), norm="batch", dropout=0.1)[0], None, _MINUS_1_TO_1),
    "without bias": (lambda: dcgan(_TALL, 6, bias=False)[0], None, _MINUS_1_TO_1),
    "conditional mlp": (
        lambda: mlp_gan((1, 4, 5), 6, (8,), encoder=TagEmbedding(4, 3))[0],
        torch.eye(3, 4),
        _MINUS_1_TO_1,
    ),
    "unconditional": (lambda: Unconditional(dcgan(_TALL, 6)[0]), _LABELS, _MINUS_1_TO_1),
    "concat": (lambda: ConcatLatent(mlp_gan((1, 4, 5), 11, (8,))[0], OneHot(5)), _LABELS, _MINUS_1_TO_1),
    "a norm of a function": (
        lambda: dcgan(_TALL, 6, norm=lambda channels: nn.GroupNorm(2, channels, eps=0.1))[0],
        None,
        _MINUS_1_TO_1,
    ),
    "classes": (lambda: dcgan(_FLAT, 6, norm=nn.BatchNorm2d, activation=nn.PReLU)[0], None, _MINUS_1_TO_1),
    "an activation": (lambda: conditional_dcgan(_TALL, 6, 5, activation=nn.PReLU())[0], _LABELS, _MINUS_1_TO_1),
    "functions in an mlp": (
        lambda: mlp_gan((1, 4, 5), 6, (8, 7), norm=nn.LayerNorm, activation=lambda: nn.ELU(0.5))[0],
        None,
        _MINUS_1_TO_1,
    ),
    "spectral norm": (lambda: LinearStack([6, 5, 4], out_shape=(2, 2), spectral_norm=True), None, None),
    "by hand": (_by_hand, _LABELS, (0.0, 1.0)),
    "by hand, a shared encoder": (_by_hand_conditional, torch.eye(3, 4), None),
    "layers of torch": (lambda: nn.Sequential(nn.Linear(6, 4), nn.SiLU(), nn.Unflatten(-1, (2, -1))), None, None),
}


def _draw(generator, condition):
    latent = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator(latent) if condition is None else generator(latent, condition)


def _assert_same_state(one, other):
    """Both states have the same names, and the same tensors to the bit."""
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert (tensor.dtype, tensor.shape) == (other[name].dtype, other[name].shape), name
        assert torch.equal(tensor, other[name]), name


def _metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def _assert_same_file(one, other):
    """Both files have the same metadata and weights; the order of the metadata is not defined."""
    assert _metadata(one) == _metadata(other)
    _assert_same_state(load_file(one), load_file(other))


@pytest.fixture
def path(tmp_path):
    """Where the generator is saved."""
    return tmp_path / "run" / "generator.safetensors"


@pytest.fixture
def saved(path):
    """The path of a saved generator."""
    save_generator(path, mlp_gan((1, 4, 5), 6, (8,))[0], info={"classes": ["a"]})
    return path


@pytest.fixture
def old(path):
    """The path of a generator that the version before saved."""
    path.parent.mkdir()
    shutil.copy(_FORMAT_1 / "mlp_gan.pt", path.with_name("generator.pt"))
    return path.with_name("generator.pt")


@pytest.mark.parametrize("wrap", ["itself", "deepcopy", "EMA"])
@pytest.mark.parametrize("name", _GENERATORS)
def test_a_generator_comes_back(path, name, wrap):
    """Every recipe, its copy and its average, is rebuilt from the file alone, and draws the same to the bit."""
    make, condition, sample_range = _GENERATORS[name]
    generator = make()
    _draw(generator.train(), condition)  # moves batch norm's statistics
    if wrap != "itself":
        generator = copy.deepcopy(generator) if wrap == "deepcopy" else EMA(generator).module
    before = torch.get_rng_state()
    save_generator(path, generator, info={"classes": ["zero", "one"], "seed": 3})
    loaded = load_generator(path)
    assert torch.equal(torch.get_rng_state(), before)
    _assert_same_state(generator.state_dict(), loaded.state_dict())
    assert torch.equal(_draw(loaded, condition), _draw(generator.eval(), condition))
    assert loaded.info == {"classes": ["zero", "one"], "seed": 3}
    assert (getattr(loaded, "sample_range", None), loaded.training) == (sample_range, False)
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in loaded.parameters())
    assert not any(buffer.is_meta for buffer in loaded.buffers())
    assert len(list(loaded.parameters())) == len(list(generator.parameters()))


@pytest.mark.parametrize("name", _GENERATORS)
def test_a_loaded_generator_can_be_saved_and_loaded_again(path, name):
    """The second file holds what the first one does."""
    save_generator(path, _GENERATORS[name][0](), info={"seed": 3})
    loaded = load_generator(path)
    save_generator(path.with_name("again"), loaded, loaded.info)
    _assert_same_file(path.with_name("again"), path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "by hand", "by hand, a shared encoder"])
def test_weights_keep_their_precision(path, name, dtype):
    """A rebuilt generator has the precision of the file, to the bit, and a module given keeps its own."""
    generator = _GENERATORS[name][0]().to(dtype)
    save_generator(path, generator)
    _assert_same_state(generator.state_dict(), load_generator(path).state_dict())
    single = load_generator(path, _GENERATORS[name][0]())
    _assert_same_state(generator.to(torch.float32).state_dict(), single.state_dict())


def test_weights_may_have_their_channels_last(path):
    """The file is that of the same weights in the usual order, and they are read again to the bit."""
    generator = conditional_dcgan(_TALL, 6, 5)[0]
    save_generator(path.with_name("plain"), generator)
    generator.to(memory_format=torch.channels_last)
    assert not all(weight.is_contiguous() for weight in generator.parameters())
    save_generator(path, generator)
    _assert_same_file(path.with_name("plain"), path)
    _assert_same_state(generator.state_dict(), load_generator(path).state_dict())


def test_spectral_norm_does_not_load_a_compiler(path):
    """To save and to load it takes no seconds: without memory torch would compute it by means of its compiler."""
    code = f"""
import sys
from ganlib import models, stacks
models.save_generator({str(path)!r}, stacks.PatchDiscriminator(1, layers=2, spectral_norm=True))
print("torch._dynamo" in sys.modules)
models.load_generator({str(path)!r})
print("torch._dynamo" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert run.stdout.split() == ["False", "False"]


def test_tied_parameters_stay_tied(path):
    """A weight that two layers share is in the file once, and is one parameter again."""
    generator = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    generator[2].weight = generator[0].weight
    save_generator(path, generator)
    loaded = load_generator(path)
    assert loaded[2].weight is loaded[0].weight
    assert loaded[2].bias is not loaded[0].bias
    assert torch.equal(_draw(loaded, None), _draw(generator, None))
    assert list(load_file(path)) == ["0.bias", "0.weight", "2.bias"]
    _assert_same_state(generator.state_dict(), load_generator(path, copy.deepcopy(generator)).state_dict())


def test_many_tied_parameters_need_no_more_bytes_than_one(path):
    """A file with half precision and many tied layers is smaller than one byte for each number of the untied ones."""
    generator = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(8))).half()
    for layer in generator:
        layer.weight = generator[0].weight
    save_generator(path, generator)
    assert len(list(load_generator(path).parameters())) == 1


def test_weights_may_be_views_of_one_buffer(path):
    """Each is saved as its own tensor."""
    generator = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    numbers = torch.randn(100)
    generator[0].weight = nn.Parameter(numbers[:24].view(4, 6))
    generator[1].weight = nn.Parameter(numbers[20:28].view(4, 2).T)
    save_generator(path, generator)
    _assert_same_state(generator.state_dict(), load_generator(path).state_dict())


@pytest.fixture
def one_rank(tmp_path):
    """This process alone, joined by torch.distributed."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    "wrap",
    [
        *(torch.compile, DataParallel, DistributedDataParallel),
        lambda module: torch.compile(DataParallel(module)),
        lambda module: DistributedDataParallel(torch.compile(module)),
    ],
    ids=["compile", "DataParallel", "DistributedDataParallel", "compile around", "compile within"],
)
@pytest.mark.usefixtures("one_rank")
def test_a_wrapped_generator_is_saved_as_the_plain_one(path, wrap):
    """Compiled or distributed, or both, the file holds the same; and a wrapped module is given the weights."""
    generator, module = mlp_gan((1, 4, 5), 6, (8,))[0], mlp_gan((1, 4, 5), 6, (8,))[0]
    save_generator(path, generator, {"seed": 1})
    save_generator(path.with_name("wrapped"), wrap(generator), {"seed": 1})
    _assert_same_file(path.with_name("wrapped"), path)
    del module.sample_range
    wrapped = wrap(module)
    assert load_generator(path, wrapped) is wrapped
    assert (wrapped.info, wrapped.sample_range, wrapped.training) == ({"seed": 1}, (-1.0, 1.0), False)
    save_generator(path.with_name("wrapped"), wrapped, {"seed": 1})
    _assert_same_file(path.with_name("wrapped"), path)


@pytest.mark.parametrize(
    ("make", "condition"),
    [
        (lambda: dcgan(_TALL, 6)[0], None),
        (lambda: mlp_gan((1, 4, 5), 6, (8,), norm=lambda channels: nn.BatchNorm1d(channels, eps=0.1))[0], None),
        (_by_hand_conditional, torch.eye(3, 4)),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, eps=0.1, momentum=None)), None),
    ],
    ids=["dcgan", "a function", "by hand", "a sequence"],
)
def test_synchronized_norms_are_read_as_plain_ones(path, make, condition):
    """Norms that torch has synchronized between devices do not lose the recipe, and draw the same."""
    generator = make()
    _draw(generator.train(), condition)  # moves the statistics
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(generator))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronized.modules())
    save_generator(path, synchronized)
    loaded = load_generator(path)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in loaded.modules())
    assert torch.equal(_draw(loaded, condition), _draw(generator.eval(), condition))
    save_generator(path.with_name("again"), loaded)
    assert torch.equal(_draw(load_generator(path.with_name("again")), condition), _draw(generator, condition))


@pytest.mark.parametrize("name", ["generator", "generator.safetensors", "generator.pt", "generator.bin", "a/b/c.d"])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_suffix_does_not_matter(tmp_path, name, kind):
    """Under any name, in a folder that may not be there yet, the file is the same."""
    generator = mlp_gan((1, 4, 5), 6, (8,))[0]
    save_generator(kind(tmp_path / name), generator)
    _assert_same_state(generator.state_dict(), load_generator(kind(tmp_path / name)).state_dict())
    assert len(load_file(tmp_path / name)) == 4


def test_other_programs_can_read_the_metadata(path):
    """Recipe, range and info are JSON; the range is null where a module has none."""
    generator = ConcatLatent(LinearStack([11, 4]), OneHot(5))
    save_generator(path, generator, {"classes": ("zero", "one")})
    values = {name: json.loads(_metadata(path)[name]) for name in ("recipe", "info", "sample_range")}
    assert values["info"] == {"classes": ["zero", "one"]}
    assert values["sample_range"] is None
    assert values["recipe"]["name"] == "ConcatLatent"
    assert values["recipe"]["arguments"]["encoder"] == {"name": "OneHot", "arguments": {"num_classes": 5}}
    assert values["recipe"]["arguments"]["module"]["arguments"]["features"] == [11, 4]
    generator.sample_range = (0, 255)
    save_generator(path, generator)
    assert json.loads(_metadata(path)["sample_range"]) == [0, 255]
    assert load_generator(path).sample_range == (0, 255)


@pytest.mark.parametrize("name", ["mlp", "spectral norm", "by hand, a shared encoder", "a shared encoder"])
def test_other_programs_can_read_the_weights(path, name):
    """``safetensors.torch.load_model`` reads the file strictly into a module of the same architecture."""
    make, condition, _ = _GENERATORS[name]
    generator, other = make(), make()
    save_generator(path, generator)
    load_model(other, path)
    _assert_same_state(generator.state_dict(), other.state_dict())
    assert torch.equal(_draw(generator.eval(), condition), _draw(other.eval(), condition))


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"recipe": "flour", "info": "{", "shared": "1"}])
def test_a_foreign_file_is_loaded_into_a_module(tmp_path, metadata):
    """Without ganlib's metadata a file has weights only, whatever else is in its metadata."""
    module, other = nn.Linear(6, 2), nn.Linear(6, 2)
    save_file(module.state_dict(), tmp_path / "x.safetensors", metadata)
    assert load_generator(tmp_path / "x.safetensors", other) is other
    _assert_same_state(module.state_dict(), other.state_dict())
    assert (other.info, other.training, hasattr(other, "sample_range")) == ({}, False, False)
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed: .*x\.safetensors holds weights only"):
        load_generator(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors is of another architecture than Linear"):
        load_generator(tmp_path / "x.safetensors", nn.Linear(6, 3))


def test_a_module_of_ones_own_is_given_the_weights(path):
    """A generator without a recipe is loaded into a module, which is returned in evaluation mode, range and all."""
    module = nn.Linear(6, 2)
    module.sample_range = (0.0, 1.0)
    save_generator(path, module)
    other = nn.Linear(6, 2).train()
    assert load_generator(path, other) is other
    assert torch.equal(_draw(other, None), _draw(module, None))
    assert (other.training, other.info, other.sample_range) == (False, {}, (0.0, 1.0))


class _Own(nn.Module):
    """A module of a user."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, latent):
        """Draw."""
        return self.linear(latent)


@pytest.mark.parametrize("make", [_Own, lambda: nn.Sequential(_Own()), lambda: dcgan(_TALL, 6, activation=_Own)[0]])
def test_weights_without_a_recipe_need_a_module(path, make):
    """Without a module they are a ValueError of ours that names the argument and the file."""
    generator = make()
    save_generator(path, generator)
    with pytest.raises(ValueError, match=r"module \(=None\) is needed: .*generator\.safetensors") as caught:
        load_generator(path)
    assert isinstance(caught.value, GanlibError)
    _assert_same_state(generator.state_dict(), load_generator(path, make()).state_dict())


def _replace_layer(generator):
    generator.module.blocks[0].layer = nn.Linear(11, 8, bias=False)


def _append_block(generator):
    generator.module.blocks.append(nn.Linear(20, 20))


def _remove_block(generator):
    del generator.module.blocks[-1]


def _replace_activation(generator):
    generator.module.blocks[0].activation = nn.ELU()


def _add_weight_norm(generator):
    nn.utils.parametrizations.weight_norm(generator.module.blocks[0].layer)


def _add_parameter(generator):
    generator.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    "change",
    [
        *(_replace_layer, _append_block, _remove_block, _replace_activation),
        *(_add_weight_norm, _add_parameter),
    ],
)
def test_a_generator_that_was_changed_loses_its_recipe(path, change):
    """A warning says so at the caller, and the file can only be loaded into a module that is changed as well."""
    generator, other = (ConcatLatent(LinearStack([11, 8, 20]), OneHot(5)) for _ in range(2))
    change(generator)
    change(other)
    with pytest.warns(UserWarning, match="ConcatLatent was changed after it was made.* needs a module") as caught:
        save_generator(path, generator)
    assert caught[0].filename == __file__
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed"):
        load_generator(path)
    _assert_same_state(generator.state_dict(), load_generator(path, other).state_dict())


def test_a_sequence_that_was_changed_keeps_its_recipe(path):
    """What is appended to a sequence, or replaced in it, is in its recipe."""
    generator = nn.Sequential(LinearStack([6, 4]), nn.Tanh())
    generator.append(nn.Linear(4, 3))
    generator[1] = nn.PReLU()
    save_generator(path, generator)
    assert torch.equal(_draw(load_generator(path), None), _draw(generator, None))


@pytest.mark.parametrize(
    ("part", "new"),
    [
        ("encoder", lambda: ClassEmbedding(5, 5)),
        ("module", lambda: LinearStack([11, 20], out_shape=(5, 4))),
        ("module", lambda: nn.Sequential(nn.Linear(11, 3), nn.Tanh())),
    ],
)
def test_a_part_of_an_adapter_that_was_replaced_is_the_new_one(path, part, new):
    """Also one that looks the same in its repr; nothing is warned of, and the old part is not kept."""
    generator = ConcatLatent(LinearStack([11, 20], out_shape=(20,)), OneHot(5))
    old = weakref.ref(getattr(generator, part))
    setattr(generator, part, new())
    gc.collect()
    assert old() is None
    save_generator(path, generator)
    loaded, drawn = _draw(load_generator(path), _LABELS), _draw(generator.eval(), _LABELS)
    assert torch.equal(loaded, drawn)


def test_encoders_that_are_no_longer_shared_are_not_made_one_again(path):
    """Norms that a generator was made to share an encoder, and that have their own since, keep their own."""
    generator, _ = conditional_dcgan(_TALL, 6, encoder=TagEmbedding(4, 3), generator_conditioning="batch_norm")
    for module in generator.modules():
        if isinstance(module, FiLM):
            module.encoder = copy.deepcopy(module.encoder)
    for parameter in generator.parameters():
        nn.init.normal_(parameter)
    save_generator(path, generator)
    assert torch.equal(_draw(load_generator(path), torch.eye(3, 4)), _draw(generator.eval(), torch.eye(3, 4)))


def test_layers_that_are_no_longer_shared_are_a_change(path):
    """The recipe would make one activation of what are two since."""
    one = nn.PReLU()
    generator = LinearStack([6, 5, 4, 3], activation=lambda: one)
    generator.blocks[1].activation = copy.deepcopy(one)
    other = copy.deepcopy(generator)
    for parameter in generator.parameters():
        nn.init.normal_(parameter)
    with pytest.warns(UserWarning, match="was changed after it was made"):
        save_generator(path, generator)
    with pytest.raises(ArgumentValueError, match="was changed after it was made"):
        load_generator(path)
    assert torch.equal(_draw(load_generator(path, other), None), _draw(generator.eval(), None))


def _hook(generator):
    generator.module.register_forward_hook(lambda module, inputs, output: -output)


def _pre_hook(generator):
    generator.register_forward_pre_hook(lambda module, inputs: inputs)


def _forward(generator):
    generator.module.forward = lambda x: x


@pytest.mark.parametrize("change", [_hook, _pre_hook, _forward])
def test_what_a_file_cannot_hold_is_warned_of(path, change):
    """Hooks, and a forward of one module, are functions; weights and recipe are saved all the same."""
    generator = ConcatLatent(LinearStack([11, 20]), OneHot(5))
    change(generator)
    with pytest.warns(UserWarning, match="ConcatLatent has hooks, or a forward that was replaced") as caught:
        save_generator(path, generator)
    assert caught[0].filename == __file__
    _assert_same_state(generator.state_dict(), load_generator(path).state_dict())


@pytest.mark.parametrize("ends", [(1, 0), (1, 2, 3), (math.nan, 1), "ab", 5, _draw])
def test_a_range_that_is_none_is_refused_before_it_is_saved(path, ends):
    """A file that could not be read again is not written."""
    generator = nn.Linear(2, 2)
    generator.sample_range = ends
    with pytest.raises(ArgumentValueError, match=r"sample_range \(=.* of the generator must be \(low, high\)"):
        save_generator(path, generator)
    assert not path.exists()


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, dtype=torch.complex128), torch.eye(2).to_sparse(), torch.zeros(2, device="meta")]
)
def test_a_tensor_that_the_format_lacks_is_an_error_of_ours(path, tensor):
    """It says so, and no file is left."""
    generator = _Counted(2, 2)
    generator.register_buffer("table", tensor)
    with pytest.raises(ArgumentTypeError, match="state that safetensors cannot hold"):
        save_generator(path, generator)
    assert not path.exists()


def test_the_reason_for_no_recipe_is_in_the_file(path):
    """Whoever loads it is told which class has none."""
    save_generator(path, nn.Sequential(LinearStack([6, 4]), _Counted(4, 2)))
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed: .*_Counted has no recipe"):
        load_generator(path)


def test_numbers_of_numpy_and_ranges_are_plain_ones(path):
    """They come out of configurations and loops."""
    generator = LinearStack(range(6, 9), dropout=np.float32(0.5), bias=np.True_)
    generator = nn.Sequential(generator, nn.Linear(np.int64(8), 3))
    save_generator(path, generator)
    assert torch.equal(_draw(load_generator(path), None), _draw(generator.eval(), None))


def test_loading_in_threads_leaves_the_warnings_alone(saved):
    """A server may load at any time; the filters of the whole process stay as they are."""
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [load_generator(saved) for _ in range(10)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the root user can read any file")
def test_a_file_that_may_not_be_read_is_not_called_missing(saved):
    """The error is that of the system."""
    saved.chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        load_generator(saved)


class _Counted(nn.Linear):
    """A layer of a user's."""


class _Counting(nn.Linear):
    """A layer with a number in its state."""

    def get_extra_state(self):
        """The number."""
        return 3

    def set_extra_state(self, state):
        """Nothing to do."""


@pytest.mark.parametrize(
    ("generator", "info", "message"),
    [
        (len, None, r"generator \(=<built-in function len>\) must be a torch\.nn\.Module"),
        (nn.Sequential(nn.Tanh(), _Counting(1, 1)), None, r"^1\._extra_state of the generator's state is a int"),
        (nn.Linear(1, 1), {"f": len}, r"^info/f \(=.*built-in"),
        (nn.Linear(1, 1), {"a": [0, {"b": torch.ones(1)}]}, r"^info/a/1/b \(=tensor\(\[1\.\]\)\) is a Tensor"),
        (nn.Linear(1, 1), {"a": {"b": {3}}}, r"^info/a/b \(=\{3\}\) is a set"),
        (nn.Linear(1, 1), {"a": (1, b"x")}, r"^info/a/1 \(=b'x'\) is a bytes"),
        (nn.Linear(1, 1), {"a": 1j}, r"^info/a \(=1j\) is a complex"),
        (nn.Linear(1, 1), {"a": {0: "zero"}}, r"^info/a has the key 0; only strings"),
        (nn.Linear(1, 1), {None: "zero"}, r"^info has the key None; only strings"),
        (nn.Linear(1, 1), ["zero"], r"^info \(=\['zero'\]\) must be a dict"),
    ],
)
def test_what_cannot_be_saved_is_refused(path, generator, info, message):
    """What is not a module, and what JSON cannot hold, are TypeErrors of ours that say where, and no file is left."""
    with pytest.raises(TypeError, match=message) as caught:
        save_generator(path, generator, info)
    assert isinstance(caught.value, ArgumentTypeError)
    assert not path.exists()


def test_an_endless_info_is_refused(path):
    """An info that holds itself is an error, and 60 levels come back."""
    info = {}
    info["a"] = [info]
    with pytest.raises(ArgumentValueError, match=r"^info/a/0/a/0/.* has more than 64 levels"):
        save_generator(path, nn.Linear(1, 1), info)
    assert not path.exists()
    deep = []
    for _ in range(60):
        deep = [deep]
    save_generator(path, nn.Linear(1, 1), {"deep": deep})
    assert load_generator(path).info == {"deep": deep}


def test_an_info_comes_back(path):
    """Everything that JSON has, and numbers that it has not, are the same again, in a dict of the user's own."""
    info = {
        "numbers": [0, -1, 2**70, 0.1, 1e-320, -0.0, 1.7976931348623157e308, math.inf, -math.inf, True, False, None],
        "": [[], {}, "", [[["nested"], {"a": [1, {"b": None}]}]]],
        'Zürich \u4e03 \U0001f600 \ud800 \x00 " \\ \n': 'Zürich \u4e03 \U0001f600 \ud800 \x00 " \\ \n',
    }
    save_generator(path, nn.Linear(1, 1), info | {"nan": math.nan, "tuple": (1, (2,))})
    loaded = load_generator(path).info
    assert math.isnan(loaded.pop("nan"))
    assert loaded.pop("tuple") == [1, [2]]
    assert loaded == info
    assert str(loaded) == str(info)  # types and signs too


@pytest.mark.parametrize("name", sorted(path.name for path in _FORMAT_1.iterdir()))
def test_a_generator_of_the_version_before_draws_what_it_drew(name):
    """Files of format 1 hold a latent, a condition, and the sample that was drawn of them when they were written."""
    generator = load_generator(_FORMAT_1 / name)
    info = generator.info
    arguments = [info["latent"]] if info["condition"] is None else [info["latent"], info["condition"]]
    with torch.no_grad():
        sample = generator(*arguments)
    torch.testing.assert_close(sample, info["sample"], rtol=0, atol=1e-6)
    assert (generator.sample_range, generator.training) == ((-1.0, 1.0), False)


def test_a_generator_of_the_version_before_can_be_saved_again(old, path):
    """The new file draws the same, to the bit, without the maker that the old one names."""
    generator = load_generator(old)
    save_generator(path, generator)
    loaded = load_generator(path)
    assert torch.equal(_draw(loaded, _LABELS), _draw(generator, _LABELS))
    assert json.loads(_metadata(path)["recipe"])["name"] == "ConcatLatent"


def test_a_length_that_looks_like_a_zip_is_read(path):
    """A safetensors file begins with a length, whose first two bytes may be those of a zip: PK."""
    wanted = int.from_bytes(b"PK", "little")
    save_generator(path, nn.Linear(6, 2), {"padding": ""})
    missing = wanted - int.from_bytes(path.read_bytes()[:8], "little")
    for padding in range(missing - 16, missing + 16):  # the length of the checksum varies
        save_generator(path, nn.Linear(6, 2), {"padding": " " * padding})
        if path.read_bytes()[:2] == b"PK":
            break
    assert path.read_bytes()[:2] == b"PK"
    assert load_generator(path).weight.shape == (2, 6)


class _Bomb:
    """Runs code where it is unpickled: leaves a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def _halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _flip(find, offset=0, bit=0x10):
    """Flip a bit after the first place where something is."""

    def damage(path):
        content = bytearray(path.read_bytes())
        position = content.find(find) + offset
        assert position >= offset
        content[position] ^= bit
        path.write_bytes(content)

    return damage


def _flip_weight(path):
    weights = load_plain(path)["weights"] if path.suffix == ".pt" else load_file(path)
    _flip(next(iter(weights.values())).numpy().tobytes(), 3)(path)


def _make_folder(path):
    path.unlink()
    path.mkdir()


def _bomb(path):
    torch.save({"format": 1, "info": _Bomb(path.with_name("trace"))}, path)


def _change(**values):
    """Change values of a file, with a checksum that is right."""

    def damage(path):
        if path.suffix == ".pt":
            save_plain(path, load_plain(path) | values)
            return
        weights = values.get("weights", load_file(path))
        metadata = _metadata(path) | {name: json.dumps(value) for name, value in values.items() if name != "weights"}
        save_file(weights, path, metadata | {"checksum": str(_checksum(metadata, weights))})

    return damage


def _recipe(name, arguments):
    return _change(recipe={"name": name, "arguments": arguments})


def _metadata_change(**texts):
    """Change the metadata of a file, and leave its checksum."""
    return lambda path: save_file(load_file(path), path, _metadata(path) | texts)


_DAMAGES = {
    "missing": os.unlink,
    "a folder": _make_folder,
    "empty": lambda path: path.write_bytes(b""),
    "half": _halve,
    "a byte short": _cut,
    "weight flipped": _flip_weight,
    "text": lambda path: path.write_text("weights"),
    "the start of a zip": lambda path: path.write_bytes(b"PK\3\4"),
    "an object": _bomb,
    "a list": lambda path: torch.save([1, 2], path),
    "a checkpoint": lambda path: save_plain(path, {"format": 1, "trainer": {}}),
    "unknown recipe": _recipe("Tesseract", {}),
    "a private class": _recipe("Block", {"layer": {"name": "nn.Tanh", "arguments": {}}, "norm": "none", "channels": 1}),
    "a function": _recipe("os.system", {"command": "true"}),
    "unknown argument": _recipe("mlp_gan", {"image_shape": [4], "latent_dim": 6, "colour": 1}),
    "bad argument": _recipe("mlp_gan", {"image_shape": [0], "latent_dim": 6}),
    "arguments a list": _recipe("mlp_gan", [1]),
    "negative class count": _recipe("OneHot", {"num_classes": -1}),
    "not a module": _recipe("Stage", {"channels": 4}),
    "recipe a word": _change(recipe="mlp_gan"),
    "recipe false": _change(recipe=False),
    "range a number": _change(sample_range=3),
    "range of words": _change(sample_range=["a", "b"]),
    "range reversed": _change(sample_range=[1.0, -1.0]),
    "info a list": _change(info=[]),
    "other weights": _change(weights={"x": torch.zeros(2)}),
    "no weights": _change(weights={}),
    "other sizes": _recipe("mlp_gan", {"image_shape": [1, 4, 5], "latent_dim": 6, "hidden": [9]}),
}
_OLD_DAMAGES = {
    "format 99": _change(format=99),
    "format 2": _change(format=2),
    "info none": _change(info=None),
    "weights a number": _change(weights=1),
}
_NEW_DAMAGES = {
    "a byte long": _lengthen,
    "format 99": _metadata_change(ganlib="99"),
    "info changed": _metadata_change(info='{"classes": ["b"]}'),
    "info of no JSON": _metadata_change(info="{"),
    "recipe of no JSON": _metadata_change(recipe="mlp_gan"),
    "range of no JSON": _metadata_change(sample_range="(0, 1)"),
    "shared of no JSON": _metadata_change(shared="x"),
    "shared a list": _change(shared=["blocks.0.layer.weight"]),
    "shared a name that is not there": _change(shared={"blocks.0.layer.weight": "x"}),
    "another name": _change(shared={"x": "blocks.0.layer.weight"}),
    "no format": lambda path: save_file(load_file(path), path, {**_metadata(path), "format": "pt", "ganlib": ""}),
    "no checksum": lambda path: save_file(
        load_file(path), path, {name: text for name, text in _metadata(path).items() if name != "checksum"}
    ),
    "length flipped": _flip(b"{", -8, 0x08),
    "length of 2 ** 63": _flip(b"{", -1, 0x80),
    "length beyond the file": _flip(b"{", -5, 0x10),
    "header flipped": _flip(b"blocks.0"),
    "type flipped": _flip(b"F32", 1, 0x01),
    "offset flipped": _flip(b"data_offsets", 15, 0x01),
    "recipe flipped": _flip(b"LinearStack"),
    "info flipped": _flip(b'\\"a\\"', 2, 0x02),
    "checksum flipped": _flip(b'"checksum":"', 12, 0x01),
    "range flipped": _flip(b"[-1.0, 1.0]", 2, 0x01),
    "brace flipped": _flip(b"{"),
}


def _load_damaged(path, damage):
    damage(path)
    with pytest.raises(CheckpointError, match=rf"run/{path.name}"):
        load_generator(path)
    assert not path.with_name("trace").exists()


@pytest.mark.parametrize("damage", (_DAMAGES | _NEW_DAMAGES).values(), ids=_DAMAGES | _NEW_DAMAGES)
def test_a_damaged_hostile_or_foreign_file_is_refused(saved, damage):
    """Whatever is wrong with it, the error is a CheckpointError that names the file, and no code in it is run."""
    _load_damaged(saved, damage)


@pytest.mark.parametrize("damage", (_DAMAGES | _OLD_DAMAGES).values(), ids=_DAMAGES | _OLD_DAMAGES)
def test_a_damaged_file_of_the_version_before_is_refused(old, damage):
    """The same is true of a ``.pt`` file."""
    _load_damaged(old, damage)


def test_a_module_does_not_help_a_damaged_file(saved):
    """Also where a module is given, weights that were damaged are refused, and the module keeps its own."""
    module = load_generator(saved)
    before = copy.deepcopy(module.state_dict())
    _flip_weight(saved)
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        load_generator(saved, module)
    _assert_same_state(before, module.state_dict())


def test_the_bomb_is_live(tmp_path):
    """The object of the tests above does leave its file where pickle is trusted."""
    torch.save(_Bomb(tmp_path / "trace"), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("file", ["saved", "old"])
def test_a_module_of_another_architecture_is_refused(request, file):
    """The error names the file and the module's class."""
    path = request.getfixturevalue(file)
    with pytest.raises(CheckpointError, match=r"generator\.\w+ is of another architecture than Linear"):
        load_generator(path, nn.Linear(6, 2))


def test_a_module_that_is_none_is_refused(saved):
    """What is given as a module must be one."""
    with pytest.raises(ArgumentTypeError, match=r"module \(='cpu'\) must be a torch\.nn\.Module"):
        load_generator(saved, "cpu")


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(path):
    """Where the run's folder is a file, it is an OSError that names it."""
    path.parent.write_text("")
    with pytest.raises(RunFolderError, match="run"):
        save_generator(path, nn.Linear(1, 1))


def test_the_file_of_a_failed_save_stays_what_it_was(saved):
    """Where a generator cannot be saved, the one before is still there."""
    before = saved.read_bytes()
    with pytest.raises(ArgumentTypeError):
        save_generator(saved, mlp_gan((1, 4, 5), 6, (9,))[0], {"a": {1}})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]

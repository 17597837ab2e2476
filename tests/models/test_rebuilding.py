"""Tests of recipes: what is rebuilt from a file, and what has no recipe."""

import copy
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.conditioning import ClassEmbedding, ConcatLatent, FiLM, OneHot, TagEmbedding
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.models import conditional_dcgan, dcgan, load_generator, mlp_gan, save_generator
from ganlib.stacks import LinearStack
from tests.models.cases import LABELS, UNEVEN, Counted, assert_same_state, by_hand_conditional, draw


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


def test_many_tied_parameters_need_no_more_bytes_than_one(path):
    """A file with half precision and many tied layers is smaller than one byte for each number of the untied ones."""
    generator = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(8))).half()
    for layer in generator:
        layer.weight = generator[0].weight
    save_generator(path, generator)
    assert len(list(load_generator(path).parameters())) == 1


@pytest.mark.parametrize(
    ("make", "condition"),
    [
        (lambda: dcgan(UNEVEN, 6)[0], None),
        (lambda: mlp_gan((1, 4, 5), 6, (8,), norm=lambda channels: nn.BatchNorm1d(channels, eps=0.1))[0], None),
        (by_hand_conditional, torch.eye(3, 4)),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, eps=0.1, momentum=None)), None),
    ],
    ids=["dcgan", "a function", "by hand", "a sequence"],
)
def test_synchronized_norms_are_read_as_plain_ones(path, make, condition):
    """Norms that torch has synchronized between devices do not lose the recipe, and draw the same."""
    generator = make()
    draw(generator.train(), condition)  # moves the statistics
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(generator))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronized.modules())
    save_generator(path, synchronized)
    loaded = load_generator(path)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in loaded.modules())
    assert torch.equal(draw(loaded, condition), draw(generator.eval(), condition))
    save_generator(path.with_name("again"), loaded)
    assert torch.equal(draw(load_generator(path.with_name("again")), condition), draw(generator, condition))


class _Own(nn.Module):
    """A module of a user."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, latent):
        """Draw."""
        return self.linear(latent)


@pytest.mark.parametrize("make", [_Own, lambda: nn.Sequential(_Own()), lambda: dcgan(UNEVEN, 6, activation=_Own)[0]])
def test_weights_without_a_recipe_need_a_module(path, make):
    """Without a module they are a ValueError of ours that names the argument and the file."""
    generator = make()
    save_generator(path, generator)
    with pytest.raises(ValueError, match=r"module \(=None\) is needed: .*generator\.safetensors") as caught:
        load_generator(path)
    assert isinstance(caught.value, GanlibError)
    assert_same_state(generator.state_dict(), load_generator(path, make()).state_dict())


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
    assert_same_state(generator.state_dict(), load_generator(path, other).state_dict())


def test_a_sequence_that_was_changed_keeps_its_recipe(path):
    """What is appended to a sequence, or replaced in it, is in its recipe."""
    generator = nn.Sequential(LinearStack([6, 4]), nn.Tanh())
    generator.append(nn.Linear(4, 3))
    generator[1] = nn.PReLU()
    save_generator(path, generator)
    assert torch.equal(draw(load_generator(path), None), draw(generator, None))


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
    loaded, drawn = draw(load_generator(path), LABELS[:3]), draw(generator.eval(), LABELS[:3])
    assert torch.equal(loaded, drawn)


def test_encoders_that_are_no_longer_shared_are_not_made_one_again(path):
    """Norms that a generator was made to share an encoder, and that have their own since, keep their own."""
    generator, _ = conditional_dcgan(UNEVEN, 6, encoder=TagEmbedding(4, 3), generator_conditioning="batch_norm")
    for module in generator.modules():
        if isinstance(module, FiLM):
            module.encoder = copy.deepcopy(module.encoder)
    for parameter in generator.parameters():
        nn.init.normal_(parameter)
    save_generator(path, generator)
    assert torch.equal(draw(load_generator(path), torch.eye(3, 4)), draw(generator.eval(), torch.eye(3, 4)))


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
    assert torch.equal(draw(load_generator(path, other), None), draw(generator.eval(), None))


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
    assert_same_state(generator.state_dict(), load_generator(path).state_dict())


def test_the_reason_for_no_recipe_is_in_the_file(path):
    """Whoever loads it is told which class has none."""
    save_generator(path, nn.Sequential(LinearStack([6, 4]), Counted(4, 2)))
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed: .*Counted has no recipe"):
        load_generator(path)


def test_numbers_of_numpy_and_ranges_are_plain_ones(path):
    """They come out of configurations and loops."""
    generator = LinearStack(range(6, 9), dropout=np.float32(0.5), bias=np.True_)
    generator = nn.Sequential(generator, nn.Linear(np.int64(8), 3))
    save_generator(path, generator)
    assert torch.equal(draw(load_generator(path), None), draw(generator.eval(), None))

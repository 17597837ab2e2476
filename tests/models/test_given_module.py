"""Tests of weights put into a module that a user made: all of them, or those that fit, or none."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ganlib.conditioning import OneHot, Unconditional
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError
from ganlib.models import (
    conditional_dcgan,
    dcgan,
    load_discriminator,
    load_generator,
    mlp_gan,
    pretrained,
    save_discriminator,
    save_generator,
)
from ganlib.stacks import LinearStack, StackPlan, Stage
from ganlib.training import EMA

PLAN = StackPlan((1, 8, 8), [Stage(4), Stage(6)])
LATENT = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


def network(*sizes):
    """A small network with batch norm and spectral norm, drawn differently every time."""
    return LinearStack(sizes or (7, 6, 4), norm="batch", spectral_norm=True)


@pytest.fixture
def path(tmp_path):
    """Where a network is saved."""
    return tmp_path / "network.safetensors"


@pytest.fixture
def saved(path):
    """The path of a saved network."""
    save_generator(path, network(), {"seed": 1})
    return path


def kept(module):
    """What a module is: tensors by name, their objects, modes, attributes."""
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return state, [*map(id, module.parameters())], module.training, {*vars(module)}


def assert_kept(module, before):
    """A module is what it was."""
    state, *rest = kept(module)
    assert rest == [*before[1:]]
    assert list(state) == list(before[0])
    assert all(map(torch.equal, state.values(), before[0].values()))


class Failing(LinearStack):
    """A network whose last layer cannot be loaded."""

    def _load_from_state_dict(self, *arguments):
        super()._load_from_state_dict(*arguments)
        for block in self.blocks:
            nn.init.ones_(block.layer.bias)
        raise KeyError("broken")


@pytest.mark.parametrize(
    "make",
    [
        lambda: network(7, 6, 5),
        lambda: network(7, 6, 4, 3),
        lambda: nn.Sequential(network()),
        lambda: Failing((7, 6, 4), norm="batch", spectral_norm=True),
        lambda: torch.compile(network(7, 6, 5), backend="eager"),
        lambda: nn.DataParallel(network(8, 6, 4)),
    ],
    ids=["a shape", "a layer more", "other names", "an error of its own", "compiled", "DataParallel"],
)
@pytest.mark.parametrize("partial", [False, True])
def test_a_failed_load_leaves_the_module_as_it_was(saved, make, partial):
    """Not half of the weights: the first layers would fit."""
    module = make()
    if partial and "Failing" not in repr(type(module)):
        return
    before = kept(module)
    with pytest.raises(CheckpointError, match=r"network\.safetensors is of another architecture than \w+"):
        load_generator(saved, module, partial=partial)
    assert_kept(module, before)


def test_a_failed_load_leaves_layers_without_a_shape_as_they_were(saved):
    """They can be called with any input afterwards."""
    module = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.Linear(3, 3))
    with pytest.raises(CheckpointError, match="another architecture"):
        load_generator(saved, module)
    wrong = nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    save_generator(saved, wrong)
    with pytest.raises(CheckpointError, match=r"2\.weight is \(2, 3\) in the file and \(3, 3\) in the module; 2\.bias"):
        load_generator(saved, module)
    assert module(torch.zeros(2, 9)).shape == (2, 3)


def test_layers_without_a_shape_take_that_of_the_file(path):
    """As torch does."""
    module = nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3))
    save_generator(path, module)
    for partial in (False, True):
        loaded = load_generator(path, nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d()), partial=partial)
        assert torch.equal(loaded(LATENT), module.eval()(LATENT))


def test_train_is_the_mode(saved):
    """Evaluation unless it is asked for, with gradients on; a module that is given keeps what is frozen."""
    for train in (False, True):
        assert load_generator(saved, train=train).training is train
        module = network().train(not train)
        module.blocks[0].requires_grad_(False)
        before = [parameter.requires_grad for parameter in module.parameters()]
        loaded = load_generator(saved, module, train=train)
        assert all(part.training is train for part in loaded.modules())
        assert [parameter.requires_grad for parameter in loaded.parameters()] == before
        assert pretrained("mnist_cdcgan", train=train).training is train
    frozen = network().requires_grad_(False)
    save_generator(saved, frozen)
    assert all(parameter.requires_grad for parameter in load_generator(saved).parameters())


@pytest.mark.parametrize("name", ["train", "partial"])
def test_an_option_is_a_bool(saved, name):
    """Another value is quoted."""
    with pytest.raises(ArgumentTypeError, match=rf"{name} \(=1\) must be True or False"):
        load_generator(saved, network(), **{name: 1})


def test_a_part_needs_a_module(saved):
    """Without one everything fits."""
    with pytest.raises(ArgumentValueError, match=r"partial \(=True\) needs a module"):
        load_generator(saved, partial=True)


def test_a_part_is_what_fits_by_name_and_shape(saved):
    """The rest keeps its values, and one warning at the caller names it, with both shapes."""
    whole = load_generator(saved).state_dict()
    module = network(7, 6, 5, 3).train()
    before = copy.deepcopy(module.state_dict())
    with pytest.warns(UserWarning, match="was loaded in part") as caught:
        assert load_generator(saved, module, partial=True, train=True) is module
    assert [warning.filename for warning in caught] == [__file__]
    message = str(caught[0].message)
    layer = "blocks.1.layer.parametrizations.weight"
    assert f"{layer}.original is (4, 6) in the file and (5, 6) in the module" in message
    assert f"{layer}.0._v belongs to {layer}.original" in message
    assert "blocks.2.layer.bias is not in the file" in message
    fits = [name for name in before if name.startswith("blocks.0")]
    assert not any(f"{name} " in message for name in fits)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, (whole if name in fits else before)[name]), name
    assert (module.info, module.training) == ({"seed": 1}, True)


def test_what_only_the_file_has_is_named(path):
    """A layer that the module has not is left out."""
    save_generator(path, nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 5)))
    module = nn.Sequential(nn.Linear(7, 6))
    with pytest.warns(UserWarning, match=r"2\.bias \(5,\) is not in the module; 2\.weight \(5, 6\) is not"):
        load_generator(path, module, partial=True)
    assert torch.equal(module(LATENT), load_generator(path)[0](LATENT))


def test_statistics_come_over_with_their_layer_alone(path):
    """A batch norm of another width does not get the count of batches, although that has no shape."""
    file = nn.Sequential(nn.Linear(7, 6), nn.BatchNorm1d(6))
    file(LATENT)
    save_generator(path, file)
    module = nn.Sequential(nn.Linear(7, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(6))
    with pytest.warns(UserWarning, match=r"2\.num_batches_tracked is not in the file"):
        load_generator(path, module, partial=True)
    assert [module[1].num_batches_tracked.item(), module[2].num_batches_tracked.item()] == [1, 0]
    module = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5))
    with pytest.raises(CheckpointError, match=r"of another architecture than Sequential: not one tensor has a name"):
        load_generator(path, module, partial=True)
    assert module[1].num_batches_tracked == 0


@pytest.mark.parametrize("normalize", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings(
    "ignore:.*weight_norm.*deprecated:FutureWarning", "ignore:Sequential was changed:UserWarning"
)
def test_a_norm_comes_over_with_its_direction_alone(path, normalize):
    """A weight is the file's or the module's, not a mixture of both; what is left out of it is named."""
    file = nn.Sequential(nn.Linear(7, 6), normalize(nn.Linear(6, 4)))
    with torch.no_grad():
        file[1].bias.fill_(3)
        norm = next(tensor for tensor in file[1].parameters() if tensor.shape == (4, 1))
        norm.mul_(5)
    save_generator(path, file)
    module = nn.Sequential(nn.Linear(7, 6), normalize(nn.Linear(5, 4)))
    before = module[1](torch.ones(5)) - module[1].bias
    with pytest.warns(UserWarning, match=r"1\.\S*weight\S* belongs to 1\.\S*weight"):
        load_generator(path, module, partial=True)
    after = module[1](torch.ones(5)) - module[1].bias
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    assert module[1].bias.eq(3).all()


def test_everything_that_fits_is_no_warning(saved):
    """Then it is the whole; the suite makes errors of warnings."""
    module = network()
    load_generator(saved, module, partial=True)
    assert torch.equal(module(LATENT), load_generator(saved)(LATENT))


@pytest.mark.parametrize(
    ("conditioning", "generator_conditioning", "left_out"),
    [
        ("projection", "latent", ["encoder.embedding.weight"]),
        ("channels", "latent", ["module.0.blocks.0.layer.weight"]),
        ("features", "batch_norm", ["head.blocks.0.layer.weight"]),
        ("auxiliary", "latent", ["classify.weight", "classify.bias"]),
    ],
)
def test_a_gan_with_other_classes(path, conditioning, generator_conditioning, left_out):
    """Everything comes over but what depends on the number of classes."""
    torch.manual_seed(0)
    options = {"conditioning": conditioning, "generator_conditioning": generator_conditioning}
    generator, discriminator = conditional_dcgan(PLAN, 7, 10, **options)
    for name, save, load, trained, new, expected in [
        ("discriminator", save_discriminator, load_discriminator, discriminator, 1, left_out),
        ("generator", save_generator, load_generator, generator, 0, None),
    ]:
        save(path.with_name(name), trained)
        module = conditional_dcgan(PLAN, 7, 3, **options)[new]
        before = copy.deepcopy(module.state_dict())
        with pytest.warns(UserWarning, match="was loaded in part") as caught:
            load(path.with_name(name), module, partial=True, train=True)
        same_shape = [key for key, tensor in trained.state_dict().items() if tensor.shape == before[key].shape]
        different = sorted(before.keys() - {*same_shape})
        assert different
        assert expected is None or sorted(expected) == different
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, before[key] if key in different else trained.state_dict()[key]), key
            assert (f"{key} is (" in str(caught[0].message)) == (key in different), key
    assert module(LATENT, torch.tensor([0, 1, 2, 0, 1])).shape == (5, 1, 8, 8)


def test_a_wrapped_module_gets_a_part(saved):
    """Names are those of the plain one."""
    for wrap in (lambda module: torch.compile(module, backend="eager"), nn.DataParallel, EMA):
        module = wrap(network(7, 6, 5))
        with pytest.warns(UserWarning, match=r"blocks\.1\.layer"):
            assert load_generator(saved, module, partial=True) is module


def test_weights_are_not_cut_to_whole_numbers(path):
    """A buffer of counts cannot hold what the file has; in part it is left out."""
    file, module = nn.Linear(2, 2), nn.Linear(2, 2)
    file.register_buffer("table", torch.tensor([0.5, 1.5]))
    module.register_buffer("table", torch.tensor([1, 2]))
    save_file(file.state_dict(), path)
    before = kept(module)
    with pytest.raises(CheckpointError, match=r"table is torch\.float32 in the file and torch\.int64 in the module"):
        load_generator(path, module)
    assert_kept(module, before)
    with pytest.warns(UserWarning, match=r"table is torch\.float32 in the file"):
        load_generator(path, module, partial=True)
    assert module.table.tolist() == [1, 2]
    assert torch.equal(module.weight, file.weight)


def test_one_tensor_cannot_be_two(path):
    """Where a module shares a weight that the file has twice, with different values, one of them would be lost."""
    file = nn.Sequential(nn.Linear(7, 7, bias=False), nn.Linear(7, 7, bias=False))
    shared = nn.Sequential(nn.Linear(7, 7, bias=False), nn.Linear(7, 7, bias=False))
    shared[1].weight = shared[0].weight
    save_generator(path, file)
    for partial in (False, True):
        with pytest.raises(CheckpointError, match=r"0\.weight and 1\.weight are the same tensor in the module"):
            load_generator(path, shared, partial=partial)
    save_generator(path, shared)
    assert torch.equal(load_generator(path, file)(LATENT), shared(LATENT))
    assert torch.equal(load_generator(path, shared)(LATENT), file(LATENT))


def test_an_expanded_tensor_is_given_room(path):
    """One number that stands for several becomes several; it stays the parameter that an optimizer has."""
    file, module = nn.Linear(7, 3), nn.Linear(7, 3)
    module.bias = nn.Parameter(torch.ones(1).expand(3))
    bias = module.bias
    save_generator(path, file)
    assert torch.equal(load_generator(path, module)(LATENT), file(LATENT))
    assert module.bias is bias


def test_a_module_that_holds_nothing_is_refused(path):
    """Torch would load nothing into it, with a warning at most."""
    save_generator(path, nn.Linear(2, 2))
    module = nn.Linear(2, 2, device="meta")
    for partial in (False, True):
        with pytest.raises(ArgumentValueError, match=r"^module has weight on the meta device.*to_empty"):
            load_generator(path, module, partial=partial)


def test_a_module_of_inference_mode_can_be_trained(path):
    """Torch would not change its tensors, so it gets others."""
    file = nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3))
    save_generator(path, file)
    with torch.inference_mode():
        module = nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3))
    loaded = load_generator(path, module, train=True)
    assert torch.equal(loaded(LATENT), file(LATENT))
    loaded(LATENT).sum().backward()


def test_weights_of_wrapped_parts_that_others_wrote_fit(path):
    """Names with what torch puts around a module, as earlier versions and other programs write them."""
    plain = Unconditional(nn.Sequential(nn.Linear(7, 6), nn.BatchNorm1d(6)))
    wrapped = Unconditional(torch.compile(nn.DataParallel(copy.deepcopy(plain.module)), backend="eager"))
    names = ["module._orig_mod.module.0.weight", "module.0.weight"]
    for file, name in zip((wrapped, plain), names, strict=True):
        save_file(file.state_dict(), path)
        assert name in file.state_dict()
        for make in (lambda: plain, lambda: wrapped, lambda: nn.DataParallel(plain)):
            module = copy.deepcopy(make())
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
            loaded = load_generator(path, module)
            assert torch.equal(next(loaded.parameters()), plain.module[0].weight)


def test_an_exported_program_has_one_mode(path):
    """It is loaded, and cannot be asked to train."""
    module = nn.Sequential(nn.Linear(7, 3))
    program = torch.export.export(nn.Sequential(nn.Linear(7, 3)), (LATENT,)).module()
    save_generator(path, module)
    assert torch.equal(load_generator(path, program)(LATENT), module(LATENT))
    with pytest.raises(ArgumentValueError, match=r"train \(=True\): a GraphModule has no training mode"):
        load_generator(path, program, train=True)


def test_unconditional_networks_of_another_size_do_not_fit(path):
    """Nothing of a plan with other channels fits but single numbers, which are no match."""
    save_generator(path, dcgan(PLAN, 7)[0])
    other = dcgan(StackPlan((1, 8, 8), [Stage(3), Stage(5)]), 9)[0]
    with pytest.raises(CheckpointError, match="another architecture"):
        load_generator(path, other)
    save_generator(path, mlp_gan((1, 4, 5), 6, (8,), encoder=OneHot(5))[0])
    with pytest.raises(CheckpointError, match="not one tensor has a name and a shape that fit"):
        load_generator(path, other, partial=True)


@pytest.mark.parametrize(
    ("saved", "given", "value"), [(torch.float32, torch.float16, 1e6), (torch.int64, torch.uint8, 300)]
)
def test_numbers_that_a_module_cannot_hold_are_refused(tmp_path, saved, given, value):
    """They would become infinite, or others; with ``partial`` they are left out and named."""

    class Network(nn.Module):
        def __init__(self, dtype, number):
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.register_buffer("x", torch.tensor([number, 1], dtype=dtype))

    save_generator(tmp_path / "g", Network(saved, value))
    with pytest.raises(CheckpointError, match=f"x holds numbers that {given} of the module cannot hold"):
        load_generator(tmp_path / "g", Network(given, 2))
    with pytest.warns(UserWarning, match="x holds numbers"):
        assert load_generator(tmp_path / "g", Network(given, 2), partial=True).x.tolist() == [2, 1]

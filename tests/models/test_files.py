"""Tests of generators on disk."""

import copy
import io
import math
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ganlib import models
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError
from ganlib.models import conditional_dcgan, load_generator, mlp_gan, save_generator
from ganlib.training import EMA
from tests.models.cases import GENERATORS, UNEVEN, assert_same_state, draw, metadata_of


def _assert_same_file(one, other):
    """Both files have the same metadata and weights; the order of the metadata is not defined."""
    assert metadata_of(one) == metadata_of(other)
    assert_same_state(load_file(one), load_file(other))


@pytest.mark.parametrize("wrap", ["itself", "deepcopy", "EMA"])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_comes_back(path, name, wrap):
    """Every recipe, its copy and its average, is rebuilt from the file alone, and draws the same to the bit."""
    make, condition, sample_range = GENERATORS[name]
    generator = make()
    draw(generator.train(), condition)  # moves batch norm's statistics
    if wrap != "itself":
        generator = copy.deepcopy(generator) if wrap == "deepcopy" else EMA(generator).module
    before = torch.get_rng_state()
    save_generator(path, generator, info={"classes": ["zero", "one"], "seed": 3})
    loaded = load_generator(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_state(generator.state_dict(), loaded.state_dict())
    assert torch.equal(draw(loaded, condition), draw(generator.eval(), condition))
    assert loaded.info == {"classes": ["zero", "one"], "seed": 3}
    assert (getattr(loaded, "sample_range", None), loaded.training) == (sample_range, False)
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in loaded.parameters())
    assert not any(buffer.is_meta for buffer in loaded.buffers())
    assert len(list(loaded.parameters())) == len(list(generator.parameters()))


@pytest.mark.parametrize("name", GENERATORS)
def test_a_loaded_generator_can_be_saved_and_loaded_again(path, name):
    """The second file holds what the first one does."""
    save_generator(path, GENERATORS[name][0](), info={"seed": 3})
    loaded = load_generator(path)
    save_generator(path.with_name("again"), loaded, loaded.info)
    _assert_same_file(path.with_name("again"), path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "by hand", "by hand, a shared encoder"])
def test_weights_keep_their_precision(path, name, dtype):
    """A rebuilt generator has the precision of the file, to the bit, and a module given keeps its own."""
    generator = GENERATORS[name][0]().to(dtype)
    save_generator(path, generator)
    assert_same_state(generator.state_dict(), load_generator(path).state_dict())
    single = load_generator(path, GENERATORS[name][0]())
    assert_same_state(generator.to(torch.float32).state_dict(), single.state_dict())


def test_weights_may_have_their_channels_last(path):
    """The file is that of the same weights in the usual order, and they are read again to the bit."""
    generator = conditional_dcgan(UNEVEN, 6, 5)[0]
    save_generator(path.with_name("plain"), generator)
    generator.to(memory_format=torch.channels_last)
    assert not all(weight.is_contiguous() for weight in generator.parameters())
    save_generator(path, generator)
    _assert_same_file(path.with_name("plain"), path)
    assert_same_state(generator.state_dict(), load_generator(path).state_dict())


def test_tied_parameters_stay_tied(path):
    """A weight that two layers share is in the file once, and is one parameter again."""
    generator = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    generator[2].weight = generator[0].weight
    save_generator(path, generator)
    loaded = load_generator(path)
    assert loaded[2].weight is loaded[0].weight
    assert loaded[2].bias is not loaded[0].bias
    assert torch.equal(draw(loaded, None), draw(generator, None))
    assert list(load_file(path)) == ["0.bias", "0.weight", "2.bias"]
    assert_same_state(generator.state_dict(), load_generator(path, copy.deepcopy(generator)).state_dict())


def test_weights_may_be_views_of_one_buffer(path):
    """Each is saved as its own tensor."""
    generator = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    numbers = torch.randn(100)
    generator[0].weight = nn.Parameter(numbers[:24].view(4, 6))
    generator[1].weight = nn.Parameter(numbers[20:28].view(4, 2).T)
    save_generator(path, generator)
    assert_same_state(generator.state_dict(), load_generator(path).state_dict())


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


@pytest.mark.parametrize("name", ["generator", "generator.safetensors", "generator.pt", "generator.bin", "a/b/c.d"])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_suffix_does_not_matter(tmp_path, name, kind):
    """Under any name, in a folder that may not be there yet, the file is the same."""
    generator = mlp_gan((1, 4, 5), 6, (8,))[0]
    save_generator(kind(tmp_path / name), generator)
    assert_same_state(generator.state_dict(), load_generator(kind(tmp_path / name)).state_dict())
    assert len(load_file(tmp_path / name)) == 4


def test_a_module_of_ones_own_is_given_the_weights(path):
    """A generator without a recipe is loaded into a module, which is returned in evaluation mode, range and all."""
    module = nn.Linear(6, 2)
    module.sample_range = (0.0, 1.0)
    save_generator(path, module)
    other = nn.Linear(6, 2).train()
    assert load_generator(path, other) is other
    assert torch.equal(draw(other, None), draw(module, None))
    assert (other.training, other.info, other.sample_range) == (False, {}, (0.0, 1.0))


@pytest.mark.parametrize("ends", [(1, 0), (1, 2, 3), (math.nan, 1), "ab", 5, draw])
def test_a_range_that_is_none_is_refused_before_it_is_saved(path, ends):
    """A file that could not be read again is not written."""
    generator = nn.Linear(2, 2)
    generator.sample_range = ends
    with pytest.raises(ArgumentValueError, match=r"sample_range \(=.* of the generator must be \(low, high\)"):
        save_generator(path, generator)
    assert not path.exists()


def test_loading_in_threads_leaves_the_warnings_alone(saved):
    """A server may load at any time; the filters of the whole process stay as they are."""
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [load_generator(saved) for _ in range(10)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


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


@pytest.mark.parametrize("path", [None, 3, b"x", io.BytesIO()])
@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_what_is_no_path_is_refused(path, kind):
    """Saving and loading name it, before anything is done."""
    for call in (
        lambda: getattr(models, f"save_{kind}")(path, nn.Linear(2, 2)),
        lambda: getattr(models, f"load_{kind}")(path),
    ):
        with pytest.raises(ArgumentTypeError, match=r"path \(=.*must be the path of a file"):
            call()


def test_numpys_true_is_true(tmp_path):
    """A flag of NumPy counts as Python's; a long wrong argument is shortened in its error."""
    save_generator(tmp_path / "x", nn.Linear(2, 2))
    assert load_generator(tmp_path / "x", nn.Linear(2, 2), train=np.True_, partial=np.False_).training
    with pytest.raises(ArgumentTypeError, match="must be a torch.nn.Module") as caught:
        save_generator(tmp_path / "x", nn.Linear(100, 100).state_dict())
    assert len(str(caught.value)) < 300


def test_an_average_that_was_never_updated_is_warned_of(path):
    """If its network was trained: the file is written, with the weights from before the training."""
    generator = mlp_gan((1, 4, 4), latent_dim=3, hidden=(5,))[0]
    ema = EMA(generator)
    save_generator(path, ema)
    before = load_file(path)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(1)
    with pytest.warns(
        UserWarning, match="generator is an EMA that was never updated, though its network was"
    ) as caught:
        save_generator(path, ema)
    assert (len(caught), caught[0].filename) == (1, __file__)
    assert_same_state(load_file(path), before)
    ema.update()
    save_generator(path, ema)
    loaded = EMA(generator)
    load_generator(path, loaded)
    save_generator(path, loaded)

"""Whatever ganlib writes, ganlib reads: what is accepted without a word comes back, and all else is refused at once."""

import contextlib
import copy
import csv
import itertools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.parallel import DataParallel
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from ganlib import latents, losses, models, training
from ganlib._files import load_plain, save_plain
from ganlib.conditioning import FiLM, OneHot, Unconditional
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.stacks import LinearStack, MinibatchStdDev, MultiScaleDiscriminator, PixelNorm
from tests.metrics.cases import CASES, TWO_SIDED, normal, same

LATENT = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def compiled(module):
    """A compiled module, for which no compiler is needed."""
    return torch.compile(module, backend="eager")


def plain():
    """A small network, always the same one."""
    torch.manual_seed(0)
    network = LinearStack([4, 6, 2], norm="batch", spectral_norm=True)
    network(LATENT)  # moves statistics and vectors
    return network


def changed(change):
    """A function that makes a network and does something to it."""

    def make():
        network = nn.Sequential(OrderedDict(first=nn.Linear(4, 6), second=nn.Tanh(), third=nn.Linear(6, 2)))
        return change(network) or network

    return make


def with_state(name="table", make=lambda: torch.tensor([1.0, 2.0])):
    """The same, for something more in its state."""
    return changed(lambda network: network.register_buffer(name, make()))


def _quiet(norm):
    """The hook form of a norm, of which torch says that it is old."""

    def change(network):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            norm(network.first)

    return change


def _prune(network):
    prune.l1_unstructured(network.first, "weight", 0.5)


def _compile_forward(network):
    network.forward = torch.compile(network.forward, backend="eager")


def _expand(network):
    network.first.bias.data = torch.ones(1).expand(6)


def _transpose(network):
    network.third.weight = nn.Parameter(torch.randn(2, 6).to(memory_format=torch.contiguous_format))


def _tie(network):
    network.third = nn.Linear(6, 6)
    network.fourth = nn.Linear(6, 6)
    network.fourth.weight = network.third.weight


def _shared_memory(network):
    numbers = torch.randn(30)
    network.first.weight.data, network.third.weight.data = numbers[:24].view(6, 4), numbers[12:24].view(2, 6)


def _make_lazy(network):
    network.third = nn.LazyLinear(2)
    network(LATENT)


class Subclass(torch.Tensor):
    """A tensor that may mean anything."""


def _quantize(network):
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})


def _script(network):
    return torch.jit.script(network)


def _frozen_script(network):
    return torch.jit.freeze(torch.jit.script(network.eval()))


def _subclass(network):
    network.first.weight = nn.Parameter(network.first.weight.detach().as_subclass(Subclass))


def _change_eps(network):
    network.norm = PixelNorm()
    network.norm.eps = 0.5


def _change_group(network):
    network.more = nn.Unflatten(1, (2, 1, 1))
    network.statistic = MinibatchStdDev(6)
    network.statistic.group_size = 2


def _remove_bias(network):
    network.first.bias = None


# Every way to be no plain module of torch's that we know of.
NETWORKS = {
    "plain": plain,
    **{
        f"{where}{name}": (lambda wrap=wrap, around=around: around(wrap(plain())))
        for (name, wrap), (where, around) in itertools.product(
            {
                "compiled": compiled,
                "DataParallel": DataParallel,
                "EMA": training.EMA,
                "AveragedModel": AveragedModel,
                "with a checkpoint of activations": checkpoint_wrapper,
                "compiled, in DataParallel": lambda module: DataParallel(compiled(module)),
                "an EMA of a compiled one": lambda module: training.EMA(compiled(module)),
            }.items(),
            {"": lambda module: module, "in an adapter, ": Unconditional}.items(),
        )
    },
    "compiled in place": lambda: [network := plain(), network.compile(backend="eager")][0],
    "its forward compiled": changed(_compile_forward),
    "a layer compiled": changed(lambda network: setattr(network, "first", compiled(network.first))),
    "norms compiled": lambda: LinearStack([4, 6, 2], norm=lambda size: compiled(nn.BatchNorm1d(size))),
    "an activation compiled": lambda: LinearStack([4, 6, 2], activation=compiled(nn.PReLU())),
    "an empty sequence, compiled": changed(lambda network: network.append(compiled(nn.Sequential()))),
    "scales compiled": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 4)),
        MultiScaleDiscriminator([compiled(nn.Conv1d(1, 1, 1)), DataParallel(nn.Conv1d(1, 1, 1))]),
    ),
    "weight norm": changed(lambda network: parametrizations.weight_norm(network.first) and None),
    "spectral norm": changed(lambda network: parametrizations.spectral_norm(network.first) and None),
    "orthogonal": changed(lambda network: parametrizations.orthogonal(network.first) and None),
    "weight norm, hooks": changed(_quiet(nn.utils.weight_norm)),
    "spectral norm, hooks": changed(_quiet(nn.utils.spectral_norm)),
    "pruned": changed(_prune),
    "expanded": changed(_expand),
    "tied": changed(_tie),
    "one buffer": changed(_shared_memory),
    "lazy": changed(lambda network: network.append(nn.LazyLinear(2))),
    "lazy, made": changed(_make_lazy),
    "meta": lambda: plain().to("meta"),
    "quantized": changed(_quantize),
    "TorchScript": changed(_script),
    "frozen TorchScript": changed(_frozen_script),
    "traced": changed(torch.fx.symbolic_trace),
    "a subclass": changed(_subclass),
    "eps changed": changed(_change_eps),
    "an attribute changed": changed(_change_group),
    "momentum changed": changed(lambda network: network.append(nn.BatchNorm1d(2, eps=0.5, momentum=None)) and None),
    "no bias": changed(_remove_bias),
    "not persistent": changed(lambda network: network.register_buffer("table", torch.ones(2), persistent=False)),
    "no dimensions": with_state(make=lambda: torch.tensor(0.5)),
    "nothing": with_state(make=lambda: torch.zeros(0, 3)),
    "nan": with_state(make=lambda: torch.tensor([torch.nan, -0.0, torch.inf])),
    "expanded buffer": with_state(make=lambda: torch.ones(1).expand(5)),
    "not contiguous": with_state(make=lambda: torch.arange(9.0).view(3, 3).T),
    "conjugated": with_state(make=lambda: torch.ones(2, dtype=torch.complex64).conj()),
    "negative": with_state(make=lambda: torch._neg_view(torch.ones(2))),
    "inference": with_state(make=lambda: torch.inference_mode()(torch.ones)(2)),
    "sparse": with_state(make=lambda: torch.eye(2).to_sparse()),
    "sparse rows": with_state(make=lambda: torch.eye(2).to_sparse_csr()),
    "nested": with_state(make=lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])),
    **{
        str(dtype): with_state(make=lambda dtype=dtype: torch.zeros(4, dtype=torch.uint8).view(dtype))
        for dtype in sorted({one for one in vars(torch).values() if isinstance(one, torch.dtype)}, key=str)
        if dtype.itemsize in (1, 2, 4)
    },
    **{
        f"named {name!a:.12}": with_state(name)
        for name in ("__metadata__", "a b", "ü\u4e03", "\n", '"', "\ud800", "\0", "_orig_mod", "module", "x" * 3000)
    },
    **{
        f"a layer {name!a}": (lambda name=name: nn.Sequential(OrderedDict({name: nn.Linear(4, 2), "z": nn.Tanh()})))
        for name in ("id", "name", "same_as", "arguments", "device", "__metadata__", "_orig_mod", "module", "\ud800")
    },
    "conditional": lambda: FiLM(4, OneHot(3)),
    "recurrent": lambda: nn.GRU(4, 2),
    "nothing to train": nn.Tanh,
}


def run(network):
    """The tensors that a network gives."""
    inputs = (LATENT, torch.arange(6) % 3) if isinstance(network, FiLM) else (LATENT,)
    with torch.no_grad():
        return [one for one in torch.utils._pytree.tree_leaves(network(*inputs)) if isinstance(one, torch.Tensor)]


def values(state):
    """The tensors of a state, to the bit."""
    return [
        one.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).tolist()
        for one in state.values()
    ]


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning", "ignore:.*torch.jit.*is deprecated")
@pytest.mark.filterwarnings("ignore:.*TypedStorage", "ignore:.*(Quantized|nested|Sparse)", "ignore:.*was changed after")
@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed")
@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(name, kind, tmp_path):
    """It is loaded alone, or into another like it, to the same values and state; or it was refused at once."""
    save, load = getattr(models, f"save_{kind}"), getattr(models, f"load_{kind}")
    network, path = NETWORKS[name](), tmp_path / "network"
    try:
        save(path, network)
    except GanlibError:
        assert not path.exists()
        return
    expected = run(network.eval())
    other = NETWORKS[name]()
    for parameter in other.parameters():
        parameter.data = torch.zeros_like(parameter)
    loaded = load(path, other)
    assert all(map(torch.equal, run(loaded), expected))
    for state, own in [(loaded.state_dict(), network.state_dict())]:
        counts = [key for key in own if key == "n_averaged" or key.endswith("_extra_state")]
        assert values({key: own[key] for key in own if key not in counts}) == values(
            {key: state[key] for key in own if key not in counts}
        )
    with contextlib.suppress(ArgumentValueError):  # it has no recipe
        assert all(map(torch.equal, run(load(path)), expected))


@pytest.mark.parametrize("wrap", [compiled, DataParallel, training.EMA, Unconditional], ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize("wrap_other", [compiled, DataParallel, training.EMA], ids=lambda wrap: wrap.__name__)
def test_a_file_does_not_depend_on_wrappers(wrap, wrap_other, tmp_path):
    """What was saved with some is loaded into modules with others, or with none."""
    models.save_generator(tmp_path / "x", wrap(plain()), {"seed": 1})
    layer = wrap if wrap is Unconditional else lambda module: module
    for module in (layer(plain()), wrap_other(layer(plain())), layer(wrap_other(plain()))):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        loaded = models.load_generator(tmp_path / "x", module)
        assert torch.equal(loaded(LATENT), plain().eval()(LATENT))


def test_a_range_is_found_behind_wrappers(tmp_path):
    """DataParallel hides the attributes of its module; one of its own counts first."""
    generator = models.mlp_gan((1, 2, 2), 4)[0]
    for wrapped in (DataParallel(generator), training.EMA(generator), Unconditional(DataParallel(generator))):
        models.save_generator(tmp_path / "x", wrapped)
        assert models.load_generator(tmp_path / "x").sample_range == (-1.0, 1.0)
    wrapped = DataParallel(generator)
    wrapped.sample_range = torch.tensor([0, 1])
    models.save_generator(tmp_path / "x", wrapped)
    assert models.load_generator(tmp_path / "x").sample_range == (0.0, 1.0)


INFO = {
    **{str(index): number for index, number in enumerate([np.float32(0.1), np.float64(0.1), np.int8(-3), np.True_])},
    "array": np.array(3),
    "text": np.str_("x"),
    "tensor": torch.tensor(0.1),
    "half": torch.tensor(0.1, dtype=torch.bfloat16),
    "flag": torch.tensor(False),
    "parameter": nn.Parameter(torch.tensor(2.0)),
    "size": torch.Size([1, 2]),
    "long": -(10**4000),
    "odd": [np.nan, -0.0, 1e-320, np.inf],
    "nested": {"a": ({"b": np.int64(1)},), "": OrderedDict(c=None)},
}
NO_INFO = [
    *(10**5000, 1j, {1}, b"x", range(2), np.ones(1), np.ones(0), torch.ones(1), torch.tensor(1j), np.complex64(1)),
    *(np.datetime64("2020"), np.longdouble(1), np.ma.masked, torch.zeros((), device="meta"), torch.float32, ..., len),
    *({1: 2}, {None: 1}, iter([]), {"a": [object()]}),
]


def test_an_info(tmp_path):
    """Numbers of numpy and of torch are plain numbers, and what JSON has not is refused when it is saved."""
    models.save_generator(tmp_path / "x", nn.Linear(1, 1), INFO)
    info = models.load_generator(tmp_path / "x").info
    expected = [float(np.float32(0.1)), 0.1, -3, True, 3, "x", float(torch.tensor(0.1)), 0.10009765625, False, 2.0]
    assert repr([*info.values()]) == repr(
        [*expected, [1, 2], -(10**4000), INFO["odd"], {"a": [{"b": 1}], "": {"c": None}}]
    )
    before = (tmp_path / "x").read_bytes()
    for value in NO_INFO:
        with pytest.raises(GanlibError, match="^info/a"):
            models.save_generator(tmp_path / "x", nn.Linear(1, 1), {"a": value})
    assert (tmp_path / "x").read_bytes() == before


@pytest.mark.parametrize(
    "ends", ["01", {0: 1, 1: 2}, {0, 1}, (0, 10**400), torch.zeros(2, 3), torch.zeros(2).to("meta")]
)
def test_a_range_that_could_not_be_read_is_refused(ends, tmp_path):
    """Whatever it is, it is quoted."""
    generator = nn.Linear(1, 1)
    generator.sample_range = ends
    with pytest.raises(GanlibError, match=r"sample_range \(="):
        models.save_generator(tmp_path / "x", generator)


# Checkpoints.


def trainer_of(generator, discriminator):
    """A trainer of two networks."""
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-3),
        torch.optim.Adam(discriminator.parameters(), lr=1e-3),
        loss=losses.HingeLoss(),
        latent=latents.Gaussian(4),
    )


def networks(wrap=lambda module: module, inside=lambda module: module):
    """A generator and a discriminator, always the same, with something around them, or around a part of them."""
    torch.manual_seed(0)
    generator = nn.Sequential(inside(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))), nn.Linear(6, 2))
    return wrap(generator), wrap(nn.Sequential(inside(nn.Linear(2, 6)), nn.ReLU(), nn.Linear(6, 1)))


def trained(parts, folder, iterations, *, resume=False):
    """Train networks with an average, and return them and the average, without wrappers."""
    generator, discriminator = parts
    ema = training.EMA(generator, decay=0.5)
    torch.manual_seed(1)
    trainer = trainer_of(generator, discriminator)
    batches = [torch.randn(8, 2, generator=torch.Generator().manual_seed(2))]
    callbacks = [ema, training.Checkpoint(folder, every=3)]
    training.fit(trainer, batches, iterations=iterations, callbacks=callbacks, resume=resume)
    return trainer, ema


def weights(trainer, ema):
    """All weights and statistics of a training, in order."""
    modules = trainer.generator, trainer.discriminator, ema
    return [tensor for module in modules for tensor in module.state_dict().values()]


LAYOUTS = {
    "plain": {},
    "compiled": {"wrap": compiled},
    "parts compiled": {"inside": compiled},
    "both": {"wrap": compiled, "inside": compiled},
}


# Dynamo looks at what it is given, of which torch warns.
looked_at = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@looked_at
@pytest.mark.parametrize("before", LAYOUTS)
@pytest.mark.parametrize("after", LAYOUTS)
def test_a_run_goes_on_with_other_wrappers(before, after, tmp_path):
    """A checkpoint of a trainer and its average is continued, and loaded, whatever is around the networks."""
    expected = weights(*trained(networks(), tmp_path / "whole", 5))
    trained(networks(**LAYOUTS[before]), tmp_path / "run", 3)
    trainer, ema = trained(networks(**LAYOUTS[after]), tmp_path / "run", 5, resume=True)
    assert trainer.iteration == 5
    assert all(map(torch.equal, weights(trainer, ema), expected))
    generator, discriminator = networks(**LAYOUTS[after])
    trainer, ema = trainer_of(generator, discriminator), training.EMA(generator, decay=0.5)
    loaded = training.Checkpoint.load(tmp_path / "run" / "checkpoints" / "00000005.pt", trainer, [ema])
    assert all(map(torch.equal, weights(trainer, ema), expected))
    assert list(loaded["trainer"]["modules"]["generator"]) == list(networks()[0].state_dict())


@looked_at
@pytest.mark.parametrize("before", LAYOUTS)
def test_a_checkpoint_of_an_earlier_version_is_read(before, tmp_path):
    """Its names had what was around the networks in them."""
    generator, discriminator = networks(**LAYOUTS[before])
    trainer, ema = trained((generator, discriminator), tmp_path, 3)
    (path,) = (tmp_path / "checkpoints").iterdir()
    values = load_plain(path)
    values["run"]["trainer"]["modules"] |= {
        "generator": generator.state_dict(),
        "discriminator": discriminator.state_dict(),
    }
    values["run"]["callbacks"]["EMA"] = ema.state_dict()
    save_plain(path, values)
    for after in LAYOUTS.values():
        other = trainer_of(*networks(**after))
        average = training.EMA(other.generator, decay=0.5)
        training.Checkpoint.load(path, other, [average])
        assert all(map(torch.equal, weights(other, average), weights(trainer, ema)))


# Statistics of metrics.


FEATURES = {
    **{f"{n} of {size}": normal(n, size) for n in (1, 2, 3, 40) for size in (1, 3)},
    "constant": torch.ones(10, 3),
    "zeros": torch.zeros(10, 3),
    **{
        str(dtype): (3 * normal(10, 3)).to(dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64)
    },
    "large": normal(10, 3) * 1e30,
    "larger": normal(10, 3, dtype=torch.float64) * 1e160,
    "small": normal(10, 3) * 1e-30,
    "far": normal(50, 3) * 1e-4 + 1e4,
    "singular": normal(50, 1) @ torch.ones(1, 4),
    "more features than samples": normal(5, 200),
    "with gradients": normal(10, 3).requires_grad_(),
}


def measured(case, metric, fake):
    """What it gives, or None where it says that it cannot."""
    try:
        case.feed(metric, fake, real=False)
        return metric.compute()
    except GanlibError:
        return None


@pytest.mark.parametrize("name", TWO_SIDED)
@pytest.mark.parametrize("features", FEATURES)
def test_the_real_side_of_a_metric(name, features, tmp_path):
    """Statistics that are saved give what the samples give; others are refused when they are saved."""
    case, real = CASES[name], FEATURES[features]
    metric, other = case.make(same), case.make(same)
    for part in real.split(7):
        case.feed(metric, part, real=True)
    try:
        metric.save_statistics(tmp_path / "real")
    except GanlibError:
        assert not (tmp_path / "real").exists()
        return
    other.load_statistics(tmp_path / "real")
    fake = normal(12, real.shape[1], seed=4)
    one, again = measured(case, metric, fake), measured(case, other, fake)
    if one is None:
        assert again is None
    else:
        torch.testing.assert_close(again, one, rtol=1e-9, atol=1e-9, equal_nan=True)


# Plain values, and tables.


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("torch.")])
def test_a_tensor_of_any_kind_in_a_checkpoint(name, tmp_path):
    """A checkpoint holds it as it is, or refuses it."""
    tensor = NETWORKS[name]().table
    try:
        save_plain(tmp_path / "x", {"a": tensor})
    except GanlibError:
        assert not (tmp_path / "x").exists()
        return
    again = load_plain(tmp_path / "x")["a"]
    assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)
    assert bytes(again.untyped_storage()) == bytes(tensor.untyped_storage())


@pytest.mark.parametrize("metric", ["a b", "a,b", 'a"b', "ü", "a\nb", "a\r\nb", " a", "#a", "=1+1", "x" * 500, "1"])
def test_a_table_with_any_metric(metric, tmp_path):
    """A run that is continued keeps the rows that it has, whatever a metric is called."""

    def logged(run):
        run.log({metric: run.iteration / 3})

    class Log:
        on_iteration = staticmethod(logged)

    for iterations in (3, 6):
        callbacks = [Log(), training.CSVLogger(tmp_path / "x.csv", every=1), training.Checkpoint(tmp_path)]
        batches = [torch.randn(8, 2)]
        trainer = trainer_of(*networks())
        training.fit(trainer, batches, iterations=iterations, callbacks=callbacks, resume=iterations > 3)
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row[metric]) for row in rows] == pytest.approx([n / 3 for n in range(1, 7)], rel=1e-4)


def test_a_deep_copy_of_what_was_loaded_can_be_saved(tmp_path):
    """A loaded network is a network as any other, with tensors of its own."""
    models.save_generator(tmp_path / "x", plain(), {"a": 1})
    loaded = models.load_generator(tmp_path / "x", train=True)
    models.save_generator(tmp_path / "y", copy.deepcopy(loaded), loaded.info)
    assert torch.equal(models.load_generator(tmp_path / "y")(LATENT), loaded.eval()(LATENT))

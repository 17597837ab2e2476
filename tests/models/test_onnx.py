"""A generator as one ONNX file."""

import copy
import json
import logging
import subprocess
import sys
from contextlib import nullcontext

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ganlib import latents, models, training
from ganlib.conditioning import ConcatLatent, Maps
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DTypeError,
    GanlibRuntimeError,
    MissingExtraError,
    RunFolderError,
    ShapeError,
)
from ganlib.models import export_onnx
from ganlib.stacks import LinearStack, UNet
from tests.exporting import TORCH_26
from tests.models.cases import FLAT, GENERATORS, assert_same_state

new_torch = pytest.mark.skipif(TORCH_26, reason="torch 2.6 fails in another way")
batch_norm_in_onnx = pytest.mark.skipif(TORCH_26, reason="torch 2.6 cannot export batch norm to ONNX")


def _mlp():
    torch.manual_seed(0)
    return LinearStack([6, 8, 12], out_shape=(1, 3, 4), last_activation=nn.Tanh)


def _run(path, **inputs):
    """What onnxruntime makes of the file."""
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_outputs()] == ["sample"]
    (made,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return torch.from_numpy(made)


def _inputs_of(path):
    """The names and shapes of the inputs of a file."""
    found = {each.name: each.shape for each in onnxruntime.InferenceSession(path).get_inputs()}
    # torch 2.6 does not keep the name of the dimension.
    return {name: ["batch" if TORCH_26 and size == "s0" else size for size in found[name]] for name in found}


class _Nested(nn.Module):
    """A generator whose condition is a dict."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)
        self.embedding = nn.Embedding(3, 5)

    def forward(self, latent, condition):
        """Add everything."""
        one, other = condition["style"]
        return self.linear(latent) + self.embedding(condition["label"]) + one + other.mean((1, 2)).unsqueeze(1)


class _Counting(nn.Linear):
    """Counts its calls in a buffer, in evaluation mode too."""

    def __init__(self):
        super().__init__(6, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, latent):
        """Count."""
        self.calls += 1
        return super().forward(latent)


class _Noisy(nn.Linear):
    """Adds noise."""

    def forward(self, latent):
        """Draw it."""
        return super().forward(latent) + torch.randn(latent.shape[0], 1)


class _Frozen(nn.Linear):
    """Has one size of a batch when it is exported."""

    def forward(self, latent):
        """Read it."""
        return super().forward(latent) + torch.zeros(int(latent.shape[0]), 1)


class _Counted(nn.Linear):
    """Has one size of a batch when it is exported, and is exported with it."""

    def forward(self, latent):
        """Count it."""
        return super().forward(latent) + torch.zeros(len(latent), 1)


class _Different(nn.Linear):
    """Gives something else when it is exported."""

    def forward(self, latent):
        """Tell whether it is."""
        return super().forward(latent) + float(torch.compiler.is_compiling())


@batch_norm_in_onnx
def test_any_number_of_samples(tmp_path):
    """Onnxruntime makes what torch makes, of any number of latents and labels, to 1e-5."""
    generator = models.pretrained("mnist_cdcgan")
    path = tmp_path / "new/folder/generator.onnx"

    export_onnx(path, generator)

    assert _inputs_of(path) == {"latent": ["batch", generator.info["latent_dim"]], "condition": ["batch"]}
    assert [file.name for file in path.parent.iterdir()] == ["generator.onnx"]
    for n in (1, 2, 5):
        latent, labels = torch.randn(n, generator.info["latent_dim"]), torch.arange(n)
        with torch.no_grad():
            torch.testing.assert_close(
                _run(path, latent=latent, condition=labels), generator(latent, labels), rtol=0, atol=1e-5
            )
    metadata = {each.key: json.loads(each.value) for each in onnx.load(path).metadata_props}
    assert metadata == {"info": generator.info, "sample_range": [-1, 1]}


@pytest.mark.slow
@batch_norm_in_onnx
@pytest.mark.parametrize("name", GENERATORS)
def test_every_recipe(name, tmp_path):
    """Every generator of a recipe is exported without an example, and compared."""
    export_onnx(tmp_path / "generator.onnx", GENERATORS[name][0]())

    assert next(iter(_inputs_of(tmp_path / "generator.onnx").items())) == ("latent", ["batch", 6])


def test_the_generator_stays_as_it_is(tmp_path):
    """Its modes, buffers, weights and gradients, and torch's random numbers, are what they were."""
    generator = nn.Sequential(_Counting(), nn.Dropout(0.5))
    generator[1].eval()
    state, random = copy.deepcopy(generator.state_dict()), torch.get_rng_state()

    export_onnx(tmp_path / "generator.onnx", generator, latent=latents.Gaussian(6))

    assert_same_state(state, generator.state_dict())
    assert [module.training for module in generator.modules()] == [True, True, False]
    assert all(parameter.requires_grad for parameter in generator.parameters())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(torch.compile, id="compiled"),
        pytest.param(lambda module: [module.compile(), module][1], id="compiled in place"),
        pytest.param(lambda module: nn.Sequential(torch.compile(module)), id="a compiled layer"),
        pytest.param(training.EMA, id="averaged"),
        pytest.param(lambda module: training.EMA(torch.compile(module)), id="averaged and compiled"),
    ],
)
def test_wrappers(wrap, tmp_path):
    """A generator that is compiled or averaged is exported as the plain one."""
    generator, latent = _mlp(), torch.randn(4, 6)
    expected = generator(latent).detach()

    export_onnx(tmp_path / "generator.onnx", wrap(generator))

    torch.testing.assert_close(_run(tmp_path / "generator.onnx", latent=latent), expected, rtol=0, atol=1e-6)


def test_nested_conditions(tmp_path):
    """Each tensor of a nested condition is an input, whose name says where it is."""
    generator, path = _Nested(), tmp_path / "generator.onnx"
    condition = {"label": torch.tensor([0, 2]), "style": (torch.randn(2, 5), torch.randn(2, 3, 4))}

    export_onnx(path, generator, torch.randn(1, 6), condition)

    assert _inputs_of(path) == {
        "latent": ["batch", 6],
        "condition_label": ["batch"],
        "condition_style_0": ["batch", 5],
        "condition_style_1": ["batch", 3, 4],
    }
    with pytest.raises(ArgumentValueError, match="two inputs of one name: latent, condition_1, condition_1"):
        export_onnx(path, generator, torch.randn(2, 6), {"1": torch.zeros(2), 1: torch.zeros(2)})


def test_images_as_latents(tmp_path):
    """A generator of images from images is exported without an example."""
    generator = UNet(FLAT, norm="none")

    export_onnx(tmp_path / "generator.onnx", generator)

    assert _inputs_of(tmp_path / "generator.onnx") == {"latent": ["batch", 1, 8, 8]}
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(_run(tmp_path / "generator.onnx", latent=x), generator(x).detach())


def test_opset(tmp_path):
    """The file has the operators that were asked for; where it cannot have them, that is an error."""
    export_onnx(tmp_path / "generator.onnx", _mlp(), opset=18)
    assert onnx.load(tmp_path / "generator.onnx").opset_import[0].version == 18

    with pytest.raises(GanlibRuntimeError, match="cannot be exported"):
        export_onnx(tmp_path / "other.onnx", _mlp(), opset=7)
    with pytest.raises(ArgumentValueError, match=r"opset \(=0\)"):
        export_onnx(tmp_path / "other.onnx", _mlp(), opset=0)
    for opset in (999, 10**5000):
        with pytest.raises(ArgumentValueError, match=r"^opset \(=.*\) must be at most \d+, the newest .*onnx$"):
            export_onnx(tmp_path / "other.onnx", _mlp(), opset=opset)


@pytest.mark.skipif(TORCH_26, reason="torch 2.6 prints")
@pytest.mark.parametrize("opset", [17, 7])
def test_an_old_opset_prints_nothing(opset, tmp_path, capfd):
    """Whether it can be had or not; the loggers have their levels again."""
    levels = {name: logging.getLogger(name).level for name in [*logging.root.manager.loggerDict]}
    with nullcontext() if opset == 17 else pytest.raises(GanlibRuntimeError, match=r"opset \(=7\) cannot be had"):
        export_onnx(tmp_path / "generator.onnx", _mlp(), opset=opset)
    assert capfd.readouterr() == ("", "")
    assert levels == {name: logging.getLogger(name).level for name in levels}


def test_noise(tmp_path):
    """A generator that draws noise itself is exported, though its samples cannot be compared."""
    path, latent = tmp_path / "generator.onnx", torch.zeros(100, 6)

    export_onnx(path, _Noisy(6, 2))

    assert 0.5 < _run(path, latent=latent).std(0).mean() < 1.5


@pytest.mark.parametrize(
    ("generator", "cause"),
    [
        (_Frozen(6, 2), "_Frozen"),
        pytest.param(_Counted(6, 2), r"write x\.shape\[0\]", marks=new_torch),
        pytest.param(
            nn.Sequential(nn.Linear(6, 4).double(), nn.Mish()), r"export generator\.float\(\)", marks=new_torch
        ),
        (_Different(6, 2), "differ from torch's by up to 1, with tolerance"),
        (nn.Linear(6, 2, device="meta"), "Linear"),
    ],
)
def test_what_cannot_be_exported(generator, cause, tmp_path):
    """What has a fixed batch size, gives something else, or has no weights is an error with the cause, and no file."""
    with pytest.raises(GanlibRuntimeError, match=cause) as caught:
        export_onnx(tmp_path / "generator.onnx", generator, latents.Gaussian(6))
    assert "cannot be exported" in str(caught.value)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("g.pt", _mlp()), ArgumentValueError, r"path \(='g.pt'\) must end in .onnx"),
        ((3, _mlp()), ArgumentTypeError, r"path \(=3\)"),
        (("g.onnx", "dcgan"), ArgumentTypeError, r"generator \(='dcgan'\)"),
        (("g.onnx", _mlp().half()), DTypeError, r"torch.float16.*generator.float\(\)"),
        (("g.onnx", _mlp().bfloat16()), DTypeError, "torch.bfloat16"),
        (("g.onnx", nn.LazyLinear(3)), ArgumentTypeError, "weight, which has no shape yet"),
        (("g.onnx", nn.Conv2d(1, 1, 1)), ArgumentValueError, r"latent \(=None\) must be an example"),
        (("g.onnx", _mlp(), 6), ArgumentTypeError, r"latent \(=6\)"),
        (("g.onnx", _mlp(), torch.zeros(0, 6)), ShapeError, "latent must hold an example"),
        (("g.onnx", _mlp(), torch.tensor(1.0)), ShapeError, r"latent \(\) must have a first dimension"),
        (("g.onnx", _mlp(), torch.ones(2, 6, device="meta")), ArgumentValueError, "latent .* is on the meta device"),
        (("g.onnx", _mlp(), torch.ones(2, 6).long()), ArgumentValueError, r"latent \(1, 6\) of torch.int64"),
        (("g.onnx", _mlp(), torch.full((2, 6), torch.nan)), ArgumentValueError, "makes NaN or infinity"),
        (("g\0.onnx", _mlp()), RunFolderError, "null byte"),
        (("g.onnx", _mlp(), latents.Gaussian(7)), ArgumentValueError, r"with latent \(1, 7\)"),
        (("g.onnx", _Nested(), latents.Gaussian(6)), ArgumentValueError, "give examples as latent and condition"),
        (
            ("g.onnx", ConcatLatent(nn.Conv2d(3, 1, 1), Maps(1)), latents.Gaussian(2)),
            ArgumentValueError,
            r"condition \(=None\) is missing",
        ),
        (("g.onnx", nn.LSTM(6, 2), torch.zeros(1, 3, 6)), ArgumentTypeError, "must give one tensor, but gives a tuple"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    """Each is named with its value."""
    with pytest.raises(error, match=message):
        export_onnx(*arguments)


def test_tolerance(tmp_path):
    """Samples may differ by as much as one says, and that is above 0."""
    export_onnx(tmp_path / "generator.onnx", _Different(6, 2), tolerance=100.0)

    with pytest.raises(ArgumentValueError, match=r"tolerance \(=0\)"):
        export_onnx(tmp_path / "generator.onnx", _mlp(), tolerance=0)


def test_a_file_that_cannot_be_written(tmp_path):
    """A folder of that name is an error of the run's folder, and stays."""
    (tmp_path / "generator.onnx").mkdir()

    with pytest.raises(RunFolderError, match="generator.onnx cannot be written"):
        export_onnx(tmp_path / "generator.onnx", _mlp())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages(package, monkeypatch, tmp_path):
    """The error names the package, and how to get it."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=rf'{package} is not installed.*pip install "ganlib\[onnx\]"'):
        export_onnx(tmp_path / "generator.onnx", _mlp())


def test_ganlib_does_not_import_them():
    """To import the package does not need the packages of ONNX, nor load them."""
    code = "import sys; from ganlib import models; sys.exit(any('onnx' in name.split('.')[0] for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_prints_nothing(tmp_path, capfd):
    """Neither torch's exporter nor onnxruntime writes to the terminal."""
    export_onnx(tmp_path / "generator.onnx", _mlp())

    out, error = capfd.readouterr()
    assert (out, "" if TORCH_26 else error) == ("", "")
    assert _run(tmp_path / "generator.onnx", latent=torch.zeros(1, 6)).isfinite().all()

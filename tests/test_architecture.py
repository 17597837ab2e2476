"""Tests of docs/explanation/design.rst: who imports whom, what is public, what is documented, what is tested."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ganlib
from ganlib import errors

SRC = Path(ganlib.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(SRC.rglob("*.py"))

# From the bottom up. Each set imports only from those before it; packages in one set do not import each other.
LAYERS = [
    {"errors"},
    {"protocols"},
    {"distributed"},
    {"_shown"},
    {
        "_averages",
        "_checks",
        "_devices",
        "_ending",
        "_generators",
        "_held",
        "_in_place",
        "_nest",
        "_once",
        "_precise_buffers",
        "_spectral",
        "_warning",
        "_wrappers",
    },
    {"_batch_sizes", "_clamping", "_condition", "_files", "_logits", "_one_logit", "_ranks", "_recipe"},
    {"_random", "_sampling", "_table", "_weights"},
    {"_stream"},
    {
        *("init", "latents", "losses", "penalties", "stacks", "conditioning"),
        *("augment", "data", "metrics", "viz", "training"),
    },
    {"models"},
    {"_cli"},
    {"__main__"},
]

# Within training, from the bottom up: one update, what a run calls, the loop, the trainers.
TRAINING = ["_step", "_callbacks", "_loop", ""]

# Private names of torch and of named tuples, for which there is no public one.
PRIVATE = {
    *("_ConvNd", "_NormBase", "_asdict", "_fields", "_replace"),
    # A module's own parts, with what is there twice, and None where there is none.
    *("_buffers", "_modules", "_parameters"),
    # Whether a module is compiled in place.
    "_compiled_call_impl",
    # What a saved module would lose, and hooks that compute a weight from others.
    *("_forward_hooks", "_forward_pre_hooks", "_reshape_weight_to_matrix", "_tensor_name"),
    # Of many tensors at once: torch's optimizers are made of them.
    *(f"_foreach_{name}" for name in ("add", "add_", "addcmul_", "copy_", "div", "div_", "lerp_", "maximum_")),
    *(f"_foreach_{name}" for name in ("mul", "mul_", "neg", "sqrt")),
}

PUBLIC = {
    "augment": "AdaptiveAugment DiffAugment Joint RandomHorizontalFlip RandomRotation",
    "conditioning": "AuxiliaryClassifierHead ClassEmbedding ConcatChannels ConcatFeatures ConcatLatent "
    "ConditionEncoder ConditionalBatchNorm FiLM Maps OneHot Projection TagEmbedding Unconditional VectorEmbedding",
    "distributed": "init mean_over_ranks rank world_size",
    "data": "ImageFolder RenderedDigits StackedMNIST TensorLoader map_loader only_class zip_loaders",
    "errors": "ArgumentTypeError ArgumentValueError BatchesExhaustedError CheckpointError DTypeError DataError "
    "GanlibError GanlibRuntimeError MissingExtraError PlanError RunFolderError ShapeError "
    "TrainingDivergedError",
    "init": "dcgan_ kaiming_ normal_ orthogonal_ xavier_",
    "latents": "Gaussian GaussianMixture Latent TruncatedGaussian Uniform lerp slerp",
    "losses": "AdversarialLoss AuxiliaryClassifier AuxiliaryLoss FeatureMatching HingeLoss LabelSmoothing "
    "LeastSquaresLoss MinimaxLoss NonSaturatingLoss RelativisticAverageLoss RelativisticLoss "
    "WassersteinLoss WeightedSum adaptive_weight",
    "metrics": "DigitClassifier FrechetDistance InceptionFeatures InceptionScore KernelDistance LabelAccuracy "
    "Memorization ModeCoverage PrecisionRecall nearest_neighbors",
    "models": "conditional_dcgan dcgan export_onnx from_hub load_discriminator load_generator mlp_gan pretrained "
    "push_to_hub r3gan sample save_discriminator save_generator sngan",
    "penalties": "Consistency DRAGAN GradientPenalty LeCam PathLength Penalty R1 R2",
    "protocols": "AdversarialLoss AuxiliaryLoss Batch Callback Condition ConditionChecker ConditionEncoder "
    "Discriminator DiscriminatorOutput Generator Latent Logits OnEnd OnIteration OnStart Penalty Run "
    "Stateful Step Trainer",
    "stacks": "Activation BilinearDownsample BilinearUpsample ConditionalSequential ConvStack ConvTransposeStack "
    "InvertedBottleneck LinearStack MinibatchStdDev MultiScaleDiscriminator Norm PatchDiscriminator PixelNorm "
    "Quantized ResidualDownBlock ResidualUpBlock "
    "SelfAttention StackPlan Stage UNet UpsampleConv VectorQuantizer make_activation make_norm needs_bias",
    "training": "AdversarialTrainer BetasSchedule CSVLogger Callback Checkpoint EMA EarlyStopping Evaluate GameTrainer "
    "ImagePool LearningRateSchedule Player ProgressBar Run Schedule TensorBoardLogger Trainer cosine_decay "
    "cosine_ramp fast_settings fit half_life_decay linear_decay",
    "viz": "Callback LossCurves SampleGrid Timeline TrainingGif image_grid",
}


def _package(path: Path, src: Path) -> str:
    """The package that a file belongs to: its folder, or the file itself; the empty string is ganlib's own __init__."""
    first = path.relative_to(src).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def _defining_file(name: str, src: Path, seen: tuple[str, ...] = ()) -> Path | None:
    """The file that defines a dotted name such as ``ganlib.stacks.Stage``, looked up through each ``__init__``."""
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        module = src.joinpath(*parts[:length])
        if module.with_suffix(".py").exists():
            return module.with_suffix(".py")
        if (module / "__init__.py").exists():
            if length == len(parts) or name in seen:
                return None  # the package itself, whose names are looked up where they are used
            exported = dict(_exports(module / "__init__.py", src))
            found = exported.get(parts[length])
            return None if found is None else _defining_file(found, src, (*seen, name))
    return None


def _exports(init: Path, src: Path) -> Iterator[tuple[str, str]]:
    for node in ast.parse(init.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{_base(node, init, src)}.{alias.name}"


def _base(node: ast.ImportFrom, path: Path, src: Path) -> str:
    """What a ``from`` import starts from, relative ones included."""
    package = ["ganlib", *path.relative_to(src).parent.parts]
    base = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def _imported(path: Path, src: Path) -> Iterator[str]:
    """The dotted names of ganlib that a file uses: what it imports anywhere, and what it looks up in a package."""
    tree = ast.parse(path.read_text())
    local = dict[str, str]()  # what a name of the file stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ganlib":
                    local[alias.asname or "ganlib"] = alias.name if alias.asname else "ganlib"
                    yield alias.name
        elif isinstance(node, ast.ImportFrom) and _base(node, path, src).split(".")[0] == "ganlib":
            base = _base(node, path, src)
            for alias in node.names:
                if alias.name == "*":
                    exported = src.joinpath(*base.split(".")[1:], "__init__.py")
                    yield from (name for _, name in (_exports(exported, src) if exported.exists() else ()))
                    yield base
                else:
                    local[alias.asname or alias.name] = f"{base}.{alias.name}"
                    yield f"{base}.{alias.name}"
    for node in ast.walk(tree):
        names = list[str]()
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if names and isinstance(node, ast.Name) and node.id in local:
            yield ".".join([local[node.id], *reversed(names)])


def _broken_rules(src: Path) -> Iterator[str]:
    """Each import that the rules forbid, as ``file imports package``."""
    layer = {package: number for number, packages in enumerate(LAYERS) for package in packages}
    for path in sorted(src.rglob("*.py")):
        own = _package(path, src)
        if not own:  # what ganlib itself names is for type checkers: below, it loads nothing
            continue
        parts = (name.split(".")[1] for name in _imported(path, src) if "." in name)
        for other in dict.fromkeys(part for part in parts if not part.startswith("__")):
            if other != own and layer.get(other, 99) >= layer.get(own, 0):
                yield f"{path.relative_to(src).as_posix()} imports {other}"


def _broken_in_training(src: Path) -> Iterator[str]:
    """Each import within training that goes up."""
    for path in sorted((src / "training").rglob("*.py")):
        own = TRAINING.index(_folder(path, src))
        for name in _imported(path, src):
            file = _defining_file(name, src)
            within = path.name != "__init__.py" and file is not None and file.is_relative_to(src / "training")
            if within and TRAINING.index(_folder(file, src)) > own:
                yield f"{path.relative_to(src).as_posix()} imports {name}"


def _folder(path: Path, src: Path) -> str:
    parts = path.relative_to(src / "training").parts
    return parts[0] if len(parts) > 1 else ""


def _private_uses(path: Path) -> Iterator[str]:
    """Each use of another object's private attribute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = ast.unparse(node.value) in ("self", "cls", "super()")
            if not own and node.attr not in PRIVATE:
                yield f"{path.name}:{node.lineno} {ast.unparse(node)}"


def _cycles(src: Path) -> list[set[str]]:
    """The import cycles between files; each is the set of files that reach each other."""
    graph = dict[str, set[str]]()
    for path in src.rglob("*.py"):
        if path.name != "__init__.py":
            files = {_defining_file(name, src) for name in _imported(path, src)} - {None, path}
            graph[path.relative_to(src).as_posix()] = {file.relative_to(src).as_posix() for file in files if file}
    found = list[set[str]]()
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            start = error.args[1][0]
            cycle = {file for file in _reached(graph, start) if start in _reached(graph, file)}
            found.append(cycle)
            graph = {file: others - cycle for file, others in graph.items() if file not in cycle}
        else:
            return found


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen, waiting = set[str](), [start]
    while waiting:
        for other in graph.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def _documented():
    """Every public class, function, and method of a public class in src, as (name, node)."""
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, definitions) and not node.name.startswith("_"):
                yield f"{path.stem}.{node.name}", node
                if isinstance(node, ast.ClassDef) and path.name != "protocols.py":  # there the class says it all
                    for method in node.body:
                        if isinstance(method, definitions) and not method.name.startswith("_"):
                            yield f"{path.stem}.{node.name}.{method.name}", method


def _offered():
    """The public classes and functions that can be called: no contracts, errors or aliases."""
    for package in sorted(PUBLIC.keys() - {"errors"}):
        for name in PUBLIC[package].split():
            value = getattr(getattr(ganlib, package), name)
            if inspect.isroutine(value) or (inspect.isclass(value) and not getattr(value, "_is_protocol", False)):
                yield pytest.param(value, id=f"{package}.{name}")


def test_every_package_has_a_layer():
    """The layers hold the packages that there are, each once; those without an underscore are what ganlib offers."""
    packages = {_package(path, SRC) for path in FILES} - {""}
    assert sorted(package for layer in LAYERS for package in layer) == sorted(packages)
    assert sorted(package for package in packages if not package.startswith("_")) == sorted(ganlib.__all__)


def test_packages_import_from_lower_layers_alone():
    """No package imports from its own layer or a higher one."""
    assert list(_broken_rules(SRC)) == []


def test_no_import_cycle_between_files():
    """Files import each other in one direction, under TYPE_CHECKING too."""
    assert _cycles(SRC) == []


def test_training_imports_from_its_lower_folders_alone():
    """Within training, a folder imports neither from one above it nor from the trainers."""
    assert list(_broken_in_training(SRC)) == []


def test_no_object_reaches_into_another():
    """A name with an underscore is used through ``self``, ``cls`` or ``super()``, or where it is defined."""
    assert [use for path in FILES for use in _private_uses(path)] == []


def test_no_helper_takes_the_trainer():
    """Below ``fit``, which drives any Trainer by its protocol, what a function needs is passed as values."""
    takers = {
        f"{path.relative_to(SRC).as_posix()}: {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.arg == "trainer" or "Trainer" in ast.unparse(argument.annotation or ast.Constant(0))
    }
    assert sorted(takers) == [
        "training/_callbacks/_checkpoint.py: load",
        "training/_loop/_fit.py: _check_conditions",
        "training/_loop/_fit.py: fit",
        "training/_loop/_run.py: __init__",
        "training/_step/_networks.py: networks_of",
        "training/_step/_settings.py: optimizers_of",
    ]


@pytest.mark.parametrize(
    ("file", "source", "broken"),
    [
        ("viz/_x.py", "from ganlib.data import RenderedDigits", "data"),
        ("viz/_x.py", "from ganlib import errors, models", "models"),
        ("viz/_x.py", "import ganlib.training as t", "training"),
        ("viz/_x.py", "from ..losses._hinge import HingeLoss", "losses"),
        ("viz/_x.py", "from .. import losses", "losses"),
        (
            "viz/_x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ganlib.data import only_class",
            "data",
        ),
        ("viz/_x.py", "def f():\n    import ganlib.penalties", "penalties"),
        ("latents.py", "from ganlib.init import normal_", "init"),
        ("errors.py", "from ganlib.protocols import Batch", "protocols"),
        ("protocols.py", "from ganlib.distributed import rank", "distributed"),
        ("_sampling.py", "from ganlib.init import normal_", "init"),
        ("training/_x.py", "from ganlib.latents import Gaussian", "latents"),
        ("__init__.py", "from ganlib import errors", None),
        ("models/_x.py", "from ganlib.attic import x", "attic"),
        ("viz/_x.py", "from ganlib.errors import GanlibError\nfrom ganlib.viz._y import z\nfrom . import _y", None),
        ("viz/_x.py", "from ganlib._sampling import draw", None),
        ("_checks.py", "from ganlib._random import random_state", "_random"),
        ("_checks.py", "from ganlib._files import save_plain", "_files"),
        ("viz/_x.py", "import ganlib\nganlib.data.only_class()", "data"),
        ("viz/_x.py", "import ganlib as g\ng.data.only_class()", "data"),
        ("viz/_x.py", "from ganlib.data import *", "data"),
        ("viz/_x.py", "from ganlib import __version__", None),
        ("models/_x.py", "from ganlib import stacks, training\nimport torch, ganlib.data", None),
        ("training/_x.py", "from ganlib.protocols import Run\nfrom ganlib.training._y import z", None),
    ],
)
def test_a_broken_rule_is_found(tmp_path, file, source, broken):
    """Each way of breaking a rule is found in a small tree, and what is allowed is let be."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(source)
    assert list(_broken_rules(tmp_path)) == ([] if broken is None else [f"{file} imports {broken}"])


@pytest.mark.parametrize(
    ("back", "cycle"),
    [
        ("from ganlib.viz._a import a", True),
        ("from . import _a", True),
        ("from ganlib.viz import a", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ganlib.viz._a import a", True),
        ("def f():\n    from ganlib.viz._a import a", True),
        ("from ganlib import viz\nvalue = viz.a", True),
        ("import ganlib\nvalue = ganlib.viz.a", True),
        ("import ganlib.viz\nvalue = ganlib.viz.a.real", True),
        ("import ganlib as g\nvalue = g.viz.a", True),
        ("from ganlib.viz import *", True),
        ("from ganlib.viz import c", False),
        ("from ganlib import viz\nvalue = viz.c", False),
    ],
)
def test_a_cycle_is_found(tmp_path, back, cycle):
    """A file that leads back to itself is found, through a package's __init__ too; an __init__ alone is no file."""
    (tmp_path / "viz").mkdir()
    (tmp_path / "viz/__init__.py").write_text("from ganlib.viz._a import a\nfrom ganlib.viz._c import c\n")
    (tmp_path / "viz/_a.py").write_text("from ganlib.viz._b import b\na = b")
    (tmp_path / "viz/_b.py").write_text(back)
    (tmp_path / "viz/_c.py").write_text("c = 1")
    assert _cycles(tmp_path) == ([{"viz/_a.py", "viz/_b.py"}] if cycle else [])


@pytest.mark.parametrize("path", sorted(SRC.glob("*/**/__init__.py")), ids=lambda path: path.parent.name)
def test_an_init_holds_imports_and_names(path):
    """A package's __init__ is a docstring, imports and __all__, and __all__ is what is imported."""
    docstring, *imports, names = ast.parse(path.read_text()).body
    assert isinstance(docstring.value.value, str)
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert names.targets[0].id == "__all__"
    imported = [alias.asname or alias.name for node in imports for alias in node.names]
    assert sorted(imported) == sorted(ast.literal_eval(names.value))


@pytest.mark.parametrize("package", ganlib.__all__)
def test_public_names(package):
    """The public names of a package are those of the table, and each is there."""
    module = getattr(ganlib, package)
    assert sorted(module.__all__) == sorted(PUBLIC[package].split())
    assert all(hasattr(module, name) for name in module.__all__)


def test_importing_ganlib_loads_nothing():
    """In a fresh interpreter ``import ganlib`` adds itself to what ``import torch`` has loaded, and nothing else."""
    code = "import sys, torch; before = {*sys.modules}; import ganlib; print(*sorted({*sys.modules} - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SRC.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["ganlib"]


def test_packages_are_attributes_and_nothing_else_is():
    """Every package is reachable and listed; another name is an AttributeError that names it."""
    assert all(getattr(ganlib, package).__name__ == f"ganlib.{package}" for package in ganlib.__all__)
    assert {*ganlib.__all__, "__version__"} <= {*dir(ganlib)}
    assert re.match(r"\d", ganlib.__version__)
    with pytest.raises(AttributeError, match="'attic'"):
        _ = ganlib.attic


def test_every_file_has_its_mirrored_test():
    """``<package>/_<file>.py`` has ``tests/<package>/test_<file>.py``; folders lose their underscore too."""
    missing = []
    for path in FILES:
        folders = [folder.removeprefix("_") for folder in path.relative_to(SRC).parent.parts]
        if path.name != "__init__.py":
            mirror = TESTS.joinpath(*folders, f"test_{path.name.removeprefix('_')}")
            missing += [] if mirror.exists() else [mirror.relative_to(TESTS).as_posix()]
    assert missing == []


def test_no_file_is_called_utils():
    """Each file is called by the concept that it holds."""
    assert [path for path in FILES if path.stem.strip("_") == "utils"] == []


def test_everything_public_has_a_summary():
    """Every public class, function and method has a docstring whose first line ends in a full stop."""
    summaries = {name: (ast.get_docstring(node) or "").splitlines()[:2] for name, node in _documented()}
    assert len(summaries) > 100
    assert [
        name for name, lines in summaries.items() if not lines or lines[0][-1:] != "." or lines[1:] not in ([], [""])
    ] == []


@pytest.mark.parametrize("value", list(_offered()))
def test_what_is_offered_is_documented(value):
    """A public class or function documents the arguments it takes and what it returns, and shows an example."""
    signature, text = inspect.signature(value), inspect.getdoc(value)
    documented = text.split("Args:\n")[-1].split("\n\n")[0] if "Args:\n" in text else ""
    for name in signature.parameters:
        assert f"\n    {name}" in f"\n{documented}" or f", {name}" in documented, name
    if inspect.isroutine(value) and signature.return_annotation is not None:
        assert "\nReturns:\n" in text
    assert "\nExample:\n    >>> " in text


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "GanlibError"])
def test_every_error_is_ours_and_a_built_in(name):
    """Each error derives from GanlibError, and from a built-in that a user would catch."""
    ancestors = getattr(errors, name).__mro__
    assert errors.GanlibError in ancestors
    assert {ValueError, TypeError, RuntimeError, ImportError} & {*ancestors}

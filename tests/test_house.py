"""Tests of the rules of the house: who imports whom, what is public, what is documented, what is tested."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ganlib
from ganlib import errors

SRC = Path(ganlib.__file__).parent
TESTS = Path(__file__).parent
FILES = sorted(SRC.rglob("*.py"))

FLOORS = [
    {"protocols", "errors", "distributed"},
    {
        *("init", "latents", "losses", "penalties", "stacks", "conditioning"),
        *("augment", "data", "metrics", "viz", "training"),
    },
    {"models"},
]

PUBLIC = {
    "augment": "DiffAugment RandomHorizontalFlip RandomRotation",
    "conditioning": "AuxiliaryClassifierHead ClassEmbedding ConcatChannels ConcatFeatures ConcatLatent "
    "ConditionEncoder ConditionalBatchNorm FiLM Maps OneHot Projection TagEmbedding Unconditional VectorEmbedding",
    "distributed": "join mean_over_ranks rank world_size",
    "data": "ImageFolder RenderedDigits TensorLoader only_class",
    "errors": "ArgumentTypeError ArgumentValueError BatchesExhaustedError CheckpointError DTypeError DataError "
    "GanlibError GanlibRuntimeError MissingExtraError PlanError RunFolderError ShapeError "
    "TrainingDivergedError",
    "init": "dcgan_ kaiming_ normal_ orthogonal_ xavier_",
    "latents": "Gaussian GaussianMixture Latent TruncatedGaussian Uniform lerp slerp",
    "losses": "AdversarialLoss AuxiliaryClassifier FeatureMatching HingeLoss LabelSmoothing LeastSquaresLoss "
    "MinimaxLoss NonSaturatingLoss RelativisticAverageLoss RelativisticLoss Term WassersteinLoss WeightedSum",
    "metrics": "DigitClassifier FrechetDistance LabelAccuracy",
    "models": "conditional_dcgan dcgan load_generator mlp_gan save_generator",
    "penalties": "Consistency DRAGAN GradientPenalty LeCam Penalty R1 R2",
    "protocols": "AdversarialLoss Batch Callback Condition ConditionChecker ConditionEncoder Discriminator "
    "DiscriminatorOutput Generator Latent Logits OnEnd OnIteration OnStart Penalty Run Stateful Term Trainer",
    "stacks": "Activation ConditionalSequential ConvStack ConvTransposeStack LinearStack MinibatchStdDev "
    "MultiScaleDiscriminator Norm PatchDiscriminator PixelNorm ResidualDownBlock ResidualUpBlock SelfAttention "
    "StackPlan Stage UpsampleConv make_activation make_norm needs_bias",
    "training": "AdversarialTrainer CSVLogger Callback Checkpoint EMA LearningRateSchedule ProgressBar Run Trainer "
    "adaptive_weight cosine_decay delayed_weight fast_settings fit linear_decay load_plain save_plain",
    "viz": "Callback LossCurves SampleGrid Timeline TrainingGif image_grid",
}


def _room(path, src):
    """The room that a file belongs to: its folder, or the file itself; the empty string is the front door."""
    first = path.relative_to(src).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def _imported(path, src):
    """The rooms that a file imports anywhere in it, in a function or under TYPE_CHECKING too."""
    package = ["ganlib", *path.relative_to(src).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("ganlib."))


def _broken_rules(src):
    """Each import that the rules forbid, as ``file imports room``."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in sorted(src.rglob("*.py")):
        room = _room(path, src)
        for other in _imported(path, src):
            allowed = other == room or floor.get(other, 9) < floor.get(room, 0)
            if room == "training":
                allowed = other == room or other in FLOORS[0]
            if not allowed:
                yield f"{path.relative_to(src).as_posix()} imports {other}"


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
    for room in sorted(PUBLIC.keys() - {"errors"}):
        for name in PUBLIC[room].split():
            value = getattr(getattr(ganlib, room), name)
            if inspect.isroutine(value) or (inspect.isclass(value) and not getattr(value, "_is_protocol", False)):
                yield pytest.param(value, id=f"{room}.{name}")


def test_every_room_has_a_floor():
    """The floors hold the rooms that there are, each once, and they are what ``ganlib`` offers."""
    rooms = {_room(path, SRC) for path in FILES} - {""}
    assert sorted(room for floor in FLOORS for room in floor) == sorted(rooms) == sorted(ganlib.__all__)


def test_rooms_import_from_lower_floors_alone():
    """No room imports from its own floor or a higher one; training imports the ground floor alone."""
    assert list(_broken_rules(SRC)) == []


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
        ("training/_x.py", "from ganlib.latents import Gaussian", "latents"),
        ("__init__.py", "from ganlib import errors", "errors"),
        ("models/_x.py", "from ganlib.attic import x", "attic"),
        ("viz/_x.py", "from ganlib.errors import GanlibError\nfrom ganlib.viz._y import z\nfrom . import _y", None),
        ("models/_x.py", "from ganlib import stacks, training\nimport torch, ganlib.data", None),
        ("training/_x.py", "from ganlib.protocols import Run\nfrom ganlib.training._y import z", None),
    ],
)
def test_the_walker_finds_a_broken_rule(tmp_path, file, source, broken):
    """Each way of breaking a rule is found in a small tree, and what is allowed is let be."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(source)
    assert list(_broken_rules(tmp_path)) == ([] if broken is None else [f"{file} imports {broken}"])


@pytest.mark.parametrize("path", sorted(SRC.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_an_init_is_a_nameplate(path):
    """A room's __init__ is a docstring, imports and __all__, and __all__ is what is imported."""
    docstring, *imports, names = ast.parse(path.read_text()).body
    assert isinstance(docstring.value.value, str)
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert names.targets[0].id == "__all__"
    imported = [alias.asname or alias.name for node in imports for alias in node.names]
    assert sorted(imported) == sorted(ast.literal_eval(names.value))


@pytest.mark.parametrize("room", ganlib.__all__)
def test_public_names(room):
    """The public names of a room are those of the table, and each is there."""
    module = getattr(ganlib, room)
    assert sorted(module.__all__) == sorted(PUBLIC[room].split())
    assert all(hasattr(module, name) for name in module.__all__)


def test_importing_ganlib_loads_nothing():
    """In a fresh interpreter ``import ganlib`` adds itself to what ``import torch`` has loaded, and nothing else."""
    code = "import sys, torch; before = {*sys.modules}; import ganlib; print(*sorted({*sys.modules} - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SRC.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["ganlib"]


def test_rooms_are_attributes_and_nothing_else_is():
    """Every room is reachable and listed; what is no room is an AttributeError that names it."""
    assert all(getattr(ganlib, room).__name__ == f"ganlib.{room}" for room in ganlib.__all__)
    assert {*ganlib.__all__, "__version__"} <= {*dir(ganlib)}
    with pytest.raises(AttributeError, match="'attic'"):
        _ = ganlib.attic


def test_every_file_has_its_mirrored_test():
    """``<room>/_<file>.py`` has ``tests/<room>/test_<file>.py``, and ``<room>.py`` ``tests/test_<room>.py``."""
    missing = []
    for path in FILES:
        place = path.relative_to(SRC).as_posix()
        if path.name != "__init__.py":
            mirror = TESTS / Path(place).with_name(f"test_{path.name.removeprefix('_')}")
            missing += [] if mirror.exists() else [mirror.relative_to(TESTS).as_posix()]
    assert missing == []


def test_no_file_is_long_and_none_is_called_utils():
    """No file of src has more than 250 lines but the one of all contracts, and each is called by what it holds."""
    lengths = {path.name: len(path.read_text().splitlines()) for path in FILES if path.name != "protocols.py"}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
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

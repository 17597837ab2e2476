"""The W&B and MLflow callbacks of the page "Log metrics", with stand-ins for the two packages."""

import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from ganlib import training, viz
from tests.training.players import Going, points

PAGE = Path(__file__).parent.parent / "docs/how-to/log.rst"
BLOCKS = [
    textwrap.dedent(block) for block in re.findall(r"code-block:: python\n\n((?: {4}.*\n|\n)+)", PAGE.read_text())
]


class WandbRun:
    """A run of W&B: a row for each step, which never goes down."""

    def __init__(self, id: str) -> None:
        self.id, self.step, self.rows = id, 0, dict[int, dict[str, Any]]()
        self.finished = False

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        """Add to a row."""
        assert step is not None
        assert step >= self.step, "W&B ignores this, with a warning"
        assert all(isinstance(value, float | WandbImage) for value in data.values())
        self.step = step
        self.rows.setdefault(step, {}).update(data)

    def finish(self) -> None:
        """End it."""
        self.finished = True


class WandbImage:
    """An image of W&B."""

    def __init__(self, data_or_path: str) -> None:
        self.pixels = Image.open(data_or_path).tobytes()


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of that name, and its server."""
    runs: dict[str, WandbRun] = {}

    def init(project: str | None = None, id: str | None = None, config: Any = None, resume: Any = None) -> WandbRun:
        assert resume == "allow"
        run = runs.setdefault(id or f"run {len(runs)}", WandbRun(id or f"run {len(runs)}"))
        run.step, run.finished = max(run.rows, default=-1) + 1, False
        return run

    module: Any = ModuleType("wandb")
    module.init, module.Image, module.runs = init, WandbImage, runs
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of that name, and its server."""
    module: Any = ModuleType("mlflow")
    module.runs, module.active = {}, []

    def start_run(run_id: str | None = None, run_name: str | None = None) -> Any:
        assert not module.active, "MLflow refuses a second active run"
        if run_id is None:
            run_id = f"run {len(module.runs)}"
            module.runs[run_id] = SimpleNamespace(points=[], images=[], params={}, name=run_name)
        module.active.append(module.runs[run_id])
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def get_run(run_id: str) -> Any:
        latest = {name: value for name, value, _ in module.runs[run_id].points}
        return SimpleNamespace(data=SimpleNamespace(metrics=latest))

    def log_params(params: dict[str, Any]) -> None:
        assert not module.active[0].params, "MLflow refuses to change them"
        module.active[0].params |= params

    def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
        assert all(isinstance(value, float) for value in metrics.values())
        module.active[0].points += [(name, value, step) for name, value in metrics.items()]

    def log_image(image: Any, key: str | None = None, step: int | None = None) -> None:
        module.active[0].images.append((key, step, image.tobytes()))

    def end_run() -> None:
        module.active.pop()

    for function in (start_run, get_run, log_params, log_metrics, log_image, end_run):
        setattr(module, function.__name__, function)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def logger_of(name: str, *args: Any, **settings: Any) -> Any:
    """A callback of the page, as a script would make it."""
    (block,) = (block for block in BLOCKS if f"class {name}" in block)
    names: dict[str, Any] = {}
    exec(block, names)
    return names[name](*args, **settings)


class Log:
    """Logs something in the third iteration and at the end, after the loggers in the list."""

    def on_iteration(self, run: training.Run) -> None:
        """Log, where it is time."""
        if run.iteration == 3:
            run.log({"logged": 0.5})

    def on_end(self, run: training.Run) -> None:
        """Log."""
        run.log({"end": 0.25})


def run_with(logger: Any, folder: Path, *, fails_at: int = 0, iterations: int = 8) -> None:
    """Train with grids every 5 iterations and checkpoints every 3."""
    generator = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2)))
    callbacks = [
        logger,
        viz.SampleGrid(generator, folder / "samples", latent=torch.zeros(4, 2), every=5),
        training.Checkpoint(folder, every=3),
        Log(),
    ]
    trainer = Going(lambda i: 1 / (fails_at - i) if fails_at else i / 2, generator=generator)
    training.fit(trainer, [points()], iterations=iterations, resume=True, callbacks=callbacks)


def killed_and_resumed(name: str, folder: Path, **settings: Any) -> None:
    """Train to an error in iteration 9, and go on from the checkpoint of iteration 6 as another process would."""
    with pytest.raises(ZeroDivisionError):
        run_with(logger_of(name, folder / "samples", every=2, **settings), folder, fails_at=9, iterations=10)
    if name == "MLflowLogger":
        sys.modules["mlflow"].active.clear()  # with its process
    run_with(logger_of(name, folder / "samples", every=2, **settings), folder, iterations=10)


def test_what_wandb_gets(wandb: Any, tmp_path: Path) -> None:
    """Metrics every k iterations, where something is logged, and at the end; each grid with its pixels."""
    run_with(logger_of("WandbLogger", tmp_path / "samples", every=2, project="digits"), tmp_path)
    (run,) = wandb.runs.values()
    assert run.finished
    losses = {step: row["loss"] for step, row in run.rows.items() if "loss" in row}
    assert losses == {2: 1.0, 3: 1.5, 4: 2.0, 6: 3.0, 8: 4.0}
    assert (run.rows[3]["logged"], run.rows[8]["end"]) == (0.5, 0.25)
    saved = {int(path.stem): Image.open(path).tobytes() for path in (tmp_path / "samples").iterdir()}
    assert {step: row["samples"].pixels for step, row in run.rows.items() if "samples" in row} == saved
    assert sorted(saved) == [1, 5, 8]


def test_a_run_of_wandb_that_is_killed_and_resumed(wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one run of W&B, in which no step is sent twice, and which has the steps of a run that was never killed."""
    killed_and_resumed("WandbLogger", tmp_path / "killed")
    run_with(logger_of("WandbLogger", tmp_path / "whole/samples", every=2), tmp_path / "whole", iterations=10)
    killed, whole = wandb.runs.values()
    assert sorted(killed.rows) == sorted(whole.rows) == [1, 2, 3, 4, 5, 6, 8, 10]
    assert killed.finished


def test_a_second_call_of_fit_goes_on_in_the_same_run_of_wandb(wandb: Any, tmp_path: Path) -> None:
    """Whether the callback is the same or another one, whose id comes from the checkpoint."""
    logger = logger_of("WandbLogger", every=2)
    for callback, iterations in ((logger, 4), (logger, 8), (logger_of("WandbLogger", every=2), 12)):
        run_with(callback, tmp_path, iterations=iterations)
    (run,) = wandb.runs.values()
    assert [step for step, row in run.rows.items() if "loss" in row] == [2, 3, 4, 6, 8, 10, 12]


def test_what_mlflow_gets(mlflow: Any, tmp_path: Path) -> None:
    """Each metric and each grid once, and the settings."""
    settings = {"params": {"learning_rate": 2e-4}, "run_name": "digits"}
    run_with(logger_of("MLflowLogger", tmp_path / "samples", every=2, **settings), tmp_path)
    (run,) = mlflow.runs.values()
    assert (run.params, run.name, mlflow.active) == ({"learning_rate": 2e-4}, "digits", [])
    assert [(step, value) for name, value, step in run.points if name == "loss"] == [
        *((2, 1.0), (3, 1.5), (4, 2.0)),
        *((6, 3.0), (8, 4.0)),
    ]
    assert [(name, step) for name, _, step in run.points if name in ("logged", "end")] == [("logged", 3), ("end", 8)]
    saved = {int(path.stem): Image.open(path).tobytes() for path in (tmp_path / "samples").iterdir()}
    assert run.images == [("samples", step, saved[step]) for step in (1, 5, 8)]


def test_a_run_of_mlflow_that_is_killed_and_resumed(mlflow: Any, tmp_path: Path) -> None:
    """It is one run of MLflow with each point once, and its settings are not written again."""
    killed_and_resumed("MLflowLogger", tmp_path, params={"k": 1})
    (run,) = mlflow.runs.values()
    assert [step for name, _, step in run.points if name == "iteration"] == [2, 3, 4, 6, 8, 10]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_only_the_first_process_sends(name: str, request: pytest.FixtureRequest) -> None:
    """And what other callbacks log is there when it does."""
    request.getfixturevalue(name)
    logger = logger_of({"wandb": "WandbLogger", "mlflow": "MLflowLogger"}[name])
    assert logger.rank_zero_only
    assert logger.reads_metrics


def test_the_stand_in_of_wandb_takes_what_wandb_takes(wandb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument has the name that it has there; tested where W&B is installed."""
    monkeypatch.delitem(sys.modules, "wandb")
    real = pytest.importorskip("wandb")
    for ours, theirs in ((wandb.init, real.init), (WandbImage, real.Image), (WandbRun.log, real.Run.log)):
        assert inspect.signature(ours).parameters.keys() <= inspect.signature(theirs).parameters.keys()
    assert all(hasattr(real.Run, name) for name in ("id", "step", "finish"))


def test_the_stand_in_of_mlflow_takes_what_mlflow_takes(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument has the name that it has there; tested where MLflow is installed."""
    monkeypatch.delitem(sys.modules, "mlflow")
    real = pytest.importorskip("mlflow")
    for name in ("start_run", "get_run", "log_params", "log_metrics", "log_image", "end_run"):
        ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (mlflow, real))
        assert ours.keys() <= theirs.keys(), name

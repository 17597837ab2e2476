"""Values as short texts: what errors quote, and how objects of every public class show themselves."""

import inspect
import re
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlib import data, penalties, training, viz
from ganlib._shown import shown
from ganlib.errors import GanlibError
from tests.public_examples import CALLABLES, CLASSES, called_in_its_example
from tests.training.players import make_trainer, points

DEEP = nn.Sequential(*[nn.Linear(8, 8) for _ in range(50)])
LONG = {
    "module": DEEP,
    "tensor": torch.zeros(1000, 1000),
    "array": np.zeros((1000, 1000)),
    "optimizer": torch.optim.Adam(DEEP.parameters()),
    "string": "x" * 1000,
    "list": list(range(1000)),
    "list of modules": [DEEP] * 40,
    "dict": {f"name {index}": DEEP for index in range(40)},
}
# What is a path is quoted whole, so that it can be found; the other two need a network or a minute.
PATHS = {"folder", "path", "root", "table", "weights", "images"}
ELSEWHERE = {"models.export_onnx", "models.from_hub", "models.push_to_hub"}


class Silent:
    """An object that cannot show itself."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        3,
        -1.5,
        None,
        "abc",
        [1, 2],
        (1, "a"),
        {"a": 1},
        torch.float32,
        torch.tensor(2.0),
        nn.ReLU(),
        nn.Linear(3, 2),
        print,
    ],
    ids=repr,
)
def test_a_short_value_is_shown_as_it_is(value: Any) -> None:
    """By its repr."""
    assert shown(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (DEEP, "Sequential(...)"),
        (LONG["optimizer"], "Adam(...)"),
        (torch.zeros(100, 3), "tensor(shape=(100, 3), dtype=torch.float32)"),
        (np.zeros((100, 3)), "array(shape=(100, 3), dtype=float64)"),
        ([DEEP, torch.ones(9, 9)], "[Sequential(...), tensor(shape=(9, 9), dtype=torch.float32)]"),
        ({"a": DEEP}, "{'a': Sequential(...)}"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, ...]"),
        (Silent(), "<Silent>"),
    ],
    ids=["module", "optimizer", "tensor", "array", "list", "dict", "long list", "silent"],
)
def test_what_is_long_is_named(value: Any, text: str) -> None:
    """By its class, or its shape."""
    assert shown(value) == text


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_nothing_is_longer_than_a_line(value: Any) -> None:
    """Whatever it is, and however it is nested."""
    for nested in (value, [value], {"key": (value, value)}, training.Player("a", LONG["optimizer"], print)):
        text = shown(nested)
        assert len(text) <= 120
        assert "\n" not in text


def test_a_data_set_is_not_printed_to_be_named() -> None:
    """Thousands of images are named at once: to print them would take minutes."""
    images = [(torch.rand(1, 28, 28), index) for index in range(20_000)]
    began = time.perf_counter()
    shown(images)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("name", sorted(CALLABLES.keys() - ELSEWHERE))
def test_an_error_is_short_whatever_an_argument_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error about a network, tensor, optimizer or long text in place of one argument fits on two lines."""
    monkeypatch.chdir(tmp_path)
    called, messages = called_in_its_example(CALLABLES[name]), dict[tuple[str, str], str]()
    for argument, parameter in inspect.signature(CALLABLES[name]).parameters.items():
        for kind, value in LONG.items():
            if parameter.kind is parameter.VAR_KEYWORD or (argument in PATHS and kind == "string"):
                continue
            given = (value,) if parameter.kind is parameter.VAR_POSITIONAL else value
            with warnings.catch_warnings(), suppress(Exception):  # other errors are those of torch, of an argument
                warnings.simplefilter("ignore")
                try:
                    called.again(**{argument: given})
                except GanlibError as error:
                    messages[argument, kind] = str(error)
    long = {case: text for case, text in messages.items() if len(text) > 300 or len(text.splitlines()) > 2}
    assert long == {}


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_shows_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its class, without an address: a trainer on ten lines, a module as torch does, and all else on one line."""
    monkeypatch.chdir(tmp_path)
    text = repr(called_in_its_example(CLASSES[name]).made)
    assert text.startswith(f"{CLASSES[name].__name__}(")
    assert not re.search("0x[0-9a-f]{6}", text)
    if not issubclass(CLASSES[name], nn.Module) or name == "training.EMA":
        assert len(text.splitlines()) <= (10 if "Trainer" in name else 1)


@pytest.mark.parametrize("name", [name for name, cls in CLASSES.items() if "ganlib" in cls.__repr__.__module__])
def test_an_object_that_is_half_made_shows_itself(name: str) -> None:
    """An error in a constructor can be looked into, where a debugger shows the object."""
    cls = CLASSES[name]
    if not hasattr(cls, "__dataclass_fields__") or name == "training.Player":
        assert repr(cls.__new__(cls)).startswith(cls.__name__)


def test_a_network_in_a_wrapper_shows_itself(tmp_path: Path) -> None:
    """Whatever torch puts around it, and before its weights have a shape."""
    for network, text in (
        (nn.DataParallel(nn.Linear(2, 3)), "<DataParallel, 9 parameters>"),
        (torch.compile(nn.Linear(2, 3)), "<OptimizedModule, 9 parameters>"),
        (nn.Linear(2, 3, device="meta"), "<Linear, 9 parameters>"),
        (nn.LazyLinear(3), "<LazyLinear>"),
    ):
        grid = viz.SampleGrid(network, tmp_path, latent=torch.zeros(4, 2))
        assert repr(grid) == f"SampleGrid(generator={text}, folder='{tmp_path}', latent=(4, 2) float32, every=500)"


def test_a_trainer_shows_what_it_trains_and_how_far_it_is() -> None:
    """After two iterations; the learning rates are those of now, where several groups have one each."""
    trainer = make_trainer(penalties=[penalties.R1(5.0)])
    trainer.generator_optimizer.param_groups[0]["lr"] = 0.25
    trainer.discriminator_optimizer.add_param_group({"params": nn.Parameter(torch.zeros(())), "lr": 0.5})
    for _ in range(2):
        trainer.train_step(points())
    text = repr(trainer)
    for part in ("generator: ", "Adam(lr=0.25)", ", 0.5])", "R1(weight=5.0, every=1)", "iteration 2, fp32 on cpu"):
        assert part in text, text


def test_a_loader_shows_its_data() -> None:
    """How many samples of which shape, and how many classes there are among them."""
    loader = data.TensorLoader(data.RenderedDigits(size=8, length=40), batch_size=10)
    text = repr(loader)
    assert text.startswith("TensorLoader(samples=(40, 1, 8, 8) uint8, conditions=(40,) int64, batch_size=10, ")
    assert text.endswith("classes=10)")
    assert repr(data.zip_loaders(loader, [1, 2])).startswith("JoinedLoader(loaders=(TensorLoader(samples=(40, 1, 8, 8)")
    assert "classes" not in repr(data.TensorLoader(torch.zeros(4, 3), batch_size=2))

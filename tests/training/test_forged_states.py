"""Checkpoints that are well-formed files, and hold what no run has written."""

import copy
import random
import warnings
from pathlib import Path
from typing import Any

import torch

from ganlib import data, penalties, training, viz
from ganlib.errors import GanlibError
from tests.training.players import make_players, make_trainer, points

ODD: list[Any] = [
    None,
    True,
    -1,
    3,
    10**30,
    1e300,
    "x",
    b"x",
    [],
    {},
    (),
    torch.zeros(()),
    torch.ones(2, 3),
    [None],
    {"x": 1},
]
ROUNDS = 120


def resume(folder: Path) -> None:
    """Resume a run that is over, with all that has a state; nothing more is trained."""
    torch.manual_seed(0)
    trainer = make_trainer(*make_players(), penalties=[penalties.R1(0.1)], terms=[penalties.LeCam(0.1)])
    callbacks = [
        training.EMA(trainer.generator),
        viz.LossCurves(folder / "losses.png", mean=True),
        training.CSVLogger(folder / "metrics.csv", every=2, mean=True),
        training.Checkpoint(folder),
    ]
    loader = data.TensorLoader(torch.utils.data.TensorDataset(points(16)), 4)
    training.fit(trainer, loader, iterations=3, resume=True, callbacks=callbacks)


def somewhere(values: Any, drawn: random.Random) -> tuple[Any, Any]:
    """A container in a state, with one of its keys or indices; each level as likely as the next."""
    key = drawn.choice([*values] if isinstance(values, dict) else range(len(values)))
    inner = values[key]
    if isinstance(inner, dict | list) and inner and drawn.random() < 0.7:
        return somewhere(inner, drawn)
    return values, key


def test_whatever_a_state_holds_it_resumes_or_is_an_error_of_ours(tmp_path: Path) -> None:
    """A value anywhere in a state that is replaced, dropped or renamed gives a run or a GanlibError, nothing else."""
    resume(tmp_path)
    path = tmp_path / "checkpoints/00000003.pt"
    good = training.load_plain(path)
    drawn = random.Random(0)
    answers = []
    for _ in range(ROUNDS):
        forged = copy.deepcopy(good)
        container, key = somewhere(forged["run"], drawn)
        kind = drawn.choice(["replace", "replace", "drop", "rename"])
        if kind == "replace":
            container[key] = copy.deepcopy(drawn.choice(ODD))
        else:
            value = container.pop(key)
            if kind == "rename" and isinstance(container, dict):
                container[f"{key}?"] = value
        for file in path.parent.iterdir():
            file.unlink()
        training.save_plain(path, forged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                resume(tmp_path)
        except GanlibError as error:
            answers.append(str(error))
        except Exception as error:
            raise AssertionError(f"{kind} of {key} gave {error!r}") from error
    assert len(answers) > ROUNDS / 4
    assert all("00000003.pt" in answer for answer in answers)

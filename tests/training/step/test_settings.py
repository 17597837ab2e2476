"""The optimizers of any trainer are found, and their settings compared with those of a checkpoint."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ganlib._files import as_plain
from ganlib.training._step._settings import OptimizerSettings, optimizers_of
from tests.training.players import MyTrainer, make_trainer


def adam(**settings: Any) -> torch.optim.Adam:
    """One with a parameter."""
    return torch.optim.Adam([torch.zeros(2, requires_grad=True)], **settings)


class Slotted:
    """A trainer with one slot and attributes of a subclass."""

    __slots__ = "optimizer"


def test_optimizers_are_found_wherever_they_are() -> None:
    """Attributes, slots, and what is in lists and dicts; each once; a method of that name is none."""
    one, two, three = adam(), adam(), adam()
    trainer: Any = SimpleNamespace(first=one, more=[two, one], by_name={"x": three}, other=3, optimizers=print)
    assert optimizers_of(trainer) == {"first": one, "more[0]": two, "by_name['x']": three}
    slotted = Slotted()
    assert optimizers_of(slotted) == {}
    slotted.optimizer = one  # type: ignore[attr-defined]
    assert optimizers_of(slotted) == {"optimizer": one}
    assert optimizers_of(SimpleNamespace(optimizers={"a": two})) == {"a": two}
    assert optimizers_of(MyTrainer()) == {}
    assert set(optimizers_of(make_trainer())) == {"generator_optimizer", "discriminator_optimizer"}


def notes(saved: torch.optim.Optimizer, code: torch.optim.Optimizer, *, known: bool = True) -> list[str]:
    """What is said where the state of one is loaded into the other."""
    bases = OptimizerSettings({"optimizer": saved}).state_dict() if known else {}
    settings = OptimizerSettings({"optimizer": code})
    code.load_state_dict(saved.state_dict())
    return settings.loaded(bases)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"lr": 1e-3}, {"lr": torch.tensor(1e-3)}),
        ({"lr": 1e-3}, {"lr": np.float32(1e-3)}),
        ({"betas": (0.5, 0.9)}, {"betas": [0.5, np.float64(0.9)]}),
        ({"foreach": True}, {"foreach": False}),
        ({}, {"differentiable": True}),
    ],
)
def test_the_same_setting_in_another_form_is_no_change(before: Any, now: Any, known: bool) -> None:
    """A tensor, a number of NumPy's, a list, and how an optimizer computes."""
    assert notes(adam(**before), adam(**now), known=known) == []


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "change", [{"lr": 1e-5}, {"betas": (0.0, 0.9)}, {"eps": 1e-3}, {"weight_decay": 0.1}, {"maximize": True}]
)
def test_every_setting_is_compared(change: dict[str, Any], known: bool) -> None:
    """Each is named, with the tuple that takes it."""
    (note,) = notes(adam(), adam(**change), known=known)
    (name,) = change
    assert f"checkpoint's {name} (=" in note
    assert note.endswith(f"to use yours, pass from_code=({name!r},)")


def test_settings_of_a_checkpoint_are_plain() -> None:
    """They can be saved as they are, whatever the numbers were given as."""
    bases = OptimizerSettings({"optimizer": adam(lr=np.float64(1e-3), weight_decay=np.float32(0.5))}).state_dict()
    assert as_plain(bases) is not None
    assert bases["optimizer"][0]["lr"] == 1e-3
    assert bases["optimizer"][0]["weight_decay"] == 0.5

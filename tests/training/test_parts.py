"""The state of a trainer's parts, whoever wrote them."""

from typing import Any

import pytest
import torch
from torch import nn

from ganlib.errors import CheckpointError
from tests.training.players import make_players, make_trainer, points


class Counting(nn.Module):
    """A penalty of a user's with a state: it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, discriminator: Any, real: torch.Tensor, *rest: Any) -> torch.Tensor:
        """Count, and penalise nothing."""
        self.calls += 1
        return discriminator(real).sum() * 0


def test_parts_with_a_state_are_saved_and_restored() -> None:
    """A penalty's own state goes with the trainer's."""
    trainer = make_trainer(penalties=[Counting()])
    for _ in range(3):
        trainer.train_step(iter([points()]))
    state = trainer.state_dict()
    other = make_trainer(penalties=[Counting()])
    other.load_state_dict(state)
    assert other.penalties[0].calls == 3
    assert other.iteration == 3


def test_a_state_without_a_part_is_refused() -> None:
    """A state that lacks what this trainer has says which."""
    with pytest.raises(CheckpointError, match=r"holds no penalties\.0"):
        make_trainer(penalties=[Counting()]).load_state_dict(make_trainer().state_dict())


def test_a_part_of_another_architecture_is_named() -> None:
    """A state of other networks names the part."""
    with pytest.raises(CheckpointError, match="generator is of another Sequential"):
        make_trainer().load_state_dict(make_trainer(*make_players(hidden=5)).state_dict())

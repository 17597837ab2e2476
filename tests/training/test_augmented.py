"""A discriminator as penalties see it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib.training._augmented import Augmented
from tests.training.players import make_trainer, points


class Seen:
    """A penalty that keeps what it was called with."""

    def __call__(
        self, discriminator: Any, real: Tensor, fake: Tensor, condition: Any = None, fake_condition: Any = None
    ) -> Tensor:
        """The mean logit of unaugmented samples, which the discriminator augments."""
        self.discriminator, self.real = discriminator, real
        return discriminator(real, condition).mean()


@pytest.mark.parametrize("augment", [None, torch.neg])
def test_a_penalty_finds_the_modules_of_the_discriminator(augment: Any) -> None:
    """It is a module that holds the discriminator, so batch norm in it can be seen; it augments what it is given."""
    penalty, discriminator = Seen(), nn.Linear(2, 1)
    trainer = make_trainer(nn.Linear(3, 2), discriminator, penalties=[penalty], augment=augment)
    trainer.train_step(points())
    assert any(module is discriminator for module in penalty.discriminator.modules())
    given = penalty.real if augment is None else -penalty.real
    assert torch.equal(penalty.discriminator(penalty.real), discriminator(given))


def test_it_changes_nothing_of_the_discriminator() -> None:
    """Neither its parameters' names nor its mode."""
    discriminator = nn.Linear(2, 1).eval()
    Augmented(discriminator, None)
    assert not discriminator.training
    assert [name for name, _ in discriminator.named_parameters()] == ["weight", "bias"]

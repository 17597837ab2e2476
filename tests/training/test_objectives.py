"""What the two players descend."""

import torch
from torch import nn

from ganlib import losses, penalties
from ganlib.training._networks import Minibatch
from tests.training.players import make_players, make_trainer, points


def test_totals_are_sums_with_their_weights() -> None:
    """The discriminator's total is its loss, the terms times their weights, and penalties times their intervals."""
    generator, discriminator = make_players()
    discriminator[2] = nn.Identity()
    trainer = make_trainer(
        generator, discriminator, penalties=[penalties.R1(2.0, every=4)], terms=[losses.FeatureMatching(0.5)]
    )
    trainer.terms[0].generator = lambda *_: torch.tensor(3.0)  # type: ignore[method-assign]
    torch.manual_seed(0)
    total, metrics = trainer._objectives.discriminator(Minibatch(points()))
    expected = metrics["discriminator_loss"] + 0.5 * metrics["feature_matching"] + 4 * metrics["r1"]
    torch.testing.assert_close(total, expected)
    total, metrics = trainer._objectives.generator(Minibatch(points()))
    torch.testing.assert_close(total, metrics["generator_loss"] + 1.5)


def test_penalties_are_due_at_iterations_divisible_by_their_interval() -> None:
    """Of one that is due at every iteration and one at every third, the latter comes at 0, 3, 6."""
    trainer = make_trainer(penalties=[penalties.R1(1.0), penalties.R2(1.0, every=3)])
    due = []
    for trainer.iteration in range(5):
        due.append([*trainer._objectives.due()])
    assert due == [["r1", "r2"], ["r1"], ["r1"], ["r1", "r2"], ["r1"]]


def test_fakes_of_the_discriminators_update_have_no_graph() -> None:
    """The generator's parameters are no part of what the discriminator descends."""
    trainer = make_trainer()
    total, _ = trainer._objectives.discriminator(Minibatch(points()))
    assert torch.autograd.grad(total, [*trainer.generator.parameters()], allow_unused=True) == (None,) * 6

"""Tests of the contracts: what a user's own part must offer, and that ours offer it."""

import pytest
import torch
from torch import nn

from ganlib import conditioning, latents, losses, penalties, protocols


class MyLoss:
    """A user's own loss."""

    def discriminator(self, real, fake):
        """Hinge."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake, real=None):
        """Wasserstein."""
        return -fake.mean()


class MyAuxiliaryLoss:
    """A user's own auxiliary loss: the L1 distance of pix2pix."""

    weight = 100.0

    def discriminator(self, step):
        """Nothing."""
        return torch.zeros(())

    def generator(self, step):
        """The mean absolute difference."""
        return (step.fake - step.real).abs().mean()


class MyTrainer:
    """A user's own trainer."""

    iteration = 0

    def train_step(self, batches):
        """Count."""
        self.iteration += 1
        return {}

    def state_dict(self):
        """The count."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state):
        """The count."""
        self.iteration = state["iteration"]


class MyCallback:
    """A user's own callback, with one of the three methods."""

    def on_iteration(self, run):
        """Nothing."""


MINE = [
    (MyLoss(), protocols.AdversarialLoss),
    (MyAuxiliaryLoss(), protocols.AuxiliaryLoss),
    (MyTrainer(), protocols.Trainer),
    (MyTrainer(), protocols.Stateful),
    (MyCallback(), protocols.OnIteration),
    (lambda latent, condition=None: latent, protocols.Generator),
    (lambda sample, condition=None: sample, protocols.Discriminator),
    (lambda n, *, device=None, generator=None: torch.zeros(n, 2), protocols.Latent),
    (lambda discriminator, real, fake, condition=None, fake_condition=None: 0, protocols.Penalty),
]


@pytest.mark.parametrize(("part", "protocol"), MINE, ids=lambda value: getattr(value, "__name__", None))
def test_a_users_part_inherits_from_nothing(part, protocol):
    """A part with the methods of a contract fulfils it."""
    assert isinstance(part, protocol)


@pytest.mark.parametrize(
    ("part", "protocol"),
    [
        (losses.MinimaxLoss(), protocols.AdversarialLoss),
        (losses.NonSaturatingLoss(), protocols.AdversarialLoss),
        (losses.AuxiliaryClassifier(), protocols.AuxiliaryLoss),
        (losses.FeatureMatching(), protocols.AuxiliaryLoss),
        (penalties.LeCam(), protocols.AuxiliaryLoss),
        (penalties.LeCam(), protocols.Penalty),
        (penalties.R1(), protocols.Penalty),
        (penalties.R2(), protocols.Penalty),
        (penalties.GradientPenalty(), protocols.Penalty),
        (latents.Gaussian(2), protocols.Latent),
        (latents.Uniform(2), protocols.Latent),
        (conditioning.OneHot(2), protocols.ConditionEncoder),
        (conditioning.OneHot(2), protocols.ConditionChecker),
        (conditioning.Unconditional(nn.Identity()), protocols.Generator),
    ],
    ids=str,
)
def test_our_parts_fulfil_their_contract(part, protocol):
    """Each of our parts has the methods of its contract."""
    assert isinstance(part, protocol)


@pytest.mark.parametrize(
    ("part", "protocol"),
    [
        (nn.Linear(1, 1), protocols.AdversarialLoss),
        (MyLoss(), protocols.AuxiliaryLoss),
        (MyCallback(), protocols.OnStart),
        (MyCallback(), protocols.OnEnd),
        (MyCallback(), protocols.Stateful),
        (MyLoss(), protocols.Trainer),
        (nn.Linear(1, 1), protocols.ConditionEncoder),
        (nn.Linear(1, 1), protocols.ConditionChecker),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_part_without_the_methods_does_not(part, protocol):
    """A part that lacks a method of a contract does not fulfil it."""
    assert not isinstance(part, protocol)


def test_a_batch_is_a_sample_and_perhaps_a_condition():
    """A Batch unpacks into (sample, condition), and the condition is None by default."""
    sample, condition = torch.zeros(2, 3), torch.tensor([0, 1])

    assert (sample, None) == protocols.Batch(sample)
    assert (sample, condition) == tuple(protocols.Batch(sample, condition))
    assert protocols.Batch(sample, condition).condition is condition


def test_a_discriminator_output_is_logits_and_perhaps_more():
    """Class logits are None and features empty by default."""
    logits = torch.zeros(2, 1)

    assert (logits, None, ()) == protocols.DiscriminatorOutput(logits)
    assert protocols.DiscriminatorOutput._fields == ("logits", "class_logits", "features")


def test_a_step_is_made_by_hand_from_samples_and_outputs():
    """Conditions and latent are None by default."""
    real, fake = torch.zeros(2, 3), torch.ones(2, 3)
    output = protocols.DiscriminatorOutput(torch.zeros(2, 1))

    step = protocols.Step(real, fake, None, output)

    assert step == (real, fake, None, output, None, None, None)
    assert step._fields == ("real", "fake", "real_output", "fake_output", "condition", "fake_condition", "latent")
    assert MyAuxiliaryLoss().generator(step) == 1.0


def test_packages_export_the_contract_that_they_serve():
    """The contract can be imported from its package too."""
    assert losses.AuxiliaryLoss is protocols.AuxiliaryLoss
    assert losses.AdversarialLoss is protocols.AdversarialLoss
    assert penalties.Penalty is protocols.Penalty
    assert latents.Latent is protocols.Latent
    assert conditioning.ConditionEncoder is protocols.ConditionEncoder


class MyEncoder(nn.Module, protocols.ConditionEncoder):
    """Inherits from the protocol, which nobody needs to."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 3

    def forward(self, condition):
        """One-hot."""
        return nn.functional.one_hot(condition, 3).float()


def test_an_encoder_may_inherit_from_its_protocol():
    """And set ``features`` itself."""
    assert conditioning.ConcatLatent(nn.Linear(5, 1), MyEncoder())(torch.ones(4, 2), torch.zeros(4).long()).shape == (
        4,
        1,
    )

"""AdversarialTrainer's arguments are checked when it is made, by name and value."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import augment, latents, losses, penalties, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.training._gan_arguments import metric_names
from tests.training.players import make_players, make_trainer, points

_R1, _LECAM = penalties.R1(), penalties.LeCam()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"loss": nn.BCELoss()}, ArgumentTypeError, r"loss \(=BCELoss"),
        ({"loss": losses.HingeLoss}, ArgumentTypeError, "loss .*HingeLoss.* must be an object"),
        ({"latent": latents.Gaussian}, ArgumentTypeError, "latent .*Gaussian.* not a class"),
        ({"augment": augment.DiffAugment}, ArgumentTypeError, "augment .*DiffAugment.* not a class"),
        ({"penalties": [penalties.R1]}, ArgumentTypeError, "penalties holds .*R1.* called with"),
        ({"penalties": [losses.AuxiliaryClassifier()]}, ArgumentTypeError, "penalties holds Auxiliary.* called with"),
        ({"penalties": [penalties.PathLength()]}, ArgumentTypeError, r"penalties holds PathLength\(.* called with"),
        ({"penalties": [lambda critic, real, fake: 0]}, ArgumentTypeError, "penalties holds .*lambda.* called with"),
        ({"auxiliary_losses": [penalties.R1()]}, ArgumentTypeError, "auxiliary_losses holds R1.* belongs in penalties"),
        ({"latent": 100}, ArgumentTypeError, r"latent \(=100\)"),
        ({"penalties": penalties.R1()}, ArgumentTypeError, "penalties.*sequence"),
        ({"penalties": [10.0]}, ArgumentTypeError, "penalties.*10.0"),
        (
            {"auxiliary_losses": [losses.MinimaxLoss()]},
            ArgumentTypeError,
            "auxiliary_losses holds MinimaxLoss.*discriminator\\(step\\)",
        ),
        ({"fake_conditions": 3}, ArgumentTypeError, r"fake_conditions \(=3\)"),
        ({"augment": 3}, ArgumentTypeError, r"augment \(=3\)"),
        ({"auxiliary_losses": [losses.FeatureMatching]}, ArgumentTypeError, "auxiliary_losses holds .*FeatureMatching"),
        ({"auxiliary_losses": losses.FeatureMatching()}, ArgumentTypeError, "auxiliary_losses.*sequence"),
        ({"discriminator_steps": 0}, ArgumentValueError, r"discriminator_steps \(=0\)"),
        ({"accumulate_grad_batches": 1.5}, ArgumentValueError, r"accumulate_grad_batches \(=1.5\)"),
        ({"max_grad_norm": 0}, ArgumentValueError, r"max_grad_norm \(=0\)"),
        ({"precision": "fp8"}, ArgumentValueError, r"precision \(='fp8'\)"),
        ({"compile": "max-autotune"}, ArgumentTypeError, r"compile \(='max-autotune'\) must be True or False"),
        ({"channels_last": torch.channels_last}, ArgumentTypeError, r"channels_last \(=torch.channels_last\)"),
        ({"reuse_fakes": 1}, ArgumentTypeError, r"reuse_fakes \(=1\) must be True or False"),
        ({"reuse_logits": "yes"}, ArgumentTypeError, r"reuse_logits \(='yes'\) must be True or False"),
        ({"cuda_graph": "yes"}, ArgumentTypeError, r"cuda_graph \(='yes'\)"),
        ({"joint_pass": None}, ArgumentTypeError, r"joint_pass \(=None\) must be True or False"),
        ({"penalties": [_R1, penalties.R2(), _R1]}, ArgumentValueError, r"penalties holds R1\(.* twice"),
        ({"auxiliary_losses": [_LECAM, _LECAM]}, ArgumentValueError, r"auxiliary_losses holds LeCam\(.* twice"),
        (
            {"auxiliary_losses": [_LECAM], "penalties": [_LECAM]},
            ArgumentValueError,
            r"LeCam\(.* in penalties and in",
        ),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], error: type[GanlibError], words: str) -> None:
    """The message names the option and quotes its value."""
    with pytest.raises(error, match=words):
        make_trainer(**options)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda discriminator, real, fake, condition=None, fake_condition=None: fake.mean(),
        lambda *arguments: arguments[2].mean(),
        functools.wraps(lambda discriminator, real: None)(lambda critic, real, fake, *conditions: fake.mean()),
        functools.partial(lambda weight, _, real, fake, *conditions: weight * fake.mean(), 2.0),
    ],
)
def test_any_function_that_can_be_called_so_is_a_penalty(penalty: Any) -> None:
    """What counts is that it takes five arguments, not how it names them."""
    metrics = make_trainer(penalties=[penalty]).train_step(points())
    assert len(metrics) == 5


def test_an_interval_that_an_auxiliary_loss_ignores_is_warned_of() -> None:
    """The value is quoted; as a penalty, or in an object of the user's own, the interval may count."""
    with pytest.warns(UserWarning, match=r"auxiliary_losses holds LeCam with every \(=4\), which has no effect"):
        make_trainer(auxiliary_losses=[penalties.LeCam(every=4)])

    class Own:
        weight, every = 1.0, 4

        def discriminator(self, step: Any) -> float:
            return 0.0

        generator = discriminator

    make_trainer(penalties=[penalties.LeCam(every=4)], auxiliary_losses=[Own()])  # a warning would be an error


def test_networks_must_be_modules_with_parameters() -> None:
    """A function, a module with nothing to train, and a missing optimizer are refused."""
    generator, discriminator = make_players()
    optimizer = torch.optim.SGD(generator.parameters(), lr=1.0)
    from ganlib.training import AdversarialTrainer

    given = {"loss": losses.MinimaxLoss(), "latent": torch.randn}
    with pytest.raises(ArgumentTypeError, match="generator"):
        AdversarialTrainer(lambda z: z, discriminator, optimizer, optimizer, **given)
    with pytest.raises(ArgumentValueError, match="discriminator.*no parameters"):
        AdversarialTrainer(generator, nn.Tanh(), optimizer, optimizer, **given)
    with pytest.raises(ArgumentTypeError, match="generator_optimizer"):
        AdversarialTrainer(generator, discriminator, None, optimizer, **given)


@pytest.mark.parametrize("swapped", ["generator_optimizer", "discriminator_optimizer"])
def test_an_optimizer_of_the_wrong_network_is_refused(swapped: str) -> None:
    """An optimizer with the other network's parameters, or with those of neither, is named."""
    from ganlib.training import AdversarialTrainer

    generator, discriminator = make_players()
    for wrong, words in (
        ([*generator.parameters(), *discriminator.parameters()], "of the other network"),
        (nn.Linear(2, 2).parameters(), "holds none of the"),
    ):
        optimizers = {
            "generator_optimizer": torch.optim.SGD(generator.parameters(), lr=1.0),
            "discriminator_optimizer": torch.optim.SGD(discriminator.parameters(), lr=1.0),
        }
        optimizers[swapped] = torch.optim.SGD(wrong, lr=1.0)
        with pytest.raises(ArgumentValueError, match=f"{swapped}.*{words}"):
            AdversarialTrainer(generator, discriminator, **optimizers, loss=losses.MinimaxLoss(), latent=torch.randn)


def test_metric_names_differ() -> None:
    """Names are the classes' in snake case; a second one is numbered, also across auxiliary losses and penalties."""
    parts = [penalties.R1(), penalties.R1(), penalties.GradientPenalty()]
    assert metric_names([], parts) == ([], ["r1", "r1_2", "gradient_penalty"])
    assert metric_names([penalties.R1()], parts) == (["r1"], ["r1_2", "r1_3", "gradient_penalty"])


def test_names_of_metrics_never_collide() -> None:
    """Each member has a name of its own, also next to one that looks numbered, and next to the trainer's metrics."""

    class L1: ...

    class L1_2: ...  # noqa: N801

    class GeneratorLoss: ...

    names = metric_names([L1(), L1(), L1_2()], [GeneratorLoss()])
    assert names == (["l1", "l1_2", "l1_2_2"], ["generator_loss_2"])


def test_one_module_cannot_be_both_players() -> None:
    """Two optimizers of it would undo each other's steps."""
    both = nn.Linear(3, 3)
    with pytest.raises(ArgumentValueError, match="same module"):
        make_trainer(both, both)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_optimizer_that_ascends_one_of_our_losses_is_warned_of(player: str) -> None:
    """At the line where the trainer is made; an own loss may be one to be maximized."""
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)

    class Value:
        """The value of the game, which the discriminator maximizes."""

        def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
            """Its value."""
            return real.mean() - fake.mean()

        def generator(self, fake: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
            """The part of it that the generator minimizes."""
            return -fake.mean()

    def make(loss: Any) -> None:
        training.AdversarialTrainer(
            generator,
            discriminator,
            torch.optim.Adam(generator.parameters(), maximize=player == "generator"),
            torch.optim.Adam(discriminator.parameters(), maximize=player == "discriminator"),
            loss=loss,
            latent=latents.Gaussian(3),
        )

    with pytest.warns(UserWarning, match=f"{player}_optimizer has maximize=True") as caught:
        make(losses.HingeLoss())
    assert [warning.filename for warning in caught] == [__file__]
    make(Value())


class Observer:
    """A user's augmentation that adapts to the sign of logits, as far as one can see."""

    def __init__(self, target: float | None) -> None:
        self.target = target

    def __call__(self, samples: Tensor) -> Tensor:
        """Augment nothing."""
        return samples

    def observe(self, real_logits: Any) -> None:
        """Forget."""


def made_with(loss: Any, augmentation: Any) -> Any:
    """A trainer of two linear layers."""
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters()),
        torch.optim.Adam(discriminator.parameters()),
        loss=loss,
        latent=latents.Gaussian(3),
        augment=augmentation,
    )


class Shifted:
    """A user's loss that says that its border is not at 0."""

    separates_at_zero = False

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The hinge loss, of other logits."""
        return losses.HingeLoss().discriminator(real_logits - 3, fake_logits - 3)

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The same."""
        return losses.HingeLoss().generator(fake_logits)


@pytest.mark.parametrize(
    "loss",
    [
        losses.RelativisticLoss(),
        losses.RelativisticAverageLoss(),
        losses.WassersteinLoss(),
        losses.LeastSquaresLoss(),
        losses.WeightedSum([losses.HingeLoss(), losses.WassersteinLoss()], weights=[1.0, 1.0]),
        Shifted(),
    ],
)
@pytest.mark.parametrize("augmentation", [Observer(0.6), augment.AdaptiveAugment("blit")])
def test_a_sign_without_a_meaning_is_warned_of(loss: Any, augmentation: Any) -> None:
    """Where a logit of 0 is no border between real and fake samples, signs cannot drive an augmentation."""
    with pytest.warns(
        UserWarning, match=rf"{type(augmentation).__name__}.*{type(loss).__name__}.*target=None"
    ) as caught:
        made_with(loss, augmentation)
    assert [warning.filename for warning in caught] == [__file__]


def test_an_adaptive_augmentation_that_gets_no_logits_is_warned_of() -> None:
    """Inside another module, nothing calls its method observe; with a fixed strength it needs no call."""
    inner = augment.AdaptiveAugment("blit")
    with pytest.warns(UserWarning, match=r"Sequential.* holds AdaptiveAugment, .* no method observe") as caught:
        made_with(losses.HingeLoss(), nn.Sequential(inner, augment.DiffAugment()))
    assert [warning.filename for warning in caught] == [__file__]
    for kind, function in (("method", inner.forward), ("function", lambda samples: inner(samples))):
        with pytest.warns(UserWarning, match=rf"{kind}\) holds AdaptiveAugment, .* no method observe"):
            made_with(losses.HingeLoss(), function)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("loss", "augmentation"),
    [
        (losses.RelativisticLoss(), Observer(None)),
        (losses.RelativisticLoss(), augment.AdaptiveAugment("blit", p=0.3, target=None)),
        (losses.RelativisticLoss(), augment.DiffAugment()),
        (losses.NonSaturatingLoss(), augment.AdaptiveAugment("blit")),
        (losses.HingeLoss(), Observer(0.6)),
        (losses.LeastSquaresLoss(real_target=1, fake_target=-1), Observer(0.6)),
        (losses.WeightedSum([losses.HingeLoss()], weights=[1.0]), Observer(0.6)),
        (losses.HingeLoss(), nn.Sequential(augment.AdaptiveAugment("blit", p=0.3, target=None))),
    ],
)
def test_other_augmentations_and_losses_are_not_warned_of(loss: Any, augmentation: Any) -> None:
    """A fixed strength needs no sign, and other losses give it one."""
    made_with(loss, augmentation)

"""A batch that cannot be trained on is answered by name and value, before it trains anything."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ganlib import conditioning, data, latents, losses, models, stacks, training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from tests.training.players import make_players, make_trainer, weights

PLAN = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])


def image_trainer(*, conditional: bool = True, latent_dim: int = 5, drawn: int = 5) -> training.AdversarialTrainer:
    """A small conditional DCGAN of 8x8 images with 3 classes."""
    players = models.conditional_dcgan(PLAN, latent_dim, 3) if conditional else models.dcgan(PLAN, latent_dim)
    optimizers = [torch.optim.Adam(network.parameters()) for network in players]
    return training.AdversarialTrainer(
        *players, *optimizers, loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(drawn)
    )


def images(n: int = 4, size: int = 8) -> Tensor:
    """Images in [-1, 1]."""
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("batch", "error", "builtin", "words"),
    [
        ((images(size=9), LABELS), ShapeError, ValueError, r"sample \(4, 1, 9, 9\).*\(4, 1, 8, 8\)"),
        ((images()[0], LABELS[:1]), ShapeError, ValueError, r"sample \(1, 8, 8\)"),
        (((images() * 127).byte(), LABELS), DTypeError, TypeError, "sample.*torch.uint8"),
        ((images() * 255, LABELS), ArgumentValueError, ValueError, r"sample.*sample_range is \[-1, 1\]"),
        ((images() * torch.nan, LABELS), ArgumentValueError, ValueError, "sample.*not finite.*nan"),
        ((images() / 0, LABELS), ArgumentValueError, ValueError, "sample.*not finite.*inf"),
        ((images(), torch.tensor([0, 1, 2, 3])), ArgumentValueError, ValueError, r"class 3.*num_classes \(=3\)"),
        ((images(), torch.tensor([0, -1, 2, 1])), ArgumentValueError, ValueError, "class -1"),
        ((images(), LABELS[:3]), ShapeError, ValueError, r"condition \(3,\).*4 samples"),
        ((images(), LABELS.float()), DTypeError, TypeError, "torch.int64.*torch.float32"),
        ((images(), LABELS.view(4, 1)), ShapeError, ValueError, r"condition \(4, 1\)"),
        (images(), ArgumentValueError, ValueError, "condition.*missing"),
        ((images(), None), ArgumentValueError, ValueError, "condition.*missing"),
        ((images(), [0, 1, 2, 0]), ArgumentTypeError, TypeError, "condition.*list"),
        ((images(), LABELS, LABELS), ArgumentTypeError, TypeError, "tuple of 3"),
        ({"image": images()}, ArgumentTypeError, TypeError, "dict"),
        ((images(0), LABELS[:0]), ShapeError, ValueError, "no samples"),
        ((torch.tensor(1.0), None), ShapeError, ValueError, "batch dimension"),
    ],
)
@pytest.mark.parametrize("after", [0, 2])
def test_a_bad_batch_trains_nothing(
    batch: Any, error: type[GanlibError], builtin: type[Exception], words: str, after: int
) -> None:
    """The error names what is wrong, and no weight or statistic has moved, for the first batch and for a later one."""
    trainer = image_trainer()
    for _ in range(after):
        trainer.train_step(iter([(images(), LABELS)]))
    before, random_before = weights(trainer), torch.get_rng_state()
    with pytest.raises(error, match=words) as caught:
        trainer.train_step(iter([batch]))
    assert isinstance(caught.value, builtin)
    assert trainer.iteration == after
    assert torch.equal(torch.get_rng_state(), random_before)
    for name, value in weights(trainer).items():
        assert torch.equal(value, before[name]), name


def test_a_latent_of_another_size_is_answered() -> None:
    """A latent that the generator cannot take is named with both sizes."""
    with pytest.raises(GanlibError, match=r"latent.*|x \(4, 10\) must hold 8"):
        image_trainer(drawn=7).train_step(iter([(images(), LABELS)]))
    with pytest.raises(ArgumentValueError, match=r"generator cannot be called with latent \(4, 7\)"):
        make_trainer(latent=latents.Gaussian(7)).train_step(iter([torch.zeros(4, 2)]))


def test_a_latent_that_is_no_distribution_is_answered() -> None:
    """A latent that cannot be called as one, or gives something else than n latents, is named."""
    with pytest.raises(ArgumentTypeError, match=r"latent.*cannot be called as latent\(n, device"):
        make_trainer(latent=lambda n: torch.zeros(n, 3)).train_step(iter([torch.zeros(4, 2)]))
    with pytest.raises(ArgumentValueError, match=r"latent.*gave \(3,\) for n \(=4\)"):
        make_trainer(latent=lambda n, **_: torch.zeros(3)).train_step(iter([torch.zeros(4, 2)]))


def test_labels_for_an_unconditional_network_are_answered() -> None:
    """A labelled data set and an unconditional network: the error points to Unconditional, which then works."""
    with pytest.raises(ArgumentValueError, match="Unconditional"):
        make_trainer().train_step(iter([(torch.zeros(4, 2), LABELS)]))
    wrapped = [conditioning.Unconditional(network) for network in make_players()]
    metrics = make_trainer(*wrapped).train_step(iter([(torch.zeros(4, 2), LABELS)]))
    assert metrics["generator_loss"].isfinite()


def test_a_discriminator_that_gives_no_logits_is_answered() -> None:
    """A discriminator that returns a list is told what it may return."""

    class Listing(nn.Module):
        """Gives a list."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.layer(x)]

    with pytest.raises(ArgumentTypeError, match="discriminator gave list"):
        make_trainer(nn.Linear(3, 2), Listing()).train_step(iter([torch.zeros(4, 2)]))


class Split(nn.Module):
    """A user's network that gives each of two encoders a column of the condition."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.one, self.other = conditioning.OneHot(2), conditioning.OneHot(5)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Encode the columns apart."""
        return self.layer(torch.cat([x, self.one(condition[:, 0]), self.other(condition[:, 1])], 1))


def test_encoders_inside_a_users_network_may_take_a_part_of_the_condition() -> None:
    """Only encoders that are given the whole condition look at it beforehand."""
    trainer = make_trainer(Split(nn.Linear(3 + 7, 2)), Split(nn.Linear(2 + 7, 1)))
    pairs = torch.stack([torch.arange(4) % 2, torch.arange(4)], 1)
    assert trainer.train_step(iter([(torch.zeros(4, 2), pairs)]))["generator_loss"].isfinite()
    with pytest.raises(ArgumentValueError, match="class 2"):
        trainer.train_step(iter([(torch.zeros(4, 2), pairs + 1)]))


def test_encoders_of_conditional_norms_look_at_labels_beforehand() -> None:
    """A stack with conditional norms has its labels checked as an adapter has."""
    generator = stacks.ConvTransposeStack(
        PLAN,
        top_channels=2,
        norm=lambda channels: conditioning.ConditionalBatchNorm(channels, conditioning.OneHot(3)),
    )
    discriminator = conditioning.Unconditional(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    trainer = make_trainer(generator, discriminator, latent=latents.Gaussian(8))
    trainer.check_conditions(LABELS)
    with pytest.raises(ArgumentValueError, match="class 3"):
        trainer.check_conditions(LABELS + 1)


def test_a_growing_generator_may_change_the_shape() -> None:
    """Samples of a new shape are rehearsed anew, so that a user's generator may grow with them."""
    generator = nn.Linear(3, 2)
    trainer = make_trainer(nn.Sequential(generator), nn.Sequential(nn.Linear(2, 1)))
    trainer.train_step(iter([torch.zeros(4, 2)]))
    with pytest.raises(ShapeError, match=r"sample \(4, 3\)"):
        trainer.train_step(iter([torch.zeros(4, 3)]))


def test_conditions_of_a_whole_data_set_are_checked_before_training() -> None:
    """Fit looks at all the labels of a TensorLoader, where a later batch would hold the bad one."""
    labels = torch.zeros(40, dtype=torch.int64)
    labels[-1] = 9
    loader = data.TensorLoader(TensorDataset(images(40), labels), 4)
    trainer = image_trainer()
    with pytest.raises(ArgumentValueError, match="class 9"):
        training.fit(trainer, loader, iterations=20)
    assert trainer.iteration == 0


def test_a_data_loader_of_labelled_images_trains() -> None:
    """A plain DataLoader's lists of two tensors are batches."""
    loader = DataLoader(TensorDataset(images(12), torch.arange(12) % 3), 4, shuffle=True)
    trainer = image_trainer()
    training.fit(trainer, loader, epochs=2)
    assert trainer.iteration == 6

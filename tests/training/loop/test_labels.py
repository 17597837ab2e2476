"""Labels that no first batch shows: refused before the first iteration."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ganlib import conditioning, data, losses, training
from ganlib.errors import ArgumentValueError
from tests.training.players import make_players, make_trainer, points

LABELS = torch.cat([torch.arange(79) % 2, torch.tensor([2])])


class Embedded(nn.Module):
    """A user's network that adds an embedding of a label."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.embedding = network, nn.Embedding(classes, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Add it."""
        return self.network(x) + self.embedding(label)


def loader(labels: Tensor = LABELS, **options: Any) -> data.TensorLoader:
    """Points with labels; the last one is the largest."""
    return data.TensorLoader(TensorDataset(points(len(labels)), labels), 8, shuffle=False, **options)


def classified(classes: int, **options: Any) -> training.AdversarialTrainer:
    """A trainer whose discriminator knows a number of classes."""
    generator, _ = make_players()
    head = conditioning.AuxiliaryClassifierHead(nn.Linear(2, 8), 8, classes)
    return make_trainer(conditioning.Unconditional(generator), head, **options)


def embedded(classes: int) -> training.AdversarialTrainer:
    """A trainer whose networks are a user's own, with embeddings."""
    return make_trainer(*(Embedded(network, classes) for network in make_players()))


AUXILIARY = {"auxiliary_losses": [losses.AuxiliaryClassifier()]}


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (embedded(2), "labels from 0 to 2, which discriminator cannot take.* 2 entries"),
        (classified(2, **AUXILIARY), "labels from 0 to 2, .* know those from 0 to 1"),
    ],
)
def test_labels_that_come_late_are_refused_before_training(trainer: Any, message: str) -> None:
    """The error names their range."""
    with pytest.raises(ArgumentValueError, match=message):
        training.fit(trainer, loader(), iterations=20)
    assert trainer.iteration == 0


@pytest.mark.filterwarnings("ignore:the discriminator gives class_logits, but no loss")
def test_labels_that_fit_are_trained_on() -> None:
    """So are labels that nothing looks at, and those that a joint transform makes right."""
    for trainer in (embedded(3), classified(3, **AUXILIARY), classified(2)):
        training.fit(trainer, loader(), iterations=10)
    merged = loader(joint_transform=lambda sample, label, generator: (sample, label.clamp(max=1)))
    training.fit(embedded(2), merged, iterations=10)


class Forwards:
    """A wrapper of a user's that makes raw labels 5, 6, 7 to 0, 1, 2, and forwards all attributes."""

    def __init__(self, labels: Tensor) -> None:
        self.loader = loader(labels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return (batch._replace(condition=batch.condition - 5) for batch in self.loader)


class Relabels(data.TensorLoader):
    """The same as a subclass."""

    def __iter__(self) -> Any:
        return (batch._replace(condition=batch.condition - 5) for batch in super().__iter__())


def encoded() -> training.AdversarialTrainer:
    """A trainer whose networks encode three classes."""
    generator = conditioning.ConcatLatent(nn.Linear(6, 2), conditioning.OneHot(3))
    return make_trainer(generator, conditioning.Projection(nn.Linear(2, 8), conditioning.ClassEmbedding(3, 8), 8))


@pytest.mark.parametrize("make", [encoded, lambda: embedded(3), lambda: classified(3, **AUXILIARY)])
def test_labels_that_a_wrapper_changes_are_looked_at_in_batches(make: Any) -> None:
    """What a wrapper or a subclass shows of the data set is not what its batches contain."""
    labels = torch.arange(80) % 3 + 5
    for batches in (Forwards(labels), Relabels(TensorDataset(points(80), labels), 8)):
        training.fit(make(), batches, iterations=10)
    with pytest.raises(ArgumentValueError, match="condition holds the class 3"):
        training.fit(encoded(), Forwards(labels + 1), iterations=10)
    with pytest.raises(ArgumentValueError, match="condition holds the class 7"):
        training.fit(encoded(), loader(labels), iterations=10)


def test_looking_at_labels_changes_nothing() -> None:
    """The loader, the random numbers and the networks are those of a run whose labels cannot be looked at."""

    class Hidden:
        """A loader that shows nothing of its data set."""

        def __iter__(self) -> Any:
            return iter(loader())

    ends = []
    for batches in (loader(), Hidden()):
        torch.manual_seed(0)
        trainer = embedded(3)
        training.fit(trainer, batches, iterations=7)
        ends.append([*trainer.generator.parameters(), *trainer.discriminator.parameters(), torch.rand(3)])
    assert all(map(torch.equal, *ends))

"""Tests of a function of batches as a loader; its position is tested in test_joined_loader."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from ganlib import latents, losses, training
from ganlib.conditioning import ConcatFeatures, ConcatLatent, OneHot
from ganlib.data import TensorLoader, map_loader
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError, GanlibError


def test_batches_are_what_the_function_makes_of_them() -> None:
    """In the loader's order, in every epoch."""
    loader = map_loader([1, 2, 3], lambda batch: 10 * batch)
    assert [*loader, *loader] == [10, 20, 30] * 2
    assert len(loader) == 3
    assert loader.loaders == ([1, 2, 3],)


@pytest.mark.parametrize("joint", [False, True])
def test_a_function_may_make_other_conditions(joint: bool) -> None:
    """fit does not check the stored labels 10 to 12, of which a function or a joint transform makes 0 to 2."""
    dataset = TensorDataset(torch.randn(12, 2), torch.arange(12) % 3 + 10)
    loader: Any = TensorLoader(dataset, 4, joint_transform=(lambda s, c, g: (s, c - 10)) if joint else None)
    if not joint:
        loader = map_loader(loader, lambda batch: (batch.sample, batch.condition - 10))
    encoder = OneHot(3)
    generator = ConcatLatent(nn.Linear(7, 2), encoder)
    discriminator = ConcatFeatures(nn.Linear(2, 4), encoder, nn.Linear(7, 1))
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters()),
        torch.optim.Adam(discriminator.parameters()),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(4),
    )
    training.fit(trainer, loader, iterations=2)
    assert trainer.iteration == 2


@pytest.mark.parametrize(
    ("loader", "function", "error", "words"),
    [
        ([1], None, ArgumentTypeError, r"function \(=None\) must be callable"),
        (None, len, ArgumentTypeError, r"loader \(=None\) must be iterable"),
        ([], len, ArgumentValueError, r"loader \(=\[\]\) is empty"),
        (TensorLoader, len, ArgumentTypeError, "must be iterable"),
    ],
)
def test_bad_arguments_are_named(loader: Any, function: Any, error: Any, words: str) -> None:
    """Each is an error of ours that names the argument."""
    with pytest.raises(error, match=words) as caught:
        map_loader(loader, function)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("function", "error"),
    [(lambda x, y: x, ArgumentTypeError), (lambda x: {}["a"], DataError), (next, ArgumentTypeError)],
)
def test_a_function_that_fails_is_named(function: Any, error: Any) -> None:
    """Its error is the cause of ours."""
    with pytest.raises(error, match=r"function \(=.*fails on a batch") as caught:
        list(map_loader([1], function))
    assert caught.value.__cause__ is not None

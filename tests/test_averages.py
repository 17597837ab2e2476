"""Averages that were forgotten, wherever samples are drawn from them."""

import copy
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from ganlib import latents, models, training, viz
from ganlib._averages import any_is_behind
from tests.training.players import make_trainer, points


class Images(nn.Module):
    """A generator of small images, from latents of four numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 16)

    def forward(self, latent: Tensor) -> Tensor:
        """Return them."""
        return self.layer(latent).tanh().view(-1, 1, 4, 4)


def train(network: nn.Module) -> None:
    """Change the weights."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)


def evaluate(sampled: Any) -> training.Evaluate:
    """An evaluation that uses what is given."""
    return training.Evaluate(MeanMetric(), partial(models.sample, sampled, latents.Gaussian(4)), n=4)


@pytest.mark.parametrize("get", [lambda ema: ema, lambda ema: ema.module, copy.deepcopy], ids=["EMA", "module", "copy"])
def test_a_forgotten_average_is_found(get: Callable[[Any], nn.Module]) -> None:
    """Before the training and after an update it is none, and the network itself never is."""
    network = Images()
    ema = training.EMA(network)
    assert not any_is_behind([get(ema), network])
    if get is not copy.deepcopy:  # a copy also copies the network, which nobody trains
        train(network)
        assert any_is_behind([network, get(ema)])
        ema.update()
        assert not any_is_behind([get(ema)])


@pytest.mark.parametrize("updated", [True, False])
def test_all_that_samples_warns(updated: bool, tmp_path: Path) -> None:
    """The evaluation, the grid of samples and the file warn once of a forgotten average, and of no other."""
    network = Images()
    ema = training.EMA(network)
    train(network)
    if updated:
        ema.update()
    latent = torch.randn(4, 4)
    inside: Callable[[int], Any] = lambda n: [ema(torch.randn(n, 4))]  # noqa: E731
    actions: list[Callable[[], object]] = [
        evaluate(ema.module).measure,
        training.Evaluate(MeanMetric(), inside, n=4).measure,
        partial(models.save_generator, tmp_path / "generator.safetensors", ema.module),
        partial(models.save_generator, tmp_path / "generator.safetensors", nn.Sequential(ema)),
    ]
    for sampled in (ema, ema.module):
        grid = viz.SampleGrid(sampled, tmp_path / "grid", latent=latent, every=1)
        actions.append(partial(training.fit, make_trainer(), [points()], iterations=4, callbacks=[grid]))
    for action in actions:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            action()
        found = [str(warning.message) for warning in caught if "never updated" in str(warning.message)]
        assert len(found) == (not updated), found


def test_an_average_in_the_callbacks_raises_no_warning(tmp_path: Path) -> None:
    """It is updated before the evaluation and the grid, in whatever order they are."""
    trainer = make_trainer()
    network: Any = trainer.generator
    ema = training.EMA(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = training.Evaluate(
            MeanMetric(), lambda n: [ema.module(torch.randn(n, next(network.parameters()).shape[1]))], n=4, every=1
        )
        training.fit(trainer, [points()], iterations=3, callbacks=[evaluation, ema])

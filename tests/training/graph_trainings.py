"""Trainings with and without a recording, and comparisons of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganlib import latents, training
from ganlib.training._step._step_graphs import StepGraphs
from tests.training.players import MyHinge, make_players, make_trainer, points

CPU = torch.device("cpu")
RATE = 2**-7  # a float32 holds it


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """An optimizer whose recorded steps are its ordinary ones, bit for bit."""
    return torch.optim.SGD(parameters, lr=RATE, momentum=0.5, fused=True)


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Another one."""
    return torch.optim.Adam(parameters, lr=RATE, betas=(0.5, 0.875), capturable=True, foreach=True)


def of_points(*, cuda_graph: Any, optimizer: Any = sgd, **options: Any) -> training.AdversarialTrainer:
    """A trainer of points."""
    generator, discriminator = make_players()
    own = {"generator_optimizer": optimizer(generator.parameters())} | {
        "discriminator_optimizer": optimizer(discriminator.parameters())
    }
    return make_trainer(generator, discriminator, cuda_graph=cuda_graph, **(own | options))


def of_images(*, cuda_graph: Any, optimizer: Any = adam, **options: Any) -> training.AdversarialTrainer:
    """A trainer of images of 8 by 8."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(3, 64),
        nn.Unflatten(1, (4, 4, 4)),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 2, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Dropout2d(0.25),
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(16, 1),
    )
    return make_trainer(
        generator,
        discriminator,
        generator_optimizer=optimizer(generator.parameters()),
        discriminator_optimizer=optimizer(discriminator.parameters()),
        cuda_graph=cuda_graph,
        **options,
    )


def images(seed: int, n: int = 6) -> Tensor:
    """Samples for it."""
    return torch.rand(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


Before = Callable[[Any, int], object]


def train(trainer: Any, iterations: int = 8, *, batch: Any = points, before: Before | None = None) -> list[float]:
    """All metrics of a training whose batches and random numbers belong to the iterations."""
    metrics = []
    for iteration in range(trainer.iteration, trainer.iteration + iterations):
        if before is not None:
            before(trainer, iteration)
        torch.manual_seed(iteration)
        drawn = iter([batch(seed=7 * iteration + part) for part in range(trainer.batches_per_iteration)])
        metrics += [value.item() for value in trainer.train_step(drawn).values()]
    return metrics


def everything(trainer: Any) -> list[Tensor]:
    """All tensors of the state: weights, buffers, and those of optimizers."""
    found = []

    def look(nest: Any) -> None:
        if isinstance(nest, Tensor):
            found.append(nest.detach().clone())
        elif isinstance(nest, dict | list | tuple):
            for part in nest.values() if isinstance(nest, dict) else nest:
                look(part)

    look(trainer.state_dict())
    return found


def assert_same(one: Any, other: Any) -> None:
    """Both are the same, bit for bit."""
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def assert_trains_alike(make: Callable[[Any], Any], *, setting: Any = True, **options: Any) -> None:
    """A training with a graph is one without, bit for bit."""
    one = make(setting)
    ours = train(one, **options)
    other = make(False)  # only now: what is made may write variables that both read
    assert_same(ours, train(other, **options))
    assert_same(everything(one), everything(other))


def steps(trainer: Any, *batches: Any) -> list[dict[str, Tensor]]:
    """The metrics of a step for each batch."""
    stream = iter(batches)
    return [trainer.train_step(stream) for _ in range(len(batches) // trainer.batches_per_iteration)]


def on_cuda(cuda_graph: Any, **options: Any) -> training.AdversarialTrainer:
    """A trainer of points on CUDA, with networks that a graph trains as single launches do."""
    generator, discriminator = (network.cuda() for network in make_players())
    generator[1] = nn.Identity()  # a bias before batch norm has rounding noise for a gradient, which Adam amplifies
    discriminator[2] = nn.Identity()  # whose random numbers a graph draws otherwise
    given: dict[str, Any] = {"loss": MyHinge(), "latent": latents.Gaussian(3)} | options
    optimizer = given.pop("optimizer", lambda parameters: torch.optim.Adam(parameters, lr=1e-2))
    return training.AdversarialTrainer(
        generator,
        discriminator,
        optimizer(generator.parameters()),
        optimizer(discriminator.parameters()),
        cuda_graph=cuda_graph,
        **given,
    )


class LossOf:
    """A loss of a user's with a factor."""

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        value = MyHinge().discriminator(real, fake)
        return value * self.factor(value)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return MyHinge().generator(fake)


def of_step(step: Any, recorder: Any, **options: Any) -> StepGraphs:
    """The graphs of a step without parts."""
    given = {"optimizers": {}, "parts": dict, "device": CPU}
    return StepGraphs(step, recorder, **(given | options))


def take(graphs: StepGraphs, batches: Any, times: int = 5) -> list[float]:
    """The sums that so many steps give."""
    return [graphs(batches, kind=())["sum"].item() for _ in range(times)]

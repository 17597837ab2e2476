"""The dry run of the first batch leaves no trace, and says what does not fit."""

import contextlib
import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib.conditioning import Unconditional
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Batch
from ganlib.training._dry_run import draw_conditions_once, draw_once, dry_run, without_trace
from tests.training.players import make_players, points

CPU = torch.device("cpu")


def run(generator: Any, discriminator: Any, batch: Batch, fake_condition: Any = None, **options: Any) -> Any:
    """A dry run on latents of 3 dimensions."""
    given: dict[str, Any] = {"augment": None, "autocast": contextlib.nullcontext(), "first": False} | options
    return dry_run(generator, discriminator, torch.ones(len(batch.sample), 3), batch, fake_condition, **given)


class Noisy(nn.Module):
    """Draws random numbers in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Add noise."""
        return x + torch.randn_like(x) + random.random() * 0


def test_no_weight_statistic_mode_or_random_state_changes() -> None:
    """Weights, batch norm's statistics, modes (also mixed ones), gradients and torch's random state stay."""
    generator, discriminator = make_players()
    networks = nn.Sequential(generator, Noisy()), nn.Sequential(Noisy(), discriminator)
    generator.eval()
    generator[1].train()
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    modes = [module.training for network in networks for module in network.modules()]
    state = torch.get_rng_state()
    run(*networks, Batch(points()))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for network in networks for module in network.modules()] == modes
    for network, values in zip(networks, before, strict=True):
        assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
        assert all(parameter.grad is None for parameter in network.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_nothing_changes_where_it_fails() -> None:
    """A network that cannot be called leaves modes and random numbers as they were."""
    generator, discriminator = make_players()
    state = torch.get_rng_state()
    with pytest.raises(ShapeError):
        run(nn.Sequential(generator, Noisy()), discriminator, Batch(torch.zeros(4, 5)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in generator.modules())


def test_the_networks_are_called_as_a_step_calls_them() -> None:
    """The discriminator gets the augmented samples and their conditions, the generator those of the fakes."""
    seen: list[Any] = []

    class Network(nn.Module):
        """Notes what it is called with."""

        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(inputs, outputs)

        def forward(self, x: Tensor, condition: Any) -> Tensor:
            """Note."""
            seen.append((x, condition))
            return self.layer(x)

    condition, fake_condition = {"class": torch.zeros(4)}, {"class": torch.ones(4)}
    sample = torch.rand(4, 2)
    run(Network(3, 2), Network(2, 1), Batch(sample, condition), fake_condition, augment=lambda x: 2 * x)
    (latent, of_fakes), (augmented, of_reals) = seen
    assert latent.shape == (4, 3)
    assert torch.equal(augmented, 2 * sample)
    assert (of_fakes, of_reals) == (fake_condition, condition)


def test_the_last_activation_is_found_under_autocast_alone() -> None:
    """What makes the samples under bf16 is returned; in float32 nothing needs to be."""
    generator, discriminator = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), nn.Linear(2, 1)
    assert run(generator, discriminator, Batch(points())).last_activation is None
    autocast = torch.autocast("cpu", torch.bfloat16)
    assert run(generator, discriminator, Batch(points()), autocast=autocast).last_activation is generator[1]


def failing(error: Exception) -> nn.Module:
    """A module that raises an error."""

    class Failing(nn.Linear):
        def forward(self, x: Tensor, condition: Any = None) -> Tensor:
            raise error

    return Failing(3, 2)


CONDITION = {"class": torch.zeros(4, 2), "angle": torch.zeros(4)}


@pytest.mark.parametrize(
    ("networks", "batch", "error", "words"),
    [
        (
            lambda: (nn.Linear(7, 2), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 2)),
            ArgumentValueError,
            r"generator cannot be called with latent \(4, 3\) of torch.float32 and no condition: ",
        ),
        (
            lambda: (nn.Linear(3, 2), nn.Linear(5, 1)),
            Batch(torch.zeros(4, 2)),
            ArgumentValueError,
            r"discriminator cannot be called with sample \(4, 2\) of torch.float32 and no condition: ",
        ),
        (
            lambda: (failing(KeyError("angle")), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 2), CONDITION),
            ArgumentValueError,
            r"generator .* and condition \{'class': \(4, 2\), 'angle': \(4,\)\}: 'angle'",
        ),
        (
            lambda: (nn.Linear(3, 2), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 2), CONDITION),
            ArgumentValueError,
            r"generator cannot be called with .*conditioning\.Unconditional wraps",
        ),
        (
            lambda: (failing(TypeError("missing condition")), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 2)),
            ArgumentValueError,
            r"generator .* missing condition \(the batches have no conditions\)",
        ),
        (
            lambda: (nn.Linear(3, 2), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 3)),
            ShapeError,
            r"sample \(4, 3\) must have the shape that generator makes, \(4, 2\)",
        ),
        (
            lambda: (failing(ShapeError("latent must be flat")), nn.Linear(2, 1)),
            Batch(torch.zeros(4, 2)),
            ShapeError,
            "^latent must be flat$",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    networks: Callable[[], Any], batch: Batch, error: type[GanlibError], words: str
) -> None:
    """The error names the network and what it was called with; an error of ours passes as it is."""
    with pytest.raises(error, match=words):
        run(*networks(), batch, batch.condition)


def test_a_distribution_with_random_numbers_of_its_own_is_not_advanced() -> None:
    """A user's latent that draws from its own generator is asked with another one."""
    own = torch.Generator().manual_seed(0)

    def latent(n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, 3, generator=own if generator is None else generator)

    before, state = own.get_state(), torch.get_rng_state()
    assert draw_once(latent, 4, CPU).shape == (4, 3)
    assert torch.equal(own.get_state(), before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("latent", "error", "words"),
    [
        (lambda n: torch.zeros(n, 3), ArgumentTypeError, r"latent .*cannot be called as latent\(n, device"),
        (lambda n, **_: n.shape, ArgumentValueError, r"latent .*cannot be called .*AttributeError: .*'shape'"),
        (lambda n, **_: torch.zeros(3), ArgumentValueError, r"latent .*gave \(3,\) for n \(=4\)"),
        (lambda n, **_: [0.0] * n, ArgumentValueError, r"latent .*gave list for n \(=4\)"),
    ],
)
def test_what_is_not_a_distribution_is_refused(latent: Any, error: type[GanlibError], words: str) -> None:
    """A latent that cannot be called as one, or gives something else than n latents, is named."""
    with pytest.raises(error, match=words):
        draw_once(latent, 4, CPU)


@pytest.mark.parametrize(
    ("function", "error"),
    [(lambda: torch.zeros(4), ArgumentTypeError), (lambda c, generator=None: c.roll(1), ArgumentValueError)],
)
def test_a_function_that_cannot_draw_conditions_is_refused(function: Any, error: type[GanlibError]) -> None:
    """The error says how it is called, and with what."""
    with pytest.raises(error, match=r"fake_conditions .*cannot be called as fake_conditions\(n\), with n \(=4\)"):
        draw_conditions_once(function, 4)


@pytest.mark.parametrize(
    ("augment", "words"),
    [(lambda: 0, "augment .*cannot be called with sample"), (lambda x: [x], "augment .*gave list; it must give")],
)
def test_what_does_not_augment_is_refused(augment: Any, words: str) -> None:
    """The error names the augmentation, not the discriminator."""
    with pytest.raises(ArgumentTypeError, match=words):
        run(*make_players_of_latents(), Batch(torch.rand(4, 2)), augment=augment)


def make_players_of_latents() -> tuple[nn.Module, nn.Module]:
    """Two networks that nothing is wrong with."""
    return nn.Linear(3, 2), nn.Linear(2, 1)


class Clears(nn.Module):
    """Changes its condition in place."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Set a condition to 0."""
        condition[0] = 0
        return self.layer(x)


IN_PLACE: dict[str, Any] = {
    "discriminator changes its samples": lambda: (
        nn.Linear(3, 2),
        nn.Sequential(nn.Flatten(), nn.LeakyReLU(0.2, inplace=True), nn.Linear(2, 1)),
        {},
    ),
    "augment changes its samples": lambda: (*make_players_of_latents(), {"augment": lambda x: x.mul_(2)}),
    "discriminator changes its conditions": lambda: (Unconditional(nn.Linear(3, 2)), Clears(nn.Linear(2, 1)), {}),
    "generator changes its conditions": lambda: (Clears(nn.Linear(3, 2)), Unconditional(nn.Linear(2, 1)), {}),
}


@pytest.mark.parametrize("words", IN_PLACE)
def test_what_changes_its_input_in_place_is_named(words: str) -> None:
    """It is warned of at the first batch; the user's batch never changes."""
    generator, discriminator, options = IN_PLACE[words]()
    condition = torch.ones(4) if "conditions" in words else None
    sample = torch.randn(4, 2)
    before = sample.clone()
    with pytest.warns(UserWarning, match=words) as caught:
        run(generator, discriminator, Batch(sample, condition), condition, first=True, **options)
    assert [one.filename for one in caught] == [__file__]
    run(generator, discriminator, Batch(sample, condition), condition, **options)  # a warning would be an error
    assert torch.equal(sample, before)
    assert condition is None or torch.equal(condition, torch.ones(4))


def test_without_trace_makes_no_graph_and_keeps_the_random_state() -> None:
    """Inside there are no gradients, and random numbers that are drawn there do not count."""
    weight, state = torch.ones(1, requires_grad=True), torch.get_rng_state()
    with without_trace(CPU):
        assert not (weight * torch.rand(1)).requires_grad
    assert torch.equal(torch.get_rng_state(), state)


class Own:
    """Conditions from a generator of random numbers of its own, whose state it saves."""

    def __init__(self) -> None:
        self.numbers = torch.Generator().manual_seed(1)

    def __call__(self, n: int) -> Tensor:
        """Draw."""
        return torch.randint(10, (n,), generator=self.numbers)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the generator."""
        return {"numbers": self.numbers.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go back."""
        self.numbers.set_state(state["numbers"])


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.randint(10, (n,)),
        lambda n: torch.from_numpy(np.random.randint(0, 10, n)),
        lambda n: torch.tensor([random.randrange(10) for _ in range(n)]),
        Own(),
    ],
)
def test_no_source_of_random_numbers_moves_on(draw: Callable[[int], Tensor]) -> None:
    """torch's, NumPy's and Python's random numbers, and those of a stateful part, are drawn again afterwards."""
    with without_trace(draw):
        first = draw(20)
    assert torch.equal(draw(20), first)


@pytest.mark.parametrize("condition", [None, torch.zeros(4, 2)])
def test_networks_the_wrong_way_round_are_named(condition: Any) -> None:
    """Where the discriminator makes samples of latents, whatever the generator does."""
    size = 0 if condition is None else 2

    class Joined(nn.Linear):
        """Takes a vector too."""

        def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
            """Join it."""
            return super().forward(x if condition is None else torch.cat([x, condition], 1))

    with pytest.raises(ArgumentValueError, match="wrong way round"):
        run(Joined(2 + size, 1), Joined(3 + size, 2), Batch(points(4), condition), condition)


def test_samples_with_the_channels_last_are_told_so() -> None:
    """As NumPy and Pillow have them."""
    generator = nn.Sequential(nn.Linear(3, 3 * 8 * 9), nn.Unflatten(1, (3, 8, 9)))
    with pytest.raises(ShapeError, match="channels to the front"):
        run(generator, nn.Flatten(), Batch(torch.zeros(4, 8, 9, 3)))


def test_samples_of_another_precision_are_told_that_of_the_weights() -> None:
    """What NumPy gives are doubles."""
    with pytest.raises(ArgumentValueError, match=r"weights are torch\.float32"):
        run(nn.Linear(3, 2), nn.Linear(2, 1), Batch(points(4).double()))


def test_the_generators_last_operation_is_found_at_the_first_batch_only() -> None:
    """It takes a graph, which a later dry run does without."""
    generator = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    found = [run(generator, nn.Linear(2, 1), Batch(points(4)), first=first).last_operation for first in (True, False)]
    assert found == ["sigmoid", None]

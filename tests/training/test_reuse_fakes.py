"""With ``reuse_fakes`` both players are updated on the same fakes."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib import conditioning, losses, penalties
from ganlib.protocols import Batch
from tests.ranks import Ranks
from tests.training.players import make_players, make_trainer, points, weights
from tests.training.step.test_replicas import FedLatent, make_plain_players, share

F64 = torch.float64


class Listed:
    """Latents from a list, and how many of them were drawn; a call with a generator is the trainer's dry run."""

    def __init__(self, draws: int) -> None:
        self.draws = torch.randn(draws, 32, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
        self.drawn = 0

    def __call__(self, n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """The next ones."""
        if generator is not None:
            return self.draws[0, :n]
        self.drawn += 1
        return self.draws[self.drawn - 1, :n]


def without_dropout() -> tuple[nn.Module, nn.Module]:
    """The plain players in float64, with batch norm and without random numbers.

    A bias before batch norm has a gradient of 0, of which rounding leaves 1e-17; Adam would make full steps of it.
    """
    generator, discriminator = make_players()
    generator[0].register_parameter("bias", None)
    discriminator[2] = nn.Identity()
    return generator.double(), discriminator.double()


def by_hand(
    generator: nn.Module, discriminator: nn.Module, batches: list[Tensor], latents: Tensor, *, steps: int, parts: int
) -> None:
    """The loop of PyTorch's DCGAN tutorial, with several updates of the discriminator and several batches for each."""
    d_adam = torch.optim.Adam(discriminator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    g_adam = torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.5, 0.99))
    batches, draws = list(batches), iter(latents)

    def bce(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target)) / parts

    while batches:
        for _ in range(steps):
            reals = [batches.pop(0) for _ in range(parts)]
            fakes = [generator(next(draws)[: len(real)]) for real in reals]
            d_adam.zero_grad()
            for real, fake in zip(reals, fakes, strict=True):
                (bce(discriminator(real), 1) + bce(discriminator(fake.detach()), 0)).backward()
            d_adam.step()
        g_adam.zero_grad()
        for fake in fakes:
            bce(discriminator(fake), 1).backward()
        g_adam.step()


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("parts", [1, 3])
def test_it_is_the_loop_that_scripts_have(steps: int, parts: int) -> None:
    """In float64 the weights are those of the loop by hand, batch norm's averages too, from as many latents."""
    generator, discriminator = without_dropout()
    batches = [points(seed=seed).double() for seed in range(8 * steps * parts)]
    latent = Listed(len(batches))
    twins = copy.deepcopy(generator), copy.deepcopy(discriminator)
    trainer = make_trainer(
        *twins, latent=latent, reuse_fakes=True, discriminator_steps=steps, accumulate_grad_batches=parts
    )
    stream = iter(batches)
    for _ in range(8):
        trainer.train_step(stream)
    by_hand(generator, discriminator, batches, latent.draws, steps=steps, parts=parts)
    assert latent.drawn == len(batches)
    for own, its in zip(twins, (generator, discriminator), strict=True):
        for (name, value), expected in zip(own.state_dict().items(), its.state_dict().values(), strict=True):
            torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-10, msg=name)


def test_the_generator_runs_once_an_iteration() -> None:
    """Batch norm sees one batch for each update of the discriminator, and none of its own in the generator's."""
    for reuse, expected in ((True, 3), (False, 4)):
        generator, discriminator = make_players()
        trainer = make_trainer(generator, discriminator, reuse_fakes=reuse, discriminator_steps=3)
        trainer.train_step(iter([points()] * 3))
        assert generator[1].num_batches_tracked.item() == expected


def test_both_updates_use_the_same_conditions() -> None:
    """The fakes' conditions are drawn once, and the discriminator gets them in both updates."""
    seen: list[Tensor] = []

    class Noting(nn.Module):
        """A discriminator that notes the conditions it is called with while gradients are computed."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: Tensor, condition: Tensor) -> Tensor:
            """A logit."""
            if torch.is_grad_enabled():
                seen.append(condition)
            return self.layer(x)

    trainer = make_trainer(
        conditioning.ConcatLatent(nn.Linear(3 + 10, 2), conditioning.OneHot(10)),
        Noting(),
        reuse_fakes=True,
        fake_conditions=lambda n: torch.randint(10, (n,)),
    )
    trainer.train_step(iter([Batch(points(), torch.zeros(32, dtype=torch.int64))]))
    real, fake, again = seen
    assert not real.any()
    assert fake.any()
    assert torch.equal(fake, again)


def test_penalties_and_other_losses_go_with_it() -> None:
    """A gradient penalty on the fakes, a loss that looks at real samples, and a joint pass work as without it."""
    for options in (
        {"penalties": [penalties.R2(1.0), penalties.GradientPenalty(1.0)], "max_grad_norm": 1.0},
        {"loss": losses.RelativisticLoss()},
        {"joint_pass": True},
    ):
        generator, discriminator = make_plain_players()
        trainer = make_trainer(generator, discriminator, latent=Listed(4), reuse_fakes=True, **options)
        before = weights(trainer)
        metrics = [trainer.train_step(iter([points(seed=seed).double()])) for seed in range(4)]
        assert all(value.isfinite() for step in metrics for value in step.values())
        # The last bias cancels in a relativistic loss.
        moved = {name for name, value in weights(trainer).items() if not torch.equal(value, before[name])}
        assert moved >= {*before} - {"discriminator.2.bias"}


@pytest.mark.filterwarnings("ignore:augment changes its samples in place")
def test_what_changes_samples_in_place_does_not_change_the_generators_fakes() -> None:
    """An augmentation in place acts once on what each update sees, as it does without ``reuse_fakes``."""
    seen: list[Tensor] = []

    def double_(samples: Tensor) -> Tensor:
        seen.append(samples.detach().clone())
        return samples.mul_(2)

    generator, discriminator = make_plain_players()
    trainer = make_trainer(generator, discriminator, latent=Listed(3), reuse_fakes=True, augment=double_)
    for _ in range(3):
        seen.clear()
        trainer.train_step(iter([points().double()]))
        fake, again = seen[-2:]
        assert torch.equal(fake, again)


def test_a_resumed_run_ends_as_one_that_was_not_stopped() -> None:
    """A trainer that takes the state of another goes on bit for bit; one without ``reuse_fakes`` is warned."""
    first = make_trainer(*without_dropout(), reuse_fakes=True, accumulate_grad_batches=2)
    torch.manual_seed(0)
    batches = [points(seed=seed).double() for seed in range(16)]
    stream = iter(batches)
    for _ in range(4):
        first.train_step(stream)
    second = make_trainer(*without_dropout(), reuse_fakes=True, accumulate_grad_batches=2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        torch.manual_seed(1)
        stream = iter(batches[8:])
        for _ in range(4):
            trainer.train_step(stream)
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))
    with pytest.warns(UserWarning, match="reuse_fakes was True, and is False now"):
        make_trainer(*without_dropout()).load_state_dict(first.state_dict())


def test_networks_that_share_what_both_optimizers_hold_are_refused() -> None:
    """A layer that the discriminator's update changes cannot be in the graph that is kept: the argument is named."""
    shared = nn.Linear(2, 2)
    players = nn.Sequential(nn.Linear(3, 2), shared), nn.Sequential(shared, nn.Linear(2, 1))
    make_trainer(*players)
    with pytest.raises(ValueError, match=r"reuse_fakes \(=True\) needs networks of their own"):
        make_trainer(*players, reuse_fakes=True)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_fp16_trains_as_fp32_does(accumulate: int) -> None:
    """Each player has its own scale, and the shared graph is unscaled: twenty steps stay within a hundredth.

    The samples are small, so that no gradient times the first scale, 65,536, overflows and has its step skipped.
    """
    results = []
    for precision in ("fp32", "fp16"):
        torch.manual_seed(0)
        generator, discriminator = make_plain_players()
        trainer = make_trainer(
            nn.Sequential(generator.float(), nn.Hardtanh(-9, 9)),
            discriminator.float(),
            precision=precision,
            accumulate_grad_batches=accumulate,
            reuse_fakes=True,
        )
        stream = iter([points(seed=seed) / 4 for seed in range(20 * accumulate)])
        for _ in range(20):
            trainer.train_step(stream)
        results.append(torch.cat([value.flatten() for value in weights(trainer).values()]))
    torch.testing.assert_close(*results, atol=1e-2, rtol=1e-2)


def train_share(accumulate: int) -> dict[str, Tensor]:
    """What each rank ends with, given its part of each batch."""
    generator, discriminator = make_plain_players()
    trainer = make_trainer(
        generator, discriminator, latent=FedLatent(40), reuse_fakes=True, accumulate_grad_batches=accumulate
    )
    stream = iter([share(points(64, seed=seed).double()) for seed in range(10 * accumulate)])
    for _ in range(10):
        trainer.train_step(stream)
    return weights(trainer)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_do_what_one_does(two_ranks: Ranks, accumulate: int) -> None:
    """Two ranks with half a batch each end with the weights of one with the whole, in float64."""
    alone = train_share(accumulate)
    for theirs in two_ranks(train_share, accumulate):
        for name, value in theirs.items():
            torch.testing.assert_close(value, alone[name], atol=1e-10, rtol=1e-10, msg=name)


@pytest.mark.filterwarnings("default")  # the compiler warns of its own doings, and takes a raised warning for a crash
def test_compiled_networks_share_fakes_too() -> None:
    """A compiled backward pass refuses to keep its graph, so only the generator's update goes through it."""
    torch.compiler.reset()
    generator, discriminator = make_plain_players()
    trainer = make_trainer(generator, discriminator, latent=Listed(2), reuse_fakes=True, compile=True)
    for seed in range(2):
        metrics = trainer.train_step(points(seed=seed).double())
    assert all(value.isfinite() for value in metrics.values())

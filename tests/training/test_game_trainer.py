"""GameTrainer: any game of players that take turns, trained as the loop by hand trains it."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganlib import losses, penalties, training
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, BatchesExhaustedError, CheckpointError, ShapeError
from tests.ranks import Ranks
from tests.training.graph_on_cpu import capturable_on_cpu, stand_in
from tests.training.players import make_trainer, points

F64 = torch.float64
ITERATIONS = 50
LOSS = losses.NonSaturatingLoss()


def networks(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        discriminator = nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1))
    return generator.double(), discriminator.double()


def adam(network: nn.Module) -> torch.optim.Adam:
    """The optimizer of all tests."""
    return torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.5, 0.99))


def real(count: int) -> list[Tensor]:
    """Batches of points in float64."""
    return [points(seed=seed).double() for seed in range(count)]


def gan(generator: nn.Module, discriminator: nn.Module, *, reuse: bool, steps: int = 1, **options: Any) -> Any:
    """The plain GAN as a game; with ``reuse`` both players share the fakes of one prepare."""

    def fakes(batch: Tensor) -> Tensor:
        return generator(torch.randn(len(batch), 3, dtype=F64))

    def discriminator_objective(batch: Any) -> Tensor:
        samples, fake = batch if reuse else (batch, fakes(batch))
        return LOSS.discriminator(discriminator(samples), discriminator(fake.detach()))

    def generator_objective(batch: Any) -> Tensor:
        return LOSS.generator(discriminator(batch[1] if reuse else fakes(batch)))

    return training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player("discriminator", adam(discriminator), discriminator_objective, steps=steps),
            training.Player("generator", adam(generator), generator_objective),
        ],
        prepare=(lambda batch: (batch, fakes(batch))) if reuse else None,
        **options,
    )


def by_hand(
    generator: nn.Module, discriminator: nn.Module, batches: list[Tensor], *, reuse: bool, steps: int, parts: int
) -> None:
    """The same in a plain loop, with torch's cross-entropy."""
    d_adam, g_adam, stream = adam(discriminator), adam(generator), iter(batches)

    def bce(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target)) / parts

    def fakes(batch: Tensor) -> Tensor:
        return generator(torch.randn(len(batch), 3, dtype=F64))

    for _ in range(len(batches) // (steps * parts)):
        for _ in range(steps):
            drawn = [next(stream) for _ in range(parts)]
            kept = [fakes(batch) for batch in drawn] if reuse else []
            d_adam.zero_grad()
            for index, batch in enumerate(drawn):
                fake = kept[index] if reuse else fakes(batch)
                (bce(discriminator(batch), 1) + bce(discriminator(fake.detach()), 0)).backward()
            d_adam.step()
        g_adam.zero_grad()
        for index, batch in enumerate(drawn):
            bce(discriminator(kept[index] if reuse else fakes(batch)), 1).backward()
        g_adam.step()


def assert_equal(*pairs: tuple[nn.Module, nn.Module], atol: float = 1e-10) -> None:
    """The weights and buffers of each pair are equal."""
    for one, other in pairs:
        for (name, value), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(value, expected, atol=atol, rtol=atol, msg=name)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("parts", [1, 2])
def test_two_players_are_the_loop_by_hand_and_the_adversarial_trainer(reuse: bool, steps: int, parts: int) -> None:
    """After 50 iterations in float64 all three have the same weights, with ``prepare`` and without."""
    batches = real(ITERATIONS * steps * parts)
    torch.manual_seed(1)
    hand = networks()
    by_hand(*hand, batches, reuse=reuse, steps=steps, parts=parts)
    torch.manual_seed(1)
    own = networks()
    game = gan(*own, reuse=reuse, steps=steps, accumulate_grad_batches=parts)
    torch.manual_seed(1)
    ours = networks()
    trainer = training.AdversarialTrainer(
        *ours,
        *map(adam, ours),
        loss=LOSS,
        latent=lambda n, *, device=None, generator=None: torch.randn(n, 3, dtype=F64, generator=generator),
        reuse_fakes=reuse,
        discriminator_steps=steps,
        accumulate_grad_batches=parts,
    )
    for one in (game, trainer):
        torch.manual_seed(1)
        stream = iter(batches)
        for _ in range(ITERATIONS):
            one.train_step(stream)
        assert next(stream, None) is None
        assert one.batches_per_iteration == steps * parts
    assert_equal(*zip(own, hand, strict=True), *zip(ours, hand, strict=True))


def test_three_players_need_no_more_than_their_objectives() -> None:
    """BiGAN's game, an encoder that shares the discriminator with the generator, is the loop by hand."""

    def make() -> dict[str, nn.Module]:
        torch.manual_seed(0)
        return {
            "generator": nn.Linear(3, 2).double(),
            "encoder": nn.Linear(2, 3).double(),
            "discriminator": nn.Sequential(nn.Linear(5, 8), nn.Softplus(), nn.Linear(8, 1)).double(),
        }

    def objectives(part: dict[str, nn.Module]) -> dict[str, Callable[[Tensor], Tensor]]:
        def logits(x: Tensor) -> tuple[Tensor, Tensor]:
            z = torch.linspace(-1, 1, 3 * len(x), dtype=F64).view(len(x), 3)
            of_real = part["discriminator"](torch.cat([x, part["encoder"](x)], 1))
            return of_real, part["discriminator"](torch.cat([part["generator"](z), z], 1))

        return {
            "discriminator": lambda x: LOSS.discriminator(*logits(x)),
            "generator": lambda x: LOSS.generator(logits(x)[1]),
            "encoder": lambda x: LOSS.generator(-logits(x)[0]),
        }

    theirs = make()
    optimizers = {name: adam(network) for name, network in theirs.items()}
    for batch in real(ITERATIONS):
        for name, objective in objectives(theirs).items():
            gradients = torch.autograd.grad(objective(batch), [*theirs[name].parameters()])
            for parameter, gradient in zip(theirs[name].parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizers[name].step()
    ours = make()
    players = [training.Player(name, adam(ours[name]), objective) for name, objective in objectives(ours).items()]
    trainer = training.GameTrainer(ours, players)
    for batch in real(ITERATIONS):
        metrics = trainer.train_step(batch)
    assert sorted(metrics) == ["discriminator_loss", "encoder_loss", "generator_loss"]
    assert_equal(*((ours[name], theirs[name]) for name in ours))


def follower(name: str = "follower", **options: Any) -> tuple[nn.Module, list[Any], training.Player]:
    """A player of one weight that notes the batches it is given."""
    module, seen = nn.Linear(1, 1, bias=False), list[Any]()

    def objective(batch: Any) -> Tensor:
        seen.append(batch)
        return module.weight.square().sum()

    return module, seen, training.Player(name, torch.optim.SGD(module.parameters(), lr=0.1), objective, **options)


def test_further_steps_draw_new_batches_and_others_take_the_last() -> None:
    """A discriminator with three steps sees three batches, and the generator the last of them."""
    one, by_discriminator, discriminator = follower("discriminator", steps=3)
    other, by_generator, generator = follower("generator")
    trainer = training.GameTrainer({"one": one, "other": other}, [discriminator, generator])
    stream = iter(torch.arange(6.0).view(6, 1))
    for _ in range(2):
        trainer.train_step(stream)
    assert [batch.item() for batch in by_discriminator] == [0, 1, 2, 3, 4, 5]
    assert [batch.item() for batch in by_generator] == [2, 5]


def test_a_later_player_with_steps_begins_with_what_was_drawn_last() -> None:
    """Of two players with two steps each, the second one's first update takes the first one's last batch."""
    one, first, a = follower("a", steps=2)
    other, second, b = follower("b", steps=2)
    trainer = training.GameTrainer({"one": one, "other": other}, [a, b], accumulate_grad_batches=2)
    assert trainer.batches_per_iteration == 6
    trainer.train_step(iter(torch.arange(6.0).view(6, 1)))
    assert ([batch.item() for batch in first], [batch.item() for batch in second]) == ([0, 1, 2, 3], [2, 3, 4, 5])


def test_a_batch_is_prepared_once_with_gradients_and_its_graph_is_shared() -> None:
    """Two players go through one graph of ``prepare``, each for its own weights, as often as batches are drawn."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    prepared = list[Tensor]()

    def prepare(batch: Tensor) -> tuple[Tensor, Tensor]:
        prepared.append(batch)
        return batch, first(batch) * second.weight

    trainer = training.GameTrainer(
        {"first": first, "second": second},
        [
            training.Player("a", torch.optim.SGD(first.parameters(), lr=0.0), lambda pair: pair[1].sum()),
            training.Player("b", torch.optim.SGD(second.parameters(), lr=0.0), lambda pair: pair[1].square().sum()),
        ],
        prepare=prepare,
        accumulate_grad_batches=2,
    )
    x = torch.tensor([[2.0], [3.0]])
    trainer.train_step(iter([x, 2 * x]))
    assert len(prepared) == 2
    w, v = first.weight.detach(), second.weight.detach()
    torch.testing.assert_close(first.weight.grad, v * 5 * 1.5)
    torch.testing.assert_close(second.weight.grad, 2 * v * w**2 * 13 * (1 + 4) / 2)


def test_a_player_rests_between_its_turns_and_keeps_its_metrics() -> None:
    """With ``every=3`` a player acts in iterations 0, 3 and 6, and its last metrics are given in between."""
    one, seen, player = follower("busy")
    other, resting, lazy = follower("lazy", every=3)
    trainer = training.GameTrainer({"one": one, "other": other}, [player, lazy])
    values = [trainer.train_step(torch.tensor([float(i)]))["lazy_loss"].item() for i in range(7)]
    assert [batch.item() for batch in resting] == [0, 3, 6]
    assert len(seen) == 7
    assert values[0] == values[1] == values[2] != values[3] == values[5] != values[6]
    again = training.GameTrainer({"one": one, "other": other}, [player, lazy])
    again.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert again.train_step(torch.tensor([0.0]))["lazy_loss"].item() == values[6]


def test_players_may_share_an_optimizer() -> None:
    """A lazy regulariser is a second player with the generator's optimizer, whose state is saved once."""

    def make() -> tuple[nn.Module, torch.optim.Adam, training.GameTrainer]:
        torch.manual_seed(0)
        module = nn.Linear(2, 1).double()
        optimizer = adam(module)
        return (
            module,
            optimizer,
            training.GameTrainer(
                {"module": module},
                [
                    training.Player("main", optimizer, lambda batch: module(batch).square().mean()),
                    training.Player("lazy", optimizer, lambda _: 2 * module.weight.square().sum(), every=2),
                ],
            ),
        )

    module, _, trainer = make()
    theirs, optimizer, _ = make()
    for iteration, batch in enumerate(real(10)):
        trainer.train_step(batch)
        for loss in [lambda: theirs(batch).square().mean(), lambda: 2 * theirs.weight.square().sum()][  # noqa: B023
            : 1 if iteration % 2 else 2
        ]:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    assert_equal((module, theirs), atol=1e-14)
    again, _, resumed = make()
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    for one in (trainer, resumed):
        one.train_step(real(1)[0])
    assert_equal((module, again), atol=0)


def test_only_the_players_own_parameters_get_gradients() -> None:
    """Nothing else gets a gradient, and no ``requires_grad`` is changed, also of a network that is used frozen."""
    generator, discriminator = networks()
    frozen = nn.Linear(2, 2).double().requires_grad_(False)
    noted = dict[str, list[Tensor | None]]()

    def objective(batch: Tensor) -> Tensor:
        return discriminator(frozen(generator(torch.ones(4, 3, dtype=F64)))).mean()

    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: noted.update(d=[p.grad for p in discriminator.parameters()]))
    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator, "frozen": frozen},
        [training.Player("generator", optimizer, objective)],
    )
    before = copy.deepcopy(discriminator)
    trainer.train_step(real(1)[0])
    assert noted["d"] == [None] * 4
    assert frozen.weight.grad is None
    assert all(p.requires_grad for p in discriminator.parameters())
    assert not frozen.weight.requires_grad
    assert_equal((discriminator, before), atol=0)


class Pair(NamedTuple):
    """A user's own kind of batch."""

    a: Tensor
    b: Any


def test_batches_are_any_nest_of_tensors() -> None:
    """Named tuples, dicts, lists and tuples arrive as they were; what is not a tensor is passed on."""
    module, seen, player = follower()
    marker = object()
    batch = Pair(torch.ones(1), {"x": [torch.zeros(2), (torch.zeros(3), "name", marker)], "none": None})
    training.GameTrainer({"module": module}, [player]).train_step(batch)
    (given,) = seen
    assert isinstance(given, Pair)
    assert given.b["none"] is None
    assert given.b["x"][1][1:] == ("name", marker)
    assert [given.a.shape, given.b["x"][0].shape, given.b["x"][1][0].shape] == [(1,), (2,), (3,)]


@pytest.mark.parametrize("parts", [1, 2])
def test_metrics_are_detached_means_over_the_accumulated_batches(parts: int) -> None:
    """The scalar is the player's loss unless the objective names that; others are means of what was returned."""
    module = nn.Linear(1, 1)

    def objective(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total = module(batch).sum()
        return total, {"twice": 2 * batch.sum(), "named_loss": batch.sum() + 0 * total}

    trainer = training.GameTrainer(
        {"module": module},
        [
            training.Player("plain", torch.optim.SGD(module.parameters(), lr=0.0), lambda batch: module(batch).sum()),
            training.Player("named", torch.optim.SGD(module.parameters(), lr=0.0), objective),
        ],
        accumulate_grad_batches=parts,
    )
    batches = [torch.full((1, 1), float(value)) for value in range(1, parts + 1)]
    metrics = trainer.train_step(iter(batches))
    mean = sum(range(1, parts + 1)) / parts
    assert metrics["twice"].item() == 2 * mean
    assert metrics["named_loss"].item() == mean
    torch.testing.assert_close(metrics["plain_loss"], module(torch.full((1, 1), mean)).sum().detach())
    assert not any(value.requires_grad or value.ndim for value in metrics.values())


def test_the_norm_of_each_players_gradient_is_clipped() -> None:
    """With ``max_grad_norm`` no gradient is longer, and its direction stays."""
    module, _, _ = follower()
    player = training.Player("a", torch.optim.SGD(module.parameters(), lr=1.0), lambda batch: 100 * module.weight.sum())
    before = module.weight.item()
    training.GameTrainer({"module": module}, [player], max_grad_norm=0.5).train_step(torch.zeros(1))
    assert before - module.weight.item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_objectives_and_prepare_run_under_autocast(precision: Any) -> None:
    """Matrix products are half precision in both, and weights, gradients and losses float32."""
    generator, discriminator = (network.float() for network in networks())
    dtypes = set[torch.dtype]()

    def prepare(batch: Tensor) -> tuple[Tensor, Tensor]:
        fake = generator(torch.randn(len(batch), 3))
        dtypes.add(fake.dtype)
        return batch, fake

    def objective(pair: tuple[Tensor, Tensor]) -> Tensor:
        logits = discriminator(pair[1].detach())
        dtypes.add(logits.dtype)
        return LOSS.discriminator(discriminator(pair[0]), logits)

    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [training.Player("discriminator", adam(discriminator), objective)],
        prepare=prepare,
        precision=precision,
    )
    metrics = trainer.train_step(points() / 4)
    assert dtypes == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert metrics["discriminator_loss"].dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in discriminator.parameters())
    assert set(trainer.state_dict()["scalers"]) == ({"discriminator"} if precision == "fp16" else set())


def test_a_network_that_ran_without_gradients_still_learns_in_bf16() -> None:
    """Called under ``no_grad`` and then with gradients in one objective, a network gets its gradients.

    On torch 2.6 autocast's cache of weights takes them away without a word, so it is off there.
    """
    network = nn.Linear(2, 2)

    def objective(batch: Tensor) -> Tensor:
        with torch.no_grad():
            target = network(batch)
        return (network(batch) - target - 1).square().mean()

    player = training.Player("network", torch.optim.SGD(network.parameters(), lr=0.1), objective)
    training.GameTrainer({"network": network}, [player], precision="bf16").train_step(points())
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


class Pool(nn.Module):
    """A part that each process has for itself: the mean of what it saw."""

    per_process = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        """Move the mean towards the batch's, and add it."""
        with torch.no_grad():
            self.mean.lerp_(x.mean(0), 0.5)
        return x + self.mean


def with_pool() -> tuple[nn.Module, Pool, training.GameTrainer]:
    """A network that fits what a pool makes of its batches."""
    torch.manual_seed(rank())  # it is aligned to rank 0's
    network, pool = nn.Linear(2, 2).double(), Pool()
    player = training.Player("network", adam(network), lambda batch: (network(batch) - pool(batch)).square().mean())
    return network, pool, training.GameTrainer({"network": network, "pool": pool}, [player])


def pools_over_ranks() -> Any:
    """What each process has in its pool and network after some steps, and after a resume from the state."""
    network, pool, trainer = with_pool()
    batches = [batch + rank() for batch in real(6)]
    for batch in batches[:3]:
        trainer.train_step(batch)
    state = copy.deepcopy(trainer.state_dict())
    for batch in batches[3:]:
        trainer.train_step(batch)
    expected = network.weight.detach().clone(), pool.mean.clone()
    again, other, resumed = with_pool()
    resumed.load_state_dict(state)
    for batch in batches[3:]:
        resumed.train_step(batch)
    assert torch.equal(other.mean, expected[1])
    assert torch.equal(again.weight, expected[0])
    assert len(state["per_process"]) == world_size()
    return [value.tolist() for value in expected]


def test_a_part_of_each_process_is_not_aligned_and_saved_for_each(two_ranks: Ranks) -> None:
    """Two processes keep their own pools, equal weights, and both again after a resume."""
    (weight, pool), (other_weight, other_pool) = two_ranks(pools_over_ranks)
    assert weight == other_weight
    assert pool != other_pool
    torch.testing.assert_close(torch.tensor(other_pool) - torch.tensor(pool), torch.full((2,), 1 - 0.5**6))


def train_a_share(parts: int, reuse: bool) -> dict[str, Tensor]:
    """The weights after each rank trained on its part of each batch."""
    generator, discriminator = networks()
    table = torch.randn(64, 3, dtype=F64, generator=torch.Generator().manual_seed(3))

    def fakes(batch: Tensor) -> Tensor:
        return generator(table.chunk(world_size())[rank()])

    def of(batch: Any) -> tuple[Tensor, Tensor]:
        return batch if reuse else (batch, fakes(batch))

    def discriminator_objective(batch: Any) -> Tensor:
        samples, fake = of(batch)
        return LOSS.discriminator(discriminator(samples), discriminator(fake.detach()))

    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player("discriminator", adam(discriminator), discriminator_objective),
            training.Player("generator", adam(generator), lambda batch: LOSS.generator(discriminator(of(batch)[1]))),
            training.Player("twice", adam(generator), lambda batch: fakes(batch[0]).square().mean(), every=2),
        ],
        prepare=(lambda batch: (batch, fakes(batch))) if reuse else None,
        accumulate_grad_batches=parts,
    )
    stream = iter([points(64, seed=seed).double().chunk(world_size())[rank()] for seed in range(10 * parts)])
    for _ in range(10):
        trainer.train_step(stream)
    return generator.state_dict() | discriminator.state_dict()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("reuse", [False, True])
def test_two_processes_do_what_one_does(two_ranks: Ranks, parts: int, reuse: bool) -> None:
    """Two ranks with half a batch each end with the weights of one with the whole."""
    alone = train_a_share(parts, reuse)
    for theirs in two_ranks(train_a_share, parts, reuse):
        for name, value in theirs.items():
            torch.testing.assert_close(value, alone[name], atol=1e-10, rtol=1e-10, msg=name)


def test_a_resumed_game_goes_on_bit_for_bit() -> None:
    """A second trainer with the first one's state ends with its weights, half precision's scales included."""
    finals = []
    first = networks()
    trainer = gan(*first, reuse=True, precision="fp16", accumulate_grad_batches=2)
    torch.manual_seed(0)
    stream = iter(real(12))
    for _ in range(3):
        trainer.train_step(stream)
    second = networks(seed=9)
    resumed = gan(*second, reuse=True, precision="fp16", accumulate_grad_batches=2)
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    for one in (trainer, resumed):
        torch.manual_seed(1)
        stream = iter(real(6))
        finals.append([one.train_step(stream) for _ in range(3)])
    assert finals[0] == finals[1]
    assert resumed.iteration == 6
    assert_equal(*zip(first, second, strict=True), atol=0)


def test_fit_drives_it_with_checkpoints(tmp_path: Any) -> None:
    """A game that was stopped and resumed by ``fit`` ends with the weights of one that was not."""
    finals = []
    for stops in ([20], [7, 20]):
        for stop in stops:
            pair = networks()
            torch.manual_seed(5)
            training.fit(
                gan(*pair, reuse=True),
                real(8),
                iterations=stop,
                callbacks=[training.Checkpoint(tmp_path / str(len(stops)), every=5)],
                resume=True,
            )
        finals.append(pair)
    assert_equal(*zip(*finals, strict=True), atol=0)


def test_a_state_of_another_game_is_refused() -> None:
    """A module or an optimizer that is missing, new or of another kind is named."""
    one, _, player = follower()
    trainer = training.GameTrainer({"one": one}, [player])
    state = trainer.state_dict()
    with pytest.raises(CheckpointError, match="holds no other, only one"):
        training.GameTrainer({"one": one, "other": nn.Linear(1, 1)}, [player]).load_state_dict(state)
    more = training.GameTrainer({"one": one, "other": nn.Linear(1, 1)}, [player]).state_dict()
    with pytest.raises(CheckpointError, match="holds other, which this training does not have"):
        trainer.load_state_dict(more)
    changed = training.Player("follower", torch.optim.Adam(one.parameters()), player.objective)
    with pytest.raises(CheckpointError, match="follower_optimizer was SGD, not Adam"):
        training.GameTrainer({"one": one}, [changed]).load_state_dict(state)


MODULE = nn.Linear(1, 1)
SGD = torch.optim.SGD(MODULE.parameters(), lr=0.1)


def player(**changes: Any) -> training.Player:
    """A good player, with changes."""
    given = {"name": "a", "optimizer": SGD, "objective": lambda batch: MODULE(batch).sum()} | changes
    return training.Player(**given)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: player(name=""), ArgumentTypeError, r"name \(=''\)"),
        (lambda: player(optimizer=3), ArgumentTypeError, r"optimizer of a \(=3\)"),
        (lambda: player(objective=3), ArgumentTypeError, r"objective of a \(=3\)"),
        (lambda: player(objective=nn.Linear), ArgumentTypeError, "objective of a"),
        (lambda: player(steps=0), ArgumentValueError, r"steps \(=0\)"),
        (lambda: player(every=1.5), ArgumentValueError, r"every \(=1.5\)"),
        (lambda: player(steps=2, every=2), ArgumentValueError, r"steps \(=2\) and every \(=2\) of a"),
        (lambda: game(modules=[MODULE]), ArgumentTypeError, "modules.*dict"),
        (lambda: game(modules={"m": nn.Linear}), ArgumentTypeError, "modules holds m"),
        (lambda: game(modules={"m": 3}), ArgumentTypeError, r"modules holds m \(=3\)"),
        (lambda: game(modules={}), ArgumentValueError, "optimizer of a holds 2 of 2 parameters"),
        (lambda: game(modules={"m": nn.Linear(1, 1)}), ArgumentValueError, r"in none of modules \(m\)"),
        (lambda: game(players=[]), ArgumentTypeError, r"players \(=\[\]\)"),
        (lambda: game(players=[3]), ArgumentTypeError, r"players \(=\[3\]\)"),
        (lambda: game(players=player()), ArgumentTypeError, "players"),
        (lambda: game(players=[player(), player()]), ArgumentValueError, r"players \(=\['a', 'a'\]\).*different"),
        (lambda: game(prepare=3), ArgumentTypeError, r"prepare \(=3\)"),
        (lambda: game(accumulate_grad_batches=0), ArgumentValueError, r"accumulate_grad_batches \(=0\)"),
        (lambda: game(max_grad_norm=0), ArgumentValueError, r"max_grad_norm \(=0\)"),
        (lambda: game(precision="half"), ArgumentValueError, r"precision \(='half'\)"),
        (lambda: game(channels_last=1), ArgumentTypeError, r"channels_last \(=1\)"),
        (lambda: game(compile="yes"), ArgumentTypeError, r"compile \(='yes'\)"),
        (lambda: game(cuda_graph=True), ArgumentValueError, r"cuda_graph \(=True\) needs a CUDA device.*cpu"),
    ],
)
def test_a_wrong_argument_is_named(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    """Each argument that cannot work is answered at once, with its value."""
    with pytest.raises(error, match=words):
        make()


def game(**changes: Any) -> training.GameTrainer:
    """A good game, with changes."""
    given: dict[str, Any] = {"modules": {"m": MODULE}, "players": [player()]} | changes
    return training.GameTrainer(given.pop("modules"), given.pop("players"), **given)


@pytest.mark.parametrize(
    ("objective", "error", "words"),
    [
        (lambda batch: 3.0, ArgumentTypeError, "objective of a gave 3.0, a float"),
        (lambda batch: None, ArgumentTypeError, "objective of a gave None"),
        (lambda batch: MODULE(batch), ShapeError, r"objective of a gave a tensor \(4, 1\)"),
        (lambda batch: batch.sum(), ArgumentValueError, "does not depend on any parameter"),
        (lambda batch: OTHER(batch).sum(), ArgumentValueError, "does not depend on any of the 2 parameters"),
        (lambda batch: (MODULE(batch).sum(), 3), ArgumentTypeError, "metrics 3; they must be a dict"),
        (lambda batch: (MODULE(batch).sum(), {"x": 3}), ArgumentTypeError, "metric x of a gave 3"),
        (lambda batch: (MODULE(batch).sum(), {"x": batch}), ShapeError, "metric x of a"),
    ],
)
def test_what_an_objective_returns_is_validated(objective: Any, error: type[Exception], words: str) -> None:
    """At its first real call, before any weight has moved, and with the player's name."""
    before = copy.deepcopy(MODULE.state_dict())
    with pytest.raises(error, match=words):
        game(players=[player(objective=objective)]).train_step(torch.ones(4, 1))
    assert all(torch.equal(value, before[name]) for name, value in MODULE.state_dict().items())


OTHER = nn.Linear(1, 1)


def test_one_name_for_two_players_metrics_is_an_error() -> None:
    """Two players that both name a metric are told which, before one overwrites the other."""
    players = [
        player(objective=lambda batch: (MODULE(batch).sum(), {"l1": batch.sum()})),
        player(name="b", objective=lambda batch: (MODULE(batch).sum(), {"l1": batch.sum()})),
    ]
    with pytest.raises(ArgumentValueError, match="objective of b gives the metric 'l1', which a gives"):
        game(players=players).train_step(torch.ones(4, 1))


def test_too_few_batches_are_answered() -> None:
    """An iterator that ends within an iteration is a clear error; one batch is not enough for two."""
    trainer = game(accumulate_grad_batches=2)

    def one() -> Iterator[Tensor]:
        yield torch.ones(4, 1)

    for batches in (one(), torch.ones(4, 1)):
        with pytest.raises(BatchesExhaustedError, match=r"needs 2 of them, accumulate_grad_batches \(=2\)"):
            trainer.train_step(batches)
    assert trainer.iteration == 0


def test_a_loader_in_place_of_a_batch_is_answered() -> None:
    """A whole loader is neither a batch nor an iterator, and the error says what to give."""
    loader = torch.utils.data.DataLoader([torch.ones(1)] * 4, 2)
    with pytest.raises(ArgumentTypeError, match=r"got a DataLoader: give it iter\(loader\)"):
        game().train_step(loader)
    game().train_step(iter(loader))


def test_settings_cannot_be_changed_by_halves() -> None:
    """An assignment that would do nothing is an error."""
    trainer = game()
    with pytest.raises(AttributeError):
        trainer.precision = "bf16"
    with pytest.raises(AttributeError):
        trainer.prepare = None


def test_a_stateful_part_that_is_not_a_module_is_saved() -> None:
    """Whatever has state_dict and load_state_dict goes with the state."""

    class Counter:
        """Counts."""

        def __init__(self) -> None:
            self.count = torch.zeros(())

        def state_dict(self) -> dict[str, Any]:
            """The count."""
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            """Go back."""
            self.count = state["count"]

    one, other = Counter(), Counter()
    one.count += 3
    trainer = game(modules={"m": MODULE, "counter": one})
    state = trainer.state_dict()
    game(modules={**trainer.modules, "counter": other}).load_state_dict(state)
    assert other.count == 3


def rich_game(device: str, **options: Any) -> tuple[nn.Module, nn.Module, training.GameTrainer]:
    """A game with shared fakes, two steps, a lazy player with a shared optimizer, and dict batches."""
    generator, discriminator = (network.to(device) for network in networks())
    # What is recorded is made as users make it, and what it is compared with so that it rounds as a recording does.
    form: dict[str, Any] = {} if options.get("cuda_graph") else {"capturable": True, "foreach": True}
    optimizers = [torch.optim.Adam(network.parameters(), lr=2**-7, **form) for network in (generator, discriminator)]
    weight = torch.tensor(0.5, device=device)

    def prepare(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return batch | {"fake": generator(batch["latent"])}

    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player(
                "discriminator",
                optimizers[1],
                lambda batch: LOSS.discriminator(discriminator(batch["real"]), discriminator(batch["fake"].detach())),
                steps=2,
            ),
            training.Player("generator", optimizers[0], lambda batch: LOSS.generator(discriminator(batch["fake"]))),
            training.Player(
                "lazy", optimizers[0], lambda batch: weight * generator(batch["latent"]).square().mean(), every=3
            ),
        ],
        prepare=prepare,
        **options,
    )
    return generator, discriminator, trainer


def rich_batches(device: str) -> list[dict[str, Tensor]]:
    """Batches for it, with their latents."""
    numbers = torch.Generator().manual_seed(2)
    latents = [torch.randn(32, 3, generator=numbers, dtype=F64) for _ in range(40)]
    return [{"real": x.to(device), "latent": z.to(device)} for x, z in zip(real(40), latents, strict=True)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_recorded_game_trains_as_single_launches_do(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of iteration is recorded, and run with new batches; weights and metrics are those of ordinary ones."""
    if device == "cpu":
        stand_in(monkeypatch)
        capturable_on_cpu(monkeypatch)
    results = []
    for cuda_graph in (False, True):
        generator, discriminator, trainer = rich_game(device, cuda_graph=cuda_graph)
        stream = iter(rich_batches(device))
        metrics = [trainer.train_step(stream) for _ in range(20)]
        results.append([*generator.parameters(), *discriminator.parameters(), *(m[k] for m in metrics for k in m)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_no_iteration_waits_for_the_device(cuda_graph: bool, sync_debug_mode: Callable[[str], None]) -> None:
    """Neither single launches nor recordings synchronize with the host."""
    _, _, trainer = rich_game("cuda", cuda_graph=cuda_graph, max_grad_norm=1.0)
    stream = iter(rich_batches("cuda"))
    for _ in range(14):  # both kinds are warm, and recorded
        trainer.train_step(stream)
    sync_debug_mode("error")
    for _ in range(6):
        trainer.train_step(stream)
    sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_game_trains_on_cuda_in_half_precision(precision: Any) -> None:
    """Twenty iterations stay close to those in float32."""
    results = []
    for name in ("fp32", precision):
        generator, discriminator, trainer = rich_game("cuda", precision=name)
        for network in (generator, discriminator):
            network.float()
        stream = iter([{key: value.float() for key, value in batch.items()} for batch in rich_batches("cuda")])
        for _ in range(20):
            metrics = trainer.train_step(stream)
        assert all(value.isfinite() for value in metrics.values())
        results.append(torch.cat([p.flatten() for p in generator.parameters()]))
    torch.testing.assert_close(*results, rtol=0.1, atol=0.1)


def lazy_r1_over_ranks() -> list[Tensor]:
    """The weights of a discriminator whose lazy R1 is a second player of its optimizer, and uses no last bias."""
    generator, discriminator = networks()
    optimizer = adam(discriminator)
    r1 = penalties.R1(1.0)

    def objective(x: Tensor) -> Tensor:
        return LOSS.discriminator(discriminator(x), discriminator(-x))

    trainer = training.GameTrainer(
        {"generator": generator, "discriminator": discriminator},
        [
            training.Player(
                "discriminator", optimizer, lambda x: LOSS.discriminator(discriminator(x), discriminator(-x))
            ),
            training.Player("r1", optimizer, lambda x: 4 * r1(discriminator, x, x), every=4),
        ],
    )
    for seed in range(9):
        trainer.train_step(points(64, seed=seed).double().chunk(world_size())[rank()])
    return [p.detach() for p in discriminator.parameters()]


def test_a_lazy_regularizer_may_leave_parameters_out_over_processes(two_ranks: Ranks) -> None:
    """Two players of one optimizer, of which one has no gradient for the last bias, train as in one process."""
    alone = lazy_r1_over_ranks()
    for theirs in two_ranks(lazy_r1_over_ranks):
        for own, its in zip(alone, theirs, strict=True):
            torch.testing.assert_close(own, its, atol=1e-10, rtol=1e-10)


def metrics_in_another_order() -> dict[str, float]:
    """Metrics whose dict has another order in each process."""
    names = ["a", "b"] if rank() else ["b", "a"]
    values = {"a": 1.0, "b": 100.0}
    module = nn.Linear(1, 1)
    one = training.Player(
        "p",
        torch.optim.SGD(module.parameters(), lr=0.1),
        lambda x: (module(x).sum(), {name: torch.tensor(values[name]) for name in names}),
    )
    metrics = training.GameTrainer({"m": module}, [one]).train_step(torch.ones(2, 1))
    return {name: metrics[name].item() for name in values}


def test_metrics_are_matched_by_name_over_processes(two_ranks: Ranks) -> None:
    """Each mean is that of one metric, whatever the order in which a process returns them."""
    assert two_ranks(metrics_in_another_order) == [{"a": 1.0, "b": 100.0}] * 2


def test_counts_are_metrics_too() -> None:
    """Whole numbers are averaged over accumulated batches as others are."""
    objective = lambda batch: (MODULE(batch).sum(), {"count": torch.tensor(len(batch))})  # noqa: E731
    trainer = game(players=[player(objective=objective)], accumulate_grad_batches=2)
    assert trainer.train_step(iter([torch.ones(3, 1), torch.ones(4, 1)]))["count"].item() == 3.5


def test_an_autocast_of_the_users_around_a_step_changes_nothing() -> None:
    """The cache of cast weights of an outer autocast must not outlive the updates that change the weights."""
    finals = []
    for outer in (False, True):
        torch.manual_seed(0)
        module, x = nn.Linear(4, 1), points(64).repeat(1, 2)
        objective = lambda b, module=module: (module(b) - b.sum(1, keepdim=True)).float().square().mean()  # noqa: E731
        one = training.Player("p", torch.optim.SGD(module.parameters(), lr=0.01), objective)
        trainer = training.GameTrainer({"m": module}, [one], precision="bf16")
        with torch.autocast("cpu", torch.bfloat16, enabled=outer):
            for _ in range(20):
                trainer.train_step(x)
        finals.append(module.weight.detach())
    assert torch.equal(*finals)


def test_a_tensor_learning_rate_stays_the_same_tensor_over_a_resume() -> None:
    """A Schedule, or a graph, holds this very tensor: loading a state writes into it."""
    rate = torch.tensor(0.5)
    one = player(optimizer=torch.optim.Adam(MODULE.parameters(), lr=rate))
    trainer = game(players=[one])
    trainer.train_step(torch.ones(4, 1))
    state = copy.deepcopy(trainer.state_dict())
    rate.fill_(0.1)
    trainer.load_state_dict(state)
    assert one.optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


@pytest.mark.parametrize("state", [{}, {"format": 3, "run": {}}, {"iteration": 3}])
def test_what_is_not_a_state_is_refused(state: dict[str, Any]) -> None:
    """A whole checkpoint file, say, is not a trainer's state, which is said."""
    with pytest.raises(CheckpointError, match="it is not the state of a trainer"):
        game().load_state_dict(state)


@pytest.mark.parametrize("name", ["iteration", "epoch"])
def test_names_of_the_tables_own_columns_are_refused(name: str) -> None:
    """A metric called as a column of metrics.csv would make a table that cannot be read back."""
    with pytest.raises(ArgumentValueError, match=f"{name}.*which the run gives already"):
        game(players=[player(objective=lambda b: (MODULE(b).sum(), {name: b.sum()}))]).train_step(torch.ones(4, 1))


@pytest.mark.parametrize("inside", [False, True])
def test_a_network_that_is_wrapped_for_several_processes_is_refused(inside: bool) -> None:
    """The trainer averages over processes itself: give the bare network."""
    network = nn.Linear(2, 2)
    wrapped = object.__new__(DistributedDataParallel)  # it cannot be made without a group of processes
    nn.Module.__init__(wrapped)
    wrapped.module = network
    player = training.Player("one", torch.optim.SGD(network.parameters(), lr=0.1), lambda batch: wrapped(batch).mean())
    with pytest.raises(ArgumentTypeError, match="network, in which a DistributedDataParallel .* bare network"):
        training.GameTrainer({"network": nn.Sequential(wrapped) if inside else wrapped}, [player])


def test_networks_on_several_devices_of_one_process(tmp_path: Path) -> None:
    """It trains as the plain ones do, and its checkpoint is theirs."""

    def train(wrap: Any, iterations: int, folder: Path) -> dict[str, Any]:
        torch.manual_seed(0)
        generator, discriminator = wrap(nn.Linear(3, 2)), wrap(nn.Linear(2, 1))
        trainer = make_trainer(generator, discriminator)
        callbacks = [training.Checkpoint(folder)]
        training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True)
        modules: dict[str, Any] = trainer.state_dict()["modules"]
        return modules

    expected = train(lambda network: network, 4, tmp_path / "plain")
    train(nn.DataParallel, 2, tmp_path / "wrapped")
    found = train(lambda network: network, 4, tmp_path / "wrapped")
    for name, state in expected.items():
        assert state.keys() == found[name].keys()
        assert all(torch.equal(value, found[name][key]) for key, value in state.items())


def test_optimizers_are_there_by_name() -> None:
    """Each once, by the first player that has it; the dict is a copy."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    players = [training.Player(name, optimizer, lambda batch: network(batch).mean()) for name in ("one", "two")]
    trainer = training.GameTrainer({"network": network}, players)
    trainer.optimizers.clear()
    assert trainer.optimizers == {"one_optimizer": optimizer}

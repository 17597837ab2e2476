"""What the name of a precision does to a step."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Step
from ganlib.training import GameTrainer, Player
from ganlib.training._step._precision import Precision, weight_cache_loses_gradients
from tests.training.players import MyHinge, make_players, make_trainer, points, weights

# The last layer of these generators is linear.
pytestmark = pytest.mark.filterwarnings("ignore:generator gives samples in")


@pytest.mark.parametrize("name", ["half", "FP32", None])
def test_another_name_is_refused(name: Any) -> None:
    """The error has the argument's name, its value, and the names that there are."""
    with pytest.raises(ArgumentValueError, match=rf"precision \(={name!r}\) must be 'fp32', 'tf32', 'bf16' or 'fp16'"):
        make_trainer(precision=name)


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_of_the_networks_alone(name: Any, dtype: torch.dtype) -> None:
    """Layers compute in half precision; losses, penalties, auxiliary losses, metrics and weights are float32."""
    computed: list[torch.dtype] = []
    given: set[tuple[str, torch.dtype]] = set()

    class Spy(losses.NonSaturatingLoss):
        """Notes what it is given."""

        def discriminator(self, real_logits: Any, fake_logits: Any) -> Tensor:
            """Note."""
            given.update((("real logits", real_logits.dtype), ("fake logits", fake_logits.dtype)))
            return super().discriminator(real_logits, fake_logits)

        def generator(self, fake_logits: Any, real_logits: Any = None) -> Tensor:
            """Note."""
            given.add(("generator's logits", fake_logits.dtype))
            return super().generator(fake_logits)

    def penalty(discriminator: Any, real: Tensor, fake: Tensor, *conditions: Any) -> Tensor:
        before = len(computed)
        output = discriminator(fake)
        given.update(("penalty", dtype) for dtype in (real.dtype, fake.dtype, output.dtype, *computed[before:]))
        del computed[before:]
        return output.square().mean()

    class Auxiliary:
        """Notes what it is given."""

        weight = 1.0

        def discriminator(self, step: Step) -> Tensor:
            """Note."""
            product = torch.mm(step.real, step.real.T)
            given.update(("auxiliary loss", part.dtype) for part in (step.real, step.fake_output.logits, product))
            return step.fake_output.logits.mean()

        generator = discriminator

    generator, discriminator = make_players()
    discriminator[0].register_forward_hook(lambda _, __, output: computed.append(output.dtype))
    trainer = make_trainer(
        generator, discriminator, loss=Spy(), penalties=[penalty], auxiliary_losses=[Auxiliary()], precision=name
    )
    metrics = trainer.train_step(iter([points()]))
    assert {*computed} == {dtype}
    parts = ("real logits", "fake logits", "generator's logits", "penalty", "auxiliary loss")
    assert given == {(part, torch.float32) for part in parts}
    assert {value.dtype for value in metrics.values()} == {torch.float32}
    assert {p.dtype for p in (*generator.parameters(), *discriminator.parameters())} == {torch.float32}


def test_fp16_trains_as_fp32_does() -> None:
    """From the same weights and draws, twenty steps in fp16 stay within a hundredth of those in fp32."""
    results = []
    for name in ("fp32", "fp16"):
        generator, discriminator = make_players()
        discriminator[2] = nn.Identity()
        trainer = make_trainer(generator, discriminator, precision=name)
        torch.manual_seed(0)
        results.append([trainer.train_step(iter([points(seed=seed)])) for seed in range(20)][-1])
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=0, atol=1e-2)


def test_fp16_keeps_gradients_that_fp16_alone_would_lose() -> None:
    """A loss of 1e-7 times the logits has a gradient in fp16, whose least number is 6e-8, thanks to the scaling."""

    class Faint:
        """Losses whose gradients are below fp16's range."""

        def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
            """Of the discriminator."""
            return (fake - real).mean() * 1e-7

        def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
            """Of the generator."""
            return -fake.mean() * 1e-7

    gradients = []
    for name in ("fp32", "fp16"):
        generator, discriminator = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        torch.manual_seed(0)
        for p in (*generator.parameters(), *discriminator.parameters()):
            nn.init.normal_(p, std=0.3)
        trainer = make_trainer(generator, discriminator, loss=Faint(), precision=name)
        trainer.train_step(iter([points()]))
        gradients.append(torch.cat([p.grad.flatten() for p in generator.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.05, atol=0)


def test_a_step_whose_gradients_overflow_is_skipped() -> None:
    """Where gradients are not finite in fp16 the player's weights stay, its scale is halved, and the other goes on."""

    class Huge(MyHinge):
        """A discriminator's loss whose scaled gradients overflow."""

        def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
            """Multiply."""
            return 1e4 * super().discriminator(real, fake)

    trainer = make_trainer(loss=Huge(), precision="fp16")
    before = weights(trainer)
    trainer.train_step(iter([points()]))
    after = weights(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("discriminator"))
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("generator"))
    scalers = trainer.state_dict()["scalers"]
    assert scalers["discriminator"]["scale"] == scalers["generator"]["scale"] / 2


def test_clipping_is_of_gradients_that_are_not_scaled() -> None:
    """Under fp16 the clipped gradient has the norm that was asked for, whatever the scale."""
    trainer = make_trainer(max_grad_norm=1e-3, precision="fp16")
    trainer.train_step(iter([points()]))
    for network in (trainer.generator, trainer.discriminator):
        norm = torch.stack([p.grad.norm() for p in network.parameters()]).norm().item()
        assert norm == pytest.approx(1e-3, rel=1e-2)


def test_fp16_resumes_exactly_with_its_scales() -> None:
    """A trainer that is given the state, with the scales, goes on as the first one does."""
    first = make_trainer(precision="fp16")
    for seed in range(3):
        first.train_step(iter([points(seed=seed)]))
    second = make_trainer(*make_players(seed=1), precision="fp16")
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for trainer in (first, second):
        torch.manual_seed(5)
        trainer.train_step(iter([points(seed=9)]))
    assert first.state_dict()["scalers"] == second.state_dict()["scalers"]
    assert {*first.state_dict()["scalers"]} == {"generator", "discriminator"}
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_another_precision_than_the_state_is_warned_of() -> None:
    """A state of fp32 can be gone on with in fp16, and the other way round, with a warning that says so."""
    states = {name: make_trainer(precision=name).state_dict() for name in ("fp32", "fp16")}
    for name, other in (("fp32", "fp16"), ("fp16", "fp32")):
        trainer = make_trainer(precision=name)
        with pytest.warns(UserWarning, match=rf"its precision was {other}, and is {name} now"):
            trainer.load_state_dict(copy.deepcopy(states[other]))
        trainer.train_step(iter([points()]))


def test_tf32_is_allowed_within_a_step_alone() -> None:
    """In a step matrix products may be rounded; before and after it they are as they were."""
    seen: list[str] = []
    generator, discriminator = make_players()
    generator.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    trainer = make_trainer(generator, discriminator, precision="tf32")
    before = torch.get_float32_matmul_precision()
    trainer.train_step(iter([points()]))
    assert before == torch.get_float32_matmul_precision() == "highest"
    assert seen[-2:] == ["high", "high"]  # the dry run before them is not a step


def test_an_autocast_around_a_step_does_not_reach_fp32() -> None:
    """A step in fp32 within somebody's autocast runs its networks in float32."""
    seen: list[torch.dtype] = []
    generator, discriminator = make_players()
    discriminator.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    trainer = make_trainer(generator, discriminator)
    with torch.autocast("cpu", torch.bfloat16):
        trainer.train_step(iter([points()]))
    assert {*seen} == {torch.float32}


def test_scalers_are_for_fp16_alone() -> None:
    """Each player has a scaler of its own in fp16, and none otherwise."""
    assert [Precision(name).scaler("cpu") for name in ("fp32", "tf32", "bf16")] == [None] * 3  # type: ignore[arg-type]
    assert isinstance(Precision("fp16").scaler("cpu"), torch.amp.GradScaler)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_that_ran_without_gradients_learns_in_the_same_objective(precision: Any) -> None:
    """A teacher's output, which a network gives under ``no_grad`` first, does not keep that network from learning."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Linear(2, 2, bias=False)
    before = network.weight.detach().clone()

    def objective(batch: Tensor) -> Tensor:
        with torch.no_grad():
            target = network(batch)
        return (network(2 * batch) - target).float().square().mean()

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    trainer = GameTrainer({"network": network}, [Player("student", optimizer, objective)], precision=precision)
    batch = points(4)
    trainer.train_step(batch)
    output = batch @ before.T
    # The mean of (W 2x - y)^2 over samples and outputs, at y = W x.
    expected = 2 * (2 * output - output).T @ (2 * batch) / output.numel()
    torch.testing.assert_close(network.weight.grad, expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(network.weight.detach(), before - 0.1 * network.weight.grad)


def test_the_probe_says_what_torch_does() -> None:
    """It is true where a layer that autocast ran under ``no_grad`` has no graph later, and false where it has one."""
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            layer(x)
        made = layer(x).sum()  # where weight and bias were both cached without a graph, it has none at all
    gradient = torch.autograd.grad(made, layer.weight, allow_unused=True)[0] if made.requires_grad else None
    assert weight_cache_loses_gradients() is (gradient is None)
    if not weight_cache_loses_gradients():
        assert torch.equal(gradient, torch.ones(2, 2))


def test_the_probe_does_not_depend_on_what_is_around_it() -> None:
    """Inside ``no_grad`` or an autocast it says the same."""
    expected = weight_cache_loses_gradients()
    for context in (torch.no_grad(), torch.autocast("cpu", torch.bfloat16)):
        weight_cache_loses_gradients.cache_clear()
        with context:
            assert weight_cache_loses_gradients() is expected

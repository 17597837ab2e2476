"""What a word for a precision does to a step."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import losses, penalties
from ganlib.errors import ArgumentValueError
from ganlib.training._precision import Precision
from tests.training.players import MyHinge, make_players, make_trainer, points, weights

# The last layer of these generators is linear.
pytestmark = pytest.mark.filterwarnings("ignore:generator gives samples in")


@pytest.mark.parametrize("word", ["half", "FP32", None])
def test_another_word_is_refused(word: Any) -> None:
    """Any other word is answered with the argument's name, its value, and the words that there are."""
    with pytest.raises(ArgumentValueError, match=rf"precision \(={word!r}\) must be 'fp32', 'tf32', 'bf16' or 'fp16'"):
        make_trainer(precision=word)


@pytest.mark.parametrize(("word", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_of_the_networks_alone(word: Any, dtype: torch.dtype) -> None:
    """Layers answer in half precision; the loss, the penalty's pass and all metrics are float32, and so are weights."""
    answers: list[torch.dtype] = []
    given: list[torch.dtype] = []

    class Spy(losses.NonSaturatingLoss):
        """Notes what it is given."""

        def discriminator(self, real_logits: Any, fake_logits: Any) -> Tensor:
            """Note."""
            given.append(real_logits.dtype)
            return super().discriminator(real_logits, fake_logits)

    generator, discriminator = make_players()
    trainer = make_trainer(generator, discriminator, loss=Spy(), penalties=[penalties.R1(1.0)], precision=word)
    trainer.train_step(iter([points()]))
    discriminator[0].register_forward_hook(lambda _, __, output: answers.append(output.dtype))
    metrics = trainer.train_step(iter([points()]))
    # Real, fake, the penalty, and fakes again in the generator's update.
    assert answers == [dtype, dtype, torch.float32, dtype]
    assert {*given} == {torch.float32}
    assert {value.dtype for value in metrics.values()} == {torch.float32}
    assert {p.dtype for p in generator.parameters()} == {torch.float32}


def test_fp16_trains_as_fp32_does() -> None:
    """From the same weights and draws, twenty steps in fp16 stay within a hundredth of those in fp32."""
    results = []
    for word in ("fp32", "fp16"):
        generator, discriminator = make_players()
        discriminator[2] = nn.Identity()
        trainer = make_trainer(generator, discriminator, precision=word)
        torch.manual_seed(0)
        results.append([trainer.train_step(iter([points(seed=seed)])) for seed in range(20)][-1])
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=0, atol=1e-2)


def test_fp16_keeps_gradients_that_fp16_alone_would_lose() -> None:
    """A loss of 1e-7 times the logits has no gradient in fp16, where the least number is 6e-8, but for the scaling."""

    class Faint:
        """Losses whose gradients are below fp16's range."""

        def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
            """Of the discriminator."""
            return (fake - real).mean() * 1e-7

        def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
            """Of the generator."""
            return -fake.mean() * 1e-7

    gradients = []
    for word in ("fp32", "fp16"):
        generator, discriminator = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        torch.manual_seed(0)
        for p in (*generator.parameters(), *discriminator.parameters()):
            nn.init.normal_(p, std=0.3)
        trainer = make_trainer(generator, discriminator, loss=Faint(), precision=word)
        trainer.train_step(iter([points()]))
        gradients.append(torch.cat([p.grad.flatten() for p in generator.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.05, atol=0)


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
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
    state = trainer.state_dict()
    assert state["discriminator_scaler"]["scale"] == state["generator_scaler"]["scale"] / 2


def test_clipping_is_of_gradients_that_are_not_scaled() -> None:
    """Under fp16 the clipped gradient has the norm that was asked for, whatever the scale."""
    trainer = make_trainer(clip_norm=1e-3, precision="fp16")
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
    assert first.state_dict()["generator_scaler"] == second.state_dict()["generator_scaler"]
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_another_precision_than_the_state_is_warned_of() -> None:
    """A state of fp32 can be gone on with in fp16, and the other way round, with a warning that says so."""
    states = {word: make_trainer(precision=word).state_dict() for word in ("fp32", "fp16")}
    for word, other in (("fp32", "fp16"), ("fp16", "fp32")):
        trainer = make_trainer(precision=word)
        with pytest.warns(UserWarning, match=rf"its precision was {other}, and is {word} now"):
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
    assert seen[-2:] == ["high", "high"]  # the rehearsal before them is no step


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
    assert [Precision(word).scaler("cpu") for word in ("fp32", "tf32", "bf16")] == [None] * 3  # type: ignore[arg-type]
    assert isinstance(Precision("fp16").scaler("cpu"), torch.amp.GradScaler)

"""Tests of what is special to LeCam regularisation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganlib import latents, losses, training
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError
from ganlib.penalties import LeCam
from ganlib.protocols import AuxiliaryLoss, DiscriminatorOutput, Penalty, Stateful, Step
from tests import strategies

F64 = torch.float64


def distance(lecam, real, fake):
    """The value of logits without the weight, as an auxiliary loss has it."""
    samples = torch.zeros(1, 1)
    return lecam.discriminator(Step(samples, samples, real, fake))


def in_float64(batches, decay, clipped=False):
    """The values of calls with these (real, fake) logits, by a plain loop in float64."""
    alpha_real = alpha_fake = None
    for real, fake in batches:
        real, fake = real.double(), fake.double()
        if alpha_real is None:
            alpha_real, alpha_fake = real.mean(), fake.mean()
        else:
            alpha_real = decay * alpha_real + (1 - decay) * real.mean()
            alpha_fake = decay * alpha_fake + (1 - decay) * fake.mean()
        above, below = real - alpha_fake, alpha_real - fake
        if clipped:
            above, below = above.clamp(min=0), below.clamp(min=0)
        yield (above**2).mean() + (below**2).mean(), alpha_real, alpha_fake


def batches(n=20, shape=(6, 1), seed=0):
    """Batches of real and fake logits, drifting apart."""
    random = torch.Generator().manual_seed(seed)
    for i in range(n):
        yield torch.randn(shape, generator=random) + 0.1 * i, torch.randn(shape, generator=random) - 0.2 * i


@given(strategies.logits(20, dtype=F64), strategies.logits(20, dtype=F64))
def test_the_first_call_knows_the_first_batch_alone(real, fake):
    """At first the running means are the batch's: mean (r - mean f)^2 + mean (f - mean r)^2, for any shapes."""
    expected = ((real - fake.mean()) ** 2).mean() + ((fake - real.mean()) ** 2).mean()

    assert torch.allclose(expected, distance(LeCam(), real, fake), rtol=1e-5, atol=1e-5)


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_max=True), st.booleans(), strategies.seeds)
def test_the_running_means_are_those_of_a_plain_loop(decay, clipped, seed):
    """Over 20 batches values and means are those of a loop in float64 that begins with the first batch's means."""
    lecam = LeCam(decay=decay, clipped=clipped)
    expected = in_float64(batches(seed=seed), decay, clipped)

    for (real, fake), (value, alpha_real, alpha_fake) in zip(batches(seed=seed), expected, strict=True):
        actual = distance(lecam, real, fake)

        assert pytest.approx(value.item(), rel=1e-4, abs=1e-5) == actual.item()
        assert pytest.approx(alpha_real.item(), rel=1e-4, abs=1e-5) == lecam.real_means.item()
        assert pytest.approx(alpha_fake.item(), rel=1e-4, abs=1e-5) == lecam.fake_means.item()


def test_known_numbers():
    """With decay 0.5, real logits of 1 then 3 and fake ones of 0 have means of 2 and 0: 3^2 + 2^2."""
    lecam = LeCam(decay=0.5)
    zeros = torch.zeros(4, 1)

    assert distance(lecam, torch.ones(4, 1), zeros).item() == 2.0
    assert distance(lecam, torch.full((4, 1), 3.0), zeros).item() == 13.0
    assert (lecam.real_means.item(), lecam.fake_means.item()) == (2.0, 0.0)


def test_a_difference_on_the_other_side_is_clipped():
    """Clipped, real logits below the fakes' mean and fake ones above the real ones' cost nothing; others as before."""
    high, low = torch.full((4, 1), 2.0), torch.full((4, 1), -1.0)

    assert distance(LeCam(clipped=True), low, high).item() == 0.0
    assert distance(LeCam(clipped=False), low, high).item() == 18.0
    assert distance(LeCam(clipped=True), high, low).item() == 18.0


@settings(max_examples=20)
@given(strategies.seeds)
def test_each_scale_has_its_own_means(seed):
    """The value of several scales is the sum of those of as many regularisers with one."""
    shapes = [(6, 1), (6, 1, 2, 2), (6,)]
    together, apart = LeCam(num_scales=3), [LeCam() for _ in shapes]
    for scales in zip(*(batches(5, shape, seed + i) for i, shape in enumerate(shapes)), strict=True):
        real, fake = zip(*scales, strict=True)
        expected = sum(distance(lecam, *scale) for lecam, scale in zip(apart, scales, strict=True))

        assert torch.allclose(expected, distance(together, real, fake))

    assert torch.allclose(torch.cat([lecam.real_means for lecam in apart]), together.real_means)
    assert torch.allclose(torch.cat([lecam.fake_means for lecam in apart]), together.fake_means)


def test_no_gradient_flows_through_the_means():
    """The means are constants: each logit's gradient is twice its distance from the other's, over their number."""
    real, fake = (x.requires_grad_() for x in next(batches()))
    lecam = LeCam()
    distance(lecam, real, fake).backward()

    assert not lecam.real_means.requires_grad
    assert torch.allclose(2 * (real - fake.mean()).detach() / 6, real.grad)
    assert torch.allclose(2 * (fake - real.mean()).detach() / 6, fake.grad)


def test_evaluation_mode_does_not_move_the_means():
    """In evaluation mode a call uses the means and leaves all buffers as they are."""
    lecam = LeCam(decay=0.5)
    distance(lecam, torch.ones(4, 1), torch.zeros(4, 1))
    lecam.eval()
    before = {name: value.clone() for name, value in lecam.state_dict().items()}

    actual = distance(lecam, torch.full((4, 1), 5.0), torch.full((4, 1), 3.0))

    assert actual.item() == (5 - 0) ** 2 + (3 - 1) ** 2
    assert {name: value.tolist() for name, value in before.items()} == {
        name: value.tolist() for name, value in lecam.state_dict().items()
    }


def test_in_training_mode_a_batchs_samples_meet_in_the_means():
    """One at a time, by regularisers of their own, samples cost something else than together."""
    real, fake = next(batches())
    alone = torch.stack([distance(LeCam(), r, f) for r, f in zip(real, fake, strict=True)]).mean()

    assert not torch.allclose(distance(LeCam(), real, fake), alone)


def test_its_state_brings_back_the_next_value():
    """Another one that is given its state goes on with the same values, also from before the first batch."""
    seen = list(batches())
    for n in (0, 1, 7):
        lecam, other = LeCam(), LeCam()
        for real, fake in seen[:n]:
            distance(lecam, real, fake)
        distance(other, torch.full((2, 1), 9.0), torch.full((2, 1), -9.0))
        other.load_state_dict(lecam.state_dict())

        for real, fake in seen[n:]:
            assert torch.equal(distance(lecam, real, fake), distance(other, real, fake))


def test_its_means_are_changed_in_place():
    """A CUDA graph reads and writes addresses, so no call replaces a buffer, and none is moved where it is right."""
    lecam = LeCam(decay=0.5)
    before = {name: (buffer, buffer.data_ptr()) for name, buffer in lecam.named_buffers()}
    for real, fake in batches(3):
        distance(lecam, real, fake)

    for name, buffer in lecam.named_buffers():
        assert before[name] == (buffer, buffer.data_ptr())
    assert lecam.started.item() == 1.0


def test_its_buffers_follow_the_logits_to_their_device():
    """At the first call the buffers are moved to the device of the logits."""
    lecam = LeCam()
    distance(lecam, torch.ones(4, 1, device="meta"), torch.zeros(4, 1, device="meta"))

    assert {buffer.device.type for buffer in lecam.buffers()} == {"meta"}


def test_it_needs_the_real_output():
    """A step without real output raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=r"step.real_output \(=None\) is missing"):
        distance(LeCam(), None, torch.zeros(4, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_widened(dtype):
    """Half-precision logits give the value of the same in float32, and means in float32."""
    real, fake = (300 * x.to(dtype) for x in next(batches()))
    lecam = LeCam()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = distance(lecam, real, fake)

    assert torch.float32 == actual.dtype == lecam.real_means.dtype
    assert torch.equal(distance(LeCam(), real.float(), fake.float()), actual)


def test_it_is_an_auxiliary_loss_and_a_penalty():
    """It is an AuxiliaryLoss and a Penalty, with a state; as a penalty, and by hand, it has the weight on it."""
    real, fake = next(batches())
    critic = nn.Linear(1, 1)
    lecam = LeCam(0.25)

    assert all(isinstance(lecam, protocol) for protocol in (AuxiliaryLoss, Penalty, Stateful))
    assert not getattr(lecam, "needs_real", False)
    expected = 0.25 * distance(LeCam(0.25), critic(real), critic(fake))
    assert torch.equal(expected, lecam(critic, real, fake))
    assert torch.equal(expected, LeCam(0.25).of(critic(real), critic(fake)))
    assert torch.equal(expected, LeCam(0.25).of(DiscriminatorOutput(critic(real)), (critic(fake),)))


@pytest.mark.parametrize(
    "logits", [torch.ones(4, 1), (torch.ones(4, 1), torch.ones(4, 2)), DiscriminatorOutput(torch.ones(4, 1))]
)
def test_the_generator_has_no_part_in_it(logits):
    """The generator's loss is 0 for any output of the discriminator, and moves no means."""
    lecam = LeCam()

    assert torch.equal(torch.zeros(()), lecam.generator(Step(torch.zeros(4, 2), torch.zeros(4, 2), None, logits)))
    assert (lecam.real_means.item(), lecam.started.item()) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("num_scales", "real", "fake"),
    [(1, 2, 2), (3, 2, 2), (2, 1, 2), (2, 2, 1)],
)
def test_another_number_of_scales_is_refused(num_scales, real, fake):
    """Logits of another number of scales raise an error that says how many there are; no mean is moved."""
    lecam = LeCam(num_scales=num_scales)
    with pytest.raises(ArgumentValueError) as caught:
        distance(lecam, (torch.ones(4, 1),) * real, (torch.ones(4, 1),) * fake)

    assert f"num_scales (={num_scales})" in str(caught.value)
    assert f"{real} of real samples and {fake} of fakes" in str(caught.value)
    assert isinstance(caught.value, GanlibError)
    assert lecam.started.item() == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, r"decay \(=1\.0\) must be in \[0, 1\)"),
        ({"decay": -0.1}, r"decay \(=-0\.1\)"),
        ({"decay": math.nan}, r"decay \(=nan\)"),
        ({"num_scales": 0}, r"num_scales \(=0\) must be a whole number"),
        ({"num_scales": 1.5}, r"num_scales \(=1\.5\)"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    """Arguments out of their ranges raise errors that name them."""
    with pytest.raises(ArgumentValueError, match=message) as caught:
        LeCam(**options)
    assert isinstance(caught.value, GanlibError)


def test_its_arguments_can_be_read():
    """The arguments are attributes and show in the repr."""
    lecam = LeCam(0.1, decay=0.9, clipped=True, num_scales=2, every=4)

    assert (lecam.weight, lecam.decay, lecam.clipped, lecam.num_scales, lecam.every) == (0.1, 0.9, True, 2, 4)
    assert repr(lecam) == "LeCam(weight=0.1, decay=0.9, clipped=True, num_scales=2, every=4)"


def make_trainer(**options):
    """A trainer of two networks without randomness of their own."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    discriminator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.05),
        torch.optim.SGD(discriminator.parameters(), lr=0.05),
        loss=losses.HingeLoss(),
        latent=latents.Gaussian(2),
        **options,
    )


def steps(trainer, n=6, seed=0):
    """The metrics of n steps of the same data."""
    torch.manual_seed(seed)
    return [trainer.train_step(iter([torch.randn(8, 3) + 1])) for _ in range(n)]


def test_as_an_auxiliary_loss_and_as_a_penalty_it_trains_equally():
    """With a discriminator without randomness both ways in give the same numbers; the penalty's hold the weight."""
    as_loss, as_penalty = LeCam(0.3, decay=0.5), LeCam(0.3, decay=0.5)
    by_loss, by_penalty = make_trainer(auxiliary_losses=[as_loss]), make_trainer(penalties=[as_penalty])
    without, values, value_of = make_trainer(), [], as_loss.discriminator
    as_loss.discriminator = lambda *arguments: values.append(value_of(*arguments)) or values[-1]
    steps(without)

    for auxiliary, penalty in zip(steps(by_loss), steps(by_penalty), strict=True):
        assert auxiliary.keys() == penalty.keys()
        assert torch.allclose(0.3 * values.pop(0), penalty["le_cam"], rtol=1e-4)
        assert all(
            torch.allclose(auxiliary[name], penalty[name], rtol=1e-4, atol=1e-6)
            for name in auxiliary.keys() - {"le_cam"}
        )

    assert torch.allclose(as_loss.real_means, as_penalty.real_means, rtol=1e-4)
    assert torch.allclose(as_loss.fake_means, as_penalty.fake_means, rtol=1e-4)
    for one, other, plain in zip(
        by_loss.discriminator.parameters(),
        by_penalty.discriminator.parameters(),
        without.discriminator.parameters(),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(one, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("argument", ["auxiliary_losses", "penalties"])
def test_the_trainers_state_holds_the_means(argument):
    """Its means are in the trainer's state, and a resumed trainer goes on bit for bit."""
    lecam, other = LeCam(), LeCam()
    trainer, resumed = make_trainer(**{argument: [lecam]}), make_trainer(**{argument: [other]})
    steps(trainer, seed=1)

    state = trainer.state_dict()
    resumed.load_state_dict(state)

    assert state["modules"][f"{argument}.0"]["real_means"].tolist() == lecam.real_means.tolist()
    assert torch.equal(lecam.real_means, other.real_means)
    assert lecam.started.item() == other.started.item() == 1.0
    for expected, actual in zip(steps(trainer), steps(resumed), strict=True):
        assert expected == actual


def test_the_state_of_another_number_of_scales_is_refused():
    """A trainer's state with means of one scale does not fit one of two."""
    state = make_trainer(auxiliary_losses=[LeCam()]).state_dict()
    with pytest.raises(CheckpointError, match=r"auxiliary_losses\.0 is of another LeCam"):
        make_trainer(auxiliary_losses=[LeCam(num_scales=2)]).load_state_dict(state)


def test_the_decay_may_be_a_tensor_that_changes():
    """Of a tensor the decay is that of its number, also after it was filled with another; its range is checked."""
    decay = torch.tensor(0.5)
    lecam = LeCam(decay=decay)
    for logits in (torch.ones(2, 1), 3 * torch.ones(2, 1)):  # the means begin as 1, and are then 2
        lecam.of(logits, -logits)
    assert lecam.real_means.item() == 2.0
    decay.fill_(0.75)
    lecam.of(6 * torch.ones(2, 1), torch.zeros(2, 1))

    assert (lecam.real_means.item(), lecam.fake_means.item()) == (3.0, -1.5)
    assert "decay=0.75" in repr(lecam)
    with pytest.raises(ArgumentValueError, match=r"^decay \(=1\.0\) must be in \[0, 1\)"):
        LeCam(decay=torch.tensor(1.0))

"""Tests of what is special to the hinge loss."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.losses import HingeLoss
from tests import strategies


@given(st.floats(1, 1e4, width=32), st.floats(-1e4, -1, width=32))
def test_beyond_the_margins_the_discriminator_rests(real, fake):
    """Real logits of at least 1 and fake ones of at most -1 cost nothing and have no gradient."""
    real, fake = (torch.full((3, 1), number, requires_grad=True) for number in (real, fake))
    loss = HingeLoss().discriminator(real, fake)
    loss.backward()

    assert loss.item() == 0.0
    assert 0.0 == real.grad.abs().max() == fake.grad.abs().max()


@given(strategies.logits(largest=0.875), strategies.logits(largest=0.875))
def test_within_the_margins_every_logit_pulls_equally(real, fake):
    """Between the margins each logit has a gradient of one over their number, real down and fake up."""
    real.requires_grad_()
    fake.requires_grad_()
    HingeLoss().discriminator(real, fake).backward()

    assert torch.allclose(torch.full_like(real, -1 / real.numel()), real.grad)
    assert torch.allclose(torch.full_like(fake, 1 / fake.numel()), fake.grad)


@given(strategies.logits())
def test_the_generator_knows_no_margin(fake):
    """The generator's gradient is minus one over the number of logits wherever they are."""
    fake.requires_grad_()
    HingeLoss().generator(fake).backward()

    assert torch.allclose(torch.full_like(fake, -1 / fake.numel()), fake.grad)

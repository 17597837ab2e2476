"""Tests of AC-GAN's discriminator."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import losses, stacks
from ganlib.conditioning import AuxiliaryClassifierHead
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import Discriminator, DiscriminatorOutput, Step

PLAN = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])  # its top is (4, 2, 1)


@given(st.lists(st.integers(1, 3), max_size=3).map(tuple), st.integers(1, 4), st.integers(1, 5))
def test_both_heads_are_linear_in_the_summed_features(spatial, features, num_classes):
    """Logit n is w.phi + b and class logit k is V_k.phi + v_k, phi being the sum over all places, and given out too."""
    head = AuxiliaryClassifierHead(nn.Identity(), features, num_classes).double()
    x = torch.randn(3, features, *spatial, dtype=torch.float64)

    output = head(x)

    for n in range(3):
        phi = [x[n, channel].sum() for channel in range(features)]
        logit = sum((w * p for w, p in zip(head.linear.weight[0], phi, strict=True)), head.linear.bias[0])
        assert torch.allclose(logit, output.logits[n, 0])
        for k in range(num_classes):
            row, bias = head.classify.weight[k], head.classify.bias[k]
            expected = sum((w * p for w, p in zip(row, phi, strict=True)), bias)
            assert torch.allclose(expected, output.class_logits[n, k])
        assert torch.allclose(torch.stack(phi), output.features[0][n])
    assert output.logits.shape == (3, 1)
    assert (3, num_classes) == output.class_logits.shape
    assert len(output.features) == 1


def test_around_our_stack():
    """Our stack with it is a Discriminator whose output has one logit, and a score of each class, a sample."""
    head = AuxiliaryClassifierHead(stacks.ConvStack(PLAN), 4, 10)

    output = head(torch.randn(5, 1, 8, 6), torch.tensor([3, 1, 4, 1, 5]))

    assert isinstance(head, Discriminator)
    assert isinstance(output, DiscriminatorOutput)
    assert [output.logits.shape, output.class_logits.shape, output.features[0].shape] == [(5, 1), (5, 10), (5, 4)]


@pytest.mark.parametrize("condition", [torch.tensor([0, 2, 1, 1]), torch.eye(4, 3)], ids=["classes", "tags"])
def test_it_learns_to_read_the_condition(condition):
    """The auxiliary loss of AC-GAN falls to near 0 on four samples: their classes, or tags, are learned."""
    torch.manual_seed(0)
    head, auxiliary = AuxiliaryClassifierHead(nn.Linear(6, 8), 8, 3), losses.AuxiliaryClassifier()
    optimizer, x = torch.optim.Adam(head.parameters(), lr=0.05), torch.randn(4, 6)
    values = []
    for _ in range(100):
        output = head(x, condition)
        value = auxiliary.discriminator(Step(x, x, output, output, condition))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())

    assert values[0] > 0.5
    assert values[-1] < 0.1


def test_a_backbone_with_other_features_is_refused():
    """A backbone that does not give the features announced raises an error with both numbers."""
    with pytest.raises(ShapeError, match=r"gives 5 features, but features \(=4\)") as caught:
        AuxiliaryClassifierHead(nn.Identity(), 4, 10)(torch.zeros(2, 5, 3))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(("name", "value"), [("features", 0), ("num_classes", 0), ("num_classes", 2.5)])
def test_bad_arguments_are_refused(name, value):
    """A size that is no whole number of at least 1 is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\)"):
        AuxiliaryClassifierHead(**{"backbone": nn.Identity(), "features": 4, "num_classes": 10, name: value})

"""Tests of the projection discriminator."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import stacks
from ganlib.conditioning import AuxiliaryClassifierHead, ClassEmbedding, Maps, OneHot, Projection
from ganlib.errors import ArgumentValueError, DTypeError, GanlibError, ShapeError
from tests import strategies

PLAN = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])  # its top is (4, 2, 1)


def one_by_one(head, phi, encoding):
    """Equation 3 of Miyato and Koyama (2018), a sample and a place at a time."""
    logits = []
    for n in range(len(phi)):
        total = head.linear.bias[0]
        features, code = phi[n].flatten(1) if phi.ndim > 2 else phi[n, :, None], encoding[n]
        code = code.flatten(1) if code.ndim > 1 else code[:, None].expand(-1, features.shape[1])
        for place in range(features.shape[1]):
            x, y = features[:, place], code[:, place]
            y = y if isinstance(head.project, nn.Identity) else head.project.weight @ y
            total = total + head.linear.weight[0] @ x + y @ x
        logits.append(total)
    return torch.stack(logits)[:, None]


@given(
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
    st.integers(1, 4),
    st.sampled_from(sorted(strategies.FLAT_CONDITIONS)),
)
def test_it_is_a_linear_logit_plus_an_inner_product(spatial, features, kind):
    """For features with or without places the logit is w.phi + b + <W e(y), phi>, with phi summed over places."""
    encoder, condition = strategies.FLAT_CONDITIONS[kind](3)
    head = Projection(nn.Identity(), encoder, features).double()
    phi = torch.randn(3, features, *spatial, dtype=torch.float64)
    condition = condition.double() if condition.is_floating_point() else condition

    actual = head(phi, condition)

    assert actual.shape == (3, 1)
    assert torch.allclose(one_by_one(head, phi, encoder(condition).double()), actual)


@given(st.lists(st.integers(1, 3), max_size=3).map(tuple), st.integers(1, 4), st.integers(1, 5))
def test_with_classes_it_is_both_heads(spatial, features, num_classes):
    """The logits are those of a projection, and the class logits those of the head of AC-GAN, with the same weights."""
    head = Projection(nn.Identity(), ClassEmbedding(6, 3), features, num_classes).double()
    plain = Projection(nn.Identity(), ClassEmbedding(6, 3), features).double()
    plain.load_state_dict({name: value for name, value in head.state_dict().items() if "classify" not in name})
    auxiliary = AuxiliaryClassifierHead(nn.Identity(), features, num_classes).double()
    auxiliary.classify.load_state_dict(head.classify.state_dict())
    phi, labels = torch.randn(3, features, *spatial, dtype=torch.float64), torch.tensor([5, 0, 2])

    output, expected = head(phi, labels), auxiliary(phi)

    assert torch.equal(plain(phi, labels), output.logits)
    assert torch.equal(expected.class_logits, output.class_logits)
    assert torch.equal(expected.features[0], output.features[0])
    with pytest.raises(ArgumentValueError, match=r"num_classes \(=0\)"):
        Projection(nn.Identity(), ClassEmbedding(6, 3), features, 0)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.integers(1, 4))
def test_maps_are_multiplied_place_by_place(spatial, features):
    """Maps meet the features at their own place, and the products are summed."""
    head = Projection(nn.Identity(), Maps(2), features).double()
    phi = torch.randn(3, features, *spatial, dtype=torch.float64)
    maps = torch.randn(3, 2, *spatial, dtype=torch.float64)

    assert torch.allclose(one_by_one(head, phi, maps), head(phi, maps))


@given(st.integers(1, 4), st.integers(1, 4))
def test_w_is_there_just_where_features_differ(dim, features):
    """An encoder with the backbone's features needs no W; any other gets a linear map without a bias."""
    head = Projection(nn.Identity(), ClassEmbedding(3, dim), features)

    assert (dim == features) == isinstance(head.project, nn.Identity)
    assert [name for name, _ in head.named_parameters() if name == "project.bias"] == []
    if dim != features:
        assert (features, dim) == head.project.weight.shape


@pytest.mark.parametrize("kind", strategies.ALL_CONDITIONS)
def test_around_our_stack_and_a_plain_module(kind):
    """Our stack and a user's own network become discriminators that depend on the condition."""
    torch.manual_seed(0)
    encoder, condition = strategies.ALL_CONDITIONS[kind](2, PLAN.top_shape[1:])
    sample = torch.randn(1, 1, 8, 6).expand(2, -1, -1, -1)

    for backbone in (stacks.ConvStack(PLAN, norm="none"), nn.Conv2d(1, 4, 4, stride=4, padding=(0, 0))):
        first, second = Projection(backbone, encoder, 4)(sample, condition)
        assert first.shape == (1,)
        assert not torch.allclose(first, second, atol=1e-6)


def test_a_flat_backbone_will_do():
    """A backbone that gives vectors has one place."""
    head = Projection(nn.Linear(5, 3), OneHot(3), 3)
    sample, condition = torch.randn(4, 5), torch.tensor([0, 2, 1, 0])
    phi = head.backbone(sample)

    expected = head.linear(phi) + phi.gather(1, condition[:, None])

    assert torch.allclose(expected, head(sample, condition))


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (None, ArgumentValueError, r"condition \(=None\) is missing"),
        (torch.tensor([0, 3]), ArgumentValueError, "holds the class 3"),
        (torch.tensor([0.0, 1.0]), DTypeError, "torch.float32"),
        (torch.tensor([0, 1, 2]), ShapeError, "condition has 3 entries, but sample has 2"),
    ],
)
def test_bad_conditions_are_refused(condition, error, message):
    """A condition that is missing, out of range, of another dtype or length is named and quoted."""
    with pytest.raises(error, match=message) as caught:
        Projection(nn.Identity(), OneHot(3), 4)(torch.zeros(2, 4), condition)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("spatial", [(3, 3), (1, 2)])
def test_maps_of_another_size_are_refused(spatial):
    """Maps must have the spatial sizes of the backbone's features, also where the number of places is the same."""
    with pytest.raises(ShapeError, match="spatial sizes") as caught:
        Projection(nn.Identity(), Maps(4), 4)(torch.zeros(2, 4, 2, 1), torch.zeros(2, 4, *spatial))
    assert str((2, 4, *spatial)) in str(caught.value)


def test_a_backbone_with_other_features_is_refused():
    """A backbone that does not give the features announced raises an error with both numbers."""
    with pytest.raises(ShapeError, match=r"gives 5 features, but features \(=4\)"):
        Projection(nn.Identity(), OneHot(3), 4)(torch.zeros(2, 5), torch.tensor([0, 1]))


def test_features_below_one_are_refused():
    """Features below 1 are named and quoted."""
    with pytest.raises(ArgumentValueError, match=r"features \(=0\)") as caught:
        Projection(nn.Identity(), OneHot(3), 0)
    assert isinstance(caught.value, ValueError)

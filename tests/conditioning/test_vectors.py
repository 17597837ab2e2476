"""Tests of the encoders of floating-point conditions, and of what all encoders share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.conditioning import ClassEmbedding, ConditionEncoder, Maps, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.protocols import ConditionChecker
from tests import strategies


@given(strategies.conditions(5))
def test_every_encoder_gives_its_features(pair):
    """Each encoder gives (N, features), or maps (N, features, *spatial), and can check a condition."""
    encoder, condition = pair
    spatial = (2, 3) if isinstance(encoder, Maps) else ()

    assert (5, encoder.features, *spatial) == encoder(condition).shape
    assert isinstance(encoder, ConditionEncoder)
    assert isinstance(encoder, ConditionChecker)
    assert encoder.check(condition) is None


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_tags_are_the_sum_of_their_vectors(tags):
    """A set of tags is encoded as the sum of the rows of its members; the empty one as 0."""
    encoder = TagEmbedding(4, 3)
    rows = [sum((encoder.weight[k] for k in range(4) if row[k]), torch.zeros(3)) for row in tags]

    assert torch.allclose(torch.stack(rows), encoder(torch.tensor(tags).float()), atol=1e-6)


def test_a_tag_can_be_weighed():
    """A tag of a half counts half."""
    encoder = TagEmbedding(2, 3)

    assert torch.allclose(encoder.weight[:1] / 2, encoder(torch.tensor([[0.5, 0.0]])))


@given(strategies.normals((4, 5)))
def test_vectors_go_through_a_linear_map(condition):
    """A vector is encoded as W v + b."""
    encoder = VectorEmbedding(5, 3)

    expected = condition @ encoder.linear.weight.T + encoder.linear.bias

    assert torch.allclose(expected, encoder(condition), atol=1e-6)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3).flatmap(lambda size: strategies.normals((2, 3, *size))))
def test_maps_are_handed_on(condition):
    """Maps of one to three dimensions come out as they went in."""
    assert Maps(3)(condition) is condition


@pytest.mark.parametrize("encoder", [ClassEmbedding(20_000, 2), TagEmbedding(20_000, 2)])
def test_learned_vectors_are_standard_normal_at_first(encoder):
    """Embeddings start with mean 0 and standard deviation 1."""
    (weight,) = encoder.parameters()

    assert pytest.approx(0.0, abs=0.05) == weight.mean().item()
    assert pytest.approx(1.0, abs=0.05) == weight.std().item()


@pytest.mark.parametrize(
    ("encoder", "condition", "error", "message"),
    [
        (OneHot(3), torch.tensor([0, 3]), ArgumentValueError, "holds the class 3"),
        (OneHot(3), torch.tensor([-1, 3]), ArgumentValueError, "holds the class -1"),
        (OneHot(3), torch.tensor([0.0]), DTypeError, "torch.float32"),
        (OneHot(3), torch.tensor([True]), DTypeError, "torch.bool"),
        (ClassEmbedding(3, 2), torch.tensor([7]), ArgumentValueError, "num_classes (=3)"),
        (ClassEmbedding(3, 2), torch.tensor([[1]]), ShapeError, "(1, 1)"),
        (ClassEmbedding(3, 2), torch.tensor(1), ShapeError, "()"),
        (TagEmbedding(3, 2), torch.tensor([[0, 1, 1]]), DTypeError, "torch.int64"),
        (TagEmbedding(3, 2), torch.zeros(2, 4), ShapeError, "(N, 3)"),
        (VectorEmbedding(3, 2), torch.zeros(3), ShapeError, "(3,)"),
        (VectorEmbedding(3, 2), torch.tensor([[0.0, float("nan"), 0.0]]), ArgumentValueError, "not finite"),
        (VectorEmbedding(3, 2), torch.zeros(2, 3, 1), ShapeError, "(2, 3, 1)"),
        (Maps(3), torch.zeros(2, 3), ShapeError, "(N, 3, *spatial)"),
        (Maps(3), torch.zeros(2, 1, 4, 4), ShapeError, "(2, 1, 4, 4)"),
        (Maps(3), torch.zeros(2, 3, 4, dtype=torch.uint8), DTypeError, "torch.uint8"),
        (Maps(3), torch.full((2, 3, 4), float("inf")), ArgumentValueError, "not finite"),
    ],
)
def test_a_bad_condition_is_refused_by_check_and_by_forward(encoder, condition, error, message):
    """What an encoder cannot encode raises one error from `check` and from the call, naming what was given."""
    for method in (encoder.check, encoder):
        with pytest.raises(error, match="condition") as caught:
            method(condition)
        assert message in str(caught.value)
        assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneHot(0), "num_classes (=0)"),
        (lambda: OneHot(2.5), "num_classes (=2.5)"),
        (lambda: ClassEmbedding(-1, 2), "num_classes (=-1)"),
        (lambda: ClassEmbedding(2, 0), "dim (=0)"),
        (lambda: TagEmbedding(0, 2), "num_tags (=0)"),
        (lambda: TagEmbedding(2, None), "dim (=None)"),
        (lambda: VectorEmbedding(0, 2), "in_features (=0)"),
        (lambda: VectorEmbedding(2, 0), "dim (=0)"),
        (lambda: Maps(0), "channels (=0)"),
    ],
)
def test_bad_sizes_are_refused(make, message):
    """A size that is no whole number of at least 1 is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)

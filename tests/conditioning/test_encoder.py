"""Tests of what encoders share."""

import pytest

from ganlib.conditioning import ClassEmbedding, Maps, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import ArgumentValueError


@pytest.mark.parametrize(
    ("encoder", "arguments", "features", "shown"),
    [
        (OneHot(3), {"num_classes": 3}, 3, "OneHot(3)"),
        (ClassEmbedding(3, 5), {"num_classes": 3, "dim": 5}, 5, "ClassEmbedding(\n  (embedding): Embedding(3, 5)\n)"),
        (TagEmbedding(3, 5), {"num_tags": 3, "dim": 5}, 5, "TagEmbedding(3, 5)"),
        (Maps(3), {"channels": 3}, 3, "Maps(3)"),
        (
            VectorEmbedding(3, 5),
            {"in_features": 3, "dim": 5},
            5,
            "VectorEmbedding(\n  (linear): Linear(in_features=3, out_features=5, bias=True)\n)",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_encoder_describes_itself(encoder, arguments, features, shown):
    """Its repr shows the sizes once, and an encoder made with their names is like it."""
    assert features == encoder.features
    assert shown == repr(encoder) == repr(type(encoder)(**arguments))


@pytest.mark.parametrize("kind", [ClassEmbedding, TagEmbedding, VectorEmbedding])
def test_a_size_below_one_is_refused(kind):
    """Either size is named and quoted."""
    with pytest.raises(ArgumentValueError, match=r"dim \(=0\) must be a whole number of at least 1"):
        kind(3, 0)
    with pytest.raises(ArgumentValueError, match=r"\(=0.5\) must be a whole number of at least 1"):
        kind(0.5, 3)

"""Tests of the choice of an encoder."""

import pytest

from ganlib.conditioning import Maps, OneHot, TagEmbedding
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.models._condition_encoder import encoder_of


def test_classes_are_one_hot_vectors():
    """Classes get their encoder, another encoder is kept, and without both there is no condition."""
    tags = TagEmbedding(4, 3)
    classes = encoder_of(5, None)

    assert isinstance(classes, OneHot)
    assert classes.num_classes == 5
    assert encoder_of(None, tags) is tags
    assert encoder_of(None, None) is None


@pytest.mark.parametrize(
    ("num_classes", "encoder", "message"),
    [
        (5, OneHot(5), r"pass num_classes \(=5\), or encoder \(=OneHot\(5\)\), or neither, and not both"),
        (0, None, r"num_classes \(=0\) must be a whole number of at least 1"),
        (None, Maps(3), r"encoder \(=Maps\(3\)\) gives maps, but these networks take vectors"),
    ],
)
def test_wrong_values_are_named(num_classes, encoder, message):
    """Each is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        encoder_of(num_classes, encoder)


def test_something_else_is_refused():
    """What is no encoder is quoted."""
    with pytest.raises(ArgumentTypeError, match=r"encoder \(=7\) must be an encoder of conditions"):
        encoder_of(None, 7)

"""What encoders do with conditions of another kind: an error of ganlib, or the obvious meaning."""

import numpy as np
import pytest
import torch

from ganlib.conditioning import ClassEmbedding, Maps, OneHot, TagEmbedding, VectorEmbedding
from ganlib.errors import GanlibError

CLASSES = {"OneHot": OneHot(4), "ClassEmbedding": ClassEmbedding(4, 5)}
FLOATS = {"TagEmbedding": TagEmbedding(4, 5), "VectorEmbedding": VectorEmbedding(4, 5), "Maps": Maps(4)}
NO_CLASSES = {
    "(N, 1)": torch.ones(6, 1, dtype=torch.int64),
    "one-hot": torch.eye(6, 4),
    "whole one-hot": torch.eye(6, 4).long(),
    "bool": torch.ones(6, dtype=torch.bool),
    "float": torch.ones(6),
    "below 0": torch.full((6,), -1),
    "too high": torch.full((6,), 4),
    "no dimensions": torch.tensor(1),
}
NO_FLOATS = {
    "one dimension": torch.ones(4),
    "whole": torch.ones(6, 4, dtype=torch.int64),
    "bool": torch.ones(6, 4, dtype=torch.bool),
    "other features": torch.ones(6, 3),
    "other channels": torch.ones(6, 3, 2, 2),
    "not finite": torch.full((6, 4), torch.nan),
    "maps not finite": torch.full((6, 4, 2, 2), torch.nan),
    "complex": torch.ones(6, 4, dtype=torch.complex64),
    "sparse": torch.eye(6, 4).to_sparse(),
    "eight bits": torch.ones(6, 4).to(torch.float8_e4m3fn),
}
NO_TENSORS = {"none": None, "a list": [1] * 6, "an array": np.ones(6, dtype=np.int64), "a dict": {"a": torch.ones(6)}}


def cases(encoders, conditions):
    """Each encoder with each condition."""
    return [
        pytest.param(encoder, condition, id=f"{name}, {what}")
        for name, encoder in encoders.items()
        for what, condition in {**conditions, **NO_TENSORS}.items()
    ]


@pytest.mark.parametrize(("encoder", "condition"), cases(CLASSES, NO_CLASSES) + cases(FLOATS, NO_FLOATS))
def test_conditions_of_another_kind_are_refused(encoder, condition):
    """They raise an error of ganlib that names the condition."""
    with pytest.raises(GanlibError, match="^condition "):
        encoder(condition)


@pytest.mark.parametrize("encoder", [ClassEmbedding(4, 5), TagEmbedding(4, 5), VectorEmbedding(4, 5)])
def test_a_condition_on_another_device_is_refused(encoder):
    """An encoder with weights says where they are."""
    classes = isinstance(encoder, ClassEmbedding)
    condition = torch.ones(6, dtype=torch.int64, device="meta") if classes else torch.ones(6, 4, device="meta")
    with pytest.raises(GanlibError, match="condition is on meta, but its encoder on cpu"):
        encoder(condition)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("encoder", [TagEmbedding(4, 5), VectorEmbedding(4, 5)])
def test_conditions_of_another_precision_are_converted(encoder, dtype, scale):
    """The encoding is that of the same numbers in the dtype of the weights."""
    condition = (scale * torch.linspace(0, 1, 24).view(6, 4)).to(dtype)
    with torch.no_grad():
        assert torch.equal(encoder(condition), encoder(condition.float()))

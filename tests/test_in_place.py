"""Torch's text is the one that this version of torch says."""

import pytest
import torch

from ganlib._in_place import is_in_place_error
from ganlib.errors import GanlibRuntimeError


def test_the_error_of_a_changed_leaf() -> None:
    """A leaf that needs a gradient can neither be changed itself nor by a view; other errors are not meant."""
    leaf = torch.zeros(2, requires_grad=True)
    for change in (lambda: torch.relu_(leaf), lambda: leaf[:1].add_(1), lambda: torch.nn.Dropout(inplace=True)(leaf)):
        with pytest.raises(RuntimeError) as caught:
            change()
        assert is_in_place_error(caught.value), caught.value
    with pytest.raises(RuntimeError) as caught:
        leaf @ torch.zeros(3)
    assert not is_in_place_error(caught.value)
    assert not is_in_place_error(GanlibRuntimeError("a leaf Variable that requires grad is used in place"))

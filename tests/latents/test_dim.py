"""Tests of what all distributions check."""

import pytest

from ganlib.errors import ArgumentValueError
from ganlib.latents._dim import check_dim


def test_whole_numbers_from_one_up_pass():
    """Nothing is raised for 1 and for more."""
    assert [check_dim(dim) for dim in (1, 2, 512)] == [None] * 3


@pytest.mark.parametrize("dim", [0, -1, 2.5, None, "7"])
def test_all_else_is_refused(dim):
    """It is quoted."""
    with pytest.raises(ArgumentValueError, match=rf"dim \(={dim!r}\)"):
        check_dim(dim)

"""A policy is read the same way by every augmentation that has one."""

from typing import Any

import pytest

from ganlib.augment._policy import read_policy
from ganlib.errors import ArgumentTypeError, ArgumentValueError

NAMES = ("color", "cutout")


@pytest.mark.parametrize("policy", ["cutout,color", " cutout , colour", ["cutout", "color"], ("cutout", " colour ")])
def test_the_names_are_read_in_order(policy: Any) -> None:
    """From a string or a sequence, in both spellings, with spaces."""
    assert read_policy(policy, NAMES) == ["cutout", "color"]


@pytest.mark.parametrize(
    ("policy", "error", "words"),
    [
        ("", ArgumentValueError, r"policy \(=''\) must contain only 'color', 'cutout'"),
        ([], ArgumentValueError, r"policy \(=\[\]\) must contain only"),
        ("color,blur", ArgumentValueError, r"policy \(='color,blur'\) must contain only"),
        (None, ArgumentTypeError, r"policy \(=None\) must be a string or a sequence"),
        (["color", 3], ArgumentTypeError, "must be a string or a sequence of strings"),
    ],
)
def test_other_policies_are_refused(policy: Any, error: type[Exception], words: str) -> None:
    """By name and value, with what may be in it."""
    with pytest.raises(error, match=words):
        read_policy(policy, NAMES)

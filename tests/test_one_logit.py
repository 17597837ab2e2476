"""A discriminator that gives one logit for a whole batch is recognized by shapes alone."""

import pytest
import torch

from ganlib._one_logit import gives_one_logit, warn_of_one_logit


@pytest.mark.parametrize(
    ("n", "shapes", "expected"),
    [
        (8, [(8, 1)], False),
        (8, [(8,)], False),
        (8, [(8, 1, 3, 3)], False),
        (8, [(4, 1)], False),
        (1, [(1, 1)], False),
        (1, [()], False),
        (8, [(8, 1), (8, 1, 2, 2)], False),
        (8, [()], True),
        (8, [(1,)], True),
        (8, [(1, 1)], True),
        (8, [(1, 3, 3)], True),
        (8, [(1, 1, 3, 3)], True),
        (8, [(8, 1), ()], True),
    ],
)
def test_a_scale_with_one_entry_is_found(n: int, shapes: list[tuple[int, ...]], expected: bool) -> None:
    """Means over the batch are found, and logits of samples, packs and patches are not."""
    assert gives_one_logit(n, [torch.zeros(shape) for shape in shapes]) is expected


def test_the_warning_quotes_the_shapes() -> None:
    """It names the logits, the number of samples, and what follows."""
    with pytest.warns(UserWarning, match=r"logits \(1,\) for 8 samples.*nothing is learned"):
        warn_of_one_logit(8, [torch.zeros(1)], "nothing is learned")

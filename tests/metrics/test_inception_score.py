"""Tests of the inception score."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import InceptionScore
from tests.metrics.cases import normal, same


def _score(*batches):
    score = InceptionScore(same)
    for logits in batches:
        score.update(logits)
    return score.compute().item()


def test_it_is_one_where_all_samples_look_the_same():
    """Equal distributions have score 1, whether they are sharp or flat."""
    assert _score(normal(1, 10).expand(50, 10)) == pytest.approx(1, abs=1e-12)
    assert _score(torch.eye(10)[:1].expand(50, 10) * 1e4) == pytest.approx(1, abs=1e-12)
    assert _score(torch.zeros(2, 1000)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 10, 1000])
def test_it_is_the_number_of_classes_that_are_recognized(classes):
    """Samples of all classes, each recognized with certainty, have as the score how many classes there are."""
    assert _score(*(1e4 * torch.eye(classes)).split(7)) == pytest.approx(classes)


def test_it_is_the_perplexity_of_certain_classes():
    """With certainty it is exp of the entropy: 3/4 and 1/4 of two classes."""
    logits = 1e4 * torch.eye(2)[[0, 0, 0, 1]]
    assert _score(logits) == pytest.approx(0.75**-0.75 * 0.25**-0.25)


def test_samples_are_needed():
    """Without any it is a ValueError of ours; after a reset too."""
    score = InceptionScore(same)
    score.update(normal(3, 4))
    score.reset()
    with pytest.raises(ValueError, match="no samples") as caught:
        score.compute()
    assert isinstance(caught.value, GanlibError)
    score.update(normal(0, 5))
    score.update(normal(3, 5))  # another number of classes is fine now
    assert score.compute() > 1

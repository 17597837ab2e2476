"""Tests of what a term is given."""

import pytest
import torch

from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.losses import AuxiliaryClassifier, FeatureMatching
from ganlib.losses._output import check_output
from ganlib.protocols import DiscriminatorOutput

WHOLE = DiscriminatorOutput(torch.zeros(2, 1), torch.zeros(2, 3), (torch.zeros(2, 4),))


def test_a_whole_output_is_taken():
    """A DiscriminatorOutput raises nothing."""
    assert check_output(WHOLE, "real") is None


@pytest.mark.parametrize(
    ("judge", "side"),
    [
        (lambda bare: AuxiliaryClassifier().generator(bare, None, torch.tensor([0, 1])), "fake"),
        (lambda bare: AuxiliaryClassifier().discriminator(bare, WHOLE, torch.tensor([0, 1])), "real"),
        (lambda bare: FeatureMatching().generator(bare, WHOLE), "fake"),
        (lambda bare: FeatureMatching().generator(WHOLE, bare), "real"),
    ],
)
@pytest.mark.parametrize("bare", [torch.zeros(2, 1), (torch.zeros(2, 1), torch.zeros(2, 1))])
def test_bare_logits_are_refused(judge, side, bare):
    """In a loop of one's own, bare logits in the place of the whole output raise an error that says what is missing."""
    with pytest.raises(
        ArgumentTypeError, match=rf"^{side} is a (Tensor|tuple), but a term takes a DiscriminatorOutput"
    ):
        judge(bare)


def test_a_missing_real_output_is_named():
    """Feature matching without the real output says that it is missing, and not that it has no features."""
    with pytest.raises(ArgumentValueError, match=r"real \(=None\) is missing"):
        FeatureMatching().generator(WHOLE, None)

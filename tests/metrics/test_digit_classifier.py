"""Tests of the classifier of digits."""

import pytest
import torch

from ganlib._once import sharing
from ganlib.data import RenderedDigits, TensorLoader
from ganlib.errors import GanlibError
from ganlib.metrics import DigitClassifier


@pytest.mark.parametrize("n", [1, 3])
def test_shapes(n):
    """It gives ten logits and 128 features a sample."""
    classifier, samples = DigitClassifier().eval(), torch.randn(n, 1, 28, 28)
    assert classifier(samples).shape == (n, 10)
    assert classifier.features(samples).shape == (n, classifier.num_features) == (n, 128)


def test_the_logits_are_linear_in_the_features():
    """Logits are W features + b, and features are not negative."""
    classifier, samples = DigitClassifier().eval(), torch.randn(5, 1, 28, 28)
    features = classifier.features(samples)
    torch.testing.assert_close(classifier(samples), features @ classifier.head.weight.T + classifier.head.bias)
    assert features.min() >= 0
    assert features.max() > 0


def test_in_evaluation_a_samples_logits_do_not_depend_on_the_others():
    """Each sample alone gets the logits that it gets in a batch."""
    classifier, samples = DigitClassifier().eval(), torch.randn(4, 1, 28, 28)
    alone = torch.cat([classifier(sample) for sample in samples.split(1)])
    torch.testing.assert_close(classifier(samples), alone, atol=1e-5, rtol=1e-4)


def test_it_learns_digits():
    """After some 60 steps on drawn digits it reads at least 80 % of new ones."""
    torch.manual_seed(0)
    classifier = DigitClassifier()
    adam = torch.optim.Adam(classifier.parameters(), lr=2e-3)
    loader = TensorLoader(RenderedDigits(length=640, seed=1), batch_size=32)
    for batch in [batch for _ in range(3) for batch in loader]:
        adam.zero_grad()
        torch.nn.functional.cross_entropy(classifier(batch.sample), batch.condition).backward()
        adam.step()
    (test,) = TensorLoader(RenderedDigits(length=200, seed=2), batch_size=200)
    with torch.no_grad():
        read = classifier.eval()(test.sample).argmax(1)
    assert (read == test.condition).float().mean() >= 0.8


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32), (2, 28, 28)])
def test_other_shapes_are_refused(shape):
    """Samples that are not (N, 1, 28, 28) are a ValueError of ours with their shape, from both calls."""
    classifier = DigitClassifier().eval()
    for call in (classifier, classifier.features):
        with pytest.raises(ValueError, match=rf"samples \({', '.join(map(str, shape))}\)") as caught:
            call(torch.zeros(shape))
        assert isinstance(caught.value, GanlibError)


def test_logits_and_features_of_a_batch_are_computed_once_where_metrics_share():
    """An evaluation of both runs the convolutions once for each batch; outside it they run each time."""
    classifier, samples, calls = DigitClassifier().eval(), torch.randn(2, 1, 28, 28), []
    classifier.body.register_forward_hook(lambda *_: calls.append(None))
    expected = classifier(samples)
    with sharing():
        torch.testing.assert_close(classifier.head(classifier.features(samples)), expected)
        torch.testing.assert_close(classifier(samples), expected)
    assert len(calls) == 2
    classifier(samples)
    assert len(calls) == 3

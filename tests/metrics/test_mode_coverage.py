"""Tests of the modes that a generator reaches."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganlib.data import RenderedDigits, StackedMNIST
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError, ShapeError
from ganlib.metrics import ModeCoverage
from tests.metrics.cases import same


def _samples(modes, classes=4):
    return torch.nn.functional.one_hot(torch.as_tensor(modes), classes).float()


def _measured(real, fake, **options):
    metric = ModeCoverage(same, **options)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: value.item() for name, value in metric.compute().items()}


def test_frequencies():
    """Modes with shares (1/2, 1/2) of real shares (1/4, 1/4, 1/2) have KL log 2; equal shares have 0."""
    real, fake = _samples([0, 1, 2, 2]), _samples([0, 1])
    assert _measured(real, fake) == pytest.approx({"modes_found": 2, "modes_real": 3, "kl_divergence": math.log(2)})
    assert _measured(real, torch.cat([real, real])) == {"modes_found": 3, "modes_real": 3, "kl_divergence": 0}


def test_a_mode_without_real_samples():
    """A mode that only the generator has makes the divergence infinite."""
    values = _measured(_samples([0, 1]), _samples([0, 3]))
    assert values == {"modes_found": 2, "modes_real": 2, "kl_divergence": math.inf}


def test_one_mode():
    """A generator of one of 4 equal modes has KL log 4."""
    assert _measured(_samples([0, 1, 2, 3]), _samples([2] * 9)) == pytest.approx(
        {"modes_found": 1, "modes_real": 4, "kl_divergence": math.log(4)}
    )


def test_stacked_images():
    """Of three digits in the channels of a sample, each combination is a mode, read by a classifier of one digit."""
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)
    samples = _samples(digits, 10)  # three channels of ten pixels

    def classifier(images):
        assert images.shape[1:] == (1, 10)
        return images.flatten(1)

    metric = ModeCoverage(classifier, stacked=3)
    for part in samples.split(300):
        metric.update(part, real=True)
    metric.update(samples[[123, 321, 123, 999]], real=False)
    metric.update(samples[:0], real=False)
    values = metric.compute()
    assert values["modes_found"] == 3
    assert values["modes_real"] == 1000
    expected = 0.5 * math.log(500) + 2 * 0.25 * math.log(250)
    torch.testing.assert_close(values["kl_divergence"].item(), expected)


@pytest.mark.parametrize("shape", [(2, 4, 5), (5,)])
def test_stacked_images_need_channels(shape):
    """Channels that cannot be shared out are a ValueError of ours with the shape."""
    with pytest.raises(ValueError, match=r"samples \(.*3 images each") as caught:
        ModeCoverage(same, stacked=3).update(torch.zeros(shape), real=True)
    assert isinstance(caught.value, GanlibError)
    with pytest.raises(TypeError, match="samples"):
        ModeCoverage(same, stacked=3).update([1], real=True)


@pytest.mark.parametrize("stacked", [0, 1.5, True])
def test_bad_stacked_is_named(stacked):
    """It is a whole number of at least 1."""
    with pytest.raises(ValueError, match=rf"stacked \(={stacked}\)") as caught:
        ModeCoverage(same, stacked=stacked)
    assert isinstance(caught.value, GanlibError)


def test_another_number_of_classes_is_named():
    """A mode of a classifier of five classes is not one of a classifier of three."""
    coverage = ModeCoverage(lambda samples: samples)
    coverage.update(torch.eye(5), real=True)
    with pytest.raises(ShapeError, match=r"classifier gave \(3, 3\), but earlier samples .* have 5 classes"):
        coverage.update(torch.eye(3), real=False)


def test_modes_that_cannot_be_numbered_are_named():
    """Forty images of four classes have more combinations than int64 has numbers."""
    with pytest.raises(ArgumentValueError, match=r"stacked \(=40\)"):
        ModeCoverage(lambda samples: samples.flatten(1), stacked=40).update(torch.rand(2, 160), real=True)


@pytest.mark.parametrize("number", [int, np.int64])
def test_the_largest_number_of_modes(number):
    """2^62 modes are counted and compared with equal shares; 2^63 are one more than int64 has."""
    metric = ModeCoverage(lambda samples: samples.flatten(1), stacked=number(62), reference="uniform")
    metric.update(torch.eye(2)[torch.tensor([[0, 1] * 31])], real=False)
    values = metric.compute()
    assert values["modes_real"] == 2**62
    assert values["kl_divergence"].item() == pytest.approx(62 * math.log(2))
    metric = ModeCoverage(lambda samples: samples.flatten(1), stacked=number(63), reference="uniform")
    with pytest.raises(ArgumentValueError, match=r"^stacked \(=63\) images of 2 classes"):
        metric.update(torch.rand(2, 126), real=False)


def test_frequencies_compared_with_equal_ones():
    """Without real samples: one of four modes has KL log 4, all of them 0, and shares (3/4, 1/4) what the sum says."""
    for modes, expected in (([2] * 9, math.log(4)), ([0, 1, 2, 3], 0.0), ([0, 0, 0, 1], None)):
        metric = ModeCoverage(same, reference="uniform")
        metric.update(_samples(modes), real=False)
        values = metric.compute()
        expected = 0.75 * math.log(3) + 0.25 * math.log(1) if expected is None else expected
        assert values["kl_divergence"].item() == pytest.approx(expected, abs=1e-12)
        assert (values["modes_found"], values["modes_real"]) == (len(set(modes)), 4)


def test_equal_frequencies_need_no_real_samples():
    """They are not used, and a metric that has none says that it needs none; generated ones are needed."""
    metric = ModeCoverage(same, reference="uniform")
    assert metric.has_real
    metric.update(_samples([0, 0, 0, 3]), real=True)
    with pytest.raises(ArgumentValueError, match="no generated samples"):
        metric.compute()
    metric.update(_samples([1, 2]), real=False)
    assert metric.compute()["kl_divergence"].item() == pytest.approx(math.log(2))
    metric.reset()
    with pytest.raises(ArgumentValueError, match="no generated samples"):
        metric.compute()
    metric.update(_samples([1]), real=False)
    assert metric.compute()["kl_divergence"].item() == pytest.approx(math.log(4))


def test_a_state_for_another_reference():
    """It has the number of modes; where an earlier version did not save it, the error says so."""
    saved, loaded = ModeCoverage(same), ModeCoverage(same, reference="uniform")
    saved.update(_samples([0, 1]), real=False)
    state = saved.state_dict()
    loaded.load_state_dict(state)
    assert loaded.compute()["kl_divergence"].item() == pytest.approx(math.log(2))
    del state["kind"]
    loaded.load_state_dict(state)
    with pytest.raises(ArgumentValueError, match="the loaded state has no number of classes, .* update"):
        loaded.compute()
    loaded.update(_samples([2, 3]), real=False)
    assert loaded.compute()["kl_divergence"] == 0


def _stacked(stacked, classes=4):
    """A metric of single pixels, with real and generated samples of random modes."""
    metric = ModeCoverage(lambda images: images.flatten(1), stacked=stacked)
    for real in (True, False):
        metric.update(torch.rand(20, stacked, classes), real=real)
    return metric


def test_modes_of_another_number_of_images_are_refused(tmp_path):
    """A mode of two images is not one of three: the file or the state is named, and nothing is loaded."""
    saved, metric = _stacked(2), _stacked(3)
    before = metric.compute()
    saved.save_statistics(tmp_path / "two.npz")
    with pytest.raises(ArgumentValueError, match=r"^stacked \(=3\) does not fit .*two.npz, .* stacked=2$"):
        metric.load_statistics(tmp_path / "two.npz")
    with pytest.raises(ArgumentValueError, match=r"^stacked \(=3\) does not fit the loaded state, .* stacked=2$"):
        metric.load_state_dict(saved.state_dict())
    with pytest.raises(ArgumentValueError, match=r"^stacked \(=3\) does not fit the loaded state"):
        torch.nn.ModuleDict({"modes": metric}).load_state_dict(torch.nn.ModuleDict({"modes": saved}).state_dict())
    assert metric.compute() == before
    for other in (ModeCoverage(lambda images: images.flatten(1), stacked=2), _stacked(2)):
        other.load_statistics(tmp_path / "two.npz")
        other.load_state_dict(saved.state_dict())
        assert other.compute() == saved.compute()


def test_modes_of_another_number_of_classes_are_refused(tmp_path):
    """Before samples and after them; real samples are replaced."""
    _stacked(2, classes=4).save_statistics(tmp_path / "four.npz")
    with pytest.raises(ShapeError, match=r"four.npz holds modes of 4 classes, but classifier gave 5 logits before"):
        _stacked(2, classes=5).load_statistics(tmp_path / "four.npz")
    for load in ("statistics", "state"):
        metric = ModeCoverage(lambda images: images.flatten(1), stacked=2)
        if load == "statistics":
            metric.load_statistics(tmp_path / "four.npz")
        else:
            metric.load_state_dict(_stacked(2, classes=4).state_dict())
        with pytest.raises(ShapeError, match=r"classifier gave \(6, 5\), but .* the loaded statistics have 4 classes"):
            metric.update(torch.rand(3, 2, 5), real=False)


def test_files_that_do_not_say_what_their_modes_are(tmp_path):
    """Those of earlier versions have classes of single images, as many as the classifier has."""
    modes = np.array([[0], [1]])
    np.savez(tmp_path / "old.npz", modes=modes)
    metric = ModeCoverage(same)
    metric.load_statistics(tmp_path / "old.npz")
    metric.update(_samples([0, 3]), real=False)
    metric.load_statistics(tmp_path / "old.npz")
    assert metric.compute()["modes_real"] == 2
    metric.save_statistics(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        assert (file["classes"], file["stacked"]) == (4, 1)
    state = metric.state_dict()
    del state["kind"]
    with pytest.raises(ArgumentValueError, match=r"stacked \(=3\) does not fit .*old.npz"):
        ModeCoverage(same, stacked=3).load_statistics(tmp_path / "old.npz")
    with pytest.raises(ArgumentValueError, match=r"stacked \(=3\) does not fit the loaded state"):
        ModeCoverage(same, stacked=3).load_state_dict(state)
    for name, value in (("stacked", 0), ("stacked", 1.0), ("classes", [4]), ("classes", 2**64 - 1)):
        np.savez(tmp_path / "odd.npz", modes=modes, **{name: value})
        with pytest.raises(CheckpointError, match="odd.npz does not hold the statistics of a ModeCoverage"):
            metric.load_statistics(tmp_path / "odd.npz")


def test_a_state_of_other_modules_is_loaded_around_it():
    """``strict=False`` leaves the metric as it was, whatever its ``stacked``."""
    module = torch.nn.ModuleDict({"modes": _stacked(2)})
    before = module["modes"].compute()
    module.load_state_dict({}, strict=False)
    assert module["modes"].compute() == before


def _expected_divergence(modes, n):
    """The mean of KL for n samples of equally likely modes, over the binomial distribution of a count."""
    total = 0.0
    for count in range(1, n + 1):
        logarithm = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
        logarithm += count * math.log(1 / modes) + (n - count) * math.log1p(-1 / modes)
        total += modes * math.exp(logarithm) * count / n * math.log(count * modes / n)
    return total


def test_a_perfect_generator_of_stacked_digits():
    """26,000 samples of 1,000 equal modes find all, with a KL of 0.0193 in the mean, as the series says too."""
    n, expected = 26_000, _expected_divergence(1000, 26_000)
    assert expected == pytest.approx(999 / (2 * n) + (1000**2 - 1) / (12 * n**2), abs=1e-5)
    divergences = []
    for seed in range(8):
        digits = torch.randint(10, (n, 3), generator=torch.Generator().manual_seed(seed))
        metric = ModeCoverage(lambda images: images.flatten(1), stacked=3, reference="uniform")
        metric.update(_samples(digits, 10), real=False)
        values = metric.compute()
        assert (values["modes_found"], values["modes_real"]) == (1000, 1000)
        divergences.append(values["kl_divergence"].item())
    # 2n KL has nearly a chi-squared distribution with 999 degrees of freedom.
    deviation = math.sqrt(2 * 999) / (2 * n) / math.sqrt(len(divergences))
    assert sum(divergences) / len(divergences) == pytest.approx(expected, abs=4 * deviation)


def test_compared_with_a_training_set_of_stacked_digits():
    """The divergence from the training set is 0 for its own images, and above 0 without one of ten digits."""
    stacked = StackedMNIST(RenderedDigits(8, length=10), length=2000)
    samples = torch.stack([image for image, _ in stacked]).float()
    own = stacked.images.float().flatten(1)

    def classifier(images):
        return -torch.cdist(images.flatten(1), own)

    metric = ModeCoverage(classifier, stacked=3)
    metric.update(samples, real=True)
    metric.update(samples, real=False)
    values = metric.compute()
    present = stacked.targets.unique()
    assert values["modes_found"] == values["modes_real"] == len(present)
    assert values["kl_divergence"] == 0
    metric.reset()
    kept = samples[(stacked.targets >= 100).nonzero().flatten()]  # the first digit is not 0
    metric.update(kept, real=False)
    values = metric.compute()
    assert values["modes_found"] == (present >= 100).sum()
    assert values["kl_divergence"].item() == pytest.approx(math.log(len(samples) / len(kept)))


@pytest.mark.parametrize("reference", ["fake", None, 1, "Uniform"])
def test_an_unknown_reference_is_named(reference):
    """It is one of two words."""
    with pytest.raises(ArgumentValueError, match=r"reference \(=.*\) must be 'real' or 'uniform'"):
        ModeCoverage(same, reference=reference)


def test_a_batch_reads_no_state():
    """After the first batch no tensor is read on the host, which would wait for a GPU; a loaded state is read."""

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += function is torch.ops.aten._local_scalar_dense.default
            return function(*args, **(kwargs or {}))

    def reads():
        with Reads() as mode:
            coverage.update(samples, real=False)
        return mode.count

    coverage, samples = ModeCoverage(same), _samples([0, 3])
    assert reads() == reads() == (before := reads())
    coverage.load_state_dict(coverage.state_dict())
    assert reads() > before
    with pytest.raises(ShapeError, match="4 classes"):
        coverage.update(_samples([0], classes=5), real=False)

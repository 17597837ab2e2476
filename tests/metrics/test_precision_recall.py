"""Tests of precision, recall, density and coverage."""

import subprocess
import sys

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import PrecisionRecall
from tests.metrics.cases import normal, prdc, same

F64 = torch.float64
NAMES = ("precision", "recall", "density", "coverage")


def _measured(real, fake, k=5):
    metric = PrecisionRecall(same, k)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    values = metric.compute()
    assert tuple(values) == NAMES
    return {name: value.item() for name, value in values.items()}


def _formula(real, fake, k=5):
    return prdc(real.double().numpy(), fake.double().numpy(), k=k)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m", "dim"), [(6, 6, 2), (40, 25, 3), (30, 60, 40)])
def test_it_equals_prdc(n, m, dim, k):
    """All four are the formulas of the package ``prdc``."""
    real, fake = normal(n, dim), normal(m, dim, seed=1) * 0.8 + 0.2
    assert _measured(real, fake, k) == pytest.approx(_formula(real, fake, k), abs=1e-12)


@pytest.mark.parametrize("dim", [1, 3, 128, 300])
@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_same_samples_in_another_order(dim, shift, dtype):
    """Fakes that are the real samples have 1 in all, exactly: the k-th neighbor is on the ball, and not in it."""
    real = (normal(400, dim, dtype=F64) + shift).to(dtype).unique(dim=0)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    if shift and dim == 1 and dtype is torch.float32:
        pytest.skip("they have many equal distances")
    assert _measured(real, real[order]) == dict.fromkeys(NAMES, 1.0)


def test_equal_distances_are_equal():
    """On a grid, where almost all distances are those of others, it is the formula of exact integers."""
    real = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    fake = torch.cartesian_prod(torch.arange(1.0, 6), torch.arange(4.0))
    for k in (1, 2, 3, 5):
        for shift in (0.0, 0.25, 1e6):
            expected = _formula(real.double() * 4, fake.double() * 4, k)
            measured = _measured((real.double() + shift) * 4, (fake.double() + shift) * 4, k)
            assert measured == pytest.approx(expected, abs=1e-12)


def test_collapsed_samples():
    """Equal fakes near real ones are precise and cover next to nothing; equal real samples have balls of no size."""
    real, fake = normal(50, 3), torch.zeros(20, 3)
    assert _measured(real, fake) == pytest.approx(_formula(real, fake))
    assert _measured(real, fake)["recall"] == 0
    collapsed = dict.fromkeys(NAMES, 0.0) | {"recall": _formula(fake, real)["recall"]}
    assert _measured(fake, real) == collapsed
    assert _measured(fake, fake) == dict.fromkeys(NAMES, 0.0)
    assert _measured(fake, fake + 1) == dict.fromkeys(NAMES, 0.0)


def test_large_means_with_a_small_spread():
    """Differences of 0.001 at 10,000 are found, as float64 has them."""
    real, fake = 1e4 + 1e-3 * normal(60, 8, dtype=F64), 1e4 + 1e-3 * normal(50, 8, seed=1, dtype=F64)
    assert _measured(real, fake) == pytest.approx(_formula(real, fake))
    assert _measured(real, fake)["precision"] > 0.5


def test_an_outlier_takes_no_digits():
    """One sample at 10^9 leaves the values of the others as they are."""
    real, fake = normal(40, 4, dtype=F64), normal(30, 4, seed=1, dtype=F64)
    real[7], fake[3] = 1e9, -1e9
    assert _measured(real, fake) == pytest.approx(_formula(real, fake))


def test_blocks_of_rows(monkeypatch):
    """Computed in many blocks it is what it is in one."""
    real, fake = normal(40, 3), normal(30, 3, seed=1)
    whole = _measured(real, fake)
    monkeypatch.setattr("ganlib.metrics._neighbors._ENTRIES", 100)
    assert _measured(real, fake) == whole


@pytest.mark.parametrize("sides", [(5, 9), (9, 5), (6, 0)])
def test_k_must_be_below_the_number_of_samples(sides):
    """As many neighbors as there are samples are a ValueError of ours with all numbers; one fewer is enough."""
    with pytest.raises(ValueError, match=rf"{sides[0]} real and {sides[1]} generated.* 6 .*k \(=5\)") as caught:
        _measured(normal(sides[0], 2), normal(sides[1], 2))
    assert isinstance(caught.value, GanlibError)
    real, fake = normal(6, 2), normal(6, 2, seed=1)
    assert _measured(real, fake) == pytest.approx(_formula(real, fake))


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_bad_k_is_named(k):
    """A k that is not a whole number of at least 1 is a ValueError of ours."""
    with pytest.raises(ValueError, match=rf"k \(={k}\)") as caught:
        PrecisionRecall(same, k)
    assert isinstance(caught.value, GanlibError)


CODE = """
import resource, time, torch
from ganlib.metrics import PrecisionRecall
torch.set_num_threads(1)
real, fake = torch.randn(2, 10_000, 128, generator=torch.Generator().manual_seed(0)).relu()
metric = PrecisionRecall(lambda samples: samples)
metric.update(real, real=True)
metric.update(fake, real=False)
before, start = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
metric.compute()
after = resource.getrusage(resource.RUSAGE_SELF)
print(time.process_time() - start, (after.ru_maxrss - before.ru_maxrss) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory as Linux gives it")
def test_ten_thousand_samples():
    """10,000 samples of 128 features take less than 10 s on one core, whatever the others do, and less than 1 GiB."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    seconds, gibibytes = map(float, done.stdout.split())
    assert seconds < 10
    assert gibibytes < 1

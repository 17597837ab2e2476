"""What is computed in float64 where a device has it, with the meta device in place of MPS, which does not."""

import pytest
import torch
from torch import Tensor, nn

from ganlib import _devices, metrics
from ganlib._devices import has_float64, in_float64, widest
from ganlib.training._callbacks._means import RunningMeans
from ganlib.training._step._precision import Precision

MPS, META = torch.device("mps"), torch.device("meta")


@pytest.fixture
def meta_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the meta device be like MPS."""
    monkeypatch.setattr(_devices, "_WITHOUT_FLOAT64", {"meta"})


def test_all_but_mps_have_float64() -> None:
    """There, float32 is the most; elsewhere nothing moves."""
    assert [has_float64(torch.device(name)) for name in ("cpu", "cuda:1", "xpu", "mps")] == [True, True, True, False]
    assert (widest(MPS), widest(torch.device("cuda"))) == (torch.float32, torch.float64)
    assert in_float64(torch.zeros(2)).dtype == torch.float64
    assert in_float64(torch.zeros(2, device="meta")).device == META


def features(samples: Tensor) -> Tensor:
    """Two of a sample."""
    return samples.flatten(1)[:, :2]


@pytest.mark.usefixtures("meta_without_float64")
@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.FrechetDistance(features),
        lambda: metrics.KernelDistance(features),
        lambda: metrics.PrecisionRecall(features, k=1),
        lambda: metrics.Memorization(features),
    ],
)
def test_a_metric_that_is_moved_there_computes_on_the_cpu(make: object) -> None:
    """Its statistics stay on the CPU in float64, and its value is the same."""
    torch.manual_seed(0)
    values = []
    real, fake = torch.randn(2, 8, 1, 2, 2)
    for moved in (True, False):
        metric = make()  # type: ignore[operator]
        if moved:
            metric.to("meta")
        if isinstance(metric, metrics.Memorization):
            metric.add_training(torch.zeros(4, 1, 2, 2))
        metric.update(real, real=True)
        metric.update(fake, real=False)
        values.append(metric.compute())
        assert metric.device.type == "cpu"
    torch.testing.assert_close(*values, rtol=0, atol=0)


@pytest.mark.usefixtures("meta_without_float64")
def test_the_network_of_a_metric_moves_all_the_same() -> None:
    """It is what takes the time."""
    network = nn.Linear(2, 2)
    metrics.InceptionScore(network).to("meta")
    assert network.weight.device == META


@pytest.mark.usefixtures("meta_without_float64")
def test_means_of_metrics_are_float32_there() -> None:
    """To add to them does not wait for the device, so they stay there."""
    means = RunningMeans()
    for iteration in (1, 2):
        means.add(iteration, {"loss": torch.zeros((), device="meta")})
    (total, count) = means.state_dict()["sums"]["loss"]
    assert (total.dtype, count) == (torch.float32, 2)


@pytest.mark.parametrize(("version", "fine"), [("2.6.0", False), ("2.7.1", False), ("2.8.0", True), ("2.14.1", True)])
def test_fp16_on_mps_needs_a_newer_torch(version: str, fine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's gradient scaler computes in float64 there before 2.8."""
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    precision = Precision("fp16")
    assert Precision("bf16").scaler("mps") is None
    if fine:
        assert isinstance(precision.scaler("mps"), torch.amp.GradScaler)
    else:
        with pytest.raises(ValueError, match=r"precision \(='fp16'\) needs torch 2.8 on MPS: take 'bf16'"):
            precision.scaler("mps")

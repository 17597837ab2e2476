"""What all metrics have in common: equal to the published formulas on any batches and ranks, and good torchmetrics."""

import copy
import functools
import io
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchmetrics import MetricCollection

from ganlib._once import sharing
from ganlib.distributed import rank
from ganlib.errors import GanlibError
from ganlib.metrics import (
    DigitClassifier,
    FrechetDistance,
    InceptionFeatures,
    InceptionScore,
    KernelDistance,
    LabelAccuracy,
    ModeCoverage,
    PrecisionRecall,
)
from tests.metrics.cases import CASES, TWO_SIDED, assert_equal, every, made, normal, same, two_sided


def half(samples):
    """Features in half precision."""
    return (300 * samples).half()


def bfloat16(samples):
    """Features in bfloat16."""
    return samples.bfloat16()


class Noisy(nn.Module):
    """A network whose outputs in training mode differ from those in evaluation mode."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))

    def forward(self, samples):
        """Logits, or features."""
        return self.body(samples)

    def features(self, samples):
        """The same."""
        return self.body(samples)


class Using:
    """A callable that is not a module, and has one."""

    def __init__(self, network):
        self.network = network

    def __call__(self, samples):
        """Logits, or features."""
        return self.network(samples)


def _sides(n=40, m=33, dim=3):
    return normal(n, dim), normal(m, dim, seed=1) * 1.5 + 0.3


@every
@pytest.mark.parametrize("network", [same, half, bfloat16])
@pytest.mark.parametrize("n", [2, 3, 40])
def test_it_equals_the_published_formula(case, network, n):
    """In float64 within 1e-6, from 2 samples on; of features in half precision, which are not summed in it."""
    real, fake = _sides(n, n)
    assert_equal(case.measured(real, fake, network), case.expected(real, fake, network))


@every
@pytest.mark.parametrize("sizes", [[40], [0, 1, 39], [7, 13, 0, 20, 0], [1] * 40])
def test_batches_of_any_size_add_up(case, sizes):
    """However the samples are split, with empty batches too, and whichever side comes first, the value is the same."""
    real, fake = _sides(40, 40)
    metric = case.make(same)
    for i in range(len(sizes)):
        case.feed(metric, fake.split(sizes)[i], real=False)
        case.feed(metric, real.split(sizes[::-1])[i], real=True)
    assert_equal(metric.compute(), case.expected(real, fake))


def on_ranks(name, real_share, fake_share, process_group=False):
    """Compute it of the first so many real and fake samples on rank 0, and of the others on rank 1, twice."""
    case, (real, fake) = CASES[name], _sides()
    metric = case.make(same, timeout=60)
    mine = slice(None, real_share) if rank() == 0 else slice(real_share, None)
    if len(real[mine]):
        case.feed(metric, real[mine], real=True)
    mine = slice(None, fake_share) if rank() == 0 else slice(fake_share, None)
    if len(fake[mine]):
        case.feed(metric, fake[mine], real=False)
    first = metric.compute()
    return first, metric.compute()


@every
@pytest.mark.parametrize("shares", [(40, 33), (0, 0), (17, 2), (0, 33)])
def test_two_ranks_are_as_one(case, shares, two_ranks):
    """The value is that of the samples of both ranks, on both, also if one has none; and again when computed again."""
    (name,) = (name for name, other in CASES.items() if other is case)
    for first, second in two_ranks(on_ranks, name, *shares):
        assert_equal(first, case.expected(*_sides()))
        torch.testing.assert_close(second, first, rtol=0, atol=0)


def too_few(name):
    """Compute it where only rank 1 has samples, and only generated ones."""
    case, (_, fake) = CASES[name], _sides()
    metric = case.make(same)
    if rank() == 1:
        case.feed(metric, fake, real=False)
    try:
        return metric.compute()
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("name", TWO_SIDED)
def test_what_is_missing_on_all_ranks_is_said_on_all(name, two_ranks):
    """Without real samples on any rank, every rank raises the same error, so none waits for another."""
    first, second = two_ranks(too_few, name)
    assert "0 real and 33 generated" in first
    assert first == second


@every
def test_the_state_goes_into_a_new_metric(case):
    """A new metric with the ``state_dict`` gives the same value, can be updated, and leaves the dict as it was."""
    real, fake = _sides()
    metric = made(case, real, fake)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = case.make(same)
    other.load_state_dict(state)
    torch.testing.assert_close(other.compute(), metric.compute(), rtol=0, atol=0)
    case.feed(other, fake + 1, real=False)
    third = case.make(same)
    third.load_state_dict(state)
    torch.testing.assert_close(third.compute(), metric.compute(), rtol=0, atol=0)


@every
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda metric: metric.clone(), lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_are_independent(case, copied):
    """A copy, a clone and a pickled metric give the same value; what they are given then is theirs alone."""
    real, fake = _sides()
    metric = made(case, real, fake, Noisy().features)
    before = metric.compute()
    other = copied(metric)
    torch.testing.assert_close(other.compute(), before, rtol=0, atol=0)
    for side in (real, fake):
        case.feed(other, 2 * side, real=side is real)
    torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(other.compute(), before)


@every
@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16, lambda module: module.to(torch.float16)])
def test_another_dtype_of_its_parent_does_not_round_it(case, convert):
    """In a module that is made half precision the value stays, and is as exact after a reset."""
    real, fake = _sides()
    parent = nn.Module()
    parent.metric = metric = made(case, real, fake)
    before = metric.compute()
    convert(parent)
    torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)
    metric.reset()
    case.feed(metric, fake, real=False)
    torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)


@two_sided
def test_reset_keeps_the_real_side(case):
    """After a reset generated samples are compared with the same real ones; ``reset(real=True)`` forgets them too."""
    real, fake = _sides()
    metric = made(case, real, fake * 2)
    assert metric.has_real
    for _ in range(2):
        metric.reset()
        with pytest.raises(ValueError, match="40 real and 0 generated"):
            metric.compute()
        case.feed(metric, fake, real=False)
        assert_equal(metric.compute(), case.expected(real, fake))
    metric.reset(real=True)
    assert not metric.has_real
    with pytest.raises(ValueError, match="0 real and 0 generated"):
        metric.compute()
    dim = 3 if case is CASES["mode_coverage"] else 5  # another number of features is fine now
    real, fake = normal(9, dim), normal(9, dim, seed=2)
    for side in (real, fake):
        case.feed(metric, side, real=side is real)
    assert_equal(metric.compute(), case.expected(real, fake))


@two_sided
def test_forward_is_update(case):
    """Called as a module, a two-sided metric adds samples and gives nothing, and one that fails keeps its state."""
    real, fake = _sides()
    metric = case.make(same)
    if case is CASES["memorization"]:
        metric.add_training(real + 0.25 * real.round())
    assert metric(real, real=True) is None
    assert metric(fake, real=False) is None
    with pytest.raises(ValueError, match="not finite"):
        metric(fake / 0, real=False)
    assert_equal(metric.compute(), case.expected(real, fake))
    with pytest.raises(RuntimeError, match="merge_state"):  # by torchmetrics' rules its moments would be stacked
        metric.merge_state(made(case, real, fake))


def test_forward_of_the_others_is_the_value_of_the_batch():
    """Accuracy as a module gives the value of the batch, and keeps that of all."""
    accuracy = LabelAccuracy(same)
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 2])) == 1
    assert accuracy(torch.eye(3), torch.tensor([1, 2, 0])) == 0
    assert accuracy.compute() == 0.5


def forward_on_ranks():
    """Rank 1 alone has a batch."""
    accuracy = LabelAccuracy(same, timeout=2)
    value = accuracy(torch.eye(2), torch.tensor([0, 0])) if rank() else None
    return value, accuracy.compute()


def test_forward_asks_no_other_rank(two_ranks):
    """As in torchmetrics, ``forward`` gives the value of a rank's own batch, whatever the others do."""
    assert two_ranks(forward_on_ranks) == [(None, 0.5), (0.5, 0.5)]


@every
def test_the_network_is_in_evaluation_mode(case):
    """The value is that of the network in evaluation mode; each module has its own mode again, and its statistics."""
    real, fake = _sides()
    network = Noisy()
    network.body[1].eval()
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    expected = case.measured(real, fake, copy.deepcopy(network).eval())
    functions = (lambda x: network(x), functools.partial(lambda module, x: module(x), network), Using(network))
    for features in (network, network.features, *functions):
        torch.testing.assert_close(case.measured(real, fake, features), expected, rtol=0, atol=0)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@every
@pytest.mark.parametrize(
    "context", [torch.enable_grad, torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_what_is_around_it_changes_nothing(case, context):
    """Gradients, no gradients and autocast around it leave the value as it is; nothing that it keeps has a graph."""
    real, fake = _sides()
    network = Noisy().eval()
    expected = case.measured(real, fake, network)
    with context():
        metric = made(case, real.clone().requires_grad_(), fake.clone().requires_grad_(), network)
        value = metric.compute()
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    kept = [
        tensor for state in metric.metric_state.values() for tensor in (state if isinstance(state, list) else [state])
    ]
    assert not any(tensor.requires_grad for tensor in kept)


@every
def test_samples_come_to_the_network(case):
    """A network in another precision is given samples in its own."""
    network, (real, fake) = Noisy().double().eval(), _sides()
    with torch.no_grad():
        assert_equal(case.measured(real, fake, network), case.expected(real.double(), fake.double(), network))


@every
def test_the_network_is_not_the_metrics(case):
    """Its weights are neither parameters nor saved with the metric."""
    metric = case.make(Noisy())
    assert not list(metric.parameters())
    assert not any("body" in name for name in metric.state_dict())


def test_a_collection_is_as_each_alone():
    """In one MetricCollection each gives what it gives alone: after two updates, after a reset, and again."""
    real, fake = _sides()
    collection = MetricCollection({name: CASES[name].make(same) for name in TWO_SIDED})
    collection["memorization"].add_training(real + 0.25 * real.round())
    for half_of_it in real.split(20):
        collection.update(half_of_it, real=True)
    for factor in (1, 2, 3):
        for half_of_it in (factor * fake).split(20):
            collection.update(half_of_it, real=False)
        values = collection.compute()
        assert_equal(values.pop("frechet_distance"), CASES["frechet_distance"].expected(real, factor * fake))
        assert_equal(values.pop("kernel_distance"), CASES["kernel_distance"].expected(real, factor * fake))
        rest = [CASES[name].expected(real, factor * fake) for name in TWO_SIDED[2:]]
        assert_equal(values, {name: value for one in rest for name, value in one.items()})
        collection.reset()


def test_a_collection_keeps_networks_and_files_apart(tmp_path):
    """Metrics whose states are equal at first do not share them: other networks, and statistics that one has loaded."""
    real, fake = _sides()
    saved = made(CASES["kernel_distance"], real, fake)
    saved.save_statistics(tmp_path / "real.npz")

    def cut(samples):
        return samples.clamp(max=1)

    collection = MetricCollection(
        {"plain": KernelDistance(same), "cut": KernelDistance(cut), "loaded": KernelDistance(same)}
    )
    collection.update(real[:0], real=True)
    collection["loaded"].load_statistics(tmp_path / "real.npz")
    for name in ("plain", "cut"):
        collection[name].update(2 * real, real=True)
    collection.update(fake, real=False)
    case = CASES["kernel_distance"]
    assert_equal(
        collection.compute(),
        {
            "plain": case.expected(2 * real, fake),
            "cut": case.expected(cut(2 * real), cut(fake)),
            "loaded": case.expected(real, fake),
        },
    )


def test_networks_run_once_for_metrics_that_share():
    """Within ``sharing`` three metrics call a method once for each batch object; equal batches are called again."""
    calls = []

    class Counting(nn.Module):
        def features(self, samples):
            calls.append(samples)
            return samples

    network, (real, fake) = Counting(), _sides()
    metrics = [CASES[name].make(network.features) for name in TWO_SIDED[:3]]
    with sharing():
        for metric in metrics:
            metric.update(real, real=True)
            metric.update(fake, real=False)
            metric.update(fake, real=False)
        assert len(calls) == 2
        metrics[0].update(fake.clone(), real=False)
        assert len(calls) == 3
    metrics[0].update(fake, real=False)
    assert len(calls) == 4
    for name, metric in zip(TWO_SIDED[1:3], metrics[1:], strict=True):
        assert_equal(metric.compute(), CASES[name].expected(real, torch.cat([fake, fake])))


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of torch and of its loaders
def test_in_lightning(tmp_path):
    """A LightningModule logs its value in each epoch, and neither trains nor saves its network."""
    lightning = pytest.importorskip("lightning")
    real, fake = _sides()
    network = Noisy().eval()

    class Gan(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.generator = nn.Linear(3, 3)
            self.distance = FrechetDistance(network)

        def training_step(self, batch, _):
            return self.generator(batch).square().mean()

        def validation_step(self, batch, index):
            if self.current_epoch == 0 and not self.trainer.sanity_checking:
                self.distance.update(real.split(20)[index], real=True)
            self.distance.update(batch * (1 + self.current_epoch), real=False)
            self.log("distance", self.distance)

        def on_validation_epoch_end(self):
            values.append(self.distance.compute())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    values = []
    module = Gan()
    assert sum(weight.numel() for weight in module.parameters()) == 12
    trainer = lightning.Trainer(
        max_epochs=2,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    loaders = [torch.utils.data.DataLoader(side, batch_size=20) for side in (real, fake)]
    trainer.fit(module, *loaders)
    with torch.no_grad():
        for value, factor in zip(values, (1, 2), strict=True):
            assert_equal(value, CASES["frechet_distance"].expected(real, factor * fake, network))
    torch.testing.assert_close(trainer.callback_metrics["distance"].double(), values[1], rtol=1e-6, atol=0)
    assert not any("body" in name for name in module.state_dict())


def test_inception_by_name(cache, weights):
    """By its name the network is InceptionFeatures with the weights of the cache, one for all metrics."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    with pytest.raises(RuntimeError, match="weights") as caught:
        KernelDistance("inception")
    assert isinstance(caught.value, GanlibError)
    cache.mkdir()
    shutil.copy(weights, cache / URL_INCEPTION_V3.rpartition("/")[2])
    network, (real, fake) = InceptionFeatures(weights), torch.rand(2, 4, 1, 28, 28) * 2 - 1
    distances = [KernelDistance("inception"), KernelDistance(network)]
    for distance in distances:
        distance.update(real, real=True)
        distance.update(fake, real=False)
    assert distances[0].compute() == distances[1].compute()
    scores = [InceptionScore("inception"), InceptionScore(network.logits)]
    for score in scores:
        score.update(fake)
    assert torch.equal(scores[0].compute(), scores[1].compute())
    with pytest.raises(ValueError, match=r"samples \(2, 5, 8, 8\)"):
        scores[0].update(torch.zeros(2, 5, 8, 8))


BAD = {
    "not a tensor": ([[1.0, 2.0]], TypeError, r"samples \(=\[\[1.0, 2.0\]\]\) must be a tensor"),
    "nan": (torch.tensor([[1.0, float("nan"), 0.0]]), ValueError, "samples hold values that are not finite"),
    "infinite": (torch.tensor([[1.0, float("inf"), 0.0]]), ValueError, "samples hold values that are not finite"),
    "a number": (torch.tensor(1.0), ValueError, r"samples \(\)"),
    "flat": (torch.ones(4), ValueError, r"gave \(4,\) for 4 samples"),
    "without columns": (torch.ones(4, 0), ValueError, r"gave \(4, 0\) for 4 samples"),
}


@every
@pytest.mark.parametrize(("samples", "kind", "message"), BAD.values(), ids=list(BAD))
def test_bad_samples_are_named(case, samples, kind, message):
    """What are no finite samples is an error of ours that says so, and the metric stays as it was."""
    real, fake = _sides()
    metric = made(case, real, fake)
    with pytest.raises(kind, match=message) as caught:
        metric.update(samples, **_rest(case))
    assert isinstance(caught.value, GanlibError)
    assert_equal(metric.compute(), case.expected(real, fake))


@every
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda samples: samples.view(-1), r"gave \(12,\) for 4 samples"),
        (lambda samples: samples[:3], r"gave \(3, 3\) for 4 samples"),
        (lambda samples: samples / 0, "samples have (features|logits) that are not finite"),
        (lambda samples: None, "gave a NoneType for 4 samples"),
    ],
)
def test_bad_outputs_are_named(case, network, message):
    """Outputs of another shape, or not finite, are ValueErrors of ours that say what came."""
    with pytest.raises(ValueError, match=message) as caught:
        case.make(network).update(torch.ones(4, 3), **_rest(case, 4))
    assert isinstance(caught.value, GanlibError)


def _rest(case, n=1):
    """What update needs besides samples."""
    if case is CASES["label_accuracy"]:
        return {"labels": torch.zeros(n, dtype=torch.int64)}
    return {} if case is CASES["inception_score"] else {"real": False}


@every
def test_another_number_of_features_is_refused(case):
    """Samples with 4 columns after some with 3 are a ValueError of ours with both numbers, on either side."""
    if case.make in (LabelAccuracy, ModeCoverage):
        pytest.skip("it keeps no columns")
    metric = made(case, *_sides())
    for real in (True, False) if "real" in _rest(case) else (False,):
        with pytest.raises(ValueError, match=r"gave \(5, 4\).* 3 ") as caught:
            case.feed(metric, torch.ones(5, 4), real=real)
        assert isinstance(caught.value, GanlibError)


@two_sided
@pytest.mark.parametrize("real", [1, "no", None, torch.tensor(True)])
def test_real_is_a_bool(case, real):
    """Anything else is a TypeError of ours with the value."""
    with pytest.raises(TypeError, match=r"real \(=.*\) must be True or False") as caught:
        case.make(same).update(torch.ones(2, 2), real=real)
    assert isinstance(caught.value, GanlibError)


@two_sided
@pytest.mark.parametrize("sides", [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_too_few_samples_are_named(case, sides):
    """No samples on a side, or a single one where two are needed, are a ValueError of ours with both numbers."""
    if sides == (1, 1) and case.make is not FrechetDistance and case is not CASES["precision_recall"]:
        sides = (1, 0)
    metric = case.make(same)
    for n, real in zip(sides, (True, False), strict=True):
        if n:
            case.feed(metric, normal(n, 3), real=real)
    with pytest.raises(ValueError, match=f"{sides[0]} real and {sides[1]} generated samples; at least") as caught:
        metric.compute()
    assert isinstance(caught.value, GanlibError)


@every
@pytest.mark.parametrize(
    ("network", "options", "kind", "message"),
    [
        (64, {}, TypeError, r"(features|classifier) \(=64\) must be callable"),
        ("resnet", {}, TypeError, r"(features|classifier) \(='resnet'\) must be callable"),
        (DigitClassifier, {}, TypeError, r"(features|classifier) \(=.*DigitClassifier.*not a class"),
        (torch.zeros(3).numpy(), {}, TypeError, r"(features|classifier) \(=array"),
        (same, {"timeout": 0}, ValueError, r"timeout \(=0\)"),
        (same, {"timeout": float("nan")}, ValueError, r"timeout \(=nan\)"),
        (same, {"feature": 64}, ValueError, r"options: .*`feature`"),
    ],
)
def test_bad_arguments_are_named(case, network, options, kind, message):
    """A network that cannot be called, a timeout that is not above 0 and an unknown option are errors of ours."""
    with pytest.raises(kind, match=message) as caught:
        case.make(network, **options)
    assert isinstance(caught.value, GanlibError)


SPEED = """
import time, torch
from ganlib.metrics import DigitClassifier, FrechetDistance, KernelDistance, PrecisionRecall
torch.set_num_threads(1)
samples = torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
metric = FrechetDistance(DigitClassifier.pretrained().features)
metric.update(samples[:100], real=True)  # the first batch costs more, and is one of many
start = time.process_time()
for part in samples.split(100):
    metric.update(part, real=True)
seconds = 20 * (time.process_time() - start)  # of 10,000 samples on either side
features = torch.randn(2, 10_000, 128, generator=torch.Generator().manual_seed(0)).relu()
for make in (FrechetDistance, KernelDistance, PrecisionRecall):
    metric = make(lambda samples: samples)
    start = time.process_time()
    for side in (0, 1):
        for part in features[side].split(500):
            metric.update(part, real=side == 1)
    metric.compute()
    seconds += time.process_time() - start
print(seconds)
"""


def test_an_evaluation_of_ten_thousand_samples():
    """FID, KID and PRDC of 10,000 28x28 samples with the classifier take less than 20 s on two cores, 40 s on one."""
    done = subprocess.run([sys.executable, "-c", SPEED], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40


def pooled(samples):
    """Features that are exact in float32 on any device: sums of few whole numbers."""
    return torch.nn.functional.avg_pool2d((16 * samples).round(), 7, divisor_override=1).flatten(1)


@pytest.mark.gpu
@every
def test_on_a_device(case):
    """Samples and network on the device, and the metric there or on the CPU: the value is that of the CPU."""
    real, fake = (normal(200, 1, 28, 28, seed=seed) for seed in (0, 1))
    expected = case.measured(real, fake, pooled)
    device = torch.device("cuda")
    for place in ("cpu", device):
        metric = case.make(pooled).to(place)
        for side in (real, fake):
            for part in side.split(60):
                case.feed(metric, part.to(device), real=side is real)
        value = metric.compute()
        assert all(tensor.device.type == torch.device(place).type for tensor in torch.utils._pytree.tree_leaves(value))
        assert_equal(torch.utils._pytree.tree_map(torch.Tensor.cpu, value), expected)


@pytest.mark.gpu
@two_sided
def test_a_network_moves_with_its_metric(case):
    """A module is where the metric is, samples come to it from anywhere, and a state goes from device to device."""
    classifier = DigitClassifier().eval()
    network = classifier if case.make is ModeCoverage else classifier.features
    metric = case.make(network).to("cuda")
    assert classifier.head.weight.device.type == "cuda"
    real, fake = (normal(60, 1, 28, 28, seed=seed) for seed in (0, 1))
    case.feed(metric, real, real=True)
    case.feed(metric, fake.cuda(), real=False)
    expected = metric.compute()
    other = case.make(network)
    other.load_state_dict(metric.state_dict())
    leaves = torch.utils._pytree.tree_leaves(other.compute())
    assert all(tensor.device.type == "cpu" for tensor in leaves)
    assert_equal(leaves, [tensor.cpu() for tensor in torch.utils._pytree.tree_leaves(expected)])
    metric.cpu()
    assert classifier.head.weight.device.type == "cpu"
    assert_equal(torch.utils._pytree.tree_leaves(metric.compute()), leaves)


def test_bytes_given_to_a_network_of_floats_are_named() -> None:
    """Images of 0 to 255 are a TypeError of ours that says what they are, where the network does not take them."""
    with pytest.raises(TypeError, match=r"samples are torch.uint8") as caught:
        FrechetDistance(DigitClassifier().features).update(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), real=True)
    assert isinstance(caught.value, GanlibError)


class _Static(nn.Module):
    """Writes its outputs into the same tensor each time, as a network in a CUDA graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("outputs", torch.empty(6, 3))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.outputs.copy_(samples * self.weight)


@pytest.mark.parametrize("metric", [FrechetDistance, KernelDistance, PrecisionRecall])
def test_outputs_that_are_overwritten_are_kept(metric: type) -> None:
    """A network that gives the same tensor again does not change what was added, and no graph is kept."""
    given, same_tensor = metric(lambda samples: samples), metric(_Static())
    for one in (given, same_tensor):
        one.update(normal(6, 3).float(), real=True)
        one.update(normal(6, 3, seed=1).float(), real=False)
    assert_equal(same_tensor.compute(), given.compute())


def test_a_row_keeps_no_more_than_itself() -> None:
    """Features that are a part of a large tensor do not keep all of it in memory."""
    metric = KernelDistance(lambda samples: samples[:, :5])
    metric.update(torch.randn(1000, 400), real=True)
    assert metric.real_features[0].untyped_storage().nbytes() == 1000 * 5 * 4


def test_complex_features_are_named() -> None:
    """They are a TypeError of ours, not cut to their real parts."""
    with pytest.raises(TypeError, match="features gave torch.complex64") as caught:
        FrechetDistance(lambda samples: samples * 1j).update(normal(6, 3).float(), real=True)
    assert isinstance(caught.value, GanlibError)

"""Tests of the Inception features, with random weights in the layout of the published ones."""

import hashlib
import os
import pickle
import shutil
import sys
import time

import pytest
import torch
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torchmetrics.image.fid import NoTrainInceptionV3

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DataError, DTypeError, MissingExtraError, ShapeError
from ganlib.metrics._inception import InceptionFeatures, inception

NAME = fidelity.URL_INCEPTION_V3.rpartition("/")[2]


@pytest.fixture(scope="module")
def features(weights):
    """The features with these weights."""
    return InceptionFeatures(weights)


def _eight_bit(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def _scaled(images):
    return images / 127.5 - 1


@pytest.mark.parametrize("size", [(28, 28), (299, 299), (320, 310)])
def test_the_features_are_those_of_torchmetrics(features, weights, size):
    """They equal, bit for bit, what torchmetrics' network gives for the 8-bit images, resized without antialiasing."""
    network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights))
    images = _eight_bit(2, 3, *size)
    if hasattr(network, "use_antialias"):  # it is in newer versions, and on; so they give something else
        assert torch.equal(features(_scaled(images)), network(images)) == (size == (299, 299))
        network.use_antialias = False
    assert torch.equal(features(_scaled(images)), network(images))


def test_the_logits_are_linear_in_the_features(features):
    """Logits are W times the features, without the bias, which is not zero."""
    samples = _scaled(_eight_bit(2, 3, 32, 32))
    weight, bias = features.network.fc.weight, features.network.fc.bias
    assert bias.abs().max() > 0.001
    torch.testing.assert_close(features.logits(samples), features(samples) @ weight.T)
    assert features.num_features == features(samples).shape[1] == 2048
    assert features.logits(samples).shape == (2, 1008)


@pytest.mark.parametrize(
    "scale",
    [
        lambda images: (images / 255 - 0.5) / 0.5,
        lambda images: images / 255 * 2 - 1,
        lambda images: _scaled(images.double()),
        lambda images: _scaled(images).bfloat16(),
        lambda images: _scaled(images).half(),
    ],
)
def test_8_bit_images_come_back(features, scale):
    """However the 256 values of 8-bit images are scaled to [-1, 1], and in every dtype, the features are the same."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    given = features(scale(images))
    assert given.dtype is torch.float32
    assert torch.equal(given, features(_scaled(images)))
    assert not torch.equal(given, features(_scaled(images.clamp(1))))  # one pixel of one level


def test_values_are_rounded_to_the_nearest_level_and_clipped(features):
    """Up to 0.49 levels of noise, and whatever is beyond black and white, change nothing."""
    images = _eight_bit(1, 3, 16, 16)
    images[..., 0], images[..., 1] = 0, 255
    samples, noise = _scaled(images), 0.49 / 127.5 * torch.rand(1, 3, 16, 16).mul(2).sub(1).sign()
    beyond = torch.where(images == 255, 7.0, torch.where(images == 0, -7.0, samples + noise))
    assert torch.equal(features(beyond), features(samples))


def test_a_grey_image_is_one_of_three_equal_channels(features):
    """One channel gives what it gives three times."""
    grey = _scaled(_eight_bit(2, 1, 28, 28))
    assert torch.equal(features(grey), features(grey.expand(-1, 3, -1, -1)))


def test_the_range_of_the_samples(features, weights):
    """Samples in [0, 1] give the same, with that range."""
    images = _eight_bit(1, 3, 28, 28)
    assert torch.equal(InceptionFeatures(weights, sample_range=(0, 1))(images / 255), features(_scaled(images)))


def test_a_samples_features_do_not_depend_on_the_others(features, monkeypatch):
    """Each sample alone gets what it gets in a batch, and in a batch that is computed in several chunks."""
    samples = _scaled(_eight_bit(5, 3, 28, 28))
    together = features(samples)
    torch.testing.assert_close(torch.cat([features(sample) for sample in samples.split(1)]), together)
    monkeypatch.setattr("ganlib.metrics._inception._CHUNK", 2)
    torch.testing.assert_close(features(samples), together)
    assert features(samples[:0]).shape == (0, 2048)


def test_it_is_never_trained(weights):
    """Training mode changes neither the features nor the state, and nothing has a gradient."""
    features, samples = InceptionFeatures(weights), _scaled(_eight_bit(2, 3, 28, 28)).requires_grad_()
    expected, state = features(samples), {name: value.clone() for name, value in features.state_dict().items()}
    nn.Sequential(features).train()
    assert not any(module.training for module in features.modules())
    assert torch.equal(features(samples), expected)
    assert not any(output.requires_grad for output in (features(samples), features.logits(samples)))
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert all(torch.equal(value, state[name]) for name, value in features.state_dict().items())


def test_autocast_changes_nothing(features):
    """Inside autocast the features are the same, in float32."""
    samples = _scaled(_eight_bit(1, 3, 28, 28))
    expected = features(samples), features.logits(samples)
    with torch.autocast("cpu", torch.bfloat16):
        given = features(samples), features.logits(samples)
    assert all(map(torch.equal, given, expected))


@pytest.mark.gpu
def test_on_cuda(weights):
    """On a device, where it moves by itself, it gives what it gives on the CPU, inside autocast too."""
    features, samples = InceptionFeatures(weights), _scaled(_eight_bit(3, 3, 28, 28))
    expected = features(samples)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), torch.autocast("cuda", torch.float16):
        given = features(samples.cuda())
    assert given.is_cuda
    torch.testing.assert_close(given.cpu(), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features(samples), expected)  # and back


def test_making_it_draws_nothing(weights):
    """The random state is the same before and after, so that an evaluation does not change a training."""
    before = torch.get_rng_state()
    InceptionFeatures(weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_default_dtype_and_device_do_not_matter(weights, features):
    """Under another default dtype and device it is the same network."""
    samples = _scaled(_eight_bit(1, 3, 28, 28))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            other = InceptionFeatures(weights)
        assert torch.equal(other(samples), features(samples))
    finally:
        torch.set_default_dtype(torch.float32)


def test_older_files_are_read(weights, features, tmp_path):
    """A file of torch.save before version 1.6, as the published one is, gives the same network."""
    path = tmp_path / "old.pth"
    torch.save(torch.load(weights), path, _use_new_zipfile_serialization=False)
    state = InceptionFeatures(str(path)).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in features.state_dict().items())


def test_missing_weights_are_named(cache):
    """Without weights and internet access, an error says at once which file is missing, where, and what to do."""
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        InceptionFeatures()
    assert time.monotonic() - start < 10
    for text in (str(cache / NAME), fidelity.URL_INCEPTION_V3, f"InceptionFeatures('{NAME}')", "Connection refused"):
        assert text in str(caught.value)
    with pytest.raises(DataError, match=r"weights \(='nowhere.pth'\): there is no such file.*http"):
        InceptionFeatures("nowhere.pth")


def test_weights_are_downloaded_once(cache, weights, tmp_path, monkeypatch):
    """They are downloaded to the cache, and read from there; a file with another hash than its name says is refused."""
    content = weights.read_bytes()
    source = tmp_path / f"weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", source.as_uri())
    source.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match="hash"):
        InceptionFeatures()
    assert not list(cache.iterdir())
    source.write_bytes(content)
    InceptionFeatures()
    source.unlink()
    InceptionFeatures()
    assert [path.name for path in cache.iterdir()] == [source.name]


def test_one_network_is_shared(cache, weights):
    """All that ask for the network of the process get one object; before there are weights, each gets an error."""
    with pytest.raises(DataError):
        inception()
    cache.mkdir()
    shutil.copy(weights, cache / NAME)
    assert isinstance(inception(), InceptionFeatures)
    assert inception() is inception()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle"])
def test_a_file_runs_no_code(weights, tmp_path, kind):
    """A file with code among the weights is refused, and the code does not run."""
    state, path, exploded = torch.load(weights), tmp_path / "hostile.pth", tmp_path / "exploded"
    state["Conv2d_1a_3x3.conv.weight"] = Bomb(exploded)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(exploded)))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(DataError, match="hostile.pth"):
        InceptionFeatures(path)
    assert not exploded.exists()
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert exploded.exists()  # the code is live


def _without(state):
    del state["fc.weight"]
    return state


@pytest.mark.parametrize(
    "change",
    [
        _without,
        lambda state: state | {"more": torch.zeros(1)},
        lambda state: state | {"fc.weight": torch.zeros(1000, 2048)},
        lambda state: list(state.values()),
        lambda state: nn.Linear(2, 2).state_dict(),
    ],
)
def test_other_weights_are_refused(weights, tmp_path, change):
    """The weights of another network, or something else, are an error that names the file and where to get it."""
    path = tmp_path / "other.pth"
    torch.save(change(torch.load(weights)), path)
    with pytest.raises(DataError, match=r"weights \(='.*other.pth'\) cannot be read.*https://.*\.pth"):
        InceptionFeatures(path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("length", [100, -1000])
def test_a_file_that_is_cut_off_is_refused(weights, tmp_path, length, new):
    """A file that ends too early is an error that names it, in either format."""
    path = tmp_path / "cut.pth"
    torch.save(torch.load(weights), path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match="cut.pth"):
        InceptionFeatures(path)


def test_bad_samples(features):
    """Samples of another shape, dtype or that are not finite are named."""
    for call in (features, features.logits):
        for shape in ((3, 28, 28), (2, 2, 28, 28), (2, 4, 28, 28), (2, 784)):
            with pytest.raises(ShapeError, match=rf"samples \({', '.join(map(str, shape))}\)"):
                call(torch.zeros(shape))
        with pytest.raises(DTypeError, match=r"samples.*torch.uint8"):
            call(_eight_bit(1, 3, 28, 28))
        for value in (float("nan"), float("inf")):
            samples = torch.zeros(2, 3, 28, 28)
            samples[1, 2, 3, 4] = value
            with pytest.raises(ArgumentValueError, match=r"samples.*not finite"):
                call(samples)


def test_bad_arguments(weights):
    """Weights that are not a path, and a range that does not increase, are named."""
    with pytest.raises(ArgumentTypeError, match=r"weights \(=5\)"):
        InceptionFeatures(5)
    for sample_range in ((1, -1), (0, 0), (0, float("nan"))):
        with pytest.raises(ArgumentValueError, match="sample_range"):
            InceptionFeatures(weights, sample_range=sample_range)


def test_without_torch_fidelity(weights, monkeypatch):
    """Without the package an error says how to get it."""
    for name in ("torch_fidelity", fidelity.__name__):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"torch_fidelity.*ganlib\[metrics\]"):
        InceptionFeatures(weights)

"""Random weights in the layout of the published ones of Inception, and a cache for them."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ganlib.metrics._inception import inception


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights, of the size that keeps features apart."""
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    class Untrained(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_, **__):
            return None

    empty, path = io.BytesIO(), tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Untrained("inception-v3-compat", ["2048"], empty)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the published weights, an empty one; nothing can be downloaded, since no server is there."""
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    name = fidelity.URL_INCEPTION_V3.rpartition("/")[2]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", f"http://127.0.0.1:9/{name}")
    inception.cache_clear()
    yield tmp_path / "checkpoints"
    inception.cache_clear()

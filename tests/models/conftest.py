"""Files that tests of networks on disk read and write."""

import shutil

import pytest

from ganlib.models import mlp_gan, save_generator
from tests.models.cases import FORMAT_1


@pytest.fixture
def path(tmp_path):
    """Where the generator is saved."""
    return tmp_path / "run" / "generator.safetensors"


@pytest.fixture
def saved(path):
    """The path of a saved generator."""
    save_generator(path, mlp_gan((1, 4, 5), 6, (8,))[0], info={"classes": ["a"]})
    return path


@pytest.fixture
def old(path):
    """The path of a generator that the version before saved."""
    path.parent.mkdir()
    shutil.copy(FORMAT_1 / "mlp_gan.pt", path.with_name("generator.pt"))
    return path.with_name("generator.pt")

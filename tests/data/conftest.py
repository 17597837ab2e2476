"""What the tests of folders of images share."""

import pytest

from tests.data.pictures import put


@pytest.fixture
def root(tmp_path):
    """Two classes of three images each."""
    for name in ("dog/1.png", "dog/2.png", "dog/3.png", "cat/1.png", "cat/2.png", "cat/3.png"):
        put(tmp_path, name)
    return tmp_path

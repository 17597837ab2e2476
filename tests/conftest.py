"""What all tests share."""

import os
from collections.abc import Iterator

import pytest

from tests.ranks import Ranks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real data run only where GANLIB_DATA says where it is."""
    if not os.environ.get("GANLIB_DATA"):
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(
                    pytest.mark.skip(reason="GANLIB_DATA does not name a folder with MNIST/raw and cifar10/train")
                )


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[Ranks]:
    """Two processes joined by ``torch.distributed``: ``two_ranks(function, *arguments)`` gives both results."""
    ranks = Ranks(2)
    yield ranks
    ranks.end()


@pytest.fixture(scope="session")
def three_ranks() -> Iterator[Ranks]:
    """Three of them."""
    ranks = Ranks(3)
    yield ranks
    ranks.end()

"""What all tests share."""

import os
import warnings
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch

from tests.ranks import Ranks

hypothesis.settings.register_profile("busy machine", deadline=None)  # no test fails because others run next to it
hypothesis.settings.load_profile("busy machine")

collect_ignore = ["typing_programs"]  # which test_typing.py has checked


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of real data unless GANLIB_DATA says where it is, those of CUDA without a device, and slow ones."""
    needs = {}
    if not os.environ.get("GANLIB_SLOW"):
        needs["slow"] = "takes minutes: GANLIB_SLOW=1 runs it, and .ci/run"
    if not os.environ.get("GANLIB_DATA"):
        needs["real_data"] = "GANLIB_DATA does not name a folder with MNIST/raw and cifar10/train"
    if not torch.cuda.is_available():
        needs["gpu"] = "needs a CUDA device"
    for item in items:
        for marker, reason in needs.items():
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def sync_debug_mode() -> Iterator[Callable[[str], None]]:
    """Set what torch does where the host waits for CUDA: ``"error"`` or ``"default"``, which comes back at the end."""

    def set_mode(mode: str) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype feature")
            torch.cuda.set_sync_debug_mode(mode)

    yield set_mode
    set_mode("default")


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

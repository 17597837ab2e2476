"""What all tests share."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real data run only where GANLIB_DATA says where it is."""
    if not os.environ.get("GANLIB_DATA"):
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="GANLIB_DATA does not name a folder with MNIST/raw"))

"""What all tests share: a plain environment, and slow files first."""

import os
import re

import pytest

from tests.support.server import KNOBS

# A developer's knobs and proxies, and the options of a make that runs the tests, would
# reach the servers.
for name in list(os.environ):
    if name in KNOBS or re.fullmatch("MAKE.*|.*_proxy", name, re.IGNORECASE):
        del os.environ[name]


@pytest.fixture
def anyio_backend():
    return "asyncio"


def pytest_collection_modifyitems(items):
    """Start the slow files first; in each, what waits for `turns` comes last."""

    def place(item):
        return "slow" not in item.keywords, item.path, "turns" in item.fixturenames

    items.sort(key=place)

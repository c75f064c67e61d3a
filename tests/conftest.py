"""What all tests share: a plain environment, and slow files first."""

import os
import re
import signal

import pytest

# A developer's knobs, a make above the tests, proxies: nothing of it reaches a server.
KNOBS = "COUNT|TICK|DEBUG|PORT|WORKERS|TABS|FAST|STREAMS|GUNICORN_CMD_ARGS"
for name in list(os.environ):
    if re.fullmatch(rf"{KNOBS}|MAKEFLAGS|MAKELEVEL|.*_proxy", name, re.IGNORECASE):
        del os.environ[name]
# What a script starts with & ignores Ctrl-C, and so would the servers of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend():
    return "asyncio"


def pytest_collection_modifyitems(items):
    """Start the slow files first; in each, what waits for `turns` comes last."""

    def place(item):
        return "slow" not in item.keywords, item.path, "turns" in item.fixturenames

    items.sort(key=place)

"""What all tests share: a plain environment, a counting database, slow files first."""

import os
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.support.server import KNOBS

# A developer's knobs and proxies, and the options of a make that runs the tests, would
# reach the servers.
for name in list(os.environ):
    if name in KNOBS or re.fullmatch("MAKE.*|.*_proxy", name, re.IGNORECASE):
        del os.environ[name]


class CountedConnection(sqlite3.Connection):
    """An SQLite connection that counts how many are open."""

    opened = closed = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        CountedConnection.opened += 1

    def close(self):
        super().close()
        CountedConnection.closed += 1


@pytest.fixture(scope="session", autouse=True)
def counted_connections():
    """Give the app, which has none, a database, before Django looks for one."""
    from django.conf import settings

    import app  # noqa: F401, configures Django

    with tempfile.TemporaryDirectory() as folder:
        settings.DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(folder, "db.sqlite3"),
                "OPTIONS": {"factory": CountedConnection},
            }
        }
        yield CountedConnection


@pytest.fixture
def anyio_backend():
    return "asyncio"


def pytest_collection_modifyitems(items):
    """Start the slow files first; in each, what waits for `turns` comes last."""

    def place(item):
        return "slow" not in item.keywords, item.path, "turns" in item.fixturenames

    items.sort(key=place)

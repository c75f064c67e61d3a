"""What all tests share: short countdowns in process, slow files first, a last line."""

import os
import signal
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pytest

os.environ.update(COUNT="3", TICK="0")
# What a script starts with & ignores Ctrl-C, and so would the servers of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
    def place(item):
        slow, late = map(item.get_closest_marker, ("slow", "late"))
        return slow is None, item.path, late is not None

    items.sort(key=place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Say last, below pytest's own summary, what was left out and why."""
    status = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = Counter(report.longrepr[2] for report in skipped)
    for reason, tests in reasons.items():
        reason = reason.removeprefix("Skipped: ")
        print(f"left out: {tests} of the tests, because {reason}")
    return status

"""What all tests share: short countdowns in process, slow files first, a last line."""

import os
import signal
from collections import Counter

import pytest

os.environ.update(COUNT="3", TICK="0")
# What a script starts with & ignores Ctrl-C, and so would the servers of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


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

"""What tests share: short countdowns in process, a database that counts, a browser."""

import os
import signal
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from browser import launch
from page import SECOND, Watch
from playwright.sync_api import expect, sync_playwright

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


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def database():
    """The connections that this test opens and closes."""
    CountedConnection.opened = CountedConnection.closed = 0
    return CountedConnection


@pytest.fixture(scope="session", autouse=True)
def settings_with_database():
    """Give the app, which has none, a database for the tests of handlers.py."""
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
        yield


@pytest.fixture(params=["django", "ours"])
def handler_class(request):
    """Django's handler and ours: what both must do is tested on both."""
    from django.core.handlers.asgi import ASGIHandler

    import handlers

    return {"django": ASGIHandler, "ours": handlers.ASGIHandler}[request.param]


@pytest.fixture(scope="module")  # no longer: async tests cannot run while it is open
def browser():
    """A real Chromium. Without one the test is skipped; in CI it fails."""
    expect.set_options(timeout=20 * SECOND)
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except RuntimeError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield browser
        browser.close()


@pytest.fixture
def context(browser):
    """A browser context: tabs that share connections, as those of a window do."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def watch(context):
    watch = Watch(context)
    yield watch
    watch.check()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


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

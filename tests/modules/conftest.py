"""What the tests of the modules share: handlers, signals, a database that counts."""

import sqlite3
import tempfile
from pathlib import Path

import pytest


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


@pytest.fixture
def connect():
    """Connect a receiver to a signal, until the test ends."""
    connected = []

    def connect(signal, receiver, sender=None):
        signal.connect(receiver, sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, *receiver in connected:
        signal.disconnect(*receiver)


@pytest.fixture
def signals(connect):
    """The request signals that were sent, as a list that grows."""
    from django.core.signals import request_finished, request_started

    sent = []
    connect(request_started, lambda **kwargs: sent.append("started"))
    connect(request_finished, lambda **kwargs: sent.append("finished"))
    return sent

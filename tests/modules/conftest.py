"""What the tests of the modules share: handlers, signals, a database that counts."""

import os
import sqlite3
from functools import partial

import pytest
from django.conf import settings
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.dispatch import Signal

import app  # noqa: F401, configures Django
import handlers


class CountedConnection(sqlite3.Connection):
    """An SQLite connection that counts how many are opened and closed."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        CountedConnection.opened += 1

    def close(self):
        super().close()
        CountedConnection.closed += 1


# Before Django looks for a database. One in memory would never be closed.
settings.DATABASES["default"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.devnull,
    "OPTIONS": {"factory": CountedConnection},
}


@pytest.fixture(autouse=True)
def database():
    """The connections that this test opens and closes."""
    CountedConnection.opened = CountedConnection.closed = 0
    return CountedConnection


@pytest.fixture(params=[asgi.ASGIHandler, handlers.ASGIHandler], ids=["django", "ours"])
def handler_class(request):
    """Django's handler and ours: what both must do is tested on both."""
    return request.param


@pytest.fixture
def connect(monkeypatch):
    """Connect a receiver to a signal of a request, until the test ends."""
    for signal in request_started, request_finished:
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
    return partial(Signal.connect, weak=False)


@pytest.fixture
def signals(connect):
    """The request signals that were sent, as a list that grows."""
    sent = []

    def started(sender, scope, **kwargs):
        sent.append(sender and "started")

    connect(request_started, started)
    connect(request_finished, lambda **kwargs: sent.append("finished"))
    return sent

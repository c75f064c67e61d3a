"""What the tests of the modules share: handlers, signals, a database that counts."""

import pytest


@pytest.fixture
def database(counted_connections):
    """The connections that this test opens and closes."""
    counted_connections.opened = counted_connections.closed = 0
    return counted_connections


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

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def signals(connect):
    """The request signals that were sent, as a list that grows."""
    from django.core.signals import request_finished, request_started

    sent = []
    connect(request_started, lambda **kwargs: sent.append("started"))
    connect(request_finished, lambda **kwargs: sent.append("finished"))
    return sent

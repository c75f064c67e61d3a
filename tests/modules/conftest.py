"""What the tests of the two modules share: both handlers, a database that counts."""

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

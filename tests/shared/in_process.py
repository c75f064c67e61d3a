"""An ASGI handler without a server: serve one view, send requests, read the answers."""

import asyncio

from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import override_settings
from django.urls import path


def serve(handler_class, view, middleware=(), request_class=ASGIRequest):
    """Return a handler that answers / by the view."""

    class Request(request_class):
        urlconf = (path("", view),)

    with override_settings(MIDDLEWARE=middleware):
        handler = handler_class()
    handler.request_class = Request
    return handler


def open_request(handler, url="/", method="GET", headers=()):
    """Start a request; its body has still to be sent."""
    url, _, query_string = url.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": url,
        "query_string": query_string.encode("latin-1"),
        "headers": [(b"host", b"localhost"), *headers],
    }
    return ApplicationCommunicator(handler, scope)


async def get(handler, url="/", method="GET", body=b"", headers=()):
    """Run a request to its end; return the status and the body."""
    communicator = open_request(handler, url, method, headers)
    await communicator.send_input({"type": "http.request", "body": body})
    await communicator.wait(5)
    output = communicator.output_queue
    start, *parts = [output.get_nowait() for _ in range(output.qsize())]
    assert not parts[-1].get("more_body", False)
    return start["status"], b"".join(part.get("body", b"") for part in parts).decode()


async def open_stream(handler, url="/"):
    """Start a stream; return when its first part has come."""
    communicator = open_request(handler, url)
    await communicator.send_input({"type": "http.request"})
    assert (await communicator.receive_output(5))["status"] == 200
    part = await communicator.receive_output(5)
    assert isinstance(part["body"], bytes)
    assert part["more_body"]
    return communicator


async def leave(stream):
    """Be a client that goes away; return when the handler has noticed."""
    await stream.send_input({"type": "http.disconnect"})
    await stream.wait(5)


async def until(condition):
    """Wait until the condition holds; TimeoutError after five seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def query():
    """Open a database connection, and use it."""
    with connection.cursor() as cursor:
        return cursor.execute("SELECT 1").fetchone()[0]

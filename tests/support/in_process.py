"""An ASGI handler without a server: serve one view, send requests, read the answers."""

import asyncio

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

ROOM = 30  # seconds, which only a test that fails takes
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


def serve(handler_class, view, middleware=()):
    """Return a handler that answers / by the view."""

    class Request(ASGIRequest):
        urlconf = (path("", view),)

    with override_settings(MIDDLEWARE=middleware):
        handler = handler_class()
    handler.request_class = Request
    return handler


def streaming(generator, response_class=StreamingHttpResponse, **options):
    """Return a view that streams what the generator function makes."""

    async def view(request):
        return response_class(generator(), **options)

    return view


async def numbers():
    for number in "123":
        yield number


async def waiting():
    yield "tick"
    await asyncio.Event().wait()


async def failing():
    await sync_to_async(query)()
    yield "tick"
    raise ValueError("on purpose") from KeyError("inner")


async def page_view(request):
    return HttpResponse("123")


def query():
    """Use a database connection, and open it for that."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def send_request(handler, body=b""):
    """Start a request and send its body; the answer has still to be read."""
    request = ApplicationCommunicator(handler, SCOPE)
    await request.send_input({"type": "http.request", "body": body})
    return request


async def outcome(request):
    """Wait for the end of a request; raise what its handler raises."""
    await asyncio.wait([request.future], timeout=ROOM)
    request.future.result()


async def get(handler, body=b""):
    """Run a request to its end; return the status and the body."""
    request = await send_request(handler, body)
    await outcome(request)
    output = request.output_queue
    start, *parts = [output.get_nowait() for _ in range(output.qsize())]
    assert not parts[-1].get("more_body", False)
    return start["status"], b"".join(part.get("body", b"") for part in parts).decode()


async def open_stream(handler):
    """Start a stream; return when its first part has come."""
    stream = await send_request(handler)
    assert (await stream.receive_output(ROOM))["status"] == 200
    assert (await stream.receive_output(ROOM))["more_body"]
    return stream


async def leave(request):
    """Be a client that goes away; return when the handler has noticed."""
    await request.send_input({"type": "http.disconnect"})
    await outcome(request)


async def until(condition):
    """Wait until the condition holds."""
    async with asyncio.timeout(ROOM):
        while not condition():
            await asyncio.sleep(0.01)

"""An ASGI handler without a server: serve one view, send requests, read the answers."""

import asyncio

from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

ROOM = 30  # seconds, which only a test that fails takes


def serve(handler_class, view, middleware=(), request_class=ASGIRequest):
    """Return a handler that answers / by the view."""

    class Request(request_class):
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


async def page_view(request):
    return HttpResponse("123")


async def waiting():
    yield "tick"
    await asyncio.Event().wait()


async def waiting_view(request):
    await asyncio.Event().wait()


def open_request(handler, url="/", method="GET", headers=()):
    """Start a request; its body has still to be sent."""
    url, _, query_string = url.encode("latin-1").partition(b"?")
    scope = {"type": "http", "method": method, "query_string": query_string}
    scope |= {"path": url.decode(), "headers": [(b"host", b"localhost"), *headers]}
    return ApplicationCommunicator(handler, scope)


async def send_request(handler, url="/", method="GET", body=b"", headers=()):
    """Start a request and send its body; the answer has still to be read."""
    request = open_request(handler, url, method, headers)
    await request.send_input({"type": "http.request", "body": body})
    return request


async def get(handler, url="/", method="GET", body=b"", headers=()):
    """Run a request to its end; return the status and the body."""
    request = await send_request(handler, url, method, body, headers)
    await request.wait(ROOM)
    output = request.output_queue
    start, *parts = [output.get_nowait() for _ in range(output.qsize())]
    assert not parts[-1].get("more_body", False)
    return start["status"], b"".join(part.get("body", b"") for part in parts).decode()


async def open_stream(handler, url="/"):
    """Start a stream; return when its first part has come."""
    stream = await send_request(handler, url)
    assert (await stream.receive_output(ROOM))["status"] == 200
    assert (await stream.receive_output(ROOM))["more_body"]
    return stream


async def leave(stream):
    """Be a client that goes away; return when the handler has noticed."""
    await stream.send_input({"type": "http.disconnect"})
    await stream.wait(ROOM)


async def outcome(request):
    """Raise what the handler raises, a CancelledError, too; or return."""
    await asyncio.wait([request.future], timeout=ROOM)
    request.future.result()


async def cancel(request):
    """Be a server that cancels the request."""
    request.future.cancel()
    await outcome(request)


async def until(condition):
    """Wait until the condition holds."""
    async with asyncio.timeout(ROOM):
        while not condition():
            await asyncio.sleep(0.01)


def query(sql="SELECT 1"):
    """Use a database connection, and open it for that; return the first value."""
    with connection.cursor() as cursor:
        row = cursor.execute(sql).fetchone()
        return row and row[0]

"""handlers.ASGIHandler beside Django's: the same in all but the threads.

What both must do runs on both, so that no test asks for more than Django gives.
"""

import asyncio
import threading
from contextvars import ContextVar

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.decorators import sync_and_async_middleware

import handlers
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    ROOM,
    get,
    leave,
    open_request,
    open_stream,
    query,
    send_request,
    serve,
    streaming,
    until,
    waiting,
)

language = ContextVar("language")


def page_view(request):
    return HttpResponse("page")


def query_view(request):
    return HttpResponse(str(query()))


def failing_view(request):
    query()
    raise ValueError("on purpose")


async def stream_view(request):
    language.set("fr")

    async def generator():
        yield f"{language.get()} {request.body.decode()} "
        yield f"{await sync_to_async(query)()}"

    return StreamingHttpResponse(generator())


async def test_sync_views_run_in_parallel(handler_class):
    together = threading.Barrier(2)

    def view(request):
        together.wait(timeout=ROOM)
        return HttpResponse("met")

    handler = serve(handler_class, view)
    answers = await asyncio.gather(get(handler), get(handler))
    assert answers == [(200, "met")] * 2


@pytest.mark.parametrize("view", [query_view, failing_view, stream_view])
async def test_connections_are_closed(handler_class, database, view):
    await get(serve(handler_class, view))
    await until(lambda: 0 < database.opened == database.closed)


@pytest.mark.parametrize(
    ("view", "url", "status"),
    [
        (page_view, "/", 200),
        (stream_view, "/", 200),
        (failing_view, "/", 500),
        (page_view, "/unknown/", 404),
        (page_view, "/?\xff", 400),  # no request can be built of it
    ],
)
async def test_signals_are_sent_once(handler_class, signals, view, url, status):
    assert (await get(serve(handler_class, view), url))[0] == status
    assert signals == ["started", "finished"]


async def test_signals_are_sent_once_when_the_client_leaves(handler_class, signals):
    stream = await open_stream(serve(handler_class, streaming(waiting)))
    assert signals == ["started"]
    await leave(stream)
    assert signals == ["started", "finished"]


async def test_djangos_receivers_are_called(handler_class, monkeypatch):
    """Those of request_started, too, though no thread is started for them."""
    calls = []

    async def view(request):
        return HttpResponse("page")

    monkeypatch.setattr(connections, "all", lambda **kwargs: calls.append(True) or [])
    await get(serve(handler_class, view))
    assert len(calls) == 3  # two of request_started, one of request_finished


async def test_receivers_run_in_the_thread_of_the_view(handler_class, connect):
    threads = []

    def note_thread(*args, **kwargs):
        threads.append(threading.current_thread())
        return HttpResponse("noted")

    for signal in (request_started, request_finished):
        connect(signal, note_thread)
    assert await get(serve(handler_class, note_thread)) == (200, "noted")
    assert len(threads) == 3
    assert len(set(threads) - {threading.current_thread()}) == 1


async def test_sync_iterator_runs_in_the_thread_of_the_view(handler_class):
    def view(request):
        thread = threading.get_ident()
        return StreamingHttpResponse(
            str(threading.get_ident() == thread) for _ in range(2)
        )

    with pytest.warns(Warning, match="must consume synchronous iterators"):
        assert await get(serve(handler_class, view)) == (200, "TrueTrue")


async def test_view_is_cancelled_when_the_client_leaves(handler_class):
    events = []

    async def view(request):
        events.append("waiting")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    request = await send_request(serve(handler_class, view))
    await until(lambda: events == ["waiting"])
    await leave(request)
    assert events == ["waiting", "cancelled"]
    assert request.output_queue.empty()


@sync_and_async_middleware
def async_middleware(get_response):
    async def upper(content):
        async for part in content:
            yield part.upper()

    async def middleware(request):
        response = await get_response(request)
        response.streaming_content = upper(response.streaming_content)
        return response

    return middleware


def sync_middleware(get_response):
    def middleware(request):
        assert query() == 1
        return get_response(request)

    return middleware


@pytest.mark.parametrize(
    ("middleware", "answer"),
    [
        ([], "fr body 1"),
        ([f"{__name__}.sync_middleware"], "fr body 1"),
        ([f"{__name__}.async_middleware"], "FR BODY 1"),
    ],
    ids=["none", "sync", "async"],
)
async def test_generator_has_the_context_and_request_of_its_view(
    handler_class, middleware, answer
):
    handler = serve(handler_class, stream_view, middleware)
    assert await get(handler, "/", "POST", b"body") == (200, answer)


def writing_slowly(application):
    """The application on a server that takes its time to write each part."""

    async def slow(scope, receive, send):
        async def send_slowly(message):
            await send(message)
            if message.get("more_body"):
                await asyncio.Event().wait()

        await application(scope, receive, send_slowly)

    return slow


@pytest.mark.parametrize("server", [lambda handler: handler, writing_slowly])
async def test_generator_is_closed_when_the_client_leaves(handler_class, server):
    closed, kept = [], []  # kept: or Python closes what nobody refers to

    async def ticks():
        try:
            yield "tick"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def view(request):
        kept.append(ticks())
        return AsyncStreamingHttpResponse(kept[0])

    stream = await open_stream(server(serve(handler_class, view)))
    assert closed == []
    await leave(stream)
    assert closed == [True]


async def test_receive_is_called_once_after_the_body(handler_class):
    """gunicorn's ASGI worker takes a cancelled call for the end of the connection."""
    calls = []

    async def counted(scope, receive, send):
        def receive_counted():
            calls.append("receive")
            return receive()

        await serve(handler_class, streaming(waiting))(scope, receive_counted, send)

    stream = await open_stream(counted)
    await until(lambda: len(calls) == 2)
    await leave(stream)
    assert len(calls) == 2


async def test_client_that_leaves_before_its_request_is_complete(
    handler_class, signals
):
    request = open_request(serve(handler_class, page_view), method="POST")
    await leave(request)
    assert signals == []


def test_request_class_of_the_handler_class(monkeypatch):
    """As libraries set it; get_asgi_application() leaves it alone."""

    class Request(asgi.ASGIRequest):
        pass

    monkeypatch.setattr(asgi.ASGIHandler, "request_class", Request)
    assert handlers.get_asgi_application().request_class is Request

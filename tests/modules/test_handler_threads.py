"""Which threads are started, kept and ended; and what runs in them."""

import asyncio
import threading
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers import asgi
from django.core.signals import request_finished, request_started
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings

from handlers import ASGIHandler
from responses import AsyncStreamingHttpResponse
from tests.support.in_process import (
    ROOM,
    SCOPE,
    failing,
    get,
    leave,
    numbers,
    open_stream,
    outcome,
    page_view,
    query,
    send_request,
    serve,
    streaming,
    waiting,
)

in_thread = threading.local()
ran_in = []  # the threads in which a closer or a receiver ran


def note_thread(*args, **kwargs):
    ran_in.append(threading.current_thread())


def check_thread():
    """The closer or receiver ran once, and not on the event loop."""
    thread = ran_in.pop()
    assert not ran_in
    assert thread != threading.current_thread()


def leave_tenant():
    """Leave something in the thread, and a connection open."""
    in_thread.tenant = "blue"
    query()


def leaving_middleware(get_response):
    def middleware(request):
        leave_tenant()
        return get_response(request)

    return middleware


MIDDLEWARE = [f"{__name__}.leaving_middleware"]


async def tenants():
    for _ in range(2):
        tenant = await sync_to_async(getattr)(in_thread, "tenant", "none")
        yield f"{tenant} "


async def call(handler):
    """Serve a request in this task; return the bodies of what was sent."""
    received, sent = [{"type": "http.request"}], []

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message):
        sent.append(message.get("body"))

    await handler(SCOPE, receive, send)
    return sent


class NeedsThread(AsyncStreamingHttpResponse):
    needs_thread = True


async def cached_view(request):
    return HttpResponse(cache.get("key", "123"))


@pytest.mark.parametrize(
    ("handler_class", "starts"), [(asgi.ASGIHandler, True), (ASGIHandler, False)]
)
async def test_threads_started_for_djangos_own_code(handler_class, starts):
    spy = {"autospec": True, "side_effect": threading.Thread.start}
    with patch.object(threading.Thread, "start", **spy) as start:
        await get(serve(handler_class, cached_view))
        await leave(await open_stream(serve(handler_class, streaming(waiting))))
    assert start.called == starts


async def test_thread_ends_before_the_first_event():
    handler = serve(
        ASGIHandler, streaming(tenants, AsyncStreamingHttpResponse), MIDDLEWARE
    )
    assert await get(handler) == (200, "none none ")


@pytest.mark.parametrize("response_class", [StreamingHttpResponse, NeedsThread])
async def test_thread_is_kept(handler_class, response_class):
    handler = serve(handler_class, streaming(tenants, response_class), MIDDLEWARE)
    assert await get(handler) == (200, "blue blue ")


async def test_thread_of_an_outer_request_is_left_alone(handler_class, database):
    async def view(request):
        await sync_to_async(leave_tenant)()
        await call(serve(handler_class, streaming(numbers, AsyncStreamingHttpResponse)))
        assert database.closed == 1  # by Django's receivers, in that thread
        return StreamingHttpResponse(tenants())

    assert await get(serve(handler_class, view)) == (200, "blue blue ")


async def test_thread_ends_though_the_view_has_served_another_request():
    async def view(request):
        await call(serve(ASGIHandler, page_view))
        return AsyncStreamingHttpResponse(tenants())

    assert await get(serve(ASGIHandler, view, MIDDLEWARE)) == (200, "none none ")


async def test_sync_views_run_in_parallel(handler_class):
    together = threading.Barrier(2)

    def view(request):
        together.wait(timeout=ROOM)
        return HttpResponse("met")

    handler = serve(handler_class, view)
    answers = await asyncio.gather(get(handler), get(handler))
    assert answers == [(200, "met")] * 2


async def cancelled_view(request):
    await sync_to_async(query)()
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("view", "error", "cause"),
    [
        (cancelled_view, asyncio.CancelledError, type(None)),
        (streaming(failing), ValueError, KeyError),
    ],
)
async def test_error_arrives_as_itself_and_nothing_is_left_open(
    database, signals, view, error, cause
):
    request = await send_request(serve(ASGIHandler, view))
    with pytest.raises(error) as raised:
        await outcome(request)
    assert isinstance(raised.value.__cause__, cause)
    assert signals == ["started", "finished"]
    assert 0 < database.opened == database.closed


def test_connection_is_closed_under_async_to_sync(handler_class, database):
    """As in a sync test: sync code runs in the thread that waits for the answer."""
    handler = serve(handler_class, page_view, MIDDLEWARE)
    assert async_to_sync(call)(handler) == [None, b"123"]
    assert database.opened == database.closed == 1


@pytest.mark.parametrize("signal", [request_started, request_finished])
async def test_nothing_is_left_open_if_a_receiver_fails(
    connect, database, signals, signal
):
    def failing(**kwargs):
        query()
        raise ValueError("in the receiver")

    connect(signal, failing)
    request = await send_request(serve(ASGIHandler, page_view, MIDDLEWARE))
    with pytest.raises(ValueError, match="in the receiver"):
        await outcome(request)
    assert signals == ["started", "finished"]
    assert 0 < database.opened == database.closed


async def test_connection_is_closed_without_a_context(handler_class, database):
    """A __call__ of one's own may enter none: sync code then has one thread for all."""

    class Handler(handler_class):
        async def __call__(self, scope, receive, send):
            await self.handle(scope, receive, send)

    assert await get(serve(Handler, page_view, MIDDLEWARE)) == (200, "123")
    assert database.opened == database.closed == 1


async def closing_response_view(request):
    response = StreamingHttpResponse(waiting())
    response.close = note_thread
    return response


class Upload:
    close = note_thread


async def upload_view(request):
    request.FILES["file"] = Upload()
    return StreamingHttpResponse(waiting())


@pytest.mark.parametrize("view", [closing_response_view, upload_view])
async def test_other_closers_run_in_a_thread(handler_class, view):
    await leave(await open_stream(serve(handler_class, view)))
    check_thread()


class ClosingCache(LocMemCache):
    def close(self, **kwargs):
        note_thread()


async def test_cache_is_closed_in_a_thread():
    """Under Django 5.2 it is not always closed."""
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.ClosingCache"}}):
        assert await get(serve(ASGIHandler, cached_view)) == (200, "123")
    check_thread()


@pytest.mark.parametrize("signal", [request_started, request_finished])
async def test_other_receivers_run_in_a_thread(handler_class, connect, signal):
    connect(signal, note_thread, dispatch_uid=["unhashable"])
    assert await get(serve(handler_class, page_view)) == (200, "123")
    check_thread()
